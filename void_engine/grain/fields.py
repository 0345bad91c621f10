"""Pieces of the plate with the picture taken out: what is left is grain.

Two neighbouring frames, where there are two. With both aligned to the whole pixel, half their difference holds the
grain of both and no picture, but for what a fraction of a pixel, a change of light and a change of shape leave. All
of that is predicted by their *sum* (its gradients, itself, a constant) and taken out by least squares. The grain of the
sum says nothing about that of the difference, both frames' being alike and independent: the fit, and the choice of
flat tiles by the sum, take no grain away but for the fit's few degrees of freedom, which are given back.

One frame alone: the flattest tiles, less a plane or, where that leaves texture, a quadratic surface; the finer texture
that is left is `void_engine.grain.texture`'s to take out.

Must not decide how strong the grain is, nor touch pixels that are not usable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Encoded = npt.NDArray[np.float32]  # (H, W, 3), encoded light
Mask = npt.NDArray[np.bool_]  # (H, W)
Tiles = npt.NDArray[np.float32]  # (n, 3, side, side)

_SIDES = (32, 16)  # of a tile; smaller ones only where too few of the larger are whole
_ENOUGH = 24  # tiles
_LARGE = 1_000_000  # pixels
_STRATA = 12  # of level, from each of which the flattest tiles are taken
_EACH = 20  # tiles of a stratum
_ALONE = 80  # of a single frame's: among fewer, the flattest are those where coarse grain happens to be weak
_MARGIN = 4  # pixels around a tile, for gradients
_FLOW_SIDE = 480  # long side of the pictures whose flow aligns the tiles
_SEARCH = 3  # pixels around what the flow says
_CONTEXT = 16  # pixels around a tile that take part in the search
_CLIPPED = 0.0005  # of a frame's pixels with exactly its extreme value: the plate is clipped there


@dataclass(frozen=True)
class Fields:
    """``rest``: what is left, with the variance of one frame's white grain; NaN where the plate is clipped.

    ``level``: the picture under it, encoded. ``taken`` (n, 3): variance of what the fit took out; the more, the more of
    the picture it has left, too. ``smooth``: how many smooth shapes were fitted, which take coarse grain along.
    ``still``: the two frames are the same bits, and there are no tiles.
    """

    rest: Tiles
    level: Tiles
    taken: npt.NDArray[np.float32]
    smooth: int = 0
    still: bool = False


@dataclass(frozen=True)
class Frame:
    """``clipped`` (H, W, 3); ``ends`` (3, 2): the levels at which the channels are clipped, infinite for none."""

    picture: Encoded
    usable: Mask
    clipped: npt.NDArray[np.bool_]
    ends: npt.NDArray[np.float64]


def examine(picture: Encoded, usable: Mask) -> Frame:
    """Finds where a frame is clipped: solid areas of a channel's lowest or highest value.

    Pixels that are no numbers are not usable.
    """
    finite = np.isfinite(_luma(picture))
    if not finite.all():
        picture, usable = np.where(finite[..., None], picture, np.float32(0.0)), usable & finite
    clipped = np.zeros(picture.shape, np.bool_)
    ends = np.tile(np.array([-np.inf, np.inf]), (3, 1))
    kernel = np.ones((5, 5), np.uint8)
    if not usable.any():
        return Frame(picture, usable, clipped, ends)
    for channel in range(3):
        plane = np.ascontiguousarray(picture[..., channel])
        for end, extreme in enumerate(cv2.minMaxLoc(plane, usable.view(np.uint8))[:2]):
            at = (plane == np.float32(extreme)) & usable
            if np.count_nonzero(at) > _CLIPPED * np.count_nonzero(usable):
                solid = cv2.erode(at.view(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=(0,) * 4)
                if np.any(solid):
                    clipped[..., channel] |= at
                    ends[channel, end] = extreme
    return Frame(picture, usable, clipped, ends)


def single(frame: Frame, terms: int = 3) -> Fields | None:
    """From one frame, less a plane (3 ``terms``) or a quadratic surface (6); None where no tile is usable."""
    # Where there are few tiles small ones leave more to choose from, and flatness is all that helps here.
    sides = _SIDES if frame.usable.size > _LARGE else _SIDES[-1:]
    spots, side = _spots(frame.picture, frame.usable & ~frame.clipped.all(axis=2), sides, _ALONE)
    if not spots:
        return None
    tiles = np.stack([_cut(frame.picture, y, x, side) for y, x in spots])
    clipped = np.stack([_cut(frame.clipped, y, x, side) for y, x in spots])
    down, across = np.mgrid[-1 : 1 : 1j * side, -1 : 1 : 1j * side]
    powers = np.stack([np.ones_like(across), across, down, across * down, across**2, down**2])[:terms]
    shapes = np.broadcast_to(powers.reshape(terms, -1), (len(spots) * 3, terms, side * side))
    rest = _without(tiles.reshape(len(spots) * 3, -1), shapes).reshape(tiles.shape)
    taken = tiles.var(axis=(2, 3)) - rest.var(axis=(2, 3))
    return Fields(_marked(rest, clipped), (tiles - rest).astype(np.float32), np.maximum(taken, 0.0), smooth=terms)


def pair(one: Frame, other: Frame) -> Fields | None:
    """From two neighbouring frames; None where no tile is usable in both."""
    if np.array_equal(one.picture, other.picture):
        empty = np.zeros((0, 3, _SIDES[0], _SIDES[0]), np.float32)
        return Fields(empty, empty, np.zeros((0, 3), np.float32), still=True)
    spots, side = _spots(one.picture, one.usable & ~one.clipped.all(axis=2))
    if not spots:
        return None
    flow, scale = _flow(one.picture, other.picture)
    height, width = one.usable.shape
    differences, sums, clipped = [], [], []
    smooth = [_soft(_luma(frame.picture), 1.5) for frame in (one, other)]
    for y, x in spots:
        dy, dx = _shift(smooth, _moved(flow, scale, y, x, side), (y, x), side)
        if not (0 <= y + dy <= height - side and 0 <= x + dx <= width - side):
            continue
        if not other.usable[y + dy : y + dy + side, x + dx : x + dx + side].all():
            continue
        first = _cut(one.picture, y, x, side, _MARGIN)
        second = _cut(other.picture, y + dy, x + dx, side, _MARGIN)
        differences.append((first - second)[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN])
        sums.append(first + second)
        clipped.append(_cut(one.clipped, y, x, side) | _cut(other.clipped, y + dy, x + dx, side))
    if not sums:
        return None
    change = np.stack(differences) * np.float32(np.sqrt(0.5))
    rest, level = _unmoved(change, np.stack(sums))
    taken = np.maximum((change**2).mean(axis=(2, 3)) - (rest**2).mean(axis=(2, 3)), 0.0)
    return Fields(_marked(rest, np.stack(clipped)), level, taken, smooth=2)  # the constant and the level itself


def _unmoved(differences: Tiles, sums: Tiles) -> tuple[Tiles, Tiles]:
    """The differences without what the ``sums`` (with a margin) predict, and the smooth level."""
    count, side = len(sums), differences.shape[-1]
    inner = (..., slice(_MARGIN, -_MARGIN), slice(_MARGIN, -_MARGIN))
    planes = sums.reshape(count * 3, *sums.shape[2:])
    soft = np.stack([_soft(plane, 1.0) for plane in planes])
    level = np.stack([_soft(plane, 2.0) for plane in planes])[inner] * np.float32(0.5)
    shapes = [np.ones((count * 3, side, side), np.float32), level]
    for picture in (planes, soft):
        shapes.append((np.roll(picture, -1, 2) - np.roll(picture, 1, 2))[inner])
        shapes.append((np.roll(picture, -1, 1) - np.roll(picture, 1, 1))[inner])
    stacked = np.stack(shapes, axis=1).reshape(count * 3, len(shapes), -1)
    rest = _without(differences.reshape(count * 3, -1), stacked)
    return rest.reshape(differences.shape), level.reshape(differences.shape)


def _without(values: npt.NDArray[np.float32], shapes: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Each row of ``values`` (m, p) less its fit by the rows of ``shapes`` (m, k, p), at its own variance again."""
    matrix = np.einsum("mkp,mlp->mkl", shapes, shapes, dtype=np.float64)
    target = np.einsum("mkp,mp->mk", shapes, values, dtype=np.float64)
    # Where the picture is flat its shapes vanish or agree: a small ridge keeps the fit solvable.
    size = np.maximum(np.einsum("mkk->mk", matrix), 1e-12)
    matrix /= np.sqrt(size[:, :, None] * size[:, None, :])
    matrix += 1e-6 * np.eye(matrix.shape[1])
    fit = np.linalg.solve(matrix, (target / np.sqrt(size))[..., None])[..., 0] / np.sqrt(size)
    rest = values - np.einsum("mk,mkp->mp", fit, shapes)
    freedom = values.shape[1] / (values.shape[1] - shapes.shape[1])
    return np.asarray(rest * np.sqrt(freedom), dtype=np.float32)


