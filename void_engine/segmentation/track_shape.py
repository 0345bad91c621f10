"""Remembers the object's shape while something hides a part of it: what lies behind a post comes out on both sides."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.segmentation.track_prompt import Mask

_SMALLER = 0.9  # of the area when it was last whole: below that a part is hidden
_LARGER = 1.2  # and above that what was found is not the object alone
_IN_PLACE = 0.3  # share of a part that must lie where the object should: its place is a guess
_SEEN = 0.05  # share of it below which its motion says nothing


class Shape:
    def __init__(self, solid: Mask) -> None:
        self._mask = solid
        self._moved = np.zeros(2)  # x, y since it was whole
        self.place: Mask | None = None  # where the whole of it lies, while a part is hidden

    @property
    def hidden(self) -> bool:
        return self.place is not None

    def move(self, solid: Mask, back: npt.NDArray[np.float32]) -> None:
        """``solid`` is what is seen of it in the next frame, ``back`` that frame's flow to the last."""
        whole, seen = int(np.count_nonzero(self._mask)), int(np.count_nonzero(solid))
        if not _SEEN * whole < seen < _SMALLER * whole:
            self._mask, self._moved, self.place = solid, np.zeros(2), None
            return
        self._moved -= np.median(back[solid], axis=0)
        way = np.array([[1, 0, self._moved[0]], [0, 1, self._moved[1]]])
        size = self._mask.shape[1], self._mask.shape[0]
        placed = cv2.warpAffine(self._mask.astype(np.uint8), way, size, flags=cv2.INTER_NEAREST)
        self.place = np.asarray(cv2.dilate(placed, np.ones((3, 3), np.uint8)) > 0)

    def completed(self, solid: Mask, likely: Mask) -> Mask:
        """``solid`` with the parts of ``likely`` that lie where the whole of it should be, as far as they go on."""
        assert self.place is not None
        small = cv2.morphologyEx(likely.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        _, labels = cv2.connectedComponents(small, connectivity=8)
        inside = np.bincount(labels[self.place], minlength=int(labels.max()) + 1)
        parts = ((inside >= _IN_PLACE * np.bincount(labels.ravel())) & (inside > 0))[labels] & (labels > 0)
        if np.count_nonzero(parts | solid) > _LARGER * np.count_nonzero(self._mask):
            parts &= self.place
        return np.asarray(parts | solid)
