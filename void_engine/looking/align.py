"""Which frames of two clips belong together.

Promises: sequences pair by frame number; a movie's first frame is the other clip's first. What only one side has is
told, not guessed. Must not: read pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from void_client.errors import FrameError, InputError
from void_client.sequence import format_frames, parse_frames

from void_engine.looking.decode import MovieFootage
from void_engine.looking.footage import Footage, words


@dataclass(frozen=True)
class Pairing:
    """``numbers`` ascending; ``notes`` say what is missing on which side."""

    numbers: tuple[int, ...]
    notes: tuple[str, ...]


def pair(a: Footage, b: Footage, wanted: str = "") -> Pairing:
    """``wanted``: a frame range; every frame of it must be on both sides. Without one, what both have.

    Raises ``FrameError`` (a wanted frame that is missing), ``InputError`` (nothing in common, another format).
    """
    _check_format(a, b)
    notes = [*a.notes, *b.notes]
    for movie, other in ((a, b), (b, a)):
        if isinstance(movie, MovieFootage) and not isinstance(other, MovieFootage):
            movie.starts_at(other.numbers[0])
            notes.append(f"{movie.name} is a movie: its first frame is taken for frame {other.numbers[0]}.")
    if wanted:
        numbers = parse_frames(wanted)
        for side in (a, b):
            _check_there(side, numbers)
        return Pairing(numbers, tuple(notes))
    common = sorted({*a.numbers} & {*b.numbers})
    if not common:
        raise InputError(
            f"A and B have no frame in common: A has {format_frames(a.numbers)}, B has {format_frames(b.numbers)}.",
            hint="Check the ranges: sequences are compared by frame number.",
        )
    for side, other in ((a, b), (b, a)):
        if lost := {*other.numbers} - {*side.numbers}:
            notes.append(f"{side.name} lacks {format_frames(lost)}, which {other.name} has.")
    if holes := {*range(common[0], common[-1] + 1)} - {*a.numbers} - {*b.numbers}:
        notes.append(f"Neither has {format_frames(holes)}.")
    if len(common) < max(len(a.numbers), len(b.numbers)):
        notes.append(f"Compared over what both have: {format_frames(common)}.")
    return Pairing(tuple(common), tuple(notes))


def _check_format(a: Footage, b: Footage) -> None:
    """Windows count where both have them; a movie or a picture has a size only."""
    same = a.display == b.display
    if not (a.scene_linear and b.scene_linear):
        same = (a.display.width, a.display.height) == (b.display.width, b.display.height)
    if not same:
        raise InputError(
            f"A is {words(a.display)}, B is {words(b.display)}.",
            hint="Reformat one of them: pixels are compared one to one.",
            details={"a": words(a.display), "b": words(b.display)},
        )


def _check_there(side: Footage, numbers: tuple[int, ...]) -> None:
    lost = sorted({*numbers} - {*side.numbers})
    if lost:
        raise FrameError(
            f"{side.name} ({side.text}) has no frame {format_frames(lost)}.",
            hint=f"It has {format_frames(side.numbers)}.",
            details={"input": side.input, "frame": lost[0], "file": side.text},
        )
