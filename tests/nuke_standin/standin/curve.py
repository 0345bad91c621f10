"""Animation of one component: keys, read and written as Nuke's `curve` lists."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import StandinError


@dataclass(frozen=True)
class Curve:
    """Keys (frame, value), sorted. Between keys: linear (Nuke's default is a smooth curve; on keys both agree)."""

    keys: tuple

    def at(self, frame: float) -> float:
        """The value at a frame; the ends go on as they are."""
        if frame <= self.keys[0][0]:
            return float(self.keys[0][1])
        for (x0, y0), (x1, y1) in zip(self.keys, self.keys[1:]):
            if x0 <= frame <= x1:
                return float(y1) if frame == x1 else float(y0 + (y1 - y0) * (frame - x0) / (x1 - x0))
        return float(self.keys[-1][1])

    def with_key(self, frame: float, value: float) -> Curve:
        """This curve with one key set."""
        keys = dict(self.keys)
        keys[float(frame)] = float(value)
        return Curve(tuple(sorted(keys.items())))

    def text(self) -> str:
        """As a script has it: `curve x1001 0 x1010 1`."""
        return "curve " + " ".join(f"x{number(x)} {number(y)}" for x, y in self.keys)


def number(value: float) -> str:
    """A number as Nuke writes it."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def parse(words: list) -> Curve:
    """The words after `curve`."""
    keys, x, step = [], None, 1.0
    for word in words:
        if re.fullmatch(r"x-?[\d.]+", word):
            x = float(word[1:])
        elif re.fullmatch(r"-?[\d.]+(e[-+]?\d+)?", word):
            if x is None:
                x = 1.0
            keys.append((x, float(word)))
            x += step
        elif word not in ("i", "C", "L", "K", "l", "r", "R"):
            raise StandinError(f"the stand-in does not know {word!r} in a curve")
    if not keys:
        raise RuntimeError("a curve without keys")
    return Curve(tuple(keys))
