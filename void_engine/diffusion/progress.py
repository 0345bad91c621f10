"""What a run tells while it runs, and how it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Progress:
    """``done`` of ``of`` in a stage: text (prompts), encode (frames), noise (frames), denoise (transformer calls),
    decode (frames). In ``denoise``: the sampling step about to be done, counted from 1, and its window, from 0.
    ``preview``: (F, h, w, 3) in [0, 1], one small picture for each latent, where one is due. ``done`` goes back only
    where memory ran out and the stage begins again.
    """

    stage: str
    done: int
    of: int
    step: int = 0
    steps: int = 0
    window: int = 0
    windows: int = 0
    preview: npt.NDArray[np.float32] | None = None


Callback = Callable[[Progress], None]
"""Called often, at least before every call of the transformer. What it raises ends the run: so a run is cancelled."""


def silent(progress: Progress) -> None:
    """The callback of those who do not listen."""
