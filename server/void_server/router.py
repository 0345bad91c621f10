"""The router's loop: one thread, one socket, all of the server's state.

Promises: never blocks on a client, a disk sync or a worker; whatever arrives gets an answer or is dropped
with a reason in the log. The loop is ``run``; everything that it calls is short.
"""

from __future__ import annotations

import logging
import socket
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import zmq
from void_client import messages as m
from void_client.errors import DiskFull, NotAuthorised, ProtocolError, VoidError

from .handlers import Later, Office, Reply
from .supervisor import Worker

log = logging.getLogger(__name__)

_TICK_MS = 100
_EVENTS_AT_ONCE = 200
_MESSAGES_AT_ONCE = 64
_FLUSH_S = 1.0
_COMPLAIN_S = 10.0


@dataclass
class _Waiting:
    identity: bytes
    request_id: int
    later: Later


class Router:
    def __init__(self, office: Office, socket_: zmq.Socket[bytes]) -> None:
        """``socket_`` is bound, CURVE and ROUTER."""
        self._office = office
        self._socket = socket_
        self._watchers: dict[tuple[bytes, str], int] = {}  # (peer, job) → last event sent
        self._finished: deque[_Waiting] = deque()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._heard: deque[tuple[Worker, dict[str, Any]]] = deque()
        self._stopping = False
        self._flush_at = 0.0
        self._complain_at = 0.0
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._wake_in.fileno(), zmq.POLLIN)
        self._polled: dict[int, Worker] = {}

    def stop(self) -> None:
        """End ``run`` soon. May be called from any thread or a signal handler."""
        self._stopping = True
        self._wake()

    def run(self) -> None:
        """Serve until ``stop``."""
        while not self._stopping:
            ready = dict(self._poller.poll(_TICK_MS))
            if self._socket in ready:
                self._read_clients()
            for fileno, worker in list(self._polled.items()):
                if fileno in ready:
                    self._read_worker(worker)
            for duty in (
                self._answer_finished,
                self._hear_workers,
                self._mind_workers,
                self._office.scheduler.dispatch,
                self._send_events,
                self._tick,
            ):
                self._try(duty)
        for worker in self._office.scheduler.workers:
            worker.stop()
        self._office.flush_counters()
        self._wake_in.close()
        self._wake_out.close()

    def _try(self, duty: Callable[[], None]) -> None:
        """Do it, or, where the journal cannot be written (a full disk), do it again at a later turn."""
        try:
            duty()
        except sqlite3.OperationalError as problem:
            if time.monotonic() > self._complain_at:
                self._complain_at = time.monotonic() + _COMPLAIN_S
                log.error("the journal cannot be written, work waits: %s", problem)

    # --- clients

    def _read_clients(self) -> None:
        for _ in range(_MESSAGES_AT_ONCE):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            identity = frames[0].bytes
            try:
                client = self._client_of(frames[-1])
                envelope = m.decode([frame.buffer for frame in frames[1:]])
                self._handle(identity, client, envelope)
            except ProtocolError as error:
                log.warning("refused a message: %s", error.message)
                self._send_error(identity, error.details.pop("id", 0), error)
            except NotAuthorised as error:
                self._send_error(identity, _request_id(frames), error)

    def _client_of(self, frame: zmq.Frame) -> str:
        """The client's name by the key that its line was made with, as long as it is allowed."""
        try:
            key = str(frame.get("User-Id"))
        except (zmq.ZMQError, KeyError):
            key = ""
        name = self._office.allow_list.name_of(key)
        if name is None:
            raise NotAuthorised("This key is not allowed any more.", hint="Ask for it to be allowed (void keys allow).")
        return name

    def _handle(self, identity: bytes, client: str, envelope: m.Envelope) -> None:
        message = envelope.message
        try:
            if isinstance(message, m.Watch):
                job = self._office.scheduler.info(message.job_id)
                self._send(identity, envelope.id, m.Watching(job))
                self._watchers[identity, message.job_id] = message.after
                self._office.scheduler.changed.add(message.job_id)
                return
            if isinstance(message, m.Unwatch):
                self._watchers.pop((identity, message.job_id), None)
                self._send(identity, envelope.id, m.Done())
                return
            reply = self._office.handle(envelope, client)
        except VoidError as error:
            self._send_error(identity, envelope.id, error)
            return
        except sqlite3.OperationalError as problem:
            full = DiskFull(f"The server's journal cannot be written: {problem}.", hint="Make room on the server.")
            self._send_error(identity, envelope.id, full)
            return
        if isinstance(reply, Later):
            self._wait(_Waiting(identity, envelope.id, reply))
        else:
            self._send(identity, envelope.id, reply)

    def _wait(self, waiting: _Waiting) -> None:
        def done(_: Any) -> None:
            self._finished.append(waiting)
            self._wake()

        waiting.later.future.add_done_callback(done)

    def _wake(self) -> None:
        try:
            self._wake_out.send(b"\0")
        except OSError:
            pass  # full: a wake is waiting already; closed: nobody is left to wake

    def _answer_finished(self) -> None:
        try:
            self._wake_in.recv(4096)
        except BlockingIOError:
            pass
        while self._finished:
            waiting = self._finished[0]
            try:
                reply = waiting.later.then(waiting.later.future)
                self._finished.popleft()
            except VoidError as error:
                self._finished.popleft()
                self._send_error(waiting.identity, waiting.request_id, error)
            except OSError as problem:
                self._finished.popleft()
                log.exception("a request failed")
                failure = VoidError(f"The server failed: {problem}.", hint="See its log.")
                self._send_error(waiting.identity, waiting.request_id, failure)
            else:
                if waiting.identity:
                    self._send(waiting.identity, waiting.request_id, reply)

    def _send_error(self, identity: bytes, request_id: Any, error: VoidError) -> None:
        if identity:
            number = request_id if isinstance(request_id, int) and request_id >= 0 else 0
            self._send(identity, number, m.Failure(**error.to_wire()))

    def _send(self, identity: bytes, request_id: int, reply: Reply) -> bool:
        message, payload = reply if isinstance(reply, tuple) else (reply, b"")
        try:
            self._socket.send_multipart([identity, *m.encode(message, request_id, payload)], zmq.NOBLOCK)
        except zmq.Again:
            log.warning("a client does not read; a %s was dropped, it will ask again", message.TYPE)
            return False
        except zmq.ZMQError as problem:
            if problem.errno != zmq.EHOSTUNREACH:
                raise
            self._forget(identity)
            return False
        return True

    def _forget(self, identity: bytes) -> None:
        for key in [key for key in self._watchers if key[0] == identity]:
            del self._watchers[key]

    def _send_events(self) -> None:
        changed = self._office.scheduler.changed
        if not changed:
            return
        behind = set()
        for (identity, job_id), after in list(self._watchers.items()):
            if job_id not in changed:
                continue
            events = self._office.journal.events(job_id, after, _EVENTS_AT_ONCE)
            for event in events:
                if (identity, job_id) not in self._watchers or not self._send(identity, 0, event):
                    break
                self._watchers[identity, job_id] = event.seq
            if len(events) == _EVENTS_AT_ONCE or (events and self._watchers.get((identity, job_id)) != events[-1].seq):
                behind.add(job_id)  # a slow reader gets the rest at a later tick, from the journal
        changed.clear()
        changed.update(behind)

    # --- workers and time

    def _read_worker(self, worker: Worker) -> None:
        messages = worker.receive()
        self._heard.extend((worker, message) for message in messages or ())
        if messages is None:
            self._heard = deque(item for item in self._heard if item[0] is not worker)
            self._stop_polling(worker)
            self._try(lambda: self._office.scheduler.bury(worker, "its process ended"))

    def _hear_workers(self) -> None:
        while self._heard:
            self._office.scheduler.hear(*self._heard[0])
            self._heard.popleft()  # only now: what could not be written down is heard again

    def _mind_workers(self) -> None:
        for worker in self._office.scheduler.workers:
            reason = worker.overdue(self._office.settings.worker_silence_s)
            if not worker.up and worker.job_id is not None:
                reason = "its process ended"  # its job's fate is not written down yet
            if reason:
                self._stop_polling(worker)
                self._office.scheduler.bury(worker, reason)
            if worker.start_if_due():
                self._polled[worker.fileno()] = worker
                self._poller.register(worker.fileno(), zmq.POLLIN)

    def _stop_polling(self, worker: Worker) -> None:
        fileno = worker.fileno()
        if self._polled.pop(fileno, None) is not None:
            self._poller.unregister(fileno)

    def _tick(self) -> None:
        now = time.monotonic()
        if now < self._flush_at:
            return
        self._flush_at = now + _FLUSH_S
        self._office.flush_counters()
        if self._office.scheduler.ended and not self._office.scheduler.held:
            self._office.scheduler.ended = False
            self._wait(_Waiting(b"", 0, self._office.collect()))


def _request_id(frames: list[zmq.Frame]) -> int:
    try:
        return m.decode([frame.buffer for frame in frames[1:]]).id
    except ProtocolError:
        return 0