def _cut(picture: npt.NDArray[Any], y: int, x: int, side: int, margin: int = 0) -> npt.NDArray[Any]:
    """(3, side, side) of (H, W, 3) with a ``margin``, mirrored beyond the frame."""
    rows = _mirrored(y - margin, side + 2 * margin, picture.shape[0])
    columns = _mirrored(x - margin, side + 2 * margin, picture.shape[1])
    return np.ascontiguousarray(picture[rows[:, None], columns].transpose(2, 0, 1))


def _mirrored(start: int, count: int, size: int) -> npt.NDArray[np.intp]:
    index = np.abs(np.arange(start, start + count))
    return np.asarray(np.where(index >= size, 2 * (size - 1) - index, index), dtype=np.intp)


def _marked(rest: Tiles, clipped: npt.NDArray[np.bool_]) -> Tiles:
    return np.where(clipped, np.float32(np.nan), rest).astype(np.float32)


def _luma(picture: Encoded) -> npt.NDArray[np.float32]:
    weights = np.full((1, 3), 1 / 3, np.float32)
    return np.asarray(cv2.transform(picture, weights), dtype=np.float32).reshape(picture.shape[:2])


def _soft(plane: npt.NDArray[Any], sigma: float) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), dtype=np.float32)


def _spots(
    picture: Encoded, usable: Mask, sides: tuple[int, ...] = _SIDES, each: int = _EACH
) -> tuple[list[tuple[int, int]], int]:
    """Corners (y, x) of the flattest wholly usable tiles of every level, and the tiles' side."""
    height, width = usable.shape
    spots: list[tuple[int, int]] = []
    luma = _soft(_luma(picture), 1.5)
    across, down = (cv2.Sobel(luma, cv2.CV_32F, *order, ksize=3) for order in ((1, 0), (0, 1)))
    slope = np.asarray(across**2 + down**2, dtype=np.float32)
    for side in sides:
        if height < side or width < side:
            continue
        # Small plates have few tiles: let them overlap.
        step = side if height * width > _LARGE else side // 2
        whole = _sums((~usable).astype(np.float32), side, step) < 0.5
        flatness, level = _sums(slope, side, step)[whole], _sums(luma, side, step)[whole] / (side * side)
        corners = np.argwhere(whole) * step
        spots = [(int(y), int(x)) for y, x in corners[_flattest(flatness, level, each)]]
        if len(spots) >= _ENOUGH or (spots and side == sides[-1]):
            return spots, side
    return spots, sides[-1]


