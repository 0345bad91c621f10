"""Nuke's progress bars, one a job. Main thread. Without the interface there are none."""

from __future__ import annotations

from typing import Any

import nuke

from .states import State

_bars: dict[str, Any] = {}


def begin(uuid: str, name: str) -> None:
    if nuke.GUI:
        _bars[uuid] = nuke.ProgressTask(f"VOID: {name}")


def tell(uuid: str, state: State) -> bool:
    """Whether the artist pressed cancel there."""
    bar = _bars.get(uuid)
    if bar is None:
        return False
    bar.setMessage(state.text())
    if state.of:
        bar.setProgress(max(0, min(100, round(100 * state.step / state.of))))
    return bool(bar.isCancelled())


def end(uuid: str) -> None:
    """The bar closes when nothing holds it any more."""
    _bars.pop(uuid, None)


def forget() -> None:
    """The script closes."""
    _bars.clear()
