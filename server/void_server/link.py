"""The line between the server and one of its worker processes: a socket pair, length-prefixed msgpack maps.

Promises: the end of either process is seen at once, as end of file; decoded by the strict decoder. Maps have
a text ``kind`` and plain values; docs/architecture.md lists them.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Any

from void_client import wire
from void_client.errors import MessageError

_HEAD = struct.Struct(">I")
_SEND_TIMEOUT_S = 10.0


class LinkClosed(Exception):
    """The other process has ended."""


class Link:
    """One end. ``send`` may be called from several threads, ``receive`` from one."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._buffer = bytearray()
        self._lock = threading.Lock()

    def fileno(self) -> int:
        return self._line.fileno()

    def send(self, kind: str, **values: Any) -> None:
        """Raises ``LinkClosed``."""
        data = wire.pack({"kind": kind, **values})
        with self._lock:
            try:
                self._line.sendall(_HEAD.pack(len(data)) + data)
            except OSError as problem:
                raise LinkClosed(str(problem)) from problem

    def receive(self) -> list[dict[str, Any]]:
        """Whatever has arrived, after waiting for one read. Raises ``LinkClosed`` at the end of file."""
        try:
            data = self._line.recv(1 << 16)
        except OSError as problem:
            raise LinkClosed(str(problem)) from problem
        if not data:
            raise LinkClosed("end of file")
        self._buffer += data
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
            found.append(message)
        return found

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._line.close()


def pair() -> tuple[Link, socket.socket]:
    """(the server's end, the raw socket to hand to a worker)."""
    ours, theirs = socket.socketpair()
    # A worker that stopped reading must not stop the server.
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(_SEND_TIMEOUT_S), 0))
    return Link(ours), theirs
