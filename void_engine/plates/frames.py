"""One plate frame in memory: every channel in its own type, every bit as it is in the file.

Promises: what ``read_frame`` gives is the file's pixels, NaN payloads and all, or a ``FrameError``; never half of them.
Colour for the models comes out finite or not at all; other channels (a depth that is infinite) pass untouched.
Must not: convert colour, write files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import OpenEXR

from void_engine.interface import RGB
from void_engine.plates.exrfile import DAMAGED_HINT, Attribute, StructureError, check_chunks, serialise_structure
from void_engine.plates.header import PlateHeader, check_size, header_from_bytes
from void_engine.plates.limits import DEFAULT_LIMITS, Limits
from void_engine.plates.part import PixelType
from void_engine.plates.source import FrameSource

Pixels = npt.NDArray[Any]  # (H, W): float16, float32 or uint32
NativeRGB = tuple[Pixels, Pixels, Pixels]  # red, green, blue, each (H, W) in its stored type

DTYPES: Final[dict[PixelType, npt.DTypeLike]] = {"half": np.float16, "float": np.float32, "uint": np.uint32}
# What the decoder needs. It must not see the rest: it refuses text that is not UTF-8 and attributes it finds malformed.
_DECODED: Final = frozenset(
    "channels chunkCount compression dataWindow displayWindow lineOrder name pixelAspectRatio screenWindowCenter"
    " screenWindowWidth tiles type version".split()
)
# Everything that pybind11 makes of a C++ exception.
_DECODER_ERRORS: Final = (RuntimeError, ValueError, TypeError, KeyError, IndexError, OverflowError)


@dataclass(frozen=True)
class PlateFrame:
    """A decoded frame. ``channels[part][name]`` is (H, W) over that part's data window, read-only."""

    header: PlateHeader
    channels: tuple[Mapping[str, Pixels], ...] = field(repr=False)

    def native_rgb(self, layer: str = "") -> NativeRGB:
        """The layer's red, green and blue as stored, over its data window. Raises ``FrameError``: no such layer."""
        chosen = self.header.select(layer)
        red, green, blue = (self.channels[chosen.part][name] for name in chosen.names)
        return red, green, blue

    def rgb(self, layer: str = "") -> RGB:
        """The layer's colour as float32 (H, W, 3) over its data window, a copy.

        Raises ``FrameError`` where the layer is not there, or holds a value that is not finite (details: channel,
        count and ``pixel``, the first one's (x, y) in the file's coordinates).
        """
        planes = self.native_rgb(layer)
        colour = np.empty((*planes[0].shape, 3), np.float32)
        for index, plane in enumerate(planes):
            colour[..., index] = plane
        if not np.isfinite(colour).all():
            raise self._not_finite(layer, colour)
        return colour

    def _not_finite(self, layer: str, colour: RGB) -> Exception:
        chosen = self.header.select(layer)
        window = self.header.parts[chosen.part].data_window
        bad = ~np.isfinite(colour)
        y, x, index = (int(value) for value in np.argwhere(bad)[0])
        value, name, count = colour[y, x, index], chosen.names[index], int(bad[..., index].sum())
        return self.header.source.error(
            f"its channel {name} holds {count} values that are NaN or infinite; the first is {value} at pixel"
            f" x={x + window.x0}, y={y + window.y0} (from the top left)",
            "Replace them before VOID, with an Expression node (isnan, isinf) or by rendering this frame again.",
            channel=name,
            count=count,
            pixel=[x + window.x0, y + window.y0],
        )


def read_frame(path: Path | str, *, input: str = "plate", frame: int, limits: Limits = DEFAULT_LIMITS) -> PlateFrame:
    """Reads one EXR frame: its header judged first, then all pixels of all parts.

    ``input``: "plate" or "quadmask". Raises ``FrameError`` (details: input, frame, file).
    """
    source = FrameSource(input, frame, Path(path))
    try:
        # Read once: the header that was judged and the pixels that are decoded are the same bytes.
        with source.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            check_size(source, size, limits)
            data = file.read(size)
        header = header_from_bytes(source, data, limits)
        check_chunks(data, header.structure, [part.layout() for part in header.parts])
        return PlateFrame(header, _decode(header, data))
    except StructureError as error:
        raise source.error(str(error), error.hint) from error
    except OSError as error:
        raise source.unreadable(error) from error


