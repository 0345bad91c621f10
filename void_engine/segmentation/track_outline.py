"""Adds to a region what edges close in with it: a glass's clear rim, a tower's dark spire.

Their colours are not the region's, so colour alone leaves them out. What lies nearer to the region than to the open
background, counted in edges to cross, is a part of it, if it ends by itself, is small beside it, has an
outline and goes on where the region's own outline leads.
"""

from __future__ import annotations

import heapq

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.segmentation import track_colours
from void_engine.segmentation.interface import Picture
from void_engine.segmentation.track_colours import Plane
from void_engine.segmentation.track_prompt import Mask

_LONG_SIDE = 160  # of the picture that is searched
_REACH = 0.35  # of the region's long side: how far a part may go
_BIAS = 1.2  # how many edges towards the region weigh as one towards the background
_STEP = 0.002  # what a pixel without an edge costs
_FAINT = 0.3  # strength up to which an edge is texture
_LARGEST = 0.5  # of the region's area, a part
_OUTLINE = 0.5  # mean strength of the edges along a part's own outline

_ALIKE = 0.75  # and beside that of the edge between it and the region

_THIN = 0.35  # of the root of the region's area: the widest a spike may be
_STANDS_OUT = 3.0  # times as much as what surrounds the region does by itself
_LEAST_CODES = 12  # of 8 bits, that it must differ by
_LENGTH = 1.2  # of the root of its own area: how far a spike must stand off
_SPIKE = 0.15  # of the region's area, the largest

_ODD = 0.01  # how much less of its convex hull the region may fill with a part than without


def grown_to_edges(mask: Mask, edges: Plane, forbidden: Mask) -> Mask:
    """``forbidden``: pixels that are known to lie beside the object."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size < 4 or columns.size < 4:
        return mask
    reach = max(4, round(_REACH * max(int(np.ptp(rows)), int(np.ptp(columns)))))
    y0, y1 = max(0, int(rows[0]) - reach - 2), min(mask.shape[0], int(rows[-1]) + reach + 3)
    x0, x1 = max(0, int(columns[0]) - reach - 2), min(mask.shape[1], int(columns[-1]) + reach + 3)
    core, steep = mask[y0:y1, x0:x1], edges[y0:y1, x0:x1]
    scale = min(1.0, _LONG_SIDE / max(core.shape))
    size = (max(1, round(core.shape[1] * scale)), max(1, round(core.shape[0] * scale)))
    core = cv2.resize(core.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
    closed = cv2.resize(forbidden[y0:y1, x0:x1].astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    steep = np.asarray(cv2.resize(steep, size, interpolation=cv2.INTER_AREA), np.float32)
    if not core.any():
        return mask
    away = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    sea = np.asarray((away > reach * scale) | closed)
    cost = np.asarray(_STEP + np.maximum(steep - _FAINT, 0.0), np.float32)
    nearer = _BIAS * _ways(sea, cost) > _ways(core, cost)
    parts = _kept(core, nearer & ~core & ~closed, sea, steep)
    if not parts.any():
        return mask
    full = cv2.resize(parts.astype(np.float32), (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR) > 0.5
    grown = mask.copy()
    grown[y0:y1, x0:x1] |= full
    return np.asarray(cv2.morphologyEx(grown.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) > 0)


def with_spikes(picture: Picture, mask: Mask, edges: Plane, forbidden: Mask) -> Mask:
    """With what is thin, stands off from the region where its outline leads, and ends: a spire.

    Too thin for a cut, and of other colours, perhaps; but it differs from what is on both sides of it. A cable or the
    horizon goes on beyond the reach and is left; so is everything before surroundings that are as lively.
    """
    root = float(np.count_nonzero(mask)) ** 0.5
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size < 4 or columns.size < 4:
        return mask
    reach = _REACH * max(int(np.ptp(rows)), int(np.ptp(columns)))
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    stands_out = _differs_from_both_sides(picture, int(np.clip(_THIN * root, 5, 31)) | 1)
    least = max(_LEAST_CODES, _STANDS_OUT * float(np.median(stands_out[(away > 0) & (away <= 0.5 * root)])))
    bold = (stands_out > least) & ~mask & ~forbidden
    _, labels, stats, _ = cv2.connectedComponentsWithStats(bold.astype(np.uint8), connectivity=8)
    crest = cv2.dilate(edges, np.ones((3, 3), np.uint8))
    grown = mask.copy()
    for label in np.setdiff1d(labels[(away > 0) & (away <= 1.5)], 0):
        part, area = labels == label, float(stats[label, cv2.CC_STAT_AREA])
        x, y, wide, tall = (int(v) for v in stats[label, :4])
        goes_on = x == 0 or y == 0 or x + wide == mask.shape[1] or y + tall == mask.shape[0]
        far = float(away[part].max())
        if goes_on or far >= reach or far < max(3.0, _LENGTH * area**0.5) or area > _SPIKE * root * root:
            continue
        if _fullness(mask | part) < _fullness(mask) - _ODD:
            continue
        rim = (cv2.dilate(part.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~part & ~mask
        if rim.any() and float(crest[rim].mean()) >= _OUTLINE:
            grown |= part
    return grown


def _differs_from_both_sides(picture: Picture, width: int) -> Picture:
    """By how many codes a thing no wider than ``width`` differs, lighter or darker or of another colour."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    most = np.zeros(picture.shape[:2], np.uint8)
    for channel in cv2.split(track_colours.lab(picture)):
        for hat in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):
            most = np.maximum(most, cv2.morphologyEx(channel, hat, disc))
    return most


