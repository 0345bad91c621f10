"""The engine's frames on disk: what it made so far, ready to be found again after a kill.

Promises: ``has`` is true only for a frame that is whole; memory and disk hold the replaced region, not the plate.
Must not: hold frames in memory, or trust a file because of its name.

One ``.npy`` (never pickled) per frame: float32 (h, w, 3) over the bounding box of the pixels that the quadmask does not
keep, named with the position and the box: ``000012_x64_y32.npy``. A frame whose quadmask keeps everything is (0, 0, 3).
Confidence lies beside it, in eight bits: ``000012.confidence.npy``, (h, w) over the same box.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from void_client.errors import JobFailed

from void_engine.arrays import read_array, write_array
from void_engine.interface import KEEP, RGB, Quadmask, Share, Window


@dataclass(frozen=True)
class FrameFolder:
    """``CleanFrames`` in a folder, which is made on the first write.

    ``quadmask(position)`` gives the resolved quadmask on ``canvas``: ``FileClip.quadmask`` fits.
    """

    folder: Path
    canvas: Window
    quadmask: Callable[[int], Quadmask]

    def has(self, position: int) -> bool:
        """True where ``read`` will give this frame: the file is there, and as long as its header says."""
        return self._stored(position) is not None

    def write(self, position: int, rgb: RGB, confidence: Share | None = None) -> None:
        """Stores the replaced pixels of ``rgb`` (H, W, 3) on the canvas, and their confidence (H, W). Atomic.

        Raises ``ValueError`` for another shape or a value that is not finite where it counts, ``DiskFull``.
        """
        shape = (self.canvas.height, self.canvas.width, 3)
        if rgb.shape != shape:
            raise ValueError(f"a clean frame must be {shape}, as the canvas is; got {rgb.shape}")
        replaced = self.quadmask(position) != KEEP
        y, x, height, width = _bounds(replaced)
        box = np.array(rgb[y : y + height, x : x + width], np.float32, order="C")
        box[~replaced[y : y + height, x : x + width]] = 0
        if not np.isfinite(box).all():
            raise ValueError(f"the clean frame at position {position} holds values that are NaN or infinite")
        # First: the frame's own file is the mark that both are there.
        if confidence is not None:
            share = np.clip(confidence[y : y + height, x : x + width], 0.0, 1.0) * np.float32(255)
            write_array(self._beside(position), (share + np.float32(0.5)).astype(np.uint8))
        path = self._path(position, y, x)
        write_array(path, box)
        # Only where the quadmask changed under the folder: the newest is the truth.
        for stale in self._candidates(position):
            if stale != path:
                stale.unlink(missing_ok=True)

    def read(self, position: int) -> RGB:
        """(H, W, 3) on the canvas, zero where the quadmask keeps. Raises ``JobFailed`` where the frame is not there."""
        stored = self._stored(position)
        if stored is None:
            raise JobFailed(
                f"The engine's frame at position {position} is not in {self.folder}.",
                hint="Run the job again: it goes on from the frames that are there.",
                details={"position": position},
            )
        rgb = np.zeros((self.canvas.height, self.canvas.width, 3), np.float32)
        rgb[stored.y : stored.y + stored.height, stored.x : stored.x + stored.width] = stored.samples()
        return rgb

    def confidence(self, position: int) -> Share:
        """(H, W) on the canvas: 1 where the quadmask keeps, 0 for what the engine said nothing of."""
        keeps = self.quadmask(position) == KEEP
        share = np.zeros(keeps.shape, np.float32)
        stored, beside = self._stored(position), self._beside(position)
        if stored is not None and beside.is_file():
            box = read_array(beside)
            if box.shape == (stored.height, stored.width):
                inside = slice(stored.y, stored.y + stored.height), slice(stored.x, stored.x + stored.width)
                share[inside] = box.astype(np.float32) / np.float32(255)
        share[keeps] = 1.0
        return share

    def _beside(self, position: int) -> Path:
        return self.folder / f"{position:06d}.confidence.npy"

    def _path(self, position: int, y: int, x: int) -> Path:
        return self.folder / f"{position:06d}_x{x}_y{y}.npy"

    def _candidates(self, position: int) -> list[Path]:
        return sorted(self.folder.glob(f"{position:06d}_x*_y*.npy"))

    def _stored(self, position: int) -> _Stored | None:
        for path in self._candidates(position):
            try:
                x, y = (int(word[1:]) for word in path.stem.split("_")[1:])
                stored = _judge(path, x, y)
            except (OSError, ValueError):
                continue  # torn by a disk, or no frame of ours: not there
            if stored and y + stored.height <= self.canvas.height and x + stored.width <= self.canvas.width:
                return stored
        return None


@dataclass(frozen=True)
class _Stored:
    """A whole file: where its box lies on the canvas, and where its samples start, in bytes."""

    path: Path
    x: int
    y: int
    height: int
    width: int
    offset: int

    def samples(self) -> RGB:
        count = self.height * self.width * 3
        return np.fromfile(self.path, np.float32, count, offset=self.offset).reshape(self.height, self.width, 3)


def _judge(path: Path, x: int, y: int) -> _Stored | None:
    """None for what is not float32 (h, w, 3), or not as long as its header says; raises ``ValueError`` for no .npy."""
    with path.open("rb") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            return None
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if fortran or dtype != np.float32 or len(shape) != 3 or shape[2] != 3:
            return None
        if os.fstat(file.fileno()).st_size != file.tell() + 12 * shape[0] * shape[1]:
            return None
        return _Stored(path, x, y, shape[0], shape[1], file.tell())


def _bounds(replaced: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """``(y, x, height, width)`` of what is True; all 0 where nothing is."""
    rows, columns = np.flatnonzero(replaced.any(axis=1)), np.flatnonzero(replaced.any(axis=0))
    if not rows.size:
        return 0, 0, 0, 0
    return int(rows[0]), int(columns[0]), int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)
