"""The object on the frame that was prompted, from a few clicks or a box.

One click does not say how large the object is. So the region is cut out at many sizes (GrabCut, each within its own
reach), and each answer is judged: are there edges along its outline, do its colours differ from those around it,
do neighbouring sizes agree on it, and did it stop by itself rather than at its reach?
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.segmentation import track_colours, track_outline
from void_engine.segmentation.interface import Picture
from void_engine.segmentation.track_colours import Plane
from void_engine.segmentation.track_prompt import Mask, Point, Seeds, distance, pixel

_STEP = 1.35  # between a reach and the next
_WORK = 150  # long side of the picture that a cut is made in
_TURNS = 4
_SMALL = 0.01  # of the picture: what is smaller than that is less likely to be what was meant


@dataclass(frozen=True)
class Candidate:
    mask: Mask
    reach: Mask
    index: int


def region(picture: Picture, seeds: Seeds) -> Mask:
    """The object; never empty, and never the whole picture where it has more than one pixel."""
    if seeds.box is not None:
        found = _in_box(picture, seeds)
    else:
        found = _of_clicks(picture, seeds)
    return honoured(picture, found, seeds)


def honoured(picture: Picture, mask: Mask, seeds: Seeds) -> Mask:
    """``mask`` with every positive click in it and no negative one, nor what lies nearer to that one."""
    mask = mask.copy()
    if any(mask[pixel(point, seeds.shape)] for point in seeds.negative):
        mask &= ~_basin(picture, mask, seeds)
    for point in seeds.positive:
        mask[pixel(point, seeds.shape)] = True
    for point in seeds.negative:
        mask[pixel(point, seeds.shape)] = False
    return mask


def _basin(picture: Picture, mask: Mask, seeds: Seeds) -> Mask:
    """What of the mask belongs to the negative clicks: flooded from the clicks, edges keep the waters apart."""
    marks = np.zeros(seeds.shape, np.int32)
    inner = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    apart = distance(seeds.negative, seeds.shape)
    if seeds.positive:
        marks[distance(seeds.positive, seeds.shape) <= 1.5] = 1
    else:  # the object is what lies deepest, and away from the clicks
        deep = np.where(mask, np.minimum(inner, apart * 0.5), 0)
        marks[deep >= 0.9 * max(1e-6, float(deep.max()))] = 1
    marks[(apart <= 1.5) & (marks == 0)] = 2
    marks[~mask] = 3
    for point in seeds.negative:
        marks[pixel(point, seeds.shape)] = 2
    if min(seeds.shape) < 3:
        return np.asarray(marks == 2)
    cv2.watershed(np.ascontiguousarray(picture), marks)
    lost = marks == 2
    # The watershed's own lines belong to neither: they go with the negative click.
    lines = cv2.dilate(lost.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_) & mask & (marks < 1)
    return np.asarray(lost | lines)


def _of_clicks(picture: Picture, seeds: Seeds) -> Mask:
    height, width = seeds.shape
    spread = _spread(seeds.positive)
    edges = track_colours.edges(picture)
    bins = track_colours.codes(track_colours.lab(picture))
    found: list[Candidate] = []
    reach = max(3.0, 0.25 * spread)
    index = 0
    while reach < 0.45 * max(height, width):
        for joined in (False, True) if spread > 2 * reach else (False,):
            mask = _cut(picture, seeds, reach, joined)
            if mask is not None:
                found.append(Candidate(*mask, index))
        reach *= _STEP
        index += 1
    if not found:
        return _disc(seeds)
    best = max(range(len(found)), key=lambda i: _judged(found, i, edges, bins))
    forbidden = distance(seeds.negative, seeds.shape) <= 2.0
    whole = track_outline.grown_to_edges(_agreed(found, best), edges, forbidden)
    return track_outline.with_spikes(picture, whole, edges, forbidden)


def _agreed(found: list[Candidate], best: int) -> Mask:
    """The majority of the best candidate and of those that nearly equal it."""
    near = [other.mask for other in found if overlap(other.mask, found[best].mask) > 0.8]
    votes = np.sum(near, axis=0, dtype=np.float32) + found[best].mask * np.float32(0.5)
    return np.asarray(votes > 0.5 * len(near))


def _spread(points: tuple[Point, ...]) -> float:
    places = np.array(points)
    return float(np.linalg.norm(places.max(axis=0) - places.min(axis=0)))


def _disc(seeds: Seeds) -> Mask:
    away = distance(seeds.positive, seeds.shape)
    return np.asarray(away <= 0.02 * max(seeds.shape))


def _away(seeds: Seeds, joined: bool) -> Plane:
    """Distance to the clicks; joined, to their convex hull."""
    if not joined or len(seeds.positive) < 2:
        return distance(seeds.positive, seeds.shape)
    marks = np.ones(seeds.shape, np.uint8)
    places = np.array([pixel(point, seeds.shape)[::-1] for point in seeds.positive], np.int32)
    cv2.fillConvexPoly(marks, cv2.convexHull(places), 0)
    cv2.polylines(marks, [places.reshape(-1, 1, 2)], False, 0, 1)
    return np.asarray(cv2.distanceTransform(marks, cv2.DIST_L2, cv2.DIST_MASK_5), np.float32)


def _cut(picture: Picture, seeds: Seeds, reach: float, joined: bool) -> tuple[Mask, Mask] | None:
    """The object if it is about ``reach`` pixels around the clicks, and how far it was allowed to go."""
    away = _away(seeds, joined)
    marks = np.full(seeds.shape, cv2.GC_BGD, np.uint8)
    marks[away < 2 * reach] = cv2.GC_PR_BGD
    marks[away < reach] = cv2.GC_PR_FGD
    marks[distance(seeds.negative, seeds.shape) <= max(1.0, min(0.15 * reach, 4.0))] = cv2.GC_BGD
    marks[distance(seeds.positive, seeds.shape) <= max(1.0, min(0.25 * reach, 6.0))] = cv2.GC_FGD
    mask = grab(picture, marks, _TURNS, _WORK)
    if mask is None:
        return None
    return clicked_parts(mask, seeds), np.asarray(away < 2 * reach)


def grab(picture: Picture, marks: Picture, turns: int, long_side: int) -> Mask | None:
    """GrabCut around what ``marks`` leaves open, no larger than ``long_side``; None where it has nothing to learn."""
    rows, columns = (np.flatnonzero((marks != cv2.GC_BGD).any(axis=axis)) for axis in (1, 0))
    if not rows.size or not ((marks == cv2.GC_BGD) | (marks == cv2.GC_PR_BGD)).any():
        return None
    margin = 4 + max(int(rows[-1] - rows[0]), int(columns[-1] - columns[0])) // 4
    y0, y1 = max(0, rows[0] - margin), min(marks.shape[0], rows[-1] + margin + 1)
    x0, x1 = max(0, columns[0] - margin), min(marks.shape[1], columns[-1] + margin + 1)
    part, open_marks = picture[y0:y1, x0:x1], marks[y0:y1, x0:x1].copy()
    shape = open_marks.shape
    scale = min(1.0, long_side / max(shape))
    if scale < 1.0:
        size = (max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale)))
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA))
        open_marks = np.asarray(cv2.resize(open_marks, size, interpolation=cv2.INTER_NEAREST))
    inside = (open_marks == cv2.GC_FGD) | (open_marks == cv2.GC_PR_FGD)
    if not inside.any() or inside.all():
        return None
    cv2.setRNGSeed(1)
    one, other = np.zeros((1, 65)), np.zeros((1, 65))
    whole = (0, 0, open_marks.shape[1], open_marks.shape[0])  # not read: the marks say it
    cv2.grabCut(
        track_colours.lab(np.ascontiguousarray(part)), open_marks, whole, one, other, turns, cv2.GC_INIT_WITH_MASK
    )
    answer = (open_marks & 1).astype(np.float32)
    mask = np.zeros(marks.shape, np.bool_)
    mask[y0:y1, x0:x1] = cv2.resize(answer, shape[::-1], interpolation=cv2.INTER_LINEAR) > 0.5
    return mask


def clicked_parts(mask: Mask, seeds: Seeds) -> Mask:
    """The parts that were clicked, without specks, threads or holes."""
    small = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    small[distance(seeds.positive, seeds.shape) <= 1.0] = 1
    _, labels = cv2.connectedComponents(small, connectivity=8)
    kept = np.isin(labels, [labels[pixel(point, seeds.shape)] for point in seeds.positive])
    return filled(kept)


def filled(mask: Mask) -> Mask:
    """Without holes: what the picture's border cannot be reached from."""
    padded = np.pad((~mask).astype(np.uint8), 1, constant_values=1)
    cv2.floodFill(padded, None, (0, 0), 2)
    return np.asarray(padded[1:-1, 1:-1] != 2)


