"""The background of a standing camera at the plate's size: the mean of the frames that show it, and their detail.

Promises a picture with next to no grain, whole lamps, and pieces of it that are alive: with the fine detail and the
grain of a frame that shows the place, or with grain made after the plate's. Must not decide who shows what
(`void_engine.cleanplate.agreement`), and holds one frame at a time besides the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from void_engine import grain
from void_engine.cleanplate import pixels, scratch
from void_engine.cleanplate.agreement import Agreement, agree, at_light
from void_engine.cleanplate.pixels import Box, Floats, Mask, moved_by, within
from void_engine.cleanplate.proxies import ProxyShot
from void_engine.cleanplate.shaper import Encoded, encode
from void_engine.grain import GrainModel
from void_engine.interface import KEEP, RGB, Clip

_FINE = 8.0  # plate pixels: what is finer than this comes from another frame, what is coarser from the mean
_ANOTHER = 0.05  # encoded difference from the mean, blurred, at which a frame shows something else after all
_CLEAR = 2  # proxy pixels around what passes by that are no measure of the light
_SEEN = 0.5  # share of a pixel from which a frame shows it
_LITTLE = 0.004  # weight of a frame beside what it shows for sure


@dataclass(frozen=True)
class Backdrop:
    """``mean`` (h, w, 3) encoded at the clip's light over ``region`` of the plate; ``frames`` (h, w) that it is of."""

    agreement: Agreement
    region: Box
    mean: Encoded
    frames: Floats

    def seen(self, part: Box) -> Floats:
        """1 where the mean over ``part`` of the plate is one, 0 where no frame shows the place."""
        return (_cut(self.frames, self.region, part) > 0.0).astype(np.float32)

    def shows(self, shot: ProxyShot, position: int, part: Box) -> Mask:
        """Where over ``part`` of the plate a frame itself shows the background, clear of what passes by."""
        clear = pixels.shrunk(self.agreement.shows(position) & self.agreement.known, _CLEAR)
        return np.asarray(self.share(shot, clear, part) > _SEEN)

    def still(self, position: int, part: Box) -> Encoded:
        """The mean over ``part`` of the plate, at a frame's light."""
        return at_light(_cut(self.mean, self.region, part), self.agreement.gains[position])

    def grained(self, position: int, part: Box, model: GrainModel, seed: int, strength: float) -> Encoded:
        """`still` with as much grain as it has lost."""
        still = self.still(position, part)
        lost = np.sqrt(np.maximum(0.0, 1.0 - 1.0 / np.maximum(_cut(self.frames, self.region, part), 1.0)))
        noise = grain.synthesise(model, still, (seed, position), part[:2])
        return np.asarray(still + noise * (lost * np.float32(strength))[..., None], dtype=np.float32)

    def live(self, shot: ProxyShot, plate: RGB, source: int, position: int, part: Box) -> tuple[Encoded, Floats]:
        """`still` with the detail and the grain of the ``plate`` of frame ``source``, and how far that is believed."""
        wide = _within(part, round(2.5 * _FINE), self.region)
        still = self.still(position, wide)
        gain = self.agreement.gains[position] / self.agreement.gains[source]
        window = (slice(wide[1], wide[3]), slice(wide[0], wide[2]))
        rest = at_light(encode(plate[window], shot.exposure), gain) - still
        share = self.share(shot, self.agreement.shows(source), wide)
        lively = self.share(shot, self.agreement.lively, wide)
        coarse = pixels.blurred(rest * share[..., None], _FINE) / (pixels.blurred(share, _FINE) + 1e-3)[..., None]
        # Water moves as a whole: there its coarse change is the frame's own, too.
        fine = rest - coarse * (1.0 - lively)[..., None]
        away = np.abs(pixels.blurred(fine, 1.5)).max(axis=2)
        trust = np.exp(-((np.maximum(0.0, away - _ANOTHER) / _ANOTHER) ** 2))
        trust = share * pixels.blurred(np.maximum(trust, lively), 1.0)
        inner = (slice(part[1] - wide[1], part[3] - wide[1]), slice(part[0] - wide[0], part[2] - wide[0]))
        return np.asarray((still + fine)[inner], dtype=np.float32), np.asarray(trust[inner], dtype=np.float32)

    def share(self, shot: ProxyShot, over_box: npt.NDArray[np.generic], part: Box) -> Floats:
        """Something over the agreement's box of the proxy, soft, over ``part`` of the plate."""
        return _on_plate(shot, over_box, self.agreement.box, part)


