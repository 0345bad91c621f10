"""Shadows taken off instead of pasted over: the plate's own texture and grain, at the light of the clean picture.

Promises that only what is a darkening is taken off: a smooth gain for each channel after which the plate looks like the
clean picture, to within grain and a little misalignment. Everything else, such as a reflection or a thing that was
pushed, stays replaced. Must not look at other frames: the clean picture is given.

Where no frame shows what lies under the darkest part of a shadow, the filled picture knows its level but not its
texture. There the plate's own texture is kept if the parts of the same region that can be checked are a shadow.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from void_engine.cleanplate import pixels, seam, shaper
from void_engine.cleanplate.pixels import Floats, Mask
from void_engine.cleanplate.shaper import Encoded
from void_engine.grain import GrainModel
from void_engine.grain.synthesis import strength_at

_SMOOTH = 0.012  # of the plate's width: a gain is no finer than this
_WIDE = 2.0  # times as smooth where only a fill tells the level
_FLOOR = 0.004  # light, at exposure 1, under which a ratio says nothing
_LAMP = 1.5  # light from which a pixel would drown its neighbours' ratio
_DARKEST, _BRIGHTEST = 0.05, 1.15  # gains of a shadow
_TOLERANCE = 0.006  # encoded difference that is no reason for doubt
_GOOD, _BAD = 1.5, 2.5  # variance left over, in those expected, up to which and from which on it is (not) a shadow
_EVIDENCE, _MOST = 0.2, 0.7  # of a region that must be possible to check, and of that what must be a shadow
_TOGETHER = 2.0  # pixels of a blur that leaves what hangs together
_NEAR = 2.5  # pixels over which that is looked at
_SEEN = 0.9  # share from which a pixel of the clean picture counts as filmed
_SMALL = 64  # pixels of a region that are worth the effort


@dataclass(frozen=True)
class Relit:
    """``picture`` encoded (h, w, 3); ``trust`` (h, w): how far it is the plate's own, 0 outside of shadows."""

    picture: Encoded
    trust: Floats


def relight(
    plate: Encoded,
    clean: Encoded,
    affected: Mask,
    seen: Floats,
    ring: Mask,
    model: GrainModel,
    width: int,
    shift: float,
) -> Relit:
    """``clean`` with the plate's own pixels wherever they are ``affected`` by a shadow alone.

    ``seen``: how far ``clean`` was filmed (1) or invented (0). ``ring``: kept pixels at which both are comparable.
    ``width``: the plate's. ``shift``: pixels that ``clean`` may be out of place.
    """
    picture, trust = clean.copy(), np.zeros(affected.shape, np.float32)
    if np.count_nonzero(affected) >= _SMALL:
        sigma = max(2.0, _SMOOTH * width)
        part = _around(affected, round(3.0 * sigma))
        given = (plate[part], clean[part], affected[part], seen[part], ring[part])
        picture[part], trust[part] = _relit(*given, model, sigma, shift)
    return Relit(picture, trust)


def _around(mask: Mask, grow: int) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - grow), int(rows[-1]) + 1 + grow),
        slice(max(0, int(columns[0]) - grow), int(columns[-1]) + 1 + grow),
    )


def _relit(
    plate: Encoded,
    clean: Encoded,
    affected: Mask,
    seen: Floats,
    ring: Mask,
    model: GrainModel,
    sigma: float,
    shift: float,
) -> tuple[Encoded, Floats]:
    own, lit = (_logarithm(picture) for picture in (plate, clean))
    even = (np.maximum(own, lit) < np.log(_LAMP)).all(axis=2)
    told = ((affected & (seen > _SEEN)) | ring) & even
    gain = _smooth(own - lit, told, sigma)
    # Once more on what is left: a blur alone flattens the penumbra.
    gain += _smooth(own - lit - gain, told, sigma)
    off = _taken_off(plate, gain)
    grain, louder = _grain(model, plate, off, gain)
    trust = _trust(off, clean, gain, grain * (1.0 + louder**2), told, shift, _softened(model))
    # A ratio that is a little wrong is a large difference of a lamp's light.
    trust *= affected & (seen > _SEEN) & pixels.shrunk(even, 1)
    core = _core(affected, seen, trust)
    if core.any():
        # The level all around, and not the fill's: that has edges of its own.
        around = seam.pull_push(_smooth(lit, told, sigma), told.astype(np.float32))
        wide = _smooth(own - around, (affected | ring) & even, _WIDE * sigma)
        gain += (wide - gain) * pixels.blurred(core.astype(np.float32), sigma)[..., None]
        off = _taken_off(plate, gain)
        grain, louder = _grain(model, plate, off, gain)
        trust = np.maximum(trust, core)
    # Grain of a shadow brought up is stronger than the plate's: mixed with the clean picture's it comes out right.
    mixed = 2.0 / (1.0 + louder**2)
    mixed += (1.0 - mixed) * pixels.blurred(core.astype(np.float32), 1.0)[..., None]
    share = (pixels.blurred(trust, 1.0) * affected)[..., None] * mixed
    return np.asarray(clean + (off - clean) * share, dtype=np.float32), trust


