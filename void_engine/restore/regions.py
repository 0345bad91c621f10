"""Where a model works: crops around what must change, at the aspect that it works at.

Promises: every pixel to replace lies in the crop of its region, on every frame; a crop has one size over the whole
clip, lies inside the canvas and moves smoothly or not at all; nothing is squeezed that could keep its pixels; the same
answer every time. Must not: read plates, or hold full-size masks of more than one frame.

Decisions are made on a small grid (its long side is 192 cells), with a mask of each frame on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.interface import KEEP, RGB, Clip, Mask, Quadmask, Valid, Window

_GRID = 192
_CONTEXT = 0.5  # of what changes in a frame, on each side: a model needs to see what it continues
_LEAST_CONTEXT = 0.04  # of the canvas's long side
_APART = 1.5  # contexts between two things that are worked on apart
_MOST_REGIONS = 4  # each costs a run of the model: more things than this share crops
_WORTH_MOVING = 1.4  # how much larger, by its side, a standing crop must be before a moving one is taken
_LEAST_ROOM = 0.3  # of the context, that a moving crop keeps on every side
_STEADY = 8.0  # frames over which a moving crop's way is smoothed
_ROUNDS = 40

Corners = npt.NDArray[np.int64]  # (frames, 2): x and y of a crop's top left pixel on the canvas, from 0


@dataclass(frozen=True)
class Region:
    """``corners``: of the crop at each position. ``size``: (height, width) of the crop, in the plate's pixels.

    ``model_size``: (height, width) that the model works at. ``cells``: which cells of the grid are this region's: a
    pixel to replace belongs to the region of its cell.
    """

    corners: Corners
    size: tuple[int, int]
    model_size: tuple[int, int]
    cells: Mask

    @property
    def moves(self) -> bool:
        return bool((self.corners != self.corners[0]).any())

    @property
    def scale(self) -> float:
        """Plate pixels to one of the model's; 1 or more, but for plates smaller than the model's size."""
        return self.size[0] / self.model_size[0]

    def window(self, position: int) -> tuple[slice, slice]:
        """Of an array on the canvas."""
        x, y = (int(value) for value in self.corners[position])
        return slice(y, y + self.size[0]), slice(x, x + self.size[1])

    def owned(self, position: int, canvas: tuple[int, int]) -> Mask:
        """(h, w): the crop's pixels that lie in this region's cells; ``canvas`` is (height, width)."""
        rows = cell_of(canvas[0], self.cells.shape[0])
        columns = cell_of(canvas[1], self.cells.shape[1])
        down, across = self.window(position)
        return np.asarray(self.cells[np.ix_(rows[down], columns[across])])


@dataclass(frozen=True)
class RegionClip:
    """A region of a clip, as a clip of the crop's size: `void_engine.interface.Clip`."""

    clip: Clip
    region: Region

    @property
    def numbers(self) -> tuple[int, ...]:
        return self.clip.numbers

    @property
    def canvas(self) -> Window:
        """Where the crop lies at first."""
        x, y = (int(value) for value in self.region.corners[0])
        left, top = self.clip.canvas.x0 + x, self.clip.canvas.y0 + y
        return Window(left, top, left + self.region.size[1] - 1, top + self.region.size[0] - 1)

    @property
    def pixel_aspect(self) -> float:
        return self.clip.pixel_aspect

    def plate(self, position: int) -> RGB:
        return self.clip.plate(position)[self.region.window(position)]

    def valid(self, position: int) -> Valid:
        return self.clip.valid(position)[self.region.window(position)]

    def quadmask(self, position: int) -> Quadmask:
        return self.clip.quadmask(position)[self.region.window(position)]


