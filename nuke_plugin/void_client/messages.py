"""The messages of docs/protocol.md as frozen dataclasses, and the envelope around them.

One multipart ZeroMQ message is ``[envelope]`` or ``[envelope, payload]``. The envelope is a
msgpack map ``{"void": version, "id": request id, "type": name, "body": map}``; pixels never travel
inside it. A reply carries its request's id; events carry id 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Optional, Union

from . import schema, wire
from .digest import check_digest
from .errors import MessageError, VersionMismatch
from .job import check_job_id

PROTOCOL = 1
"""Version of the envelope and of every message in it. docs/protocol.md says when it changes."""


@dataclass(frozen=True)
class Message:
    """Base of all messages. ``TYPE`` is the name on the wire."""

    TYPE: ClassVar[str] = ""


@dataclass(frozen=True)
class FrameSize:
    __wire_array__ = True

    sha256: str
    size: int

    def __post_init__(self) -> None:
        check_digest(self.sha256)
        if self.size < 1:
            raise ValueError("a frame of no bytes")


@dataclass(frozen=True)
class Received:
    """How many bytes of a frame the server holds so far: an upload goes on from there."""

    __wire_array__ = True

    sha256: str
    received: int


@dataclass(frozen=True)
class JobInfo:
    """A job as the queue shows it. ``state``: queued, running, done, failed, cancelled.

    ``place`` counts the jobs before it in the queue; times are seconds since 1970, UTC.
    """

    job_id: str
    state: str
    shot: str
    engine: str
    priority: int
    stage: str
    last_seq: int
    submitted: float
    place: int = 0
    finished: Optional[float] = None
    error: Optional[dict[str, Any]] = None

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed", "cancelled")


# --- requests


@dataclass(frozen=True)
class Hello(Message):
    TYPE: ClassVar[str] = "hello"
    client: str
    protocol_min: int
    protocol_max: int


@dataclass(frozen=True)
class Have(Message):
    TYPE: ClassVar[str] = "have"
    frames: tuple[FrameSize, ...]


@dataclass(frozen=True)
class Upload(Message):
    """Its payload goes at ``offset`` of the frame."""

    TYPE: ClassVar[str] = "upload"
    sha256: str
    size: int
    offset: int

    def __post_init__(self) -> None:
        check_digest(self.sha256)
        if not 0 <= self.offset < self.size:
            raise ValueError(f"offset {self.offset} is outside the frame's {self.size} bytes")


@dataclass(frozen=True)
class Share(Message):
    """The frame lies under a path that the server may read, too."""

    TYPE: ClassVar[str] = "share"
    sha256: str
    size: int
    path: str

    def __post_init__(self) -> None:
        check_digest(self.sha256)


@dataclass(frozen=True)
class Submit(Message):
    TYPE: ClassVar[str] = "submit"
    job_id: str
    spec: dict[str, Any]
    priority: int = 50

    def __post_init__(self) -> None:
        check_job_id(self.job_id)
        if not 0 <= self.priority <= 100:
            raise ValueError(f"priority {self.priority} is not between 0 and 100")


@dataclass(frozen=True)
class Watch(Message):
    """Send all events with a number above ``after``, now and as they come."""

    TYPE: ClassVar[str] = "watch"
    job_id: str
    after: int = 0


@dataclass(frozen=True)
class Unwatch(Message):
    TYPE: ClassVar[str] = "unwatch"
    job_id: str


@dataclass(frozen=True)
class Cancel(Message):
    TYPE: ClassVar[str] = "cancel"
    job_id: str


@dataclass(frozen=True)
class Status(Message):
    """One job, or the newest ``limit`` of all."""

    TYPE: ClassVar[str] = "status"
    job_id: Optional[str] = None
    limit: int = 200


@dataclass(frozen=True)
class Result(Message):
    TYPE: ClassVar[str] = "result"
    job_id: str


@dataclass(frozen=True)
class Read(Message):
    """A piece of a result's file ``name``, which stands in its manifest."""

    TYPE: ClassVar[str] = "read"
    job_id: str
    name: str
    offset: int
    length: int


@dataclass(frozen=True)
class Health(Message):
    TYPE: ClassVar[str] = "health"


@dataclass(frozen=True)
class Metrics(Message):
    TYPE: ClassVar[str] = "metrics"


@dataclass(frozen=True)
class Collect(Message):
    """Bring store, stages and results within their budgets now."""

    TYPE: ClassVar[str] = "collect"
    dry_run: bool = False


@dataclass(frozen=True)
class Approve(Message):
    """Go on after the review of the quadmask: the job is in the state ``review``. Answer: ``jobs``."""

    TYPE: ClassVar[str] = "approve"
    job_id: str


@dataclass(frozen=True)
class Resolve(Message):
    """Reserved: show the resolved quadmask. Version 1 servers answer ``unsupported``."""

    TYPE: ClassVar[str] = "resolve"
    job_id: str


# --- replies and events


@dataclass(frozen=True)
class Welcome(Message):
    """``server_id`` is drawn anew at every start; ``chunk_bytes`` is the largest payload that it takes."""

    TYPE: ClassVar[str] = "welcome"
    server: str
    server_id: str
    protocol: int
    chunk_bytes: int
    max_frame_bytes: int
    max_frames: int
    shares: bool