def overlap(one: Mask, other: Mask) -> float:
    """Intersection over union."""
    return int(np.count_nonzero(one & other)) / max(1, int(np.count_nonzero(one | other)))


def _judged(found: list[Candidate], index: int, edges: Plane, bins: npt.NDArray[np.int32]) -> float:
    candidate = found[index]
    mask = candidate.mask
    area = float(np.count_nonzero(mask))
    if area == 0 or area > 0.6 * mask.size:
        return 0.0
    rim = np.asarray(mask & ~cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_))
    strength = float(cv2.dilate(edges, np.ones((3, 3), np.uint8))[rim].mean())
    # What is cut off by the picture on several sides is the ground, not a thing on it.
    sides = int(mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum())
    free = 1.0 - sides / (sides + max(1, int(np.count_nonzero(rim))))
    around = track_colours.ring(mask, 2 + 0.25 * area**0.5)
    differs = 1.0 - track_colours.alike(track_colours.histogram(bins, mask), track_colours.histogram(bins, around))
    inner = cv2.erode(candidate.reach.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0).astype(np.bool_)
    stopped = 1.0 - int(np.count_nonzero(rim & ~inner)) / max(1, int(np.count_nonzero(rim)))
    others = sorted((overlap(mask, o.mask) for o in found if abs(o.index - candidate.index) in (1, 2)), reverse=True)
    stable = float(np.mean(others[:3])) if others else 0.5
    # A click on an object's mark, eye or window: of two that are as likely, the larger is meant.
    size = min(1.0, (area / (_SMALL * mask.size)) ** 0.25)
    return float(strength * (0.1 + differs) * stopped**2 * free**2 * (0.1 + stable) ** 2 * size)


