"""The frame store: files named by their SHA-256, within a budget, the least recently used leaving first.

Promises: a file under its digest's name is whole and right; frames that a live job needs are never dropped;
an upload goes on where it stopped, also after a restart. Must not: decode a frame.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import Executor, Future
from pathlib import Path

from void_client.errors import DigestMismatch, DiskFull, JobError, PathRefused, StoreFull, is_no_room
from void_client.manifest import fsync_folder

from .journal import Journal

_BLOCK = 1 << 20


class FrameStore:
    """Owned by the router's thread; hashing and syncing run in ``executor`` and touch no shared state."""

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        executor: Executor,
        *,
        max_bytes: int,
        max_frame_bytes: int,
        reserve_bytes: int,
        share_roots: Iterable[str] = (),
    ) -> None:
        self.folder = folder
        self.incoming = folder / "incoming"
        self._journal = journal
        self._executor = executor
        self._max_bytes = max_bytes
        self._max_frame_bytes = max_frame_bytes
        self._reserve_bytes = reserve_bytes
        self._roots = [Path(root).resolve() for root in share_roots]
        self._finishing: set[str] = set()
        self.incoming.mkdir(parents=True, exist_ok=True)
        self._reconcile()

    def path(self, digest: str) -> Path:
        return frame_path(self.folder, digest)

    def has(self, digest: str) -> bool:
        return digest in self._journal.frame_sizes([digest])

    def is_finishing(self, digest: str) -> bool:
        """Whether its check is under way in the executor."""
        return digest in self._finishing

    def received(self, digest: str) -> int:
        """Bytes of an unfinished upload that are on disk."""
        try:
            return self._partial(digest).stat().st_size
        except FileNotFoundError:
            return 0

    def missing(self, sizes: dict[str, int]) -> list[str]:
        """Which frames are not here. Raises ``StoreFull`` where they cannot fit, ``JobError`` where one is too big.

        Those that are here count as used now, so that they are not dropped before the job is submitted.
        """
        for size in sizes.values():
            self._check_size(size)
        there = self._journal.frame_sizes(list(sizes))
        lacking = [digest for digest in sizes if digest not in there]
        for digest in lacking:
            # All bytes are there but nobody checks them: the server was killed just then. They are sent again.
            if self.received(digest) >= sizes[digest] and digest not in self._finishing:
                self._partial(digest).unlink(missing_ok=True)
        if there:
            self._journal.touch_frames(list(there))
        self.make_room(sum(sizes[digest] - self.received(digest) for digest in lacking), keep=frozenset(there))
        return lacking

    def append(self, digest: str, size: int, offset: int, chunk: bytes | memoryview) -> int:
        """Put a piece of an upload at its place; returns the bytes received so far, which tell where to go on.

        A piece that does not fit the end of what is there is dropped: the sender is told and sends again.
        Raises ``DiskFull``, ``StoreFull``, ``JobError``.
        """
        self._check_size(size)
        received = self.received(digest)
        if offset != received or digest in self._finishing:
            return received
        if offset + len(chunk) > size:
            raise JobError(f"A frame of {size} bytes was sent more than that.")
        self._check_disk(len(chunk))
        try:
            with self._partial(digest).open("ab") as stream:
                stream.write(chunk)
        except OSError as problem:
            # A short write must not leave a piece that the sender believes is not there.
            with contextlib.suppress(OSError):
                os.truncate(self._partial(digest), received)
            raise _as_disk_full(problem) from problem
        return received + len(chunk)

    def finish(self, digest: str, size: int) -> Future[None]:
        """Check, sync and name a complete upload, in the executor. Call ``adopt`` when the future is done.

        The future raises ``DigestMismatch`` (and the partial file is gone) or ``DiskFull``.
        """
        self._finishing.add(digest)
        return self._executor.submit(_finish, self._partial(digest), self.path(digest), digest, size)

    def adopt(self, digest: str, size: int, *, ok: bool) -> None:
        self._finishing.discard(digest)
        if ok:
            self._journal.put_frame(digest, size)

    def import_shared(self, digest: str, size: int, path: str) -> Future[None]:
        """Copy a frame from a shared path, in the executor, checking its digest. Call ``adopt`` afterwards.

        Raises ``PathRefused`` unless the path, links resolved, is a file under an allowed root.
        """
        self._check_size(size)
        source = self._allowed(path)
        self._check_disk(size)
        self._finishing.add(digest)
        return self._executor.submit(_import, source, self._partial(digest), self.path(digest), digest, size)

    def make_room(self, wanted: int, keep: frozenset[str] = frozenset(), *, dry_run: bool = False) -> int:
        """Drop frames, least recently used first, until ``wanted`` more bytes fit; returns the bytes dropped.

        Raises ``StoreFull`` where what live jobs need leaves no room.
        """
        if wanted > self._max_bytes:
            raise JobError(
                f"The shot's frames ({wanted / 1e6:.1f} MB) are more than the server's whole frame store "
                f"({self._max_bytes / 1e6:.1f} MB).",
                hint="Raise store_max_bytes on the server, or split the shot.",
            )
        over = self._journal.stored_bytes() + wanted - self._max_bytes
        dropped = 0
        if over > 0:
            for digest, size in self._journal.evictable_frames():
                if dropped >= over:
                    break
                if digest in keep:
                    continue
                if not dry_run:
                    # The row first: a crash in between leaves a file without a row, which the next start adopts.
                    self._journal.drop_frame(digest)
                    self.path(digest).unlink(missing_ok=True)
                dropped += size
        if wanted and dropped < over:
            raise StoreFull(
                f"The server's frame store of {self._max_bytes / 1e9:.1f} GB has no room for {wanted / 1e9:.3f} GB.",
                hint="Wait for running jobs to end, or raise store_max_bytes on the server.",
            )
        return dropped

    def drop_stale_uploads(self, older_than: float, *, dry_run: bool = False) -> int:
        """Delete unfinished uploads that were last written before the time given; returns the bytes freed."""
        freed = 0
        for path in self.incoming.iterdir():
            status = path.stat()
            if status.st_mtime < older_than and path.name not in self._finishing:
                if not dry_run:
                    path.unlink(missing_ok=True)
                freed += status.st_size
        return freed

    def _partial(self, digest: str) -> Path:
        return self.incoming / digest

    def _check_size(self, size: int) -> None:
        if size > self._max_frame_bytes:
            raise JobError(
                f"A frame of {size} bytes is larger than the server takes ({self._max_frame_bytes}).",
                hint="Raise max_frame_bytes on the server, or send fewer channels.",
            )

    def _check_disk(self, wanted: int) -> None:
        if shutil.disk_usage(self.folder).free - wanted < self._reserve_bytes:
            raise DiskFull("The server's disk is full.", hint="Make room on the server, or run `void gc`.")

    def _allowed(self, path: str) -> Path:
        try:
            source = Path(path).resolve(strict=True)
        except (OSError, ValueError, RuntimeError) as problem:
            raise PathRefused(f"The server cannot see {path!r}.") from problem
        if not any(source.is_relative_to(root) for root in self._roots) or not source.is_file():
            raise PathRefused(
                f"{path!r} is not under a folder that the server shares.",
                hint="The frames are sent instead; to share them, add the folder to share_roots.",
            )
        return source

    def _reconcile(self) -> None:
        """Make table and disk agree after whatever ended the last server."""
        on_disk = {path.name: path for path in self.folder.glob("[0-9a-f][0-9a-f]/*")}
        known = self._journal.frame_digests()
        with self._journal.transaction():
            for digest in known - set(on_disk):
                self._journal.drop_frame(digest)
            for digest in set(on_disk) - known:
                # It got its name, so it was whole and right; only the row is missing.
                self._journal.put_frame(digest, on_disk[digest].stat().st_size)


