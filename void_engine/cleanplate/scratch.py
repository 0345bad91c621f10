"""Intermediate state on disk, so that a killed run goes on where it was.

Promises that a file is either whole or absent (written beside, then renamed) and that what is
read back has the bits that were written. Must not pickle, and must not decide what is kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]


def _publish(path: Path, fill: Callable[[BinaryIO], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    with open(beside, "wb") as file:
        fill(cast(BinaryIO, file))
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def save_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes named arrays as one uncompressed ``.npz``, atomically."""
    _publish(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def load_arrays(path: Path) -> Arrays | None:
    """The arrays of `save_arrays`, or None where there is no such file yet."""
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def save_json(path: Path, value: Any) -> None:
    """Writes a JSON value, atomically. Floats come back with the bits that they had."""
    _publish(path, lambda file: _dump(file, value))


def _dump(file: BinaryIO, value: Any) -> None:
    file.write(json.dumps(value, sort_keys=True).encode("utf-8"))


def load_json(path: Path) -> Any | None:
    """The value of `save_json`, or None where there is no such file yet."""
    if not path.exists():
        return None
    return json.loads(path.read_text(encoding="utf-8"))
