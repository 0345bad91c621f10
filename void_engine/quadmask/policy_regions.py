"""The pieces of the quadmask policy: boxes in time, predicted places, cells, nearness. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from void_engine.interface import Mask
from void_engine.quadmask.policy_options import PolicyOptions
from void_engine.quadmask.upstream import grid_size
from void_engine.reasoning.analysis import Affected, Region, Waypoint

Shares = tuple[float, float, float, float]  # x0, y0, x1, y1 of the picture

_MOSTLY = 0.25  # of a region in one cell: the cell fills however little of it that is


def hulls(regions: Sequence[Region]) -> tuple[Region, ...]:
    """One for each frame, ascending: a reasoner says a thing's place by several rectangles of cells."""
    found: dict[int, Region] = {}
    for each in regions:
        so_far = found.get(each.frame, each)
        found[each.frame] = Region(
            each.frame,
            *(min(so_far.x0, each.x0), min(so_far.y0, each.y0), max(so_far.x1, each.x1), max(so_far.y1, each.y1)),
        )
    return tuple(found[frame] for frame in sorted(found))


def held_mask(regions: Sequence[Region], frame: int, size: tuple[int, int]) -> Mask:
    """What the regions cover at ``frame``: all of that frame's, and nothing of the gaps between them.

    Between two frames nobody knows which of their boxes belong together: there it is `held_box`. Before the first and
    after the last as there.
    """
    mask = np.zeros(size, np.bool_)
    if not regions:
        return mask
    frames = sorted({region.frame for region in regions})
    held = min(max(frame, frames[0]), frames[-1])
    if held in frames:
        boxes = [(region.x0, region.y0, region.x1, region.y1) for region in regions if region.frame == held]
    else:
        boxes = [box for box in [held_box(regions, held)] if box is not None]
    for box in boxes:
        mask |= box_mask(box, size)
    return mask


def held_box(regions: Sequence[Region], frame: int) -> Shares | None:
    """The hull at ``frame``: between two frames interpolated, before the first and after the last as there."""
    if not regions:
        return None
    ordered = hulls(regions)
    frames = [region.frame for region in ordered]
    corners = np.array([[region.x0, region.y0, region.x1, region.y1] for region in ordered], np.float64)
    x0, y0, x1, y1 = (float(np.interp(frame, frames, corners[:, side])) for side in range(4))
    return x0, y0, x1, y1


def box_mask(box: Shares, size: tuple[int, int]) -> Mask:
    """Any pixel that the box touches; empty where it lies outside the picture."""
    height, width = size
    mask = np.zeros(size, np.bool_)
    x0, x1 = (int(f(share * width)) for f, share in ((np.floor, box[0]), (np.ceil, box[2])))
    y0, y1 = (int(f(share * height)) for f, share in ((np.floor, box[1]), (np.ceil, box[3])))
    mask[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = True
    return mask


def predicted(
    affected: Affected, box: tuple[float, float], frame: int, options: PolicyOptions, size: tuple[int, int]
) -> Mask:
    """Where it would be around ``frame``: its box along its path, for ``options.timing`` frames before and after.

    Before the path begins there is nothing to predict; where it ends inside the picture the thing stays.
    """
    path = sorted(affected.path, key=lambda point: point.frame)
    mask = np.zeros(size, np.bool_)
    stays = 0 <= path[-1].x <= 1 and 0 <= path[-1].y <= 1
    last = affected.last_frame if stays else min(path[-1].frame, affected.last_frame)
    for other in range(frame - options.timing, frame + options.timing + 1):
        if path[0].frame <= other <= last:
            mask |= box_mask(_box_on(path, box, other, size), size)
    return mask


def _box_on(path: list[Waypoint], box: tuple[float, float], frame: int, size: tuple[int, int]) -> Shares:
    frames = [point.frame for point in path]
    xs, ys = [point.x for point in path], [point.y for point in path]
    x, y = (float(np.interp(frame, frames, places)) for places in (xs, ys))
    wide, high = box
    before = tuple(float(np.interp(frame - 1, frames, places)) for places in (xs, ys))
    if len(path) > 1 and frame > frames[0] and before == (x, y):
        # At rest it may lie on any side: a square of its long side, in pixels.
        longest = max(wide * size[1], high * size[0])
        wide, high = longest / size[1], longest / size[0]
    return x - wide / 2, y - high / 2, x + wide / 2, y + high / 2


def cells_of(mask: Mask, short_side_cells: int, share: float) -> Mask:
    """(rows, columns): the cells that the mask covers to ``share`` (0: by any pixel), on upstream's grid."""
    rows, columns = grid_size(mask.shape[0], mask.shape[1], short_side_cells)
    ys, xs = _edges(mask.shape[0], rows), _edges(mask.shape[1], columns)
    counts = np.add.reduceat(np.add.reduceat(mask.astype(np.int64), ys[:-1], axis=0), xs[:-1], axis=1)
    areas = np.diff(ys)[:, None] * np.diff(xs)[None]
    enough = np.maximum(1, np.minimum(share * areas, _MOSTLY * counts.sum()))
    return np.asarray(counts >= enough)


def filled(cells: Mask, size: tuple[int, int]) -> Mask:
    """The pixels of `cells_of`."""
    down, across = np.diff(_edges(size[0], cells.shape[0])), np.diff(_edges(size[1], cells.shape[1]))
    return np.asarray(np.repeat(np.repeat(cells, down, axis=0), across, axis=1))


def near_object(mask: Mask, primary: Mask, reach: float) -> Mask:
    """The pieces of ``mask`` of which any pixel lies within ``reach`` pixels of the object as it is in this frame."""
    if not primary.any():
        return np.zeros_like(mask)
    away = cv2.distanceTransform((~primary).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    close = np.unique(labels[mask & (away <= reach)])
    return np.asarray(np.isin(labels, close[close > 0]))


def _edges(length: int, cells: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([int(i * length / cells) for i in range(cells + 1)], np.int64)
