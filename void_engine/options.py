"""Engine options: a frozen dataclass of defaults, and limits by name.

Promises that an unknown key or a value out of range is refused by name. Must not look at pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from void_client.errors import JobError

Range = tuple[float, float]
Choice = tuple[str, ...]
Limits = Mapping[str, Range | Choice]
T = TypeVar("T")


def read(kind: type[T], options: Mapping[str, Any], limits: Limits, engine: str) -> T:
    """``kind``, a dataclass, with these options put in. A number needs a range; a text may have choices.

    Raises `JobError` naming an unknown key or a bad value.
    """
    defaults = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    for key in options:
        if key not in defaults:
            raise JobError(
                f"The {engine} engine has no option {key!r}.",
                hint=f"Its options are {', '.join(sorted(defaults))}.",
                details={"key": str(key)},
            )
    return kind(**{key: _checked(key, value, defaults[key], limits, engine) for key, value in options.items()})


def _checked(key: str, value: Any, default: Any, limits: Limits, engine: str) -> Any:
    limit = limits.get(key, ())
    if isinstance(default, bool):
        if isinstance(value, bool):
            return value
        raise _refused(engine, key, "true or false", value)
    if isinstance(default, str):
        if isinstance(value, str) and (not limit or value in limit):
            return value
        raise _refused(engine, key, " or ".join(str(each) for each in limit) or "text", value)
    low, high = float(limit[0]), float(limit[1])
    whole = isinstance(value, int) and not isinstance(value, bool)
    fits = whole or (isinstance(default, float) and isinstance(value, float))
    if not fits or not low <= value <= high:
        noun = "a number" if isinstance(default, float) else "a whole number"
        raise _refused(engine, key, f"{noun} from {low:g} to {high:g}", value)
    return float(value) if isinstance(default, float) else int(value)


def _refused(engine: str, key: str, wanted: str, value: Any) -> JobError:
    return JobError(
        f"The {engine} option {key!r} must be {wanted}, not {value!r}.",
        hint="Correct it in the shot's engine options, or leave it out for the default.",
        details={"key": key},
    )