def _on_plate(shot: ProxyShot, over_box: npt.NDArray[np.generic], box: Box, part: Box) -> Floats:
    matrix = moved_by(-box[0], -box[1]) @ shot.to_proxy
    soft = np.asarray(over_box, dtype=np.float32)
    return np.asarray(pixels.warp(soft, matrix, part, cv2.INTER_LINEAR, clamp=True), dtype=np.float32)


def _cut(picture: npt.NDArray[np.float32], region: Box, part: Box) -> npt.NDArray[np.float32]:
    """``part`` of a picture over ``region``; its border beyond."""
    rows = np.clip(np.arange(part[1], part[3]) - region[1], 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(part[0], part[2]) - region[0], 0, picture.shape[1] - 1)
    if rows[-1] - rows[0] == len(rows) - 1 and columns[-1] - columns[0] == len(columns) - 1:
        return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.asarray(picture[rows[:, None], columns])


def _within(part: Box, pad: int, region: Box) -> Box:
    """``part`` with ``pad`` around it as far as ``region`` has it, but all of ``part``."""
    return (
        min(part[0], max(region[0], part[0] - pad)),
        min(part[1], max(region[1], part[1] - pad)),
        max(part[2], min(region[2], part[2] + pad)),
        max(part[3], min(region[3], part[3] + pad)),
    )


def make(
    clip: Clip,
    shot: ProxyShot,
    folder: Path,
    margin: int,
    plate_box: Callable[[Box], Box],
    tick: Callable[[str], None],
) -> Backdrop | None:
    """Decides and averages; ``tick`` is called once a frame. None where there is nothing to replace or to see."""
    agreement = agree(shot, len(clip.numbers), folder, margin)
    path = folder / "backdrop.npz"
    stored = scratch.load_arrays(path)
    region = plate_box(agreement.box) if agreement is not None else (0, 0, 0, 0)
    total = np.zeros((region[3] - region[1], region[2] - region[0], 3), dtype=np.float32)
    frames = np.zeros(total.shape[:2], dtype=np.float32)
    for position, number in enumerate(clip.numbers):
        if agreement is not None and stored is None and position in agreement.compared:
            _add(clip, shot, agreement, position, region, total, frames)
        tick(f"averaging frame {number}")
    if agreement is None:
        return None
    if stored is None:
        total /= np.maximum(frames, _LITTLE / 2)[..., None]
        stored = {"mean": total, "frames": frames}
        scratch.save_arrays(path, stored)
    return Backdrop(agreement, region, stored["mean"], stored["frames"])


def _add(
    clip: Clip, shot: ProxyShot, agreement: Agreement, position: int, region: Box, total: Encoded, frames: Floats
) -> None:
    window = (slice(region[1], region[3]), slice(region[0], region[2]))
    usable = (clip.quadmask(position)[window] == KEEP) & clip.valid(position)[window]
    shows = agreement.shows(position)
    share = _on_plate(shot, shows, agreement.box, region) * usable
    share[share < _SEEN] = 0.0
    # Where no frame shows the place for sure, the seams should still lie on what was filmed.
    near = pixels.grown(shows, 2) & within(shot.trusted(position, 2), (0, 0, shot.width, shot.height), agreement.box)
    share += np.float32(_LITTLE) * (_on_plate(shot, near, agreement.box, region) > _SEEN) * usable * (share == 0.0)
    picture = at_light(encode(clip.plate(position)[window], shot.exposure), 1.0 / agreement.gains[position])
    total += picture * share[..., None]
    frames += share
