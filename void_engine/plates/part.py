"""One part of an EXR file, judged by its header: windows, channels, compression, layers.

Promises: what cannot be brought back bit for bit (deep, subsampled, mip-mapped, an unknown compression) is refused
here, by name, before a pixel is decoded. Must not: open files or decode pixels.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from void_engine.interface import Window
from void_engine.plates.exrfile import Attribute, ChunkLayout, StructureError, channel_entries
from void_engine.plates.limits import Limits

PixelType = Literal["half", "float", "uint"]

_PIXEL_TYPES: Final[tuple[PixelType, ...]] = ("uint", "half", "float")  # by OpenEXR's number
_BYTES: Final[dict[PixelType, int]] = {"uint": 4, "half": 2, "float": 4}
_LINE_ORDERS: Final = ("increasing", "decreasing", "random")
# By OpenEXR's number: name and scanlines per chunk.
_COMPRESSIONS: Final = (
    ("none", 1),
    ("rle", 1),
    ("zips", 1),
    ("zip", 16),
    ("piz", 32),
    ("pxr24", 16),
    ("b44", 32),
    ("b44a", 32),
    ("dwaa", 32),
    ("dwab", 256),
    ("htj2k256", 256),
    ("htj2k32", 32),
    ("lj2k", 256),
    ("zstd", 1),
)
COMPRESSION_NUMBERS: Final = {name: number for number, (name, _) in enumerate(_COMPRESSIONS)}
_LINES: Final = dict(_COMPRESSIONS)
_RGB_FORMS: Final = (("R", "G", "B"), ("r", "g", "b"), ("red", "green", "blue"), ("Red", "Green", "Blue"))
_FARTHEST: Final = 1 << 30  # OpenEXR's own bound for a window's coordinates


@dataclass(frozen=True)
class ChannelInfo:
    """A channel's full name ("R", "beauty.R") and the type it is stored in."""

    name: str
    type: PixelType

    @property
    def sample_bytes(self) -> int:
        return _BYTES[self.type]