@dataclass(frozen=True)
class Missing(Message):
    TYPE: ClassVar[str] = "missing"
    frames: tuple[Received, ...]


@dataclass(frozen=True)
class Uploaded(Message):
    TYPE: ClassVar[str] = "uploaded"
    sha256: str
    received: int
    complete: bool


@dataclass(frozen=True)
class Accepted(Message):
    """``created`` is false where the job id was known already: one effect, however often sent."""

    TYPE: ClassVar[str] = "accepted"
    job: JobInfo
    created: bool


@dataclass(frozen=True)
class Watching(Message):
    TYPE: ClassVar[str] = "watching"
    job: JobInfo


@dataclass(frozen=True)
class Event(Message):
    """Number ``seq`` of a job's events, from 1 without gaps. ``kind`` and ``data``: docs/protocol.md."""

    TYPE: ClassVar[str] = "event"
    job_id: str
    seq: int
    time: float
    kind: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Jobs(Message):
    TYPE: ClassVar[str] = "jobs"
    jobs: tuple[JobInfo, ...]


@dataclass(frozen=True)
class Manifest(Message):
    TYPE: ClassVar[str] = "manifest"
    job_id: str
    manifest: dict[str, Any]


@dataclass(frozen=True)
class Data(Message):
    """Its payload is the piece of the file at ``offset``; ``size`` is the whole file's."""

    TYPE: ClassVar[str] = "data"
    offset: int
    size: int


@dataclass(frozen=True)
class Report(Message):
    """Answer to health, metrics and collect."""

    TYPE: ClassVar[str] = "report"
    values: dict[str, Any]


@dataclass(frozen=True)
class Done(Message):
    """Answer to what has nothing to tell."""

    TYPE: ClassVar[str] = "done"


@dataclass(frozen=True)
class Failure(Message):
    """An error of the tree in errors.py in its wire form."""

    TYPE: ClassVar[str] = "error"
    code: str
    message: str
    hint: str = ""
    retryable: bool = False
    details: dict[str, Any] = field(default_factory=dict)


REQUESTS: tuple[type[Message], ...] = (
    Hello, Have, Upload, Share, Submit, Watch, Unwatch, Cancel, Status, Result, Read, Health, Metrics, Collect,
    Approve, Resolve,
)  # fmt: skip
REPLIES: tuple[type[Message], ...] = (
    Welcome, Missing, Uploaded, Accepted, Watching, Event, Jobs, Manifest, Data, Report, Done, Failure,
)  # fmt: skip
_BY_TYPE = {cls.TYPE: cls for cls in REQUESTS + REPLIES}
_WITH_PAYLOAD = (Upload, Data)
Buffer = Union[bytes, memoryview]


@dataclass(frozen=True)
class Envelope:
    """A decoded multipart message. ``payload`` is empty but for ``upload`` and ``data``."""

    id: int
    message: Message
    payload: Buffer = b""


def encode(message: Message, request_id: int = 0, payload: Buffer = b"") -> list[Buffer]:
    """The parts to send."""
    head = {"void": PROTOCOL, "id": request_id, "type": message.TYPE, "body": schema.dump(message)}
    parts: list[Buffer] = [wire.pack(head)]
    if isinstance(message, _WITH_PAYLOAD):
        parts.append(payload)
    return parts


def decode(parts: Sequence[Buffer], limits: wire.Limits = wire.LIMITS) -> Envelope:
    """Strictly: raises ``MessageError`` or ``VersionMismatch`` for anything that protocol.md does not describe.

    The error's ``details["id"]`` is the request's id where that much could be read.
    """
    wire.check_parts(parts, limits)
    head = wire.unpack(bytes(parts[0]), limits)
    if not isinstance(head, dict):
        raise MessageError("The envelope is not a map.")
    request_id = head.get("id")
    details = {"id": request_id} if isinstance(request_id, int) else {}
    try:
        message = _message(head)
    except (MessageError, VersionMismatch) as error:
        error.details.update(details)
        raise
    wants = 2 if isinstance(message, _WITH_PAYLOAD) else 1
    if len(parts) != wants:
        raise MessageError(f"A message {message.TYPE!r} has {wants} parts, not {len(parts)}.", details=details)
    return Envelope(head["id"], message, parts[1] if wants == 2 else b"")


def _message(head: dict[str, Any]) -> Message:
    if head.get("void") != PROTOCOL:
        raise VersionMismatch(
            f"The other side speaks version {head.get('void')!r} of VOID's protocol, this side {PROTOCOL}.",
            hint="Update the older of the two: the plugin or the server.",
            details={"versions": [head.get("void"), PROTOCOL]},
        )
    if set(head) != {"void", "id", "type", "body"}:
        raise MessageError("The envelope's keys are not void, id, type and body.")
    if not isinstance(head["id"], int) or isinstance(head["id"], bool) or not 0 <= head["id"] < 2**63:
        raise MessageError("The envelope's id is not a number from 0 to 2^63 - 1.")
    cls = _BY_TYPE.get(head["type"]) if isinstance(head["type"], str) else None
    if cls is None:
        raise MessageError(f"The message type {str(head['type'])[:40]!r} is not known.")
    return schema.load(cls, head["body"], where=f"message {cls.TYPE}", error=MessageError)
