"""What a reasoner is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from void_engine.reasoning.analysis import Analysis
from void_engine.segmentation.interface import Mattes, Pictures, Tick

PRIMARY = "primary"  # the name of the object's own matte
NOBODY = "none"  # who reasons where nobody does: the object alone, and what the artist drew


@dataclass(frozen=True)
class ReasonRequest:
    """``numbers``: the plate's frame numbers, by position. ``mattes``: holds `PRIMARY`; takes what the reasoner finds.

    ``words``: what the artist says of the object and of what it causes; may be empty. ``frame_rate``: 0 where it is not
    known. ``scratch``: a folder that survives a kill.
    """

    pictures: Pictures
    numbers: tuple[int, ...]
    mattes: Mattes
    scratch: Path
    words: str = ""
    frame_rate: float = 0.0


class Reasoner(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Part of the stage's key: prompts and schema included."""

    @property
    def cloud(self) -> bool:
        """Whether pictures leave the building."""

    def reason(self, request: ReasonRequest, tick: Tick) -> Analysis:
        """Raises ``EngineUnavailable`` (no key, no endpoint, no package), ``RetryableError`` (the service is away),
        ``JobFailed`` (it answered nothing usable), ``Cancelled`` through ``tick``.
        """
