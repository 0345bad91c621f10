"""The encoding in which this engine compares, blends and corrects pixels.

Promises a monotone, odd, smooth and invertible curve from scene-linear light to numbers that
are close to display values: black is 0, diffuse white is 1, 10 000 is about 3.5. Negative
light and highlights of any height survive the way there and back to float32 rounding.
Must not clip, look at the plate's content (one number, the exposure, comes from the caller)
or know a colour space: levels are matched per channel in the plate's own primaries.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Encoded = npt.NDArray[np.float32]  # (H, W, 3), about [0, 1] for diffuse light, unbounded

_TOE = 0.04  # scene-linear light below which the curve is nearly linear
NORM = math.asinh(1.0 / _TOE)
_LOW, _HIGH = -0.1, 1.5  # what eight bits hold: light from about -0.02 to 6 at exposure 1


def encode(rgb: npt.NDArray[np.float32], exposure: float = 1.0) -> Encoded:
    """``asinh(exposure * light / 0.04) / asinh(25)``; any shape, scene-linear in, float32 out."""
    scaled: Encoded = rgb * np.float32(exposure / _TOE)
    np.arcsinh(scaled, out=scaled)
    scaled *= np.float32(1.0 / NORM)
    return np.asarray(scaled, dtype=np.float32)


def decode(encoded: Encoded, exposure: float = 1.0) -> npt.NDArray[np.float32]:
    """The inverse of `encode`; always finite (values are held below float32's overflow)."""
    # sinh(80) is still far inside float32: no plate holds such light, but a bad sum must not make an inf.
    light = np.clip(encoded * np.float32(NORM), np.float32(-80.0), np.float32(80.0))
    np.sinh(light, out=light)
    light *= np.float32(_TOE / exposure)
    return np.asarray(light, dtype=np.float32)


def to_bytes(encoded: Encoded) -> npt.NDArray[np.uint8]:
    """Eight bits of the encoding, clipped to [-0.1, 1.5], for feature tracking and PatchMatch."""
    scaled = (encoded - np.float32(_LOW)) * np.float32(255.0 / (_HIGH - _LOW)) + np.float32(0.5)
    clipped: npt.NDArray[np.uint8] = np.clip(scaled, 0.0, 255.0).astype(np.uint8)
    return clipped


def from_bytes(code: npt.NDArray[np.uint8]) -> Encoded:
    """The inverse of `to_bytes` inside its range."""
    return code.astype(np.float32) * np.float32((_HIGH - _LOW) / 255.0) + np.float32(_LOW)


def exposure_for(rgb: npt.NDArray[np.float32]) -> float:
    """A power of two that brings a very dark or very bright plate to middle grey; 1 for ordinary plates.

    The eight-bit proxies would otherwise hold next to nothing of a plate whose light lies
    around 0.001 or 500. A power of two scales floats without rounding.
    """
    lit = rgb[:: max(1, rgb.shape[0] // 256), :: max(1, rgb.shape[1] // 256)].mean(axis=2)
    lit = lit[lit > 0.0]
    if lit.size == 0:
        return 1.0
    middle = float(np.median(lit))
    if 0.01 <= middle <= 2.0:
        return 1.0
    return float(2.0 ** max(-30, min(30, round(math.log2(0.18 / max(middle, 1e-12))))))
