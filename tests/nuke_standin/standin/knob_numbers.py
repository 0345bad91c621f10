"""Knobs that hold numbers: each component is a number, an expression or a curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Union

from . import expression, resolve, tcl
from .curve import Curve, number, parse
from .errors import StandinError
from .guard import guarded
from .knob_base import Knob
from .state import S


@dataclass(frozen=True)
class Expression:
    text: str


Part = Union[float, Expression, Curve]


def _words(text: str) -> list:
    return tcl.interpreter().split(text)


def read_part(text: str) -> Part:
    """One component: `0.5`, `parent.mix`, `curve x1 0 x2 1`."""
    try:
        return float(text)
    except ValueError:
        pass
    if text in ("true", "false"):
        return float(text == "true")
    words = _words(text)
    if words and words[0] == "curve":
        return parse(words[1:])
    if len(words) == 1 or all(word == "i" or word.startswith("x") for word in words[1:]):
        return Expression(words[0])
    raise StandinError(f"an expression with spaces must stand in quotes: {{{text}}}")


def write_part(part: Part) -> str:
    """One component, as it stands in a script."""
    if isinstance(part, Curve):
        return "{" + part.text() + "}"
    if isinstance(part, Expression):
        return "{" + (part.text if not set(part.text) & set(' ;"$[]{}\\') else tcl.quote(part.text)) + "}"
    return number(part)


@guarded
class Array_Knob(Knob):
    """`Array_Knob(name, label, size)` and the base of all number knobs."""

    _SIZE = 1
    _USER_ID: Optional[int] = 7

    def _setup(self, *args: Any) -> None:
        self._range = (0.0, 1.0)
        self._parts: tuple = (0.0,) * self._SIZE
        if len(args) == 1 and self._SIZE == 1 and type(self) is Array_Knob:
            self._parts = (0.0,) * int(args[0])
        elif len(args) == 2 and self._SIZE == 1:
            self._range = (float(args[0]), float(args[1]))
        elif args:
            raise TypeError(f"{self.Class()}: unexpected arguments {args}")

    def _state(self) -> Any:
        return self._parts

    def _restore(self, state: Any) -> None:
        self._parts = state

    def _size(self) -> int:
        return len(self._parts)

    def _cast(self, value: float) -> float:
        return float(value)

    def _evaluate(self, part: Part, frame: Optional[float] = None) -> float:
        if isinstance(part, Curve):
            return part.at(tcl.context()[1] if frame is None else frame)
        if isinstance(part, Expression):
            with tcl.at(self._node, frame):
                text = tcl.substitute(part.text, self._node).strip()
                if text == "":
                    raise RuntimeError(f"{self.fullyQualifiedName()}: the expression {part.text!r} gives nothing")
                return expression.evaluate(text, lambda name: resolve.number(self._node, name))
        return float(part)

    def _number(self, index: int = 0) -> float:
        return self._cast(self._evaluate(self._parts[index]))

    def _hashed(self) -> Any:
        return tuple(self._evaluate(part) for part in self._parts)

    def _tcl_value(self, index: Optional[int] = None) -> str:
        chosen = range(self._size()) if index is None else [index]
        return " ".join(number(self._number(i)) for i in chosen)

    def _to_text(self) -> str:
        parts = [write_part(part) for part in self._parts]
        if len(parts) == 1:
            return parts[0] if not parts[0].startswith("{") else "{" + parts[0] + "}"
        if len(set(parts)) == 1 and not parts[0].startswith("{") and isinstance(self, Color_Knob):
            return parts[0]
        return "{" + " ".join(parts) + "}"

    def toScript(self, quote: bool = False, context: Any = None) -> str:
        text = self._to_text()
        return text if quote or not text.startswith("{") else text[1:-1]

    def _from_text(self, text: str) -> None:
        words = _words(text) or [""]
        if words[0] == "curve":
            words = [text]
        if len(words) == 1 and self._size() > 1:
            words = words * self._size()
        if len(words) > self._size():
            raise RuntimeError(f"{self.Class()} {self._name} has {self._size()} values, not {len(words)}: {text!r}")
        parts = tuple(self._typed(read_part(word)) for word in words)
        self._parts = parts + self._parts[len(parts) :]

    def _typed(self, part: Part) -> Part:
        return self._cast(part) if isinstance(part, (int, float)) else part

    def _checked(self, value: Any) -> float:
        if isinstance(value, bool) or isinstance(value, (int, float)):
            return self._cast(float(value))
        raise TypeError(f"{self.Class()} {self._name}: setValue takes numbers, not {type(value).__name__}")

    def _indexes(self, index: int) -> range:
        if index >= self._size():
            raise IndexError(f"{self._name} has {self._size()} values")
        return range(self._size()) if index < 0 else range(index, index + 1)

    # -- public
    def value(self, index: int = -1, view: Any = None) -> Any:
        return self._get(index)

    def getValue(self, index: int = -1, view: Any = None) -> Any:
        return self._get(index)

    def _get(self, index: int, frame: Optional[float] = None) -> Any:
        values = [self._cast(self._evaluate(part, frame)) for part in self._parts]
        if index >= 0:
            return values[index]
        return values[0] if len(values) == 1 else values

    def valueAt(self, time: float, index: int = -1, view: Any = None) -> Any:
        return self._get(index, time)

    def getValueAt(self, time: float, index: int = -1, view: Any = None) -> Any:
        return self._get(index, time)

    def setValue(self, value: Any, index: int = -1, time: Optional[float] = None, view: Any = None) -> bool:
        if isinstance(value, (list, tuple)):
            if len(value) != self._size():
                raise TypeError(f"{self._name} has {self._size()} values, not {len(value)}")
            new = {i: self._checked(x) for i, x in enumerate(value)}
        else:
            new = {i: self._checked(value) for i in self._indexes(index)}
        parts = list(self._parts)
        for i, x in new.items():
            old = parts[i]
            if isinstance(old, Curve):
                parts[i] = old.with_key(S.frame if time is None else time, x)
            elif isinstance(old, Expression):
                raise RuntimeError(f"{self._name} has an expression: it must be cleared before a value is set")
            else:
                parts[i] = x
        self._change(tuple(parts))
        return True

    def setValueAt(self, value: float, time: float, index: int = -1, view: Any = None) -> bool:
        parts = list(self._parts)
        for i in self._indexes(index):
            old = parts[i]
            curve = old if isinstance(old, Curve) else Curve(((float(time), float(value)),))
            parts[i] = curve.with_key(time, self._checked(value))
        self._change(tuple(parts))
        return True

    def setAnimated(self, index: int = -1, view: Any = None) -> bool:
        parts = list(self._parts)
        for i in self._indexes(index):
            if not isinstance(parts[i], (Curve, Expression)):
                parts[i] = Curve(((float(S.frame), float(parts[i])),))
        self._change(tuple(parts))
        return True

    def clearAnimated(self, index: int = -1, view: Any = None) -> bool:
        chosen = self._indexes(index)
        parts = [self._cast(self._evaluate(p)) if i in chosen else p for i, p in enumerate(self._parts)]
        return self._change(tuple(parts))

    def setExpression(self, expression: str, channel: int = -1, view: Any = None) -> bool:
        if not isinstance(expression, str):
            raise TypeError("an expression is a string")
        chosen = self._indexes(channel)
        self._change(tuple(Expression(expression) if i in chosen else p for i, p in enumerate(self._parts)))
        return True

    def hasExpression(self, index: int = -1) -> bool:
        return any(isinstance(self._parts[i], Expression) for i in self._indexes(index))

    def isAnimated(self, index: int = -1, view: Any = None) -> bool:
        return any(isinstance(self._parts[i], (Curve, Expression)) for i in self._indexes(index))

    def _keys(self, index: int) -> list:
        found = {x for i in self._indexes(index) if isinstance(self._parts[i], Curve) for x, _ in self._parts[i].keys}
        return sorted(found)

    def getKeyList(self, view: Any = None) -> list:
        return self._keys(-1)

    def getNumKeys(self, index: int = 0, view: Any = None) -> int:
        return len(self._keys(index))

    def getKeyTime(self, key: int, index: int = 0, view: Any = None) -> float:
        return float(self._keys(index)[key])

    def isKeyAt(self, time: float, index: int = -1, view: Any = None) -> bool:
        return float(time) in self._keys(index)

    def isKey(self, index: int = -1, view: Any = None) -> bool:
        return float(S.frame) in self._keys(index)

    def removeKeyAt(self, time: float, index: int = -1, view: Any = None) -> bool:
        parts = list(self._parts)
        for i in self._indexes(index):
            part = parts[i]
            if isinstance(part, Curve):
                keys = tuple(k for k in part.keys if k[0] != float(time))
                parts[i] = Curve(keys) if keys else self._cast(part.at(time))
        return self._change(tuple(parts))

    def notDefault(self) -> bool:
        return self._not_default()

    def arraySize(self) -> int:
        return self._size()

    def defaultValue(self) -> float:
        return float(self._default[0])

    def setDefaultValue(self, values: Any) -> None:
        self._default = tuple(float(x) for x in (values if isinstance(values, (list, tuple)) else [values]))

    def min(self) -> float:
        return self._range[0]

    def max(self) -> float:
        return self._range[1]

    def setRange(self, low: float, high: float) -> None:
        self._range = (float(low), float(high))


class Double_Knob(Array_Knob):
    pass


class WH_Knob(Array_Knob):
    _SIZE, _USER_ID = 2, 14


class XYZ_Knob(Array_Knob):
    _SIZE, _USER_ID = 3, 13


class UV_Knob(Array_Knob):
    _SIZE, _USER_ID = 2, 30


class Color_Knob(Array_Knob):
    _SIZE, _USER_ID = 3, 18


class AColor_Knob(Color_Knob):
    _SIZE, _USER_ID = 4, 19


class Scale_Knob(Array_Knob):
    _SIZE, _USER_ID = 3, None


class IArray_Knob(Array_Knob):
    _SIZE, _USER_ID = 16, None


class Transform2d_Knob(Knob):
    pass


@guarded
class XY_Knob(Array_Knob):
    _SIZE, _USER_ID = 2, 12

    def x(self, *args: Any) -> float:
        return float(self._get(0))

    def y(self, *args: Any) -> float:
        return float(self._get(1))


@guarded
class BBox_Knob(Array_Knob):
    """x, y, r, t: the lower left and the upper right corner."""

    _SIZE, _USER_ID = 4, 15

    def x(self, *args: Any) -> float:
        return float(self._get(0))

    def y(self, *args: Any) -> float:
        return float(self._get(1))

    def r(self, *args: Any) -> float:
        return float(self._get(2))

    def t(self, *args: Any) -> float:
        return float(self._get(3))

    def toDict(self) -> dict:
        return dict(zip("xyrt", self._get(-1)))

    def fromDict(self, box: dict) -> None:
        self.setValue([box[k] for k in "xyrt"])


@guarded
class Int_Knob(Array_Knob):
    _USER_ID = 3

    def _cast(self, value: float) -> Any:
        return int(value)

    def setValue(self, value: Any, index: int = -1, time: Optional[float] = None, view: Any = None) -> bool:
        if isinstance(value, float) and not value.is_integer():
            raise TypeError(f"Int_Knob {self._name}: {value} is not an integer")
        return Array_Knob.setValue(self, value, index, time, view)


class Unsigned_Knob(Int_Knob):
    pass


@guarded
class Boolean_Knob(Array_Knob):
    _USER_ID = 6
    _STARTLINE = False

    def _setup(self, *args: Any) -> None:
        Array_Knob._setup(self)
        if len(args) > 1:
            raise TypeError(f"Boolean_Knob(name, label, value): {args}")
        if args:
            self._parts = (float(bool(args[0])),)

    def _cast(self, value: float) -> Any:
        return bool(value)

    def getValue(self, index: int = -1, view: Any = None) -> float:
        return float(self._get(0))

    def _tcl_value(self, index: Optional[int] = None) -> str:
        return "true" if self._number() else "false"

    def _to_text(self) -> str:
        part = self._parts[0]
        if isinstance(part, (Curve, Expression)):
            return Array_Knob._to_text(self)
        return "true" if part else "false"

    def _number(self, index: int = 0) -> float:
        return float(bool(self._evaluate(self._parts[0])))


class Disable_Knob(Boolean_Knob):
    pass


class ColorChip_Knob(Unsigned_Knob):
    """A colour as 0xRRGGBBAA."""

    def _to_text(self) -> str:
        return hex(int(self._parts[0])) if isinstance(self._parts[0], (int, float)) else Array_Knob._to_text(self)

    def _from_text(self, text: str) -> None:
        self._parts = (int(text, 0),)
