"""The plate's grain: measured once, laid on pixels that were synthesised without any.

Promises noise with the plate's strength per channel and level and about its grain size,
different on every frame and the same for the same seed. Must not touch pixels that come from a
real frame: those carry their own grain.

Strength is the median absolute deviation of what a small blur takes away, or of the change to the
next frame where that is less, in the quiet quarter of 16-pixel blocks of a level (texture makes the
others too strong), after the usual block-based noise estimation of denoisers. Grain size follows
from the correlation of neighbouring pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import pixels
from void_engine.cleanplate.shaper import Encoded

_LEVELS = 8  # bins of encoded level from 0 to 1
_BLOCK = 16


@dataclass(frozen=True)
class GrainModel:
    """``sigma`` (3, levels): standard deviation of the encoded value; ``size``: blur in plate pixels, 0 is white."""

    sigma: npt.NDArray[np.float32]
    size: float

    def to_json(self) -> dict[str, Any]:
        return {"sigma": self.sigma.tolist(), "size": self.size}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> GrainModel:
        return cls(np.array(value["sigma"], dtype=np.float32), float(value["size"]))


def measure(encoded: Encoded, usable: npt.NDArray[np.bool_], after: Encoded | None = None) -> GrainModel:
    """The grain of one frame, from the blocks that are ``usable`` (H, W) throughout.

    ``after`` is the next frame, where there is one: what does not change from frame to frame is texture.
    """
    height, width = (side - side % _BLOCK for side in usable.shape)
    sigma = np.zeros((3, _LEVELS), dtype=np.float32)
    blocks = usable[:height, :width].reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    whole = blocks.all(axis=(1, 3)).ravel()
    if not whole.any():
        return GrainModel(sigma, 0.0)
    correlation: list[float] = []
    for channel in range(3):
        plane = np.ascontiguousarray(encoded[:height, :width, channel])
        rest = _tiles(plane - pixels.blurred(plane, 2.0))[whole]
        strength = _deviation(rest)
        if after is not None:
            # Two frames' grain adds up in their difference; a moving camera only makes it larger.
            change = _tiles(plane - after[:height, :width, channel])[whole] * np.float32(np.sqrt(0.5))
            strength = np.minimum(strength, _deviation(change - np.median(change, axis=(1, 2), keepdims=True)))
        quiet = strength <= np.quantile(strength, 0.25)
        sigma[channel] = _curve(_tiles(plane)[whole].mean(axis=(1, 2)), strength)
        energy = float((rest[quiet] ** 2).mean())
        if energy > 1e-12:
            correlation.append(float((rest[quiet][:, :, 1:] * rest[quiet][:, :, :-1]).mean()) / energy)
    return GrainModel(sigma, _size(correlation))


def _deviation(rest: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Standard deviation of each tile (n, 16, 16), from its median deviation."""
    return (np.median(np.abs(rest), axis=(1, 2)) * 1.4826).astype(np.float32)


def _tiles(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    rows, columns = plane.shape[0] // _BLOCK, plane.shape[1] // _BLOCK
    return plane.reshape(rows, _BLOCK, columns, _BLOCK).swapaxes(1, 2).reshape(-1, _BLOCK, _BLOCK)


def _curve(level: npt.NDArray[np.float32], strength: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    index = np.clip((level * _LEVELS).astype(int), 0, _LEVELS - 1)
    found = [k for k in range(_LEVELS) if np.count_nonzero(index == k) >= 4]
    if not found:
        return np.full(_LEVELS, np.quantile(strength, 0.25), dtype=np.float32)
    values = [float(np.quantile(strength[index == k], 0.25)) for k in found]
    return np.interp(np.arange(_LEVELS), found, values).astype(np.float32)


def _size(correlation: list[float]) -> float:
    # A Gaussian of deviation s gives white noise a neighbour correlation of exp(-1 / (4 s^2)).
    rho = float(np.mean(correlation)) if correlation else 0.0
    return 0.0 if rho < 0.05 else min(2.5, math.sqrt(-1.0 / (4.0 * math.log(min(rho, 0.95)))))


def synthesise(model: GrainModel, level: Encoded, key: tuple[int, int]) -> Encoded:
    """Grain for a picture of the given encoded ``level`` (H, W, 3); ``key`` is (job's seed, frame position)."""
    generator = np.random.default_rng([abs(key[0]), key[1]])
    noise = generator.standard_normal(level.shape, dtype=np.float32)
    if model.size > 0.0:
        noise = pixels.blurred(noise, model.size)
        noise /= max(float(noise.std()), 1e-6)
    at = np.clip(level * _LEVELS - 0.5, 0.0, _LEVELS - 1.0)
    steps = np.arange(_LEVELS)
    for channel in range(3):
        noise[..., channel] *= np.interp(at[..., channel], steps, model.sigma[channel]).astype(np.float32)
    return np.asarray(noise, dtype=np.float32)
