"""Every error that VOID raises on purpose, in one tree.

An error carries a stable wire ``code``, a message that says what happened, a
``hint`` that says what to do, ``details`` for machines (file, frame, key …) and
two facts that callers act on: ``retryable`` and the process's ``exit_code``.

::

    VoidError                     failed                4
    ├── InputError                bad_input             2   what was given cannot be used
    │   ├── JobError              bad_job               2   a key or value of a shot file or job
    │   ├── SettingsError         bad_setting           2   a key or value of a program's settings
    │   ├── FrameError            bad_frame             2   one frame's file: missing, torn, wrong size
    │   ├── MaskError             bad_mask              2   the quadmask as a whole
    │   ├── EngineUnavailable     engine_unavailable    2   unknown engine, or its parts not installed
    │   │   └── ModelError        bad_model             2   a model's file: missing, torn, or of another model
    │   ├── NotAuthorised         not_authorised        2   the key is missing, unknown or revoked
    │   ├── PathRefused           path_refused          2   a shared path outside the allowed roots
    │   ├── UnknownJob            unknown_job           2
    │   └── JobConflict           job_conflict          2   the job id is taken by another job
    ├── ProtocolError             protocol              4   the two sides do not understand each other
    │   ├── MessageError          bad_message           4   undecodable, over a limit, wrong shape
    │   ├── VersionMismatch       version_mismatch      4
    │   └── Unsupported           unsupported           4   a message that this version reserves
    ├── RetryableError            retry                 3   nothing is wrong with the job: try again
    │   ├── ServerUnreachable     server_unreachable    3
    │   ├── Busy                  busy                  3   queue full; details.retry_after seconds
    │   ├── StoreFull             store_full            3
    │   ├── DiskFull              disk_full             3
    │   ├── FramesMissing         frames_missing        3   details.digests are not in the store
    │   ├── DigestMismatch        digest_mismatch       3   bytes changed on the way or on disk
    │   └── ResultEvicted         result_evicted        3   the result made room for newer ones
    ├── JobFailed                 job_failed            4
    │   └── WorkerDied            worker_died           4   the worker process ended under this job
    ├── NotVerified               not_verified          4   a result is not what its signer made, or nobody signed it
    └── Cancelled                 cancelled             5
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar


class VoidError(Exception):
    """Root of the tree; see the module's docstring."""

    code: ClassVar[str] = "failed"
    exit_code: ClassVar[int] = 4
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message

    def to_wire(self) -> dict[str, Any]:
        """The map that protocol.md calls an *error body*."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
            "details": self.details,
        }


class InputError(VoidError):
    code = "bad_input"
    exit_code = 2


class JobError(InputError):
    code = "bad_job"


class SettingsError(InputError):
    code = "bad_setting"


class FrameError(InputError):
    """One frame's file cannot be used.

    ``details``: ``input`` ("plate" or "quadmask"), ``frame`` (number), and ``file``
    where the raiser knows it. The server knows digests only, so the client adds the file.
    """

    code = "bad_frame"


class MaskError(InputError):
    code = "bad_mask"


class EngineUnavailable(InputError):
    code = "engine_unavailable"


class ModelError(EngineUnavailable):
    code = "bad_model"


class NotAuthorised(InputError):
    code = "not_authorised"


class PathRefused(InputError):
    code = "path_refused"


class UnknownJob(InputError):
    code = "unknown_job"


class JobConflict(InputError):
    code = "job_conflict"


class ProtocolError(VoidError):
    code = "protocol"


class MessageError(ProtocolError):
    code = "bad_message"


class VersionMismatch(ProtocolError):
    code = "version_mismatch"


class Unsupported(ProtocolError):
    code = "unsupported"


class RetryableError(VoidError):
    code = "retry"
    exit_code = 3
    retryable = True


class ServerUnreachable(RetryableError):
    code = "server_unreachable"


class Busy(RetryableError):
    code = "busy"


class StoreFull(RetryableError):
    code = "store_full"


class DiskFull(RetryableError):
    code = "disk_full"


class FramesMissing(RetryableError):
    code = "frames_missing"


class DigestMismatch(RetryableError):
    code = "digest_mismatch"


class ResultEvicted(RetryableError):
    code = "result_evicted"


class JobFailed(VoidError):
    code = "job_failed"


class WorkerDied(JobFailed):
    code = "worker_died"


class NotVerified(VoidError):
    code = "not_verified"


class Cancelled(VoidError):
    code = "cancelled"
    exit_code = 5


def is_no_room(problem: OSError) -> bool:
    """Whether the system refused to write because the disk, or the user's share of it, is full."""
    return problem.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None))


def _tree(root: type[VoidError]) -> Iterator[type[VoidError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def by_code() -> dict[str, type[VoidError]]:
    """Wire code → class, for the whole tree."""
    return {cls.code: cls for cls in _tree(VoidError)}


def from_wire(body: Mapping[str, Any]) -> VoidError:
    """Rebuild an error from its wire form; a code that this version does not know becomes a VoidError."""
    code = str(body.get("code", ""))
    cls = by_code().get(code, VoidError)
    details = body.get("details")
    error = cls(
        str(body.get("message", "")),
        hint=str(body.get("hint", "")),
        details=details if isinstance(details, Mapping) else {},
    )
    if cls is VoidError and code not in ("", VoidError.code):
        error.details.setdefault("code", code)
    return error
