"""What a reasoner says of a shot: typed, written as JSON, edited by people, read again.

Coordinates are shares of the picture (0 to 1, origin top left), so that they hold at any resolution; frames are the
plate's own numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Category = Literal["artifact", "physical"]
ANALYSIS_VERSION = 1


@dataclass(frozen=True)
class Region:
    """A rectangle at one frame."""

    frame: int
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True)
class Waypoint:
    """Where a thing's middle will be at a frame, once the object is gone."""

    frame: int
    x: float
    y: float


@dataclass(frozen=True)
class Belonging:
    """What goes with the object: clothes, what it carries. It joins the primary. ``matte``: a matte's name, or ""."""

    noun: str
    why: str
    regions: tuple[Region, ...] = ()
    matte: str = ""


@dataclass(frozen=True)
class Affected:
    """A thing that looks or behaves differently once the object is gone.

    ``category``: artifact (shadow, reflection, glow: it goes) or physical (it stays, and may move otherwise).
    ``first_frame`` and ``last_frame``: where it is affected. ``regions``: where it is, at some frames; ``path``: where
    it would be instead, where ``will_move``. ``matte``: the name of a matte that says it by the pixel, or "".
    """

    noun: str
    category: Category
    why: str
    first_frame: int
    last_frame: int
    will_move: bool = False
    movement: str = ""
    regions: tuple[Region, ...] = ()
    path: tuple[Waypoint, ...] = ()
    matte: str = ""
    confidence: float = 0.5


@dataclass(frozen=True)
class Analysis:
    """``scene``: the picture without the object, in words: the diffusion model's prompt where the artist gave none.

    ``warnings``: what the artist must be told; ``reasoner``: who said all this.
    """

    reasoner: str
    scene: str = ""
    belongings: tuple[Belonging, ...] = ()
    affected: tuple[Affected, ...] = ()
    confidence: float = 0.0
    warnings: tuple[str, ...] = ()
    version: int = ANALYSIS_VERSION
