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
import numpy.typing as npt
import OpenEXR

from void_engine.atomic import write_atomically
from void_engine.plates.exrfile import Attribute, channel_entries, parse_structure, serialise_structure
from void_engine.plates.frames import NativeRGB, Pixels, PlateFrame
from void_engine.plates.part import COMPRESSION_NUMBERS, PartHeader

Matte = npt.NDArray[np.float16]  # (H, W)

PREFIX: Final = "void/"
MATTE_PREFIX: Final = "void_"
_HALF: Final = 1  # the number of the pixel type in a channel list
_LOSSY_HALF: Final = ("b44", "b44a")  # lossy for half alone: a part without any may have it and keep its bits
_LOSSLESS: Final = "zip"
_BINDING_NAMES: Final = {"none": "NO"}
_LINE_ORDERS: Final = {"increasing": "INCREASING_Y", "decreasing": "DECREASING_Y", "random": "RANDOM_Y"}


def write_frame(
    path: Path | str,
    frame: PlateFrame,
    *,
    rgb: NativeRGB | None = None,
    layer: str = "",
    mattes: Mapping[str, Matte] | None = None,
    attributes: Mapping[str, str] | None = None,
) -> None:
    """Writes ``frame`` as one EXR file, with ``rgb`` in place of ``layer``'s colour.

    ``rgb``: three arrays of the shape and type that ``frame.native_rgb(layer)`` has. ``mattes``: half channels of that
    shape, by full names that start with "void_"; they join the layer's part, in place of any of the same name.
    ``attributes``: names that start with "void/", set as text in every part; one that the frame has already is replaced
    in its place.
    Raises ``ValueError`` where those do not hold, ``FrameError`` (no such layer), ``DiskFull``, ``InputError``.
    """
    added = dict(attributes or {})
    if wrong := [name for name in added if not name.startswith(PREFIX) or not 5 < len(name.encode()) < 256]:
        raise ValueError(f"attributes must start with {PREFIX!r} and be shorter than 256 bytes: {wrong}")
    channels = [dict(part) for part in frame.channels]
    changed = -1
    if rgb is not None:
        changed = _replace(frame, channels, layer, rgb)
    joined = _join(frame, channels, layer, mattes) if mattes else -1
    compressions = [
        _LOSSLESS if part.lossy or (part.index == joined and part.compression in _LOSSY_HALF) else part.compression
        for part in frame.header.parts
    ]
    headers = [
        _attributes(part, compression, added, mattes if part.index == joined else None, part.index == changed)
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


def _join(frame: PlateFrame, channels: list[dict[str, Pixels]], layer: str, mattes: Mapping[str, Matte]) -> int:
    """Puts the mattes among the channels of the layer's part; returns the part's index."""
    part = frame.header.select(layer).part
    shape = next(iter(channels[part].values())).shape
    for name, plane in mattes.items():
        if not name.startswith(MATTE_PREFIX) or plane.dtype != np.float16 or plane.shape != shape:
            raise ValueError(f"matte {name} must be half {shape} and start with {MATTE_PREFIX!r}; got {plane.dtype}")
        channels[part][name] = plane
    return part


def _attributes(
    part: PartHeader, compression: str, added: Mapping[str, str], mattes: Iterable[str] | None, changed: bool
) -> list[Attribute]:
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
    if mattes is not None:
        changes["channels"] = _with_mattes(part, mattes)
    kept: list[Attribute] = []
    for attribute in part.attributes:
        if attribute.name == "preview" and drop_preview:
            continue
        if attribute.name in new:
            kept.append(Attribute(attribute.name, "string", new.pop(attribute.name)))
        else:
            kept.append(Attribute(attribute.name, attribute.type, changes.get(attribute.name, attribute.data)))
    return kept + [Attribute(name, "string", data) for name, data in new.items()]


def _with_mattes(part: PartHeader, mattes: Iterable[str]) -> bytes:
    """The part's channel list with these half channels, sorted by name as OpenEXR has it."""
    own = part.attribute("channels")
    entries = {name: rest for name, *rest in channel_entries(own.data if own else b"\0")}
    entries.update({name: [_HALF, False, 1, 1] for name in mattes})
    packed = b"".join(
        name.encode("latin-1") + b"\0" + struct.pack("<iB3xii", kind, linear, x_step, y_step)
        for name, (kind, linear, x_step, y_step) in sorted(entries.items(), key=lambda item: item[0].encode("latin-1"))
    )
    return packed + b"\0"


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
