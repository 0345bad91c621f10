"""EXR files for the tests, none of them written by the code under test."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import OpenImageIO as oiio

UINT_MAX = float(2**32 - 1)
Pixels = np.ndarray[Any, np.dtype[Any]]


def noise(height: int, width: int, dtype: Any = np.float16, seed: int = 0) -> Pixels:
    """Finite, smooth enough to compress, different in every pixel."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0.01, 4.0, width)[None, :] * np.linspace(0.5, 1.5, height)[:, None]
    values = ramp * (1 + 0.05 * rng.standard_normal((height, width)))
    return (values * 1000).astype(dtype) if dtype == np.uint32 else values.astype(dtype)


def rgba(height: int, width: int, dtype: Any = np.float16) -> dict[str, Pixels]:
    return {name: noise(height, width, dtype, seed) for seed, name in enumerate("RGBA")}


def box(x0: int, y0: int, x1: int, y1: int) -> tuple[Pixels, Pixels]:
    return np.array([x0, y0], np.int32), np.array([x1, y1], np.int32)


def write_exr(
    path: Path,
    channels: dict[str, Any],
    *,
    compression: str = "ZIP",
    tiles: tuple[int, int] | None = None,
    **header: Any,
) -> Path:
    """By the OpenEXR binding; ``header`` are attributes."""
    attributes: dict[str, Any] = {
        "compression": getattr(OpenEXR, f"{compression}_COMPRESSION"),
        "type": OpenEXR.scanlineimage,
        **header,
    }
    if tiles:
        attributes["type"] = OpenEXR.tiledimage
        attributes["tiles"] = OpenEXR.TileDescription()
        attributes["tiles"].xSize, attributes["tiles"].ySize = tiles
    OpenEXR.File(attributes, dict(channels)).write(str(path))
    return path


def write_parts(path: Path, parts: list[tuple[str, dict[str, Any], dict[str, Any]]]) -> Path:
    """Several parts: ``(name, header, channels)``."""
    made = [
        OpenEXR.Part({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}, channels, name)
        for name, header, channels in parts
    ]
    OpenEXR.File(made).write(str(path))
    return path


def write_rich(path: Path, compression: str = "zip") -> dict[str, Pixels]:
    """By OpenImageIO: mixed types, overscan from a negative origin, anamorphic, timecode, fps, matrix, custom."""
    width, height = 37, 23
    formats = {"R": oiio.HALF, "G": oiio.HALF, "B": oiio.HALF, "A": oiio.HALF, "Z": oiio.FLOAT, "id": oiio.UINT}
    spec = oiio.ImageSpec(width, height, len(formats), oiio.FLOAT)
    spec.channelnames = list(formats)
    spec.channelformats = tuple(oiio.TypeDesc(kind) for kind in formats.values())
    spec.x, spec.y = -4, -3
    spec.full_x, spec.full_y, spec.full_width, spec.full_height = 0, 0, 29, 17
    spec.attribute("compression", compression)
    spec.attribute("PixelAspectRatio", 2.0)
    spec.attribute("smpte:TimeCode", oiio.TypeDesc("timecode"), (0x01020304, 0x05060708))
    spec.attribute("FramesPerSecond", oiio.TypeDesc("rational"), (24000, 1001))
    spec.attribute("worldtocamera", oiio.TypeMatrix, tuple(float(value) for value in range(16)))
    spec.attribute("owner", "the studio")
    spec.attribute("nuke/node_hash", "0123abcd")
    channels: dict[str, Pixels] = {
        name: noise(height, width, {oiio.HALF: np.float16, oiio.FLOAT: np.float32, oiio.UINT: np.uint32}[kind], seed)
        for seed, (name, kind) in enumerate(formats.items())
    }
    channels["Z"][2:5, 3:9] = np.inf
    file = oiio.ImageOutput.create(str(path))
    assert file.open(str(path), spec), file.geterror()
    # One type for all in OpenImageIO's Python: float64 holds half, float and (as a share of the largest) uint32.
    planes = [plane / UINT_MAX if plane.dtype == np.uint32 else plane.astype(np.float64) for plane in channels.values()]
    assert file.write_image(np.stack(planes, axis=2)), file.geterror()
    file.close()
    return channels


def header_of(data: bytes) -> tuple[list[tuple[bytes, bytes, bytes]], int]:
    """The first part's attributes ``(name, type, value)`` and where its header ends: a second, plainer parser."""
    position, found = 8, []
    while data[position]:
        name, kind, rest = data[position:].split(b"\0", 2)
        position += len(name) + len(kind) + 2
        (size,) = struct.unpack("<i", rest[:4])
        found.append((name, kind, rest[4 : 4 + size]))
        position += 4 + size
    return found, position + 1


def with_attributes(path: Path, change: Any) -> Path:
    """Rewrites a single-part file with ``change(attributes)`` for its attributes, moving its chunks along."""
    data = path.read_bytes()
    attributes, end = header_of(data)
    head = data[:8]
    for name, kind, value in change(attributes):
        head += name + b"\0" + kind + b"\0" + struct.pack("<i", len(value)) + value
    head += b"\0"
    (first,) = struct.unpack_from("<Q", data, end)
    count = (first - end) // 8
    table = [offset + len(head) - end for offset in struct.unpack_from(f"<{count}Q", data, end)]
    path.write_bytes(head + struct.pack(f"<{count}Q", *table) + data[end + 8 * count :])
    return path


def set_attribute(path: Path, name: bytes, kind: bytes, value: bytes) -> Path:
    return with_attributes(path, lambda attributes: [a for a in attributes if a[0] != name] + [(name, kind, value)])


def read_by_oiio(path: Path) -> dict[str, Pixels]:
    """Every channel in float64, by another library."""
    file = oiio.ImageInput.open(str(path))
    assert file is not None, oiio.geterror()
    spec = file.spec()
    pixels = file.read_image(oiio.DOUBLE)
    assert pixels is not None, file.geterror()
    file.close()
    planes = {name: pixels[..., index] for index, name in enumerate(spec.channelnames)}
    integers = [name for index, name in enumerate(spec.channelnames) if spec.channelformat(index) == oiio.UINT]
    return {name: np.rint(plane * UINT_MAX) if name in integers else plane for name, plane in planes.items()}


def bits(plane: Pixels) -> Pixels:
    """The samples as unsigned integers: NaN payloads and the sign of zero count."""
    return plane.view({2: np.uint16, 4: np.uint32}[plane.dtype.itemsize])
