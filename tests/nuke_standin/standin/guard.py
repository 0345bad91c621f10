"""The thread rule, laid over every public function and method of `nuke`."""

from __future__ import annotations

import functools
from typing import Any, Callable, TypeVar

from .state import check_thread

T = TypeVar("T")
SPECIAL = {"__init__", "__getitem__", "__enter__", "__exit__", "__len__", "__call__", "__getattr__"}


def main_only(function: Callable) -> Callable:
    """The function, refusing any thread but the main one."""

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        check_thread(function.__qualname__)
        return function(*args, **kwargs)

    return checked


def guarded(cls: type[T]) -> type[T]:
    """The class with each of its own public methods made `main_only`."""
    for name, member in list(vars(cls).items()):
        if name.startswith("_") and name not in SPECIAL:
            continue
        if isinstance(member, staticmethod):
            setattr(cls, name, staticmethod(main_only(member.__func__)))
        elif callable(member) and not isinstance(member, type):
            setattr(cls, name, main_only(member))
    return cls
