"""Names in Tcl and in expressions: `parent.mix`, `root.first_frame`, `Blur1.size`, `input.width`, `this.box.r`."""

from __future__ import annotations

from typing import Any, Optional

from .state import S

COMPONENTS = {
    "x": 0,
    "y": 1,
    "z": 2,
    "r": 2,
    "t": 3,
    "w": 0,
    "h": 1,
    "red": 0,
    "green": 1,
    "blue": 2,
    "alpha": 3,
}


def _step(node: Any, name: str) -> Optional[Any]:
    """The node that one word of a path names, seen from a node; None where there is none."""
    if name == "this":
        return node
    if name == "parent":
        return node._parent
    if name == "root":
        return S.root
    if name.startswith("input") and (name == "input" or name[5:].isdigit()):
        return node._inputs_get(int(name[5:] or 0))
    if node._children is not None and node is not S.root:
        for child in node._children:
            if child._name == name:
                return child
    holder = node._parent if node._parent is not None else S.root
    while holder is not None:
        for child in holder._children:
            if child._name == name:
                return child
        holder = holder._parent
    return None


def node(start: Any, path: str) -> Any:
    """The node of a dotted path; NameError where there is none."""
    here = start
    for word in path.split("."):
        found = _step(here, word)
        if found is None:
            raise NameError(f'nothing is named "{path}"')
        here = found
    return here


def knob(start: Any, path: str) -> tuple[Any, Optional[int]]:
    """(knob, component or None) of a dotted path; NameError where there is none."""
    words = path.split(".")
    here = start
    while words:
        found = here._knobs.get(words[0])
        if found is not None and len(words) <= 2:
            found = found._target() if hasattr(found, "_target") else found
            if len(words) == 1:
                return found, None
            index = COMPONENTS.get(words[1], int(words[1]) if words[1].isdigit() else -1)
            if 0 <= index < found._size():
                return found, index
        step = _step(here, words[0])
        if step is None:
            break
        here, words = step, words[1:]
    raise NameError(f'nothing is named "{path}"')


def _attribute(start: Any, path: str) -> Optional[float]:
    """Sizes and ranges, which expressions may read of a node though they are no knobs."""
    head, _, last = path.rpartition(".")
    getters = {
        "width": lambda n: n.width(),
        "height": lambda n: n.height(),
        "pixel_aspect": lambda n: n.pixelAspect(),
        "first_frame": lambda n: n.firstFrame(),
        "last_frame": lambda n: n.lastFrame(),
        "error": lambda n: n.hasError(),
    }
    if last not in getters:
        return None
    return float(getters[last](node(start, head) if head else start))


def text(start: Any, path: str) -> str:
    """What `[value PATH]` gives."""
    try:
        found, index = knob(start, path)
    except NameError:
        number = _attribute(start, path)
        if number is None:
            raise
        return str(int(number)) if number.is_integer() else repr(number)
    return str(found._tcl_value(index))


def number(start: Any, path: str) -> float:
    """What PATH is in an expression."""
    from . import tcl

    if path in ("frame", "t", "time"):
        return float(tcl.context()[1])
    try:
        found, index = knob(start, path)
    except NameError:
        value = _attribute(start, path)
        if value is None:
            raise
        return value
    return float(found._number(index or 0))


def exists(start: Any, path: str) -> bool:
    """Whether a node or knob has this name."""
    for find in (knob, node):
        try:
            find(start, path)
        except NameError:
            continue
        return True
    return False
