"""Grounding DINO: boxes for words in a picture. This side of it is light; the model is loaded when it is first asked.

Promises that the same picture and words give the same boxes. Must not: load torch on import, or use the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from void_client.errors import JobError

from void_engine.detection.interface import Detection, Picture
from void_engine.models.detector_folder import WEIGHTS
from void_engine.models.hashing import sha256
from void_engine.models.weights import need

if TYPE_CHECKING:
    from void_engine.detection.grounding_dino_hf import Model

_VERSION = "1"


@dataclass(frozen=True)
class Options:
    """``box_threshold``: the score that a box must have; ``text_threshold``: the likelihood that it must give a word.

    Both as in the authors' own example. ``short_side`` and ``long_side``: the picture's size for the model, in pixels,
    as published in its ``preprocessor_config.json``.
    """

    box_threshold: float = 0.35
    text_threshold: float = 0.25
    short_side: int = 800
    long_side: int = 1333

    def __post_init__(self) -> None:
        if not (0 < self.box_threshold < 1 and 0 < self.text_threshold < 1):
            raise JobError("The detector's thresholds must lie between 0 and 1.")
        if not 32 <= self.short_side <= self.long_side:
            raise JobError("The detector's picture has a short side of 32 pixels or more, and not above the long one.")


class GroundingDino:
    name = "grounding-dino"

    def __init__(self, folder: Path, *, device: str = "", options: Options | None = None) -> None:
        """``folder``: see `void_engine.models.detector_folder`. ``device``: empty for the GPU where there is one.

        Raises ``EngineUnavailable`` where packages are missing.
        """
        need("torch", "transformers", "tokenizers", "safetensors")
        self._folder = folder
        self._device = device
        self._options = options or Options()
        self._loaded: Model | None = None
        self._digest = ""

    @property
    def version(self) -> str:
        """Of this code, the weights and the options."""
        self._digest = self._digest or sha256(self._folder / WEIGHTS)[:16]
        return "-".join([_VERSION, self._digest, *(str(value) for value in vars(self._options).values())])

    def detect(self, picture: Picture, words: tuple[str, ...]) -> list[Detection]:
        if self._loaded is None:
            import torch

            from void_engine.detection.grounding_dino_hf import Model

            device = torch.device(self._device or ("cuda" if torch.cuda.is_available() else "cpu"))
            self._loaded = Model(self._folder, device)
        return self._loaded.detect(picture, words, self._options)
