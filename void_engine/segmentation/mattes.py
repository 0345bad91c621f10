"""Mattes on disk: ``void_engine.segmentation.interface.Mattes``.

Promises: a matte is whole or not there; eight bits a pixel: 0, 1 and what lies between within 1/510; memory holds one.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from void_client.errors import JobError

from void_engine.atomic import write_atomically
from void_engine.segmentation.interface import Matte

_NAME = re.compile(r"\A[a-z0-9][a-z0-9._-]{0,63}\Z")


class MatteStore:
    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        """``size``: (height, width) of the canvas, which every matte has."""
        self._folder = folder
        self._size = size

    @property
    def size(self) -> tuple[int, int]:
        return self._size

    def has(self, name: str, position: int) -> bool:
        return self._path(name, position).is_file()

    def names(self) -> list[str]:
        """Of which anything was written."""
        return sorted(path.name for path in self._folder.iterdir() if path.is_dir()) if self._folder.is_dir() else []

    def write(self, name: str, position: int, matte: Matte, confidence: float = 1.0) -> None:
        """Atomic. Raises ``ValueError`` for another size or a value that is not finite, ``DiskFull``."""
        if matte.shape != self._size:
            raise ValueError(f"a matte must be {self._size}, as the canvas is; got {matte.shape}")
        if not np.isfinite(matte).all():
            raise ValueError(f"the matte {name!r} at position {position} holds values that are NaN or infinite")
        codes = (np.clip(matte, 0.0, 1.0) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
        stream = io.BytesIO()
        np.savez_compressed(stream, matte=codes, confidence=np.float32(confidence))
        path = self._path(name, position)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, [stream.getbuffer()])

    def read(self, name: str, position: int) -> Matte:
        path = self._path(name, position)
        if not path.is_file():
            return np.zeros(self._size, np.float32)
        with np.load(path, allow_pickle=False) as archive:
            codes = archive["matte"]
        matte: Matte = codes.astype(np.float32) / np.float32(255)
        return matte

    def confidence(self, name: str, position: int) -> float:
        """0 where nothing was written."""
        path = self._path(name, position)
        if not path.is_file():
            return 0.0
        with np.load(path, allow_pickle=False) as archive:
            return float(archive["confidence"])

    def _path(self, name: str, position: int) -> Path:
        if not _NAME.match(name):
            raise JobError(
                f"{name[:80]!r} cannot be the name of a matte.", hint="Use small letters, digits, '.', '_' and '-'."
            )
        return self._folder / name / f"{position:06d}.npz"
