"""Whether a quadmask is tight: whether the object's edge still shows on kept pixels next to the hole.

Promises a measure and no more: kept pixels stay the plate's own. It looks where another frame shows what lies behind
those pixels, so the plate can be compared with it. A difference that goes on farther out is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import pixels
from void_engine.cleanplate.pixels import Floats, Mask
from void_engine.cleanplate.shaper import Encoded

Counts = npt.NDArray[np.int64]
"""(reach + 1, 2): of each distance from the hole, in plate pixels, the pixels compared and those of them that differ;
the first row is the surroundings, well beyond ``reach``."""

_DIFFERS = 0.06  # encoded difference from what lies behind, the grain taken off, that is seen
_SHARE = 0.08  # of the pixels next to the hole that differ, on top of twice what is usual around: the object's edge
_FADED = 0.5  # of what differs next to the hole more than around: the edge ends where less is left
_LEAST = 40  # pixels at one distance: fewer tell nothing
_FRAMES = 0.2  # share of the frames on which it must show


@dataclass(frozen=True)
class Tight:
    """``pixels``: how wide the object's edge is outside of the mask, or ``more``; ``frames``: on how many of those
    ``looked`` at."""

    pixels: int
    more: bool
    frames: int
    looked: int

    def told(self) -> str:
        wide = "1 pixel" if self.pixels == 1 else f"{self.pixels} pixels"
        about, wider = "at least" if self.more else "about", self.pixels + 1
        return (
            f"The quadmask is tight: on {self.frames} of {self.looked} frames that can be compared, the object's edge, "
            f"or its shadow or reflection, still shows next to it, {about} {wide} wide. Make the mask {wider} pixels "
            f"wider; where it is worked out from clicks or mattes, grow {wider} does."
        )


def measure(
    plate: Encoded, clean: Encoded, away: Floats, seen: Mask, reach: int, around: tuple[float, float]
) -> Counts:
    """One frame's counts. ``plate`` and ``clean`` (h, w, 3); ``away`` (h, w): `pixels.away` of the hole;
    ``seen``: where another frame shows what is in ``clean``; ``around``: where the surroundings begin and end."""
    differs = np.zeros(away.shape, dtype=bool)
    for channel in range(3):  # one by one: the picture may be large
        differs |= np.abs(pixels.blurred(plate[..., channel] - clean[..., channel], 0.7)) > _DIFFERS
    row = np.where(away <= reach, np.ceil(away), -1.0).astype(np.int64)
    row[(away > around[0]) & (away < around[1])] = 0
    use = seen & (away > 0.0) & (row >= 0)
    counts = [np.bincount(row[which], minlength=reach + 1) for which in (use, use & differs)]
    return np.stack(counts, axis=1).astype(np.int64)


def depth(counts: Counts) -> int | None:
    """The width of the object's edge outside of the mask, in plate pixels; None where too little can be compared."""
    looked, differs = counts[:, 0], counts[:, 1]
    if looked[0] < _LEAST or looked[1] < _LEAST:
        return None
    usual, first = differs[0] / looked[0], differs[1] / looked[1]
    if first < _SHARE + 2.0 * usual:
        return 0
    wide = 1
    while wide + 1 < len(counts) and looked[wide + 1] >= _LEAST:
        if differs[wide + 1] / looked[wide + 1] < usual + _FADED * (first - usual):
            break
        wide += 1
    return wide


def tight(frames: list[Counts]) -> Tight | None:
    """What the clip's frames say together; None where the mask is wide enough."""
    depths = [found for found in map(depth, frames) if found is not None]
    shown = sorted(found for found in depths if found > 0)
    if not shown or len(shown) < _FRAMES * len(depths):
        return None
    usual = shown[len(shown) // 2]
    return Tight(usual, usual >= len(frames[0]) - 1, len(shown), len(depths))