def find_regions(
    clip: Clip,
    size_for: Callable[[int, int], tuple[int, int]],
    tick: Callable[[int], None],
) -> tuple[Region, ...]:
    """The regions of a clip; none where nothing is to be replaced.

    ``size_for(height, width)``: what the model works at for a picture of that size. ``tick(position)`` after each frame
    that was looked at. The model's pixels are square: an anamorphic crop is unsqueezed on its way there.
    """
    height, width = clip.canvas.height, clip.canvas.width
    shape = _grid(height, width)
    masks = []
    for position in range(len(clip.numbers)):
        masks.append(_any_in(clip.quadmask(position) != KEEP, shape))
        tick(position)
    model = size_for(height, max(1, round(width * clip.pixel_aspect)))
    cell = (height / shape[0], width / shape[1])
    found = []
    for cells in _things(np.array(masks), cell, max(height, width)):
        boxes = [_box(mask & cells) for mask in masks]
        found.append(_region(boxes, cells, cell, (height, width), model, clip.pixel_aspect))
    return tuple(found)


def whole(clip: Clip, model: tuple[int, int]) -> Region:
    """The one region that is the whole canvas."""
    height, width = clip.canvas.height, clip.canvas.width
    corners = np.zeros((len(clip.numbers), 2), np.int64)
    return Region(corners, (height, width), model, np.ones(_grid(height, width), np.bool_))


# --- the grid


def _grid(height: int, width: int) -> tuple[int, int]:
    ratio = min(1.0, _GRID / max(height, width))
    return max(1, round(height * ratio)), max(1, round(width * ratio))


