"""Upstream's rules for a quadmask, as pure functions: the regression anchor, exact on recorded cases.

What production does instead, and why, is `void_engine.quadmask.policy`. Masks are (T, H, W) bool unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.interface import AFFECTED, KEEP, OVERLAP, REMOVE

Masks = npt.NDArray[np.bool_]


def combine(primary: Masks, affected: Masks) -> npt.NDArray[np.uint8]:
    """(T, H, W) uint8: 0 where only ``primary``, 127 where only ``affected``, 63 where both, else 255.

    The first frame keeps no 127: the model was trained so. Raises ``ValueError`` for two shapes.
    """
    _same_shape(primary, affected)
    quadmask = np.full(primary.shape, KEEP, np.uint8)
    quadmask[affected] = AFFECTED
    quadmask[primary] = REMOVE
    quadmask[primary & affected] = OVERLAP
    first = quadmask[:1]
    first[first == AFFECTED] = KEEP
    return quadmask


def gridded(mask: Masks, short_side_cells: int = 8) -> Masks:
    """Any pixel fills its cell: ``short_side_cells`` on the short side, as many on the long as the aspect asks."""
    _, height, width = mask.shape
    rows, columns = grid_size(height, width, short_side_cells)
    ys = np.array([int(i * height / rows) for i in range(rows)])
    xs = np.array([int(i * width / columns) for i in range(columns)])
    filled = np.logical_or.reduceat(np.logical_or.reduceat(mask, ys, axis=1), xs, axis=2)
    across = np.repeat(filled, np.diff([*ys, height]), axis=1)
    return np.repeat(across, np.diff([*xs, width]), axis=2)


def grid_size(height: int, width: int, short_side_cells: int = 8) -> tuple[int, int]:
    """(rows, columns). Raises ``ValueError`` where the picture has fewer pixels than cells."""
    if short_side_cells < 1 or min(height, width) < short_side_cells:
        raise ValueError(f"{short_side_cells} cells do not fit a picture of {width} x {height}")
    if width >= height:
        return short_side_cells, max(short_side_cells, round(short_side_cells * width / height))
    return max(short_side_cells, round(short_side_cells * height / width)), short_side_cells


def near(mask: Masks, primary: Masks, pixels: int = 50) -> Masks:
    """What of ``mask`` lies near the *first* frame's ``primary``: within its dilation by a pixels x pixels square.

    Whatever moves away from where the object was at first loses its mask: why production follows the object.
    """
    _same_shape(mask, primary)
    kernel = np.ones((pixels, pixels), np.uint8)
    close = cv2.dilate(primary[0].astype(np.uint8), kernel).reshape(primary.shape[1:]).astype(np.bool_)
    return np.asarray(mask & close)


def along_path(object_mask: npt.NDArray[np.bool_], points: Sequence[tuple[float, float]], frames: int) -> Masks:
    """The bounding box of ``object_mask`` (H, W), its middle carried along ``points`` (x, y), over ``frames`` frames.

    The points are spread evenly over the frames and not interpolated between. Empty for an empty mask or no points.
    """
    height, width = object_mask.shape
    carried = np.zeros((frames, height, width), np.bool_)
    ys, xs = np.nonzero(object_mask)
    if len(ys) == 0 or not points:
        return carried
    box_height, box_width = int(np.ptp(ys)) + 1, int(np.ptp(xs)) + 1
    for frame in range(frames):
        x, y = points[int(frame * (len(points) - 1) / max(1, frames - 1))]
        top, left = int(y) - box_height // 2, int(x) - box_width // 2
        carried[frame, max(0, top) : max(0, top + box_height), max(0, left) : max(0, left + box_width)] = True
    return carried


def _same_shape(one: Masks, other: Masks) -> None:
    if one.shape != other.shape:
        raise ValueError(f"two masks of one clip must have one shape, not {one.shape} and {other.shape}")
