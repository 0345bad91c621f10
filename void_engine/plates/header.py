"""A plate frame's header: read and judged before any pixel is decoded.

Promises: a file that is missing, empty, no EXR, too short, too big or of a refused kind is a ``FrameError`` that names
the input, the frame and the file, and says what to do. Must not: decode pixels.

Layers. ``""`` (also ``"rgb"`` and ``"rgba"``, as Nuke calls it) is the layer without a name; any other is what stands
before the last dot of its channels' names, or the name or the view of a part. Its channels are R, G, B, or r, g, b, or
red, green, blue, or Red, Green, Blue. Where several parts have the layer, the first in the file counts.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from void_engine.interface import Window
from void_engine.plates.exrfile import (
    FLAG_DEEP,
    FLAG_MULTI_PART,
    FLAG_TILED,
    TRUNCATED_HINT,
    AttributeValue,
    HeaderTooShort,
    Structure,
    StructureError,
    check_table,
    parse_structure,
)
from void_engine.plates.limits import DEFAULT_LIMITS, Limits
from void_engine.plates.part import PartHeader, build_part, check_limits
from void_engine.plates.source import FrameSource

_FIRST_READ: Final = 256 << 10
_LISTED: Final = 24  # channels named in an error
# OpenEXR's standard attribute, then what Nuke's Write keeps of its own metadata.
_RATES: Final = ("framesPerSecond", "input/frame_rate", "nuke/input/frame_rate")
_FASTEST: Final = 10_000.0  # high-speed cameras; above, the attribute is broken


@dataclass(frozen=True)
class RgbLayer:
    """Where a layer's colour is: the part's index and the full names of red, green and blue."""

    part: int
    names: tuple[str, str, str]


@dataclass(frozen=True)
class PlateHeader:
    """Everything that the file says before its pixels. Never empty: a single-part file has one part."""

    source: FrameSource
    parts: tuple[PartHeader, ...]
    structure: Structure

    @property
    def display_window(self) -> Window:
        """The same in all parts."""
        return self.parts[0].display_window

    @property
    def pixel_aspect(self) -> float:
        """The width of a pixel by its height; the same in all parts."""
        return self.parts[0].pixel_aspect

    @property
    def frame_rate(self) -> float:
        """Frames a second by ``framesPerSecond`` of the first part, or what Nuke wrote; 0.0 where neither is usable."""
        for name in _RATES:
            attribute = self.parts[0].attribute(name)
            rate = _rate(attribute.value()) if attribute is not None else 0.0
            if rate > 0:
                return rate
        return 0.0

    @property
    def decoded_bytes(self) -> int:
        return sum(part.decoded_bytes for part in self.parts)

    def layers(self) -> tuple[str, ...]:
        """The layers that hold red, green and blue; "" is the one without a name."""
        names: dict[str, None] = {}
        for part in self.parts:
            for layer in part.layers():
                named = part.name or part.view
                names[named if layer == "" and part.index and named else layer] = None
        return tuple(names)

    def select(self, layer: str = "") -> RgbLayer:
        """The layer's colour channels. Raises ``FrameError`` where it is not there, or is not half or float."""
        for name in (layer, "") if layer in ("rgb", "rgba") else (layer,):
            for part in self.parts:
                names = part.rgb_names(name)
                if names is None:
                    continue
                types = {channel.name: channel.type for channel in part.channels}
                if "uint" in {types[channel] for channel in names}:
                    raise self.source.error(
                        f"the layer {layer or 'R, G, B'!r} holds integers, not colour", "Choose a half or float layer."
                    )
                return RgbLayer(part.index, names)
        raise self._no_layer(layer)

    def data_window(self, layer: str = "") -> Window:
        """Where the layer has pixels. Raises ``FrameError`` where the layer is not there."""
        return self.parts[self.select(layer).part].data_window

    def _no_layer(self, layer: str) -> Exception:
        channels = [channel.name for part in self.parts for channel in part.channels]
        more = f" and {len(channels) - _LISTED} more" if len(channels) > _LISTED else ""
        layers = [name or "(R, G, B)" for name in self.layers()]
        what = f"it has no layer {layer!r}" if layer else "it has no channels R, G, B"
        return self.source.error(
            f"{what}. Its layers with colour: {', '.join(layers) or 'none'}. "
            f"Its channels: {', '.join(channels[:_LISTED])}{more}",
            "Choose one of these layers.",
            layers=list(self.layers()),
        )