def frame_path(folder: Path, digest: str) -> Path:
    """Where the store in ``folder`` keeps a frame: shared with the worker, which reads it."""
    return folder / digest[:2] / digest


def _finish(partial: Path, final: Path, digest: str, size: int) -> None:
    hasher = hashlib.sha256()
    try:
        with partial.open("rb") as stream:
            while block := stream.read(_BLOCK):
                hasher.update(block)
            os.fsync(stream.fileno())
    except OSError as problem:
        raise _as_disk_full(problem) from problem
    _name(partial, final, hasher.hexdigest() == digest and partial.stat().st_size == size)


def _import(source: Path, partial: Path, final: Path, digest: str, size: int) -> None:
    hasher = hashlib.sha256()
    try:
        with source.open("rb") as reading, partial.open("wb") as writing:
            while block := reading.read(_BLOCK):
                hasher.update(block)
                writing.write(block)
            writing.flush()
            os.fsync(writing.fileno())
    except OSError as problem:
        partial.unlink(missing_ok=True)
        raise _as_disk_full(problem) from problem
    _name(partial, final, hasher.hexdigest() == digest and partial.stat().st_size == size)


def _name(partial: Path, final: Path, right: bool) -> None:
    if not right:
        partial.unlink(missing_ok=True)
        raise DigestMismatch("A frame's bytes do not have the digest that was announced.", hint="It is sent again.")
    final.parent.mkdir(exist_ok=True)
    partial.replace(final)
    fsync_folder(final.parent)


def _as_disk_full(problem: OSError) -> Exception:
    if is_no_room(problem):
        return DiskFull("The server's disk is full.", hint="Make room on the server, or run `void gc`.")
    if problem.errno in (errno.ENOENT, errno.EACCES):
        return PathRefused(f"The server cannot read {problem.filename}.", hint="The frames are sent instead.")
    return problem
