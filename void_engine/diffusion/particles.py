"""White noise as particles that move with a flow.

Promises: whatever the flow, every noise that `ParticleNoise.latent` gives is exactly unit, white
and Gaussian: a cell is a weighted sum of the particles inside it, no particle is in two cells, and
particles are independent. What happens to a particle depends on places only, never on values, so
this holds given the flow. Memory is bounded by the frame's size. Must not read frames.

A particle is a piece of the picture: a footprint (the area that it stands for now, in fine cells)
and a unit normal value for each channel. As a piece of a white-noise measure it would have the
footprint as its variance; the value is that piece divided by its deviation.

- It lies at a random place in its footprint, and counts for the cell where it lies. All in the
  middle, a pan by 0.13 cells would have 0.77 of the correlation that it can have, and one by 0.1
  too much; anywhere at all, a jitter of the flow would always cost something.
- A split (the footprint has grown over two fine cells) is a Brownian bridge: a value u becomes
  (u + e) / sqrt 2 and (u - e) / sqrt 2 with fresh e. The parts are independent and unit, and their
  sum is what it was. Without it an expanding picture would lose its noise to fresh noise.
- A merge (more than four in a fine cell) is a sum weighted by the roots of the footprints.
- Particles that leave the frame or get occluded go; fine cells that nothing has reached are
  filled with fresh ones.

Fine cells tell only where holes and crowds are: the latent is summed over the particles
themselves. A fine cell that is empty by chance, between two full ones, therefore costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.diffusion.flow import Flow

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Values = npt.NDArray[np.float32]  # (n, channels), unit normal
Bools = npt.NDArray[np.bool_]

LATENT: Final = 8  # pixels of a frame along a latent cell's edge
_TAG = 0x766F6964  # apart from others' streams of the same seed
_DITHER = 0.4  # of the footprint's edge: how far from its middle a particle may lie
_SPLIT_ABOVE = 2.0  # fine cells
_CROWD = 4  # particles in a fine cell
_HOLE_BELOW = 0.4  # covered share of the 3 x 3 fine cells around: a straight edge's first empty cell has a third
_LEAST = 1 / 16  # fine cells: errors of the flow's derivative add up, and no footprint may vanish
_GROWTH = (0.25, 4.0)  # of a footprint in one step: beyond lies an edge of motion, where nothing grows
_AGREE = (0.5, 0.01)  # pixels squared, and a share of the motion squared, between there and back


@dataclass(frozen=True)
class Cloud:
    """Particles; lengths in fine cells, from the frame's upper left corner."""

    middle: Floats  # (2, n), y and x of the footprint's middle: what moves
    dither: Floats  # (2, n), of the footprint's edge: where in it the particle lies
    area: Floats  # (n,), of the footprint
    tall: Bools  # (n,), whether it is split in y next, else in x
    values: Values  # (n, channels)

    @property
    def place(self) -> Floats:
        return self.middle + self.dither * np.sqrt(self.area)

    def take(self, which: Indices | Bools) -> Cloud:
        return Cloud(
            self.middle[:, which], self.dither[:, which], self.area[which], self.tall[which], self.values[which]
        )