@dataclass(frozen=True)
class PartHeader:
    """One part. Windows are in pixels, corners included, y down. ``attributes`` are all of the header's, in its order.

    ``name`` and ``view`` are empty where the header has none; ``tile_size`` is ``(width, height)``, None for scanlines.
    """

    index: int
    name: str
    view: str
    channels: tuple[ChannelInfo, ...]
    compression: str
    data_window: Window
    display_window: Window
    pixel_aspect: float
    line_order: str
    tile_size: tuple[int, int] | None
    attributes: tuple[Attribute, ...]

    @property
    def decoded_bytes(self) -> int:
        """Bytes of all channels, decoded."""
        return self.data_window.width * self.data_window.height * sum(c.sample_bytes for c in self.channels)

    @property
    def lossy(self) -> bool:
        """Would decoding and encoding again, with the same compression, change pixels?"""
        types = {channel.type for channel in self.channels}
        if self.compression in ("b44", "b44a"):
            return "half" in types
        if self.compression == "pxr24":
            return "float" in types
        return self.compression in ("dwaa", "dwab")

    def attribute(self, name: str) -> Attribute | None:
        return next((attribute for attribute in self.attributes if attribute.name == name), None)

    def layout(self, compression: str = "") -> ChunkLayout:
        """Where the part's chunks lie; with ``compression``, where they would with that one."""
        window = self.data_window
        if self.tile_size:
            across, down = (-(-window.width // self.tile_size[0]), -(-window.height // self.tile_size[1]))
            return ChunkLayout(count=across * down, tiles_across=across)
        lines = _LINES[compression or self.compression]
        return ChunkLayout(count=-(-window.height // lines), y0=window.y0, lines=lines)

    def rgb_names(self, layer: str) -> tuple[str, str, str] | None:
        """The full names of a layer's red, green and blue channels in this part; "" is the layer without a name."""
        there = {channel.name for channel in self.channels}
        prefixes = [f"{layer}." if layer else ""]
        if layer and layer in (self.name, self.view):
            prefixes.append("")
        for prefix in prefixes:
            for red, green, blue in _RGB_FORMS:
                names = (prefix + red, prefix + green, prefix + blue)
                if there.issuperset(names):
                    return names
        return None

    def layers(self) -> tuple[str, ...]:
        """Every layer of this part that has red, green and blue; "" is the one without a name."""
        prefixes = dict.fromkeys(channel.name.rpartition(".")[0] for channel in self.channels)
        return tuple(prefix for prefix in prefixes if self.rgb_names(prefix))


def build_part(index: int, attributes: Sequence[Attribute], *, multi_part: bool, tiled: bool) -> PartHeader:
    """Reads one part's attributes; ``tiled`` is the file's flag, which counts where there is one part only.

    Raises ``StructureError`` where a required attribute is missing or wrong, or the part is of a refused kind.
    """
    by_name = {attribute.name: attribute for attribute in attributes}
    kind = _text(by_name, "type")
    if kind.startswith("deep"):
        raise StructureError("it holds deep pixels", "Flatten the deep image (DeepToImage) and give that.")
    if multi_part:
        if kind not in ("scanlineimage", "tiledimage"):
            raise StructureError(f"its part {index} is of the unknown kind {kind!r}")
        tiled = kind == "tiledimage"
    (compression,) = _unpack(by_name, "compression", "compression", "<B")
    (line_order,) = _unpack(by_name, "lineOrder", "lineOrder", "<B")
    (aspect,) = _unpack(by_name, "pixelAspectRatio", "float", "<f")
    if not (math.isfinite(aspect) and aspect > 0):
        raise StructureError(f"its pixel aspect ratio is {aspect}", "Set the pixel aspect ratio and render again.")
    if compression >= len(_COMPRESSIONS):
        raise StructureError(f"its compression (number {compression}) is unknown", "Write it as ZIP.")
    if line_order >= len(_LINE_ORDERS):
        raise StructureError(f"its line order (number {line_order}) is unknown")
    return PartHeader(
        index=index,
        name=_text(by_name, "name"),
        view=_text(by_name, "view"),
        channels=_channels(by_name),
        compression=_COMPRESSIONS[compression][0],
        data_window=_window(by_name, "dataWindow"),
        display_window=_window(by_name, "displayWindow"),
        pixel_aspect=aspect,
        line_order=_LINE_ORDERS[line_order],
        tile_size=_tile_size(by_name) if tiled else None,
        attributes=tuple(attributes),
    )


def check_limits(parts: Sequence[PartHeader], limits: Limits) -> None:
    """Raises ``StructureError`` where the decoded frame would be over a limit."""
    hint = "Render it smaller, or with fewer channels."
    for part in parts:
        for which, window in (("data", part.data_window), ("display", part.display_window)):
            if window.width * window.height > limits.max_pixels:
                raise StructureError(
                    f"its {which} window is {window.width}x{window.height} pixels; the limit is {limits.max_pixels}",
                    hint,
                )
        if part.tile_size and part.tile_size[0] * part.tile_size[1] > limits.max_pixels:
            raise StructureError(f"its tiles are {part.tile_size[0]}x{part.tile_size[1]} pixels", hint)
    channels = sum(len(part.channels) for part in parts)
    if channels > limits.max_channels:
        raise StructureError(f"it has {channels} channels; the limit is {limits.max_channels}", hint)
    decoded = sum(part.decoded_bytes for part in parts)
    if decoded > limits.max_decoded_bytes:
        raise StructureError(f"it would be {decoded} bytes decoded; the limit is {limits.max_decoded_bytes}", hint)


def _unpack(attributes: Mapping[str, Attribute], name: str, kind: str, form: str) -> tuple[Any, ...]:
    attribute = attributes.get(name)
    if attribute is None:
        raise StructureError(f"its header has no {name}")
    if attribute.type != kind or len(attribute.data) != struct.calcsize(form):
        raise StructureError(f"its header's {name} is not a {kind}")
    return struct.unpack(form, attribute.data)


def _text(attributes: Mapping[str, Attribute], name: str) -> str:
    attribute = attributes.get(name)
    value = attribute.value() if attribute else ""
    return value if isinstance(value, str) else ""


def _window(attributes: Mapping[str, Attribute], name: str) -> Window:
    x0, y0, x1, y1 = (int(value) for value in _unpack(attributes, name, "box2i", "<4i"))
    if x1 < x0 or y1 < y0:
        raise StructureError(f"its {name} is empty: ({x0}, {y0}) to ({x1}, {y1})", "Render this frame again.")
    if max(abs(value) for value in (x0, y0, x1, y1)) >= _FARTHEST:
        raise StructureError(f"its {name} is out of range: ({x0}, {y0}) to ({x1}, {y1})")
    return Window(x0, y0, x1, y1)


def _tile_size(attributes: Mapping[str, Attribute]) -> tuple[int, int]:
    width, height, mode = (int(value) for value in _unpack(attributes, "tiles", "tiledesc", "<IIB"))
    if not (0 < width < _FARTHEST and 0 < height < _FARTHEST):
        raise StructureError(f"its tiles are {width}x{height} pixels")
    if mode & 0x0F:
        raise StructureError("it is mip-mapped: a texture, not a plate", "Write it with one level, or as scanlines.")
    return width, height


def _channels(attributes: Mapping[str, Attribute]) -> tuple[ChannelInfo, ...]:
    attribute = attributes.get("channels")
    if attribute is None or attribute.type != "chlist":
        raise StructureError("its header has no channels")
    channels: dict[str, ChannelInfo] = {}
    for raw_name, kind, _, x_step, y_step in channel_entries(attribute.data):
        try:
            name = raw_name.encode("latin-1").decode("utf-8")
        except UnicodeDecodeError:
            raise StructureError(f"its channel name {raw_name!r} is not UTF-8", "Rename the channel.") from None
        if not 0 <= kind < len(_PIXEL_TYPES):
            raise StructureError(f"its channel {name} is of the unknown type {kind}")
        if (x_step, y_step) != (1, 1):
            raise StructureError(
                f"its channel {name} is subsampled ({x_step}x{y_step}; luminance-chroma)",
                "Write the plate as RGB at full resolution.",
            )
        if name in channels:
            raise StructureError(f"its header holds the channel {name} twice")
        channels[name] = ChannelInfo(name, _PIXEL_TYPES[kind])
    if not channels:
        raise StructureError("it has no channels")
    return tuple(channels.values())
