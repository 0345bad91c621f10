"""What the object does to light: its reflection below it, its shadow on even ground.

Promises: found frame by frame, accepted only where most sampled frames agree; pure functions of a picture and a mask.
Must not: follow things that move (`motion_things`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import pixels
from void_engine.cleanplate.pixels import Mask
from void_engine.reasoning.motion_measure import LONG_SIDE
from void_engine.reasoning.motion_things import box_of
from void_engine.segmentation.interface import Picture

_ALIKE = 0.35  # correlation of the picture below with the mirrored picture above
_STRONG = 0.12  # of the contrast above: less is a gloss that no one sees
_BETTER = 1.4  # times as alike as a piece of the picture beside it
_CHROMA = 10.0  # Lab units: the ground's own colour
_TINTED = 18.0  # Lab units: the ground in shadow takes on some of the object's colour
_DARKER = 0.82  # of the lit ground: darker is shadow
_BLACK = 0.15  # of the lit ground: darker is no shadow but a dark thing
_STANDS_OUT = 3.0  # times the lit ground's own spread
_BEYOND = 0.7  # of the object's size: the ground further off shows how dark it is without the object
_CLEARLY = 0.05  # of the logarithm
_EVEN = 0.6  # of the ground must be of one colour and brightness, or shadow cannot be told from texture


@dataclass(frozen=True)
class Mirror:
    """A reflection: the mirror line lies ``below`` pixels under the object's foot."""

    below: int
    alike: float


