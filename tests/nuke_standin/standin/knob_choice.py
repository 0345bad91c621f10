"""Knobs that choose: from a list, a channel or layer, a format, views, another knob."""

from __future__ import annotations

from typing import Any, Optional

from . import resolve, tcl
from .errors import StandinError
from .guard import guarded
from .knob_base import Knob
from .knob_numbers import Array_Knob, Expression, Unsigned_Knob, read_part
from .state import S


@guarded
class Enumeration_Knob(Unsigned_Knob):
    """One of a list of strings. `value` is the string, `getValue` its number."""

    _USER_ID = 4
    _DEFAULT_IS_GIVEN = True

    def _setup(self, *args: Any) -> None:
        Array_Knob._setup(self)
        if len(args) > 1:
            raise TypeError(f"{self.Class()}(name, label, values): {args}")
        self._values = [str(v) for v in args[0]] if args else []
        self._open = False  # whether any string is taken, as colour spaces and views are

    def _state(self) -> Any:
        return (self._parts, tuple(self._values))

    def _restore(self, state: Any) -> None:
        self._parts, self._values = state[0], list(state[1])

    def _not_default(self) -> bool:
        return bool(self._parts != self._default[0])

    def _choice(self) -> str:
        index = int(self._evaluate(self._parts[0]))
        return self._values[index] if 0 <= index < len(self._values) else ""

    def _hashed(self) -> Any:
        return self._choice()

    def _tcl_value(self, index: Optional[int] = None) -> str:
        return self._choice()

    def _to_text(self) -> str:
        if isinstance(self._parts[0], (int, float)):
            return self._choice()
        return Array_Knob._to_text(self)

    def toScript(self, quote: bool = False, context: Any = None) -> str:
        return Knob.toScript(self, quote and isinstance(self._parts[0], (int, float)), context)

    def _from_text(self, text: str) -> None:
        if text in self._values or self._open:
            self._parts = (float(self._index(text)),)
        elif text.startswith("{"):
            self._parts = (read_part(tcl.interpreter().split(text)[0]),)
        elif text.isdigit():
            self._parts = (float(text),)
        else:
            raise RuntimeError(f'{self._name}: "{text}" is none of {self._values}')

    def _index(self, text: str) -> int:
        if text not in self._values:
            if not self._open:
                raise ValueError(f'{self._name}: "{text}" is none of {self._values}')
            self._values.append(text)
        return self._values.index(text)

    def value(self, *args: Any) -> str:
        return self._choice()

    def getValue(self, *args: Any) -> float:
        return float(self._evaluate(self._parts[0]))

    def setValue(self, value: Any, *args: Any) -> bool:
        if isinstance(self._parts[0], Expression):
            raise RuntimeError(f"{self._name} has an expression: it must be cleared before a value is set")
        if isinstance(value, str):
            index = self._index(value)
        elif isinstance(value, (int, float)):
            index = int(value)
            if not 0 <= index < max(1, len(self._values)):
                raise ValueError(f"{self._name}: {index} is none of {len(self._values)} values")
        else:
            raise TypeError(f"{self.Class()} {self._name}: setValue takes a string or a number")
        self._change(((float(index),), tuple(self._values)))
        return True

    def values(self) -> list:
        return list(self._values)

    def setValues(self, values: list) -> None:
        if isinstance(values, str) or not all(isinstance(v, str) for v in values):
            raise TypeError("setValues takes a list of strings")
        chosen = self._choice()
        index = list(values).index(chosen) if chosen in values else 0
        self._change(((float(index),), tuple(values)))

    def numValues(self) -> int:
        return len(self._values)

    def enumName(self, index: int) -> str:
        return str(self._values[index])


class Pulldown_Knob(Enumeration_Knob):
    _USER_ID = None


class Radio_Knob(Enumeration_Knob):
    _USER_ID = None


