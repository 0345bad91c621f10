"""Wheels for `void nuke install` without an index: tiny ones, and real ones made of what this Python has installed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from void_cli.nuke_targets import PYTHONS, Target, targets
from void_client.path_map import PLATFORMS

EVERY = targets(PYTHONS, PLATFORMS)
_DISTRIBUTIONS = ("pyzmq", "msgpack", "ruamel.yaml")


def write_wheel(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


def write_pins(folder: Path, wheels: Mapping[str, Iterable[str]]) -> Path:
    """``wheels``: target → names of files in ``folder``."""
    names = {name for group in wheels.values() for name in group}
    pins = {
        "targets": {target: list(group) for target, group in wheels.items()},
        "sha256": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names},
    }
    path = folder / "pins.json"
    path.write_text(json.dumps(pins), encoding="utf-8")
    return path


def tiny_wheels(folder: Path, wanted: Iterable[Target] = EVERY, *, content: str = "") -> Path:
    """One pure wheel a target, that imports and does nothing; returns the list of pins."""
    wheels = {}
    for target in wanted:
        tag = target.folder.split("-")[0]
        name = f"pyzmq-1.0-{tag}-{tag}-{target.platform}_{target.machine}.whl"
        code = f"__version__ = '1.0'\n# {target.folder} {content}\n".encode()
        licence = {"pyzmq-1.0.dist-info/LICENSE": b"as it is"}
        write_wheel(folder / name, {"zmq/__init__.py": code, "zmq/tests/test_it.py": b"", **licence})
        wheels[target.pinned] = [name]
    return write_pins(folder, wheels)


def this_pythons_wheels(folder: Path, target: Target) -> Path:
    """The native packages that this Python runs with, as wheels for it; returns the list of pins."""
    names = []
    for name in _DISTRIBUTIONS:
        files = {}
        for entry in importlib.metadata.files(name) or []:
            path = Path(str(entry.locate()))
            if ".." not in entry.parts and path.suffix != ".pyc" and path.is_file():
                files[entry.as_posix()] = path.read_bytes()
        version = importlib.metadata.version(name)
        wheel = f"{name.replace('.', '_')}-{version}-{this_tag()}-{this_tag()}-any.whl"
        names.append(write_wheel(folder / wheel, files).name)
    return write_pins(folder, {target.pinned: names})


def this_tag() -> str:
    return f"cp{sys.version_info[0]}{sys.version_info[1]}"
