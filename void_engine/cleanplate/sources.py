"""Which other frame shows what lies behind the hole: the plan of one frame.

Promises one source for every pixel that some frame reveals, few sources a frame in large pieces,
and the same ones on neighbouring frames where they serve. Must not decode plates: it decides on
proxies. Sources are judged where they can be: by the ring of kept pixels around the hole (parallax,
wrong alignment) and, inside, by what most sources agree on (something passing by).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import shaper
from void_engine.cleanplate.motion import Camera
from void_engine.cleanplate.options import Options
from void_engine.cleanplate.proxies import Matrix, ProxyShot
from void_engine.cleanplate.scratch import Arrays
from void_engine.cleanplate.shaper import Encoded

Mask = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]  # x0, y0, x1, y1; the last two excluded

LAYER, FILL, NONE = 64, 254, 255  # labels: below LAYER a source, from LAYER a fill layer
RING = 12  # proxy pixels of kept plate around the hole that are looked at
_MOST = 6  # sources for one frame
_MEASURED = 14  # candidates of a frame whose motion is measured directly
_TOLERANCE = 0.05  # encoded disagreement on the ring that makes a source doubtful
_WORTH = 0.08  # a pixel's weight under which PatchMatch is the better guess
_STICKY = 1.5  # how much more the last frame's sources count
_SMALLEST = 16  # proxy pixels: a smaller piece is not worth a source


@dataclass
class FramePlan:
    """Where a frame's hole pixels come from.

    ``labels`` (h, w) over ``box`` of the proxy: index into ``sources``, `LAYER` + fill layer, `FILL`
    not decided, `NONE` nothing. ``matrices`` map proxy pixels to the source's, ``levels`` (n, 3) are
    added to the source's encoded values.
    """

    box: Box
    hole: Mask
    labels: npt.NDArray[np.uint8]
    sources: list[int]
    matrices: list[Matrix]
    levels: npt.NDArray[np.float32]

    def to_arrays(self) -> Arrays:
        return {
            "box": np.array(self.box, dtype=np.int64),
            "hole": self.hole,
            "labels": self.labels,
            "sources": np.array(self.sources, dtype=np.int64),
            "matrices": np.array(self.matrices, dtype=np.float64).reshape(-1, 3, 3),
            "levels": self.levels,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> FramePlan:
        x0, y0, x1, y1 = (int(value) for value in arrays["box"])
        return cls(
            (x0, y0, x1, y1),
            arrays["hole"],
            arrays["labels"],
            [int(value) for value in arrays["sources"]],
            list(arrays["matrices"]),
            arrays["levels"],
        )


@dataclass(frozen=True)
class _Candidate:
    position: int
    matrix: Matrix
    revealed: Mask  # the source shows this pixel and its own hole is not near
    picture: Encoded  # the source over the box, level matched
    level: npt.NDArray[np.float32]
    error: npt.NDArray[np.float32]  # disagreement on the ring, continued into the hole


def plan_frame(
    shot: ProxyShot, camera: Camera, position: int, count: int, options: Options, before: list[int]
) -> FramePlan | None:
    """The plan of one frame; None where it has no hole. ``before``: the sources of the frame before."""
    proxy = shot.get(position)
    if not proxy.hole.any():
        return None
    hole = cv2.dilate(proxy.hole.astype(np.uint8), np.ones((3, 3))) != 0
    box = _box_around(hole, RING + 2)
    inside = (slice(box[1], box[3]), slice(box[0], box[2]))
    hole_box, kept = hole[inside], (proxy.state == 0)[inside] & ~hole[inside]
    target = _soften(shaper.from_bytes(proxy.rgb[inside]))
    wanted = _candidates(shot, camera, position, count, options, before, hole, box)
    found = [_look(shot, camera, position, other, target, kept, box, options.margin) for other in wanted]
    weights = _weights([item for item in found if item.revealed.any()], position)
    found = [item for item in found if item.revealed.any()]
    labels, chosen = _assign(hole_box, found, weights, before)
    return FramePlan(
        box,
        hole_box,
        labels,
        [found[k].position for k in chosen],
        [found[k].matrix for k in chosen],
        np.array([found[k].level for k in chosen], dtype=np.float32).reshape(-1, 3),
    )


def _box_around(mask: Mask, grow: int) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        max(0, int(columns[0]) - grow),
        max(0, int(rows[0]) - grow),
        min(mask.shape[1], int(columns[-1]) + 1 + grow),
        min(mask.shape[0], int(rows[-1]) + 1 + grow),
    )


def _soften(picture: Encoded) -> Encoded:
    """Takes the edge off grain and of misalignments too small to see."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.0)).reshape(picture.shape)