def _logarithm(picture: Encoded) -> Encoded:
    return np.asarray(np.log(np.maximum(shaper.decode(picture), 0.0) + np.float32(_FLOOR)), dtype=np.float32)


def _smooth(difference: Encoded, where: Mask, sigma: float) -> Encoded:
    """The mean around each pixel of what is told; at a size at which that is a few pixels wide."""
    height, width = where.shape
    ratio = min(1.0, 3.0 / sigma)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    weight = pixels.blurred(pixels.resized(where, size), sigma * ratio)
    total = pixels.blurred(pixels.resized(difference * where[..., None], size), sigma * ratio)
    mean = np.asarray(total / (weight + np.float32(1e-4))[..., None], dtype=np.float32)
    return pixels.resized(mean, (width, height), smooth=True)


def _taken_off(plate: Encoded, gain: Encoded) -> Encoded:
    """The plate at ``exp(-gain)`` times its light."""
    light = shaper.decode(plate) + np.float32(_FLOOR)
    return shaper.encode(np.asarray(light * np.exp(-gain) - np.float32(_FLOOR), dtype=np.float32))


def _grain(model: GrainModel, plate: Encoded, off: Encoded, gain: Encoded) -> tuple[Floats, Floats]:
    """The grain's variance that the level ``off`` should have, and how many times stronger the plate's is there."""
    variance, louder = np.empty(plate.shape, np.float32), np.ones(plate.shape, np.float32)
    for channel in range(3):
        had, should = (strength_at(model, picture[..., channel], channel) for picture in (plate, off))
        # A step of the encoding is more light the brighter it is.
        steep = (
            np.cosh(shaper.NORM * plate[..., channel])
            / np.cosh(shaper.NORM * off[..., channel])
            * np.exp(-gain[..., channel])
        )
        variance[..., channel] = should**2
        louder[..., channel] = np.clip(had * steep / np.maximum(should, 1e-5), 1.0, 8.0)
    return variance, louder


def _trust(
    off: Encoded, clean: Encoded, gain: Encoded, grain: Encoded, told: Mask, shift: float, soft: float
) -> Floats:
    """How far what is left over is grain and misalignment only, pixel by pixel and in what hangs together.

    ``soft``: share of the grain's variance that a blur by `_TOGETHER` leaves.
    """
    where = told.astype(np.float32)
    rest = off - clean
    together = pixels.blurred(rest * where[..., None], _TOGETHER)
    together /= (pixels.blurred(where, _TOGETHER) + np.float32(1e-4))[..., None]
    luma, trust = clean.mean(axis=2), np.ones(told.shape, np.float32)
    # A thin edge that is left, such as a reflection's, is no more than grain in a pixel; it is along its length.
    for left, picture, part, tolerance, near in (
        (rest, luma, 1.0, _TOLERANCE, _NEAR),
        (together, pixels.blurred(luma, _TOGETHER), soft, _TOLERANCE / 4.0, 2.0 * _NEAR),
    ):
        slope = sum(cv2.Sobel(picture, cv2.CV_32F, *order, scale=0.125) ** 2 for order in ((1, 0), (0, 1)))
        expected = tolerance**2 + shift**2 * np.asarray(slope) + part * grain.mean(axis=2)
        over = pixels.blurred((left**2).mean(axis=2) * where, near)
        over /= np.maximum(pixels.blurred(np.asarray(expected, np.float32) * where, near), 1e-9)
        trust *= np.clip((_BAD - over) / (_BAD - _GOOD), 0.0, 1.0)
    plausible = (gain > np.log(_DARKEST)).all(axis=2) & (gain < np.log(_BRIGHTEST)).all(axis=2)
    return np.asarray(trust * plausible, dtype=np.float32)


def _softened(model: GrainModel) -> float:
    """What share of the grain's variance a blur by `_TOGETHER` leaves."""
    kernel = np.pad(model.kernel[1], 8)
    return float((cv2.GaussianBlur(kernel, (0, 0), _TOGETHER) ** 2).sum() / max((kernel**2).sum(), 1e-9))


def _core(affected: Mask, seen: Floats, trust: Floats) -> Mask:
    """What no frame shows of regions that, where they can be checked, are a shadow."""
    core = np.zeros_like(affected)
    unseen = affected & (seen < 1.0 - _SEEN)
    if np.count_nonzero(unseen) < _SMALL:
        return core
    count, pieces = cv2.connectedComponents(affected.astype(np.uint8), connectivity=8)
    for piece in range(1, count):
        inside = pieces == piece
        checked = inside & (seen > _SEEN)
        size, known = np.count_nonzero(inside), np.count_nonzero(checked)
        if known > _EVIDENCE * size and float(trust[checked].mean()) > _MOST:
            core |= inside & (seen <= _SEEN)
    return core
