"""The one place of mutable state: what a running Nuke would hold. `app.reset` makes it afresh."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from .errors import OffMainThread


@dataclass
class Dialog:
    """Something that Nuke showed to the artist: kind is message, ask, input, filename, choice, error or alert."""

    kind: str
    text: str
    answer: Any = None


@dataclass
class State:
    gui: bool = True
    indie: bool = False
    knob_changed: str = "always"  # or "open panel"
    version: tuple = (16, 0, 3)
    main_thread: int = field(default_factory=threading.get_ident)
    root: Any = None
    group_stack: list = field(default_factory=list)
    this_stack: list = field(default_factory=list)  # (node, knob) of the callbacks that run
    callbacks: dict = field(default_factory=dict)
    dialogs: list = field(default_factory=list)
    answers: deque = field(default_factory=deque)
    swallowed: list = field(default_factory=list)  # exceptions that Nuke would only have printed
    violations: list = field(default_factory=list)
    printed: list = field(default_factory=list)
    plugin_path: list = field(default_factory=list)
    formats: list = field(default_factory=list)
    layers: dict = field(default_factory=dict)
    menus: dict = field(default_factory=dict)
    panels: dict = field(default_factory=dict)
    favourites: dict = field(default_factory=dict)
    knob_defaults: dict = field(default_factory=dict)
    progress: list = field(default_factory=list)
    calls: deque = field(default_factory=deque)  # what waits for the main thread
    calls_changed: threading.Condition = field(default_factory=threading.Condition)
    executing: Optional[str] = None
    cancel_render: bool = False
    rendered: list = field(default_factory=list)  # (full name of the Write, frame, view, path)
    tell: Optional[Callable] = None  # told each line that a render prints
    modified: bool = False
    loading: int = 0
    frame: float = 1
    view: str = "main"
    clipboard: str = ""
    undo: Any = None
    raw_args: list = field(default_factory=list)
    updated: dict = field(default_factory=dict)  # node -> its knobs at the last updateUI; 0 -> the frame
    python_nodes: bool = True
    tcl: Any = None
    on_reset: list = field(default_factory=list)
    exit: Optional[Callable] = None


S = State()


def check_thread(what: str) -> None:
    """Nuke's Python may be used on the main thread only: elsewhere it crashes sooner or later."""
    if threading.get_ident() != S.main_thread:
        error = OffMainThread(
            f"nuke.{what} was used on thread {threading.current_thread().name!r}, not on the main thread"
        )
        S.violations.append(error)
        raise error