def find_mirror(rgb: Picture, inside: Mask) -> Mirror | None:
    """Whether what lies below the object repeats the object upside down, against its surroundings."""
    if not inside.any():
        return None
    lab = _lab(rgb, 1.5)
    box = box_of(inside)
    tall = box[3] - box[1]
    covered = pixels.grown(inside, 3)
    tried: list[Mirror] = []
    for below in range(0, max(1, tall // 4), max(1, tall // 24)):
        alike, strength, beside = _alike(lab, covered, box, box[3] + below)
        if alike > _ALIKE and strength > _STRONG and alike > _BETTER * beside:
            tried.append(Mirror(below, alike))
    # Streaks on water match at many lines: the nearest that is nearly as good as any.
    best = max((each.alike for each in tried), default=0.0)
    return next((each for each in tried if each.alike > 0.85 * best), None)


def mirrored(inside: Mask, mirror: Mirror) -> Mask:
    """The object's outline turned over at the mirror line; empty where that lies out of the picture."""
    out = np.zeros_like(inside)
    if not inside.any():
        return out
    line = box_of(inside)[3] + mirror.below
    rows = np.arange(max(line, 0), min(inside.shape[0], 2 * line))
    out[rows] = inside[2 * line - 1 - rows]
    return np.asarray(out & ~inside)


def _alike(
    lab: npt.NDArray[np.float32], covered: Mask, box: tuple[int, int, int, int], line: int
) -> tuple[float, float, float]:
    """How like, how strong, and how like what lies an object's width to the side is at best."""
    height, width = covered.shape
    x0, y0, x1, y1 = box
    wide, tall = x1 - x0, y1 - y0
    # From the object's foot on: what lies between foot and line would only be compared with itself.
    rows = np.arange(line - y1 + 1, line - y1 + tall + 1)
    rows = rows[(line - rows >= 0) & (line + rows < height)]
    left, right = max(0, x0 - wide // 2), min(width, x1 + wide // 2)
    if len(rows) < max(6, 0.25 * tall) or right - left < 6:
        return 0.0, 0.0, 1.0
    above = lab[line - rows, left:right]
    scores = []
    for shift in (0, -wide, wide):
        if left + shift < 0 or right + shift > width:
            continue
        below = lab[line + rows, left + shift : right + shift]
        open_ = ~covered[line + rows, left + shift : right + shift]
        scores.append(_correlation(above, below, open_))
    beside = max((alike for alike, _ in scores[1:]), default=0.0)
    return (*scores[0], max(0.0, beside))


def _correlation(
    one: npt.NDArray[np.float32], other: npt.NDArray[np.float32], where: npt.NDArray[np.bool_]
) -> tuple[float, float]:
    """Of the differences along each row; and how much of the one's contrast the other has."""
    weight = where[..., None].astype(np.float32)
    count = np.maximum(weight.sum(axis=1, keepdims=True), 1)
    one, other = ((part - (part * weight).sum(axis=1, keepdims=True) / count) * weight for part in (one, other))
    shared, power = float((one * other).sum()), float((one * one).sum())
    return shared / float(np.sqrt(power * float((other * other).sum())) + 1e-6), shared / (power + 1e-6)


def shadow(rgb: Picture, inside: Mask, taken: Mask) -> Mask:
    """The ground beside and under the object that is darker than the rest of it; ``taken`` is no ground.

    Empty where the ground is not even enough to tell.
    """
    none = np.zeros_like(inside)
    unit = max(inside.shape) / LONG_SIDE
    if not inside.any():
        return none
    reach = float(np.sqrt(inside.sum()))
    away = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3)
    top, foot = box_of(inside)[1], box_of(inside)[3]
    rows = np.arange(inside.shape[0])[:, None]
    open_ = np.asarray((away > 3 * unit) & (rows > top + 0.4 * (foot - top)) & ~taken)
    around = open_ & (away < reach)
    if int(around.sum()) < 50:
        return none
    lab = _lab(rgb, 1.0)
    colour = np.median(lab[..., 1:][around], axis=0)
    tint = np.linalg.norm(lab[..., 1:] - colour, axis=2)
    light = np.log((cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255) ** 2.2 + 1e-4)
    light = pixels.blurred(light, max(0.5, unit))
    ground = around & (tint < _CHROMA)
    if int(ground.sum()) < _EVEN * around.sum():
        return none
    lit, spread = _lit(light, ground)
    if float((np.abs(light - lit)[ground] < 0.3).mean()) < _EVEN:
        return none
    # Grain and texture are dark in places too: a shadow stands out from them.
    beyond = open_ & (away > _BEYOND * reach) & (away < 2 * reach) & (tint < _CHROMA)
    usual = float(np.percentile((light - lit)[beyond], 10)) if int(beyond.sum()) > 50 else 0.0
    darker = min(np.log(_DARKER), -_STANDS_OUT * spread, usual - _CLEARLY)
    dark = around & (tint < _TINTED) & (light - lit < darker) & (light - lit > np.log(_BLACK))
    closed = cv2.morphologyEx(dark.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    closed = cv2.morphologyEx(closed, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, labels = cv2.connectedComponents(closed)
    touching = np.unique(labels[(away < 8 * unit) & (closed > 0)])
    return np.asarray(np.isin(labels, touching[touching > 0]) & ~inside)


def _lit(light: npt.NDArray[np.float32], ground: Mask) -> tuple[npt.NDArray[np.float32], float]:
    """The lit ground's log brightness: a plane through it, with what is dark taken out by and by; and its spread."""
    height, width = light.shape
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32) / max(height, width)
    terms = np.stack([np.ones_like(light), xs, ys], axis=-1)
    used, fit, spread = ground, np.zeros_like(light), 0.0
    for _ in range(6):
        if int(used.sum()) < 20:
            break
        plane = np.linalg.lstsq(terms[used], light[used], rcond=None)[0]
        fit = np.asarray(terms @ plane, np.float32)
        off = light - fit
        spread = max(0.03, 1.48 * float(np.median(np.abs(off[used]))))
        used = np.asarray(ground & (off > -spread) & (off < 2 * spread))
    return fit, spread


def _lab(rgb: Picture, sigma: float) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(cv2.GaussianBlur(rgb, (0, 0), sigma), cv2.COLOR_RGB2LAB), np.float32)