def _in_box(picture: Picture, seeds: Seeds) -> Mask:
    assert seeds.box is not None
    x0, y0, x1, y1 = seeds.box
    left, top = min(int(x0), seeds.shape[1] - 1), min(int(y0), seeds.shape[0] - 1)
    right, bottom = max(left + 1, int(np.ceil(x1 - 1e-6))), max(top + 1, int(np.ceil(y1 - 1e-6)))
    box = np.zeros(seeds.shape, np.bool_)
    box[top:bottom, left:right] = True
    marks = np.where(box, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    marks[distance(seeds.positive, seeds.shape) <= 2.0] = cv2.GC_FGD
    marks[distance(seeds.negative, seeds.shape) <= 2.0] = cv2.GC_BGD
    mask = grab(picture, marks, _TURNS, 2 * _WORK)
    if mask is None:
        return box
    mask = np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0)
    mask = filled(mask) & box
    # An object fills its box: where GrabCut finds next to nothing, the box's inner ellipse says more.
    if np.count_nonzero(mask) < 0.1 * np.count_nonzero(box):
        ellipse = np.zeros(seeds.shape, np.uint8)
        centre, axes = ((left + right - 1) // 2, (top + bottom - 1) // 2), ((right - left) // 2, (bottom - top) // 2)
        cv2.ellipse(ellipse, centre, axes, 0, 0, 360, 1, -1)
        mask = ellipse.astype(np.bool_)
    return mask
