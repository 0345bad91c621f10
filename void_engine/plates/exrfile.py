"""The structure of an EXR file, byte for byte: its attributes and its chunk table.

Promises: every attribute comes out exactly as it went in, of whatever type (the OpenEXR binding turns types it does not
know, text that is not UTF-8 and float vectors into something else, or refuses the file); a file that ends too early, or
was never finished, is found without decoding a pixel (the binding prints a warning and carries on).
Must not: decode pixels, open files, or know what a plate is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

MAGIC: Final = b"\x76\x2f\x31\x01"
FLAG_TILED, FLAG_LONG_NAMES, FLAG_DEEP, FLAG_MULTI_PART = 0x200, 0x400, 0x800, 0x1000
_KNOWN_FLAGS: Final = 0xFF | FLAG_TILED | FLAG_LONG_NAMES | FLAG_DEEP | FLAG_MULTI_PART
_SHORT_NAME, _LONG_NAME = 31, 255

TRUNCATED_HINT: Final = (
    "The file was copied or read while it was being written, or its disk was full: render or copy this frame again."
)
DAMAGED_HINT: Final = "The file is damaged: render or copy this frame again."

AttributeValue = str | int | float | tuple[int, ...] | tuple[float, ...] | bytes

_FORMATS: Final[dict[str, str]] = {
    "int": "<i",
    "float": "<f",
    "double": "<d",
    "rational": "<iI",
    "timecode": "<II",
    "keycode": "<7i",
    "chromaticities": "<8f",
    "box2i": "<4i",
    "box2f": "<4f",
    "v2i": "<2i",
    "v2f": "<2f",
    "v2d": "<2d",
    "v3i": "<3i",
    "v3f": "<3f",
    "v3d": "<3d",
    "m33f": "<9f",
    "m33d": "<9d",
    "m44f": "<16f",
    "m44d": "<16d",
}


class StructureError(ValueError):
    """The bytes are not an EXR that this room can read. ``hint`` says what to do."""

    def __init__(self, message: str, hint: str = DAMAGED_HINT) -> None:
        super().__init__(message)
        self.hint = hint


class HeaderTooShort(StructureError):
    """The header goes on behind the bytes that were given."""

    def __init__(self) -> None:
        super().__init__("the file ends inside its header", TRUNCATED_HINT)


@dataclass(frozen=True)
class Attribute:
    """One header attribute: its type's name and its bytes, untouched."""

    name: str
    type: str
    data: bytes

    def value(self) -> AttributeValue:
        """The value in Python: text, a number, or a tuple of numbers; the raw bytes for any other type.

        Text that is not UTF-8 is read as Latin-1. A rational is ``(numerator, denominator)``, a timecode its two words.
        """
        if self.type == "string":
            try:
                return self.data.decode("utf-8")
            except UnicodeDecodeError:
                return self.data.decode("latin-1")
        form = _FORMATS.get(self.type)
        if form is None or struct.calcsize(form) != len(self.data):
            return self.data
        values = struct.unpack(form, self.data)
        return values[0] if len(values) == 1 else values


@dataclass(frozen=True)
class Structure:
    """What stands before the chunk tables. ``end``: the offset of the first chunk table in bytes."""

    flags: int
    parts: tuple[tuple[Attribute, ...], ...]
    end: int

    @property
    def multi_part(self) -> bool:
        return bool(self.flags & FLAG_MULTI_PART)


@dataclass(frozen=True)
class ChunkLayout:
    """Where the chunks of one part must lie. ``tiles_across`` is 0 for scanlines, ``lines`` 0 for tiles."""

    count: int
    y0: int = 0
    lines: int = 0
    tiles_across: int = 0

    @property
    def leader_words(self) -> int:
        """32-bit words before a chunk's pixels: ``y, size`` or ``x, y, level x, level y, size``."""
        return 5 if self.tiles_across else 2


class _Cursor:
    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.data):
            raise HeaderTooShort
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def text(self) -> str:
        """A name that ends in NUL; empty where a list ends."""
        end = self.data.find(b"\0", self.position, self.position + _LONG_NAME + 1)
        if end < 0:
            if len(self.data) - self.position <= _LONG_NAME:
                raise HeaderTooShort
            raise StructureError("the header holds a name of more than 255 characters")
        name = self.data[self.position : end]
        self.position = end + 1
        # Latin-1 keeps every byte, so that a name is written as it was read.
        return name.decode("latin-1")


def parse_structure(data: bytes, max_parts: int = 256) -> Structure:
    """Reads the header(s) at the start of an EXR file's bytes.

    Raises ``HeaderTooShort`` where ``data`` ends inside them, and ``StructureError`` where they are no EXR's.
    """
    if data[:4] != MAGIC[: len(data)] or not data:
        raise StructureError("this is not an EXR file", "Check the file and its pattern: this must be OpenEXR.")
    cursor = _Cursor(data, 4)
    (flags,) = struct.unpack("<I", cursor.take(4))
    if flags & 0xFF != 2 or flags & ~_KNOWN_FLAGS:
        raise StructureError(f"this EXR says it is of a kind unknown here (version field 0x{flags:08x})")
    multi = bool(flags & FLAG_MULTI_PART)
    parts: list[tuple[Attribute, ...]] = []
    while True:
        attributes = _attributes(cursor)
        if multi and not attributes:
            break
        parts.append(attributes)
        if not multi:
            break
        if len(parts) > max_parts:
            raise StructureError(f"the file has more than {max_parts} parts", "Write the shot with fewer parts.")
    if not parts:
        raise StructureError("the file has no parts")
    return Structure(flags, tuple(parts), cursor.position)


