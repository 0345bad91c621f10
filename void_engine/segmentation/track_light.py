"""Undoes a change of the light between a prompted frame and a later one, so that colours go on meaning the same.

One factor per channel for the whole picture: a fade, a flash, an exposure that drifts. A picture that is something
else altogether (black, or after a cut) is left as it is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from void_engine.segmentation.interface import Picture
from void_engine.segmentation.track_colours import Plane

_DARK, _BRIGHT = 12, 243  # codes between which a ratio says something
_LEAST_SHARE = 0.1  # of the picture's pixels that must say something
_LARGEST_STEP = 2.5  # from a frame to the next, either way
_BETTER = 0.8  # what the change must leave of the difference, to be believed
_STRIDE = 3  # pixels, of which one is measured
_FLICKER = 0.01  # a smaller change is left: a still picture keeps its bits


class Light:
    def __init__(self) -> None:
        self._gain = np.ones(3)

    def undone(self, picture: Picture, expected: npt.NDArray[np.float32], agreed: Plane) -> Picture:
        """``picture`` in the first frame's light; ``expected``: the last such picture, carried here along the flow."""
        thin = (slice(None, None, _STRIDE), slice(None, None, _STRIDE))
        gain = self._measured(picture[thin].astype(np.float32), expected[thin], agreed[thin])
        if gain is not None:
            self._gain = gain
        if np.abs(self._gain - 1.0).max() < _FLICKER:
            return picture
        table = np.clip(np.arange(256)[:, None] / self._gain + 0.5, 0, 255).astype(np.uint8)
        relit = np.stack([table[picture[..., channel], channel] for channel in range(3)], axis=2)
        # What is clipped was at least so bright: as bright as expected, then.
        clipped = (picture > _BRIGHT) & (expected > relit)
        return np.where(clipped, np.clip(expected + 0.5, 0, 255).astype(np.uint8), relit)

    def _measured(
        self, seen: npt.NDArray[np.float32], expected: npt.NDArray[np.float32], agreed: Plane
    ) -> npt.NDArray[np.float64] | None:
        low, high = np.minimum(seen, expected).min(axis=2), np.maximum(seen, expected).max(axis=2)
        telling = (agreed > 0.5) & (low >= _DARK) & (high <= _BRIGHT)
        if np.count_nonzero(telling) < max(16, _LEAST_SHARE * telling.size):
            return None
        now, then = seen[telling], expected[telling]
        gain = np.median(now / then, axis=0).astype(np.float64)
        step = gain / self._gain
        if step.max() > _LARGEST_STEP or step.min() < 1 / _LARGEST_STEP:
            return None
        before, after = np.abs(now / self._gain - then).mean(), np.abs(now / gain - then).mean()
        return gain if after < _BETTER * before else None
