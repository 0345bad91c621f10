"""Scene-linear light to the display-referred [0, 1] that the model knows, and back.

Familiar contrast up to diffuse white (the sRGB curve, scaled), a logarithmic shoulder above: light of 1 is 0.8, of 64
is 1. Below 0 and above 64 is cut: the fill has no such light, and kept pixels never come through here.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.float32]

WHITE: Final = np.float32(0.8)  # diffuse white on the display
PEAK_STOPS: Final = np.float32(6.0)  # above it, the display's 1


def to_display(light: Pixels) -> Pixels:
    """Any shape, scene-linear in, [0, 1] out; monotone and continuous."""
    held = np.clip(light, 0.0, 2.0**PEAK_STOPS)
    low = np.minimum(held, 1.0)
    dark, bright = low * 12.92, 1.055 * np.power(low, np.float32(1 / 2.4)) - 0.055
    curve = np.where(low <= 0.0031308, dark, bright) * WHITE
    shoulder = np.log2(np.maximum(held, 1.0)) * ((1.0 - WHITE) / PEAK_STOPS)
    display: Pixels = np.clip(curve + shoulder, 0.0, 1.0).astype(np.float32)
    return display


def to_light(display: Pixels) -> Pixels:
    """The inverse of `to_display` on [0, 1]."""
    held = np.clip(display, 0.0, 1.0)
    low = np.minimum(held / WHITE, 1.0)
    curve = np.where(low <= 0.04045, low / 12.92, np.power((low + 0.055) / 1.055, np.float32(2.4)))
    stops = np.maximum(held - WHITE, 0.0) * (PEAK_STOPS / (1.0 - WHITE))
    light: Pixels = (curve * np.exp2(stops)).astype(np.float32)
    return light
