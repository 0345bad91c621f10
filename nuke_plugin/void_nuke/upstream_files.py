"""Which files on disk a frame's pixels come from, by size and time: told apart when they were rendered again.

Main thread; no file is opened. A folder is listed once a question. Promises: a file that is not there is part of the
answer; where something upstream moves in time, every frame of its Reads counts for every frame.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from void_client.errors import JobError
from void_client.sequence import FramePattern

from . import upstream
from .plate import pattern_of

_MOVES = re.compile(r"Time|Frame|Kronos|OFlow|Append|Echo|Loop|Slip|Denoise|DeNoise|Furnace|\AOFX")
"""Classes that show other frames than the one that is asked for; a foreign plug-in may."""


def stamps_of(sources: Iterable[Any], frames: tuple[int, ...]) -> dict[int, str]:
    """Frame → 16 hex digits of the files that the sources show there."""
    disk = Listings()
    lines: dict[int, list[str]] = {frame: [] for frame in frames}
    for source in sources:
        nodes = list(upstream.walk(source))
        moved = any(_MOVES.search(node.Class()) for node in nodes)
        for read in filter(_reads, nodes):
            files = Files.of(read)
            if files is None:
                continue
            if moved or files.moved:
                whole = _digest(disk.stamp(path) for path in files.all(frames))
                for told in lines.values():
                    told.append(whole)
            else:
                for frame, told in lines.items():
                    told.append(disk.stamp(files.at(frame)))
    return {frame: _digest(told) for frame, told in lines.items()}


@dataclass(frozen=True)
class Files:
    """Of one Read: a pattern, or a single file. ``moved``: it shows frames under other numbers."""

    pattern: Optional[FramePattern]
    single: Path
    first: int
    last: int
    moved: bool

    @classmethod
    def of(cls, read: Any) -> Optional[Files]:
        """None where it names no file."""
        text = pattern_of(read)
        if not text:
            return None
        try:
            pattern: Optional[FramePattern] = FramePattern.parse(text)
        except JobError:
            pattern = None  # a still
        first, last = (int(read[name].value()) if read.knob(name) is not None else 0 for name in ("first", "last"))
        shown = read.knob("frame")
        moved = shown is not None and bool(str(shown.value()).strip())
        ends = (read[name].value() for name in ("before", "after") if read.knob(name) is not None)
        moved = moved or any(end not in ("hold", "black") for end in ends)
        return cls(pattern, Path(text), first, last, moved)

    def at(self, frame: int) -> Path:
        """Before its first frame and after its last one a Read holds them."""
        held = min(max(frame, self.first), self.last) if self.first <= self.last and self.last else frame
        return self.single if self.pattern is None else self.pattern.path(held)

    def all(self, frames: tuple[int, ...]) -> list[Path]:
        if self.pattern is None:
            return [self.single]
        return [self.pattern.path(number) for number in (range(self.first, self.last + 1) if self.last else frames)]


class Listings:
    """Folders as they are now, each listed once."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, os.DirEntry[str]]] = {}

    def stamp(self, path: Path) -> str:
        """Name, size and time of a file; "missing" where there is none."""
        entry = self._listed(path.parent).get(path.name)
        try:
            if entry is not None:
                stat = entry.stat()
                return f"{path.name} {stat.st_size} {stat.st_mtime_ns}"
        except OSError:
            pass  # gone since the folder was listed
        return f"{path.name} missing"

    def _listed(self, folder: Path) -> dict[str, os.DirEntry[str]]:
        if folder not in self._folders:
            try:
                with os.scandir(folder) as found:
                    self._folders[folder] = {entry.name: entry for entry in found}
            except OSError:
                self._folders[folder] = {}
        return self._folders[folder]


def _reads(node: Any) -> bool:
    """What is inside of a VOID node is not walked: a version of its result never changes under its name."""
    return node.knob("file") is not None and "Write" not in node.Class()


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
