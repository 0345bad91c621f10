"""The plate's own detail and grain on what a model generated, which is smooth and somewhat soft.

Promises: where another frame shows what was generated, its pixels are taken, resampled once at most; where none does,
or where it shows something else (what the removal changed), the generated pixel stays and gets the plate's grain,
another on every frame, the same for the same seed. Memory does not grow with the clip. Must not: touch kept pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from void_engine import grain
from void_engine.cleanplate import pixels, scratch, shaper
from void_engine.cleanplate.background import TICKS, Background, find_background, grain_alone
from void_engine.cleanplate.fill import plate_box
from void_engine.cleanplate.options import Options
from void_engine.cleanplate.render import Painted, Painter
from void_engine.interface import KEEP, RGB, CleanFrames, Clip, Mask, Share, StageContext
from void_engine.restore.scales import Scales

VERSION = 2

_LIKE = 0.05  # encoded difference of the coarse pictures at which a frame is believed by a third
_SOFT = 1.5  # plate pixels over which generated and seen pixels are mixed, at the least
_COARSE = 1.0  # of the model's pixels: what is finer, the model does not know
_LEAST = 0.02  # of trust: less is none

Encoded = npt.NDArray[np.float32]


@dataclass(frozen=True)
class DetailOptions:
    """``detail``: take pixels from other frames. ``grain``: strength of the grain laid on generated ones."""

    detail: bool = True
    grain: float = 1.0


def add_detail(
    clip: Clip,
    generated: CleanFrames,
    scales: Scales,
    options: DetailOptions,
    seed: int,
    out: CleanFrames,
    context: StageContext,
) -> dict[str, Any]:
    """Writes every frame with a hole; returns the share that was seen in other frames, for the manifest.

    ``generated``: on the canvas, scene-linear, level with the plate (`void_engine.restore.place`). ``scales``: plate
    pixels to one of the model's, region by region. Raises ``Cancelled`` through ``context``.
    """
    bar = _Bar(context, (TICKS + 1) * len(clip.numbers))
    if options.detail:
        behind = find_background(clip, context.scratch, Options(), bar.tick)
    else:
        behind = grain_alone(clip, context.scratch, bar.tick)
    work = _Work(clip, behind, scales, options, seed)
    shares = []
    for position, number in enumerate(clip.numbers):
        if (clip.quadmask(position) != KEEP).any():
            note = context.scratch / f"seen.{position:06d}.json"
            if not out.has(position):
                result, confidence = work.frame(position, generated.read(position))
                hole = clip.quadmask(position) != KEEP
                scratch.save_json(note, {"seen": float(confidence[hole].mean())})
                out.write(position, result, confidence)
            shares.append((scratch.load_json(note) or {"seen": 0.0})["seen"])
        bar.tick(f"detail of frame {number}")
    return {"seen": round(float(np.mean(shares)), 4) if shares else 0.0}


class _Bar:
    def __init__(self, context: StageContext, of: int) -> None:
        self._context, self._of, self._done = context, of, 0

    def tick(self, note: str) -> None:
        self._done += 1
        self._context.progress(self._done, self._of, note)


class _Work:
    """Frames of one clip."""

    def __init__(self, clip: Clip, behind: Background, scales: Scales, options: DetailOptions, seed: int) -> None:
        self._clip, self._behind, self._options, self._seed = clip, behind, options, seed
        self._scales = scales
        self._painter = Painter(clip, behind, Options(), seed)

    def frame(self, position: int, generated: RGB) -> tuple[RGB, Share]:
        """The finished frame, scene-linear, and its confidence."""
        hole = np.asarray(self._clip.quadmask(position) != KEEP)
        confidence = np.ones(hole.shape, np.float32)
        result = generated.copy()
        whole = np.zeros((*hole.shape, 3), np.float32)
        shown = np.zeros(hole.shape, np.float32)
        seen = self._seen(position)
        if seen is not None:
            box, painted = seen
            inner = (slice(box[1], box[3]), slice(box[0], box[2]))
            whole[inner], shown[inner] = painted.picture, painted.seen * painted.hole
        for scale, part in self._scales.parts(hole):
            window = _bounds(part)
            finished, trust = self._finished(
                position, window, generated[window], (whole[window], shown[window]), part[window], scale
            )
            result[window][part[window]] = finished[part[window]]
            confidence[part] = trust[part[window]]
        return result, confidence

    def _finished(
        self,
        position: int,
        window: tuple[slice, slice],
        generated: RGB,
        seen: tuple[Encoded, Share],
        hole: Mask,
        scale: float,
    ) -> tuple[RGB, Share]:
        """One region's pixels in its ``window``, and how far they are of another frame. ``seen``: picture, share."""
        exposure = self._behind.shot.exposure
        made = shaper.encode(generated, exposure)
        trust = self._trust(made, *seen, hole, max(_SOFT, _COARSE * scale))
        finished = made + (seen[0] - made) * trust[..., None]
        # What another frame shows has its own grain; variances add.
        bare = np.sqrt(np.maximum(0.0, 1.0 - trust**2))[..., None]
        finished = finished + self._grain(made, position, window) * bare
        return shaper.decode(np.asarray(finished, np.float32), exposure), trust

    def _seen(self, position: int) -> tuple[pixels.Box, Painted] | None:
        """What other frames show of the hole, and where on the plate."""
        plan = self._behind.plans.get(position)
        if plan is None or not plan.sources:
            return None
        region = plate_box(plan.box, self._behind.shot, self._painter.canvas)
        return region, self._painter.paint(position, plan, region)

    def _trust(self, made: Encoded, shown: Encoded, share: Share, hole: Mask, sigma: float) -> Share:
        """(h, w): how far a pixel of another frame is what was generated here, as far as the model can tell.

        ``sigma``: of the coarse pictures that are compared, plate pixels."""
        there = hole & (share > 0.5)
        if not there.any():
            return np.zeros(hole.shape, np.float32)
        weight = pixels.blurred(there.astype(np.float32), sigma)
        difference = pixels.blurred(np.where(there[..., None], shown - made, np.float32(0.0)), sigma)
        unlike = np.abs(difference / np.maximum(weight, 1e-3)[..., None]).max(axis=2)
        like = np.exp(-((unlike / np.float32(_LIKE)) ** 2)) * there
        # Soft over the model's pixels, never beyond what was seen: what agrees only in spots is chance.
        core = pixels.blurred(like, sigma) / np.maximum(pixels.blurred(hole.astype(np.float32), sigma), 1e-3)
        trust = np.clip(1.5 * core - 0.25, 0.0, 1.0) * pixels.blurred(share * there, _SOFT / 2) * there
        return np.where(trust < _LEAST, np.float32(0.0), trust).astype(np.float32)

    def _grain(self, level: Encoded, position: int, window: tuple[slice, slice]) -> Encoded:
        origin = (window[1].start, window[0].start)
        noise = grain.synthesise(self._behind.grain, level, (self._seed, position), origin)
        return np.asarray(noise * np.float32(self._options.grain), np.float32)


def _bounds(mask: Mask) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
