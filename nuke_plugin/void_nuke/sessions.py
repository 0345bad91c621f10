"""The lines to servers, and the jobs that go over them: one connection a server, one thread a job. Pure: no nuke.

Promises: the main thread never waits for the network; a job's thread knows nothing of nodes and reports through one
callable; a job that was given up reports nothing more. Must not: import nuke.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Optional

from void_client import pairing
from void_client.client import Client
from void_client.errors import Busy, NotAuthorised, ServerUnreachable, SettingsError, VoidError
from void_client.result_store import NodeStore, Version
from void_client.settings import ClientSettings

from .messages import Told, explain, failure
from .states import State

_LEAVING_S = 60.0
_TRY_AGAIN_S = 2.0


@dataclass(frozen=True)
class Report:
    """What a job's thread tells the node: always a state; at the end a version, a quadmask to review, or an error.

    ``looked``: the node's fingerprint when this was ordered. ``job_hash``: of the job that the version came from.
    """

    state: State
    version: Optional[Version] = None
    masks: Optional[Version] = None
    error: Optional[Told] = None
    looked: str = ""
    job_hash: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def last(self) -> bool:
        """Whether the job's thread has ended with this."""
        return self.version is not None or self.masks is not None or self.error is not None


class Line:
    """A connection to one server, opened when first needed and shared by its jobs. Methods may be called anywhere."""

    def __init__(self, settings: ClientSettings) -> None:
        self.settings = settings
        self._answered = threading.Event()
        self._state = ""
        self._lock = threading.Lock()
        self._client: Optional[Client] = None
        self._listeners: dict[object, Callable[[str], None]] = {}
        self.leaving = threading.Event()
        self.cancelling: dict[str, threading.Thread] = {}

    def client(self) -> Client:
        """Raises ``NotAuthorised`` where a key is missing, ``ServerUnreachable`` for an impossible address."""
        with self._lock:
            if self._client is None:
                if self.settings.server_key:
                    pairing.own_public_key(self.settings, os.environ)  # an artist's key is made at first use
                self._client = Client(self.settings, on_state=self._on_state)
            return self._client

    def wait(self, seconds: float) -> bool:
        """Whether the server is there, after so long at most. Raises ``NotAuthorised`` where it refuses the key: the
        next use asks anew, for a TD may have allowed it meanwhile."""
        self._answered.wait(seconds)
        if self._state == "refused":
            self.close()
            raise NotAuthorised(
                f"The server {self.settings.endpoint} refused this key.",
                hint="Ask for your public key to be allowed, and check the server's key.",
            )
        return self._state == "connected"

    def listen(self, who: object, hear: Callable[[str], None]) -> None:
        """``hear("connected" | "offline" | "refused")`` in the connection's thread."""
        with self._lock:
            self._listeners[who] = hear

    def unlisten(self, who: object) -> None:
        with self._lock:
            self._listeners.pop(who, None)

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
            self._state = ""
            self._answered.clear()
        if client is not None:
            client.close()

    def _on_state(self, state: str) -> None:
        self._state = state
        if state == "offline":
            self._answered.clear()
        else:
            self._answered.set()
        with self._lock:
            listeners = list(self._listeners.values())
        for hear in listeners:
            hear(state)


@dataclass(eq=False)
class Job:
    """One piece of work for one node.

    ``stop``: the artist gave it up; ``leave``: the script was closed. ``job_id``: once it is known. ``submitted``: the
    server has it: what fails from here on is no answer to the artist's click any more. ``looked``: the node's
    fingerprint. ``store``: where it is on record.
    """

    uuid: str
    line: Line
    job_id: str = ""
    submitted: bool = False
    looked: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
    leave: threading.Event = field(default_factory=threading.Event)
    store: Optional[NodeStore] = None
    thread: Optional[threading.Thread] = None

    def check(self) -> None:
        """Raises where the artist gave the job up."""
        if self.stop.is_set():
            raise failure("cancelled_here")

    def check_here(self) -> None:
        """Where the server has the job: also ends where the script was closed. What is on its way gets there first."""
        self.check()
        if self.leave.is_set():
            raise Left


