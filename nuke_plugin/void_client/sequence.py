"""Frame numbers and the files that carry them: ``plate.%04d.exr``, ``plate.####.exr``, ``1001-1046``.

Promises: pure text and folder listings; opens no file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .errors import FrameError, InputError, JobError

_PLACEHOLDER = re.compile(r"%(?:0(?P<pad>\d+))?d|(?P<hash>#+)")
_RANGE = re.compile(r"^(-?\d+)(?:-(-?\d+)(?:x(\d+))?)?$")
MAX_FRAMES = 100_000
"""More than an hour at 24 fps: a longer range is a typing error."""


@dataclass(frozen=True)
class FramePattern:
    """A path with one frame number in its file name, as Nuke writes it: ``%04d``, ``%d`` or ``####``."""

    text: str
    folder: Path
    prefix: str
    padding: int
    suffix: str

    @classmethod
    def parse(cls, text: str, relative_to: Path | None = None) -> FramePattern:
        """Raises ``JobError`` where the file name holds no frame number, or two."""
        path = Path(os.path.expanduser(text))
        if relative_to is not None and not path.is_absolute():
            path = relative_to / path
        found = list(_PLACEHOLDER.finditer(path.name))
        if len(found) != 1:
            raise JobError(
                f"{text!r} holds {'no' if not found else 'more than one'} frame number.",
                hint="Write the sequence as plate.%04d.exr or plate.####.exr.",
            )
        hashes = found[0].group("hash")
        padding = len(hashes) if hashes else int(found[0].group("pad") or 1)
        return cls(text, path.parent, path.name[: found[0].start()], padding, path.name[found[0].end() :])

    def path(self, frame: int) -> Path:
        return self.folder / f"{self.prefix}{frame:0{self.padding}d}{self.suffix}"

    def frames_on_disk(self) -> tuple[int, ...]:
        """The frame numbers that exist, ascending. Raises ``InputError`` where the folder cannot be listed."""
        try:
            names = os.listdir(self.folder)
        except OSError as problem:
            raise InputError(
                f"The folder {self.folder} of {self.text!r} cannot be read: {problem.strerror}.",
                hint="Check the path.",
                details={"file": str(self.folder)},
            ) from problem
        shape = re.compile(re.escape(self.prefix) + r"(-?\d+)" + re.escape(self.suffix) + r"\Z")
        numbers = {int(m.group(1)) for m in map(shape.match, names) if m}
        return tuple(sorted(n for n in numbers if self.path(n).name in set(names)))


def parse_frames(text: str) -> tuple[int, ...]:
    """``"1001-1010,1020,1030-1040x2"`` → ascending frame numbers without repeats. Raises ``JobError``."""
    numbers: set[int] = set()
    for part in text.replace(" ", "").split(","):
        match = _RANGE.match(part)
        if not match:
            raise JobError(f"{text!r} is not a frame range.", hint='Write "1001-1046" or "1001-1010,1020".')
        first = int(match.group(1))
        last = int(match.group(2)) if match.group(2) else first
        step = int(match.group(3) or 1)
        if last < first or step < 1:
            raise JobError(f"The frame range {part!r} runs backwards.", hint="Write the first frame before the last.")
        if (last - first) // step + len(numbers) > MAX_FRAMES:
            raise JobError(f"The frame range {text!r} has more than {MAX_FRAMES} frames.", hint="Check the numbers.")
        numbers.update(range(first, last + 1, step))
    return tuple(sorted(numbers))


def format_frames(frames: Iterable[int]) -> str:
    """The shortest range text: ``1001-1010,1020``."""
    runs: list[list[int]] = []
    for frame in sorted(set(frames)):
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = frame
        else:
            runs.append([frame, frame])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def resolve_frames(pattern: FramePattern, wanted: tuple[int, ...] | None, *, kind: str) -> tuple[int, ...]:
    """The frames to use: those wanted, or else all on disk. Every one must exist, and nothing may lack between.

    ``kind`` is "plate" or "quadmask". Raises ``FrameError`` naming the first missing file.
    """
    there = pattern.frames_on_disk()
    if not there:
        raise FrameError(
            f"No {kind} frames: nothing matches {pattern.text!r} in {pattern.folder}.",
            hint="Check the path and the pattern.",
            details={"input": kind, "file": str(pattern.folder / Path(pattern.text).name)},
        )
    frames = wanted if wanted is not None else tuple(range(there[0], there[-1] + 1))
    missing = sorted(set(frames) - set(there))
    if missing:
        path = pattern.path(missing[0])
        raise FrameError(
            f"{len(missing)} {kind} frame{'s are' if len(missing) > 1 else ' is'} missing "
            f"({format_frames(missing)}); the first is {path}.",
            hint=f"On disk: {format_frames(there)}. Render what is missing, or ask for another range.",
            details={"input": kind, "frame": missing[0], "file": str(path)},
        )
    return frames
