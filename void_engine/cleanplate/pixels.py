"""The few OpenCV calls that every part of the engine makes, typed and shape-true.

Promises that an array comes back with the number of axes that it had (OpenCV drops single ones)
and as float32 or bool. Must not hold decisions.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]  # (H, W) or (H, W, C)
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]  # (H, W)
Matrix = npt.NDArray[np.float64]  # (3, 3), maps pixel centres (x, y, 1)
Box = tuple[int, int, int, int]  # x0, y0, x1, y1; the last two excluded


def blurred(array: npt.NDArray[Any], sigma: float) -> Floats:
    """Gaussian blur of ``sigma`` pixels."""
    return np.asarray(cv2.GaussianBlur(array, (0, 0), sigma), dtype=np.float32).reshape(array.shape)


def resized(array: npt.NDArray[Any], size: tuple[int, int], *, smooth: bool = False) -> Floats:
    """``array`` at ``size`` (width, height): averaged over areas, or interpolated where ``smooth``."""
    how = cv2.INTER_LINEAR if smooth else cv2.INTER_AREA
    small = cv2.resize(array.astype(np.float32, copy=False), size, interpolation=how)
    return np.asarray(small, dtype=np.float32).reshape(size[1], size[0], *array.shape[2:])


def any_in(mask: Mask, size: tuple[int, int]) -> Mask:
    """At ``size`` (width, height): True where any pixel under it is."""
    return np.asarray(resized(mask, size) > 1e-4)


def grown(mask: Mask, radius: int) -> Mask:
    """The mask grown by a disc of ``radius`` pixels; a square for radius 1."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), _disc(radius))).astype(np.bool_)


def shrunk(mask: Mask, radius: int, *, border: bool = True) -> Mask:
    """The mask without ``radius`` pixels along its edge; the array's border counts as mask where ``border``."""
    eroded = cv2.erode(
        mask.astype(np.uint8), _disc(radius), borderType=cv2.BORDER_CONSTANT, borderValue=(1 if border else 0,) * 4
    )
    return np.asarray(eroded).astype(np.bool_)


def _disc(radius: int) -> Bytes:
    shape = cv2.MORPH_RECT if radius == 1 else cv2.MORPH_ELLIPSE
    return np.asarray(cv2.getStructuringElement(shape, (2 * radius + 1, 2 * radius + 1)), dtype=np.uint8)


def nearest_index(mask: Mask) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """For every pixel a number that names the nearest pixel of ``mask``, and the numbers of the mask's pixels.

    ``numbers`` (H, W); the second is ``numbers[mask]``. The mask must not be empty.
    """
    _, numbers = cv2.distanceTransformWithLabels(
        (~mask).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.asarray(numbers, dtype=np.int32)
    return table, table[mask]


def carried(mask: Mask, values: npt.NDArray[Any], empty: Any) -> npt.NDArray[Any]:
    """``values`` (H, W) of the mask's pixels, continued everywhere from the nearest; ``empty`` where there are none."""
    if not mask.any():
        return np.full_like(values, empty)
    numbers, own = nearest_index(mask)
    table = np.full(int(numbers.max()) + 1, empty, dtype=values.dtype)
    table[own] = values[mask]
    return np.asarray(table[numbers])


def warp(picture: npt.NDArray[Any], matrix: Matrix, box: Box, how: int, *, clamp: bool = False) -> npt.NDArray[Any]:
    """``picture`` at ``matrix`` times the pixels of ``box``; outside of it 0, or its border where ``clamp``.

    ``how`` is OpenCV's interpolation flag; the type of the picture stays.
    """
    moved = matrix @ moved_by(box[0], box[1])
    size = (box[2] - box[0], box[3] - box[1])
    border = cv2.BORDER_REPLICATE if clamp else cv2.BORDER_CONSTANT
    warped = cv2.warpPerspective(picture, moved, size, flags=how | cv2.WARP_INVERSE_MAP, borderMode=border)
    return np.asarray(warped, dtype=picture.dtype).reshape(size[1], size[0], *picture.shape[2:])


def shown(mask: Mask, matrix: Matrix, box: Box) -> Mask:
    """`warp` of a mask, nearest pixel; False outside."""
    return np.asarray(warp(mask.astype(np.uint8), matrix, box, cv2.INTER_NEAREST) != 0)


def away(mask: Mask) -> Floats:
    """(h, w): pixels to the nearest one of ``mask``, 0 in it."""
    return np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3), dtype=np.float32)


def within(mask: Mask, of: Box, box: Box) -> Mask:
    """``box`` of a mask over the box ``of``; False beyond."""
    result = np.zeros((box[3] - box[1], box[2] - box[0]), dtype=bool)
    x0, y0, x1, y1 = max(box[0], of[0]), max(box[1], of[1]), min(box[2], of[2]), min(box[3], of[3])
    if x0 < x1 and y0 < y1:
        result[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]] = mask[
            y0 - of[1] : y1 - of[1], x0 - of[0] : x1 - of[0]
        ]
    return result


def moved_by(x: float, y: float) -> Matrix:
    """The matrix of a shift."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], dtype=np.float64)
