"""Overrides as they travel in a job: frozen, hashable, digests and no paths. Written by `void_client.overrides`.

Promises: what arrives from the network is judged as strictly as what an artist writes. Must not: read files or YAML.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import asdict, dataclass, replace
from typing import Any

from .frame_ref import FrameRef

REGIONS = ("remove", "overlap", "affected", "keep")
MODES = ("replace", "add", "subtract")
SHAPES = ("rectangle", "ellipse", "polygon")
MAX_OVERRIDES = 500
MAX_HINT = 1000  # characters
_MAX_SHAPES, _MAX_KEYS, _MAX_POINTS = 64, 10_000, 1000
_FAR = 1_000_000.0  # pixels: beyond it a coordinate is a slip


@dataclass(frozen=True)
class ShapeKey:
    """A shape at one frame. On the wire an array."""

    __wire_array__ = True

    frame: int
    numbers: tuple[float, ...]


@dataclass(frozen=True)
class ShapeSpec:
    """A shape in pixels of the display window from its top left, keyed over frames; one key is a shape at rest.

    Numbers of a key: rectangle x0, y0, x1, y1; ellipse centre x, y and radius x, y; polygon x, y of each corner.
    """

    kind: str
    keys: tuple[ShapeKey, ...]

    def __post_init__(self) -> None:
        if self.kind not in SHAPES:
            raise ValueError(f"{self.kind!r} is none of {', '.join(SHAPES)}")
        if not 1 <= len(self.keys) <= _MAX_KEYS:
            raise ValueError(f"a shape has 1 to {_MAX_KEYS} keyframes")
        for key in self.keys:
            self._check(key.numbers)
        for before, after in zip(self.keys, self.keys[1:]):
            if after.frame <= before.frame:
                raise ValueError(f"keyframes are not ascending at {after.frame}")
            if len(before.numbers) != len(after.numbers):
                raise ValueError(f"keyframe {after.frame} has another number of corners than keyframe {before.frame}")

    def _check(self, numbers: tuple[float, ...]) -> None:
        if not all(math.isfinite(number) and abs(number) <= _FAR for number in numbers):
            raise ValueError(f"a coordinate is not within {_FAR:.0f} pixels")
        if self.kind == "polygon":
            if len(numbers) % 2 or not 3 <= len(numbers) // 2 <= _MAX_POINTS:
                raise ValueError(f"a polygon has 3 to {_MAX_POINTS} corners of x and y")
            return
        if len(numbers) != 4:
            names = "x0, y0, x1, y1" if self.kind == "rectangle" else "centre x, centre y, radius x, radius y"
            raise ValueError(f"a shape {self.kind} has four numbers: {names}")
        a, b, c, d = numbers
        if self.kind == "rectangle" and not (a < c and b < d):
            raise ValueError("the rectangle is empty: x0 must be below x1, and y0 below y1")
        if self.kind == "ellipse" and not (c > 0 and d > 0):
            raise ValueError("the ellipse is empty: its radii must be above 0")

    def at(self, frame: int) -> tuple[float, ...]:
        """The numbers at ``frame``: linear between keyframes; before the first and after the last as there."""
        after = bisect_right([key.frame for key in self.keys], frame)
        if after in (0, len(self.keys)):
            return self.keys[min(after, len(self.keys) - 1)].numbers
        left, right = self.keys[after - 1], self.keys[after]
        share = (frame - left.frame) / (right.frame - left.frame)
        return tuple(a + (b - a) * share for a, b in zip(left.numbers, right.numbers))


@dataclass(frozen=True)
class OverrideSpec:
    """One correction: on ``frames``, ``region`` is replaced by, or gains or loses, what one of three things covers.

    ``matte``: for every frame a file, white inside. ``shapes``: their union. ``hint``: words for a thing, which the
    server looks for in the picture. ``label``: where it is written ("void.yaml:12"); it decides no pixel.
    """

    frames: tuple[int, ...]
    region: str
    mode: str
    matte: tuple[FrameRef, ...] = ()
    shapes: tuple[ShapeSpec, ...] = ()
    label: str = ""
    hint: str = ""

    def __post_init__(self) -> None:
        if self.region not in REGIONS:
            raise ValueError(f"the region {self.region!r} is none of {', '.join(REGIONS)}")
        if self.mode not in MODES:
            raise ValueError(f"the mode {self.mode!r} is none of {', '.join(MODES)}")
        if not self.frames or any(b <= a for a, b in zip(self.frames, self.frames[1:])):
            raise ValueError("an override's frames are not ascending, or there are none")
        if [bool(self.matte), bool(self.shapes), bool(self.hint)].count(True) != 1:
            raise ValueError("an override has either a matte, or shapes, or a hint")
        if self.hint and not self.hint.strip():
            raise ValueError("an override's hint has no words")
        if len(self.hint) > MAX_HINT:
            raise ValueError(f"an override's hint has more than {MAX_HINT} characters")
        if len(self.shapes) > _MAX_SHAPES:
            raise ValueError(f"an override has more than {_MAX_SHAPES} shapes")
        if self.matte and tuple(ref.number for ref in self.matte) != self.frames:
            raise ValueError("an override's matte has other frames than the override")

    def content(self) -> dict[str, Any]:
        """Plain data of all that decides pixels: for hashes. Without a hint it is as it was before there were any."""
        plain = asdict(replace(self, label=""))
        if not self.hint:
            del plain["hint"]
        return plain
