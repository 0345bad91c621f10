"""Paths between platforms: one place, as each platform and each machine spells it.

Promises: pure text, the same answer on every platform, no file is looked at. A path that no rule knows stays as it
is. Windows paths come out with forward slashes, as Nuke writes them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

PLATFORMS = ("linux", "windows", "macos")
_DRIVE = re.compile(r"\A[A-Za-z]:")


def this_platform() -> str:
    return {"win32": "windows", "cygwin": "windows", "darwin": "macos"}.get(sys.platform, "linux")


@dataclass(frozen=True)
class PathRule:
    """One folder by its names. ``also``: other names of it (a UNC path, another mount), which are read, never made."""

    linux: Optional[str] = None
    windows: Optional[str] = None
    macos: Optional[str] = None
    also: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        spellings = self.spellings()
        if len(spellings) < 2:
            raise ValueError("a path_map entry needs two names of the same folder: linux, windows, macos, also")
        for text in spellings:
            if not (is_windows(text) or text.startswith("/")):
                raise ValueError(f"path_map: {text!r} is not an absolute path")

    def spellings(self) -> tuple[str, ...]:
        return tuple(text for text in (self.linux, self.windows, self.macos, *self.also) if text)

    def on(self, platform: str) -> Optional[str]:
        """The folder's name on ``linux``, ``windows`` or ``macos``, where the rule has one."""
        return {"linux": self.linux, "windows": self.windows, "macos": self.macos}[platform]


def is_windows(path: str) -> bool:
    """Whether a path is written the Windows way: a drive letter, or a UNC path with either slash."""
    return bool(_DRIVE.match(path)) or path.startswith("\\\\") or (path.startswith("//") and not path.startswith("///"))


def replace_prefix(path: str, source: str, target: str) -> Optional[str]:
    """``path`` with the folder ``source`` at its beginning replaced by ``target``; None where it does not lie there.

    A Windows source matches whatever the case and the kind of slash; any other matches exactly. Only whole names
    count: ``/show/a`` does not hold ``/show/ab``.
    """
    if is_windows(source) != is_windows(path) or not path:
        return None
    ours, theirs = path, source
    if is_windows(source):
        ours, theirs = path.replace("\\", "/"), source.replace("\\", "/")
    theirs = theirs.rstrip("/")
    same = ours[: len(theirs)] == theirs
    if is_windows(source):
        same = ours[: len(theirs)].casefold() == theirs.casefold()
    rest = ours[len(theirs) :]
    if not same or (rest and not rest.startswith("/")):
        return None
    if is_windows(target):
        target, rest = target.replace("\\", "/"), rest.replace("\\", "/")
    mapped = target.rstrip("/") + rest
    # The root of a drive or of the whole tree keeps its slash.
    return mapped + "/" if not rest and (mapped == "" or (len(mapped) == 2 and is_windows(mapped))) else mapped


def map_path(path: str, rules: Iterable[PathRule], platform: Optional[str] = None) -> str:
    """``path`` as ``platform`` (this one without) spells it. Of several rules the one with the longest name counts."""
    wanted = platform or this_platform()
    best: tuple[int, str] = (-1, path)
    for rule in rules:
        target = rule.on(wanted)
        if target is None:
            continue
        for spelling in rule.spellings():
            mapped = replace_prefix(path, spelling, target)
            if mapped is not None and len(spelling) > best[0]:
                best = (len(spelling), mapped)
    return best[1]
