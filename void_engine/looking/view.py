"""Scene-linear light as Nuke's viewer shows it, and arrays moved between windows.

Promises: the sRGB curve up to 1, cut above, so that a picture is what an artist sees in the viewer and what a movie
exported through the same view holds. Highlights differ in scene-linear numbers, and under a lower ``exposure``.
Not the shaper of ``void_engine.colour``: that is the models' encoding, and darker.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.interface import Window

Colour = npt.NDArray[np.float32]  # (H, W, 3)


def to_view(light: Colour, exposure: float = 0.0) -> Colour:
    """Scene-linear (any shape, finite) to display values 0 to 1. ``exposure`` in stops."""
    # Cut first: a large value times the exposure could overflow.
    held = np.clip(light, 0.0, np.float32(2.0**-exposure)) * np.float32(2.0**exposure)
    # OpenCV's power is several times faster than numpy's, and as exact (2e-7).
    bright = np.asarray(cv2.pow(held, 1 / 2.4), np.float32).reshape(held.shape)
    bright *= np.float32(1.055)
    bright -= np.float32(0.055)
    np.multiply(held, np.float32(12.92), out=bright, where=held <= 0.0031308)
    return bright


def placed(array: npt.NDArray[np.float32], window: Window, target: Window) -> Colour:
    """``array``, which covers ``window``, on ``target``: cropped, and 0 where it has nothing."""
    if window == target:
        return array
    moved = np.zeros((target.height, target.width, *array.shape[2:]), array.dtype)
    x0, y0 = max(window.x0, target.x0), max(window.y0, target.y0)
    x1, y1 = min(window.x1, target.x1), min(window.y1, target.y1)
    if x0 <= x1 and y0 <= y1:
        shared = Window(x0, y0, x1, y1)
        moved[shared.slices_in(target)] = array[shared.slices_in(window)]
    return moved
