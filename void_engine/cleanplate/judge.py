"""How far a source frame may be believed, pixel by pixel.

Promises a quality from 0 to 1 for each source and pixel. A source loses where it disagrees with the
target on the ring of kept pixels (parallax, a wrong alignment) and where it shows something that
passes by: what differs from most observations of a place, and what hangs together with that in
places that too few frames show to tell (a hand before the hole is kept by the mask, but is no
background). Must not look at time or choose.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import pixels
from void_engine.cleanplate.pixels import Floats, Mask
from void_engine.cleanplate.shaper import Encoded

_TOLERANCE = 0.05  # encoded disagreement on the ring that makes a source doubtful
_ENOUGH = 4  # observations of a place, and
_SHARE = 0.4  # share of all frames looked at, from which what most of them show is taken for the background
_HANGS = 0.25  # share of a piece's known edge that is passing, from which all of the piece is
_EDGE = 4  # proxy pixels of that edge
_GRID = 96  # long side of the grid on which the ring's error is continued
_PASSING = 0.05  # encoded difference from what most observations show, on top of their own spread
_REST = 0.02  # quality of a pixel that shows something passing by


def qualities(
    target: Encoded,
    kept: Mask,
    pictures: list[Encoded],
    seen: list[Mask],
    rare: Mask,
    planes: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """(n, h, w): quality of each source; 0 where it shows nothing.

    ``pictures`` (h, w, 3) are aligned to ``target`` and level matched, ``seen`` where they show the place.
    ``rare`` (h, w): places that so few frames show that it is rather something passing by before the object.
    ``planes`` (n, h, w): where frames are offered on several planes, how far each is on the right one
    (`void_engine.cleanplate.planes`): the ring alone does not tell, and counts half.
    """
    if not pictures:
        return np.zeros((0, *kept.shape), dtype=np.float32)
    observed = np.array([*seen, kept])
    passing, known = _passing(np.array([picture.mean(axis=2) for picture in (*pictures, target)]), observed)
    ring = kept & ~passing[-1]
    differences = [np.minimum(np.abs(target - picture).mean(axis=2), 0.3) for picture in pictures]
    errors = np.array(
        [_spread(difference, ring & mask) for difference, mask in zip(differences, seen, strict=True)],
        dtype=np.float32,
    )
    revealed = observed[:-1]
    # The ring's error holds grain and everything that moves by itself: compare with the best.
    excess = np.maximum(0.0, errors - np.where(revealed, errors, np.inf).min(axis=0, initial=1.0))
    absolute = np.maximum(0.0, errors - 0.04)
    quality = revealed * np.exp(-((excess / _TOLERANCE) ** 2) - (absolute / (2 * _TOLERANCE)) ** 2)
    if planes is not None:
        quality = np.sqrt(quality) * planes
    for index in range(len(pictures)):
        doubtful = rare & revealed[index]
        if planes is None:  # most of what is offered on several planes is wrong: no majority to differ from
            doubtful |= hanging_together(passing[index], revealed[index], known)
        quality[index][doubtful] *= _REST
    return np.asarray(quality, dtype=np.float32)


def _spread(error: npt.NDArray[np.float32], ring: Mask) -> Floats:
    """The ring's error continued into the hole, the near part of the ring counting most."""
    height, width = error.shape
    ratio = min(1.0, _GRID / max(height, width))
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    reach = max(2.0, 0.2 * max(size))
    weight = pixels.blurred(pixels.resized(ring, size), reach)
    summed = pixels.blurred(pixels.resized(np.where(ring, error, np.float32(0.0)), size), reach)
    return pixels.resized((summed + 0.02 * 1e-4) / (weight + 1e-4), (width, height), smooth=True)


def _passing(grey: npt.NDArray[np.float32], observed: Mask) -> tuple[Mask, Mask]:
    """Where an observation (n, h, w) differs from most, and (h, w) where there are enough to tell."""
    count = observed.sum(axis=0)
    known = count >= max(_ENOUGH, _SHARE * len(observed))
    if not known.any():
        return np.zeros_like(observed), known
    # Only the places that can be told are sorted: most of a box is kept and far from the hole.
    values, there = grey[:, known], observed[:, known]
    pick = ((count[known] - 1) // 2)[None]
    middle = np.take_along_axis(np.sort(np.where(there, values, np.inf), axis=0), pick, axis=0)
    away = np.where(there, np.abs(values - middle), np.inf)
    usual = np.take_along_axis(np.sort(away, axis=0), pick, axis=0)
    far = np.zeros_like(observed)
    far[:, known] = there & (away > _PASSING + 2.5 * usual)
    return np.array([pixels.grown(mask, 2) for mask in far]) & observed, known


def hanging_together(passing: Mask, seen: Mask, known: Mask) -> Mask:
    """Passing pixels, and the pieces that cannot be told but whose edge to what can is passing in good part."""
    unclear = seen & ~known
    if not passing.any() or not unclear.any():
        return passing
    count, pieces = cv2.connectedComponents(unclear.astype(np.uint8), connectivity=8)
    edge = pixels.grown(unclear, _EDGE) & seen & known
    belongs = np.asarray(pixels.carried(unclear, np.asarray(pieces, dtype=np.int32), 0))[edge]
    total = np.bincount(belongs, minlength=count)
    away = np.bincount(belongs, weights=passing[edge], minlength=count)
    taken = away > _HANGS * np.maximum(total, 1)
    taken[0] = False
    return np.asarray(passing | (taken[pieces] & unclear))
