"""Groups and Root: nodes that hold nodes."""

from __future__ import annotations

from typing import Any, Optional

from . import facts, views
from .errors import StandinError
from .guard import guarded
from .node import Node
from .state import S


def check_indie() -> None:
    """Nuke Indie lets Python at scripts of ten nodes at most."""
    if S.indie and sum(1 for _ in walk(S.root)) > 10:
        raise RuntimeError("Nuke Indie: Python scripting is limited to scripts of 10 nodes")


def walk(group: Any) -> Any:
    """All nodes inside, at every depth."""
    for child in list(group._children):
        yield child
        if child._children is not None:
            yield from walk(child)


@guarded
class Group(Node):
    @classmethod
    def _make(cls, class_name: str, group: Any) -> Any:
        node = super()._make(class_name, group)
        node._children = []
        return node

    def _entrances(self) -> list:
        """The Input nodes, by their number."""
        found = [c for c in self._children if c._class == "Input"]
        return sorted(found, key=lambda c: c._knobs["number"]._number())

    def _exit(self) -> Any:
        return next((c for c in self._children if c._class == "Output"), None)

    def _input_limit(self) -> int:
        return len(self._entrances())

    def minInputs(self) -> int:
        return len(self._entrances())

    def begin(self) -> Group:
        S.group_stack.append(self)
        return self

    def end(self) -> None:
        if not S.group_stack or S.group_stack[-1] is not self:
            raise StandinError("Group.end() without its begin()")
        S.group_stack.pop()

    def __enter__(self) -> Group:
        return self.begin()

    def __exit__(self, *_: Any) -> None:
        self.end()

    def run(self, call: Any) -> Any:
        with self:
            return call()

    def nodes(self) -> list:
        self._alive()
        check_indie()
        return list(reversed(self._children))

    def numNodes(self) -> int:
        return len(self._children)

    def node(self, name: str) -> Optional[Node]:
        self._alive()
        check_indie()
        here: Any = self
        for word in name.split("."):
            if here is None or here._children is None:
                return None
            here = next((c for c in here._children if c._name == word), None)
        return here

    def output(self) -> Any:
        return self._exit()

    def selectedNodes(self) -> list:
        return [c for c in self.nodes() if c.isSelected()]

    def selectedNode(self) -> Optional[Node]:
        return next(iter(self.selectedNodes()), None)

    def subgraphLocked(self) -> bool:
        return False


@guarded
class Root(Group):
    @classmethod
    def _make_root(cls) -> Any:
        root = cls.__new__(cls)
        root._class, root._parent, root._inputs, root._children = "Root", None, [], []
        root._shown = root._in_knob_changed = root._deleted = False
        root._version, root._knobs = 0, {}
        for fact in facts.ROOT:
            knob = facts.make(*fact)
            knob._node = root
            root._knobs[knob._name] = knob
        return root

    def _after_change(self, knob: Any) -> None:
        if knob._name == "frame":
            S.frame = int(knob._number())
        elif knob._name == "views":
            views.from_root()

    def name(self) -> str:
        return self._name or "Root"

    def fullName(self) -> str:
        return "root"

    def firstFrame(self) -> int:
        return int(self._knobs["first_frame"]._number())

    def lastFrame(self) -> int:
        return int(self._knobs["last_frame"]._number())

    def fps(self) -> float:
        return float(self._knobs["fps"]._number())

    def proxy(self) -> bool:
        return bool(self._knobs["proxy"]._number())

    def setProxy(self, on: bool) -> None:
        self._knobs["proxy"].setValue(bool(on))

    def modified(self) -> bool:
        return bool(S.modified)

    def setModified(self, state: bool) -> None:
        S.modified = bool(state)

    def setFrame(self, frame: float) -> None:
        from . import app

        app.set_frame(frame)

    def format(self) -> Any:
        return self._knobs["format"].value()

    def width(self) -> int:
        return int(self.format()._w)

    def height(self) -> int:
        return int(self.format()._h)

    def pixelAspect(self) -> float:
        return float(self.format()._aspect)

    def addView(self, name: str, color: str = "") -> None:
        views.add(name, color)

    def deleteView(self, name: str) -> None:
        views.remove(name)
