"""Numeric knob expressions: a small, closed part of Nuke's language. What is not in it raises."""

from __future__ import annotations

import math
import re
from typing import Callable

from .errors import StandinError

TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*)"
    r"|(?P<op>\*\*|&&|\|\||==|!=|<=|>=|[-+*/%<>!?:(),]))"
)
FUNCTIONS: dict[str, Callable[..., float]] = {
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "int": math.trunc,
    "max": max,
    "min": min,
    "rint": lambda x: math.floor(x + 0.5),
    "sqrt": math.sqrt,
    "pow": pow,
    "clamp": lambda x, low=0.0, high=1.0: min(max(x, low), high),
}
LEVELS: list[dict[str, Callable[[float, float], float]]] = [
    {"||": lambda a, b: float(bool(a) or bool(b))},
    {"&&": lambda a, b: float(bool(a) and bool(b))},
    {"==": lambda a, b: float(a == b), "!=": lambda a, b: float(a != b)},
    {
        "<": lambda a, b: float(a < b),
        ">": lambda a, b: float(a > b),
        "<=": lambda a, b: float(a <= b),
        ">=": lambda a, b: float(a >= b),
    },
    {"+": lambda a, b: a + b, "-": lambda a, b: a - b},
    {"*": lambda a, b: a * b, "/": lambda a, b: a / b, "%": math.fmod},
]


def evaluate(text: str, lookup: Callable[[str], float]) -> float:
    """The value of an expression; `lookup` gives a knob's or a variable's value."""
    return _Parser(text, lookup).run()


class _Parser:
    def __init__(self, text: str, lookup: Callable[[str], float]) -> None:
        self.text, self.lookup, self.position = text, lookup, 0
        self.tokens = self._tokens()

    def _tokens(self) -> list[tuple[str, str]]:
        found, position, text = [], 0, self.text.rstrip()
        while position < len(text):
            match = TOKEN.match(text, position)
            if match is None:
                raise StandinError(f"the expression {self.text!r} has something unknown at {text[position:]!r}")
            kind = str(match.lastgroup)
            found.append((kind, match.group(kind)))
            position = match.end()
        return found

    def run(self) -> float:
        value = self._ternary()
        if self.position != len(self.tokens):
            raise StandinError(f"the expression {self.text!r} goes on after its end: {self.tokens[self.position :]}")
        return float(value)

    def _peek(self) -> str:
        return self.tokens[self.position][1] if self.position < len(self.tokens) else ""

    def _take(self, expected: str = "") -> tuple[str, str]:
        if self.position >= len(self.tokens):
            raise StandinError(f"the expression {self.text!r} ends too early")
        token = self.tokens[self.position]
        if expected and token[1] != expected:
            raise StandinError(f"the expression {self.text!r} has {token[1]!r} where {expected!r} was expected")
        self.position += 1
        return token

    def _ternary(self) -> float:
        condition = self._binary(0)
        if self._peek() != "?":
            return condition
        self._take("?")
        first = self._ternary()
        self._take(":")
        second = self._ternary()
        return first if condition else second

    def _binary(self, level: int) -> float:
        if level == len(LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while self._peek() in LEVELS[level]:
            operation = LEVELS[level][self._take()[1]]
            left = operation(left, self._binary(level + 1))
        return left

    def _unary(self) -> float:
        if self._peek() in ("-", "+", "!"):
            sign = self._take()[1]
            value = self._unary()
            return float(not value) if sign == "!" else -value if sign == "-" else value
        value = self._atom()
        if self._peek() == "**":
            self._take()
            value = value ** self._unary()
        return value

    def _atom(self) -> float:
        kind, text = self._take()
        if kind == "number":
            return float(text)
        if text == "(":
            value = self._ternary()
            self._take(")")
            return value
        if kind == "name" and self._peek() == "(":
            return self._call(text)
        if kind == "name":
            return (
                {"true": 1.0, "false": 0.0, "pi": math.pi}.get(text)
                if text in ("true", "false", "pi")
                else self.lookup(text)
            )  # type: ignore[return-value]
        raise StandinError(f"the expression {self.text!r} has {text!r} where a value was expected")

    def _call(self, name: str) -> float:
        if name not in FUNCTIONS:
            raise StandinError(f"the expression {self.text!r} calls {name}(), which the stand-in does not know")
        self._take("(")
        arguments = [self._ternary()]
        while self._peek() == ",":
            self._take()
            arguments.append(self._ternary())
        self._take(")")
        return float(FUNCTIONS[name](*arguments))