@guarded
class Channel_Knob(Knob):
    """A channel ("rgba.alpha", or "alpha" for short) or, with four, a layer. "{{parent.NAME}}" follows another one."""

    _USER_ID = 11

    def _setup(self, *args: Any) -> None:
        self._raw, self._depth, self._input = "none", int(args[0]) if args else 1, int(args[1]) if len(args) > 1 else 0

    @property
    def _text(self) -> str:
        if not self._raw.startswith("{{"):
            return str(self._raw)
        found, _ = resolve.knob(self._node, self._raw.strip("{}"))
        if not isinstance(found, Channel_Knob):
            raise StandinError(f"{self.fullyQualifiedName()} follows {self._raw}, which is no channel")
        return found._text

    def _state(self) -> Any:
        return self._raw

    def _restore(self, state: Any) -> None:
        self._raw = state

    def _hashed(self) -> Any:
        return self._text

    def _to_text(self) -> str:
        return str(self._raw)

    def toScript(self, quote: bool = False, context: Any = None) -> str:
        if quote and self._raw.startswith("{{"):
            return "{" + self._raw + "}"
        return Knob.toScript(self, quote, context)

    def _from_text(self, text: str) -> None:
        self._raw = text

    def value(self) -> str:
        return self._text

    def setValue(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{self.Class()} {self._name}: setValue takes a string")
        from . import layers

        layers.check(name)
        self._change(name)

    def inputNumber(self) -> int:
        return self._input

    def depth(self) -> int:
        return self._depth


class ChannelMask_Knob(Channel_Knob):
    _USER_ID = 10


@guarded
class Format_Knob(Knob):
    """A format, by name. `value` is the Format."""

    _USER_ID = 17

    def _setup(self, *args: Any) -> None:
        self._text = ""

    def _state(self) -> Any:
        return self._text

    def _restore(self, state: Any) -> None:
        self._text = state

    def _to_text(self) -> str:
        return self._text

    def _from_text(self, text: str) -> None:
        from . import formats

        self._text = formats.script_text(formats.find(text)) if text else ""

    def value(self) -> Any:
        from . import formats

        if self._text:
            return formats.find(self._text)
        return S.root._knobs["format"].value() if self._node is not S.root else formats.find("2K_Super_35(full-ap)")

    actualValue = value

    def name(self) -> str:
        return Knob.name(self)

    def notDefault(self) -> bool:
        return self._not_default()

    def setValue(self, value: Any) -> bool:
        from . import formats

        found = formats.find(value) if isinstance(value, str) else value
        if found is None:
            raise ValueError(f'no format is named "{value}"')
        self._change(formats.script_text(found))
        return True


@guarded
class MultiView_Knob(Knob):
    """Which views a node works on."""

    def _setup(self, *args: Any) -> None:
        self._text = "main"

    def _state(self) -> Any:
        return self._text

    def _restore(self, state: Any) -> None:
        self._text = state

    def _to_text(self) -> str:
        return self._text

    def _from_text(self, text: str) -> None:
        self._text = text

    def value(self) -> str:
        return self._text

    def notDefault(self) -> bool:
        return self._not_default()

    def setValue(self, value: str) -> None:
        self._change(value)


@guarded
class Link_Knob(Knob):
    """Another knob, shown here: all that is set here is set there."""

    _USER_ID = 41

    def _setup(self, *args: Any) -> None:
        self._link = ""
        if args:
            raise TypeError("Link_Knob(name, label); then makeLink or setLink")

    def _state(self) -> Any:
        return self._link

    def _restore(self, state: Any) -> None:
        self._link = state

    def _target(self) -> Knob:
        found, _ = resolve.knob(self._node, self._link)
        if found is self:
            raise StandinError(f"the link {self._name} leads to itself")
        return found

    def makeLink(self, node: str, knob: str) -> None:
        self.setLink(f"{node}.{knob}")

    def setLink(self, link: str) -> None:
        self._change(link)

    def getLink(self) -> str:
        return self._link

    def getLinkedKnob(self) -> Optional[Knob]:
        return self._target()

    def value(self, *args: Any) -> Any:
        return self._target().value(*args)

    def getValue(self, *args: Any) -> Any:
        return self._target().getValue(*args)

    def setValue(self, *args: Any) -> Any:
        return self._target().setValue(*args)

    def _from_text(self, text: str) -> None:
        self._target()._from_text(text)

    def _not_default(self) -> bool:
        return False
