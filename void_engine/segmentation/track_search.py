"""How the object looked where it was prompted, and where in another picture something looks like it.

What was seen to be something else while the object was there is not taken for it when it is gone.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.segmentation import track_colours, track_region
from void_engine.segmentation.interface import Matte, Picture
from void_engine.segmentation.track_colours import Plane
from void_engine.segmentation.track_prompt import Mask

Bins = npt.NDArray[np.int32]
_LIKELY = 0.7  # log of how much likelier the object is, from which on a pixel may be of it
_FOUND = 0.6  # likeness of colours from which on something found is the object
_LATELY = 0.9  # what likeness to the last frames counts, beside that to the prompted one
_STEADY = 0.8  # share of the flow that must agree before colours are learnt
_HARDLY_DIFFERS = 0.85  # likeness from a frame to the next
_LOOKED_AT = 8  # largest parts of the picture


class Look:
    def __init__(self, picture: Picture, matte: Matte) -> None:
        solid = matte > 0.5
        self.area = int(np.count_nonzero(solid))
        bins = bins_of(picture)
        self._inside = self._lately = track_colours.histogram(bins, solid)
        self._outside = track_colours.histogram(bins, ~solid)

    def likeness(self, bins: Bins, solid: Mask) -> float:
        """1 where the colours are the object's, 0 where none is."""
        if not solid.any():
            return 0.0
        colours = track_colours.histogram(bins, solid)
        return max(track_colours.alike(colours, self._inside), _LATELY * track_colours.alike(colours, self._lately))

    def learn(self, bins: Bins, solid: Mask, steady: float) -> None:
        """A shadow may fall on it by and by: what hardly differs from frame to frame, and moves as one, is the same."""
        colours = track_colours.histogram(bins, solid)
        if steady >= _STEADY and track_colours.alike(colours, self._lately) >= _HARDLY_DIFFERS:
            self._lately = colours

    def likely(self, bins: Bins, blur: float, around: Mask | None = None) -> Plane:
        """Log of how much likelier than its surroundings the object is at each pixel."""
        outside = self._outside
        if around is not None:
            outside = (outside + track_colours.histogram(bins, around)) * np.float32(0.5)
        inside = (self._inside + self._lately) * np.float32(0.5)
        ratio = track_colours.ratio(bins, inside, outside)
        return np.asarray(cv2.GaussianBlur(ratio, (0, 0), blur), np.float32)

    def found(self, bins: Bins, known: Plane) -> Mask | None:
        """The part of the picture that is most alike; ``known``: 1 where something else was seen before."""
        likely = (self.likely(bins, 1.5) > _LIKELY) & (known < 0.5)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(likely.astype(np.uint8), connectivity=8)
        best: tuple[float, Mask] | None = None
        for label in np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:_LOOKED_AT] + 1:
            mask = track_region.filled(labels == label)
            if not self._large_enough(mask, *(int(v) for v in stats[label, :4])):
                continue
            like = self.likeness(bins, mask)
            if like >= _FOUND and (best is None or like > best[0]):
                best = (like, mask)
        return best[1] if best is not None else None

    def _large_enough(self, mask: Mask, x: int, y: int, wide: int, tall: int) -> bool:
        cut_off = x == 0 or y == 0 or x + wide == mask.shape[1] or y + tall == mask.shape[0]
        share = int(np.count_nonzero(mask)) / max(1, self.area)
        return (0.05 if cut_off else 0.3) <= share <= 2.0


def bins_of(picture: Picture) -> Bins:
    return track_colours.codes(track_colours.lab(picture))