class Left(Exception):
    """The script was closed: the job goes on at its server, and is on record."""


Work = Callable[[Job, Callable[[Report], None]], Report]
"""Does a job in its own thread: reports on the way, returns the last report, raises what goes wrong."""


class Desk:
    """All lines and jobs of this Nuke. ``jobs`` belongs to the main thread."""

    def __init__(self, post: Callable[[Job, Report], None]) -> None:
        """``post``: brings a job's report to the main thread; called in the job's thread."""
        self._post = post
        self._lines: dict[ClientSettings, Line] = {}
        self.jobs: dict[str, Job] = {}

    def line(self, settings: ClientSettings) -> Line:
        return self._lines.setdefault(settings, Line(settings))

    def start(self, uuid: str, settings: ClientSettings, work: Work, job_id: str = "", looked: str = "") -> Job:
        """In a thread of its own; an earlier job of the node is left to itself."""
        job = Job(uuid, self.line(settings), job_id, looked=looked)
        self.jobs[uuid] = job
        job.thread = threading.Thread(target=self._body, args=(job, work), name=f"void {uuid[:8]}", daemon=True)
        job.thread.start()
        return job

    def is_current(self, job: Job) -> bool:
        return self.jobs.get(job.uuid) is job

    def finish(self, job: Job) -> None:
        if self.is_current(job):
            del self.jobs[job.uuid]

    def cancel(self, uuid: str) -> Optional[Job]:
        """Give up the node's job. The server hears of it in another thread, as soon as it can be reached."""
        job = self.jobs.pop(uuid, None)
        if job is not None:
            job.stop.set()
            if job.job_id:
                cancel_on_server(job.line, job.job_id, job.store)
        return job

    def forget_all(self) -> None:
        """The script closes: jobs go on at the server, and are found again. What is being sent still gets there."""
        leaving = list(self.jobs.values())
        for job in leaving:
            job.leave.set()
        self.jobs.clear()
        lines, self._lines = self._lines, {}
        for line in lines.values():
            line.leaving.set()
        closer = threading.Thread(target=_close, args=(leaving, list(lines.values())), name="void close", daemon=True)
        closer.start()

    def _body(self, job: Job, work: Work) -> None:
        try:
            last = work(job, lambda report: self._post(job, report))
        except Left:
            return
        except Exception as error:  # noqa: BLE001 - the thread's boundary: whatever it is, the node shows it
            told = explain(error)
            last = Report(told.as_state(job.job_id), error=told)
        self._post(job, last)


def _close(leaving: list[Job], lines: list[Line]) -> None:
    """A job that waits for a server that is away has left within seconds; nobody waits for it longer."""
    for job in leaving:
        if job.thread is not None:
            job.thread.join(_LEAVING_S)
    for line in lines:
        for thread in list(line.cancelling.values()):
            thread.join(_LEAVING_S)
        line.close()


def in_background(name: str, work: Callable[[], None], failed: Callable[[Exception], None]) -> threading.Thread:
    """For single questions to a server: ``failed`` hears what went wrong, in that thread."""

    def body() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the thread's boundary: ``failed`` tells it
            failed(error)

    thread = threading.Thread(target=body, name=f"void {name}", daemon=True)
    thread.start()
    return thread


def cancel_on_server(line: Line, job_id: str, store: Optional[NodeStore] = None) -> None:
    """In a thread, as soon as the server can be reached. Until then the record in ``store`` says that it is cancelled:
    a Nuke after this one tells the server. A job that has ended meanwhile is nobody's concern any more."""
    if job_id in line.cancelling and line.cancelling[job_id].is_alive():
        return
    if store is not None:
        with contextlib.suppress(VoidError):
            store.call_off(job_id)

    def ask() -> None:
        while not line.leaving.is_set():
            try:
                line.client().cancel(job_id)
            except (ServerUnreachable, Busy):
                line.leaving.wait(_TRY_AGAIN_S)
                continue
            except (NotAuthorised, SettingsError):
                return
            except VoidError:
                pass  # it never got there, or has ended
            if store is not None:
                store.forget(job_id)
            return

    line.cancelling[job_id] = in_background("cancel", ask, lambda error: None)
