"""Pictures of known light with grain of known strength, shape and relation between the channels."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.grain import GrainModel, measure

Picture = npt.NDArray[np.float32]

# Grain that is wider than high, of channels that depend on each other, weakest in the highlights.
_ACROSS, _DOWN = 0.9, 0.5
_SHARED = 0.6
_GAIN = np.array([1.0, 0.8, 1.3], np.float32)


def noise(size: tuple[int, int], seed: int, *, across: float = _ACROSS, down: float = _DOWN) -> Picture:
    """(H, W, 3) of variance 1."""
    rng = np.random.default_rng(seed)
    shared, own = rng.standard_normal((*size, 1), np.float32), rng.standard_normal((*size, 3), np.float32)
    mixed = np.sqrt(_SHARED) * shared + np.sqrt(1 - _SHARED) * own
    soft = cv2.GaussianBlur(mixed.astype(np.float32), (0, 0), sigmaX=across, sigmaY=down)
    return np.asarray(soft / soft.std(axis=(0, 1)), np.float32)


def strength(level: Picture, base: float = 0.015) -> Picture:
    return np.asarray(base * _GAIN * (1.4 - level), np.float32)


def room(size: tuple[int, int], seed: int = 0) -> Picture:
    """Encoded light between 0.05 and 0.95: slopes, edges, things and a fine texture on a third of it."""
    height, width = size
    rng = np.random.default_rng([seed, 77])
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    picture = np.stack([0.45 + 0.35 * np.sin(x / 97 + k) * np.cos(y / 83 - k) for k in range(3)], axis=-1)
    for _ in range(40):
        left, top = rng.integers(0, width), rng.integers(0, height)
        wide, tall = rng.integers(20, 90, 2)
        picture[top : top + tall, left : left + wide] = rng.uniform(0.1, 0.9, 3)
    fine = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), 1.2)
    picture += (0.15 * fine * (x < width / 3))[..., None]
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 0.8), 0.05, 0.95).astype(np.float32)


class Clip:
    """``clean`` frames of a camera that moves by ``step`` (x, y) pixels a frame, and ``frames`` with grain."""

    def __init__(
        self,
        step: tuple[float, float],
        count: int = 6,
        size: tuple[int, int] = (240, 320),
        base: float = 0.015,
        seed: int = 0,
    ) -> None:
        height, width = size
        world = room((height + 80, width + 80), seed)
        self.clean = []
        for k in range(count):
            shift = np.array([[1, 0, 20 + k * step[0]], [0, 1, 20 + k * step[1]]], np.float64)
            flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
            self.clean.append(np.asarray(cv2.warpAffine(world, shift, (width, height), flags=flags), np.float32))
        self.noise = [noise(size, 1000 * seed + k) for k in range(count)]
        self.frames = [c + n * strength(c, base) for c, n in zip(self.clean, self.noise, strict=True)]


def reader(frames: list[Picture], usable: npt.NDArray[np.bool_] | None = None) -> Callable[[int], tuple]:
    kept = np.ones(frames[0].shape[:2], np.bool_) if usable is None else usable
    return lambda position: (frames[position], kept)


def measured(frames: list[Picture], usable: npt.NDArray[np.bool_] | None = None) -> GrainModel:
    return measure(reader(frames, usable), len(frames))


def neighbours(field: Picture) -> npt.NDArray[np.float64]:
    """(channel, 3): correlation with the pixel to the right, below, and diagonally below."""
    field = field - field.mean(axis=(0, 1))
    size = (field**2).mean(axis=(0, 1))
    pairs = ((field[:, 1:], field[:, :-1]), (field[1:], field[:-1]), (field[1:, 1:], field[:-1, :-1]))
    return np.stack([(a * b).mean(axis=(0, 1)) / size for a, b in pairs], axis=-1)


def spectrum(field: Picture, bands: int = 8) -> npt.NDArray[np.float64]:
    """(channel, band): power by distance from the frequency 0, up to the finest along an axis."""
    power = np.abs(np.fft.fft2(field, axes=(0, 1))) ** 2 / field[..., 0].size
    across, down = np.fft.fftfreq(field.shape[1]), np.fft.fftfreq(field.shape[0])
    band = np.minimum((np.hypot(across[None, :], down[:, None]) * 2 * bands).astype(int), bands)
    return np.stack([[power[..., c][band == k].mean() for k in range(bands)] for c in range(3)])
