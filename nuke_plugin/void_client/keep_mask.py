"""A quadmask that keeps a whole frame, as an EXR of one pixel: outside of a mask's data window is keep.

Promises: the display window is that of the plate's file; no pixel of it is read. Must not: need any library.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from .errors import FrameError
from .manifest import write_durably

_MAGIC = 20000630
_LONGEST = 1 << 20  # of a header's attribute: more is no attribute


def write_keep(path: Path, plate: Path) -> None:
    """Raises ``FrameError`` where ``plate`` is no EXR, ``DiskFull``, ``OSError``."""
    window = display_window(plate)
    x, y = window[0], window[1]
    head = bytearray(struct.pack("<II", _MAGIC, 2))
    for name, kind, data in (
        ("channels", "chlist", b"R\0" + struct.pack("<IIII", 1, 0, 1, 1) + b"\0"),
        ("compression", "compression", b"\0"),
        ("dataWindow", "box2i", struct.pack("<iiii", x, y, x, y)),
        ("displayWindow", "box2i", struct.pack("<iiii", *window)),
        ("lineOrder", "lineOrder", b"\0"),
        ("pixelAspectRatio", "float", struct.pack("<f", 1.0)),
        ("screenWindowCenter", "v2f", struct.pack("<ff", 0.0, 0.0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1.0)),
    ):
        head += name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<I", len(data)) + data
    head += b"\0"
    offset = struct.pack("<Q", len(head) + 8)
    write_durably(path, bytes(head) + offset + struct.pack("<iIe", y, 2, 1.0))


def display_window(plate: Path) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of an EXR's (first) header. Raises ``FrameError``."""
    try:
        with plate.open("rb") as stream:
            if struct.unpack("<I", stream.read(4))[0] != _MAGIC:
                raise ValueError("it is not an EXR file")
            stream.read(4)
            while True:
                name = _text(stream.read)
                if not name:
                    raise ValueError("it has no display window")
                kind = _text(stream.read)
                (size,) = struct.unpack("<I", stream.read(4))
                if size > _LONGEST:
                    raise ValueError("its header is damaged")
                data = stream.read(size)
                if (name, kind) == (b"displayWindow", b"box2i"):
                    x0, y0, x1, y1 = struct.unpack("<iiii", data)
                    return x0, y0, x1, y1
    except (OSError, ValueError, struct.error) as problem:
        why = getattr(problem, "strerror", None) or str(problem)
        raise FrameError(
            f"{plate} cannot be read: {why}.", hint="Render it again.", details={"input": "plate", "file": str(plate)}
        ) from problem


def _text(read: Callable[[int], bytes]) -> bytes:
    found = b""
    while True:
        byte = read(1)
        if not byte:
            raise ValueError("it ends in its header")
        if byte == b"\0":
            return found
        found += byte
        if len(found) > 255:
            raise ValueError("its header is damaged")
