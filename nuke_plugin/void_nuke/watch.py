"""Which nodes may have become stale, looked at a little later. Main thread; one timer.

Nuke calls updateUI of every node whenever anything changes, at each frame of a playback, too. Promises: a call costs a
few knobs' names; each node is looked at once in `EVERY_S` at most, and one look at several of them stops after
`BUDGET_S`; what was touched last is looked at in the end.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Optional

import nuke

from . import actions
from .node import VoidNode

EVERY_S = 1.0
"""0: at once."""
BUDGET_S = 0.01

_waiting: dict[str, Any] = {}
_looked_at: dict[str, float] = {}
_shown: dict[str, tuple[object, ...]] = {}
_timer: Optional[threading.Timer] = None


def touched(node: Any) -> None:
    """Something changed, perhaps this VOID node or what is upstream of it."""
    _waiting.setdefault(node.fullName(), node)
    if EVERY_S <= 0:
        look()
    else:
        _arm(EVERY_S)
    if node.shown():
        _follow(VoidNode(node))


def look() -> None:
    """Refresh the states of nodes that wait."""
    global _timer
    _timer = None
    began = time.monotonic()
    for name, node in list(_waiting.items()):
        if EVERY_S > 0 and began - _looked_at.get(name, -EVERY_S) < EVERY_S:
            continue
        del _waiting[name]
        _looked_at[name] = began
        try:
            actions.refresh(VoidNode(node))
        except ValueError:  # it was deleted meanwhile
            continue
        if EVERY_S > 0 and time.monotonic() - began > BUDGET_S:
            break
    if _waiting:
        _arm(EVERY_S / 5)


def forget(name: str = "") -> None:
    """A node that is deleted, or all of the script."""
    global _timer
    for known in (_waiting, _looked_at, _shown):
        if name:
            known.pop(name, None)
        else:
            known.clear()
    if not name and _timer is not None:
        _timer.cancel()
        _timer = None


def _follow(void: VoidNode) -> None:
    """An open panel shows the viewer's frame; written only where that, or what it tells of, is another one."""
    now = (nuke.frame(), *(void.text(name) for name in ("void_clicks", "mask_file", "result_file")))
    if _shown.get(void.name) != now:
        _shown[void.name] = now
        actions.show_sources(void)
        void.show_clicks()


def _arm(seconds: float) -> None:
    global _timer
    if _timer is None:
        _timer = threading.Timer(seconds, nuke.executeInMainThread, (look,))
        _timer.daemon = True
        _timer.start()
