"""The engine's frames on disk: what it made so far, ready to be found again after a kill.

Promises: ``has`` is true only for a frame that is whole; memory and disk hold the replaced region, not the plate.
Must not: hold frames in memory, or trust a file because of its name.

One ``.npy`` (never pickled) per frame: float32 (h, w, 3) over the bounding box of the pixels that the quadmask does not
keep, named with the position and the box: ``000012_x64_y32.npy``. A frame whose quadmask keeps everything is (0, 0, 3).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from void_client.errors import JobFailed

from void_engine.interface import KEEP, RGB, Quadmask, Window
from void_engine.plates.atomic import write_atomically


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

    def write(self, position: int, rgb: RGB) -> None:
        """Stores the replaced pixels of ``rgb`` (H, W, 3) on the canvas. Atomic.

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
        stream = io.BytesIO()
        np.save(stream, box, allow_pickle=False)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(position, y, x)
        write_atomically(path, [stream.getbuffer()])
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
        y, x, box = stored
        rgb = np.zeros((self.canvas.height, self.canvas.width, 3), np.float32)
        rgb[y : y + box.shape[0], x : x + box.shape[1]] = box
        return rgb

    def _path(self, position: int, y: int, x: int) -> Path:
        return self.folder / f"{position:06d}_x{x}_y{y}.npy"

    def _candidates(self, position: int) -> list[Path]:
        return sorted(self.folder.glob(f"{position:06d}_x*_y*.npy"))

    def _stored(self, position: int) -> tuple[int, int, npt.NDArray[np.float32]] | None:
        for path in self._candidates(position):
            try:
                x, y = (int(word[1:]) for word in path.stem.split("_")[1:])
                # Mapped, not read: numpy compares the file's length with its header.
                box = np.load(path, mmap_mode="r" if path.stat().st_size > _EMPTY_BYTES else None, allow_pickle=False)
            except (OSError, ValueError):
                continue  # torn by a disk, or no frame of ours: not there
            fits = box.ndim == 3 and box.shape[2] == 3 and box.dtype == np.float32
            if fits and y + box.shape[0] <= self.canvas.height and x + box.shape[1] <= self.canvas.width:
                return y, x, box
        return None


_EMPTY_BYTES = 128  # the .npy of (0, 0, 3), which cannot be mapped


def _bounds(replaced: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """``(y, x, height, width)`` of what is True; all 0 where nothing is."""
    rows, columns = np.flatnonzero(replaced.any(axis=1)), np.flatnonzero(replaced.any(axis=0))
    if not rows.size:
        return 0, 0, 0, 0
    return int(rows[0]), int(columns[0]), int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)