def _sums(plane: npt.NDArray[np.float32], side: int, step: int) -> npt.NDArray[np.float64]:
    total = np.asarray(cv2.integral(plane, sdepth=cv2.CV_64F))
    before, after = slice(None, -side, step), slice(side, None, step)
    sums = total[after, after] - total[before, after] - total[after, before] + total[before, before]
    return np.asarray(sums, dtype=np.float64)


def _flattest(flatness: npt.NDArray[np.float64], level: npt.NDArray[np.float64], each: int) -> npt.NDArray[np.intp]:
    stratum = np.clip((level + 0.1) * (_STRATA / 1.3), 0, _STRATA - 1).astype(int)
    order = np.argsort(flatness, kind="stable")
    chosen = [order[stratum[order] == k][:each] for k in range(_STRATA)]
    return np.sort(np.concatenate(chosen))


def _flow(one: Encoded, other: Encoded) -> tuple[npt.NDArray[np.float32], float]:
    """Where the pixels of ``one`` lie in ``other``, on a small picture; and plate pixels by its pixel."""
    height, width = one.shape[:2]
    scale = max(1.0, max(height, width) / _FLOW_SIDE)
    size = (max(16, round(width / scale)), max(16, round(height / scale)))
    small = [cv2.resize(_luma(picture), size, interpolation=cv2.INTER_AREA) for picture in (one, other)]
    codes = [np.clip(_soft(p, 1.0) * 200.0 + 20.0, 0, 255).astype(np.uint8) for p in small]
    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(search.calc(codes[0], codes[1], None), dtype=np.float32), scale


def _moved(flow: npt.NDArray[np.float32], scale: float, y: int, x: int, side: int) -> tuple[int, int]:
    """A tile's whole-pixel motion (dy, dx), as the flow has it."""
    top, left = int(y / scale), int(x / scale)
    part = flow[top : int((y + side) / scale) + 1, left : int((x + side) / scale) + 1].reshape(-1, 2)
    across, down = np.median(part, axis=0) * scale
    return round(float(down)), round(float(across))


def _shift(
    smooth: list[npt.NDArray[np.float32]], start: tuple[int, int], corner: tuple[int, int], side: int
) -> tuple[int, int]:
    """``start`` or, where the picture clearly says so, a whole-pixel motion near it.

    Of many motions of a flat tile one always fits its grain best by chance; taking that would take grain away.
    """
    (y, x), (dy, dx) = corner, start
    height, width = smooth[0].shape
    top, bottom = max(0, y - _CONTEXT), min(height, y + side + _CONTEXT)
    left, right = max(0, x - _CONTEXT), min(width, x + side + _CONTEXT)
    low_y, low_x = top + dy - _SEARCH, left + dx - _SEARCH
    high_y, high_x = bottom + dy + _SEARCH, right + dx + _SEARCH
    if low_y < 0 or low_x < 0 or high_y > height or high_x > width:
        return start
    error = cv2.matchTemplate(smooth[1][low_y:high_y, low_x:high_x], smooth[0][top:bottom, left:right], cv2.TM_SQDIFF)
    best = np.unravel_index(int(error.argmin()), error.shape)
    if error[best] < 0.7 * error[_SEARCH, _SEARCH]:
        return dy + int(best[0]) - _SEARCH, dx + int(best[1]) - _SEARCH
    return start