def read_header(path: Path | str, *, input: str = "plate", frame: int, limits: Limits = DEFAULT_LIMITS) -> PlateHeader:
    """Reads and judges the header of one EXR frame; a file cut short is found here too, but for odd chunk orders.

    ``input``: "plate" or "quadmask". Raises ``FrameError`` (details: input, frame, file).
    """
    source = FrameSource(input, frame, Path(path))
    try:
        with source.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            check_size(source, size, limits)
            header = header_from_bytes(source, _header_bytes(file, size, limits), limits)
            _check_tail(file, size, header)
            return header
    except StructureError as error:
        raise source.error(str(error), error.hint) from error
    except OSError as error:
        raise source.unreadable(error) from error


def check_size(source: FrameSource, size: int, limits: Limits) -> None:
    """Raises ``FrameError`` for an empty file and for one over the limit; ``size`` in bytes."""
    if size == 0:
        raise source.error("the file is empty", TRUNCATED_HINT)
    if size > limits.max_file_bytes:
        raise source.error(
            f"the file has {size} bytes; the limit is {limits.max_file_bytes}",
            "Render it smaller, or with fewer channels.",
        )


def header_from_bytes(source: FrameSource, data: bytes, limits: Limits) -> PlateHeader:
    """Judges a header in memory. Raises ``StructureError``; ``HeaderTooShort`` where it goes on behind ``data``."""
    structure = parse_structure(data, limits.max_parts)
    if structure.flags & FLAG_DEEP and not structure.flags & FLAG_MULTI_PART:
        raise StructureError("it holds deep pixels", "Flatten the deep image (DeepToImage) and give that.")
    parts = tuple(
        build_part(index, attributes, multi_part=structure.multi_part, tiled=bool(structure.flags & FLAG_TILED))
        for index, attributes in enumerate(structure.parts)
    )
    check_limits(parts, limits)
    for part in parts[1:]:
        if (part.display_window, part.pixel_aspect) != (parts[0].display_window, parts[0].pixel_aspect):
            raise StructureError(
                "its parts differ in display window or pixel aspect", "Write them with the same format."
            )
    if len({part.name for part in parts}) < len(parts):
        raise StructureError("two of its parts have the same name", "Give every part a name of its own.")
    return PlateHeader(source, parts, structure)


def _header_bytes(file: BinaryIO, size: int, limits: Limits) -> bytes:
    """The file's first bytes, enough for the whole header. A header is short, so this is one read but for previews."""
    data = file.read(min(size, _FIRST_READ))
    while True:
        try:
            parse_structure(data, limits.max_parts)
        except HeaderTooShort:
            if len(data) >= limits.max_header_bytes:
                raise StructureError(f"its header is over {limits.max_header_bytes} bytes") from None
            more = file.read(min(len(data), limits.max_header_bytes - len(data)))
            if not more:
                raise
            data += more
        else:
            return data


def _check_tail(file: BinaryIO, size: int, header: PlateHeader) -> None:
    """The chunk tables are whole and the chunk that lies last ends inside the file."""
    multi = int(header.structure.multi_part)
    counts = [part.layout().count for part in header.parts]
    chunks_start = header.structure.end + 8 * sum(counts)
    if chunks_start > size:
        raise StructureError("the file ends inside its chunk table", TRUNCATED_HINT)
    file.seek(header.structure.end)
    for part, count in zip(header.parts, counts, strict=True):
        table = np.frombuffer(file.read(8 * count), "<u8")
        check_table(table, chunks_start, size)
        position = file.tell()
        last, leader_bytes = int(table.max()), 4 * (part.layout().leader_words + multi)
        file.seek(last)
        leader = file.read(leader_bytes)
        if len(leader) < leader_bytes or last + leader_bytes + struct.unpack("<i", leader[-4:])[0] > size:
            raise StructureError("the file ends before its pixels do", TRUNCATED_HINT)
        file.seek(position)


def _rate(value: AttributeValue) -> float:
    """A rational, a number or a number as text, as frames a second; 0.0 for what is none."""
    try:
        rate = value[0] / value[1] if isinstance(value, tuple) else float(value)
    except (TypeError, ValueError, ZeroDivisionError, IndexError):
        return 0.0
    return rate if 0 < rate <= _FASTEST else 0.0
