"""Knobs that hold text: plain, Tcl-evaluated, files, scripts; and those that only show something."""

from __future__ import annotations

import os
import re
from typing import Any, Optional

from . import events, tcl
from .errors import StandinError
from .guard import guarded
from .knob_base import Knob
from .state import S


@guarded
class Textual(Knob):
    """What every knob with a text has; not a class of Nuke's."""

    _USER_ID: Optional[int] = None

    def _setup(self, *args: Any) -> None:
        if len(args) > 1:
            raise TypeError(f"{self.Class()}(name, label, value): {args}")
        self._text = str(args[0]) if args else ""

    def _state(self) -> Any:
        return self._text

    def _restore(self, state: Any) -> None:
        self._text = state

    def _to_text(self) -> str:
        return self._text

    def _from_text(self, text: str) -> None:
        self._text = text

    def _tcl_value(self, index: Optional[int] = None) -> str:
        return self._text

    def _number(self, index: int = 0) -> float:
        try:
            return float(self._text)
        except ValueError:
            raise RuntimeError(f"{self.fullyQualifiedName()} is text, not a number: {self._text!r}") from None

    def value(self, *args: Any) -> str:
        return self._text

    def getValue(self, *args: Any) -> str:
        return self._text

    def setValue(self, value: str, view: Any = None) -> bool:
        if not isinstance(value, str):
            raise TypeError(f"{self.Class()} {self._name}: setValue takes a string, not {type(value).__name__}")
        self._change(value)
        return True


@guarded
class String_Knob(Textual):
    _USER_ID: Optional[int] = 1

    def getText(self, *args: Any) -> str:
        return str(self._text)

    def setText(self, value: str) -> bool:
        return bool(self.setValue(value))


@guarded
class EvalString_Knob(String_Knob):
    """Text with Tcl in it: `value` is the text, `evaluate` what Tcl makes of it."""

    def evaluate(self, frame: Optional[float] = None) -> str:
        with tcl.at(self._node, frame):
            return tcl.substitute(self._text, self._node)

    def _tcl_value(self, index: Optional[int] = None) -> str:
        return tcl.substitute(self._text, self._node)

    def _hashed(self) -> Any:
        return tcl.substitute(self._text, self._node)


class Multiline_Eval_String_Knob(EvalString_Knob):
    _USER_ID = 43


@guarded
class Password_Knob(Textual):
    def getText(self) -> str:
        return str(self._text)


def frame_path(text: str, frame: float, view: str) -> str:
    """A path with its frame and view filled in: %04d, ####, %v, %V."""
    text = re.sub(r"%(0?\d*)d", lambda m: ("%" + m.group(1) + "d") % int(frame), text)
    text = re.sub(r"#+", lambda m: str(int(frame)).zfill(len(m.group())), text)
    return text.replace("%V", view).replace("%v", view[:1])


@guarded
class File_Knob(EvalString_Knob):
    """A path, with forward slashes. `getValue` is the evaluated path with its frame pattern left in."""

    _USER_ID = 2

    def setValue(self, value: str, view: Any = None) -> bool:
        if isinstance(value, str) and "\\" in value and "[" not in value:
            raise ValueError(f"{self._name}: a path in Nuke has forward slashes: {value!r}")
        return Textual.setValue(self, value, view)

    def getValue(self, *args: Any) -> str:
        return tcl.substitute(self._text, self._node)

    def getEvaluatedValue(self, *args: Any) -> Optional[str]:
        return self.evaluate()

    def _resolved(self, frame: float, view: str) -> str:
        """The absolute file of a frame: Tcl, callbacks, frame number, project directory."""
        with tcl.at(self._node, frame, view):
            text = tcl.substitute(self._text, self._node)
            if not text:
                return ""
            text = events.filter_filename(self._node, frame_path(text, frame, view))
        if not os.path.isabs(text):
            directory = S.root._knobs["project_directory"].evaluate()
            text = os.path.join(directory or os.getcwd(), text)
        return text

    def evaluate(self, frame: Optional[float] = None) -> str:
        _, now, view = tcl.context()
        when = now if frame is None else frame
        with tcl.at(self._node, when):
            return frame_path(tcl.substitute(self._text, self._node), when, view)

    def fromUserText(self, text: str) -> None:
        """What typing a path into the knob does: a range at its end goes to first and last."""
        match = re.fullmatch(r"(.*?)\s+(-?\d+)(?:-(-?\d+))?", text)
        self.setValue(match.group(1) if match else text)
        if match and self._node is not None and "first" in self._node._knobs:
            first, last = int(match.group(2)), int(match.group(3) or match.group(2))
            for name, number in (("first", first), ("origfirst", first), ("last", last), ("origlast", last)):
                if name in self._node._knobs:
                    self._node._knobs[name].setValue(number)


@guarded
class Script_Knob(String_Knob):
    """A button with a Tcl command. Only the built-in `reload` and `export` ones exist, and they do nothing here."""

    _USER_ID = 32

    def _not_default(self) -> bool:
        return False

    def command(self) -> str:
        return self._text

    def setCommand(self, command: str) -> None:
        self.setValue(command)

    def execute(self) -> None:
        if self._name != "reload":
            raise StandinError(f"the Tcl button {self._name} is not in the stand-in")
        self._node._reload()


@guarded
class PyScript_Knob(String_Knob):
    """A button with a Python script."""

    _USER_ID = 22
    _STARTLINE = False

    def command(self) -> str:
        return self._text

    def setCommand(self, command: str) -> None:
        self.setValue(command)

    def execute(self) -> None:
        events.run_script(self._text, self._node, self)


class PythonKnob(String_Knob):
    """A node's own callback: a Python script in a knob."""

    _USER_ID = None


@guarded
class Text_Knob(Textual):
    """A line of text, or a divider."""

    _USER_ID = 26


class Tab_Knob(Knob):
    """A page of the panel; with a third argument a group of knobs that opens and closes."""

    _USER_ID = 20

    def _setup(self, *args: Any) -> None:
        self._group = int(args[0]) if args else 0

    def _state(self) -> Any:
        return None

    def _restore(self, state: Any) -> None:
        pass


class BeginTabGroup_Knob(Tab_Knob):
    def _setup(self, *args: Any) -> None:
        self._group = 1


class EndTabGroup_Knob(Tab_Knob):
    def _setup(self, *args: Any) -> None:
        self._group = -1


class Help_Knob(Knob):
    pass


class Opaque_Knob(Knob):
    """A built-in knob of a kind that the stand-in keeps as text: its class is said as the table of facts has it."""

    def _setup(self, *args: Any) -> None:
        self._kind, self._text = "Knob", ""

    def Class(self) -> str:
        return str(self._kind)

    def _state(self) -> Any:
        return self._text

    def _restore(self, state: Any) -> None:
        self._text = state

    def _to_text(self) -> str:
        return str(self._text)

    def _from_text(self, text: str) -> None:
        self._text = text
