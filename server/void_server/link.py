"""The line between the server and one of its worker processes: a socket pair, length-prefixed msgpack maps.

Promises: the end of either process is seen at once, as end of file; decoded by the strict decoder. Maps have
a text ``kind`` and plain values; docs/architecture.md lists them. A socket may come with one, as its ``line``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections import deque
from typing import Any

from void_client import wire
from void_client.errors import MessageError

_HEAD = struct.Struct(">I")
_SEND_TIMEOUT_S = 10.0
_SOCKETS_AT_ONCE = 16


class LinkClosed(Exception):
    """The other process has ended."""


class Link:
    """One end. ``send`` may be called from several threads, ``receive`` from one."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._buffer = bytearray()
        self._lock = threading.Lock()
        self._sockets: deque[int] = deque()  # that came, and whose message is not complete yet

    def fileno(self) -> int:
        return self._line.fileno()

    def send(self, kind: str, line: socket.socket | None = None, **values: Any) -> None:
        """``line``: a socket for the other process; this one's may be closed then. Raises ``LinkClosed``."""
        if line is not None:
            values["line"] = True
        data = wire.pack({"kind": kind, **values})
        data = _HEAD.pack(len(data)) + data
        with self._lock:
            try:
                sent = socket.send_fds(self._line, [data], [line.fileno()]) if line is not None else 0
                self._line.sendall(data[sent:])
            except OSError as problem:
                raise LinkClosed(str(problem)) from problem

    def receive(self) -> list[dict[str, Any]]:
        """Whatever has arrived, after waiting for one read. Raises ``LinkClosed`` at the end of file."""
        try:
            data, sockets, _, _ = socket.recv_fds(self._line, 1 << 16, _SOCKETS_AT_ONCE)
        except OSError as problem:
            raise LinkClosed(str(problem)) from problem
        if not data:
            raise LinkClosed("end of file")
        self._buffer += data
        for each in sockets:
            os.set_inheritable(each, False)
        self._sockets += sockets
        return self._complete()

    def _complete(self) -> list[dict[str, Any]]:
        found = []
        while len(self._buffer) >= _HEAD.size:
            (size,) = _HEAD.unpack_from(self._buffer)
            if size > wire.LIMITS.control_bytes:
                raise MessageError(f"A message of {size} bytes on a worker's line.")
            end = _HEAD.size + size
            if len(self._buffer) < end:
                break
            message = wire.unpack(bytes(self._buffer[_HEAD.size : end]))
            del self._buffer[:end]
            if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
                raise MessageError("A message without a kind on a worker's line.")
            if "line" in message:
                if not self._sockets:
                    raise MessageError("A message of a line came without it.")
                message["line"] = socket.socket(fileno=self._sockets.popleft())
            found.append(message)
        return found

    def close(self) -> None:
        while self._sockets:
            socket.close(self._sockets.popleft())
        with contextlib.suppress(OSError):
            self._line.close()


def pair() -> tuple[Link, socket.socket]:
    """(the server's end, the raw socket to hand to a worker)."""
    ours, theirs = socket.socketpair()
    # A worker that stopped reading must not stop the server.
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(_SEND_TIMEOUT_S), 0))
    return Link(ours), theirs
