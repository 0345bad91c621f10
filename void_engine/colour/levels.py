"""How much light a shot holds: counts over all of its frames, small enough for a stage's facts.

Promises: a frame at a time, in any order, and the parts of a shot in any split, give the same `Levels`; it goes
through JSON unchanged. Must not decide anything (that is `void_engine.colour.shaper.fit`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

# A float32's upper 12 bits: sign, exponent and three bits of mantissa. Eight bins an octave over every float there
# is, for the price of a shift; a power of two is the lower end of a bin.
_SHIFT: Final = 20
_BINS: Final = 1 << 12
_NEGATIVE: Final = _BINS // 2
_CHUNK: Final = 1 << 18  # samples at once


class Levels:
    """Samples of light, all channels together, counted by size; and their exact ends. Equal if they hold the same."""

    def __init__(self) -> None:
        self._counts: npt.NDArray[np.int64] = np.zeros(_BINS, np.int64)
        self._ends = (0.0, 0.0)  # black is always among a picture's light

    def add(self, rgb: npt.NDArray[np.float32]) -> None:
        """Any shape. Samples that are not finite are left out: they are no light."""
        flat = np.ascontiguousarray(rgb, dtype=np.float32).reshape(-1)
        for start in range(0, flat.size, _CHUNK):
            part = flat[start : start + _CHUNK]
            low, high = float(part.min()), float(part.max())
            if not math.isfinite(low) or not math.isfinite(high):
                self.add(part[np.isfinite(part)])
                continue
            self._counts += np.bincount(part.view(np.uint32) >> _SHIFT, minlength=_BINS)
            self._ends = (min(self._ends[0], low), max(self._ends[1], high))

    def merge(self, other: Levels) -> None:
        self._counts += other._counts
        self._ends = (min(self._ends[0], other._ends[0]), max(self._ends[1], other._ends[1]))

    @property
    def samples(self) -> int:
        return int(self._counts.sum())

    def brightest(self, ignored: int = 0) -> float:
        """A light that no more than ``ignored`` samples exceed, to an eighth of an octave above; 0 at least."""
        return min(_reach(self._counts[:_NEGATIVE], ignored), self._ends[1])

    def darkest(self, ignored: int = 0) -> float:
        """The same below black: 0 or negative."""
        return max(0.0 - _reach(self._counts[_NEGATIVE:], ignored), self._ends[0])

    def median(self) -> float:
        """Of the samples above black, to an eighth of an octave; 0 where there is none."""
        above = self._counts[:_NEGATIVE].copy()
        above[0] = 0  # black itself, of a matte's outside or a letterbox, is no part of the picture's exposure
        if not above.any():
            return 0.0
        middle = int(np.searchsorted(np.cumsum(above), (int(above.sum()) + 1) // 2))
        return _lower(middle)

    def to_json(self) -> dict[str, Any]:
        """``ends``: the least and the greatest sample, or 0; ``counts``: bin's number → samples, for those with any."""
        counts = {str(bin): int(self._counts[bin]) for bin in np.flatnonzero(self._counts).tolist()}
        return {"ends": list(self._ends), "counts": counts}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Levels:
        """Raises `ValueError` for what `to_json` has not made."""
        levels = cls()
        try:
            low, high = stored["ends"]
            for key, count in stored["counts"].items():
                if not 0 <= int(key) < _BINS or type(count) is not int or count < 1:
                    raise ValueError(f"no bin of light: {key!r}: {count!r}")
                levels._counts[int(key)] = count
            levels._ends = (float(low), float(high))
        except (KeyError, TypeError, AttributeError) as problem:
            raise ValueError("not the levels of a shot") from problem
        return levels

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Levels) and self._ends == other._ends and bool((self._counts == other._counts).all())

    __hash__ = None  # type: ignore[assignment]


def _reach(counts: npt.NDArray[np.int64], ignored: int) -> float:
    """The upper end of the last bin beyond which there are ``ignored`` samples at most; zero's own bin reaches 0."""
    beyond = np.cumsum(counts[::-1])[::-1]  # samples in this bin and above
    held = np.flatnonzero(beyond > ignored)
    last = int(held[-1]) if held.size else 0
    return _lower(last + 1) if last else 0.0


def _lower(bin: int) -> float:
    """The least float32 of a bin of positive light."""
    return float(np.array(bin << _SHIFT, np.uint32).view(np.float32))
