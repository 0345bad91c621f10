"""What a segmenter is given and what it gives back.

Positions count the clip's frames from 0. Pixels are of the plate's canvas, origin top left, and a pixel's centre lies
at half: x = 0.5 is the first column's middle. Mattes are float, 0 outside to 1 inside the object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]  # (H, W, 3), display-referred
Matte = npt.NDArray[np.float32]  # (H, W), 0 to 1
Tick = Callable[[int, int, str], None]  # done, of, what; raises Cancelled


@dataclass(frozen=True)
class Click:
    """A point on the object, or (not ``positive``) beside it."""

    position: int
    x: float
    y: float
    positive: bool = True


@dataclass(frozen=True)
class Box:
    """A rectangle around the object; the far edges lie outside: x0 <= x < x1."""

    position: int
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True)
class Prompt:
    """One object: what the artist said of it, on any frames. ``mattes``: position → matte on the canvas."""

    name: str
    clicks: tuple[Click, ...] = ()
    boxes: tuple[Box, ...] = ()
    mattes: dict[int, Matte] = field(default_factory=dict)


class Pictures(Protocol):
    """The clip in eight bits; frames are decoded when asked for. Treat them as read-only."""

    def __len__(self) -> int: ...

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the canvas."""

    def rgb(self, position: int) -> Picture:
        """Display-referred, at the canvas's size."""

    def proxy(self, position: int, long_side: int) -> Picture:
        """The same, no larger than ``long_side``; kept on disk, so asking again is cheap."""


class Mattes(Protocol):
    """Where mattes go: one per object and frame, on disk. ``confidence`` 0 to 1."""

    def has(self, name: str, position: int) -> bool: ...

    def write(self, name: str, position: int, matte: Matte, confidence: float) -> None: ...

    def read(self, name: str, position: int) -> Matte:
        """Zero where nothing was written."""

    def confidence(self, name: str, position: int) -> float: ...


class Segmenter(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Part of the stage's key: change it whenever mattes change."""

    def segment(self, pictures: Pictures, prompts: tuple[Prompt, ...], out: Mattes, tick: Tick) -> None:
        """A matte for every prompt and frame, forwards and backwards in time from where it was prompted.

        Deterministic; may be called again after a kill, and does not redo what ``out`` has. Raises ``JobError`` for a
        prompt that names no pixel, ``EngineUnavailable`` where its packages or weights are missing.
        """
