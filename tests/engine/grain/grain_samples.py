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


def grass(size: tuple[int, int] = (240, 320)) -> Picture:
    """Strokes of a pixel's width all over: no flat spot, and as fine as grain."""
    height, width = size
    rng = np.random.default_rng(11)
    field = np.zeros(size, np.float32)
    for _ in range(height * width // 9):
        at, angle, length = rng.uniform((0, 0), (width, height)), rng.normal(-1.57, 0.35), rng.uniform(5, 14)
        end = at + length * np.array([np.cos(angle), np.sin(angle)])
        ends = [tuple(int(value) for value in point) for point in (at, end)]
        cv2.line(field, ends[0], ends[1], float(rng.uniform(0, 1)), 1, cv2.LINE_AA)
    return _coloured(cv2.GaussianBlur(field, (0, 0), 0.6), 0.12, (0.8, 1.0, 0.6))


def gravel(size: tuple[int, int] = (240, 320)) -> Picture:
    """Stones of several pixels, of two colours."""
    height, width = size
    rng = np.random.default_rng(12)
    field, warm = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for _ in range(height * width // 35):
        at = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        radius = int(rng.integers(3, 8))
        cv2.circle(field, at, radius, float(rng.uniform(0, 1)), -1, cv2.LINE_AA)
        cv2.circle(warm, at, radius, float(rng.uniform(-1, 1)), -1, cv2.LINE_AA)
    field, warm = (cv2.GaussianBlur(each, (0, 0), 0.7) for each in (field, warm))
    return _coloured(field, 0.12, (1.0, 0.95, 0.85)) + 0.02 * warm[..., None] * np.array([1, 0, -1], np.float32)


def weave(size: tuple[int, int] = (240, 320)) -> Picture:
    """Cloth: threads of seven pixels, a little uneven."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
    uneven = 20 * cv2.GaussianBlur(np.random.default_rng(13).standard_normal(size).astype(np.float32), (0, 0), 20)
    return _coloured(
        np.sin(x * 0.9 + uneven) * np.cos(y * 0.8 - uneven) + 0.3 * np.sin(x * 0.11), 0.08, (1.0, 0.9, 0.8)
    )


def _coloured(field: npt.NDArray[np.float32], strong: float, tint: tuple[float, float, float]) -> Picture:
    even = (field - field.mean()) / field.std()
    return np.clip(0.45 + strong * even[..., None] * np.array(tint, np.float32), 0.03, 0.97).astype(np.float32)


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
