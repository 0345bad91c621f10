"""Making nodes: built-in classes, and gizmos of the plugin path."""

from __future__ import annotations

import os
from typing import Any, Optional

from . import events, facts
from .group import Group, check_indie
from .node import Node, unique_name
from .state import S


def here() -> Any:
    """The group that new nodes go into."""
    return S.group_stack[-1] if S.group_stack else S.root


def make(class_name: str, group: Any, name: Optional[str] = None) -> Any:
    """A bare node of a built-in class in a group, without callbacks."""
    cls = Group if class_name == "Group" else Node
    node = cls._make(class_name, group)
    stem = {"Merge2": "Merge", "CheckerBoard2": "CheckerBoard", "Shuffle2": "Shuffle", "Tracker4": "Tracker"}
    node._knobs["name"]._text = unique_name(group, name or stem.get(class_name, class_name) + "1")
    for key, text in S.knob_defaults.items():
        wanted, _, knob = key.partition(".")
        if wanted == class_name and knob in node._knobs:
            node._knobs[knob]._from_text(text)
    group._children.append(node)
    if S.undo is not None:
        S.undo.record(f"create {node._name}", lambda: remove(node))
    return node


def remove(node: Any) -> None:
    """Take a node out of its group and out of all inputs."""
    from .group import walk

    group = node._parent
    if node._deleted or node not in group._children:
        raise ValueError("A PythonObject is not attached to a node")
    for gone in [node, *(walk(node) if node._children is not None else [])]:
        events.fire("OnDestroy", gone)
    for other in list(group._children):
        for index, source in enumerate(list(other._inputs)):
            if source is node:
                other.setInput(index, node._inputs_get(0) if len(node._inputs) and node._children is None else None)
    place = group._children.index(node)
    group._children.remove(node)
    node._deleted = True

    def back() -> None:
        node._deleted = False
        group._children.insert(place, node)
        S.undo.record(f"restore {node._name}", lambda: remove(node))
        events.fire("OnCreate", node)

    if S.undo is not None:
        S.undo.record("delete", back)


def find_plugin(name: str) -> Optional[str]:
    """A file of the plugin path."""
    for folder in S.plugin_path:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
    return None


def new(class_name: str, group: Any) -> Any:
    """A node of a built-in class or of a gizmo."""
    if facts.known(class_name):
        return make(class_name, group)
    path = find_plugin(class_name + ".gizmo")
    if path is None:
        raise RuntimeError(f"{class_name}: Unknown command")
    from . import script

    with open(path, encoding="utf-8") as file:
        made = script.read_text(file.read(), group, where=path)
    if len(made) != 1:
        raise RuntimeError(f"{path}: a gizmo makes one node, not {len(made)}")
    return made[0]


def create_node(node: str, knobs: str = "", inpanel: bool = True) -> Any:
    """`nuke.createNode`: connected to the selection, selected, panel open."""
    check_indie()
    group = here()
    selected = [c for c in group._children if c.isSelected()]
    made = new(node, group)
    inner = [n for n in _created(made) if n is not made]
    _connect(made, selected)
    if knobs:
        made.readKnobs(knobs)
    for other in selected:
        other._knobs["selected"]._parts = (0.0,)
    made._knobs["selected"]._parts = (1.0,)
    for other in inner:
        events.fire("OnCreate", other)
    events.fire("OnUserCreate", made)
    events.fire("OnCreate", made)
    if S.gui and inpanel:
        made.showControlPanel()
    check_indie()
    return made


def _created(node: Any) -> list:
    from .group import walk

    return [node, *(walk(node) if node._children is not None else [])]


def _connect(made: Any, selected: list) -> None:
    """The first selected node goes into input 0; what hung on it hangs on the new node."""
    if not selected or not made._input_limit():
        return
    source = selected[-1]
    if made._class != "Viewer" and (made._children is None or made._exit() is not None):
        for other in list(made._parent._children):
            if other is made or other._class == "Viewer":
                continue
            for index, connected in enumerate(list(other._inputs)):
                if connected is source:
                    other.setInput(index, made)
    made.setInput(0, source)


class Nodes:
    """`nuke.nodes.CLASS(knob=value, inputs=[…])`: made without connecting or opening anything."""

    def __getattr__(self, class_name: str) -> Any:
        if class_name.startswith("__"):
            raise AttributeError(class_name)

        def construct(**knobs: Any) -> Any:
            from .state import check_thread

            check_thread(f"nodes.{class_name}")
            check_indie()
            made = new(class_name, here())
            for index, source in enumerate(knobs.pop("inputs", [])):
                made.setInput(index, source)
            if "name" in knobs:
                made.setName(knobs.pop("name"))
            for name, value in knobs.items():
                knob = made[name]
                if isinstance(value, str) and not isinstance(knob, facts.KNOBS["String_Knob"]):
                    knob.fromScript(value)
                else:
                    knob.setValue(value)
            events.fire("OnCreate", made)
            return made

        return construct
