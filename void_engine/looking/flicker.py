"""Flicker: how much each clip jumps from frame to frame, inside the matte and in a ring around it.

``f(t) = mean |x(t) - (x(t-1) + x(t+1)) / 2|`` in codes of 8 bits, over all channels: 0 for what stands still or changes
evenly, d for what alternates by ±d/2. Grain and a moving camera count too; therefore the ring, which has both and was
never touched: inside well above the ring is flicker, well below is a fill without grain.

Promises: holds three frames. Must not: read files.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.interface import Mask
from void_engine.looking.measure import CODES, bounds
from void_engine.looking.view import Colour

_RING_SHARE, _RING_LEAST = 48, 8  # of the width, and pixels


@dataclass(frozen=True)
class Flicker:
    """Of frame ``number``; None where the region has no pixel. Without a matte ``inside`` is the whole frame."""

    number: int
    inside: tuple[float | None, float | None]  # A, B
    ring: tuple[float | None, float | None]


@dataclass(frozen=True)
class _Held:
    number: int
    shown: tuple[Colour, Colour]
    region: Mask | None


class FlickerMeter:
    """Fed frame after frame; each answer is about the frame before."""

    def __init__(self) -> None:
        self._held: deque[_Held] = deque(maxlen=3)

    def push(self, number: int, shown: tuple[Colour, Colour], region: Mask | None) -> Flicker | None:
        """The flicker of frame ``number - 1``, where it and ``number - 2`` were fed before."""
        self._held.append(_Held(number, shown, region))
        if [held.number for held in self._held] != [number - 2, number - 1, number]:
            return None
        return _between(*self._held)


def _between(before: _Held, now: _Held, after: _Held) -> Flicker:
    if now.region is None or before.region is None or after.region is None:
        whole = tuple(_mean(_jump(before.shown[s], now.shown[s], after.shown[s]), None) for s in (0, 1))
        return Flicker(now.number, (whole[0], whole[1]), (None, None))
    touched = before.region | now.region | after.region
    if not touched.any():
        return Flicker(now.number, (None, None), (None, None))
    reach = ring_width(now.region.shape[1])
    box = bounds(touched, margin=reach + 1)
    inside, ring = now.region[box], ring_around(touched[box], reach)
    jumps = [_jump(before.shown[s][box], now.shown[s][box], after.shown[s][box]) for s in (0, 1)]
    return Flicker(
        now.number,
        (_mean(jumps[0], inside), _mean(jumps[1], inside)),
        (_mean(jumps[0], ring), _mean(jumps[1], ring)),
    )


def ring_width(width: int) -> int:
    """Pixels: a 48th of the picture's width, 8 at least."""
    return max(_RING_LEAST, round(width / _RING_SHARE))


def ring_around(touched: Mask, reach: int) -> Mask:
    """Within ``reach`` pixels of what was inside on any of the three frames, and never inside."""
    away = cv2.distanceTransform((~touched).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray((away > 0) & (away <= reach))


def _jump(before: Colour, now: Colour, after: Colour) -> npt.NDArray[np.float32]:
    """(H, W): the mean of the channels."""
    away = np.abs(now - np.float32(0.5) * (before + after))
    return np.asarray(away.mean(axis=2))


def _mean(jump: npt.NDArray[np.float32], region: Mask | None) -> float | None:
    if region is None:
        return float(jump.mean(dtype=np.float64)) * CODES
    return float(jump[region].mean(dtype=np.float64)) * CODES if region.any() else None
