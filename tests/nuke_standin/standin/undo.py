"""Undo: every change hands its inverse in; `nuke.Undo` groups them."""

from __future__ import annotations

from typing import Any, Callable

from .guard import guarded
from .state import S


class History:
    def __init__(self) -> None:
        self.done: list = []
        self.undone: list = []
        self.open: list = []  # groups begun: [name, inverses]
        self.enabled = True
        self.replaying: Any = None

    def record(self, name: str, inverse: Callable[[], Any]) -> None:
        """Keep the way back of a change that was just made."""
        S.modified = True
        if not self.enabled or S.loading:
            return
        if self.replaying is not None:
            self.replaying.append(inverse)
        elif self.open:
            self.open[-1][1].append(inverse)
        else:
            self.done.append((name, [inverse]))
            self.undone.clear()

    def end(self) -> None:
        name, inverses = self.open.pop()
        if self.open:
            self.open[-1][1].extend(inverses)
        elif inverses:
            self.done.append((name, inverses))
            self.undone.clear()

    def step(self, source: list, target: list) -> None:
        if not source:
            return
        name, inverses = source.pop()
        self.replaying = []
        try:
            for inverse in reversed(inverses):
                inverse()
            target.append((name, self.replaying))
        finally:
            self.replaying = None


@guarded
class Undo:
    """`nuke.Undo`: begin, name, end; `with nuke.Undo("what"):`; disable and enable."""

    def __init__(self, name: str = "") -> None:
        self._name = name

    def __enter__(self) -> Undo:
        Undo.begin(self._name)
        return self

    def __exit__(self, *_: Any) -> None:
        Undo.end()

    @staticmethod
    def begin(name: str = "") -> None:
        S.undo.open.append([name, []])

    @staticmethod
    def name(name: str) -> None:
        S.undo.open[-1][0] = name

    @staticmethod
    def end() -> None:
        if not S.undo.open:
            raise RuntimeError("Undo.end() without begin()")
        S.undo.end()

    @staticmethod
    def new(name: str = "") -> None:
        Undo.end()
        Undo.begin(name)

    @staticmethod
    def cancel() -> None:
        _, inverses = S.undo.open.pop()
        S.undo.replaying = []
        try:
            for inverse in reversed(inverses):
                inverse()
        finally:
            S.undo.replaying = None

    @staticmethod
    def disable() -> None:
        S.undo.enabled = False

    @staticmethod
    def enable() -> None:
        S.undo.enabled = True

    @staticmethod
    def disabled() -> bool:
        return not S.undo.enabled

    @staticmethod
    def undo() -> None:
        S.undo.step(S.undo.done, S.undo.undone)

    @staticmethod
    def redo() -> None:
        S.undo.step(S.undo.undone, S.undo.done)

    @staticmethod
    def undoSize() -> int:
        return len(S.undo.done)

    @staticmethod
    def redoSize() -> int:
        return len(S.undo.undone)

    @staticmethod
    def undoDescribe(index: int = 1) -> str:
        return str(S.undo.done[-index][0]) if len(S.undo.done) >= index else ""


def undo() -> None:
    """`nuke.undo()`"""
    S.undo.step(S.undo.done, S.undo.undone)


def redo() -> None:
    """`nuke.redo()`"""
    S.undo.step(S.undo.undone, S.undo.done)