def _candidates(
    shot: ProxyShot,
    camera: Camera,
    position: int,
    count: int,
    options: Options,
    before: list[int],
    hole: Mask,
    box: Box,
) -> list[int]:
    """The frames worth a closer look: nearest first, then further and further apart."""
    pool = _pool(position, count, options.search_frames)
    pool += [other for other in before if other not in pool and other != position]
    inside = hole[box[1] : box[3], box[0] : box[2]]
    scores: list[tuple[float, int]] = []
    left = inside.copy()
    for other in pool:
        seen = _revealed(shot, camera.chained(position, other), other, box, options.margin) & inside
        # What nearer frames have shown already counts less: the list should cover the hole, not repeat itself.
        gain = float(np.count_nonzero(seen & left)) + 0.25 * float(np.count_nonzero(seen))
        if gain >= 1.0:
            scores.append((gain * _nearness(position, other) * (_STICKY if other in before else 1.0), other))
        left &= ~seen
    scores.sort(key=lambda item: (-item[0], abs(item[1] - position), item[1]))
    return sorted(other for _, other in scores[: count if camera.locked else _MEASURED])


def _pool(position: int, count: int, most: int) -> list[int]:
    near = sorted(
        (other for other in range(count) if other != position), key=lambda other: (abs(other - position), other)
    )
    if len(near) <= most:
        return near
    # Half of the search goes to the nearest frames, the rest is spread evenly over the others.
    first, rest = near[: most // 2], near[most // 2 :]
    spread = np.linspace(0, len(rest) - 1, most - len(first)).round().astype(int) if most > len(first) else []
    return first + [rest[k] for k in dict.fromkeys(int(k) for k in spread)]


def _nearness(position: int, other: int) -> float:
    return 1.0 / (1.0 + abs(position - other) / 16.0)


def _revealed(shot: ProxyShot, matrix: Matrix, other: int, box: Box, margin: int) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    open_ = cv2.erode((shot.get(other).state == 0).astype(np.uint8), kernel)
    return warp(open_, matrix, box, cv2.INTER_NEAREST) != 0


def warp(picture: npt.NDArray[np.uint8], matrix: Matrix, box: Box, interpolation: int) -> npt.NDArray[np.uint8]:
    """``picture`` at ``matrix`` times the pixels of ``box``; 0 outside."""
    moved = matrix @ np.array([[1, 0, box[0]], [0, 1, box[1]], [0, 0, 1]], dtype=np.float64)
    size = (box[2] - box[0], box[3] - box[1])
    warped = cv2.warpPerspective(picture, moved, size, flags=interpolation | cv2.WARP_INVERSE_MAP)
    return np.asarray(warped, dtype=np.uint8).reshape(size[1], size[0], *picture.shape[2:])


def _look(
    shot: ProxyShot, camera: Camera, position: int, other: int, target: Encoded, kept: Mask, box: Box, margin: int
) -> _Candidate:
    matrix = camera.to_source(position, other)
    revealed = _revealed(shot, matrix, other, box, margin)
    picture = _soften(shaper.from_bytes(warp(shot.get(other).rgb, matrix, box, cv2.INTER_LINEAR)))
    ring = kept & revealed
    level = np.zeros(3, dtype=np.float32)
    if np.count_nonzero(ring) >= 32:
        level = np.median((target - picture)[ring], axis=0).astype(np.float32)
        level[np.abs(level) < 0.004] = 0.0  # under an eight-bit step: the proxies cannot tell
        level = np.clip(level, -0.3, 0.3)
    picture = picture + level
    error = np.minimum(np.abs(target - picture).mean(axis=2), 0.3)
    return _Candidate(other, matrix, revealed, picture, level, _spread(error, ring))


def _spread(error: npt.NDArray[np.float32], ring: Mask) -> npt.NDArray[np.float32]:
    reach = max(6.0, 0.2 * max(error.shape))
    weight = cv2.GaussianBlur(ring.astype(np.float32), (0, 0), reach)
    summed = cv2.GaussianBlur(np.where(ring, error, 0.0).astype(np.float32), (0, 0), reach)
    return np.asarray((summed + 0.02 * 1e-4) / (weight + 1e-4), dtype=np.float32)


def _weights(found: list[_Candidate], position: int) -> npt.NDArray[np.float32]:
    """How good each candidate is at each pixel: (n, h, w), 0 where it shows nothing."""
    if not found:
        return np.zeros((0, 1, 1), dtype=np.float32)
    revealed = np.array([item.revealed for item in found])
    errors = np.array([item.error for item in found])
    # The ring's error holds grain and everything that moves by itself: compare with the best.
    excess = np.maximum(0.0, errors - np.where(revealed, errors, np.inf).min(axis=0, initial=1.0))
    absolute = np.maximum(0.0, errors - 0.04)
    weights = revealed * np.exp(-((excess / _TOLERANCE) ** 2) - (absolute / (2 * _TOLERANCE)) ** 2)
    weights *= np.array([_nearness(position, item.position) for item in found])[:, None, None]
    weights[_outliers(found, revealed)] *= 0.05
    return weights.astype(np.float32)


def _outliers(found: list[_Candidate], revealed: Mask) -> Mask:
    """Where a source shows something that most of the sources do not: it passes by there."""
    if len(found) < 3:
        return np.zeros_like(revealed)
    grey = np.array([item.picture.mean(axis=2) for item in found])
    ordered = np.sort(np.where(revealed, grey, np.inf), axis=0)
    shown = revealed.sum(axis=0)
    middle = np.take_along_axis(ordered, np.maximum(0, (shown - 1) // 2)[None], axis=0)[0]
    middle = np.where(shown > 0, middle, 0.0)
    away = np.where(revealed, np.abs(grey - middle), np.inf)
    usual = np.take_along_axis(np.sort(away, axis=0), np.maximum(0, (shown - 1) // 2)[None], axis=0)[0]
    far = (away > 0.05 + 2.5 * np.where(shown > 0, usual, 0.0)) & revealed & (shown >= 3)
    kernel = np.ones((5, 5))
    return np.array([cv2.dilate(mask.astype(np.uint8), kernel) != 0 for mask in far]) & revealed


def _assign(
    hole: Mask, found: list[_Candidate], weights: npt.NDArray[np.float32], before: list[int]
) -> tuple[npt.NDArray[np.uint8], list[int]]:
    labels = np.where(hole, FILL, NONE).astype(np.uint8)
    chosen: list[int] = []
    if not found:
        return labels, chosen
    best = weights.max(axis=0)
    sticky = [_STICKY if item.position in before else 1.0 for item in found]
    left = hole & (best > _WORTH * 0.5)
    while len(chosen) < _MOST and np.count_nonzero(left) >= _SMALLEST:
        gains = [0.0 if k in chosen else float(weights[k][left].sum()) * sticky[k] for k in range(len(found))]
        pick = int(np.argmax(gains))
        # A source takes all that it shows nearly as well as any: large pieces, few seams.
        taken = left & (weights[pick] > 0.4 * best) & (weights[pick] > 0.0)
        taken = _without_crumbs(taken)
        if gains[pick] <= 0.0 or np.count_nonzero(taken) < _SMALLEST:
            break
        labels[taken] = len(chosen)
        chosen.append(pick)
        left &= ~taken
    return labels, chosen


def _without_crumbs(mask: Mask) -> Mask:
    number, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= _SMALLEST
    large[0] = False
    return np.asarray(large[pieces]) if number > 1 else np.zeros_like(mask)


def extend(labels: npt.NDArray[np.uint8], hole: Mask, kept: Mask, shown: dict[int, Mask]) -> npt.NDArray[np.uint8]:
    """The labels, continued onto the ring: a kept pixel gets the label of the nearest hole pixel.

    Only where what the label stands for shows that pixel (``shown``, by label); `NONE` elsewhere.
    """
    if not hole.any():
        return np.full_like(labels, NONE)
    _, nearest = cv2.distanceTransformWithLabels(
        (~hole).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_index = np.full(int(nearest.max()) + 1, NONE, dtype=np.uint8)
    of_index[nearest[hole]] = labels[hole]
    ring = of_index[nearest]
    for label, seen in shown.items():
        ring[(ring == label) & ~seen] = NONE
    return np.where(hole, labels, np.where(kept, ring, NONE)).astype(np.uint8)