class ParticleNoise:
    """One field of noise; `advance` carries it along a flow."""

    def __init__(self, height: int, width: int, *, seed: int, channels: int = 16, subdivision: int = 4) -> None:
        """``height`` and ``width`` in pixels of the frame, multiples of 8."""
        if height < LATENT or width < LATENT or height % LATENT or width % LATENT:
            raise ValueError(f"height and width must be multiples of {LATENT}, not {height} x {width}")
        if channels < 1 or subdivision < 1:
            raise ValueError(f"channels and subdivision must be 1 or more, not {channels} and {subdivision}")
        self._rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy=seed, spawn_key=(_TAG,))))
        self._frame = (height, width)
        self._coarse = (height // LATENT, width // LATENT)
        self._fine = (self._coarse[0] * subdivision, self._coarse[1] * subdivision)
        self._subdivision = subdivision
        self._channels = channels
        self._cells = self._fine[0] * self._fine[1]
        self._cloud = self._fresh(np.arange(self._cells))

    def __len__(self) -> int:
        return len(self._cloud.area)

    def latent(self) -> npt.NDArray[np.float32]:
        """The noise now, (channels, height / 8, width / 8)."""
        cloud, cells = self._cloud, self._coarse[0] * self._coarse[1]
        cell = self._latent_cell(cloud.place)
        root = np.sqrt(cloud.area)
        total = np.sqrt(np.bincount(cell, cloud.area, cells))
        sums = [np.bincount(cell, root * cloud.values[:, c], cells) / total for c in range(self._channels)]
        return np.asarray(sums, dtype=np.float32).reshape(self._channels, *self._coarse)

    def advance(self, forward: Flow, backward: Flow | None = None) -> None:
        """Moves on by ``forward``; ``backward``, the flow from the next frame to this one, tells what gets occluded."""
        if forward.shape != (*self._frame, 2) or (backward is not None and backward.shape != forward.shape):
            raise ValueError(f"the flow must be {(*self._frame, 2)}, not {forward.shape}")
        if not (np.isfinite(forward).all() and (backward is None or np.isfinite(backward).all())):
            raise ValueError("the flow has values that are not finite")
        moved = self._kept_inside(self._moved(forward, backward))
        self._cloud = self._nowhere_bare(self._merged(self._split(self._filled(moved))))

    def _moved(self, forward: Flow, backward: Flow | None) -> Cloud:
        cloud, pixels = self._cloud, LATENT / self._subdivision
        # Pixel centres lie at whole numbers in a flow, at halves in the plane.
        at = cloud.middle * pixels - 0.5
        growth = _determinant(forward)
        growth = np.where((growth > _GROWTH[0]) & (growth < _GROWTH[1]), growth, np.float32(1))
        dx, dy, grown = _sample((forward[..., 0], forward[..., 1], growth), at)
        step = np.stack([dy, dx])
        moved = replace(cloud, middle=cloud.middle + step / pixels, area=np.maximum(cloud.area * grown, _LEAST))
        if backward is None:
            return moved
        bx, by = _sample((backward[..., 0], backward[..., 1]), at + step)
        error = (dx + bx) ** 2 + (dy + by) ** 2
        return moved.take(error <= _AGREE[0] + _AGREE[1] * (dx**2 + dy**2 + bx**2 + by**2))

    def _kept_inside(self, cloud: Cloud) -> Cloud:
        y, x = cloud.place
        inside = (y >= 0) & (x >= 0) & (y < self._fine[0]) & (x < self._fine[1])
        return cloud if inside.all() else cloud.take(inside)

    def _filled(self, cloud: Cloud) -> Cloud:
        """Fresh particles where none came: what the motion uncovered, and what came in at the border."""
        cell = self._fine_cell(cloud.place)
        empty = np.bincount(cell, minlength=self._cells) == 0
        covered = np.asarray(np.bincount(cell, cloud.area, self._cells), dtype=np.float64).reshape(self._fine)
        # Beyond the frame nothing is covered, so that a border fills like any other edge.
        hole = empty & (_box(covered) < 9 * _HOLE_BELOW).ravel()
        return _joined(cloud, self._fresh(np.flatnonzero(hole))) if hole.any() else cloud

    def _nowhere_bare(self, cloud: Cloud) -> Cloud:
        """Fresh particles in each latent cell that holds none: coarse subdivisions come to that, finer ones do not."""
        bare = np.bincount(self._latent_cell(cloud.place), minlength=self._coarse[0] * self._coarse[1]) == 0
        if not bare.any():
            return cloud
        cells = bare.reshape(self._coarse).repeat(self._subdivision, 0).repeat(self._subdivision, 1)
        return _joined(cloud, self._fresh(np.flatnonzero(cells)))

    def _split(self, cloud: Cloud) -> Cloud:
        while (large := cloud.area > _SPLIT_ABOVE).any():
            parent = cloud.take(large)
            fresh = self._rng.standard_normal(parent.values.shape, dtype=np.float32)
            step = 0.25 * np.sqrt(parent.area) * np.stack([parent.tall, ~parent.tall])
            halves = [
                Cloud(
                    parent.middle + side * step,
                    self._dither(len(parent.area)),
                    parent.area / 2,
                    ~parent.tall,
                    np.asarray((parent.values + side * fresh) * np.sqrt(0.5), dtype=np.float32),
                )
                for side in (-1, 1)
            ]
            cloud = _joined(cloud.take(~large), *(self._kept_inside(half) for half in halves))
        return cloud

    def _merged(self, cloud: Cloud) -> Cloud:
        """Particles of one quarter of a crowded fine cell become one, so no cell holds more than four of them."""
        place = cloud.place
        cell = self._fine_cell(place)
        crowded = np.bincount(cell, minlength=self._cells)[cell] > _CROWD
        if not crowded.any():
            return cloud
        half = place[:, crowded] % 1 >= 0.5
        quarter = 4 * cell[crowded] + 2 * half[0] + half[1]
        order = np.argsort(quarter, kind="stable")
        some, start = cloud.take(np.flatnonzero(crowded)[order]), np.flatnonzero(np.diff(quarter[order], prepend=-1))
        area = np.add.reduceat(some.area, start)
        root = np.sqrt(some.area).astype(np.float32)[:, None]
        merged = Cloud(
            # Where they lie, not where their footprints do: the sum must stay in this cell.
            np.add.reduceat(some.place * some.area, start, axis=1) / area,
            np.zeros((2, len(start))),
            area,
            some.tall[start],
            np.asarray(np.add.reduceat(some.values * root, start, axis=0) / np.sqrt(area)[:, None], dtype=np.float32),
        )
        return _joined(cloud.take(~crowded), self._kept_inside(merged))

    def _fresh(self, cells: Indices) -> Cloud:
        """One new particle in each of the fine ``cells``."""
        middle = np.stack(np.divmod(cells, self._fine[1])) + 0.5
        values = self._rng.standard_normal((len(cells), self._channels), dtype=np.float32)
        return Cloud(middle, self._dither(len(cells)), np.ones(len(cells)), cells % 2 == 0, values)

    def _dither(self, count: int) -> Floats:
        return self._rng.uniform(-_DITHER, _DITHER, (2, count))

    def _fine_cell(self, place: Floats) -> Indices:
        y, x = place.astype(np.intp)
        return np.asarray(y * self._fine[1] + x)

    def _latent_cell(self, place: Floats) -> Indices:
        y, x = place.astype(np.intp) // self._subdivision
        return np.asarray(y * self._coarse[1] + x)


def _joined(*clouds: Cloud) -> Cloud:
    return Cloud(
        np.concatenate([cloud.middle for cloud in clouds], axis=1),
        np.concatenate([cloud.dither for cloud in clouds], axis=1),
        np.concatenate([cloud.area for cloud in clouds]),
        np.concatenate([cloud.tall for cloud in clouds]),
        np.concatenate([cloud.values for cloud in clouds]),
    )


def _box(field: Floats) -> Floats:
    """The sum over 3 x 3, zero beyond the border."""
    padded = np.pad(field, 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return np.asarray(rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:])


def _determinant(flow: Flow) -> npt.NDArray[np.float32]:
    """How much the flow enlarges areas, for each pixel."""

    def slope(component: int, dx: int) -> npt.NDArray[np.float32]:
        part = np.ascontiguousarray(flow[..., component])
        found = np.asarray(cv2.Scharr(part, cv2.CV_32F, dx, 1 - dx, scale=1 / 32), dtype=np.float32)
        return found.reshape(part.shape)

    grown = (1 + slope(0, 1)) * (1 + slope(1, 0)) - slope(0, 0) * slope(1, 1)
    return np.asarray(grown, dtype=np.float32)


def _sample(fields: tuple[npt.NDArray[np.float32], ...], at: Floats) -> list[Floats]:
    """Each field (H, W) at the pixel positions (2, n), bilinear; beyond the border as at the border."""
    height, width = fields[0].shape
    y, x = np.clip(at[0], 0, height - 1), np.clip(at[1], 0, width - 1)
    top, left = np.minimum(y.astype(np.intp), height - 2), np.minimum(x.astype(np.intp), width - 2)
    v, u = y - top, x - left
    corner = top * width + left
    weights = ((0, (1 - v) * (1 - u)), (1, (1 - v) * u), (width, v * (1 - u)), (width + 1, v * u))
    found = []
    for field in fields:
        flat = np.ascontiguousarray(field).ravel()
        found.append(np.asarray(sum(flat[corner + step] * weight for step, weight in weights), dtype=np.float64))
    return found
