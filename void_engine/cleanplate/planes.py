"""Parallax: which of the planes, on which every source frame is offered, a place behind the hole is on.

Promises a share from 0 to 1 for each offer and pixel. On the right plane the frames agree, on a wrong one each is off
by another way; and where the frames agree on two planes, such as a post and the wall behind it, the one counts that
hides the other on the ring of kept pixels. Must not choose frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import pixels
from void_engine.cleanplate.pixels import Floats, Mask

_COARSE, _WIDE = 4, 2.0  # proxy pixels to a cell, and cells, over which frames agree on a plane: wider than a board
_FAR = 0.1  # encoded difference: two frames that differ by more just differ
_OFF = 0.01  # encoded difference on top of the least by which a plane is doubtful
_AGREES, _DIFFERS = 0.02, 0.03  # encoded difference up to which pictures agree, and from which they do not
_STEP, _CHANGES = 4.0, 0.01  # proxy pixels, and the encoded difference that so much of a move must make
_VOTES = 4  # cells of the ring that must show one plane before the other, and
_MAJORITY = 4  # times as many as say the contrary
_HIDDEN = 0.05  # share of what a nearer plane hides


@dataclass(frozen=True)
class Offer:
    """A frame at ``position``, on one of its planes, as it looks from the target frame.

    ``grey`` (h, w) the mean of the encoded channels, level matched; ``seen`` where the frame shows the place; ``move``
    (2,), in proxy pixels, where the plane takes the middle.
    """

    grey: Floats
    seen: Mask
    position: int
    move: npt.NDArray[np.float64]


def shares(target: Floats, kept: Mask, offers: list[Offer]) -> npt.NDArray[np.float32]:
    """(n, h, w): how far each offer is on the right plane; 1 for the one that most other frames agree with.

    ``target`` (h, w) is the frame itself, known where ``kept``.
    """
    height, width = kept.shape
    cells = (-(-width // _COARSE), -(-height // _COARSE))
    errors = _disagreement(offers, cells)
    share = np.exp(-(errors - errors.min(axis=0)) / _OFF)
    for front, where in _in_front(target, kept, offers, errors):
        for index, offer in enumerate(offers):
            other = _apart(offer.grey, front.grey, offer.seen & front.seen, cells)
            share[index][where & np.isfinite(other) & (other > _DIFFERS)] *= _HIDDEN
    return np.array([pixels.resized(one, (width, height), smooth=True) for one in share])


def _disagreement(offers: list[Offer], cells: tuple[int, int]) -> npt.NDArray[np.float32]:
    """(n, rows, columns): the usual difference to the other frames, each taken on the plane that fits best."""
    least: list[dict[int, Floats]] = [{} for _ in offers]
    for (k, one), (j, other) in combinations(enumerate(offers), 2):
        if one.position != other.position:
            error = _apart(one.grey, other.grey, one.seen & other.seen, cells)
            least[k][other.position] = np.minimum(least[k].get(other.position, np.float32(np.inf)), error)
            least[j][one.position] = np.minimum(least[j].get(one.position, np.float32(np.inf)), error)
    errors = np.full((len(offers), cells[1], cells[0]), _FAR, dtype=np.float32)
    for k, others in enumerate(least):
        if others:
            errors[k] = _usual(np.array(list(others.values())))
    return errors


def _in_front(
    target: Floats, kept: Mask, offers: list[Offer], errors: npt.NDArray[np.float32]
) -> list[tuple[Offer, Mask]]:
    """Offers on a plane that hides another one of the same frame, and the cells where both could be."""
    cells = (errors.shape[2], errors.shape[1])
    on_ring = pixels.resized(kept, cells) > 0.5
    away = [_apart(target, offer.grey, kept & offer.seen, cells) for offer in offers]
    found = []
    for k, one in enumerate(offers):
        for j, other in enumerate(offers):
            if j == k or other.position != one.position:
                continue
            apart = _apart(one.grey, other.grey, one.seen & other.seen, cells)
            both = (errors[k] < _AGREES) & (errors[j] < _AGREES) & np.isfinite(apart) & (apart > _DIFFERS)
            both &= _changes(one, one.move - other.move, cells)
            known = both & on_ring
            votes = int(np.count_nonzero(known & (away[k] < _AGREES) & (away[j] > _DIFFERS)))
            against = int(np.count_nonzero(known & (away[j] < _AGREES) & (away[k] > _DIFFERS)))
            if votes >= max(_VOTES, _MAJORITY * against):
                found.append((one, both))
    return found


def _changes(offer: Offer, along: npt.NDArray[np.float64], cells: tuple[int, int]) -> Mask:
    """The cells where a picture that is moved ``along`` shows it: all frames agree on a bare wall, on any plane."""
    step = (_STEP * along / max(1e-9, float(np.hypot(*along)))).round()
    matrix = pixels.moved_by(float(step[0]), float(step[1]))
    box = (0, 0, offer.grey.shape[1], offer.grey.shape[0])
    moved = np.asarray(pixels.warp(offer.grey, matrix, box, cv2.INTER_NEAREST, clamp=True), dtype=np.float32)
    away = _apart(offer.grey, moved, offer.seen & pixels.shown(offer.seen, matrix, box), cells)
    return np.asarray(np.isfinite(away) & (away > _CHANGES))


def _apart(one: Floats, other: Floats, both: Mask, cells: tuple[int, int]) -> Floats:
    """The difference of two pictures around each cell; infinite where there is nothing that both show."""
    away = np.where(both, np.minimum(np.abs(one - other), np.float32(_FAR)), np.float32(0.0))
    error, weight = (pixels.blurred(pixels.resized(each, cells), _WIDE) for each in (away, both))
    return np.where(weight > 0.02, error / np.maximum(weight, 0.02), np.float32(np.inf))


def _usual(errors: npt.NDArray[np.float32]) -> Floats:
    """Of each cell's errors (n, rows, columns) the mean of the better half; `_FAR` where there is none."""
    errors = np.sort(errors, axis=0)
    taken = (np.isfinite(errors).sum(axis=0) + 1) // 2
    summed = np.where(np.arange(len(errors))[:, None, None] < taken, errors, np.float32(0.0)).sum(axis=0)
    return np.where(taken > 0, summed / np.maximum(taken, 1), np.float32(_FAR)).astype(np.float32)
