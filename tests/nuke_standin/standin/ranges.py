"""`nuke.FrameRange` and `nuke.FrameRanges`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .guard import guarded


@guarded
class FrameRange:
    """FrameRange(first, last, increment) or FrameRange("1-10x2")."""

    def __init__(self, *args: Any) -> None:
        if len(args) == 1 and isinstance(args[0], str):
            match = re.fullmatch(r"\s*(-?\d+)(?:-(-?\d+)(?:x(\d+))?)?\s*", args[0])
            if match is None:
                raise RuntimeError(f"not a frame range: {args[0]!r}")
            args = (int(match.group(1)), int(match.group(2) or match.group(1)), int(match.group(3) or 1))
        self._first, self._last = int(args[0]), int(args[1])
        self._step = int(args[2]) if len(args) > 2 else 1

    def first(self) -> int:
        return self._first

    def last(self) -> int:
        return self._last

    def increment(self) -> int:
        return self._step

    def minFrame(self) -> int:
        return min(self._first, self._last)

    def maxFrame(self) -> int:
        return max(self._first, self._last)

    def frames(self) -> int:
        return len(self._all())

    def isInRange(self, frame: int) -> bool:
        return frame in self._all()

    def getFrame(self, index: int) -> int:
        return self._all()[index]

    def setFirst(self, frame: int) -> None:
        self._first = frame

    def setLast(self, frame: int) -> None:
        self._last = frame

    def _all(self) -> list:
        return list(range(self._first, self._last + 1, self._step))

    def __iter__(self) -> Iterator[int]:
        return iter(self._all())

    def __str__(self) -> str:
        text = f"{self._first}-{self._last}" if self._first != self._last else str(self._first)
        return text + (f"x{self._step}" if self._step != 1 else "")


@guarded
class FrameRanges:
    """FrameRanges("1-10 20"), of a list of frames or of FrameRange."""

    def __init__(self, *args: Any) -> None:
        self._ranges: list = []
        given = args[0] if len(args) == 1 and isinstance(args[0], (list, str)) else list(args)
        if isinstance(given, str):
            given = [FrameRange(word) for word in given.replace(",", " ").split()]
        for item in given:
            self._ranges.append(item if isinstance(item, FrameRange) else FrameRange(int(item), int(item), 1))

    def add(self, range_: Any) -> None:
        self._ranges.append(range_)

    def size(self) -> int:
        return len(self._ranges)

    def getRange(self, index: int) -> Any:
        return self._ranges[index]

    def minFrame(self) -> int:
        return min(r.minFrame() for r in self._ranges)

    def maxFrame(self) -> int:
        return max(r.maxFrame() for r in self._ranges)

    def toFrameList(self) -> list:
        return [frame for r in self._ranges for frame in r]

    def clear(self) -> None:
        self._ranges.clear()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._ranges)

    def __str__(self) -> str:
        return " ".join(str(r) for r in self._ranges)
