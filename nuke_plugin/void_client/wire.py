"""Bytes to plain data and back: msgpack, decoded by one strict decoder.

Promises: whatever the bytes, the answer is a value within the limits or a ``MessageError``,
and the memory used stays within a small multiple of the message. The decoder walks the bytes
once before msgpack builds anything, because msgpack reserves memory for lengths that a header
only claims. docs/protocol.md says what is refused.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from .errors import MessageError


@dataclass(frozen=True)
class Limits:
    """Upper bounds for one message. ``values`` counts every scalar, list, map and key."""

    parts: int = 2
    control_bytes: int = 8 << 20
    payload_bytes: int = 4 << 20
    depth: int = 12
    values: int = 300_000
    text_bytes: int = 1 << 20


LIMITS = Limits()


def pack(value: Any) -> bytes:
    """msgpack bytes of plain data. Raises ``MessageError`` for what the decoder would refuse."""
    try:
        data = bytes(msgpack.packb(value, use_bin_type=True, strict_types=True))
    except (TypeError, ValueError, OverflowError) as problem:
        raise MessageError(f"A message cannot be encoded: {problem}.") from problem
    _scan(data, LIMITS)
    return data


def unpack(data: bytes, limits: Limits = LIMITS) -> Any:
    """The one value that the bytes hold. Raises ``MessageError``."""
    if len(data) > limits.control_bytes:
        raise MessageError(f"A control message of {len(data)} bytes is over the limit of {limits.control_bytes}.")
    _scan(data, limits)
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=True, object_pairs_hook=_map_without_repeats)
    except (ValueError, UnicodeDecodeError, msgpack.UnpackException) as problem:
        raise MessageError(f"A message cannot be decoded: {problem}.") from problem


def check_parts(parts: Sequence[Any], limits: Limits = LIMITS) -> None:
    """Bounds on a multipart message before anything in it is looked at. Raises ``MessageError``."""
    if not 1 <= len(parts) <= limits.parts:
        raise MessageError(f"A message of {len(parts)} frames; 1 to {limits.parts} are allowed.")
    for part in parts[1:]:
        if len(part) > limits.payload_bytes:
            raise MessageError(f"A payload of {len(part)} bytes is over the limit of {limits.payload_bytes}.")


def _map_without_repeats(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if not isinstance(key, str):
            raise MessageError("A map key is not text.")
        if key in result:
            raise MessageError(f"The key {key[:40]!r} stands twice in a map.")
        result[key] = value
    return result


# First byte → (bytes of the length field) for text, binary, lists and maps; → (bytes to pass over) for scalars.
_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_LISTS = {0xDC: 2, 0xDD: 4}
_MAPS = {0xDE: 2, 0xDF: 4}
_SCALARS = {
    0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
}  # fmt: skip
_FLOATS = {0xCA: (">f", 4), 0xCB: (">d", 8)}


def _scan(data: bytes, limits: Limits) -> None:
    """One pass over the bytes that builds nothing: structure, lengths, depth, counts, finite numbers."""
    at, values = 0, 0
    open_items = [1]  # values still to come, per nesting level
    while open_items:
        if open_items[-1] == 0:
            open_items.pop()
            continue
        open_items[-1] -= 1
        values += 1
        if values > limits.values:
            raise MessageError(f"A message holds more than {limits.values} values.")
        if at >= len(data):
            raise MessageError("A message ends too early.")
        at, children = _step(data, at, limits)
        if children is not None:
            # Every value takes a byte at least: a claim beyond what is left is a lie.
            if children > len(data) - at:
                raise MessageError("A message ends too early.")
            if len(open_items) > limits.depth:
                raise MessageError(f"A message is nested more than {limits.depth} deep.")
            open_items.append(children)
    if at != len(data):
        raise MessageError(f"{len(data) - at} bytes follow the end of a message.")


def _step(data: bytes, at: int, limits: Limits) -> tuple[int, int | None]:
    """Pass over one value's head: (next position, number of values inside or None for a scalar)."""
    first = data[at]
    at += 1
    if first <= 0x7F or first >= 0xE0:
        return at, None
    if first <= 0x8F:
        return at, 2 * (first & 0x0F)
    if first <= 0x9F:
        return at, first & 0x0F
    if first <= 0xBF:
        return _pass(data, at, first & 0x1F), None
    if first in _SCALARS:
        return _pass(data, at, _SCALARS[first]), None
    if first in _FLOATS:
        code, size = _FLOATS[first]
        end = _pass(data, at, size)
        if not math.isfinite(struct.unpack_from(code, data, at)[0]):
            raise MessageError("A message holds a number that is not finite.")
        return end, None
    if first in _SIZED:
        size, at = _length(data, at, _SIZED[first])
        if size > limits.text_bytes:
            raise MessageError(f"A text of {size} bytes is over the limit of {limits.text_bytes}.")
        return _pass(data, at, size), None
    if first in _LISTS:
        size, at = _length(data, at, _LISTS[first])
        return at, size
    if first in _MAPS:
        size, at = _length(data, at, _MAPS[first])
        return at, 2 * size
    raise MessageError(f"A message holds an extension type (byte 0x{first:02x}); none is allowed.")


def _length(data: bytes, at: int, size: int) -> tuple[int, int]:
    end = _pass(data, at, size)
    return int.from_bytes(data[at:end], "big"), end


def _pass(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise MessageError("A message ends too early.")
    return at + size
