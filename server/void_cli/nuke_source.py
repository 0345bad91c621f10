"""Where the plugin's own files are: beside the packages in a checkout, under ``share/void-nuke`` when installed."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import void_client
from void_client.errors import SettingsError

DISTRIBUTION = "void-nuke"
SHARE = "share/void-nuke/"
PACKAGES = ("void_client", "void_nuke")
LAUNCHER = ("launcher/init.py", "launcher/menu.py")
PLAIN = ("init.py", "menu.py", "icons/VOID.png", "gizmos/VOID.gizmo")


def files() -> dict[str, Path]:
    """Path inside of the plugin's folder → the file; the launcher's under ``launcher/``.

    Raises ``SettingsError`` where this installation of VOID lacks some.
    """
    room = Path(void_client.__file__).resolve().parent.parent
    plain = _beside(room) or _installed()
    missing = [name for name in (*PLAIN, *LAUNCHER) if name not in plain]
    if missing or not (room / "void_nuke" / "__init__.py").is_file():
        raise SettingsError(
            f"This installation of VOID has no {missing[0] if missing else 'void_nuke'}.",
            hint="Install the package again: pip install --force-reinstall void-nuke.",
        )
    return {**plain, **dict(_code(room))}


def _code(room: Path) -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((room / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(room).as_posix(), path


def _beside(room: Path) -> dict[str, Path]:
    """A checkout: ``nuke_plugin/`` holds the code, ``gizmos/`` lies beside it."""
    if not (room / "init.py").is_file() or not (room.parent / "pyproject.toml").is_file():
        return {}
    places = {name: room / name for name in (*PLAIN, *LAUNCHER)}
    places["gizmos/VOID.gizmo"] = room.parent / "gizmos" / "VOID.gizmo"
    return {name: path for name, path in places.items() if path.is_file()}


def _installed() -> dict[str, Path]:
    """From a wheel: pip wrote the data files somewhere under its prefix, and its record says where."""
    found: dict[str, Path] = {}
    # More than one may answer to the name: a checkout in the working folder leaves a record of its own, without these.
    for distribution in importlib.metadata.distributions(name=DISTRIBUTION):
        for entry in distribution.files or ():
            _, mark, name = entry.as_posix().partition(SHARE)
            path = Path(str(distribution.locate_file(entry))).resolve()
            if mark and name in (*PLAIN, *LAUNCHER) and path.is_file():
                found.setdefault(name, path)
    return found
