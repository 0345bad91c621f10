"""A line between two workers, for work that is shared: each message is a small map and raw bytes.

The server makes the pair, hands one end to each and keeps none: when either process ends, the other sees it at once.
Maps are decoded by the strict decoder; the bytes are tensors in the safetensors format, and nothing else is ever read.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from typing import Any

from void_client import wire
from void_client.errors import MessageError

_HEAD = struct.Struct(">IQ")  # bytes of the map, bytes after it
_MOST_BYTES = 1 << 34


class Line:
    """One end; the engine's `void_engine.interface.Line`. One thread sends and receives; any may end it."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(True)
        self._end = end

    def send(self, header: Mapping[str, Any], data: bytes = b"") -> None:
        """Raises ``ConnectionError`` where the other has gone."""
        packed = wire.pack(dict(header))
        try:
            self._end.sendall(_HEAD.pack(len(packed), len(data)) + packed)
            self._end.sendall(data)
        except OSError as problem:
            raise ConnectionError(str(problem)) from problem

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """The next message, however long that takes. Raises ``ConnectionError`` where the other has gone."""
        size, more = _HEAD.unpack(self._exactly(_HEAD.size))
        if size > wire.LIMITS.control_bytes or more > _MOST_BYTES:
            raise ConnectionError(f"a message of {size} and {more} bytes")
        try:
            header = wire.unpack(self._exactly(size))
        except MessageError as problem:
            raise ConnectionError(str(problem)) from problem
        if not isinstance(header, dict):
            raise ConnectionError("a message without a map")
        return header, self._exactly(more)

    def leave(self) -> None:
        """Take no more from the other; what is under way may still be sent."""
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RD)

    def break_off(self) -> None:
        """Whoever waits on either end is told that the other has gone."""
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.break_off()
        self._end.close()

    def _exactly(self, count: int) -> bytes:
        data = bytearray(count)
        view, filled = memoryview(data), 0
        while filled < count:
            try:
                got = self._end.recv_into(view[filled:])
            except OSError as problem:
                raise ConnectionError(str(problem)) from problem
            if not got:
                raise ConnectionError("the other end has gone")
            filled += got
        view.release()
        return bytes(data)


class Borrowed:
    """The lines to the workers that help with this worker's job; the engine's `void_engine.interface.Helpers`.

    ``ask`` and ``arrived`` are the engine's, in the job's thread; the rest is called by the thread that hears.
    """

    def __init__(self, ask: Callable[[str, int], None]) -> None:
        """``ask(job_id, count)`` tells the server."""
        self._ask = ask
        self._job_id = ""
        self._arrived: list[Line] = []
        self._lock = threading.Lock()

    def begin(self, job_id: str) -> None:
        with self._lock:
            self._job_id = job_id

    def end(self) -> None:
        with self._lock:
            self._job_id = ""
        for line in self.arrived():
            line.close()

    def ask(self, count: int) -> None:
        """For ``count`` helpers in all."""
        if self._job_id:
            self._ask(self._job_id, count)

    def arrived(self) -> list[Line]:
        with self._lock:
            found, self._arrived = self._arrived, []
        return found

    def put(self, job_id: str, line: Line) -> None:
        with self._lock:
            wanted = job_id == self._job_id
            if wanted:
                self._arrived.append(line)
        if not wanted:
            line.close()  # it came too late: the job has ended
