"""Tcl, expressions and values, asked from Python: `nuke.tcl`, `nuke.value`, `nuke.filename`."""

from __future__ import annotations

from typing import Any, Optional

from . import events, graph, tcl
from .app import this_node
from .knob_text import frame_path
from .state import S


def tcl_run(command: str, *args: str) -> str:
    """`nuke.tcl`"""
    words = " ".join([command, *(tcl.quote(a) for a in args)])
    return tcl.run(words, this_node() or S.root)


def expression(text: str) -> float:
    """`nuke.expression`: a number."""
    from . import expression as parser
    from . import resolve

    node = this_node() or S.root
    with tcl.at(node):
        return parser.evaluate(tcl.substitute(text, node), lambda name: resolve.number(node, name))


def value(knob: str, default: Optional[str] = None) -> str:
    """`nuke.value`: a knob's text."""
    from . import resolve

    try:
        return resolve.text(this_node() or S.root, knob)
    except NameError:
        if default is None:
            raise
        return default


def numvalue(knob: str, default: Optional[float] = None) -> float:
    from . import resolve

    try:
        return resolve.number(this_node() or S.root, knob)
    except NameError:
        if default is None:
            raise
        return default


def filename(node: Any, flag: int = 0) -> Optional[str]:
    """`nuke.filename`: a Read's or Write's file, its Tcl evaluated, %04d left in. With nuke.REPLACE: the very file of
    the current frame, mapped."""
    real = node if "file" in node._knobs else graph.through(node)
    if real is None or "file" not in real._knobs:
        return None
    knob = real._knobs["file"]
    text = tcl.substitute(knob._text, real)
    if not text:
        return None
    if flag:
        text = events.filter_filename(real, frame_path(text, S.frame, S.view))
    return text


def filename_filter(path: str) -> str:
    """`nuke.filenameFilter`: the path, as the filters of every class make it."""
    return events.filter_filename(None, path)


def knob_default(name: str, value: Any = None) -> Any:
    """`nuke.knobDefault("Class.knob", "value")`"""
    if value is None:
        return S.knob_defaults.get(name)
    S.knob_defaults[name] = str(value)
    return None
