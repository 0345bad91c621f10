"""The Expression node: the numeric language of knobs, on planes. Both sides of `?:` are worked out, as for pixels."""

from __future__ import annotations

from typing import Any, Callable

from . import layers
from .expression import _Parser
from .image import Image

LEVELS: list[dict[str, Callable[[Any, Any], Any]]] = [
    {"||": lambda a, b: (a != 0) | (b != 0)},
    {"&&": lambda a, b: (a != 0) & (b != 0)},
    {"==": lambda a, b: a == b, "!=": lambda a, b: a != b},
    {"<": lambda a, b: a < b, ">": lambda a, b: a > b, "<=": lambda a, b: a <= b, ">=": lambda a, b: a >= b},
    {"+": lambda a, b: a + b, "-": lambda a, b: a - b},
    {"*": lambda a, b: a * b, "/": lambda a, b: a / b},
]
CHANNELS = {"r": "rgba.red", "g": "rgba.green", "b": "rgba.blue", "a": "rgba.alpha"}


class _Planes(_Parser):
    def run(self) -> Any:
        value = self._ternary()
        if self.position != len(self.tokens):
            self._take("the end")
        return value

    def _ternary(self) -> Any:
        import numpy as np

        condition = self._binary(0)
        if self._peek() != "?":
            return condition
        self._take("?")
        first = self._ternary()
        self._take(":")
        return np.where(condition != 0, first, self._ternary())

    def _binary(self, level: int) -> Any:
        if level == len(LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while self._peek() in LEVELS[level]:
            operation = LEVELS[level][self._take()[1]]
            left = operation(left, self._binary(level + 1)) * 1.0
        return left


def expression(below: Image, texts: dict[str, str]) -> Image:
    """`texts`: channel → its expression. A channel that the picture lacks but the script knows is 0; others raise."""
    import numpy as np

    def lookup(name: str) -> Any:
        channel = CHANNELS.get(name, layers.full(name))
        layers.check(channel)
        return below.plane(channel).astype(np.float64)

    new = {}
    for channel, text in texts.items():
        found = _Planes(text, lookup).run()
        new[channel] = np.broadcast_to(np.asarray(found, np.float32), below.plane(channel).shape).copy()
    return below.with_planes(new)
