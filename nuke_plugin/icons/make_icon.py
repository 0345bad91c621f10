"""Draws VOID.png: a ring with a gap, where something was. `python nuke_plugin/icons/make_icon.py` writes it anew."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

SIZE = 24  # pixels; Nuke's toolbar shows icons of this size
_SAMPLES = 8
_RING = (0.90, 0.55, 0.15)
_OBJECT = (0.62, 0.62, 0.62)


def draw() -> bytes:
    """The icon as PNG, RGBA, the same bytes each time."""
    rows = b"".join(
        b"\0" + b"".join(bytes(round(255 * value) for value in _pixel(x, y)) for x in range(SIZE)) for y in range(SIZE)
    )
    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 6, 0, 0, 0)
    # Stored, not compressed: other builds of zlib compress to other bytes.
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _pixel(x: int, y: int) -> tuple[float, float, float, float]:
    """Colour and coverage, by samples inside of the pixel."""
    ring = inner = 0
    for i in range(_SAMPLES):
        for j in range(_SAMPLES):
            u = (x + (i + 0.5) / _SAMPLES) / SIZE - 0.5
            v = (y + (j + 0.5) / _SAMPLES) / SIZE - 0.5
            radius, angle = math.hypot(u, v), math.degrees(math.atan2(-v, u))
            if 0.30 <= radius <= 0.44 and not 20 <= angle <= 70:
                ring += 1
            elif math.hypot(u - 0.26, v + 0.26) <= 0.11:
                inner += 1
    total = ring + inner
    if not total:
        return 0.0, 0.0, 0.0, 0.0
    red, green, blue = ((ring * a + inner * b) / total for a, b in zip(_RING, _OBJECT))
    return red, green, blue, total / _SAMPLES**2


if __name__ == "__main__":
    Path(__file__).with_name("VOID.png").write_bytes(draw())
