"""Small eight-bit copies of every frame, on which motion and sources are decided.

Promises that each plate is decoded once for this (some ten twice, for the grain) and that memory does not grow with
the clip: copies lie in the scratch folder and a few are held. Must not touch a result's pixels.

A proxy's state is 0 where every plate pixel under it is kept and valid; bit 1 (`HOLE`) where
one is to be replaced, bit 2 (`MISSING`) where one lies outside the frame's own data window.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from void_engine import grain
from void_engine.cleanplate import pixels, scratch, shaper
from void_engine.cleanplate.pixels import Bytes, Mask, Matrix
from void_engine.cleanplate.shaper import Encoded
from void_engine.grain import GrainModel
from void_engine.interface import KEEP, Clip

HOLE, MISSING = 1, 2
LONG_SIDE = 960
_HELD = 24  # proxies in memory: 24 * 2 MB at most; what one frame's plan looks at
_MASKS = 128  # and masks, a bit to a pixel: 128 * 65 kB at most


@dataclass(frozen=True)
class Proxy:
    """``rgb`` (h, w, 3) eight bits of the shaper's encoding; ``state`` (h, w) bits as in the module's docstring."""

    rgb: Bytes
    state: Bytes

    @property
    def hole(self) -> Mask:
        return np.asarray((self.state & HOLE) != 0)


class ProxyShot:
    """The proxies of a clip, by position, and what was learned while reading it."""

    def __init__(self, folder: Path, size: tuple[int, int], canvas: tuple[int, int], exposure: float) -> None:
        """``size`` and ``canvas`` are (width, height) of proxy and plate."""
        self.width, self.height = size
        self.exposure = exposure
        self.to_proxy = _scaling(canvas, size)
        self.to_plate = np.linalg.inv(self.to_proxy)
        self.scale = max(canvas[0] / size[0], canvas[1] / size[1])
        self._folder = folder
        self._held: OrderedDict[int, Proxy] = OrderedDict()
        self._trusted: OrderedDict[tuple[int, int], Bytes] = OrderedDict()

    def get(self, position: int) -> Proxy:
        """The proxy of one frame, from memory or the scratch folder."""
        proxy = self._held.get(position)
        if proxy is None:
            arrays = scratch.load_arrays(_path(self._folder, position))
            if arrays is None:
                raise LookupError(f"no proxy for position {position}")
            proxy = Proxy(arrays["rgb"], arrays["state"])
            self._held[position] = proxy
            if len(self._held) > _HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(position)
        return proxy

    def trusted(self, position: int, margin: int) -> Mask:
        """Where a frame's proxy pixels are kept, valid and ``margin`` pixels away from those that are not."""
        key = (position, margin)
        bits = self._trusted.get(key)
        if bits is None:
            bits = np.packbits(pixels.shrunk(self.get(position).state == 0, margin))
            self._trusted[key] = bits
            if len(self._trusted) > _MASKS:
                self._trusted.popitem(last=False)
        self._trusted.move_to_end(key)
        whole = np.unpackbits(bits, count=self.width * self.height)
        return np.asarray(whole.reshape(self.height, self.width).view(np.bool_))


def _path(folder: Path, position: int) -> Path:
    return folder / f"proxy.{position:06d}.npz"


def _scaling(canvas: tuple[int, int], size: tuple[int, int]) -> Matrix:
    # Pixel centres: x_small + 0.5 = (x_large + 0.5) * ratio.
    sx, sy = size[0] / canvas[0], size[1] / canvas[1]
    return np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]], dtype=np.float64)


def proxy_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of the proxy of a canvas: long side at most 960, never enlarged."""
    ratio = min(1.0, LONG_SIDE / max(width, height))
    return max(1, round(width * ratio)), max(1, round(height * ratio))


def read_shot(clip: Clip, folder: Path, tick: Callable[[str], None]) -> tuple[ProxyShot, GrainModel]:
    """Reads every frame once; frames whose proxy is on disk already are not decoded again.

    ``tick`` is called once a frame. The middle frame also gives the exposure, and a few pairs of frames the grain.
    """
    canvas = (clip.canvas.width, clip.canvas.height)
    size = proxy_size(*canvas)
    middle = len(clip.numbers) // 2
    known = scratch.load_json(folder / "shot.json")
    if known is None:
        exposure = shaper.exposure_for(clip.plate(middle))
        model = grain.measure(lambda position: _kept(clip, position, exposure), len(clip.numbers))
        known = {"exposure": exposure, "grain": model.to_json()}
        scratch.save_json(folder / "shot.json", known)
    exposure = float(known["exposure"])
    for position in range(len(clip.numbers)):
        if not _path(folder, position).exists():
            proxy = _make(clip, position, size, exposure)
            scratch.save_arrays(_path(folder, position), {"rgb": proxy.rgb, "state": proxy.state})
        tick(f"reading frame {clip.numbers[position]}")
    return ProxyShot(folder, size, canvas, exposure), GrainModel.from_json(known["grain"])


def _kept(clip: Clip, position: int, exposure: float) -> tuple[Encoded, Mask]:
    usable = np.asarray((clip.quadmask(position) == KEEP) & clip.valid(position))
    return shaper.encode(clip.plate(position), exposure), usable


def _make(clip: Clip, position: int, size: tuple[int, int], exposure: float) -> Proxy:
    hole = clip.quadmask(position) != KEEP
    missing = ~clip.valid(position)
    small = pixels.resized(clip.plate(position), size)
    state = pixels.any_in(hole, size) * np.uint8(HOLE) | pixels.any_in(missing, size) * np.uint8(MISSING)
    return Proxy(shaper.to_bytes(shaper.encode(small, exposure)), state.astype(np.uint8))
