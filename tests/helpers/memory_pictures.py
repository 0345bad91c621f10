"""What a segmenter reads and writes, in memory, and the clicks that were recorded with the real shots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from void_engine.segmentation import Click
from void_engine.segmentation.interface import Matte, Picture
from void_engine.segmentation.pictures import shrink


class MemoryPictures:
    """`void_engine.segmentation.interface.Pictures`; counts what is decoded at the canvas's size."""

    def __init__(self, frames: Sequence[Picture]) -> None:
        self.frames = frames
        self.decoded: list[int] = []
        self._small: dict[tuple[int, int], Picture] = {}

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        return self.frames[0].shape[0], self.frames[0].shape[1]

    def rgb(self, position: int) -> Picture:
        self.decoded.append(position)
        return self.frames[position]

    def proxy(self, position: int, long_side: int) -> Picture:
        key = (position, long_side)
        if key not in self._small:
            self._small[key] = shrink(self.frames[position], long_side)
        return self._small[key]


class MemoryMattes:
    """`void_engine.segmentation.interface.Mattes`; refuses what breaks its promises."""

    def __init__(self) -> None:
        self.mattes: dict[tuple[str, int], Matte] = {}
        self.sure: dict[tuple[str, int], float] = {}

    def has(self, name: str, position: int) -> bool:
        return (name, position) in self.mattes

    def write(self, name: str, position: int, matte: Matte, confidence: float) -> None:
        assert matte.dtype == np.float32
        assert np.isfinite(matte).all()
        assert 0.0 <= matte.min() <= matte.max() <= 1.0
        assert 0.0 <= confidence <= 1.0
        assert not self.has(name, position)
        self.mattes[name, position], self.sure[name, position] = matte, confidence

    def read(self, name: str, position: int) -> Matte:
        return self.mattes[name, position]

    def confidence(self, name: str, position: int) -> float:
        return self.sure[name, position]


def read_clicks(folder: Path, scale: float = 1.0, start: int = 0) -> tuple[Click, ...]:
    """A shot's ``clicks.json``, for its plate at ``scale`` from frame ``start`` on."""
    said = json.loads((folder / "clicks.json").read_text())
    return tuple(Click(said["frame"] - start, x * scale, y * scale) for x, y in said["positive"])


def overlap(matte: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union at one half; 1 where both are empty."""
    seen = matte > 0.5
    union = int((seen | truth).sum())
    return float((seen & truth).sum() / union) if union else 1.0
