"""Nodes: knobs, inputs, place in a group."""

from __future__ import annotations

import re
from typing import Any, Optional

from . import events, facts, views
from .errors import StandinError
from .guard import guarded
from .knob_base import Knob
from .state import S

EXPRESSIONS, INPUTS, HIDDEN_INPUTS, LINKINPUTS = 1, 2, 4, 8
WRITE_ALL, WRITE_NON_DEFAULT_ONLY, WRITE_USER_KNOB_DEFS, TO_SCRIPT, TO_VALUE = 1, 2, 4, 8, 16


def unique_name(group: Any, wanted: str, but: Any = None) -> str:
    """The name, or with the next free number."""
    taken = {child._name for child in group._children if child is not but}
    if wanted not in taken:
        return wanted
    stem, number = re.sub(r"\d+$", "", wanted), 1
    while f"{stem}{number}" in taken:
        number += 1
    return f"{stem}{number}"


@guarded
class Node:
    """One node. Made by `nuke.createNode`, `nuke.nodes.CLASS()` and by reading scripts, never by itself."""

    def __init__(self, *_: Any) -> None:
        raise RuntimeError("a Node is made by nuke.createNode() or nuke.nodes")

    @classmethod
    def _make(cls, class_name: str, group: Any) -> Any:
        node = cls.__new__(cls)
        node._class, node._parent, node._inputs = class_name, group, []
        node._children = None
        node._shown = node._in_knob_changed = False
        node._knobs = {}
        node._version, node._deleted = 0, False
        for knob in facts.knobs_of(class_name):
            knob._node = node
            node._knobs[knob._name] = knob
        return node

    # -- name: the knob "name" is the one place
    @property
    def _name(self) -> str:
        return str(self._knobs["name"]._text)

    def _inputs_get(self, index: int) -> Any:
        return self._inputs[index] if 0 <= index < len(self._inputs) else None

    def _input_limit(self) -> int:
        if self._class == "JoinViews":
            return len(views.names())
        return facts.inputs(self._class)[1]

    def _alive(self) -> None:
        if self._deleted:
            raise ValueError("A PythonObject is not attached to a node")

    def _after_change(self, knob: Any) -> None:
        """What Nuke's own code does when a knob has changed, before any callback."""
        if knob._name == "file_type":
            self._update_dynamic_knobs()

    def _update_dynamic_knobs(self) -> None:
        """The EXR writer's knobs come and go with file_type."""
        if self._class != "Write":
            return
        exr = self._knobs["file_type"]._choice() == "exr"
        for fact in facts.EXR_KNOBS:
            if exr and fact[0] not in self._knobs:
                knob = facts.make(*fact)
                knob._node = self
                self._knobs[knob._name] = knob
            elif not exr and fact[0] in self._knobs:
                del self._knobs[fact[0]]

    def _reload(self) -> None:
        self._version += 1
        if "version" in self._knobs:  # a hidden counter, saved with the script
            self._knobs["version"].setValue(int(self._knobs["version"]._number()) + 1)

    # -- public: identity
    def Class(self) -> str:
        return str(self._class)

    def name(self) -> str:
        self._alive()
        return self._name

    def fullName(self) -> str:
        self._alive()
        above = self._parent.fullName() + "." if self._parent is not None and self._parent is not S.root else ""
        return above + self._name

    def setName(self, name: str, uncollide: bool = True, updateExpressions: bool = False) -> None:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"not a node's name: {name!r}")
        taken = any(c._name == name for c in self._parent._children if c is not self)
        if taken and not uncollide:
            raise ValueError(f"{name} is the name of another node")
        self._knobs["name"]._change(unique_name(self._parent, name, self) if taken else name)

    def parent(self) -> Any:
        return self._parent

    def rootNode(self) -> Any:
        return S.root

    def help(self) -> str:
        return str(self._knobs["help"]._state())

    # -- knobs
    def __getitem__(self, name: str) -> Knob:
        self._alive()
        if name not in self._knobs:
            raise NameError(f"knob {name} does not exist")
        return self._knobs[name]

    def knob(self, name: str, follow_link: bool = False) -> Optional[Knob]:
        self._alive()
        found = self._knobs.get(name)
        return found._target() if follow_link and hasattr(found, "_target") else found

    def knobs(self) -> dict:
        self._alive()
        return dict(self._knobs)

    def allKnobs(self) -> list:
        return list(self._knobs.values())

    def numKnobs(self) -> int:
        return len(self._knobs)

    getNumKnobs = numKnobs

    def addKnob(self, knob: Knob) -> None:
        if not isinstance(knob, Knob):
            raise TypeError("addKnob takes a knob")
        if knob._node is not None:
            raise ValueError(f"the knob {knob._name} is on a node already")
        if knob._name in self._knobs and knob._name:
            raise ValueError(f"{self._name} has a knob {knob._name} already")
        if not any(k._user for k in self._knobs.values()) and knob.Class() != "Tab_Knob":
            tab = facts.KNOBS["Tab_Knob"]("User", "User")
            self._attach(tab)
        self._attach(knob)
        if S.undo is not None:
            S.undo.record(f"add {knob._name}", lambda: self.removeKnob(knob))

    def _attach(self, knob: Any) -> None:
        key = knob._name
        while key in self._knobs:
            key += "_"
        knob._node, knob._user = self, True
        self._knobs[key] = knob

    def removeKnob(self, knob: Knob) -> None:
        if not knob._user or knob not in self._knobs.values():
            raise ValueError("only user knobs can be removed")
        self._knobs = {k: v for k, v in self._knobs.items() if v is not knob}
        knob._node = None
        if S.undo is not None:
            S.undo.record(f"remove {knob._name}", lambda: self.addKnob(knob))

    def readKnobs(self, text: str) -> None:
        from . import script

        script.read_knobs(self, text)

    def writeKnobs(self, flags: int = 0) -> str:
        from . import script

        if flags == 0:
            return " ".join(self._knobs)
        lines = script.knob_lines(
            self, everything=not flags & WRITE_NON_DEFAULT_ONLY, users=bool(flags & WRITE_USER_KNOB_DEFS)
        )
        return "\n".join(lines) + "\n"

    def resetKnobsToDefault(self) -> None:
        for knob in list(self._knobs.values()):
            if not knob._user and knob._name not in ("name", "xpos", "ypos", "selected"):
                knob._reset()

    # -- inputs
    def inputs(self) -> int:
        return len(self._inputs)

    def input(self, index: int) -> Any:
        found = self._inputs_get(index)
        return found

    def maxInputs(self) -> int:
        return self._input_limit()

    maximumInputs = maxInputs

    def minInputs(self) -> int:
        return facts.inputs(self._class)[0]

    minimumInputs = minInputs

    def optionalInput(self) -> int:
        return 0

    def canSetInput(self, index: int, node: Any) -> bool:
        return index < self._input_limit() and not (node is not None and node is self)

    def setInput(self, index: int, node: Any) -> bool:
        self._alive()
        if node is not None and not isinstance(node, Node):
            raise TypeError("setInput takes a Node or None")
        if index < 0 or index >= self._input_limit() or node is self:
            return False
        if node is not None and node._parent is not self._parent:
            raise RuntimeError(f"{node.fullName()} and {self.fullName()} are not in the same group")
        before = self._inputs_get(index)
        if before is node and index < len(self._inputs):
            return True
        self._inputs += [None] * (index + 1 - len(self._inputs))
        self._inputs[index] = node
        while self._inputs and self._inputs[-1] is None:
            self._inputs.pop()
        if S.undo is not None:
            S.undo.record(f"connect {self._name}", lambda: self.setInput(index, before))
        events.dummy_knob_changed(self, "inputChange")
        return True

    def connectInput(self, index: int, node: Any) -> bool:
        while self._inputs_get(index) is not None:
            index += 1
        return self.setInput(index, node)

    def dependencies(self, what: int = EXPRESSIONS | INPUTS | HIDDEN_INPUTS) -> list:
        from . import graph

        return graph.dependencies(self, what)

    def dependent(self, what: int = EXPRESSIONS | INPUTS | HIDDEN_INPUTS, forceEvaluate: bool = True) -> list:
        from . import graph

        return graph.dependent(self, what)

    # -- place and panel
    def xpos(self) -> int:
        return int(self._knobs["xpos"]._number())

    def ypos(self) -> int:
        return int(self._knobs["ypos"]._number())

    def setXYpos(self, x: int, y: int) -> None:
        self.setXpos(x)
        self.setYpos(y)

    def setXpos(self, x: int) -> None:
        self._knobs["xpos"].setValue(int(x))

    def setYpos(self, y: int) -> None:
        self._knobs["ypos"].setValue(int(y))

    def screenWidth(self) -> int:
        return 80 if S.gui else 0

    def screenHeight(self) -> int:
        return 18 if S.gui else 0

    def autoplace(self) -> None:
        above = [n for n in self._inputs if n is not None]
        if above:
            self.setXYpos(above[0].xpos(), above[0].ypos() + 50)

    def isSelected(self) -> bool:
        return bool(self._knobs["selected"]._number())

    def setSelected(self, selected: bool) -> None:
        self._knobs["selected"].setValue(bool(selected))

    def selectOnly(self) -> None:
        for other in self._parent._children:
            other.setSelected(other is self)

    def showControlPanel(self, forceFloat: bool = False) -> None:
        if S.gui and not self._shown:
            self._shown = True
            events.dummy_knob_changed(self, "showPanel")

    def hideControlPanel(self) -> None:
        if S.gui and self._shown:
            events.dummy_knob_changed(self, "hidePanel")
            self._shown = False

    def shown(self) -> bool:
        return bool(self._shown)

    def setTab(self, index: int) -> None:
        pass

    def redraw(self) -> None:
        pass

    def lock(self) -> None:
        raise StandinError("Node.lock()")

    def forceValidate(self) -> None:
        from . import graph

        graph.info(self)

    def forceUpdateLocalization(self) -> None:
        pass

    # -- the picture
    def _info(self) -> Any:
        from . import graph

        return graph.info(self)

    def format(self) -> Any:
        return self._info().format

    def width(self) -> int:
        return int(self._info().format._w)

    def height(self) -> int:
        return int(self._info().format._h)

    def pixelAspect(self) -> float:
        return float(self._info().format._aspect)

    def bbox(self) -> Any:
        from . import graph

        return graph.bbox(self)

    def channels(self) -> list:
        from . import layers

        return layers.order(self._info().channels)

    def metadata(self, *args: Any, **kwargs: Any) -> Any:
        from . import graph

        return graph.metadata(self, *args, **kwargs)

    def firstFrame(self) -> int:
        return int(self._info().first)

    def lastFrame(self) -> int:
        return int(self._info().last)

    def frameRange(self) -> Any:
        from .ranges import FrameRange

        return FrameRange(self.firstFrame(), self.lastFrame(), 1)

    def upstreamFrameRange(self, index: int) -> Any:
        found = self._inputs_get(index)
        return None if found is None else found.frameRange()

    def sample(
        self, channel: str, x: float, y: float, dx: float = 1, dy: float = 1, frame: Optional[float] = None
    ) -> float:
        from . import graph

        return graph.sample(self, channel, x, y, dx, dy, frame)

    def opHashes(self) -> list:
        from . import graph

        return [graph.op_hash(self)]

    def hasError(self) -> bool:
        from . import graph

        return graph.error_of(self) is not None

    error = hasError

    def treeHasError(self) -> bool:
        from . import graph

        return graph.error_of(self) is not None

    def proxy(self) -> bool:
        return bool(S.root._knobs["proxy"]._number())

    def clones(self) -> int:
        return 0

    def isCloneable(self) -> bool:
        return False

    def __len__(self) -> int:
        return len(self._knobs)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<{self._name} of class {self._class}>" if not self._deleted else "<deleted node>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"'Node' object has no attribute '{name}'")
