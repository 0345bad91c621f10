"""The four levels of a quadmask, and where they lie on the canvas.

Promises: pure functions of arrays and windows. Must not: read files.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from void_client.errors import MaskError

from void_engine.interface import AFFECTED, KEEP, OVERLAP, REMOVE, Quadmask, Window

# Upstream's bounds, of 255: the middle between neighbours, which belongs to the lower.
_BOUNDS: Final = (31, 95, 191)
_COVERED: Final = 0.25  # of a pixel at another size: from there on a region owns it


def quantise(values: npt.NDArray[Any]) -> Quadmask:
    """The nearest of the four levels. ``values``: uint8, uint16, or half or float 0 to 1 (finite); any shape.

    Wider types are rounded to 8 bits first, so that a mask means the same in all of them. Floats outside 0..1 go to the
    end they are nearest to. Raises ``TypeError`` for another type.
    """
    if values.dtype == np.uint8:
        codes: npt.NDArray[np.uint8] = values
    elif values.dtype == np.uint16:
        codes = np.rint(values.astype(np.float32) / np.float32(257)).astype(np.uint8)
    elif values.dtype in (np.float16, np.float32):
        codes = np.rint(np.clip(values.astype(np.float32), 0, 1) * np.float32(255)).astype(np.uint8)
    else:
        raise TypeError(f"a quadmask is uint8, uint16, half or float, not {values.dtype}")
    levels: Quadmask = _table()[codes]
    return levels


def align(mask: Quadmask, window: Window, canvas: Window) -> Quadmask:
    """``mask``, which covers ``window``, on ``canvas``: what lies outside the window is keep. A new array."""
    aligned = np.full((canvas.height, canvas.width), KEEP, np.uint8)
    x0, y0 = max(window.x0, canvas.x0), max(window.y0, canvas.y0)
    x1, y1 = min(window.x1, canvas.x1), min(window.y1, canvas.y1)
    if x0 <= x1 and y0 <= y1:
        shared = Window(x0, y0, x1, y1)
        aligned[shared.slices_in(canvas)] = mask[shared.slices_in(window)]
    return aligned


def resolve_supplied(mask: Quadmask, window: Window, canvas: Window) -> Quadmask:
    """The resolved quadmask of one that was supplied: grow and feather are 0, so it is only laid on the canvas."""
    return align(mask, window, canvas)


def resized(mask: Quadmask, size: tuple[int, int]) -> Quadmask:
    """``mask`` at ``size`` (height, width). Each region by itself, the one that matters more above: no level is made up
    at edges. From a quarter of its area on a pixel belongs to a region: rather more of the object than a rim of it.
    """
    if mask.shape == size:
        return mask
    height, width = size
    result = np.full(size, KEEP, np.uint8)
    for level in (AFFECTED, OVERLAP, REMOVE):
        share = cv2.resize((mask <= level).astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        result[share >= _COVERED] = level
    return result


def check_range(masks: Iterable[Quadmask]) -> None:
    """Raises ``MaskError`` where not one frame of the range has a pixel that is 0 (remove) or 63 (overlap).

    Stops at the first that has. Frames without one are fine: the object may be away.
    """
    highest, seen = False, False
    for mask in masks:
        seen = True
        if (mask <= OVERLAP).any():
            return
        highest |= bool((mask == AFFECTED).any())
    found = "only affected (127) and keep (255)" if highest else "only keep (255)" if seen else "no frames"
    raise MaskError(
        f"The quadmask marks nothing to remove: its whole range holds {found}.",
        hint="Paint the object black (0): in a quadmask black is remove, white is keep. Is the mask inverted or empty?",
    )


def _table() -> Quadmask:
    """The level of each 8-bit code."""
    table = np.full(256, KEEP, np.uint8)
    for level, bound in zip((AFFECTED, OVERLAP, REMOVE), reversed(_BOUNDS), strict=True):
        table[: bound + 1] = level
    return table
