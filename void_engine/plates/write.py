"""A plate frame back into a file: the same but for the colour that was replaced.

Promises: every attribute, channel, type and window of the file that was read, byte for byte, in the file's own order;
the same input gives the same bytes; the file is whole or not there. Must not: convert colour or invent metadata.

What changes, and why: a lossy compression becomes ZIP (``void/source_compression`` names the old one), because decoding
and encoding again would change kept pixels; a ``preview`` thumbnail goes where colour was replaced (``void/dropped``
names it), because it still shows what was removed.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import OpenEXR

from void_engine.atomic import write_atomically
from void_engine.plates.exrfile import Attribute, parse_structure, serialise_structure
from void_engine.plates.frames import NativeRGB, Pixels, PlateFrame
from void_engine.plates.part import COMPRESSION_NUMBERS, PartHeader

PREFIX: Final = "void/"
_LOSSLESS: Final = "zip"
_BINDING_NAMES: Final = {"none": "NO"}
_LINE_ORDERS: Final = {"increasing": "INCREASING_Y", "decreasing": "DECREASING_Y", "random": "RANDOM_Y"}


def write_frame(
    path: Path | str,
    frame: PlateFrame,
    *,
    rgb: NativeRGB | None = None,
    layer: str = "",
    attributes: Mapping[str, str] | None = None,
) -> None:
    """Writes ``frame`` as one EXR file, with ``rgb`` in place of ``layer``'s colour.

    ``rgb``: three arrays of the shape and type that ``frame.native_rgb(layer)`` has. ``attributes``: names that start
    with "void/", set as text in every part; one that the frame has already is replaced in its place.
    Raises ``ValueError`` where those do not hold, ``FrameError`` (no such layer), ``DiskFull``, ``InputError``.
    """
    added = dict(attributes or {})
    if wrong := [name for name in added if not name.startswith(PREFIX) or not 5 < len(name.encode()) < 256]:
        raise ValueError(f"attributes must start with {PREFIX!r} and be shorter than 256 bytes: {wrong}")
    channels = [dict(part) for part in frame.channels]
    changed = -1
    if rgb is not None:
        changed = _replace(frame, channels, layer, rgb)
    compressions = [_LOSSLESS if part.lossy else part.compression for part in frame.header.parts]
    headers = [
        _attributes(part, compression, added, part.index == changed)
        for part, compression in zip(frame.header.parts, compressions, strict=True)
    ]
    head = serialise_structure(frame.header.structure.flags, headers)
    chunks = sum(part.layout(used).count for part, used in zip(frame.header.parts, compressions, strict=True))
    write_atomically(Path(path), _splice(head, _encode(frame, channels, compressions), chunks))


def _replace(frame: PlateFrame, channels: list[dict[str, Pixels]], layer: str, rgb: NativeRGB) -> int:
    chosen = frame.header.select(layer)
    for name, plane in zip(chosen.names, rgb, strict=True):
        old = channels[chosen.part][name]
        if plane.shape != old.shape or plane.dtype != old.dtype:
            raise ValueError(
                f"channel {name} must be {old.dtype} {old.shape}, as in the plate; got {plane.dtype} {plane.shape}"
            )
        channels[chosen.part][name] = plane
    return chosen.part


def _attributes(part: PartHeader, compression: str, added: Mapping[str, str], changed: bool) -> list[Attribute]:
    """The part's attributes, in its order; new ones follow, sorted by name."""
    values = dict(added)
    drop_preview = changed and part.attribute("preview") is not None
    if compression != part.compression:
        values[f"{PREFIX}source_compression"] = part.compression
    if drop_preview:
        values[f"{PREFIX}dropped"] = "preview"
    new = {name.encode().decode("latin-1"): text.encode() for name, text in sorted(values.items())}
    changes: dict[str, bytes] = {"compression": bytes([COMPRESSION_NUMBERS[compression]])}
    if part.attribute("chunkCount"):
        changes["chunkCount"] = struct.pack("<i", part.layout(compression).count)
    kept: list[Attribute] = []
    for attribute in part.attributes:
        if attribute.name == "preview" and drop_preview:
            continue
        if attribute.name in new:
            kept.append(Attribute(attribute.name, "string", new.pop(attribute.name)))
        else:
            kept.append(Attribute(attribute.name, attribute.type, changes.get(attribute.name, attribute.data)))
    return kept + [Attribute(name, "string", data) for name, data in new.items()]


def _encode(frame: PlateFrame, channels: Iterable[Mapping[str, Pixels]], compressions: Iterable[str]) -> memoryview:
    """The whole frame as OpenEXR writes it, with the barest header; its chunks are what is wanted."""
    parts: list[Any] = []
    for part, pixels, compression in zip(frame.header.parts, channels, compressions, strict=True):
        header: dict[str, Any] = {
            "compression": getattr(OpenEXR, f"{_BINDING_NAMES.get(compression, compression.upper())}_COMPRESSION"),
            "dataWindow": _box(part.data_window.x0, part.data_window.y0, part.data_window.x1, part.data_window.y1),
            "displayWindow": _box(
                part.display_window.x0, part.display_window.y0, part.display_window.x1, part.display_window.y1
            ),
            "lineOrder": getattr(OpenEXR, _LINE_ORDERS[part.line_order]),
            "pixelAspectRatio": part.pixel_aspect,
            "type": OpenEXR.tiledimage if part.tile_size else OpenEXR.scanlineimage,
        }
        if part.tile_size:
            header["tiles"] = _tiles(part.tile_size)
        # The binding takes the address of the samples, whatever their strides.
        planes = {name: np.ascontiguousarray(plane) for name, plane in pixels.items()}
        parts.append(OpenEXR.Part(header, planes, part.name))
    stream = io.BytesIO()
    OpenEXR.File(parts).write(stream)
    return stream.getbuffer()


def _box(x0: int, y0: int, x1: int, y1: int) -> tuple[Any, Any]:
    return np.array([x0, y0], np.int32), np.array([x1, y1], np.int32)


def _tiles(size: tuple[int, int]) -> Any:
    tiles = OpenEXR.TileDescription()
    tiles.xSize, tiles.ySize = size
    tiles.mode = OpenEXR.LevelMode.ONE_LEVEL
    return tiles


def _splice(head: bytes, encoded: memoryview, chunks: int) -> list[bytes | memoryview]:
    """``encoded`` with ``head`` for its header: its chunks move, so the offsets in its chunk tables move with them."""
    # Its header holds what ``head`` holds of necessity, and less than 1 KiB a part that ``head`` may lack.
    bound = len(head) + (head.count(b"channels\0") + 1) * 1024
    end = parse_structure(bytes(encoded[:bound])).end
    tables = np.frombuffer(encoded, "<u8", chunks, end).astype(np.int64) + (len(head) - end)
    return [head, tables.astype("<u8").tobytes(), encoded[end + 8 * chunks :]]
