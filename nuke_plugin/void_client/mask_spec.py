"""What the artist said of the object: ``MaskSpec`` travels in a job, ``MaskFile`` is how people write it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from .errors import JobError
from .frame_ref import FrameRef
from .sequence import FramePattern

AFFECTED_INPUT = "affected"
"""The affected matte's name among a job's inputs ("plate", "matte" …)."""


def check_ascending(frames: tuple[FrameRef, ...], kind: str) -> None:
    """Raises ``ValueError``."""
    if not frames:
        raise ValueError(f"the {kind} has no frames")
    for before, after in zip(frames, frames[1:]):
        if after.number <= before.number:
            raise ValueError(f"{kind} frames are not ascending at {after.number}")


@dataclass(frozen=True)
class ClickSpec:
    """A point on the object, or beside it: plate frame number; pixels of the display window from its top left."""

    frame: int
    x: float
    y: float
    positive: bool = True


@dataclass(frozen=True)
class BoxSpec:
    """A rectangle around the object, as `ClickSpec` counts."""

    frame: int
    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not (self.x0 < self.x1 and self.y0 < self.y1):
            raise ValueError(f"the box at frame {self.frame} is empty: x0 must be below x1, and y0 below y1")


def check_finite(options: Mapping[str, Any], what: str) -> None:
    """Raises ``ValueError`` for an infinite number or none: neither can be sent, nor hashed."""
    for key, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"the {what} {key!r} must be a number, not {value}")


@dataclass(frozen=True)
class MaskSpec:
    """How the quadmask is worked out: what the artist said of the object, and who reasons about what it caused.

    ``mattes``: the object's own matte, on any of the plate's frames. ``affected``: what its removal changes, drawn by
    the artist, on any of them: there it stands instead of the reasoner's affected region. ``fallback``: the reasoner
    that takes over where the first cannot. ``words``: the artist's, about the object and what it does. ``analysis``: an
    edited `Analysis` as JSON, instead of a reasoner's. ``options``: the quadmask's own (grow, cells …).
    """

    clicks: tuple[ClickSpec, ...] = ()
    boxes: tuple[BoxSpec, ...] = ()
    mattes: tuple[FrameRef, ...] = ()
    segmenter: str = "track"
    reasoner: str = "motion"
    fallback: str = ""
    words: str = ""
    analysis: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    affected: tuple[FrameRef, ...] = ()

    def __post_init__(self) -> None:
        check_finite(self.options, "option of the quadmask")
        if not (self.clicks or self.boxes or self.mattes):
            if self.affected:
                raise ValueError(
                    "the affected matte says what changes, but nobody says what goes: give the object's clicks, boxes "
                    "or matte as well"
                )
            raise ValueError("the masks name no object: give clicks, boxes or a matte")
        if self.mattes:
            check_ascending(self.mattes, "matte")
        if self.affected:
            check_ascending(self.affected, "affected matte")

    def check(self, plate: set[int]) -> None:
        """Every frame that is named is one of ``plate``. Raises ``ValueError``."""
        for kind, places in (("clicks", self.clicks), ("boxes", self.boxes)):
            for item in places:
                if item.frame not in plate:
                    raise ValueError(f"one of the {kind} is on frame {item.frame}, which the plate does not have")
        for kind, drawn in (("matte", self.mattes), ("affected matte", self.affected)):
            strange = {frame.number for frame in drawn} - plate
            if strange:
                raise ValueError(f"the {kind} has frame {min(strange)}, which the plate does not have")


@dataclass(frozen=True)
class MaskFile:
    """`MaskSpec` as people write it. ``matte`` and ``affected``: frame patterns, any of the plate's frames may be
    there; ``analysis``: a path."""

    clicks: tuple[ClickSpec, ...] = ()
    boxes: tuple[BoxSpec, ...] = ()
    matte: Optional[str] = None
    segmenter: str = "track"
    reasoner: str = "motion"
    fallback: str = ""
    words: str = ""
    analysis: Optional[str] = None
    options: dict[str, Any] = field(default_factory=dict)
    affected: Optional[str] = None

    def files(self, frames: Sequence[int], base: Path) -> dict[tuple[str, int], Path]:
        """The mattes that are there, by (input, frame number). Raises ``JobError`` for a bad pattern, and where the
        affected matte has none of the plate's frames: without it the reasoner's region would count instead."""
        found: dict[tuple[str, int], Path] = {}
        for kind, text in (("matte", self.matte), (AFFECTED_INPUT, self.affected)):
            if text is not None:
                pattern = FramePattern.parse(text, base)
                there = {(kind, number): pattern.path(number) for number in frames if pattern.path(number).is_file()}
                if kind == AFFECTED_INPUT and not there:
                    raise JobError(
                        f"The affected matte {text} has none of the plate's frames.",
                        hint="Check the path, or leave it out.",
                        details={"input": AFFECTED_INPUT, "file": str(pattern.path(frames[0]))},
                    )
                found.update(there)
        return found

    def resolve(self, mattes: tuple[FrameRef, ...], base: Path, affected: tuple[FrameRef, ...] = ()) -> MaskSpec:
        """Raises ``JobError`` where the analysis cannot be read, or no object is named."""
        text = ""
        if self.analysis is not None:
            path = base / Path(self.analysis).expanduser()
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as problem:
                message = f"The analysis {path} cannot be read: {problem}."
                raise JobError(message, details={"file": str(path)}) from problem
        try:
            return MaskSpec(
                self.clicks, self.boxes, mattes, self.segmenter, self.reasoner, self.fallback, self.words, text,
                dict(self.options), affected,
            )  # fmt: skip
        except ValueError as problem:
            raise JobError(f"masks: {problem}.") from problem
