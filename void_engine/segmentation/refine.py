"""A proxy's matte at the plate's resolution, its edge where the plate's is.

Promises exactly 0 and 1 away from the edge, and memory for a few planes of the part that holds the object.
A colour guided filter (He and others, 2013), whose linear model is fitted at the proxy and evaluated at the plate.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.segmentation.interface import Matte, Picture

_EPSILON = 1e-3  # of colours from 0 to 1: what varies less is flat
_RADIUS = 4  # proxy pixels of the filter's window
_NONE = 0.25  # of the filter's answer: less is texture of the surroundings, not the object
_BAND = 2.0  # proxy pixels to each side of the edge that may become soft

Planes = npt.NDArray[np.float32]


def to_plate(plate: Picture, small: Picture, matte: Matte, half: float = 0.5) -> Matte:
    """``small`` is the proxy and ``matte`` lies on it. ``half``: the cover, over 0.25, that becomes 0.5."""
    full = np.zeros(plate.shape[:2], np.float32)
    rows, columns = np.flatnonzero(matte.max(axis=1) > 0.004), np.flatnonzero(matte.max(axis=0) > 0.004)
    if not rows.size:
        return full
    margin = int(2 * _RADIUS + _BAND)
    y0, y1 = max(0, int(rows[0]) - margin), min(matte.shape[0], int(rows[-1]) + margin + 1)
    x0, x1 = max(0, int(columns[0]) - margin), min(matte.shape[1], int(columns[-1]) + margin + 1)
    sy, sx = plate.shape[0] / matte.shape[0], plate.shape[1] / matte.shape[1]
    top, bottom, left, right = round(y0 * sy), round(y1 * sy), round(x0 * sx), round(x1 * sx)
    part = matte[y0:y1, x0:x1]
    coefficients = _model(small[y0:y1, x0:x1], part)
    band = _band(part)
    size = (right - left, bottom - top)
    guide = plate[top:bottom, left:right]
    answer = _up(coefficients[3], size)
    for channel in range(3):
        answer += _up(coefficients[channel], size) * (guide[..., channel] * np.float32(1 / 255))
    # The filter's slope is a little flat: steeper around ``half``, soft where hair or blur make it so.
    answer = np.clip((answer - np.float32(_NONE)) * np.float32(0.5 / (half - _NONE)), 0.0, 1.0)
    near = _up(band, size)
    full[top:bottom, left:right] = answer * near + np.clip(_up(part, size), 0.0, 1.0) * (1 - near)
    full[full < 0.03] = 0.0
    full[full > 0.97] = 1.0
    return full


def _up(plane: Planes, size: tuple[int, int]) -> Planes:
    if plane.shape == size[::-1]:
        return plane.copy()
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _band(matte: Matte) -> Planes:
    """1 near the edge, 0 away from it, a short ramp between."""
    solid = (matte > 0.5).astype(np.uint8)
    inside = cv2.distanceTransform(solid, cv2.DIST_L2, cv2.DIST_MASK_5)
    outside = cv2.distanceTransform(1 - solid, cv2.DIST_L2, cv2.DIST_MASK_5)
    away = np.asarray(inside + outside, np.float32)
    return np.asarray(np.clip(_BAND + 1 - away, 0.0, 1.0), np.float32)


def filtered(picture: Picture, matte: Matte) -> Matte:
    """The matte drawn to the picture's edges, at the same size."""
    model = _model(picture, matte)
    answer = model[3] + sum(model[i] * (picture[..., i] * np.float32(1 / 255)) for i in range(3))
    return np.asarray(np.clip(answer, 0.0, 1.0), np.float32)


def _model(picture: Picture, matte: Matte) -> list[Planes]:
    """Of matte = a·colour + b around each pixel: a's three planes and b."""
    guide = [np.asarray(picture[..., i] * np.float32(1 / 255), np.float32) for i in range(3)]
    means = [_box(channel) for channel in guide]
    mean = _box(matte)
    with_matte = [_box(channel * matte) - m * mean for channel, m in zip(guide, means, strict=True)]
    pair: dict[tuple[int, int], Planes] = {}
    for i in range(3):
        for j in range(i, 3):
            pair[i, j] = _box(guide[i] * guide[j]) - means[i] * means[j] + np.float32(_EPSILON if i == j else 0)
    slopes = _solved(pair, with_matte)
    offset = mean - sum(slope * m for slope, m in zip(slopes, means, strict=True))
    return [_box(plane) for plane in (*slopes, np.asarray(offset, np.float32))]


def _solved(pair: dict[tuple[int, int], Planes], right: list[Planes]) -> list[Planes]:
    """Cramer's rule for the symmetric 3 x 3 system of each pixel."""
    a, b, c = pair[0, 0], pair[0, 1], pair[0, 2]
    d, e, f = pair[1, 1], pair[1, 2], pair[2, 2]
    one, two, three = d * f - e * e, c * e - b * f, b * e - c * d
    determinant = a * one + b * two + c * three
    four, five, six = a * f - c * c, b * c - a * e, a * d - b * b
    rows: list[tuple[Any, Any, Any]] = [(one, two, three), (two, four, five), (three, five, six)]
    return [(r[0] * right[0] + r[1] * right[1] + r[2] * right[2]) / determinant for r in rows]


def _box(plane: Planes) -> Planes:
    size = 2 * _RADIUS + 1
    return np.asarray(cv2.boxFilter(plane, cv2.CV_32F, (size, size), borderType=cv2.BORDER_REFLECT), np.float32)
