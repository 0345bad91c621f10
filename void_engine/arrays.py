"""Arrays on disk, one ``.npy`` each (never pickled): whole or not there, with the bits that were written."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from void_engine.atomic import write_atomically


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Atomic; makes the folder. Raises ``DiskFull``, ``InputError``."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [stream.getbuffer()])


def read_array(path: Path) -> npt.NDArray[Any]:
    """Raises ``OSError`` or ``ValueError`` where there is none, or it is none."""
    with path.open("rb") as file:
        stored: npt.NDArray[Any] = np.load(file, allow_pickle=False)
    return stored
