"""A clip as the model sees it, kept on disk at the model's size; and pass 1's frames, for pass 2 to follow.

Promises: each plate is decoded once, and memory does not grow with the clip. Must not know the model.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.arrays import read_array, write_array
from void_engine.colour.shaper import Shaper
from void_engine.interface import Clip
from void_engine.quadmask import resized


class FrameStore:
    """Arrays by position, one ``.npy`` each; a frame is whole or not there."""

    def __init__(self, folder: Path, frames: int) -> None:
        self._folder = folder
        self._frames = frames

    def __len__(self) -> int:
        return self._frames

    def __getitem__(self, position: int, /) -> npt.NDArray[np.generic]:
        return read_array(self._path(position))

    def has(self, position: int) -> bool:
        return self._path(position).is_file()

    def write(self, position: int, frame: npt.NDArray[np.generic]) -> None:
        """Atomic; raises ``DiskFull``."""
        write_array(self._path(position), frame)

    def _path(self, position: int) -> Path:
        return self._folder / f"{position:06d}.npy"


def prepare(
    clip: Clip, size: tuple[int, int], shaper: Shaper, folder: Path, tick: Callable[[int, int], None]
) -> tuple[FrameStore, FrameStore]:
    """Display-referred frames (half float, [0, 1]) and quadmasks at ``size`` (height, width).

    ``tick(done, of)`` after each frame; it may raise. Frames that are there already are not made again.
    """
    count = len(clip.numbers)
    frames, masks = FrameStore(folder / "frames", count), FrameStore(folder / "masks", count)
    for position in range(count):
        if not (frames.has(position) and masks.has(position)):
            masks.write(position, resized(clip.quadmask(position), size))
            frames.write(position, resize(shaper.to_display(clip.plate(position)), size).astype(np.float16))
        tick(position + 1, count)
    return frames, masks


def resize(frame: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Averaged where it gets smaller, cubic where it grows; [0, 1] in and out."""
    height, width = size
    if frame.shape[:2] == size:
        return frame
    smaller = height <= frame.shape[0] and width <= frame.shape[1]
    sized = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    held: npt.NDArray[np.float32] = np.clip(sized, 0.0, 1.0)
    return held