def pixel_digest(frame: PlateFrame) -> str:
    """SHA-256 of the pixels, in hex: the same whatever the compression, the tiling or the metadata.

    The digest is over ``b"void-pixels-1\\n"``, then per part in the file's order one line of JSON (compact, ASCII, keys
    sorted) with ``channels`` (``[name, type]`` sorted by name), ``data`` and ``display`` (``[x0, y0, x1, y1]``) and
    ``part`` (its name; empty where the file has one part), a newline, then each channel's samples in that order:
    rows top to bottom, little-endian. Types are "half", "float", "uint".
    """
    digest = hashlib.sha256(b"void-pixels-1\n")
    for part, pixels in zip(frame.header.parts, frame.channels, strict=True):
        channels = sorted((channel.name, channel.type) for channel in part.channels)
        data, display = part.data_window, part.display_window
        description = {
            "channels": [list(channel) for channel in channels],
            "data": [data.x0, data.y0, data.x1, data.y1],
            "display": [display.x0, display.y0, display.x1, display.y1],
            "part": part.name if len(frame.header.parts) > 1 else "",
        }
        digest.update(json.dumps(description, sort_keys=True, separators=(",", ":")).encode() + b"\n")
        for name, kind in channels:
            digest.update(np.ascontiguousarray(pixels[name], np.dtype(DTYPES[kind]).newbyteorder("<")).data)
    return digest.hexdigest()


class _DecoderStream:
    """The file's bytes with another header of the same length, without copying the pixels; what the decoder reads."""

    def __init__(self, head: bytes, data: bytes) -> None:
        self._head, self._data, self._position = head, data, 0

    def read(self, size: int) -> bytes:
        start, end = self._position, min(self._position + size, len(self._data))
        self._position = end
        return self._head[start:end] + self._data[max(start, len(self._head)) : end]

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._position, len(self._data))[whence]
        self._position = base + offset
        return self._position


def _neutral(attribute: Attribute) -> Attribute:
    """An attribute that the decoder has no reason to look at becomes one that it does not know, of the same length."""
    if attribute.name in _DECODED:
        return attribute
    name = attribute.name.encode("ascii", "replace").decode("ascii")
    return Attribute(name, "x" * len(attribute.type), attribute.data)


def _decode(header: PlateHeader, data: bytes) -> tuple[Mapping[str, Pixels], ...]:
    structure = header.structure
    head = serialise_structure(structure.flags, [[_neutral(a) for a in part] for part in structure.parts])
    # The flag for long names may be set without need, which changes no length.
    head = data[:8] + head[8:]
    if len(head) != structure.end:
        raise StructureError("its header is damaged")
    try:
        file = OpenEXR.File(_DecoderStream(head, data), separate_channels=True)
        decoded = file.parts
        # The binding leaves out a part that it could not decode, having printed a warning.
        if [part.part_index for part in decoded] != [part.index for part in header.parts]:
            raise header.source.error("its pixels cannot be decoded", DAMAGED_HINT)
        return tuple(_part_channels(header, index, part.channels) for index, part in enumerate(decoded))
    except _DECODER_ERRORS as error:
        raise header.source.error(f"the OpenEXR library cannot read it ({error})", DAMAGED_HINT) from error


def _part_channels(header: PlateHeader, index: int, decoded: Mapping[str, Any]) -> Mapping[str, Pixels]:
    part = header.parts[index]
    shape = (part.data_window.height, part.data_window.width)
    channels: dict[str, Pixels] = {}
    for channel in part.channels:
        pixels: Pixels = decoded[channel.name].pixels
        if pixels.shape != shape or pixels.dtype != DTYPES[channel.type]:
            raise header.source.error(f"its channel {channel.name} is not what its header says", DAMAGED_HINT)
        pixels.setflags(write=False)
        channels[channel.name] = pixels
    return channels