def _kept(core: Mask, parts: Mask, sea: Mask, steep: Plane) -> Mask:
    square = np.ones((3, 3), np.uint8)
    small = cv2.morphologyEx(parts.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))  # no whiskers
    count, labels = cv2.connectedComponents(small, connectivity=4)
    crest = cv2.dilate(steep, square)
    shore = cv2.dilate(sea.astype(np.uint8), square).astype(np.bool_)
    near = cv2.dilate(core.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(np.bool_)
    kept = np.zeros_like(core)
    for label in range(1, count):
        part = labels == label
        around = cv2.dilate(part.astype(np.uint8), square).astype(np.bool_) & ~part
        outline, seam = around & ~near, around & core  # near the core its own edge would count
        if (part & shore).any() or not seam.any() or not outline.any() or part.sum() > _LARGEST * core.sum():
            continue
        if _fullness(core | kept | part) < _fullness(core) - _ODD:
            continue
        if float(crest[outline].mean()) >= max(_OUTLINE, _ALIKE * float(crest[seam].mean())):
            kept |= part
    return kept


def _fullness(mask: Mask) -> float:
    """Share of its convex hull. A rim goes on where the glass's sides lead; a floor board beside a ball does not."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    points = cv2.findNonZero(closed)
    if points is None:
        return 0.0
    hull = np.zeros_like(closed)
    cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
    return float(np.count_nonzero(closed)) / float(np.count_nonzero(hull))


def _ways(start: Mask, cost: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Least cost of a way from ``start`` to each pixel (Dijkstra, four neighbours)."""
    height, width = start.shape
    padded = np.full((height + 2, width + 2), np.inf)  # the frame around the picture is never entered
    padded[1:-1, 1:-1] = cost
    prices: list[float] = padded.ravel().tolist()
    row = width + 2
    best = [np.inf] * len(prices)
    heap: list[tuple[float, int]] = []
    for y, x in zip(*np.nonzero(start), strict=True):
        at = (int(y) + 1) * row + int(x) + 1
        best[at] = 0.0
        heap.append((0.0, at))
    heapq.heapify(heap)
    while heap:
        way, at = heapq.heappop(heap)
        if way > best[at]:
            continue
        for near in (at - 1, at + 1, at - row, at + row):
            further = way + prices[near]
            if further < best[near]:
                best[near] = further
                heapq.heappush(heap, (further, near))
    return np.array(best).reshape(height + 2, width + 2)[1:-1, 1:-1]
