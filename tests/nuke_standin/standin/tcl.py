"""Real Tcl (tkinter's interpreter, no window): for `[value …]` in knobs, and for reading .nk and .gizmo files."""

from __future__ import annotations

import os
import threading
import tkinter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, Optional

from .errors import StandinError
from .state import S

FORBIDDEN = ("exec", "open", "source", "load", "socket", "exit", "cd", "glob", "vwait", "after")


class Interpreter:
    """A Tcl interpreter whose Python commands report errors as Tcl errors, so that `catch` works in it."""

    def __init__(self, unknown: bool = False) -> None:
        self.tcl = tkinter.Tcl()
        self.error: Optional[BaseException] = None
        self.commands: dict[str, Callable[..., Any]] = {}
        self.tcl.createcommand("_python", self._python)
        for name in FORBIDDEN:
            self.tcl.eval(f"catch {{rename {name} {{}}}}")
        if unknown:
            self.tcl.eval("proc unknown args {set r [_python unknown {*}$args]; return [_result $r]}")
        else:
            self.tcl.eval('proc unknown {name args} {error "invalid command name \\"$name\\""}')
        self.tcl.eval("proc _result r {if {[lindex $r 0]} {return [lindex $r 1]}; error [lindex $r 1]}")

    def _python(self, name: str, *args: str) -> Any:
        try:
            result = self.commands[name](*args)
        except Exception as error:  # noqa: BLE001 - handed on through Tcl, and raised again by `run`
            self.error = error
            return (0, str(error) or type(error).__name__)
        return (1, "" if result is None else result)

    def add(self, name: str, function: Callable[..., Any]) -> None:
        """Make a Python function a Tcl command."""
        self.commands[name] = function
        if name != "unknown":
            self.tcl.eval(f"proc {name} args {{set r [_python {name} {{*}}$args]; return [_result $r]}}")

    def run(self, script: str) -> str:
        """Evaluate; an error of a Python command is raised as itself, one of Tcl as RuntimeError."""
        self.error = None
        try:
            return str(self.tcl.eval(script))
        except tkinter.TclError as error:
            if self.error is not None and str(self.error) in str(error):
                raise self.error from None
            raise RuntimeError(str(error)) from None

    def split(self, text: str) -> list[str]:
        """A Tcl list's elements."""
        try:
            return [_plain(x) for x in self.tcl.splitlist(text)]
        except tkinter.TclError as error:
            raise RuntimeError(f"{error}: {text[:80]!r}") from None


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


@contextmanager
def at(node: Any, frame: Optional[float] = None, view: Optional[str] = None) -> Iterator[None]:
    """Evaluate inside with this node, frame and view as the context."""
    before = S.tcl_context if hasattr(S, "tcl_context") else None
    outer = before or (S.root, S.frame, S.view)
    S.tcl_context = (node, outer[1] if frame is None else frame, outer[2] if view is None else view)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        S.tcl_context = before  # type: ignore[attr-defined]


def context() -> tuple[Any, float, str]:
    """(node, frame, view) in which a knob is evaluated."""
    found = getattr(S, "tcl_context", None)
    return found or (S.root, S.frame, S.view)


def interpreter() -> Interpreter:
    """The interpreter of knobs, made when first needed (Tcl is bound to the thread that made it)."""
    if S.tcl is None or S.tcl.thread != threading.get_ident():
        S.tcl = Interpreter()
        S.tcl.thread = threading.get_ident()
        _add_commands(S.tcl)
    S.tcl.tcl.setvar("gui", 1 if S.gui else 0)
    S.tcl.tcl.setvar("frame", _number(context()[1]))
    return S.tcl


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def substitute(text: str, node: Any) -> str:
    """What Nuke makes of a string knob: `[…]` and `$…` replaced by Tcl; backslashes stay."""
    if "[" not in text and "$" not in text:
        return text
    with at(node):
        tcl = interpreter()
        tcl.tcl.setvar("_text", text)
        return tcl.run("subst -nobackslashes $_text")


def run(script: str, node: Any) -> str:
    """`nuke.tcl`, with a node as the context."""
    with at(node):
        return interpreter().run(script)


def quote(text: str) -> str:
    """A string as one element inside a node's braces, the way Nuke writes it."""
    if text and all(c.isalnum() or c in "_./:-+%#@*,=~^" for c in text) and not text.startswith("#"):
        return text
    out = text.replace("\\", "\\\\")
    for char in '"[${}':
        out = out.replace(char, "\\" + char)
    return '"' + out.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r") + '"'


def _add_commands(tcl: Interpreter) -> None:
    from . import resolve

    def value(path: str, *rest: str) -> str:
        node, _, _ = context()
        try:
            return resolve.text(node, path)
        except NameError:
            if rest:
                return rest[0]
            raise

    def exists(*paths: str) -> str:
        node, _, _ = context()
        return "1" if all(resolve.exists(node, path) for path in paths) else "0"

    def knob(path: str, *values: str) -> str:
        node, _, _ = context()
        found, _index = resolve.knob(node, path)
        if values:
            found.fromScript(values[0])
            return ""
        return str(found.toScript())

    def metadata(key: str, *_: str) -> str:
        node, _, _ = context()
        found = node.metadata(key)
        return "" if found is None else str(found)

    def python(*_: str) -> str:
        raise StandinError("[python …] in a knob: the stand-in evaluates Tcl only")

    tcl.add("value", value)
    tcl.add("exists", exists)
    tcl.add("knob", knob)
    tcl.add("metadata", metadata)
    tcl.add("python", python)
    tcl.add("getenv", lambda name, *default: os.environ.get(name, *(default or ("",))))
    tcl.add("frame", lambda: _number(context()[1]))
    tcl.add("class", lambda path="this": resolve.node(context()[0], path).Class())
