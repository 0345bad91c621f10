"""The packages that lie beside the plugin: which folder this interpreter may load, and why it cannot.

Nuke's Python has no pyzmq, msgpack or ruamel.yaml, and each version of it needs its own build: ``void nuke install``
lays them as ``vendor/<cpXY>-<platform>-<machine>/``. Promises: cheap (it runs at Nuke's start), imports none of them
unless asked.
"""

from __future__ import annotations

import os
import sys
from typing import Optional

FOLDER = "vendor"
PACKAGES = ("zmq", "msgpack", "ruamel.yaml")
_PLATFORMS = {"win32": "windows", "cygwin": "windows", "darwin": "macos"}
_MACHINES = {"AMD64": "x86_64", "amd64": "x86_64", "aarch64": "arm64"}


def target_name() -> str:
    """This interpreter's folder: ``cp311-linux-x86_64``."""
    if hasattr(os, "uname"):
        machine = os.uname().machine
    else:
        machine = os.environ.get("PROCESSOR_ARCHITECTURE", "AMD64")
    platform = _PLATFORMS.get(sys.platform, "linux")
    return f"cp{sys.version_info[0]}{sys.version_info[1]}-{platform}-{_MACHINES.get(machine, machine)}"


def activate(plugin: str) -> str:
    """Put the packages' folder at the end of ``sys.path``: what the studio has put there before goes first.

    ``plugin``: the folder that Nuke sees. Returns what is wrong, in words, or nothing.
    """
    folder = os.path.join(plugin, FOLDER, target_name())
    if os.path.isdir(folder):
        if folder not in sys.path:
            sys.path.append(folder)
        return ""
    return "" if is_importable("zmq") else missing(plugin)


def explain(problem: ImportError, plugin: Optional[str] = None) -> str:
    """Why one of the packages could not be imported, and what to do, for an artist's eyes."""
    folder = os.path.join(plugin or plugin_folder(), FOLDER, target_name())
    if not os.path.isdir(folder):
        return missing(plugin or plugin_folder())
    if "GLIBC" in str(problem):
        advice = "This machine's system is older than those packages: your TD can run `void nuke install --glibc 2.17`."
    else:
        advice = f"Your TD can run `void nuke check`, which says what is wrong with {folder}."
    return f"VOID's packages do not load in this Nuke: {problem}. {advice}"


def require(plugin: Optional[str] = None) -> None:
    """Import the packages. Raises ``InputError`` that says what is wrong with the installation."""
    import importlib

    from .errors import InputError

    try:
        for name in PACKAGES:
            importlib.import_module(name)
    except ImportError as problem:
        raise InputError(explain(problem, plugin)) from problem


def plugin_folder() -> str:
    """The folder that Nuke sees, by where this file lies."""
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def missing(plugin: str) -> str:
    """That a plugin's folder has no packages for this interpreter, and what to do."""
    try:
        there = sorted(os.listdir(os.path.join(plugin, FOLDER)))
    except OSError:
        there = []
    has = f"it has {', '.join(there)}" if there else "it has none"
    return (
        f"The VOID in {plugin} has no packages for {target_name()} ({has}). "
        "Your TD can run `void nuke install`, which lays them for Nuke 14 and later."
    )


def is_importable(name: str) -> bool:
    """Whether a package would be found; nothing is imported but the packages above it."""
    import importlib.util

    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
