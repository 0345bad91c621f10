"""One supervised worker process per device.

Promises: a worker that died is seen at once and started again; one that hangs is killed; nothing that a
worker does takes the server down. Must not: know the queue; it reports to the scheduler.
"""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from void_client.errors import MessageError

from .link import Link, LinkClosed, pair

log = logging.getLogger(__name__)

_BACK_OFF_S = (0.0, 0.5, 2.0, 10.0, 30.0)
_FAILING = 3  # deaths in a row
_RECLAIM_S = 120.0  # more than a window takes


@dataclass
class Worker:
    """The worker of ``device``. ``state``: down, starting, ready, busy, lent: it helps with another worker's job."""

    device: str
    data: Path
    reserve_bytes: int = 0  # what it leaves free on the disk
    host: Mapping[str, str | bool | float] = field(default_factory=dict)  # settings of the engines: models, memory …
    state: str = "down"
    job_id: str | None = None
    lent_to: str = ""  # the job of another worker that this one helps with
    engines: dict[str, str] = field(default_factory=dict)
    unable: dict[str, str] = field(default_factory=dict)  # engine → what keeps it from working
    reasoners: dict[str, str] = field(default_factory=dict)  # name → what keeps it from working, or ""
    signing: dict[str, str] = field(default_factory=dict)  # key, or the reason why its results are not signed
    memory: int = 0  # of the device, in bytes; 0 where nobody knows
    card: str = ""  # the device's name: the same name computes the same bits
    pid: int = 0
    last_status: int = 0  # exit status of the process that was buried last
    _process: subprocess.Popen[bytes] | None = None
    _link: Link | None = None
    _heard: float = 0.0
    _kill_at: float | None = None
    _kill_why: str = ""
    _quick_deaths: int = 0
    _start_at: float = 0.0

    @property
    def kind(self) -> str:
        """cpu or cuda."""
        return self.device.partition(":")[0]

    @property
    def failing(self) -> bool:
        """Whether its process dies again and again before it is ready."""
        return self._quick_deaths >= _FAILING and self.state in ("down", "starting")

    @property
    def reclaimed(self) -> bool:
        """Whether it was told to stop helping, and has not yet."""
        return self.state == "lent" and self._kill_at is not None

    def is_like(self, other: Worker, engine: str) -> bool:
        """Whether it computes the same bits with ``engine``: on a GPU of the same name, which is known."""
        same = self.kind == other.kind and self.card == other.card
        return same and (self.card != "" or self.kind == "cpu") and engine in self.engines

    def fileno(self) -> int:
        return self._link.fileno() if self._link else -1

    @property
    def up(self) -> bool:
        return self._link is not None

    def start_if_due(self) -> bool:
        """Start the process where it is down and its back-off is over; returns whether it was started."""
        if self._link is not None or self.job_id is not None or time.monotonic() < self._start_at:
            return False
        self._link, theirs = pair()
        with theirs:
            command = [sys.executable, "-m", "void_server.worker"]
            options = {"data": str(self.data), "device": self.device, "reserve_bytes": self.reserve_bytes, **self.host}
            command += [str(theirs.fileno()), json.dumps(options)]
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in the server's terminal is the server's to handle
            )
        self.pid, self.state = self._process.pid, "starting"
        self._heard = time.monotonic()
        log.info("worker %s: started, pid %d", self.device, self.pid)
        return True

    def run(self, job_id: str, spec: dict[str, Any], approved: bool = False) -> None:
        """``approved``: a job that stopped for review goes on."""
        self.state, self.job_id = "busy", job_id
        self._send("run", job_id=job_id, spec=spec, approved=approved)

    def cancel(self, grace_s: float) -> None:
        """Ask the worker to stop its job; it is killed where it has not after ``grace_s`` seconds."""
        self._kill_at = self._kill_at or time.monotonic() + grace_s
        self._kill_why = "it did not stop when its job was cancelled"
        self._send("cancel", job_id=self.job_id or "")

    def lend(self, engine: str, job_id: str, line: socket.socket) -> None:
        """It helps with another worker's job, whose worker has the other end of ``line``, until that lets it go."""
        self.state, self.lent_to = "lent", job_id
        self._send("lend", line, engine=engine)

    def lent(self, device: str, line: socket.socket) -> None:
        """This worker's job gets the help of ``device``, which has the other end of ``line``."""
        self._send("lent", line, job_id=self.job_id or "", device=device)

    def reclaim(self) -> None:
        """Where it is lent: it stops helping after the window that it is at. It is killed where it does not."""
        if self.state == "lent" and self._kill_at is None:
            self._kill_at = time.monotonic() + _RECLAIM_S
            self._kill_why = "it did not stop helping when it was wanted elsewhere"
            self._send("reclaim")

    def idle(self) -> None:
        """Its job, or its help, has ended."""
        self.state, self.job_id, self.lent_to = "ready", None, ""
        self._kill_at, self._quick_deaths = None, 0

    def receive(self) -> list[dict[str, Any]] | None:
        """What the worker says, or None where it has died (call ``bury``)."""
        if self._link is None:
            return []
        try:
            found = self._link.receive()
        except LinkClosed:
            return None
        except MessageError as error:
            log.error("worker %s talks nonsense and is killed: %s", self.device, error)
            return None
        self._heard = time.monotonic()
        for message in found:
            if message["kind"] == "ready":
                self.state, self.engines = "ready", dict(message["engines"])
                self.unable = dict(message["unable"])
                self.reasoners, self.signing = dict(message["reasoners"]), dict(message["signing"])
                self.card, self.memory = message["card"], message["memory"]
                log.info("worker %s: ready", self.device)
        return [message for message in found if message["kind"] not in ("ready", "alive")]

    def overdue(self, silence_s: float) -> str | None:
        """Why it should be killed now, if it should."""
        now = time.monotonic()
        if self._link is None:
            return None
        if self._kill_at is not None and now > self._kill_at:
            return self._kill_why
        if now - self._heard > silence_s:
            return f"it was silent for {silence_s:.0f} s"
        return None

    def bury(self) -> int:
        """Kill what is left, reap it, and set the time of the next start; returns the exit status.

        ``job_id`` stays until the job's fate is written down: call ``forget_job`` then.
        """
        status = 0
        if self._process is not None:
            self._process.kill()
            status = self._process.wait()
        if self._link is not None:
            self._link.close()
        self._quick_deaths = min(self._quick_deaths + 1, len(_BACK_OFF_S) - 1)
        self._start_at = time.monotonic() + _BACK_OFF_S[self._quick_deaths - 1]
        self.state, self._link, self._process, self._kill_at = "down", None, None, None
        self.lent_to = ""
        self.last_status = status
        return status

    def forget_job(self) -> None:
        self.job_id = None

    def stop(self, grace_s: float = 5.0) -> None:
        """End the process: closing the line tells it to; kill it where it does not."""
        if self._link is not None:
            self._link.close()
        if self._process is not None:
            try:
                self._process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.state, self._link, self._process = "down", None, None

    def _send(self, kind: str, line: socket.socket | None = None, **values: Any) -> None:
        if self._link is None:
            return
        try:
            self._link.send(kind, line, **values)
        except LinkClosed:
            log.warning("worker %s does not listen", self.device)  # receive() will see its end
