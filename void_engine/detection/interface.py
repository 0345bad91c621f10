"""What a detector is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.float32]  # (H, W, 3), display-referred, 0 to 1


@dataclass(frozen=True)
class Detection:
    """A rectangle in the picture's pixels, origin top left, far edges outside; inside the picture and never empty.

    ``word``: the one that it answers, as it was asked. ``score``: 0 to 1.
    """

    word: str
    x0: float
    y0: float
    x1: float
    y1: float
    score: float


class Detector(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Part of the stage's key: weights and thresholds included."""

    def detect(self, picture: Picture, words: tuple[str, ...]) -> list[Detection]:
        """What is seen of ``words`` ("the shadow", "a red ball"), the surest first; a word may have several boxes.

        Deterministic. Raises ``EngineUnavailable`` where packages or weights are missing, ``ModelError`` where the
        weights cannot be used.
        """