def _attributes(cursor: _Cursor) -> tuple[Attribute, ...]:
    found: dict[str, Attribute] = {}
    while name := cursor.text():
        kind = cursor.text()
        (size,) = struct.unpack("<i", cursor.take(4))
        if size < 0 or not kind:
            raise StructureError(f"the header's attribute {name!r} has no type or a negative size")
        if name in found:
            raise StructureError(f"the header holds the attribute {name!r} twice")
        found[name] = Attribute(name, kind, cursor.take(size))
    return tuple(found.values())


def channel_entries(data: bytes) -> list[tuple[str, int, bool, int, int]]:
    """A ``chlist`` attribute's channels: ``(name, pixel type, linear, x sampling, y sampling)``."""
    cursor = _Cursor(data, 0)
    entries: list[tuple[str, int, bool, int, int]] = []
    try:
        while name := cursor.text():
            kind, linear, x_step, y_step = struct.unpack("<iB3xii", cursor.take(16))
            entries.append((name, kind, bool(linear), x_step, y_step))
    except HeaderTooShort:
        raise StructureError("the header's channel list is cut short") from None
    return entries


def serialise_structure(flags: int, parts: Sequence[Iterable[Attribute]]) -> bytes:
    """The bytes of an EXR file up to its chunk tables. The long-names flag is set where a name needs it."""
    body = b""
    long_names = False
    for part in parts:
        for attribute in part:
            name = attribute.name.encode("latin-1")
            long_names |= len(name) > _SHORT_NAME or len(attribute.type) > _SHORT_NAME
            size = struct.pack("<i", len(attribute.data))
            body += name + b"\0" + attribute.type.encode("latin-1") + b"\0" + size + attribute.data
            if attribute.name == "channels":
                long_names |= any(len(entry[0]) > _SHORT_NAME for entry in channel_entries(attribute.data))
        body += b"\0"
    if flags & FLAG_MULTI_PART:
        body += b"\0"
    flags = (flags & ~FLAG_LONG_NAMES) | (FLAG_LONG_NAMES if long_names else 0)
    return MAGIC + struct.pack("<I", flags) + body


def check_table(table: npt.NDArray[np.uint64], chunks_start: int, file_size: int) -> None:
    """Raises ``StructureError`` where the chunk table points outside the file, or was never filled."""
    if not table.size:
        return
    if int(table.min()) == 0:
        raise StructureError("the file was never finished: parts of its chunk table are empty", TRUNCATED_HINT)
    if int(table.min()) < chunks_start:
        raise StructureError("the file's chunk table is damaged")
    if int(table.max()) >= file_size:
        raise StructureError("the file ends before its pixels do", TRUNCATED_HINT)


def check_chunks(data: bytes, structure: Structure, layouts: Sequence[ChunkLayout]) -> None:
    """Every chunk is where the table says, is the one that belongs there, and is whole.

    Raises ``StructureError``. What is inside a chunk is for the decoder to judge.
    """
    chunks_start = structure.end + 8 * sum(layout.count for layout in layouts)
    if chunks_start > len(data):
        raise StructureError("the file ends inside its chunk table", TRUNCATED_HINT)
    position = structure.end
    for number, layout in enumerate(layouts):
        table = np.frombuffer(data, "<u8", layout.count, position)
        position += 8 * layout.count
        check_table(table, chunks_start, len(data))
        words = layout.leader_words + int(structure.multi_part)
        starts = table.astype(np.int64)
        if int(starts.max()) + 4 * words > len(data):
            raise StructureError("the file ends before its pixels do", TRUNCATED_HINT)
        octets = np.frombuffer(data, np.uint8)[starts[:, None] + np.arange(4 * words)]
        leaders = np.ascontiguousarray(octets).view("<i4").astype(np.int64)
        _check_leaders(leaders, layout, number if structure.multi_part else None)
        if int((starts + 4 * words + leaders[:, -1]).max()) > len(data):
            raise StructureError("the file ends before its pixels do", TRUNCATED_HINT)


def _check_leaders(leaders: npt.NDArray[np.int64], layout: ChunkLayout, part: int | None) -> None:
    index = np.arange(layout.count)
    if part is not None:
        if (leaders[:, 0] != part).any():
            raise StructureError("a chunk of the file belongs to another part")
        leaders = leaders[:, 1:]
    if layout.tiles_across:
        wanted = np.stack([index % layout.tiles_across, index // layout.tiles_across, index * 0, index * 0], axis=1)
    else:
        wanted = (layout.y0 + index * layout.lines)[:, None]
    if (leaders[:, :-1] != wanted).any() or (leaders[:, -1] < 0).any():
        raise StructureError("a chunk of the file is not the one that its table names")
