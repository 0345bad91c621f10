"""``manifest.json``: what a result consists of, written last, so that its presence means "ready".

Promises: atomic writes (temporary name, fsync, rename); names that stay inside the result's folder.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from . import schema
from .digest import check_digest, sha256_file
from .errors import DigestMismatch, DiskFull, InputError, is_no_room

MANIFEST = "manifest.json"
_NAME = re.compile(r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")


def _check_file(name: str, sha256: str, size: int) -> None:
    check_digest(sha256)
    if not _NAME.match(name):
        raise ValueError(f"{name[:80]!r} is not a plain file name")
    if size < 1:
        raise ValueError(f"{name} is empty")


@dataclass(frozen=True)
class ResultFrame:
    """One delivered file: ``number`` of the plate frame, its name in the folder, SHA-256 and bytes."""

    number: int
    name: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        _check_file(self.name, self.sha256, self.size)


@dataclass(frozen=True)
class ResultFile:
    """A delivered file that is no frame: an analysis, a contact sheet."""

    name: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        _check_file(self.name, self.sha256, self.size)


@dataclass(frozen=True)
class Provenance:
    """Who vouches for a result; where nobody does, ``reason`` says why. ``void_client.provenance`` reads it.

    key: the signer's public key. time: UTC, by the signer's clock. signature: over the statement of protocol.md.
    credentials: each still and movie, with what kept it from its C2PA content credential, or nothing.
    """

    signed: bool
    reason: str = ""
    key: str = ""
    time: str = ""
    signature: str = ""
    credentials: dict[str, str] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True)
class ResultManifest:
    """``job``: the specification, so that the result can be made again. ``facts``: what engine and stages report.

    ``provenance``: None in what was made before results were signed.
    """

    job_id: str
    content_hash: str
    frames: tuple[ResultFrame, ...]
    job: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    files: tuple[ResultFile, ...] = ()
    version: int = 1
    provenance: Optional[Provenance] = None

    def __post_init__(self) -> None:
        if self.version != 1:
            raise ValueError(f"version {self.version} of the manifest; this program reads 1")

    @property
    def all_files(self) -> tuple[ResultFrame | ResultFile, ...]:
        return (*self.frames, *self.files)

    @classmethod
    def from_plain(cls, value: Any, where: str) -> ResultManifest:
        """Raises ``InputError`` beginning with ``where``."""
        return schema.load(cls, value, where=where)

    @classmethod
    def read(cls, folder: Path) -> ResultManifest:
        """Raises ``InputError`` where there is none (the result is not complete) or it cannot be read."""
        path = folder / MANIFEST
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(
                f"{folder} holds no {MANIFEST}.", hint="The result is not complete: fetch or render it again."
            ) from None
        except (OSError, ValueError) as problem:
            raise InputError(f"{path} cannot be read: {problem}.") from problem
        return cls.from_plain(value, str(path))

    def to_plain(self) -> dict[str, Any]:
        return dict(schema.dump(self))

    def write(self, folder: Path) -> None:
        """Last of all files of a result. Raises ``DiskFull`` or ``OSError``."""
        text = json.dumps(self.to_plain(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        write_durably(folder / MANIFEST, text.encode())

    def verify(self, folder: Path) -> None:
        """Compare every file with its digest. Raises ``DigestMismatch`` naming the first that differs."""
        for file in self.all_files:
            path = folder / file.name
            if not path.is_file() or sha256_file(path) != file.sha256:
                state = "is not what was delivered" if path.is_file() else "is missing"
                details: dict[str, Any] = {"file": str(path)}
                if isinstance(file, ResultFrame):
                    details["frame"] = file.number
                raise DigestMismatch(f"{path} {state}.", hint="Fetch it again.", details=details)


def write_durably(path: Path, data: bytes) -> None:
    """The whole file under its name, or nothing. Raises ``DiskFull`` or ``OSError``."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        fsync_folder(path.parent)
    except OSError as problem:
        temporary.unlink(missing_ok=True)
        raise as_disk_full(problem, path) from problem


def fsync_folder(folder: Path) -> None:
    """Make renames in a folder durable (a no-op on Windows, which has no such call)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def as_disk_full(problem: OSError, path: Path) -> Exception:
    """``DiskFull`` for "no space left" and "quota exceeded", else the problem itself."""
    if not is_no_room(problem):
        return problem
    return DiskFull(
        f"The disk is full: {path} could not be written.",
        hint="Make room and try again; finished work is kept.",
        details={"file": str(path)},
    )
