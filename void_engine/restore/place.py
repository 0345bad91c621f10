"""A model's frames, small and display-referred, laid back where they were cut out.

Promises: the level meets the plate's around the hole, steadily in time; a region's pixels land where they came from;
what is there already is not made again. Must not: touch pixels that the quadmask keeps, or add detail or grain
(`void_engine.restore.detail`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import pixels, seam
from void_engine.interface import KEEP, RGB, CleanFrames, Clip, Mask, Quadmask
from void_engine.restore.regions import Region

Display = npt.NDArray[np.float32]  # (h, w, 3), display-referred, 0 to 1

_RING = 20  # model pixels around the hole in which its level is compared with the plate's
_EDGE = 3  # model pixels next to the hole that are not: the object's soft edge, and the model's own
_AROUND = (
    2  # frames before and after whose corrections are averaged: a level that flickers is worse than one that is off
)


class Frames(Protocol):
    """Frames by position at the model's size."""

    def __getitem__(self, position: int, /) -> npt.NDArray[np.generic]: ...


@dataclass(frozen=True)
class Made:
    """What a model made of a region: ``frames`` (h, w, 3) [0, 1]; ``plates`` and ``masks`` are what it was given."""

    region: Region
    frames: Frames
    plates: Frames
    masks: Frames


def place(
    clip: Clip,
    made: Sequence[Made],
    to_light: Callable[[Display], RGB],
    out: CleanFrames,
    tick: Callable[[int], None],
) -> None:
    """Writes every frame that has a hole and is not there. ``tick(position)`` after each; it may raise."""
    levels = [_Levels(each, len(clip.numbers)) for each in made]
    size = (clip.canvas.height, clip.canvas.width)
    for position in range(len(clip.numbers)):
        if not out.has(position) and (clip.quadmask(position) != KEEP).any():
            picture = np.zeros((*size, 3), np.float32)
            for each, level in zip(made, levels, strict=True):
                small = np.clip(_frame(each, position) + level(position), 0.0, 1.0)
                crop = to_light(enlarged(small.astype(np.float32), each.region.size))
                window, owned = each.region.window(position), each.region.owned(position, size)
                picture[window][owned] = crop[owned]
            out.write(position, picture)
        tick(position)


def enlarged(frame: Display, size: tuple[int, int]) -> Display:
    """At ``size`` (height, width): cubic where it grows, averaged where it shrinks; [0, 1]."""
    if frame.shape[:2] == size:
        return frame
    smaller = size[0] <= frame.shape[0] and size[1] <= frame.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    sized = cv2.resize(frame, (size[1], size[0]), interpolation=how)
    return np.clip(np.asarray(sized, np.float32).reshape(*size, 3), 0.0, 1.0)


class _Levels:
    """By position: what to add to a model's frame so that its level meets the plate's around the hole."""

    def __init__(self, made: Made, count: int) -> None:
        self._made, self._count = made, count
        self._held: OrderedDict[int, Display | None] = OrderedDict()

    def __call__(self, position: int) -> Display:
        own = self._of(position)
        if own is None:
            return np.zeros((1, 1, 3), np.float32)
        around = range(max(0, position - _AROUND), min(self._count, position + _AROUND + 1))
        known = [level for other in around if (level := self._of(other)) is not None]
        # A frame's mean is measured well, and a model's flickers; how it differs from place to place is not.
        shape = np.mean([level - level.mean(axis=(0, 1)) for level in known], axis=0)
        return np.asarray(shape + own.mean(axis=(0, 1)), np.float32)

    def _of(self, position: int) -> Display | None:
        """None for a frame without a hole, or with nothing kept around it."""
        if position not in self._held:
            self._held[position] = self._measured(position)
            while len(self._held) > 2 * _AROUND + 2:
                self._held.popitem(last=False)
        return self._held[position]

    def _measured(self, position: int) -> Display | None:
        mask = np.asarray(self._made.masks[position], np.uint8)
        ring = ring_around(mask)
        if not ring.any():
            return None
        difference = np.asarray(self._made.plates[position], np.float32) - _frame(self._made, position)
        return seam.level_correction(difference, ring.astype(np.float32), 1.0)


def ring_around(mask: Quadmask) -> Mask:
    """The kept pixels near the hole, but not next to it."""
    hole = np.asarray(mask != KEEP)
    if not hole.any():
        return np.zeros_like(hole)
    return pixels.grown(hole, _RING) & ~pixels.grown(hole, _EDGE)


def _frame(made: Made, position: int) -> Display:
    return np.asarray(made.frames[position], np.float32)
