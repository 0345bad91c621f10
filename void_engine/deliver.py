"""What a job gives back: its frames and where the quadmask came from; or the quadmask to review, with its analysis.

Promises: a file has its name only when it is whole; a stage's file that is linked here is never written through. Must
not: compute what is delivered.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
from void_client.digest import sha256_file
from void_client.errors import EngineUnavailable

from void_engine.compositing import quadmask_layers
from void_engine.contact_sheet import COLOURS, contact_sheet, display
from void_engine.interface import KEEP, Quadmask, Window
from void_engine.looking.movie import write_movie
from void_engine.masking import ANALYSIS
from void_engine.overriding import REGIONS
from void_engine.plates.clip import FileClip
from void_engine.stages import Observer, StageResult

log = logging.getLogger(__name__)

RESULT_NAME = "plate.{:04d}.exr"
MASK_NAME = "quadmask.{:04d}.exr"
SHEET, MOVIE = "quadmask.png", "overlay.mp4"
_SHOWN = 6  # frames on the sheet
_WIDE = 960  # of the movie, at most
_RATE = 24.0  # frames a second, where the plate does not say


@dataclass(frozen=True)
class DeliveredFrame:
    number: int
    path: Path
    sha256: str
    size: int


@dataclass(frozen=True)
class DeliveredFile:
    path: Path
    sha256: str
    size: int


@dataclass(frozen=True)
class Delivered:
    """``facts``: plain data for the manifest. ``files``: what is no frame."""

    frames: tuple[DeliveredFrame, ...]
    facts: dict[str, Any]
    files: tuple[DeliveredFile, ...] = ()


def deliver_plates(
    numbers: Sequence[int],
    restore: StageResult,
    quadmask: StageResult,
    facts: dict[str, Any],
    folder: Path,
    observer: Observer,
) -> Delivered:
    """These restored frames, and ``regions.json`` where somebody has to be told who said what of the quadmask."""
    observer.stage("deliver", "running", restore.key)
    folder.mkdir(parents=True, exist_ok=True)
    frames = []
    for done, number in enumerate(numbers, 1):
        observer.check()
        name = RESULT_NAME.format(number)
        frames.append(_frame(number, _link_or_copy(restore.folder / name, folder / name)))
        observer.progress("deliver", done, len(numbers), "")
    files = _told(quadmask, [REGIONS], folder)
    observer.stage("deliver", "done", restore.key)
    return Delivered(tuple(frames), facts, files)


def deliver_masks(
    clip: FileClip, quadmask: StageResult, said: dict[str, Any], folder: Path, observer: Observer
) -> Delivered:
    """Quadmask EXRs (R is the coded value, ``void_quadmask.*`` the regions), sheet, overlay movie and analysis."""
    observer.stage("deliver", "running", quadmask.key)
    folder.mkdir(parents=True, exist_ok=True)
    count = len(clip.numbers)
    frames = []
    for position, number in enumerate(clip.numbers):
        observer.check()
        path = folder / MASK_NAME.format(number)
        write_mask(path, clip.quadmask(position), clip.canvas, clip.header(position).display_window)
        frames.append(_frame(number, path))
        observer.progress("deliver", position + 1, count, f"frame {number}")
    pictures = [_sheet(clip, folder), *_movie(clip, folder, observer)]
    files = (*(_file(path) for path in pictures), *_told(quadmask, [ANALYSIS, REGIONS], folder))
    observer.stage("deliver", "done", quadmask.key)
    return Delivered(tuple(frames), {"quadmask": quadmask.key, "replaced": quadmask.facts["replaced"], **said}, files)


def _frame(number: int, path: Path) -> DeliveredFrame:
    return DeliveredFrame(number, path, sha256_file(path), path.stat().st_size)


def _file(path: Path) -> DeliveredFile:
    return DeliveredFile(path, sha256_file(path), path.stat().st_size)


def _told(quadmask: StageResult, names: list[str], folder: Path) -> tuple[DeliveredFile, ...]:
    there = [name for name in names if (quadmask.folder / name).is_file()]
    return tuple(_file(_link_or_copy(quadmask.folder / name, folder / name)) for name in there)


def _link_or_copy(source: Path, path: Path) -> Path:
    """A hard link costs no space; where the file system has none, a copy. Never half a file under the name."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
    temporary.replace(path)
    temporary.unlink(missing_ok=True)  # POSIX: renaming one link of a file onto another does nothing
    return path


def write_mask(path: Path, mask: Quadmask, canvas: Window, shown: Window) -> None:
    """A quadmask as an EXR, whole or not at all. ``mask`` covers ``canvas``; ``shown``: the display window."""
    channels = {"R": (mask.astype(np.float32) / np.float32(255)).astype(np.float16)}
    channels.update(quadmask_layers(mask))
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "dataWindow": _box(canvas),
        "displayWindow": _box(shown),
    }
    temporary = path.with_name(f".{path.name}.tmp")
    with OpenEXR.File(header, channels) as file:
        file.write(str(temporary))
    temporary.replace(path)


def _box(window: Window) -> Any:
    return (
        np.array([window.x0, window.y0], np.int32),
        np.array([window.x1, window.y1], np.int32),
    )


def _sheet(clip: FileClip, folder: Path) -> Path:
    count = len(clip.numbers)
    chosen = sorted({round(i * (count - 1) / max(1, _SHOWN - 1)) for i in range(_SHOWN)})
    plates = [clip.plate(position) for position in chosen]
    masks = [clip.quadmask(position) for position in chosen]
    return contact_sheet([("plate", plates), ("quadmask", masks)], folder / SHEET)


def _movie(clip: FileClip, folder: Path, observer: Observer) -> list[Path]:
    """The plate under the quadmask's colours; none where PyAV is not installed."""
    height, width = clip.canvas.height, clip.canvas.width
    scale = min(1.0, _WIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    pictures = (overlay(clip, position, size) for position in range(len(clip.numbers)))
    try:
        movie = write_movie(folder / MOVIE, pictures, clip.frame_rate or _RATE, check=observer.check)
    except EngineUnavailable as problem:
        log.warning("no overlay movie: %s", problem)
        return []
    return [movie.path]


def overlay(clip: FileClip, position: int, size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(H, W, 3) sRGB at ``size`` (width, height): the regions' colours over the plate, half transparent."""
    plate = cv2.resize(display(clip.plate(position)), size, interpolation=cv2.INTER_AREA) * 255.0
    mask = cv2.resize(clip.quadmask(position), size, interpolation=cv2.INTER_NEAREST)
    for value, (_, colour) in COLOURS.items():
        if value != KEEP:
            plate[mask == value] = 0.5 * plate[mask == value] + 0.5 * np.array(colour, np.float32)
    return np.asarray(plate.astype(np.uint8))
