"""The generated matte: how much of the clean plate each pixel takes.

Promises: 0 wherever the quadmask keeps, 1 where it says remove or overlap; the soft edge lives in affected (127) only.
Must not: change the quadmask.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.interface import KEEP, OVERLAP, Quadmask

Matte = npt.NDArray[np.float32]  # (H, W), 0 plate to 1 clean


def generated_matte(quadmask: Quadmask, soft_px: float) -> Matte:
    """The matte (H, W), 0 to 1, of a resolved quadmask (H, W).

    Inside affected it rises linearly over ``soft_px`` pixels from the edge of the nearest kept pixel (Euclidean; half a
    pixel nearer than its centre): a pixel that touches keep has ``0.5 / soft_px``. ``soft_px`` 0 is a hard edge.
    The canvas' border is no edge: what lies behind it is not kept. Raises ``ValueError`` where ``soft_px`` is negative
    or not finite.
    """
    if not (math.isfinite(soft_px) and soft_px >= 0):
        raise ValueError(f"soft_px must be a finite number of pixels, 0 or more; got {soft_px}")
    keep: npt.NDArray[np.bool_] = quadmask == KEEP
    matte: Matte = (~keep).astype(np.float32)
    if soft_px == 0 or not keep.any():
        # Without a kept pixel a distance transform measures from nowhere.
        return matte
    # DIST_MASK_PRECISE is the exact Euclidean distance to the nearest zero; it sees no border.
    distance = cv2.distanceTransform(matte.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    ramp: Matte = np.clip((distance - np.float32(0.5)) / np.float32(soft_px), 0, 1)
    # At a kept pixel the distance is 0, and so is the ramp.
    ramp[quadmask <= OVERLAP] = 1
    return ramp
