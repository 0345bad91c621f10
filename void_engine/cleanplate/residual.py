"""What is left of the motion around a hole when the camera's has been taken out: parallax, lens distortion.

Promises a smooth displacement continued under the hole, or none where it does not foretell the tracks next
to the hole clearly better than the camera alone does. Must not follow single things: it bends, it does not tear.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import pixels, seam
from void_engine.cleanplate.motion import apply, follow
from void_engine.cleanplate.pixels import Box, Bytes, Floats, Mask, Matrix

Field = npt.NDArray[np.float32]  # (rows, columns, 2), proxy pixels, x and y, over a box; empty for none

CONTEXT = 64  # proxy pixels around a frame's box whose tracks are looked at
_CELL = 8  # proxy pixels to a cell of the field
_CORNERS, _SPACING = 900, 4.0
_LARGEST = 80.0  # proxy pixels: what moves further apart is another thing
_SLIPPED = 4.0  # proxy pixels: a worse track counts no more than this
_NEAR = 20  # proxy pixels from the hole: tracks that the others must foretell
_LEAST = 0.06  # proxy pixels of usual displacement that are not worth bending for
_BETTER = 0.65  # share of the tracks' displacement that may be left


def none() -> Field:
    """No displacement at all."""
    return np.zeros((0, 0, 2), dtype=np.float32)


def wide(box: Box, size: tuple[int, int]) -> Box:
    """``box`` with `CONTEXT` around it, inside a picture of ``size`` (width, height)."""
    x0, y0, x1, y1 = box
    return max(0, x0 - CONTEXT), max(0, y0 - CONTEXT), min(size[0], x1 + CONTEXT), min(size[1], y1 + CONTEXT)


def measure(target: Bytes, source: Bytes, open_: Mask, hole: Mask, inner: Box) -> Field:
    """The displacement from ``target`` to the camera-aligned ``source``, over ``inner`` of both pictures.

    ``open_`` where both show what they keep; ``hole`` to be replaced in the target.
    """
    if min(hole.shape) < 32:
        return none()
    grey_t, grey_s = _grey(target), _grey(source)
    usable = pixels.shrunk(open_, 3, border=False)
    corners = cv2.goodFeaturesToTrack(grey_t, _CORNERS, 0.002, _SPACING, mask=usable.astype(np.uint8))
    if corners is None:
        return none()
    start = np.asarray(corners, dtype=np.float32).reshape(-1, 2)
    guess = start + _guess(grey_t, grey_s, start)
    away = pixels.away(hole)
    near = away[start[:, 1].astype(int), start[:, 0].astype(int)] < _NEAR
    # Next to the hole first: where nothing is left of the motion there, the rest need not be followed.
    beside, beside_moved = _followed(grey_t, grey_s, start[near], guess[near], usable)
    if len(beside) < 10:
        return none()
    # The mean and not the median: a wall that fits must not hide the floor that does not.
    usual = _size(beside_moved)
    if usual < _LEAST:
        return none()
    far, far_moved = _followed(grey_t, grey_s, start[~near], guess[~near], usable)
    if len(far) < 10:
        return none()
    told = _spread(far, far_moved, hole.shape)
    left = _size(beside_moved - _read(told, beside[:, None])[:, 0])
    if left > _BETTER * usual:
        return none()
    return _inner(_spread(np.concatenate([far, beside]), np.concatenate([far_moved, beside_moved]), hole.shape), inner)


def _followed(target: Bytes, source: Bytes, start: Floats, guess: Floats, usable: Mask) -> tuple[Floats, Floats]:
    """The points that are found again, and how far each has moved."""
    if len(start) == 0:
        return start, start
    end, good = follow(target, source, start, guess, usable, window=13)
    moved = end - start
    good &= np.abs(moved).max(axis=1) < _LARGEST
    return start[good], moved[good]


def _grey(picture: Bytes) -> Bytes:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _guess(target: Bytes, source: Bytes, points: Floats) -> Floats:
    """The displacement at ``points`` by dense flow: coarse, but it finds what is far."""
    threads = cv2.getNumThreads()
    # The flow depends on how many threads share the picture: one, for the same bits on every machine.
    cv2.setNumThreads(1)
    try:
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(target, source, None)  # type: ignore[call-overload]
    finally:
        cv2.setNumThreads(threads)
    at = points.astype(int)
    dense: Floats = np.asarray(flow, dtype=np.float32)
    return np.asarray(dense[at[:, 1], at[:, 0]])


def _size(moved: Floats) -> float:
    return float(np.minimum(np.linalg.norm(moved, axis=1), _SLIPPED).mean())


def _spread(points: Floats, moved: Floats, shape: tuple[int, ...]) -> Field:
    """The tracks' usual displacement in each cell, continued to the cells that have none."""
    rows, columns = -(-shape[0] // _CELL), -(-shape[1] // _CELL)
    cells = (points[:, 1].astype(int) // _CELL) * columns + points[:, 0].astype(int) // _CELL
    values, weights = np.zeros((rows * columns, 2), np.float32), np.zeros(rows * columns, np.float32)
    filled, first, count = np.unique(np.sort(cells), return_index=True, return_counts=True)
    for axis in (0, 1):
        ordered = moved[np.lexsort((moved[:, axis], cells)), axis]
        values[filled, axis] = (ordered[first + (count - 1) // 2] + ordered[first + count // 2]) / 2
    weights[filled] = 1.0
    field = _without_outliers(values.reshape(rows, columns, 2), weights.reshape(rows, columns))
    return np.asarray(seam.pull_push(*field), dtype=np.float32)


def _without_outliers(values: Field, weights: Floats) -> tuple[Field, Floats]:
    """Leaves out the cells that are far from most of their neighbours."""
    padded = np.pad(np.where(weights[..., None] > 0, values, np.nan), ((2, 2), (2, 2), (0, 0)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(0, 1)).reshape(*values.shape, 25)
    filled = weights > 0
    middle = np.nanmedian(windows[filled], axis=-1)
    kept = np.zeros_like(weights)
    kept[filled] = np.linalg.norm(values[filled] - middle, axis=1) < 0.4 + 0.5 * np.linalg.norm(middle, axis=1)
    return values * kept[..., None], kept


def _read(field: Field, points: Floats) -> Floats:
    """The field at points (h, w, 2)."""
    cells = (points + np.float32(0.5)) / np.float32(_CELL) - np.float32(0.5)
    read = cv2.remap(field, cells[..., 0], cells[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(read, dtype=np.float32)


def _inner(field: Field, inner: Box) -> Field:
    x, y = np.meshgrid(np.arange(inner[0], inner[2]), np.arange(inner[1], inner[3]))
    dense = _read(field, np.stack([x, y], axis=2).astype(np.float32))
    return pixels.resized(dense, (max(1, x.shape[1] // _CELL), max(1, x.shape[0] // _CELL)))


def warp(
    picture: npt.NDArray[Any], matrix: Matrix, box: Box, how: int, field: Field, *, clamp: bool = False
) -> npt.NDArray[Any]:
    """`pixels.warp` of proxies with a field over ``box`` on top."""
    if field.size == 0:
        return pixels.warp(picture, matrix, box, how, clamp=clamp)
    across, down = places(np.eye(3), box, matrix, box, field)
    border = cv2.BORDER_REPLICATE if clamp else cv2.BORDER_CONSTANT
    return np.asarray(cv2.remap(picture, across, down, how, borderMode=border), dtype=picture.dtype)


def shown(mask: Mask, matrix: Matrix, box: Box, field: Field) -> Mask:
    """`pixels.shown` with a field over ``box`` on top."""
    return np.asarray(warp(mask.astype(np.uint8), matrix, box, cv2.INTER_NEAREST, field) != 0)


def places(to_proxy: Matrix, region: Box, from_proxy: Matrix, box: Box, field: Field) -> tuple[Floats, Floats]:
    """Where the pixels of ``region`` lie in the source: to the proxy, bent by ``field`` over ``box``, and on."""
    x, y = np.meshgrid(np.arange(region[0], region[2]), np.arange(region[1], region[3]))
    spots = apply(to_proxy, np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64))
    ratio = np.array([field.shape[1] / (box[2] - box[0]), field.shape[0] / (box[3] - box[1])])
    cells = ((spots - box[:2] + 0.5) * ratio - 0.5).astype(np.float32).reshape(*x.shape, 2)
    bent = cv2.remap(field, cells[..., 0], cells[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    there = apply(from_proxy, spots + np.asarray(bent, dtype=np.float64).reshape(-1, 2))
    both = there.astype(np.float32).reshape(*x.shape, 2)
    return np.ascontiguousarray(both[..., 0]), np.ascontiguousarray(both[..., 1])
