"""A clip in eight bits, display-referred: ``void_engine.segmentation.interface.Pictures``.

Promises: small copies are made once and kept on disk; memory holds a few frames.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np

from void_engine.arrays import read_array, write_array
from void_engine.colour.shaper import Shaper
from void_engine.interface import Clip
from void_engine.segmentation.interface import Picture

_HELD = 8  # proxies in memory


class ClipPictures:
    def __init__(self, clip: Clip, folder: Path, shaper: Shaper | None = None) -> None:
        """``folder`` takes the small copies."""
        self._clip = clip
        self._shaper = shaper or Shaper()
        self._folder = folder
        self._held: OrderedDict[tuple[int, int], Picture] = OrderedDict()

    def __len__(self) -> int:
        return len(self._clip.numbers)

    @property
    def size(self) -> tuple[int, int]:
        return self._clip.canvas.height, self._clip.canvas.width

    def rgb(self, position: int) -> Picture:
        shown = self._shaper.to_display(self._clip.plate(position))
        codes: Picture = (shown * np.float32(255) + np.float32(0.5)).astype(np.uint8)
        return codes

    def proxy(self, position: int, long_side: int) -> Picture:
        key = (position, long_side)
        if key not in self._held:
            self._held[key] = self._stored(position, long_side)
            while len(self._held) > _HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(key)
        return self._held[key]

    def _stored(self, position: int, long_side: int) -> Picture:
        path = self._folder / f"proxy{long_side}" / f"{position:06d}.npy"
        if path.is_file():
            return read_array(path)
        picture = shrink(self.rgb(position), long_side)
        write_array(path, picture)
        return picture


def proxy_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """(height, width) of a proxy: never larger than the canvas."""
    scale = min(1.0, long_side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def shrink(picture: Picture, long_side: int) -> Picture:
    height, width = proxy_size(picture.shape[:2], long_side)
    if (height, width) == picture.shape[:2]:
        return picture
    small: Picture = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return small
