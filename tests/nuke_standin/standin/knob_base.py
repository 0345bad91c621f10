"""What every knob has: name, label, tooltip, flags, a node, and changes that fire callbacks and can be undone."""

from __future__ import annotations

from typing import Any, Optional

from . import events
from .errors import StandinError
from .guard import guarded
from .state import S

DISABLED, NO_ANIMATION, DO_NOT_WRITE, INVISIBLE = 0x80, 0x100, 0x200, 0x400
STARTLINE, ENDLINE, NO_CHECKMARKS, EXPAND_TO_WIDTH = 0x1000, 0x2000, 0x4000, 0x8000
ALWAYS_SAVE, NO_UNDO, KNOB_CHANGED_RECURSIVE, READ_ONLY = 0x20000, 0x80000, 0x8000000, 0x10000000
HIDDEN, NO_RERENDER, NO_MULTIVIEW, SAVE_MENU = 0x800, 0x4000000, 0x40000000, 0x2000000
FLAGS = {
    "DISABLED": DISABLED,
    "NO_ANIMATION": NO_ANIMATION,
    "DO_NOT_WRITE": DO_NOT_WRITE,
    "INVISIBLE": INVISIBLE,
    "STARTLINE": STARTLINE,
    "ENDLINE": ENDLINE,
    "NO_CHECKMARKS": NO_CHECKMARKS,
    "EXPAND_TO_WIDTH": EXPAND_TO_WIDTH,
    "ALWAYS_SAVE": ALWAYS_SAVE,
    "NO_UNDO": NO_UNDO,
    "KNOB_CHANGED_RECURSIVE": KNOB_CHANGED_RECURSIVE,
    "READ_ONLY": READ_ONLY,
    "HIDDEN": HIDDEN,
    "NO_RERENDER": NO_RERENDER,
    "NO_MULTIVIEW": NO_MULTIVIEW,
    "SAVE_MENU": SAVE_MENU,
}
WRITTEN = ("STARTLINE", "INVISIBLE", "DISABLED", "READ_ONLY", "HIDDEN", "NO_ANIMATION")  # of those, in addUserKnob
WITHOUT_HASH = {
    "name",
    "label",
    "xpos",
    "ypos",
    "selected",
    "tile_color",
    "gl_color",
    "note_font",
    "note_font_size",
    "note_font_color",
    "hide_input",
    "help",
    "icon",
    "bookmark",
    "dope_sheet",
    "postage_stamp",
    "postage_stamp_frame",
    "onCreate",
    "onDestroy",
    "knobChanged",
    "updateUI",
    "autolabel",
    "panel",
    "indicators",
    "cached",
}


@guarded
class Knob:
    """The base class; not made by itself."""

    _USER_ID: Optional[int] = None
    _STARTLINE = True
    _DEFAULT_IS_GIVEN = False  # whether what a constructor is given is what "default" means

    def __init__(self, name: str, label: Optional[str] = None, *args: Any) -> None:
        if not isinstance(name, str):
            raise TypeError("a knob's name is a string")
        self._name, self._label = name, label
        self._tooltip = ""
        self._node: Any = None
        self._flags = STARTLINE if self._STARTLINE else 0
        self._explicit: set = set()  # flags that a script said, which are written again
        self._user = False
        self._default: Any = None
        self._setup()
        empty = self._state()
        self._setup(*args)
        self._default = self._state() if self._DEFAULT_IS_GIVEN else empty

    # -- for subclasses: a knob's whole value is one immutable state
    def _setup(self, *args: Any) -> None:
        if args:
            raise TypeError(f"{self.Class()} takes no more than name and label: {args}")

    def _state(self) -> Any:
        return None

    def _restore(self, state: Any) -> None:
        raise StandinError(f"{self.Class()} has no value in the stand-in")

    def _to_text(self) -> str:
        return ""

    def _from_text(self, text: str) -> None:
        raise StandinError(f"{self.Class()} {self._name} cannot be read from a script")

    def _tcl_value(self, index: Optional[int] = None) -> str:
        return self._to_text()

    def _number(self, index: int = 0) -> float:
        raise RuntimeError(f"knob {self._name} has no number")

    def _size(self) -> int:
        return 1

    def _hashed(self) -> Any:
        return self._state()

    def _not_default(self) -> bool:
        return bool(self._state() != self._default)

    def _change(self, state: Any) -> bool:
        """Take a new state: undo, hash and callbacks follow. False when nothing changed."""
        before = self._state()
        self._restore(state)
        after = self._state()
        if before == after:
            return False
        if not self._flags & NO_UNDO and S.undo is not None:
            S.undo.record(f"{self._name}", lambda: self._change(before))
        if self._node is not None:
            self._node._after_change(self)
            events.knob_changed(self._node, self)
        return True

    # -- public
    def Class(self) -> str:
        return type(self).__name__

    def name(self) -> str:
        return self._name

    def setName(self, name: str) -> None:
        if self._node is not None:
            if not self._user:
                raise RuntimeError("only a user knob can be renamed")
            self._node._knobs = {(name if k == self._name else k): v for k, v in self._node._knobs.items()}
        self._name = name

    def label(self) -> str:
        return self._name if self._label is None else self._label

    def setLabel(self, label: str) -> None:
        self._label = label

    def tooltip(self) -> str:
        return self._tooltip

    def setTooltip(self, tooltip: str) -> None:
        if not isinstance(tooltip, str):
            raise TypeError("a tooltip is a string")
        self._tooltip = tooltip

    def node(self) -> Any:
        return self._node

    def fullyQualifiedName(self, channel: int = -1) -> str:
        return f"{self._node.fullName()}.{self._name}" + (f".{channel}" if channel >= 0 else "")

    def setFlag(self, flag: int) -> None:
        self._flags |= flag

    def clearFlag(self, flag: int) -> None:
        self._flags &= ~flag

    def getFlag(self, flag: int) -> bool:
        return bool(self._flags & flag)

    def enabled(self) -> bool:
        return not self._flags & DISABLED

    def setEnabled(self, enabled: bool) -> None:
        self._flags = self._flags & ~DISABLED | (0 if enabled else DISABLED)

    def visible(self) -> bool:
        return not self._flags & (INVISIBLE | HIDDEN)

    def setVisible(self, visible: bool) -> None:
        self._flags = self._flags & ~INVISIBLE | (0 if visible else INVISIBLE)

    def toScript(self, quote: bool = False, context: Any = None) -> str:
        from . import tcl

        return tcl.quote(self._to_text()) if quote else self._to_text()

    def fromScript(self, script: str) -> None:
        before = self._state()
        self._from_text(script)
        after = self._state()
        self._restore(before)
        self._change(after)

    def _reset(self) -> None:
        self._change(self._default)

    def value(self) -> Any:
        raise StandinError(f"{self.Class()}.value() is not in the stand-in")

    def getValue(self) -> Any:
        return self.value()

    def setValue(self, *args: Any) -> Any:
        raise StandinError(f"{self.Class()}.setValue() is not in the stand-in")

    def isAnimated(self, channel: int = -1) -> bool:
        return False

    def hasExpression(self, index: int = -1) -> bool:
        return False

    def clearAnimated(self, channel: int = -1) -> bool:
        return False

    def setExpression(self, expression: str, index: int = -1, view: Optional[str] = None) -> bool:
        raise RuntimeError(f"{self.Class()} {self._name} takes no expression")

    def __repr__(self) -> str:
        return f"<{self.Class()} {self._name}>"
