"""Stages of all servers of a farm, on storage that they share: found by the hash of their inputs, by any of them.

::

    <folder>/stages-1/ab/generate-ab12…/entry.json    the files' digests, and who signed them
                                       /files/…       the stage's folder, `done.json` included
    <folder>/incoming/…                               being written; gets its name whole, or never
    <folder>/trash/…                                  being deleted

Promises: nothing is used whose digests differ from the entry's, whose entry is not for the very key, or, where keys are
named, whose entry none of them signed; files are copied, never linked, so that what was checked stays as it was
checked; any number of machines may read, write and clean up at once, also over NFS (a rename of a folder is the only
lock); no fault of the shared storage fails a job. Must not: know what a stage computes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import stat
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from void_client.digest import canonical_json, check_digest
from void_client.errors import VoidError
from void_client.provenance import base64text, key_holds

from .signing import public_of, read_key

log = logging.getLogger(__name__)

ENTRY = "entry.json"
DONE = "done.json"
VERSION = 1
_PREFIX = b"VOID shared stage 1\n"  # a signature that was made for something else can never be one of these
_ROOM = f"stages-{VERSION}"
_FILES, _INCOMING, _TRASH = "files", "incoming", "trash"
_ARRIVING = ".shared"  # inside a stage's own folder
_NAME = re.compile(r"\A[a-z]{1,24}\Z")
_PART = re.compile(r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
_SIZE = re.compile(rb'\A\{"bytes":(\d{1,18}),')
_ENTRY_BYTES = 64 << 20
_MOST_FILES = 200_000
_BLOCK = 1 << 20
_STALE_S = 86400.0

Check = Callable[[], None]


class _Unusable(Exception):
    """An entry that is there and must not be used."""


@dataclass
class SharedCache:
    """``folder``: on the shared storage. ``keys``: public keys whose entries are used; those of anybody without.

    ``signing_key``: signs what is published. ``count``: hears of `shared_published` and `shared_bad`.
    """

    folder: Path
    signing_key: Path
    keys: Mapping[str, str] = field(default_factory=dict)
    count: Callable[[str], None] = lambda name: None
    reserve_bytes: int = 0
    _bad: set[str] = field(default_factory=set)

    # --- what `void_engine.stages` calls

    def fetch(self, name: str, key: str, folder: Path, check: Check) -> bool:
        """The stage's files into ``folder``, `done.json` last; False where there is no entry that may be used.

        ``check`` raises where the job was cancelled.
        """
        place = self._place(name, key)
        shutil.rmtree(folder / _ARRIVING, ignore_errors=True)  # of a fetch that was killed
        try:
            entry = _read_entry(place)
            if entry is None:
                return False
            self._examine(entry, name, key)
            self._copy_in(place, entry["files"], folder, check)
        except _Unusable as problem:
            log.warning("the shared stage %s-%s is not used: %s", name, key[:12], problem)
            self._bad.add(key)
            self.count("shared_bad")
            return False
        except OSError as problem:
            log.warning("the shared stage %s-%s cannot be read: %s", name, key[:12], problem)
            return False
        _touch(place / ENTRY)
        return True

    def publish(self, name: str, key: str, folder: Path, check: Check) -> None:
        """The finished stage in ``folder`` for all. What is there already stays, unless it was found to be bad."""
        place = self._place(name, key)
        incoming = self.folder / _INCOMING / f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}"
        try:
            if (place / ENTRY).exists() and key not in self._bad:
                return
            _check_rooms(self.folder, place.parent)
            (incoming / _FILES).mkdir(parents=True)
            files = _copy_out(folder, incoming / _FILES, check)
            _write(incoming / ENTRY, self._entry(name, key, files))
            place.parent.mkdir(parents=True, exist_ok=True)
            if key in self._bad:
                _remove(place, self.folder)
                self._bad.discard(key)
            if _rename(incoming, place):
                self.count("shared_published")
        except OSError as problem:
            log.warning("the stage %s-%s could not be shared: %s", name, key[:12], problem)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)

    # --- inside

    def _place(self, name: str, key: str) -> Path:
        check_digest(key)
        if not _NAME.match(name):
            raise ValueError(f"{name!r} is not the name of a stage")
        return self.folder / _ROOM / key[:2] / f"{name}-{key}"

    def _entry(self, name: str, key: str, files: list[list[Any]]) -> bytes:
        """``bytes`` comes first, so that whoever cleans up need not read the whole list."""
        signer, signature = "", ""
        statement = _statement(name, key, files)
        try:
            secret = read_key(self.signing_key)
            signer, signature = public_of(secret), base64text(secret.sign(statement))
        except VoidError as problem:
            log.warning("a shared stage is not signed: %s", problem)
        size = sum(size for _, _, size in files)
        said = {"files": files, "key": key, "signature": signature, "signer": signer, "stage": name, "version": VERSION}
        return b'{"bytes":' + str(size).encode() + b"," + canonical_json(said)[1:]

    def _examine(self, entry: Mapping[str, Any], name: str, key: str) -> None:
        if (entry.get("version"), entry.get("stage"), entry.get("key")) != (VERSION, name, key):
            raise _Unusable("it is for something else")
        _check_files(entry.get("files"))
        if not self.keys:
            return
        signer, signature = entry.get("signer"), entry.get("signature")
        if not isinstance(signer, str) or signer not in self.keys or not isinstance(signature, str):
            raise _Unusable("none of the keys in shared_cache_keys signed it")
        if not key_holds(signer, signature, _statement(name, key, entry["files"])):
            raise _Unusable("its signature does not hold")

    def _copy_in(self, place: Path, files: list[list[Any]], folder: Path, check: Check) -> None:
        total = sum(size for _, _, size in files)
        if shutil.disk_usage(folder).free - total < self.reserve_bytes:
            raise OSError(errno.ENOSPC, "no room for it on the local disk")
        incoming = folder / _ARRIVING
        try:
            for name, digest, size in files:
                check()
                target = incoming / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with _open_plain(place / _FILES, name) as stream:
                    if _copy(stream, target, size) != (digest, size):
                        raise _Unusable(f"{name} is not what its digest says")
            names = [name for name, _, _ in files if name != DONE]
            for name in (*names, DONE):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (incoming / name).replace(folder / name)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)


def collect(folder: Path, max_bytes: int, *, dry_run: bool = False) -> int:
    """Delete entries, the longest unused first, until all fit ``max_bytes``, and what killed writers left.

    Returns the bytes freed, or that would be. Several machines may do this at once.
    """
    try:
        _check_rooms(folder)
    except OSError as problem:
        log.warning("the shared cache is not cleaned up: %s", problem)
        return 0
    now = time.time()
    for room in (_INCOMING, _TRASH):
        for path in _listed(folder / room):
            if _used(path) < now - (_STALE_S if room == _INCOMING else 0.0) and not dry_run:
                shutil.rmtree(path, ignore_errors=True)
    entries = [(path, _size(path / ENTRY)) for part in _listed(folder / _ROOM) for path in _listed(part)]
    over, freed = sum(size for _, size in entries) - max_bytes, 0
    for path, size in sorted(entries, key=lambda item: _used(item[0] / ENTRY)):
        if freed >= over:
            break
        if not dry_run:
            _remove(path, folder)
        freed += size
    return freed


# --- entries


def _statement(name: str, key: str, files: Any) -> bytes:
    return _PREFIX + canonical_json({"files": files, "key": key, "stage": name, "version": VERSION})


def _read_entry(place: Path) -> dict[str, Any] | None:
    """None where there is none."""
    try:
        with _open_plain(place, ENTRY) as stream:
            text = stream.read(_ENTRY_BYTES + 1)
        value = json.loads(text) if len(text) <= _ENTRY_BYTES else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError) as problem:
        raise _Unusable(f"{ENTRY} cannot be read: {problem}") from problem
    if not isinstance(value, dict):
        raise _Unusable(f"{ENTRY} is not a map")
    return value


def _check_files(files: Any) -> None:
    """Plain relative names, digests and sizes, each once, `done.json` among them."""
    if not isinstance(files, list) or not 1 <= len(files) <= _MOST_FILES:
        raise _Unusable("it has no list of files")
    seen = set()
    for item in files:
        if not (isinstance(item, list) and len(item) == 3 and isinstance(item[0], str) and isinstance(item[1], str)):
            raise _Unusable("its list of files cannot be read")
        name, digest, size = item
        if type(size) is not int or size < 0 or name in seen or not all(_PART.match(p) for p in name.split("/")):
            raise _Unusable(f"its list of files names {name[:80]!r}")
        try:
            check_digest(digest)
        except ValueError as problem:
            raise _Unusable(str(problem)) from problem
        seen.add(name)
    if DONE not in seen:
        raise _Unusable(f"it has no {DONE}")


def _copy_out(source: Path, target: Path, check: Check) -> list[list[Any]]:
    files: list[list[Any]] = []
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        hidden = any(part.startswith(".") for part in PurePosixPath(name).parts)
        if path.is_file() and not hidden and not name.startswith("scratch/"):
            check()
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as stream:
                digest, size = _copy(stream, target / name, None)
            files.append([name, digest, size])
    return files


def _copy(stream: Any, target: Path, size: int | None) -> tuple[str, int]:
    """(SHA-256, bytes) of what was copied; no more than a byte above ``size``."""
    digest, copied = hashlib.sha256(), 0
    with target.open("xb") as out:
        while size is None or copied <= size:
            block = stream.read(_BLOCK if size is None else min(_BLOCK, size + 1 - copied))
            if not block:
                break
            digest.update(block)
            out.write(block)
            copied += len(block)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest(), copied


def _open_plain(folder: Path, name: str) -> Any:
    """A file below ``folder`` that is one: no link that leads elsewhere, no pipe that never ends."""
    path = folder / name
    if path.parent.resolve() != (folder.resolve() / name).parent:
        raise _Unusable(f"{name} lies behind a link")
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            raise _Unusable(f"{name} is a link") from problem
        raise
    stream = os.fdopen(handle, "rb")
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        stream.close()
        raise _Unusable(f"{name} is no plain file")
    return stream


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _rename(incoming: Path, place: Path) -> bool:
    """Whether it was this one that got the name; another's is as good."""
    try:
        os.rename(incoming, place)
    except OSError as problem:
        if problem.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise
    return True


def _check_rooms(folder: Path, *more: Path) -> None:
    """Raises ``OSError`` where there is no such folder (it is never made here: it may be a mount that lacks), or where
    one that would be written to, or cleaned up, is a link to somewhere else."""
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(folder))
    for path in (*(folder / room for room in (_ROOM, _INCOMING, _TRASH)), *more):
        if path.is_symlink():
            raise OSError(errno.ELOOP, "this must not be a link", str(path))


def _remove(place: Path, folder: Path) -> None:
    """Renamed away first, so that nobody sees half of it. Another may be faster."""
    trash = folder / _TRASH / f"{place.name}-{uuid.uuid4().hex}"
    trash.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(place, trash)
    except FileNotFoundError:
        return
    shutil.rmtree(trash, ignore_errors=True)


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:
        return  # a share that is mounted for reading only: then it is not the one that cleans up


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir()) if not folder.is_symlink() else []
    except OSError:
        return []


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _size(path: Path) -> int:
    try:
        with path.open("rb") as stream:
            match = _SIZE.match(stream.read(64))
    except OSError:
        return 0
    return int(match.group(1)) if match else 0
