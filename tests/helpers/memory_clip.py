"""A clip, its outputs and a stage context in memory, for tests of engines."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from void_client.errors import Cancelled

from void_engine.interface import KEEP, RGB, GenerateRequest, Quadmask, Share, Valid, Window


class MemoryClip:
    """A `void_engine.interface.Clip` of arrays. ``first`` is the first plate frame's number."""

    pixel_aspect = 1.0

    def __init__(
        self,
        plates: Iterable[RGB],
        quadmasks: Iterable[Quadmask],
        valids: Iterable[Valid] | None = None,
        *,
        first: int = 1001,
    ) -> None:
        self.plates = [np.asarray(plate, dtype=np.float32) for plate in plates]
        self.quadmasks = list(quadmasks)
        whole = np.ones(self.plates[0].shape[:2], dtype=bool)
        self.valids = list(valids) if valids is not None else [whole] * len(self.plates)
        self.first = first
        for array in (*self.plates, *self.quadmasks, *self.valids):
            array.setflags(write=False)

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(range(self.first, self.first + len(self.plates)))

    @property
    def canvas(self) -> Window:
        height, width = self.plates[0].shape[:2]
        return Window(0, 0, width - 1, height - 1)

    def plate(self, position: int) -> RGB:
        return self.plates[position]

    def valid(self, position: int) -> Valid:
        return self.valids[position]

    def quadmask(self, position: int) -> Quadmask:
        return self.quadmasks[position]


class CountingClip(MemoryClip):
    """Gives a new copy of a plate each time, as decoding would, and counts how many are alive at once."""

    def __init__(self, plates: Iterable[RGB], quadmasks: Iterable[Quadmask]) -> None:
        super().__init__(plates, quadmasks)
        self.decoded = 0
        self.most_alive = 0
        self._alive: list[weakref.ref[RGB]] = []

    def plate(self, position: int) -> RGB:
        copy = self.plates[position].copy()
        gc.collect(0)
        self._alive = [ref for ref in self._alive if ref() is not None] + [weakref.ref(copy)]
        self.decoded += 1
        self.most_alive = max(self.most_alive, len(self._alive))
        return copy


class MemoryFrames:
    """A `void_engine.interface.CleanFrames` that keeps only what the quadmask does not keep."""

    def __init__(self, clip: MemoryClip) -> None:
        self._clip = clip
        self.frames: dict[int, RGB] = {}
        self.confidence: dict[int, Share] = {}

    def has(self, position: int) -> bool:
        return position in self.frames

    def write(self, position: int, rgb: RGB, confidence: Share | None = None) -> None:
        assert rgb.shape == self._clip.plates[position].shape
        assert rgb.dtype == np.float32
        assert np.isfinite(rgb).all()
        hole = self._clip.quadmasks[position] != KEEP
        self.frames[position] = np.where(hole[..., None], rgb, np.float32(0.0))
        if confidence is not None:
            assert confidence.shape == hole.shape
            assert ((confidence >= 0) & (confidence <= 1)).all()
            self.confidence[position] = confidence

    def read(self, position: int) -> RGB:
        return self.frames[position]

    def result(self, position: int) -> RGB:
        """The plate with the clean pixels laid in."""
        plate = self._clip.plates[position]
        if position not in self.frames:
            return plate
        hole = self._clip.quadmasks[position] != KEEP
        return np.where(hole[..., None], self.frames[position], plate)


class MemoryContext:
    """A `void_engine.interface.StageContext`; ``cancel_at`` cancels when that step is reported."""

    def __init__(self, scratch: Path, *, cancel_at: int | None = None) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._scratch = scratch
        self.cancel_at = cancel_at
        self.steps: list[tuple[int, int, str]] = []

    @property
    def scratch(self) -> Path:
        return self._scratch

    def progress(self, step: int, of: int, note: str = "") -> None:
        self.steps.append((step, of, note))
        self.check()

    def check(self) -> None:
        if self.cancel_at is not None and self.steps and self.steps[-1][0] >= self.cancel_at:
            raise Cancelled("The job was cancelled.")


def request(seed: int = 0, options: Mapping[str, Any] | None = None) -> GenerateRequest:
    """A request as the pipeline makes it, but for the engine's options, which are given as they are."""
    return GenerateRequest(seed=seed, prompt="an empty room", options=dict(options or {}))
