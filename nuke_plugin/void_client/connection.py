"""One thread that owns one CURVE socket to one server.

Promises: callers never touch the socket and never block on it longer than they ask; a request that
was not answered when the connection broke is sent again on the next one (every request of the protocol
may be repeated); watched jobs go on from the last event seen. Must not: know files or results.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import recv_monitor_message

from . import messages as m
from .errors import MessageError, NotAuthorised, ServerUnreachable, VoidError, from_wire
from .keys import KeyPair

log = logging.getLogger(__name__)

_TICK_MS = 200
_HEARTBEAT_MS = 2000
_HEARTBEAT_TIMEOUT_MS = 8000
_HANDSHAKE_MS = 5000


@dataclass
class _Pending:
    id: int
    message: m.Message
    payload: m.Buffer
    deadline: float
    future: Future[m.Envelope]


@dataclass
class _Watched:
    last_seq: int
    on_event: Callable[[m.Event], None]


class Connection:
    """A live line to a server. Use as a context manager, or call ``close``. Methods may be called from any thread."""

    def __init__(
        self,
        endpoint: str,
        server_key: str,
        keys: KeyPair,
        *,
        on_state: Callable[[str], None] | None = None,
    ) -> None:
        """``on_state("connected" | "offline" | "refused")`` is called in the connection's own thread."""
        self.endpoint = endpoint
        self._on_state = on_state or (lambda state: None)
        self._context = zmq.Context()
        self._socket = self._open_socket(server_key, keys)
        self._monitor = self._socket.get_monitor_socket()
        self._wake_send, self._wake_recv = self._wake_pair()
        self._lock = threading.Lock()  # guards all below, and the sending end of the wake pair
        self._new: deque[_Pending] = deque()
        self._watched: dict[str, list[_Watched]] = {}
        self._rewatch: set[str] = set()
        self._closing = False
        # Owned by the thread:
        self._ids = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._unsent: deque[int] = deque()
        self._connected = False
        self._refused: VoidError | None = None
        self._thread = threading.Thread(target=self._run, name=f"void {endpoint}", daemon=True)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as problem:
            self._context.destroy(linger=0)
            raise ServerUnreachable(f"{endpoint!r} is not an address: {problem}.", hint="Write tcp://host:port.") from (
                problem
            )
        self._thread.start()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what callers do

    def send(self, message: m.Message, payload: m.Buffer = b"", timeout_s: float = 30.0) -> Future[m.Envelope]:
        """Ask; the future holds the reply, or the error that the server answered with, or ``ServerUnreachable``."""
        future: Future[m.Envelope] = Future()
        with self._lock:
            if self._closing:
                raise ServerUnreachable("The connection was closed.")
            entry = _Pending(next(self._ids), message, payload, time.monotonic() + timeout_s, future)
            self._new.append(entry)
        self._wake()
        return future

    def watch(self, job_id: str, after: int, on_event: Callable[[m.Event], None]) -> None:
        """Call ``on_event`` in the connection's thread for every event of the job above ``after``, in order, once.

        Several may watch a job, each from where it wants.
        """
        with self._lock:
            self._watched.setdefault(job_id, []).append(_Watched(after, on_event))
            self._rewatch.add(job_id)
        self._wake()

    def unwatch(self, job_id: str, on_event: Callable[[m.Event], None]) -> None:
        """``on_event``: as it was given to ``watch``. The others go on watching."""
        with self._lock:
            left = [each for each in self._watched.pop(job_id, []) if each.on_event != on_event]
            if left:
                self._watched[job_id] = left
            closing = self._closing
        if not left and not closing:
            self.send(m.Unwatch(job_id))

    def close(self) -> None:
        """Drop the line at once; what was not answered fails with ``ServerUnreachable``."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
        self._wake()
        self._thread.join()

    # --- set-up

    def _open_socket(self, server_key: str, keys: KeyPair) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.curve_serverkey = server_key.encode()
        socket.curve_publickey = keys.public.encode()
        socket.curve_secretkey = keys.secret.encode()
        socket.set(zmq.IMMEDIATE, 1)  # nothing waits inside a broken line: we resend ourselves
        socket.set(zmq.SNDHWM, 64)
        socket.set(zmq.RCVHWM, 1000)
        socket.set(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
        socket.set(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)
        socket.set(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        socket.set(zmq.RECONNECT_IVL, 100)
        socket.set(zmq.RECONNECT_IVL_MAX, 2000)
        return socket

    def _wake_pair(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        receiver = self._context.socket(zmq.PAIR)
        receiver.bind("inproc://wake")
        sender = self._context.socket(zmq.PAIR)
        sender.linger = 0
        sender.connect("inproc://wake")
        return sender, receiver

    def _wake(self) -> None:
        with self._lock:
            if self._wake_send.closed:
                return
            try:
                self._wake_send.send(b"", zmq.NOBLOCK)
            except zmq.Again:
                pass  # many wakes are waiting already: one is enough

    # --- the thread

    def _run(self) -> None:
        poller = zmq.Poller()
        for socket in (self._socket, self._monitor, self._wake_recv):
            poller.register(socket, zmq.POLLIN)
        try:
            while not self._closing:
                # With replies outstanding and room to send, POLLOUT would spin: the tick retries a full pipe.
                ready = dict(poller.poll(_TICK_MS if not self._unsent else 5))
                self._take_new()
                if self._monitor in ready:
                    self._read_monitor()
                if self._socket in ready:
                    self._read_socket()
                self._send_rewatches()
                self._flush()
                self._expire()
        finally:
            self._shut_down()

    def _take_new(self) -> None:
        while True:
            try:
                self._wake_recv.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
        with self._lock:
            new, self._new = self._new, deque()
        for entry in new:
            self._pending[entry.id] = entry
            self._unsent.append(entry.id)

    def _read_monitor(self) -> None:
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._refused = None
                self._on_line()
            elif event == zmq.EVENT_DISCONNECTED:
                self._off_line("offline")
            elif event in (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL):
                self._refused = NotAuthorised(
                    f"The server {self.endpoint} refused this key.",
                    hint="Ask for your public key to be allowed (void keys allow), and check the server's key.",
                )
                self._off_line("refused")
                self._fail_all(self._refused)

    def _on_line(self) -> None:
        self._connected = True
        # Everything unanswered goes again, in order; the server treats repeats as one.
        self._unsent = deque(sorted(self._pending))
        with self._lock:
            self._rewatch = set(self._watched)
        self._on_state("connected")

    def _off_line(self, state: str) -> None:
        if self._connected or state == "refused":
            log.info("%s: %s", self.endpoint, state)
            self._on_state(state)
        self._connected = False

    def _read_socket(self) -> None:
        for _ in range(256):  # then let the other duties have their turn
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            try:
                envelope = m.decode([frame.buffer for frame in parts])
            except VoidError as error:
                self._answer_failed(error)
                continue
            if isinstance(envelope.message, m.Event):
                self._deliver(envelope.message)
            else:
                self._answer(envelope)

    def _answer_failed(self, error: VoidError) -> None:
        entry = self._pending.pop(error.details.get("id", 0), None)
        log.warning("unreadable reply from %s: %s", self.endpoint, error.message)
        if entry is not None:
            entry.future.set_exception(error)

    def _answer(self, envelope: m.Envelope) -> None:
        entry = self._pending.pop(envelope.id, None)
        if entry is None:
            return  # an answer to a request that was repeated or has expired
        if isinstance(envelope.message, m.Failure):
            entry.future.set_exception(from_wire(vars(envelope.message)))
        else:
            entry.future.set_result(envelope)

    def _deliver(self, event: m.Event) -> None:
        heard = []
        with self._lock:
            for watched in self._watched.get(event.job_id, ()):
                if event.seq > watched.last_seq + 1:
                    self._rewatch.add(event.job_id)  # a gap: ask again from the last one seen
                elif event.seq == watched.last_seq + 1:
                    watched.last_seq = event.seq
                    heard.append(watched)
        for watched in heard:
            watched.on_event(event)

    def _send_rewatches(self) -> None:
        with self._lock:
            if not self._connected or not self._rewatch:
                return
            asks = [
                m.Watch(job_id, min(each.last_seq for each in self._watched[job_id]))
                for job_id in self._rewatch & set(self._watched)
            ]
            self._rewatch.clear()
        for ask in asks:
            entry = _Pending(next(self._ids), ask, b"", time.monotonic() + 30.0, Future())
            self._pending[entry.id] = entry
            self._unsent.append(entry.id)

    def _flush(self) -> None:
        while self._connected and self._unsent:
            entry = self._pending.get(self._unsent[0])
            if entry is not None and not entry.future.cancelled():
                try:
                    self._socket.send_multipart(m.encode(entry.message, entry.id, entry.payload), zmq.NOBLOCK)
                except zmq.Again:
                    return
                except MessageError as error:
                    self._pending.pop(entry.id)
                    entry.future.set_exception(error)
            self._unsent.popleft()

    def _expire(self) -> None:
        now = time.monotonic()
        late = [entry for entry in self._pending.values() if entry.deadline < now]
        for entry in late:
            del self._pending[entry.id]
            if not entry.future.cancelled():
                entry.future.set_exception(self._refused or self._unreachable())

    def _unreachable(self) -> ServerUnreachable:
        state = "does not answer" if self._connected else "cannot be reached"
        return ServerUnreachable(
            f"The server {self.endpoint} {state}.",
            hint="Check that `void serve` runs there; nothing is lost, try again.",
        )

    def _fail_all(self, error: VoidError) -> None:
        for entry in self._pending.values():
            if not entry.future.cancelled():
                entry.future.set_exception(error)
        self._pending.clear()
        self._unsent.clear()

    def _shut_down(self) -> None:
        self._take_new()
        self._fail_all(ServerUnreachable("The connection was closed."))
        with self._lock:
            self._wake_send.close(0)
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._wake_recv.close(0)
        self._socket.close(0)
        self._context.term()
