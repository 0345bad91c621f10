"""One entry of a sidecar: what may stand in it, and where it is wrong.

Promises: every fault is a `BadEntry` with line and key; a misspelt key is one, too, for it would silently do nothing.
Must not: look for files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Optional

from .errors import VoidError
from .override_spec import MAX_HINT, MODES, REGIONS, SHAPES, ShapeKey, ShapeSpec
from .sequence import parse_frames

ENTRY_KEYS = ("frames", "region", "mode", "matte", "shape", "hint")
_DRAWN = ("matte", "shape")


@dataclass(frozen=True)
class Entry:
    """One entry as written. ``frames`` None: all. ``matte``: a pattern or a path; ``hint``: words for a thing."""

    frames: Optional[tuple[int, ...]]
    region: str
    mode: str
    label: str
    matte: str = ""
    shapes: tuple[ShapeSpec, ...] = ()
    hint: str = ""


def line_of(holder: Any, key: Any) -> int:
    """Where a key of a map, or an item of a list, is written; that of the holder where it is merged in. From 1."""
    try:
        written: Any = getattr(holder, "lc", None)  # ruamel.yaml's line and column
        place = written.item(key) if isinstance(holder, list) else written.key(key)
        return int(place[0]) + 1
    except (AttributeError, KeyError, TypeError, IndexError):
        return int(getattr(getattr(holder, "lc", None), "line", 0) or 0) + 1


class BadEntry(Exception):
    """``holder`` and ``key``: where."""

    def __init__(self, holder: Any, key: Any, fault: str) -> None:
        super().__init__(fault)
        self.line, self.key, self.fault = line_of(holder, key), key, fault


def parse_entry(value: Any, label: str, holder: Any = None, place: Any = None) -> Entry:
    """``holder`` and ``place``: the list and index at which it stands. Raises ``BadEntry``."""
    if not isinstance(value, Mapping):
        raise BadEntry(holder, place, f"expected a map of {', '.join(ENTRY_KEYS)}")
    for key in value:
        near = get_close_matches(str(key), ENTRY_KEYS, 1, 0.75) if key not in ENTRY_KEYS else []
        if near and near[0] not in value:
            raise BadEntry(value, key, f"not known; is it meant to be {near[0]}?")
    sources = [key for key in (*_DRAWN, "hint") if value.get(key) is not None]
    if len(sources) != 1:
        found = f"found {' and '.join(sources)}" if sources else "found none"
        raise BadEntry(value, sources[-1] if sources else "matte", f"give one of matte, shape, hint; {found}")
    region = _one_of(value, "region", REGIONS)
    mode = _one_of(value, "mode", MODES) if sources[0] in _DRAWN or "mode" in value else "add"
    text = "" if sources[0] == "shape" else _text(value, sources[0])
    if sources[0] == "hint" and len(text) > MAX_HINT:
        raise BadEntry(value, "hint", f"more than {MAX_HINT} characters")
    return Entry(
        frames=_frames(value),
        region=region,
        mode=mode,
        label=label,
        matte=text if sources[0] == "matte" else "",
        shapes=_shapes(value) if sources[0] == "shape" else (),
        hint=text if sources[0] == "hint" else "",
    )


def _one_of(entry: Any, key: str, known: tuple[str, ...]) -> str:
    if key not in entry:
        raise BadEntry(entry, key, f"missing; give one of {', '.join(known)}")
    if entry[key] not in known:
        raise BadEntry(entry, key, f"{entry[key]!r} is none of {', '.join(known)}")
    return str(entry[key])


def _text(entry: Any, key: str) -> str:
    if not isinstance(entry[key], str) or not entry[key].strip():
        raise BadEntry(entry, key, "expected text")
    return str(entry[key]).strip()


def _frames(entry: Any) -> Optional[tuple[int, ...]]:
    value = entry.get("frames")
    if value is None:
        raise BadEntry(entry, "frames", 'missing; write "1001-1010,1020", or all')
    if value == "all":
        return None
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise BadEntry(entry, "frames", f'{value!r} is not a frame range; write "1001-1010,1020"')
    try:
        return parse_frames(str(value))
    except VoidError as problem:
        raise BadEntry(entry, "frames", problem.message.rstrip(".")) from problem


def _shapes(entry: Any) -> tuple[ShapeSpec, ...]:
    value = entry["shape"]
    many = isinstance(value, list)
    if many and not value:
        raise BadEntry(entry, "shape", "the list is empty")
    return tuple(_shape(each, value, i) for i, each in enumerate(value)) if many else (_shape(value, entry, "shape"),)


def _shape(value: Any, holder: Any, place: Any) -> ShapeSpec:
    if not isinstance(value, Mapping) or len(value) != 1 or next(iter(value)) not in SHAPES:
        raise BadEntry(holder, place, f"expected one of {', '.join(SHAPES)}")
    kind, drawn = next(iter(value.items()))
    try:
        if not isinstance(drawn, Mapping):
            return ShapeSpec(kind, (ShapeKey(0, _numbers(drawn)),))
        keys = [ShapeKey(_whole(frame), _numbers(drawn[frame])) for frame in drawn]
        return ShapeSpec(kind, tuple(sorted(keys, key=lambda key: key.frame)))
    except ValueError as problem:
        raise BadEntry(value, kind, str(problem)) from problem


def _whole(value: Any) -> int:
    # JSON's keys are text.
    if isinstance(value, bool) or not str(value).lstrip("-").isdecimal():
        raise ValueError(f"{value!r} is not a keyframe's number")
    return int(value)


def _numbers(value: Any) -> tuple[float, ...]:
    """Flat: a polygon is written as a list of pairs."""
    if not isinstance(value, list):
        raise ValueError("expected a list of numbers")
    found: list[float] = []
    for each in value:
        pair = each if isinstance(each, list) else [each]
        if (isinstance(each, list) and len(each) != 2) or not all(_is_number(number) for number in pair):
            raise ValueError(f"{each!r} is neither a number nor a pair of x and y")
        found += [float(number) for number in pair]
    return tuple(found)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
