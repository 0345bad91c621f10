"""A movie as an EXR sequence: a flat plate, or a coded quadmask, for jobs that take sequences.

Promises: a plate's codes are kept as they are, display-referred, in half floats (10 bits come home); a mask's values
are the nearest of 0, 63, 127 and 255, which a codec moves a little; the same movie gives the same files, once: they lie
in a folder named by its content, ``done.json`` last. Must not: convert light.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import OpenEXR
from void_client.digest import sha256_file

from void_engine.atomic import write_atomically
from void_engine.looking.decode import MovieFootage
from void_engine.quadmask import quantise

_DONE: Final = "done.json"
_VERSION: Final = 1
_NAME: Final = "{kind}.{number:04d}.exr"
_LIMIT: Final = 1_001_000  # OpenEXR's rationals are of 32 bits
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class UnpackOptions:
    """``kind``: plate or quadmask. ``folder``: under which the sequence is put."""

    movie: str
    folder: str
    kind: str


def unpack(options: UnpackOptions, progress: Progress, check: Callable[[], None]) -> dict[str, Any]:
    """``pattern``, ``frames`` and ``notes`` of the sequence. Frames count from 1, as Nuke counts a movie's.

    Raises ``FrameError`` for a damaged movie, ``EngineUnavailable`` without PyAV, ``DiskFull``, ``Cancelled``.
    """
    footage = MovieFootage(options.kind, options.movie, Path(options.movie))
    folder = Path(options.folder) / f"{options.kind}-{sha256_file(Path(options.movie))[:24]}-{_VERSION}"
    told = {
        "pattern": str(folder / f"{options.kind}.####.exr"),
        "frames": len(footage.numbers),
        "notes": list(footage.notes),
    }
    if (folder / _DONE).is_file():
        return told
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for number in footage.numbers:
            check()
            codes = footage.read(number).stored
            channels = _mask(codes) if options.kind == "quadmask" else _plate(codes)
            path = folder / _NAME.format(kind=options.kind, number=number)
            _write(path, channels, footage)
            progress(number, len(footage.numbers), f"{options.kind} frame {number}")
    finally:
        footage.close()
    write_atomically(folder / _DONE, [json.dumps(told).encode()])
    return told


def _plate(codes: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float16]]:
    return {name: np.ascontiguousarray(codes[..., index], np.float16) for index, name in enumerate("RGB")}


def _mask(codes: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float16]]:
    levels = quantise(np.rint(codes.mean(axis=2) * 255).astype(np.uint8))
    return {"R": (levels / np.float32(255)).astype(np.float16)}


def _write(path: Path, channels: dict[str, npt.NDArray[np.float16]], footage: MovieFootage) -> None:
    header: dict[str, Any] = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    if footage.rate > 0:
        rate = Fraction(footage.rate).limit_denominator(1001)
        if rate.numerator < _LIMIT:
            header["framesPerSecond"] = rate
    if footage.aspect > 0:
        header["pixelAspectRatio"] = float(footage.aspect)
    # The binding writes to a path alone: written beside, then named.
    temporary = path.with_name(f".{path.name}.tmp")
    with OpenEXR.File(header, channels) as file:
        file.write(str(temporary))
    temporary.replace(path)
