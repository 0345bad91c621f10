"""Frozen dataclasses from untrusted maps, strictly: unknown, missing and mistyped keys are named errors.

One mechanism serves shot files, job specifications, wire messages and settings, so that a
misspelt key can never silently do nothing. Types that fields may have: ``str``, ``int``,
``float`` (finite), ``bool``, ``Any``, ``Optional[T]``, ``Tuple[T, ...]``, ``Dict[str, T]`` and other
dataclasses. A dataclass that defines ``__wire_array__ = True`` travels as an array of its fields
instead of a map. A class may check its own values in ``__post_init__`` by raising ``ValueError``.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from .errors import InputError, VoidError

T = TypeVar("T")

_hints_of: dict[type, dict[str, Any]] = {}


def _hints(cls: type) -> dict[str, Any]:
    if cls not in _hints_of:
        _hints_of[cls] = typing.get_type_hints(cls)
    return _hints_of[cls]


def load(cls: type[T], value: Any, *, where: str, error: type[VoidError] = InputError) -> T:
    """Build the dataclass ``cls`` from a map (or array, see the module).

    ``where`` begins every complaint ("shot file sh010.yaml"); raises ``error``.
    """
    if getattr(cls, "__wire_array__", False):
        value = _array_as_map(cls, value, where, error)
    if not isinstance(value, Mapping):
        raise error(f"{where}: expected a map of keys, found {_kind(value)}.")
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    for key in value:
        if key not in fields:
            known = ", ".join(sorted(fields))
            raise error(
                f"{where}: the key {key!r} is not known.", hint=f"Known keys: {known}.", details={"key": str(key)}
            )
    arguments = {}
    for name, field in fields.items():
        if name in value:
            arguments[name] = convert(_hints(cls)[name], value[name], where=f"{where}, {name}", error=error)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise error(f"{where}: the key {name!r} is missing.", details={"key": name})
    try:
        return cls(**arguments)
    except ValueError as problem:
        raise error(f"{where}: {problem}") from problem


def dump(value: Any) -> Any:
    """The plain maps, lists and scalars that ``load`` reads back."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = {f.name: dump(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
        return list(items.values()) if getattr(value, "__wire_array__", False) else items
    if isinstance(value, Mapping):
        return {str(key): dump(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [dump(item) for item in value]
    return value


def convert(hint: Any, value: Any, *, where: str, error: type[VoidError]) -> Any:
    """``value`` as the type ``hint``; raises ``error``."""
    if hint is Any:
        return value
    origin = typing.get_origin(hint)
    if origin is typing.Union:
        inner = [h for h in typing.get_args(hint) if h is not type(None)]
        return None if value is None else convert(inner[0], value, where=where, error=error)
    if origin is tuple:
        return _tuple(typing.get_args(hint)[0], value, where, error)
    if origin is dict:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise error(f"{where}: expected a map with text keys, found {_kind(value)}.")
        inner_hint = typing.get_args(hint)[1]
        return {k: convert(inner_hint, v, where=f"{where}.{k}", error=error) for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return load(typing.cast(type, hint), value, where=where, error=error)
    return _scalar(hint, value, where, error)


def _tuple(item_hint: Any, value: Any, where: str, error: type[VoidError]) -> Any:
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise error(f"{where}: expected a list, found {_kind(value)}.")
    return tuple(convert(item_hint, v, where=f"{where}[{i}]", error=error) for i, v in enumerate(value))


def _scalar(hint: Any, value: Any, where: str, error: type[VoidError]) -> Any:
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise error(f"{where}: {value} is not a finite number.")
        return float(value)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return int(value)  # ruamel.yaml's integers are a subclass
    if hint is str and isinstance(value, str):
        return str(value)
    if hint is bool and isinstance(value, bool):
        return value
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    raise error(f"{where}: expected {names.get(hint, hint)}, found {_kind(value)}.")


def _array_as_map(cls: type, value: Any, where: str, error: type[VoidError]) -> Mapping[str, Any]:
    names = [f.name for f in dataclasses.fields(cls)]
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence) or len(value) != len(names):
        raise error(f"{where}: expected [{', '.join(names)}], found {_kind(value)}.")
    return dict(zip(names, value))


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return f"{text[:60]}…" if len(text) > 60 else text
