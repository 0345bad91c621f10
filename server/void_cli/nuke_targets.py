"""Which Pythons and platforms an installation serves, and which Python a Nuke has. Nothing is run to find out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from void_client.errors import InputError
from void_client.path_map import PLATFORMS, PathRule, map_path, replace_prefix, this_platform

PYTHONS = ("3.9", "3.10", "3.11")
_MACHINES = {"linux": ("x86_64",), "windows": ("x86_64",), "macos": ("x86_64", "arm64")}
_PYTHON_OF = {14: "3.9", 15: "3.10", 16: "3.11", 17: "3.11"}
_NUKE = re.compile(r"Nuke(?:X|Studio|Indie|Assist)?-?(\d+)\.\d+", re.IGNORECASE)
_LIBRARY = re.compile(r"\A(?:lib)?python(3)\.?(\d{1,2})(?:\.(?:so|dll|dylib).*)?\Z", re.IGNORECASE)
_LOOK_INTO = frozenset({"lib", "Contents", "MacOS", "Frameworks", "Python.framework", "Versions"})
_DEPTH = 5  # Nuke.app/Contents/Frameworks/Python.framework/Versions


@dataclass(frozen=True)
class Target:
    """One folder of packages. ``python``: "3.11". ``glibc``: "2.17" for the builds of old Linux hosts, else empty."""

    python: str
    platform: str
    machine: str
    glibc: str = ""

    @property
    def folder(self) -> str:
        """As ``void_client.vendor.target_name`` looks for it."""
        return f"cp{self.python.replace('.', '')}-{self.platform}-{self.machine}"

    @property
    def pinned(self) -> str:
        """Its name in the list of wheels."""
        return f"{self.folder}-glibc{self.glibc}" if self.glibc else self.folder


def targets(pythons: Iterable[str], platforms: Iterable[str], glibc: str = "") -> tuple[Target, ...]:
    """Every combination, in a fixed order."""
    wanted = set(platforms)
    return tuple(
        Target(python, platform, machine, glibc if platform == "linux" else "")
        for python in sorted(set(pythons), key=PYTHONS.index)
        for platform in PLATFORMS
        if platform in wanted
        for machine in _MACHINES[platform]
    )


def chosen(
    pythons: Sequence[str], nukes: Sequence[Path], platforms: Sequence[str], this_only: bool, glibc: str
) -> tuple[Target, ...]:
    """What the command line asks for; all without. Raises ``InputError``."""
    wanted = [*pythons, *(python_of(nuke) for nuke in nukes)] or list(PYTHONS)
    return targets(wanted, [this_platform()] if this_only else (platforms or PLATFORMS), glibc)


def python_of(nuke: Path) -> str:
    """The Python of a Nuke, by the library that lies in its folder, else by its name. Raises ``InputError``."""
    if not nuke.exists():
        raise InputError(f"There is no Nuke at {nuke}.", hint="Name its folder or its program, or give --python.")
    found = _bundled(nuke.resolve() if nuke.is_dir() else nuke.resolve().parent)
    major = _major(nuke) or _major(nuke.resolve())
    if found is None and major is not None:
        if major < min(_PYTHON_OF):
            raise _too_old(f"Nuke {major}")
        found = _PYTHON_OF.get(major)
    if found is None:
        what = f"Nuke {major} is not known to this version of VOID" if major else f"{nuke} does not look like a Nuke"
        raise InputError(f"{what}.", hint=f"Give its Python's version: --python {' | '.join(PYTHONS)}.")
    if found not in PYTHONS:
        if tuple(map(int, found.split("."))) < (3, 9):
            raise _too_old(f"{nuke} has Python {found}, which")
        raise InputError(
            f"{nuke} has Python {found}, for which this version of VOID has no packages.", hint="Update VOID."
        )
    return found


def _too_old(what: str) -> InputError:
    return InputError(f"{what} is too old.", hint="VOID needs Nuke 14 or later (Python 3.9).")


def _major(path: Path) -> Optional[int]:
    """14 for ``/usr/local/Nuke14.0v5/Nuke14.0``; the innermost name counts."""
    for name in reversed(path.parts):
        found = _NUKE.search(name)
        if found:
            return int(found.group(1))
    return None


def _bundled(folder: Path) -> Optional[str]:
    """The newest Python whose library or folder lies near, by name: libpython3.11.so.1.0, python311.dll, python3.10."""
    if _NUKE.search(folder.name) is None and folder.name not in ("MacOS",):
        return None  # a folder of programs such as /usr/local/bin has Pythons of its own
    root = folder.parents[1] if folder.name == "MacOS" and len(folder.parents) > 1 else folder
    names: set[str] = set()
    level = [root]
    for _ in range(_DEPTH):
        below: list[Path] = []
        for place in level:
            try:
                entries = list(place.iterdir())
            except OSError:
                continue
            names.update(entry.name for entry in entries)
            below += [e for e in entries if e.is_dir() and not e.is_symlink() and e.name in _LOOK_INTO]
            if place.name == "Versions" and place.parent.name == "Python.framework":
                names.update(f"python{entry.name}" for entry in entries)
        level = below
    versions = {(int(found.group(1)), int(found.group(2))) for found in map(_LIBRARY.match, names) if found}
    return "{}.{}".format(*max(versions)) if versions else None


# --- what Nuke must be told


def names_of(folder: str, rules: Iterable[PathRule]) -> dict[str, str]:
    """The folder as each platform names it; a placeholder where nobody has said."""
    known = list(rules)
    names = {}
    for platform in PLATFORMS:
        told = platform == this_platform() or any(
            replace_prefix(folder, spelling, rule.on(platform) or "") is not None
            for rule in known
            if rule.on(platform)
            for spelling in rule.spellings()
        )
        names[platform] = map_path(folder, known, platform) if told else f"<{folder} as {platform} names it>"
    return names


def nuke_path_line(platform: str, folder: str) -> str:
    """Before what is there already."""
    if platform == "windows":
        return f"set NUKE_PATH={folder};%NUKE_PATH%"
    return f'export NUKE_PATH="{folder}:$NUKE_PATH"'
