"""The colour of one job: its plate's working space, and its shot's way to the display.

Promises: a configuration is read once per worker; one that a client sent reads no other file of the server. Must not:
touch pixels (`void_engine.colour` does).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from void_client.errors import JobError
from void_client.job import OCIO_BUILTIN, PlateSpec

from void_engine.colour import config as configs
from void_engine.colour.levels import Levels
from void_engine.colour.shaper import Shaper, fit
from void_engine.colour.working import WorkingSpace, working_space

_HELD = 8  # configurations and spaces, each


def working_space_of(plate: PlateSpec, locate: Callable[[str], Path], ocio: str, folder: Path) -> WorkingSpace:
    """``ocio``: the server's own configuration. ``folder`` takes the file that came with the job, under its suffix.

    Raises ``JobError``: details key "colour_space" or "ocio".
    """
    if not plate.colour_space:
        return WorkingSpace()
    if plate.ocio_file is not None:
        path = _with_suffix(locate(plate.ocio_file.sha256), folder, Path(plate.ocio).suffix)
        return _space(_sent(path, plate.ocio), plate.colour_space)
    source = plate.ocio or ocio
    stamp = "" if not source or source.startswith(OCIO_BUILTIN) else _stamp(Path(source))
    return _space(_own(source, stamp), plate.colour_space)


def shaper_of(facts: Mapping[str, Any]) -> Shaper:
    """The shot's, from the facts of the stage ``ingest``."""
    return fit(Levels.from_json(facts["levels"]))


@lru_cache(maxsize=_HELD)
def _space(config: configs.ColourConfig, name: str) -> WorkingSpace:
    return working_space(config, name)


@lru_cache(maxsize=_HELD)
def _own(source: str, _stamp: str) -> configs.ColourConfig:
    return configs.load(source)


@lru_cache(maxsize=_HELD)
def _sent(path: Path, name: str) -> configs.ColourConfig:
    """``path`` holds the content's digest, so that a file is read once."""
    try:
        config = configs.load(str(path))
    except JobError as problem:  # the artist knows the file by its own name
        problem.message = problem.message.replace(str(path), name)
        raise
    if path.suffix.lower() == ".ocio" and (luts := configs.lut_files(config)):
        raise JobError(
            f"The OCIO configuration {name} needs files beside it, such as {luts[0]}: it cannot be sent alone.",
            hint="Put it into one file with `ocioarchive` (.ocioz), or let the server's setting `ocio` name it.",
            details={"key": "ocio"},
        )
    return config


def _with_suffix(stored: Path, folder: Path, suffix: str) -> Path:
    """OCIO goes by a file's suffix; the store knows digests only."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stored.name}{suffix}"
    if not path.exists():
        temporary = folder / f".{path.name}.{os.getpid()}"
        temporary.write_bytes(stored.read_bytes())
        temporary.replace(path)
    return path


def _stamp(path: Path) -> str:
    """Changes when the file does: the configuration is then read again."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_mtime_ns} {status.st_size}"
