"""An `Analysis` as JSON that people edit: `analysis_to_json` and `analysis_from_json`.

Promises: the one undoes the other, bit for bit; a key that is not known, is missing or has a wrong value is a
``JobError`` that names it (``affected[1].category``). Must not: know where the file lies.
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any, Literal

from void_client.errors import JobError

from void_engine.reasoning.analysis import ANALYSIS_VERSION, Affected, Analysis, Belonging, Region, Waypoint

_WIDTH = 110


def analysis_to_json(analysis: Analysis) -> str:
    """Indented; a region or a waypoint stands on one line."""
    return _written(asdict(analysis), "") + "\n"


def analysis_from_json(text: str | bytes) -> Analysis:
    """Strict. Raises ``JobError`` (details: key)."""
    try:
        data = json.loads(text, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise JobError(f"The analysis is not JSON: {error}.", hint="Correct the file; commas and quotes.") from None
    # The version first: another one may have other keys.
    if isinstance(data, dict) and data.get("version", ANALYSIS_VERSION) != ANALYSIS_VERSION:
        raise _refused("version", f"must be {ANALYSIS_VERSION}, not {_shown(data['version'])}")
    read: Analysis = _read(Analysis, data, "")
    _check_ranges(read)
    return read


def _written(value: Any, indent: str) -> str:
    flat = json.dumps(value, ensure_ascii=False, allow_nan=False)
    plain = not isinstance(value, (dict, list, tuple)) or (
        isinstance(value, dict) and not any(isinstance(each, (dict, list, tuple)) for each in value.values())
    )
    if not value or (plain and len(indent) + len(flat) <= _WIDTH) or not isinstance(value, (dict, list, tuple)):
        return flat
    deeper = indent + "  "
    if isinstance(value, dict):
        inner = [f"{deeper}{json.dumps(key)}: {_written(each, deeper)}" for key, each in value.items()]
        return "{\n" + ",\n".join(inner) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + _written(each, deeper) for each in value) + f"\n{indent}]"


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return found


def _read(kind: Any, value: Any, where: str) -> Any:
    """``value`` as ``kind``: a dataclass, a tuple of one kind, a Literal, or str, int, float, bool."""
    if is_dataclass(kind) and isinstance(kind, type):
        return _read_dataclass(kind, value, where)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise _refused(where, f"must be a list, not {_shown(value)}")
        (inner, _) = typing.get_args(kind)
        return tuple(_read(inner, each, f"{where}[{index}]") for index, each in enumerate(value))
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices or not isinstance(value, str):
            raise _refused(where, f"must be {' or '.join(map(repr, choices))}, not {_shown(value)}")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        noun = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}[kind]
        raise _refused(where, f"must be {noun}, not {_shown(value)}")
    return value


def _read_dataclass(kind: type[Any], value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _refused(where or "the analysis", f"must be an object, not {_shown(value)}")
    hints = typing.get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}
    at = f"{where}." if where else ""
    for key in value:
        if key not in known:
            raise _refused(f"{at}{key}", f"is not known; known here are {', '.join(known)}")
    for name, field in known.items():
        if name not in value and field.default is MISSING:
            raise _refused(f"{at}{name}", "is missing")
    return kind(**{key: _read(hints[key], each, f"{at}{key}") for key, each in value.items()})


def _check_ranges(analysis: Analysis) -> None:
    _check_share(analysis.confidence, "confidence")
    groups: dict[str, Sequence[Belonging | Affected]]
    groups = {"belongings": analysis.belongings, "affected": analysis.affected}
    for group, things in groups.items():
        for index, thing in enumerate(things):
            at = f"{group}[{index}]"
            for number, region in enumerate(thing.regions):
                _check_region(region, f"{at}.regions[{number}]")
            if isinstance(thing, Affected):
                _check_affected(thing, at)


def _check_affected(thing: Affected, at: str) -> None:
    _check_share(thing.confidence, f"{at}.confidence")
    if thing.first_frame > thing.last_frame:
        raise _refused(f"{at}.first_frame", f"must not come after last_frame, {thing.last_frame}")
    for number, point in enumerate(thing.path):
        _check_point(point, f"{at}.path[{number}]")


def _check_region(region: Region, at: str) -> None:
    for low, high in (("x0", "x1"), ("y0", "y1")):
        for name in (low, high):
            _check_share(getattr(region, name), f"{at}.{name}")
        if getattr(region, low) >= getattr(region, high):
            raise _refused(f"{at}.{low}", f"must be less than {high}")


def _check_point(point: Waypoint, at: str) -> None:
    """A path may leave the picture, but not by more than its size: pixels were meant, then."""
    for name in ("x", "y"):
        if not -1.0 <= getattr(point, name) <= 2.0:
            raise _refused(f"{at}.{name}", "must be a share of the picture, 0 to 1 (to leave it, -1 to 2)")


def _check_share(value: float, where: str) -> None:
    if not 0.0 <= value <= 1.0:
        raise _refused(where, f"must be from 0 to 1, not {value:g}")


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    return repr(value)[:60] if not isinstance(value, types.NoneType) else "null"


def _refused(key: str, what: str) -> JobError:
    return JobError(
        f"The analysis: {key} {what}.",
        hint="Correct it in the file; docs/reasoning.md names every key.",
        details={"key": key},
    )
