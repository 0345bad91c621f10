"""Callbacks: who is told what, in which context, and where Nuke swallows exceptions."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, Optional

from .errors import StandinError
from .state import Dialog, S

KINDS = {
    "OnUserCreate": "onUserCreate",
    "OnCreate": "onCreate",
    "OnScriptLoad": "onScriptLoad",
    "OnScriptSave": "onScriptSave",
    "OnScriptClose": "onScriptClose",
    "OnDestroy": "onDestroy",
    "KnobChanged": "knobChanged",
    "UpdateUI": "updateUI",
    "Autolabel": "autolabel",
    "BeforeRender": "beforeRender",
    "BeforeFrameRender": "beforeFrameRender",
    "AfterFrameRender": "afterFrameRender",
    "AfterRender": "afterRender",
    "RenderProgress": "renderProgress",
    "FilenameFilter": "filenameFilter",
}


class PseudoKnob:
    """The dummy knob of showPanel, hidePanel and inputChange: it has a name and nothing else."""

    def __init__(self, name: str, node: Any) -> None:
        self._name, self._node = name, node

    def name(self) -> str:
        return self._name

    def node(self) -> Any:
        return self._node

    def Class(self) -> str:
        return "Obsolete_Knob"

    def value(self) -> None:
        return None

    def getValue(self) -> float:
        return 0.0

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"knobChanged was called with the dummy knob {self._name!r}, which has no {name}")


def add(
    kind: str, call: Callable, args: Any = (), kwargs: Optional[dict] = None, nodeClass: str = "*", node: Any = None
) -> None:
    if not callable(call):
        raise ValueError("call must be a callable")
    if not isinstance(args, tuple):
        args = (args,)
    entry = (call, args, kwargs or {}, node)
    entries = S.callbacks.setdefault(kind, {}).setdefault(nodeClass, [])
    if entry in entries:
        entries.remove(entry)
    entries.append(entry)


def remove(
    kind: str, call: Callable, args: Any = (), kwargs: Optional[dict] = None, nodeClass: str = "*", node: Any = None
) -> None:
    if not isinstance(args, tuple):
        args = (args,)
    entries = S.callbacks.get(kind, {}).get(nodeClass, [])
    if (call, args, kwargs or {}, node) in entries:
        entries.remove((call, args, kwargs or {}, node))


@contextmanager
def this(node: Any, knob: Any = None) -> Iterator[None]:
    """Inside, `nuke.thisNode()` and `nuke.thisKnob()` are these, and new nodes go into the node's group."""
    S.this_stack.append((node, knob))
    groups = list(S.group_stack)
    if node is not None:
        S.group_stack.append(node if node._children is not None else (node._parent or S.root))
    try:
        yield
    finally:
        S.this_stack.pop()
        S.group_stack[:] = groups


def swallow(error: Exception, where: str) -> None:
    """What Nuke does with an exception of a callback: it is printed, and Nuke goes on."""
    if isinstance(error, StandinError):
        raise error
    S.swallowed.append((where, error))
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    sys.stderr.write(f"{where}:\n{text}")


def run_script(text: str, node: Any, knob: Any = None) -> None:
    """A script of a knob, run as Nuke runs it: in `__main__`, with `nuke` there."""
    import nuke

    import __main__

    space = __main__.__dict__
    space.setdefault("nuke", nuke)
    with this(node, knob):
        exec(compile(text, f"<{node._name}.{knob._name if knob is not None else 'script'}>", "exec"), space)


def _calls(kind: str, node: Any, knob: Any = None) -> Iterator[Callable[[], Any]]:
    table = S.callbacks.get(kind, {})
    for entry in list(table.get(node.Class(), [])) + list(table.get("*", [])):
        call, args, kwargs, only = entry
        if only is None or only is node:
            yield lambda call=call, args=args, kwargs=kwargs: call(*args, **kwargs)
    own = node._knobs.get(KINDS[kind])
    if own is not None and own._state():
        yield lambda: run_script(own._state(), node, own if knob is None else knob)


def fire(kind: str, node: Any, knob: Any = None, raises: bool = False) -> None:
    """Run all callbacks of a kind for a node. Only those of a render raise."""
    for call in _calls(kind, node, knob):
        with this(node, knob):
            try:
                call()
            except Exception as error:
                if raises:
                    if isinstance(error, StandinError):
                        raise
                    raise RuntimeError(f"{node.fullName()}: {type(error).__name__}: {error}") from error
                swallow(error, f"{KINDS[kind]} of {node.fullName()}")


def knob_changed(node: Any, knob: Any) -> None:
    """knobChanged: not while it already runs for the node, not while a script loads."""
    if S.loading or not _heard(node):
        return
    if node._in_knob_changed and not knob._flags & 0x8000000:
        return
    node._in_knob_changed = True
    try:
        fire("KnobChanged", node, knob)
    finally:
        node._in_knob_changed = False


def _heard(node: Any) -> bool:
    """Whether a node's knobs are listened to: always, or, by older documentation, with an open panel."""
    return S.knob_changed == "always" or (S.gui and bool(node._shown))


def dummy_knob_changed(node: Any, name: str) -> None:
    """knobChanged with a dummy knob: showPanel, hidePanel, inputChange."""
    if S.loading or node._in_knob_changed or (name == "inputChange" and not _heard(node)):
        return
    node._in_knob_changed = True
    try:
        fire("KnobChanged", node, PseudoKnob(name, node))
    finally:
        node._in_knob_changed = False


def filter_filename(node: Any, path: str) -> str:
    """Path mapping: each filenameFilter gets what the one before it made; None leaves it."""
    table = S.callbacks.get("FilenameFilter", {})
    entries = list(table.get("*", []))
    if node is not None:
        entries = list(table.get(node.Class(), [])) + entries
    for call, args, kwargs, _ in entries:
        with this(node):
            result = call(path, *args, **kwargs)
        if result is not None:
            path = result
    return path


def alert(kind: str, text: str) -> None:
    """Something that a real Nuke shows in a window of its own."""
    S.dialogs.append(Dialog(kind, text))


def press(knob: Any) -> None:
    """The artist's click on a button: what it raises, Nuke shows in a window."""
    if not knob.visible() or not knob.enabled():
        raise AssertionError(f"{knob.fullyQualifiedName()} cannot be clicked: it is hidden or greyed out")
    try:
        knob.execute()
    except StandinError:
        raise
    except Exception as error:  # noqa: BLE001 - Nuke shows it
        S.swallowed.append((f"button {knob.fullyQualifiedName()}", error))
        alert("error", f"{type(error).__name__}: {error}")
