"""How far two pictures are apart, in numbers that say what they measure.

Promises: pure functions of arrays; every number is over the region that it is given, and None where that is empty.
Display values are counted in codes of 8 bits (0 to 255), not rounded to them. Must not: read files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.interface import Mask
from void_engine.looking.view import Colour

CODES = 255.0
_LUMA = np.array([[0.2126, 0.7152, 0.0722]])  # BT.709
_SIGMA, _TAPS = 1.5, 11  # of SSIM's window, as Wang et al. 2004
_C1, _C2 = 0.01**2, 0.03**2


@dataclass(frozen=True)
class Spread:
    """Of the absolute differences of all three channels of all pixels in a region."""

    mean: float
    median: float
    maximum: float


@dataclass(frozen=True)
class Measures:
    """One frame's, over a region. ``light`` is scene-linear, None for display-referred footage; ``display`` in codes.

    ``psnr`` in decibels is None where nothing differs (``display.maximum`` is 0 then). ``ssim`` is of luma.
    """

    pixels: int
    light: Spread | None
    display: Spread
    psnr: float | None
    ssim: float


def measure(light: tuple[Colour, Colour] | None, shown: tuple[Colour, Colour], region: Mask | None) -> Measures | None:
    """``light`` and ``shown`` (0 to 1): A and B, (H, W, 3). ``region`` (H, W), None for the whole frame."""
    if region is not None and not region.any():
        return None
    a, b = shown
    inside = _values(a, region) - _values(b, region)
    # Means in float64: of 26 million float32 one would lose digits.
    error = float(np.mean(np.square(inside), dtype=np.float64))
    return Measures(
        pixels=inside.size // 3,
        light=None if light is None else spread(_values(light[0], region) - _values(light[1], region)),
        display=spread(inside, CODES),
        psnr=None if error == 0.0 else -10.0 * math.log10(error),
        ssim=ssim(a, b, region),
    )


def _values(picture: Colour, region: Mask | None) -> Colour:
    return picture if region is None else picture[region]


def spread(difference: Colour, unit: float = 1.0) -> Spread:
    away = np.abs(difference)
    mean = float(away.mean(dtype=np.float64))
    return Spread(mean * unit, float(np.median(away)) * unit, float(away.max()) * unit)


def ssim(a: Colour, b: Colour, region: Mask | None) -> float:
    """Structural similarity of the luma of display values: Gaussian window, sigma 1.5, 11 taps, mirrored edges;
    the mean of its map over the region. Windows at the region's edge look beyond it.
    """
    if region is not None:
        box = bounds(region, margin=_TAPS)
        a, b, region = a[box], b[box], region[box]
    x, y = cv2.transform(a, _LUMA).astype(np.float64), cv2.transform(b, _LUMA).astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    both = _blur(x * y) - mean_x * mean_y
    above = (2 * mean_x * mean_y + _C1) * (2 * both + _C2)
    values = above / ((mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2))
    return float(values.mean() if region is None else values[region].mean())


def _blur(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    blurred = cv2.GaussianBlur(plane, (_TAPS, _TAPS), _SIGMA, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.float64)


def bounds(region: Mask, margin: int) -> tuple[slice, slice]:
    """The region's bounding box, grown by ``margin`` within the picture. The region has a pixel."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + 1 + margin),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + 1 + margin),
    )


def differing(a: Colour, b: Colour, where: Mask) -> int:
    """Pixels in ``where`` of which any channel's bits differ: the sign of zero and the payload of NaN count."""
    unlike = (np.ascontiguousarray(a).view(np.uint32) != np.ascontiguousarray(b).view(np.uint32)).any(axis=2)
    return int(np.count_nonzero(unlike & where))
