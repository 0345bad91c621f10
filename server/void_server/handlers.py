"""One function per request of docs/protocol.md: a message in, a reply out.

A handler returns the reply, a reply with its payload, or a ``Later``: the work goes on in the executor and the
reply follows. Errors of the tree become ``error`` replies in the router.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from void_client import __version__, wire
from void_client import messages as m
from void_client.errors import Busy, Unsupported, VersionMismatch, from_wire

from . import shared_cache
from .access import AllowList
from .housekeeping import enforce
from .journal import Journal
from .results import Results
from .scheduler import Scheduler
from .settings import ServerSettings
from .store import FrameStore

_SHARED_PAUSE_S = 600.0
Reply = m.Message | tuple[m.Message, bytes]


@dataclass(frozen=True)
class Later:
    """``then`` is called in the router's thread once ``future`` is done, and makes the reply from it."""

    future: Future[Any]
    then: Callable[[Future[Any]], Reply]


@dataclass
class Office:
    """Everything that handlers work on. One thread, the router's."""

    settings: ServerSettings
    server_id: str
    journal: Journal
    store: FrameStore
    scheduler: Scheduler
    results: Results
    executor: Executor
    allow_list: AllowList
    started: float = field(default_factory=time.time)
    shared_at: float = 0.0  # when the farm's cache may be cleaned up again
    emptying: int = 0  # collections under way that need no job to run
    collecting: threading.Lock = field(default_factory=threading.Lock)  # one after the other
    bytes_received: int = 0  # since the last flush: a durable write per chunk would halve the transport

    def handle(self, envelope: m.Envelope, client: str) -> Reply | Later:
        """``watch`` and ``unwatch`` are the router's own. Raises ``VoidError``."""
        message = envelope.message
        if isinstance(message, m.Upload):
            return self._upload(message, envelope.payload)
        if isinstance(message, m.Submit):
            job, created = self.scheduler.submit(message.job_id, message.spec, message.priority, client)
            return m.Accepted(job, created)
        handler = _HANDLERS.get(type(message))
        if handler is None:
            raise Unsupported(
                f"This server does not do {message.TYPE!r}.", hint="A later version will; update the server."
            )
        return handler(self, message)

    # --- greeting, frames

    def _hello(self, message: m.Hello) -> Reply:
        if not message.protocol_min <= m.PROTOCOL <= message.protocol_max:
            raise VersionMismatch(
                f"The client speaks versions {message.protocol_min} to {message.protocol_max} of the protocol, "
                f"this server {m.PROTOCOL}.",
                hint="Update the older of the two: the plugin or the server.",
                details={"versions": [message.protocol_min, message.protocol_max, m.PROTOCOL]},
            )
        s = self.settings
        return m.Welcome(
            f"void-server/{__version__}",
            self.server_id,
            m.PROTOCOL,
            min(s.chunk_bytes, wire.LIMITS.payload_bytes),
            s.max_frame_bytes,
            s.max_frames,
            bool(s.share_roots),
        )

    def _have(self, message: m.Have) -> Reply:
        lacking = self.store.missing({item.sha256: item.size for item in message.frames})
        return m.Missing(tuple(m.Received(digest, self.store.received(digest)) for digest in lacking))

    def _upload(self, message: m.Upload, chunk: m.Buffer) -> Reply | Later:
        self.bytes_received += len(chunk)
        if self.store.has(message.sha256):
            return m.Uploaded(message.sha256, message.size, True)
        received = self.store.append(message.sha256, message.size, message.offset, chunk)
        if received < message.size or self.store.is_finishing(message.sha256):
            return m.Uploaded(message.sha256, received, False)
        return self._adopting(self.store.finish(message.sha256, message.size), message)

    def _share(self, message: m.Share) -> Reply | Later:
        if self.store.has(message.sha256):
            return m.Uploaded(message.sha256, message.size, True)
        if self.store.is_finishing(message.sha256):
            return m.Uploaded(message.sha256, 0, False)
        return self._adopting(self.store.import_shared(message.sha256, message.size, message.path), message)

    def _adopting(self, future: Future[None], message: m.Upload | m.Share) -> Later:
        def then(finished: Future[Any]) -> Reply:
            self.store.adopt(message.sha256, message.size, ok=finished.exception() is None)
            finished.result()
            self.journal.count_up("frames_stored")
            return m.Uploaded(message.sha256, message.size, True)

        return Later(future, then)

    def flush_counters(self) -> None:
        """Called by the router's tick and before metrics are told."""
        if self.bytes_received:
            self.journal.count_up("frame_bytes_received", self.bytes_received)
            self.bytes_received = 0

    # --- jobs and results

    def _cancel(self, message: m.Cancel) -> Reply:
        return m.Jobs((self.scheduler.cancel(message.job_id),))

    def _approve(self, message: m.Approve) -> Reply:
        return m.Jobs((self.scheduler.approve(message.job_id),))

    def _status(self, message: m.Status) -> Reply:
        if message.job_id is not None:
            return m.Jobs((self.scheduler.info(message.job_id),))
        return m.Jobs(tuple(self.journal.jobs(max(1, min(message.limit, 1000)))))

    def _result(self, message: m.Result) -> Reply:
        job = self.scheduler.info(message.job_id)
        if not job.ended and job.state != "review":
            raise Busy(f"The job {job.job_id} is {job.state}.", hint="Wait for it.", details={"retry_after": 1.0})
        if job.state == "cancelled":
            raise from_wire({"code": "cancelled", "message": f"The job {job.job_id} was cancelled."})
        if job.state == "failed":
            raise from_wire(job.error or {})
        return m.Manifest(job.job_id, self.results.manifest(job))

    def _read(self, message: m.Read) -> Reply:
        self.scheduler.info(message.job_id)
        length = min(message.length, wire.LIMITS.payload_bytes)
        data, size = self.results.read(message.job_id, message.name, message.offset, length)
        return m.Data(message.offset, size), data

    # --- the server itself

    def _health(self, message: m.Health) -> Reply:
        return m.Report(
            {
                "server": f"void-server/{__version__}",
                "server_id": self.server_id,
                "pid": os.getpid(),
                "uptime_s": time.time() - self.started,
                "queued": self.journal.count("queued"),
                "running": self.journal.count("running"),
                "workers": [
                    {
                        "device": w.device,
                        "state": w.state,
                        "pid": w.pid,
                        "job": w.job_id or "",
                        "engines": w.engines,
                        "unable": w.unable,
                        "signing": w.signing,
                    }
                    for w in self.scheduler.workers
                ],
                "store_bytes": self.journal.stored_bytes(),
                "store_max_bytes": self.settings.store_max_bytes,
                "disk_free_bytes": shutil.disk_usage(self.settings.root).free,
            }
        )

    def _metrics(self, message: m.Metrics) -> Reply:
        self.flush_counters()
        return m.Report({**self.journal.counters(), "keys_refused": self.allow_list.refused})

    def _collect(self, message: m.Collect) -> Later:
        return self.collect(message.dry_run)

    def collect(self, dry_run: bool = False) -> Later:
        """Bring everything within its budget. Stages leave only while no job runs."""
        s, now = self.settings, time.time()
        store = self.store.make_room(0, dry_run=dry_run)
        uploads = self.store.drop_stale_uploads(now - 86400.0, dry_run=dry_run)
        forgotten = self.journal.forget_jobs(now - s.job_history_s, dry_run=dry_run)
        live = frozenset(self.journal.live_jobs("running") + self.journal.live_jobs("queued"))
        idle = not self.scheduler.busy()
        self._hold(idle)

        def work() -> dict[str, Any]:
            with self.collecting:
                for job_id in [] if dry_run else forgotten:
                    shutil.rmtree(s.root / "results" / job_id, ignore_errors=True)
                stages = enforce(s.root / "stages", s.stages_max_bytes, dry_run=dry_run) if idle else 0
                results = enforce(s.root / "results", s.results_max_bytes, live, dry_run=dry_run)
                shared = self._collect_shared(dry_run)
            gone = {"store": store, "uploads": uploads, "stages": stages, "results": results, "jobs": len(forgotten)}
            return {**gone, "shared": shared}

        def then(finished: Future[Any]) -> Reply:
            self._hold(-idle)
            return m.Report(finished.result())

        return Later(self.executor.submit(work), then)

    def _hold(self, more: int) -> None:
        """No job starts while any collection deletes stages: not after the first of two, either."""
        self.emptying += more
        self.scheduler.held = self.emptying > 0

    def _collect_shared(self, dry_run: bool) -> int:
        """The farm's cache, where this server keeps it within its budget: not after each job, it may be large."""
        s, now = self.settings, time.monotonic()
        if not (s.shared_cache and s.shared_cache_max_bytes) or (now < self.shared_at and not dry_run):
            return 0
        self.shared_at = now + _SHARED_PAUSE_S
        return shared_cache.collect(Path(s.shared_cache), s.shared_cache_max_bytes, dry_run=dry_run)


_HANDLERS: dict[type[m.Message], Callable[[Office, Any], Reply | Later]] = {
    m.Hello: Office._hello,
    m.Have: Office._have,
    m.Share: Office._share,
    m.Cancel: Office._cancel,
    m.Approve: Office._approve,
    m.Status: Office._status,
    m.Result: Office._result,
    m.Read: Office._read,
    m.Health: Office._health,
    m.Metrics: Office._metrics,
    m.Collect: Office._collect,
}
