"""Lays a measured grain on pixels that have none.

Promises: the same (seed, position, canvas pixel) gets the same grain, whatever region is asked for; every frame and
seed gets another. The same bits on one machine, whatever its number of threads; elsewhere but for rounding.
Must not touch pixels that come from a real frame: those carry their own grain.

White noise is made in tiles of the canvas, each from a generator of its own (NumPy's Philox, a counter-based one, keyed
by seed, frame and tile), so a region costs what it covers. Filters reach into the neighbouring tiles: no seams.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.grain.fields import Encoded
from void_engine.grain.model import RADIUS, GrainModel

_TILE = 128  # pixels
_TABLE = 2048  # steps of the strength by level, from _LOW to _HIGH
_LOW, _HIGH = -0.2, 1.8
_SMALL = 1e-4  # of a kernel's energy that may be left out
_FAR = 1 << 20  # tiles: keeps numbers positive left of and above the canvas


def synthesise(model: GrainModel, level: Encoded, key: tuple[int, int], origin: tuple[int, int]) -> Encoded:
    """Grain (H, W, 3) to add to a picture of the encoded ``level``.

    ``key`` is (job's seed, frame position), ``origin`` (x, y) the place of the picture's first pixel on the canvas.
    """
    noise = np.zeros(level.shape, np.float32)
    if not model.sigma.any() or level.size == 0:
        return noise
    white = _white(key, origin, level.shape[:2])
    mixing = model.mixing.astype(np.float32)
    for channel in range(3):
        plane = white[0] * mixing[channel, 0]
        # Written out: a matrix product may round differently from region to region.
        for other in range(1, channel + 1):
            plane += white[other] * mixing[channel, other]
        noise[..., channel] = _filtered(plane, model.kernel[channel], origin, level.shape[:2])
        noise[..., channel] *= strength_at(model, level[..., channel], channel)
    return noise


def _white(key: tuple[int, int], origin: tuple[int, int], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Independent noise (3, h, w) of all tiles that the region with the filter's reach touches."""
    rows, columns = (_touched(origin[1], size[0]), _touched(origin[0], size[1]))
    white = np.empty((3, len(rows) * _TILE, len(columns) * _TILE), np.float32)
    for down, row in enumerate(rows):
        for across, column in enumerate(columns):
            seed = np.random.SeedSequence([abs(key[0]), key[1], row + _FAR, column + _FAR])
            tile = np.random.Generator(np.random.Philox(seed)).standard_normal((3, _TILE, _TILE), dtype=np.float32)
            top, left = down * _TILE, across * _TILE
            white[:, top : top + _TILE, left : left + _TILE] = tile
    return white


def _touched(start: int, size: int) -> range:
    # Twice the reach: OpenCV rounds the last pixels of a row, which fill no vector, differently.
    return range((start - RADIUS) // _TILE, (start + size + 16 + RADIUS - 1) // _TILE + 1)


def _filtered(
    plane: npt.NDArray[np.float32], kernel: npt.NDArray[np.float64], origin: tuple[int, int], size: tuple[int, int]
) -> npt.NDArray[np.float32]:
    total = None
    for down, across in _separated(kernel.tobytes()):
        part = cv2.sepFilter2D(plane, cv2.CV_32F, across, down, borderType=cv2.BORDER_REFLECT_101)
        total = part if total is None else total + part
    top = origin[1] - _touched(origin[1], size[0]).start * _TILE
    left = origin[0] - _touched(origin[0], size[1]).start * _TILE
    return np.asarray(total)[top : top + size[0], left : left + size[1]]


@lru_cache(maxsize=16)
def _separated(kernel: bytes) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """The kernel as a sum of few (column, row) products, which filter several times faster; most grain needs one."""
    side = 2 * RADIUS + 1
    columns, sizes, rows = np.linalg.svd(np.frombuffer(kernel, dtype=np.float64).reshape(side, side))
    left_out = 1.0 - np.cumsum(sizes**2)
    count = 1 + int(np.count_nonzero(left_out > _SMALL))
    gain = 1.0 / np.sqrt((sizes[:count] ** 2).sum())
    return [((columns[:, k] * sizes[k] * gain).astype(np.float32), rows[k].astype(np.float32)) for k in range(count)]


def strength_at(model: GrainModel, level: npt.NDArray[np.float32], channel: int) -> npt.NDArray[np.float32]:
    """`GrainModel.strength` of many pixels: from a table, several times faster."""
    table = model.strength(np.linspace(_LOW, _HIGH, _TABLE), channel).astype(np.float32)
    scale = np.float32((_TABLE - 1) / (_HIGH - _LOW))
    index = (level - np.float32(_LOW)) * scale + np.float32(0.5)
    # fmax, not maximum: not a number counts as dark.
    index = np.fmin(np.fmax(index, np.float32(0.0)), np.float32(_TABLE - 1))
    return np.asarray(table[index.astype(np.intp)], dtype=np.float32)
