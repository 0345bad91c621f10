"""Plates and mattes that are no untouched Read, rendered by the node's own Writes. Main thread: this blocks.

Promises: what is upstream as it was, with files as they were, is not rendered again; a frame is under its name when it
is whole; the Writes are off before and after. Must not: touch the artist's proxy, or any node outside of ours.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nuke
from void_client.errors import DiskFull, VoidError
from void_client.manifest import as_disk_full
from void_client.sequence import FramePattern

from . import upstream, upstream_files
from .messages import failure
from .node import VoidNode, quiet, reviews_hidden
from .plate import view

_STAMPS = "stamps.json"
PLATE, PRIMARY, AFFECTED, QUADMASK = "plate", "primary", "affected", "quadmask"
_WRITES = {PLATE: "ExportPlate", PRIMARY: "ExportPrimary", AFFECTED: "ExportAffected", QUADMASK: "ExportQuadmask"}
_NAMES = {PLATE: "plate", PRIMARY: "matte on input 1", AFFECTED: "matte on input 2", QUADMASK: "quadmask on input 3"}


@dataclass(frozen=True)
class Export:
    """``folder``: the node's exports. ``half``: pixels as half float, else float."""

    folder: Path
    half: bool = True


def export(node: VoidNode, kind: str, source: Any, frames: tuple[int, ...], how: Export, extra: str = "") -> str:
    """The frame pattern of ``source`` on disk, rendered where it is not there yet. ``extra``: what else decides pixels.

    Raises ``InputError`` where Nuke cannot render it or the artist stops it, ``DiskFull``.
    """
    made_of = f"{upstream.print_of(source)} {upstream.colours()} {how.half} {extra}"
    key = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    stamps = upstream_files.stamps_of([source], frames)
    folder, there = _folder_for(how.folder, f"{kind}_{key}", stamps)
    pattern = f"{folder.as_posix()}/{kind}.%04d.exr"
    parsed = FramePattern.parse(pattern)
    lacking = tuple(frame for frame in frames if frame not in there or not parsed.path(frame).is_file())
    if lacking:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise _told(problem, kind, folder) from problem
        for first, last in _runs(lacking):
            _render(node, kind, pattern, first, last, how.half)
        lost = [frame for frame in frames if not parsed.path(frame).is_file()]
        if lost:
            raise failure("export", kind=_NAMES[kind], why=f"frame {lost[0]} was not written.")
        try:
            _record(folder, {**there, **stamps})
        except OSError as problem:
            raise _told(problem, kind, folder) from problem
    return pattern


def _folder_for(home: Path, name: str, stamps: Mapping[int, str]) -> tuple[Path, dict[int, str]]:
    """The export whose frames were made of the files that are there now, and frame → the files it was made of.

    An export is never changed: a farm's job may still read it. What was rendered again upstream gets a folder of its
    own.
    """
    for folder in sorted(home.glob(f"{name}_*")):
        there = _recorded(folder)
        if all(there.get(frame, stamp) == stamp for frame, stamp in stamps.items()):
            return folder, there
    content = "\n".join(f"{frame} {stamp}" for frame, stamp in stamps.items())
    return home / f"{name}_{hashlib.sha256(content.encode()).hexdigest()[:8]}", {}


def _recorded(folder: Path) -> dict[int, str]:
    """What cannot be read counts as not rendered."""
    try:
        found = json.loads((folder / _STAMPS).read_text(encoding="utf-8"))
        return {int(frame): str(stamp) for frame, stamp in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _record(folder: Path, stamps: Mapping[int, str]) -> None:
    """Last of all: a frame that is not on record is rendered again."""
    made = folder / f".{_STAMPS}.{os.getpid()}"
    made.write_text(json.dumps(dict(sorted(stamps.items()))), encoding="utf-8")
    made.replace(folder / _STAMPS)


def export_inner(
    node: VoidNode, kind: str, inner: str, frames: tuple[int, ...], folder: Path, half: bool = True
) -> str:
    """A picture from inside the node, such as its own quadmask, through the Write of ``kind``. Raises as `export`."""
    write, source = node.inner(_WRITES[kind]), node.inner(inner)
    pattern = f"{folder.as_posix()}/{kind}.%04d.exr"
    before = write.input(0)
    with quiet():
        write.setInput(0, source)
        try:
            for first, last in _runs(frames):
                _render(node, kind, pattern, first, last, half)
        finally:
            write.setInput(0, before)
    return pattern


def _runs(frames: tuple[int, ...]) -> list[tuple[int, int]]:
    """(1001, 1002, 1005) → [(1001, 1002), (1005, 1005)]"""
    runs: list[tuple[int, int]] = []
    for frame in frames:
        if runs and frame == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], frame)
        else:
            runs.append((frame, frame))
    return runs


def _render(node: VoidNode, kind: str, pattern: str, first: int, last: int, half: bool) -> None:
    write = node.inner(_WRITES[kind])
    with reviews_hidden(), _switched_on(write, pattern, half):
        try:
            nuke.execute(write, first, last, 1, [view()])
        except RuntimeError as problem:
            text = str(problem).strip() or "Nuke gave no reason"
            if "cancel" in text.lower():
                raise failure("export_cancelled") from problem
            if "executing something else" in text:
                raise failure("executing") from problem
            if "no space" in text.lower() or "disk full" in text.lower():
                raise DiskFull(f"The disk is full: {pattern} could not be written.", hint="Make room.") from problem
            raise failure("export", kind=_NAMES[kind], why=text if text.endswith(".") else f"{text}.") from problem


@contextmanager
def _switched_on(write: Any, pattern: str, half: bool) -> Iterator[None]:
    with quiet():
        write["file"].setValue(pattern)
        write["datatype"].setValue("16 bit half" if half else "32 bit float")
        write["disable"].setValue(False)
        try:
            yield
        finally:
            write["disable"].setValue(True)
            write["file"].setValue("")


def half_is_enough(plate: Any, wanted: str) -> bool:
    """``wanted``: the studio's setting. A plate that says it is float stays float."""
    if wanted == "float":
        return False
    depth = str(plate.metadata("input/bitsperchannel") or "")
    return not depth.startswith("32")


def _told(problem: OSError, kind: str, folder: Path) -> VoidError:
    error = as_disk_full(problem, folder)
    if isinstance(error, VoidError):
        return error
    return failure("export", kind=_NAMES[kind], why=f"{folder} cannot be made ({problem.strerror}).")
