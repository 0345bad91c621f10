"""The client: from a resolved shot to verified files on disk, over one connection.

Promises: only frames that the server lacks are sent; a job id has one effect however often it is
submitted; every wait survives a restart of the server; delivered files are verified before they get
their names, the manifest last. Calls block, but never without an end; ``run_in_background`` is for
callers that must not block.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from . import __version__, wire
from . import messages as m
from .connection import Connection
from .digest import sha256_file
from .errors import (
    Busy,
    Cancelled,
    DigestMismatch,
    FrameError,
    FramesMissing,
    InputError,
    JobError,
    NotAuthorised,
    PathRefused,
    ServerUnreachable,
    from_wire,
)
from .incoming import replace_result
from .job import JobSpec, Resolved, check_job_id, name_the_file
from .keys import check_public, read_pair
from .manifest import ResultManifest
from .settings import ClientSettings

log = logging.getLogger(__name__)

R = TypeVar("R", bound=m.Message)
Progress = Callable[[str, int, int], None]
"""(what, done, of): "upload" and "download" count bytes."""

_IN_FLIGHT = 8  # chunks under way at once: enough to fill a 10 Gbit line, few enough to stay in memory
_CHECKS_IN_FLIGHT = 16  # frames that are sent whole and being checked and synced by the server meanwhile
_UPLOAD_ROUNDS = 4
_CHECKING_S = 0.1
_HAVE_BATCH = 2000


class Client:
    """A connection and what is done over it. Use as a context manager, or call ``close``."""

    def __init__(self, settings: ClientSettings, *, on_state: Callable[[str], None] | None = None) -> None:
        """Raises ``NotAuthorised`` where a key is missing, ``ServerUnreachable`` for an impossible address."""
        if not settings.server_key:
            raise NotAuthorised(
                "The server's key is not known.",
                hint="Give the connection file that the server wrote (--connection), or set server_key in client.yaml.",
            )
        self.settings = settings
        keys = read_pair(Path(settings.key_file or ""), shared=settings.shared_key)
        self._connection = Connection(settings.endpoint, check_public(settings.server_key), keys, on_state=on_state)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    # --- single questions

    def hello(self) -> m.Welcome:
        """Who the server is and its limits. Raises ``VersionMismatch`` or ``ServerUnreachable``."""
        return self._ask(m.Hello(f"void-client/{__version__}", m.PROTOCOL, m.PROTOCOL), m.Welcome)

    def submit(self, job_id: str, spec: JobSpec, priority: int = 50) -> m.Accepted:
        """Raises ``FramesMissing`` where frames are not in the store, ``Busy``, ``JobError``, ``JobConflict``."""
        try:
            message = m.Submit(check_job_id(job_id), spec.to_wire(), priority)
        except ValueError as problem:
            raise JobError(f"The job cannot be submitted: {problem}.") from problem
        return self._ask(message, m.Accepted)

    def cancel(self, job_id: str, timeout_s: float | None = None) -> m.JobInfo:
        """Ask for the end of a job; an ended job is left as it is. ``timeout_s``: for whoever is about to be killed.

        Raises ``UnknownJob``.
        """
        return self._ask(m.Cancel(job_id), m.Jobs, timeout_s).jobs[0]

    def approve(self, job_id: str) -> m.JobInfo:
        """The quadmask is good: go on. Raises ``UnknownJob``, ``JobError`` where the job does not wait for it."""
        return self._ask(m.Approve(job_id), m.Jobs).jobs[0]

    def status(self, job_id: str | None = None, limit: int = 200) -> tuple[m.JobInfo, ...]:
        return self._ask(m.Status(job_id, limit), m.Jobs).jobs

    def lacking(self, spec: JobSpec) -> int:
        """Bytes of the job's frames that the server does not have."""
        sizes = {ref.sha256: ref.size for ref in spec.frame_refs()}
        return sum(sizes[digest] - received for digest, received in self._missing(sizes).items())

    def health(self) -> dict[str, Any]:
        return self._ask(m.Health(), m.Report).values

    def metrics(self) -> dict[str, Any]:
        return self._ask(m.Metrics(), m.Report).values

    def collect(self, dry_run: bool = False) -> dict[str, Any]:
        return self._ask(m.Collect(dry_run), m.Report).values

    def manifest(self, job_id: str) -> ResultManifest:
        """Raises ``UnknownJob``, ``ResultEvicted``, the job's own error, or ``Busy`` while it is not done."""
        return ResultManifest.from_plain(self._ask(m.Result(job_id), m.Manifest).manifest, f"result of {job_id}")

    # --- frames up

    def upload(self, spec: JobSpec, files: Mapping[str, Path], on_progress: Progress | None = None) -> int:
        """Bring the server's store up to the job; returns the bytes sent.

        Frames under a shared path are offered by path first. Raises ``FrameError`` where a file has
        changed or gone since it was hashed, ``StoreFull``.
        """
        welcome = self.hello()
        sizes = {ref.sha256: ref.size for ref in spec.frame_refs()}
        missing = self._missing(sizes)
        if missing and welcome.shares:
            self._share(missing, sizes, files)
            missing = self._missing(sizes)
        sent, rounds = 0, 0
        give_up = time.monotonic() + self.settings.timeout_s
        while missing and rounds < _UPLOAD_ROUNDS and time.monotonic() < give_up:
            gained = self._send_frames(missing, sizes, files, welcome.chunk_bytes, on_progress)
            if gained:
                sent, rounds = sent + gained, rounds + 1
                give_up = time.monotonic() + self.settings.timeout_s
            else:  # the server is still checking what another client, or this one, has sent
                time.sleep(_CHECKING_S)
            missing = self._missing(sizes)
        if missing:
            raise DigestMismatch(
                f"{len(missing)} frames do not arrive whole at the server.", hint="Are they being rendered right now?"
            )
        return sent

    def _missing(self, sizes: Mapping[str, int]) -> dict[str, int]:
        items = [m.FrameSize(digest, size) for digest, size in sizes.items()]
        missing: dict[str, int] = {}
        for start in range(0, len(items), _HAVE_BATCH):
            reply = self._ask(m.Have(tuple(items[start : start + _HAVE_BATCH])), m.Missing)
            missing.update({item.sha256: item.received for item in reply.frames})
        return missing

    def _share(self, missing: Mapping[str, int], sizes: Mapping[str, int], files: Mapping[str, Path]) -> None:
        for digest in missing:
            message = m.Share(digest, sizes[digest], str(files[digest].resolve()))
            try:
                self._ask(message, m.Uploaded)
            except PathRefused as error:
                log.info("sending frames instead of sharing paths: %s", error.message)
                return  # the other frames lie beside this one
            except DigestMismatch as error:
                log.info("%s", error.message)  # sending it will tell whether the file is at fault

    def _send_frames(
        self,
        missing: Mapping[str, int],
        sizes: Mapping[str, int],
        files: Mapping[str, Path],
        chunk_bytes: int,
        on_progress: Progress | None,
    ) -> int:
        total = sum(sizes[digest] - received for digest, received in missing.items())
        done = 0
        # A frame's last piece is answered once the frame is checked and on disk. That must not hold up the next frame.
        in_flight: deque[tuple[int, Future[m.Envelope]]] = deque()
        checks: deque[tuple[int, Future[m.Envelope]]] = deque()
        chunk_bytes = min(chunk_bytes, wire.LIMITS.payload_bytes)
        for message, chunk in _chunks(missing, sizes, files, chunk_bytes):
            while len(in_flight) >= _IN_FLIGHT or len(checks) >= _CHECKS_IN_FLIGHT:
                done += self._settle((in_flight if len(in_flight) >= _IN_FLIGHT else checks).popleft())
                if on_progress:
                    on_progress("upload", done, total)
            future = self._connection.send(message, chunk, self.settings.timeout_s)
            last = message.offset + len(chunk) == message.size
            (checks if last else in_flight).append((len(chunk), future))
        for waiting in (in_flight, checks):
            while waiting:
                done += self._settle(waiting.popleft())
                if on_progress:
                    on_progress("upload", done, total)
        return done

    def _settle(self, sent: tuple[int, Future[m.Envelope]]) -> int:
        size, future = sent
        try:
            future.result()
        except DigestMismatch as error:
            log.warning("%s It is sent again.", error.message)
        return size

    # --- events and results down

    def events(
        self, job_id: str, after: int = 0, on_idle: Callable[[m.JobInfo], None] | None = None
    ) -> Iterator[m.Event]:
        """The job's events above ``after``, as they come, until the one that ends it. ``on_idle`` hears the job's
        status in each second without one.

        Survives restarts of the server. Raises ``UnknownJob``; ``ServerUnreachable`` once the server was away
        for longer than the settings' timeout.
        """
        arrived: queue.SimpleQueue[m.Event] = queue.SimpleQueue()
        self.status(job_id)
        self._connection.watch(job_id, after, arrived.put)
        try:
            while True:
                try:
                    event = arrived.get(timeout=1.0)
                except queue.Empty:
                    job = self.status(job_id)[0]  # also tells whether the server is there
                    if on_idle:
                        on_idle(job)
                    if job.ended and job.last_seq <= after:
                        return
                    continue
                after = event.seq
                yield event
                if event.kind in ("done", "failed", "cancelled"):
                    return
        finally:
            self._connection.unwatch(job_id, arrived.put)

    def download(self, job_id: str, folder: Path, on_progress: Progress | None = None) -> ResultManifest:
        """The result into ``folder``: every file verified, the manifest last.

        Files that are there already with the right digest are not fetched again. Raises what ``manifest`` raises,
        ``DigestMismatch``, ``DiskFull``.
        """
        manifest = self.manifest(job_id)
        replace_result(folder, manifest, lambda incoming: self._fetch_files(manifest, folder, incoming, on_progress))
        return manifest

    def _fetch_files(
        self, manifest: ResultManifest, folder: Path, incoming: Path, on_progress: Progress | None
    ) -> list[Path]:
        total = sum(file.size for file in manifest.all_files)
        done, arrived = 0, []
        chunk = wire.LIMITS.payload_bytes // 4
        for frame in manifest.all_files:
            present = folder / frame.name
            if not (present.is_file() and sha256_file(present) == frame.sha256):
                path = incoming / frame.name
                self._fetch_file(manifest.job_id, frame.name, frame.size, path, chunk)
                if sha256_file(path) != frame.sha256:
                    raise DigestMismatch(
                        f"{frame.name} arrived damaged.", hint="Fetch it again.", details={"file": frame.name}
                    )
                arrived.append(path)
            done += frame.size
            if on_progress:
                on_progress("download", done, total)
        return arrived

    def _fetch_file(self, job_id: str, name: str, size: int, path: Path, chunk: int) -> None:
        in_flight: deque[Future[m.Envelope]] = deque()
        offsets = iter(range(0, size, chunk))
        with path.open("wb") as stream:
            while True:
                for offset in offsets:
                    message = m.Read(job_id, name, offset, min(chunk, size - offset))
                    in_flight.append(self._connection.send(message, timeout_s=self.settings.timeout_s))
                    if len(in_flight) >= _IN_FLIGHT:
                        break
                if not in_flight:
                    break
                stream.write(in_flight.popleft().result().payload)
            stream.flush()
            os.fsync(stream.fileno())

    # --- the whole way

    def deliver(
        self,
        job_id: str,
        resolved: Resolved,
        *,
        priority: int = 50,
        on_progress: Progress | None = None,
        busy_wait_s: float = 600.0,
    ) -> m.Accepted:
        """Upload what is missing and submit, waiting out a full queue for up to ``busy_wait_s`` seconds."""
        give_up = time.monotonic() + busy_wait_s
        while True:
            self.upload(resolved.spec, resolved.files, on_progress)
            try:
                return self.submit(job_id, resolved.spec, priority)
            except FramesMissing:
                if time.monotonic() > give_up:
                    raise
            except Busy as busy:
                if time.monotonic() > give_up:
                    raise
                time.sleep(min(float(busy.details.get("retry_after", 1.0)), 30.0))

    def run(
        self,
        job_id: str,
        resolved: Resolved,
        folder: Path,
        *,
        priority: int = 50,
        on_event: Callable[[m.Event], None] | None = None,
        on_progress: Progress | None = None,
    ) -> ResultManifest:
        """Upload, submit, follow and download. Raises the job's error, with the file's name where it has one."""
        try:
            self.deliver(job_id, resolved, priority=priority, on_progress=on_progress)
            self.wait(job_id, on_event)
        except InputError as error:
            name_the_file(error, resolved.names)
            raise
        return self.download(job_id, folder, on_progress)

    def wait(self, job_id: str, on_event: Callable[[m.Event], None] | None = None, after: int = 0) -> None:
        """Follow a job to its end. Raises its error, or ``Cancelled``."""
        for event in self.events(job_id, after):
            if on_event:
                on_event(event)
        raise_if_failed(self.status(job_id)[0])

    def run_in_background(
        self, job_id: str, resolved: Resolved, folder: Path, **callbacks: Any
    ) -> Future[ResultManifest]:
        """``run`` in a thread of its own: for a caller that must not block. Callbacks are called in that thread."""
        future: Future[ResultManifest] = Future()

        def body() -> None:
            try:
                future.set_result(self.run(job_id, resolved, folder, **callbacks))
            except Exception as error:  # noqa: BLE001 - the thread's boundary: whatever it is, the caller hears it
                future.set_exception(error)

        threading.Thread(target=body, name=f"void job {job_id}", daemon=True).start()
        return future

    def _ask(self, message: m.Message, reply: type[R], timeout_s: float | None = None) -> R:
        envelope = self._connection.send(message, timeout_s=timeout_s or self.settings.timeout_s).result()
        if not isinstance(envelope.message, reply):
            raise ServerUnreachable(f"The server answered {message.TYPE!r} with {envelope.message.TYPE!r}.")
        return envelope.message


def raise_if_failed(job: m.JobInfo) -> None:
    """Raises the error that an ended job carries."""
    if job.state == "cancelled":
        raise Cancelled(f"The job {job.job_id} was cancelled.")
    if job.state == "failed":
        raise from_wire(job.error or {})


def _chunks(
    missing: Mapping[str, int], sizes: Mapping[str, int], files: Mapping[str, Path], chunk_bytes: int
) -> Iterator[tuple[m.Upload, bytes]]:
    for digest, received in missing.items():
        path = files[digest]
        try:
            with path.open("rb") as stream:
                stream.seek(received)
                for offset in range(received, sizes[digest], chunk_bytes):
                    chunk = stream.read(min(chunk_bytes, sizes[digest] - offset))
                    if len(chunk) < min(chunk_bytes, sizes[digest] - offset):
                        raise _changed(path)
                    yield m.Upload(digest, sizes[digest], offset), chunk
        except OSError as problem:
            raise FrameError(f"{path} cannot be read: {problem.strerror}.", details={"file": str(path)}) from problem


def _changed(path: Path) -> FrameError:
    return FrameError(
        f"{path} has changed since it was looked at.",
        hint="Is it being rendered right now? Wait for it, then try again.",
        details={"file": str(path)},
    )
