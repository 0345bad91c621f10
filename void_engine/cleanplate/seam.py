"""Smooth continuation of sparse values, and the level correction at the hole's edge.

Promises smooth results that follow the given values where they are dense and that are exactly zero
where all of them are. Must not look at frames or masks of its own: values and weights come from
the caller.

`pull_push` is the pyramid interpolation of Gortler et al., The Lumigraph (SIGGRAPH 1996); the
correction diffuses the boundary's difference inwards like the membrane of Poisson cloning
(Perez et al. 2003; Farbman et al. 2009), at low resolution and with robust weights.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import pixels
from void_engine.cleanplate.shaper import Encoded

Weights = npt.NDArray[np.float32]  # (H, W), 0 to 1

_GRID = 160  # long side of the grid on which the correction is diffused
_ROBUST = 0.06  # encoded difference at which a ring pixel counts half
_QUIET = 0.003  # encoded difference that is not worth correcting
_FEW = 1e-4


def pull_push(values: Encoded, weights: Weights) -> Encoded:
    """``values`` (H, W, C) where ``weights`` is 1, continued smoothly to where it is 0."""
    height, width = weights.shape
    if height <= 1 and width <= 1:
        return np.asarray(values * (weights > 0)[..., None], dtype=np.float32)
    small = ((width + 1) // 2, (height + 1) // 2)
    share = pixels.resized(weights, small)
    summed = pixels.resized(values * weights[..., None], small)
    mean = (summed / np.maximum(share, _FEW)[..., None]).astype(np.float32)
    below = pull_push(mean, np.minimum(1.0, share * 4.0).astype(np.float32))
    up = pixels.resized(below, (width, height), smooth=True)
    return np.asarray(up + (values - up) * weights[..., None], dtype=np.float32)


def level_correction(difference: Encoded, ring: Weights, strength: float) -> Encoded:
    """What to add to the clean picture so that its level meets the plate's around the hole.

    ``difference`` (H, W, 3): plate minus clean, encoded, meaningful where ``ring`` is not 0.
    Differences that look like another thing (a soft edge, something passing) count little.
    """
    height, width = ring.shape
    if strength <= 0.0 or not ring.any():
        return np.zeros_like(difference)
    ratio = min(1.0, _GRID / max(height, width))
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    share = pixels.resized(ring, size)
    mean = (pixels.resized(difference * ring[..., None], size) / np.maximum(share, _FEW)[..., None]).astype(np.float32)
    distance = np.abs(mean).max(axis=2)
    trust = (share > 0.05) / (1.0 + (distance / _ROBUST) ** 2) ** 2
    smooth = pull_push(mean, np.minimum(1.0, trust).astype(np.float32))
    smooth = pixels.blurred(smooth, 2.0)
    # Grain leaves a small difference everywhere: shrink it away instead of adding faint clouds.
    smooth *= smooth**2 / (smooth**2 + np.float32(_QUIET**2)) * np.float32(strength)
    return pixels.resized(smooth, (width, height), smooth=True)