def cell_of(length: int, cells: int) -> npt.NDArray[np.int64]:
    """(length,): which of the grid's cells along one side each pixel lies in."""
    return np.asarray(np.arange(length) * cells // length)


def _any_in(mask: Mask, shape: tuple[int, int]) -> Mask:
    """A cell is True where any of its pixels is, by the same cells as `cell_of`."""
    rows = np.searchsorted(cell_of(mask.shape[0], shape[0]), np.arange(shape[0]))
    columns = np.searchsorted(cell_of(mask.shape[1], shape[1]), np.arange(shape[1]))
    lines = np.logical_or.reduceat(mask, rows, axis=0)
    return np.asarray(np.logical_or.reduceat(lines, columns, axis=1))


def _box(mask: Mask) -> tuple[int, int, int, int] | None:
    """x0, y0, x1, y1 in cells, the last two excluded."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


# --- things that are worked on apart


def _things(masks: npt.NDArray[np.bool_], cell: tuple[float, float], long_side: int) -> list[Mask]:
    """The cells that are ever marked, in groups that are far from each other over the whole clip."""
    ever: Mask = np.logical_or.reduce(masks)
    if not ever.any():
        return []
    reach = _APART * _LEAST_CONTEXT * long_side / min(cell)
    groups = _joined(ever, reach)
    while len(groups) > _MOST_REGIONS:
        reach *= 2
        groups = _joined(ever, reach)
    return groups


def _joined(mask: Mask, reach: float) -> list[Mask]:
    """The pieces of a mask, joined where they are nearer than ``reach`` cells; largest first."""
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    near = mask if mask.all() else np.asarray(away <= reach / 2)
    count, pieces = cv2.connectedComponents(near.astype(np.uint8), connectivity=8)
    groups = [np.asarray((pieces == index) & mask) for index in range(1, count)]
    return sorted(groups, key=lambda group: -int(np.count_nonzero(group)))


# --- a crop


def _region(
    boxes: Sequence[tuple[int, int, int, int] | None],
    cells: Mask,
    cell: tuple[float, float],
    canvas: tuple[int, int],
    model: tuple[int, int],
    pixel_aspect: float,
) -> Region:
    """One crop size for the clip: standing, or following where standing would squeeze the picture much more."""
    known = [_scaled(box, cell) for box in boxes if box is not None]
    room = _with_room(known, canvas, 1.0)
    all_over = np.array([[*room[:, :2].min(axis=0), *room[:, 2:].max(axis=0)]])
    standing = _fitted(all_over, canvas, model, pixel_aspect)
    following = _fitted(room, canvas, model, pixel_aspect)
    if standing[0] < _WORTH_MOVING * following[0]:
        corner = _held((all_over[0, :2] + all_over[0, 2:] - standing[::-1]) / 2, standing, canvas)
        corners = np.tile(np.rint(corner).astype(np.int64), (len(boxes), 1))
        return Region(corners, standing, model, cells)
    there = np.array([position for position, box in enumerate(boxes) if box is not None])
    # Room on one side may be less for a while: the way need not bend for it.
    least = _with_room(known, canvas, _LEAST_ROOM)
    return Region(_way(there, least, len(boxes), following, canvas), following, model, cells)


def _scaled(box: tuple[int, int, int, int], cell: tuple[float, float]) -> tuple[float, float, float, float]:
    return box[0] * cell[1], box[1] * cell[0], box[2] * cell[1], box[3] * cell[0]


def _with_room(
    boxes: Sequence[tuple[float, float, float, float]], canvas: tuple[int, int], share: float
) -> npt.NDArray[np.float64]:
    """(frames, 4): the boxes with this share of the context, inside the canvas."""
    known = np.array(boxes, np.float64)
    longest = np.maximum(known[:, 2] - known[:, 0], known[:, 3] - known[:, 1]).max()
    room = share * max(_CONTEXT * longest, _LEAST_CONTEXT * max(canvas))
    low = np.maximum(known[:, :2] - room, 0)
    high = np.minimum(known[:, 2:] + room, [canvas[1], canvas[0]])
    return np.concatenate([low, high], axis=1)


def _fitted(
    boxes: npt.NDArray[np.float64], canvas: tuple[int, int], model: tuple[int, int], pixel_aspect: float
) -> tuple[int, int]:
    """(height, width) of the crop that takes in each of the boxes, at the model's aspect where the canvas allows.

    Never smaller than the model's own size: pixels that are there are not enlarged, context is better.
    """
    tall = float((boxes[:, 3] - boxes[:, 1]).max())
    wide = float((boxes[:, 2] - boxes[:, 0]).max()) * pixel_aspect
    scale = max(1.0, tall / model[0], wide / model[1])
    height, width = scale * model[0], scale * model[1] / pixel_aspect
    if height >= canvas[0] or width >= canvas[1]:
        # At the canvas's aspect, which is the model's but for rounding: it is seen as a whole.
        return canvas
    return round(height), round(width)


def _way(
    there: npt.NDArray[np.int64],
    boxes: npt.NDArray[np.float64],
    count: int,
    size: tuple[int, int],
    canvas: tuple[int, int],
) -> Corners:
    """A smooth way of the crop's corner that keeps each frame's box inside.

    Smoothed and pushed back to where the box is inside, again and again: the way bends as late and as little as it may.
    """
    extent = np.array([size[1], size[0]], np.float64)
    frames = np.arange(count)
    lowest = np.stack([np.interp(frames, there, boxes[:, 2 + axis] - extent[axis]) for axis in (0, 1)], axis=1)
    highest = np.stack([np.interp(frames, there, boxes[:, axis]) for axis in (0, 1)], axis=1)
    limit = np.array([canvas[1] - size[1], canvas[0] - size[0]], np.float64)
    lowest, highest = np.clip(lowest, 0, limit), np.clip(highest, 0, limit)
    way = (lowest + highest) / 2
    for _ in range(_ROUNDS):
        way = np.clip(_smoothed(way), lowest, highest)
    # Whole pixels: rounding a limit outwards would cut a box by a part of a pixel.
    whole_way = np.clip(np.rint(way), np.ceil(lowest - 1e-6), np.maximum(np.floor(highest + 1e-6), np.ceil(lowest)))
    return np.asarray(np.clip(whole_way, 0, limit), np.int64)


def _smoothed(way: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    reach = min(len(way) - 1, round(3 * _STEADY))
    if reach < 1:
        return way
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _STEADY) ** 2)
    # Mirrored through its ends: a steady pan stays one up to the first and the last frame.
    before, after = 2 * way[0] - way[reach:0:-1], 2 * way[-1] - way[-2 : -reach - 2 : -1]
    long = np.concatenate([before, way, after])
    columns = [np.convolve(long[:, axis], weights / weights.sum(), mode="valid") for axis in (0, 1)]
    return np.stack(columns, axis=1)


def _held(corner: npt.NDArray[np.float64], size: tuple[int, int], canvas: tuple[int, int]) -> npt.NDArray[np.float64]:
    return np.asarray(np.clip(corner, 0, [canvas[1] - size[1], canvas[0] - size[0]]))
