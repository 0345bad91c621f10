"""Carries a matte from a prompted frame to its neighbours, one frame at a time, in either direction.

Where the prompted frame's pixels, carried along the flow, still look the same, its matte is taken as it is: nothing
drifts and a still object's edge stands still. Elsewhere the last frame's matte is carried, and cut anew near its edge.
Colours are those of the prompted frame, so an object that is gone is known to be gone, and is looked for again.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.diffusion.flow import DisFlow
from void_engine.segmentation import refine, track_colours, track_region
from void_engine.segmentation.interface import Matte, Picture
from void_engine.segmentation.track_colours import Plane
from void_engine.segmentation.track_light import Light
from void_engine.segmentation.track_prompt import Mask
from void_engine.segmentation.track_search import Bins, Look, bins_of
from void_engine.segmentation.track_shape import Shape

Flow = npt.NDArray[np.float32]
_SAME = 14.0  # codes of 8 bits that a carried colour may differ by and still be the same
_RIM = np.float32(0.05)  # weight of pixels that mix with what is behind them
_GONE = 0.4  # likeness of colours below which what was carried is not the object
_LEAST = 0.01  # and share of its area
_LEAST_FLOW = 16  # pixels: DIS needs that many a side
_UNSEEN = 0.05  # confidence that it is not there
_FOUND_AGAIN = 0.6  # of what a look-alike deserves


@dataclass(frozen=True)
class Step:
    matte: Matte
    confidence: float


@dataclass(frozen=True)
class _View:
    """A new frame. ``back``: its flow to the last one; ``agreed``: 1 where the way there and back agree."""

    picture: Picture
    bins: Bins
    back: Flow
    agreed: Plane


class Follower:
    """From one prompted frame outwards; `step` is given the frames in turn."""

    def __init__(self, picture: Picture, matte: Matte) -> None:
        self._anchor, self._anchor_matte = picture, matte
        solid = matte > 0.5
        self._whole = bool((_body(solid, None) | ~solid).all())
        self._look, self._shape, self._light = Look(picture, matte), Shape(solid), Light()
        self._raw, self._last, self._matte = picture, picture, matte
        self._flow: Flow = np.zeros((*matte.shape, 2), np.float32)  # from the last frame to the anchor
        self._anchored = True  # whether that flow means anything: not after a loss
        self._lost = False
        self._known: Plane = np.zeros(matte.shape, np.float32)  # 1 where, at the last loss, something else was
        self._dis = DisFlow(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def step(self, picture: Picture) -> Step:
        """The next frame's matte."""
        view = self._seen(picture)
        self._flow = view.back + _carried(self._flow, view.back)
        self._known = self._still(self._known, view)
        answer = None if self._lost else self._followed(view)
        if answer is None:
            self._lose(view)
            answer = self._found_again(view)
        self._raw, self._last, self._matte = picture, view.picture, answer.matte
        return answer

    def _seen(self, picture: Picture) -> _View:
        if min(picture.shape[:2]) < _LEAST_FLOW:
            shape = picture.shape[:2]
            return _View(picture, bins_of(picture), np.zeros((*shape, 2), np.float32), np.ones(shape, np.float32))
        back, there = self._dis(picture, self._raw), self._dis(self._raw, picture)
        error = np.linalg.norm(back + _carried(there, back), axis=2)
        agreed = np.exp(-((error / 1.5) ** 2)).astype(np.float32)
        relit = self._light.undone(picture, _carried(self._last.astype(np.float32), back), agreed)
        return _View(relit, bins_of(relit), back, agreed)

    def _followed(self, view: _View) -> Step | None:
        """None where what was carried here is not the object."""
        carried = _carried(self._matte, view.back)
        said, trust = self._said_by_anchor(view, carried > 0.5)
        prior = carried + (said - carried) * trust
        if not (prior > 0.5).any():
            return None
        fresh = self._recut(view, prior, trust)
        matte = (fresh + (prior - fresh) * trust).astype(np.float32)
        matte = self._joined(view, matte)
        if self._whole:
            matte = matte * _body(matte > 0.5, self._shape.place)
        solid = matte > 0.5
        area, likeness = int(np.count_nonzero(solid)), self._look.likeness(view.bins, solid)
        if likeness < _GONE or area < max(1, _LEAST * self._look.area):
            return None
        grown = min(area, self._look.area) / max(area, self._look.area)
        steady = float(view.agreed[solid].mean())
        self._look.learn(view.bins, solid, steady)
        return Step(matte, float(np.clip(likeness * (0.4 + 0.6 * steady) * (0.5 + 0.5 * grown), 0.0, 1.0)))

    def _said_by_anchor(self, view: _View, solid: Mask) -> tuple[Matte, Plane]:
        """Its matte, carried here, and 1 where its picture, carried here, looks as this frame does."""
        said, trust = self._by_flow(view.picture, self._flow)
        if not self._anchored:
            return said, np.zeros_like(trust)
        # The flow of a thin part is that of what moves behind it: there the body's own motion may say more.
        by_body, sure = self._by_flow(view.picture, _of_body(self._flow, solid * view.agreed))
        thin = (sure > trust) & (by_body > 0.5)
        return np.where(thin, by_body, said), np.where(thin, sure, trust)

    def _by_flow(self, picture: Picture, flow: Flow) -> tuple[Matte, Plane]:
        matte, carried = _carried(self._anchor_matte, flow), _carried(self._anchor.astype(np.float32), flow)
        solid = matte > 0.5
        # What changes behind a thin part does not count against it.
        return matte, np.where(solid, _same(carried, picture, solid), _same(carried, picture))

    def _recut(self, view: _View, prior: Matte, trust: Plane) -> Matte:
        """``prior`` cut anew near its edge where the anchor says nothing; what lies deep inside or far off stays."""
        solid = prior > 0.5
        near = 3.0 + 0.05 * float(np.count_nonzero(solid)) ** 0.5
        inner = cv2.distanceTransform(solid.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        outer = cv2.distanceTransform((~solid).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        band = (inner <= near) & (outer <= near)
        likely = self._look.likely(view.bins, 2.0, track_colours.ring(solid, 4 * near))
        covered = solid & (trust < 0.3) & (likely < -1.0)
        if not ((band & (trust < 0.7)).any() or covered.any()):
            return prior
        marks = np.where(solid, cv2.GC_FGD, cv2.GC_BGD).astype(np.uint8)
        marks[band] = np.where(solid[band], cv2.GC_PR_FGD, cv2.GC_PR_BGD)
        marks[covered] = cv2.GC_PR_BGD
        if not (marks == cv2.GC_FGD).any():
            marks[solid & (inner >= 0.7 * float(inner.max()))] = cv2.GC_FGD
        cut = track_region.grab(view.picture, marks, 1, 400)
        if cut is None or not cut.any():
            return prior
        if np.count_nonzero(cut) < 0.3 * np.count_nonzero(solid) and not covered.any():
            return prior
        return refine.filtered(view.picture, _tidied(cut, solid, near).astype(np.float32))

    def _joined(self, view: _View, matte: Matte) -> Matte:
        """With what of the object came out from behind something, or into the picture, since the last frame."""
        solid = matte > 0.5
        was_hidden = self._shape.hidden
        self._shape.move(solid, view.back)
        more = np.zeros_like(solid)
        if self._shape.hidden:
            if not was_hidden:
                self._remember(view)
            more = self._shape.completed(solid, (self._look.likely(view.bins, 1.5) > 0.7) & (self._known < 0.5))
        if not self._anchored:
            found = self._look.found(view.bins, self._known)
            if found is not None and (found & solid).any() and np.count_nonzero(found) > np.count_nonzero(solid):
                more = more | found
        if not (more & ~solid).any():
            return matte
        return np.maximum(matte, refine.filtered(view.picture, (more | solid).astype(np.float32)))

    def _lose(self, view: _View) -> None:
        if not self._lost:
            self._remember(view)
        self._lost, self._anchored = True, False

    def _remember(self, view: _View) -> None:
        """What was beside the object in the last frame, and is still there, is something else."""
        beside = cv2.dilate((self._matte > 0.05).astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
        self._known = self._still(beside.astype(np.float32), view)

    def _still(self, known: Plane, view: _View) -> Plane:
        """What was known to be something else, and still looks as it did."""
        if not known.any():
            return known
        same = _same(_carried(self._last.astype(np.float32), view.back), view.picture)
        return np.asarray(np.minimum(_carried(known, view.back), (same > 0.5).astype(np.float32)))

    def _found_again(self, view: _View) -> Step:
        """Looks for the object's colours anywhere; nothing where no part is alike enough."""
        found = self._look.found(view.bins, self._known)
        if found is None:
            return Step(np.zeros_like(self._matte), _UNSEEN)
        self._lost = False
        matte = refine.filtered(view.picture, found.astype(np.float32))
        self._shape = Shape(found)
        return Step(matte, _FOUND_AGAIN * self._look.likeness(view.bins, found))


def _of_body(flow: Flow, weight: Plane) -> Flow:
    """The flow of the weighted pixels, smooth, and everywhere."""
    reach = 3.0 + 0.15 * float(weight.sum()) ** 0.5
    total = cv2.GaussianBlur(weight, (0, 0), reach) + np.float32(1e-6)
    return np.asarray(cv2.GaussianBlur(flow * weight[..., None], (0, 0), reach) / total[..., None], np.float32)


def _same(carried: npt.NDArray[np.float32], picture: Picture, within: Mask | None = None) -> Plane:
    """1 where the two look the same; ``within``: the only pixels that are looked at, those on its rim hardly."""
    error = carried - picture.astype(np.float32)
    if within is None:
        differs = np.abs(cv2.GaussianBlur(error, (0, 0), 1.0)).max(axis=2)
    else:
        weight = cv2.erode(within.astype(np.float32), np.ones((3, 3), np.uint8)) + _RIM * within
        total = cv2.GaussianBlur(weight, (0, 0), 1.0) + np.float32(1e-6)
        differs = np.abs(cv2.GaussianBlur(error * weight[..., None], (0, 0), 1.0)).max(axis=2) / total * within
    # The worst nearby counts: an occluder's edge is not the object's.
    worst = cv2.GaussianBlur(cv2.dilate(differs, np.ones((5, 5), np.uint8)), (0, 0), 1.5)
    return np.asarray(np.exp(-((worst / _SAME) ** 4)), np.float32)


def _body(solid: Mask, place: Mask | None) -> Mask:
    """All but what has come off a body and is small beside it: what lay in a glass and was taken out of it.

    ``place``: where the whole body is, of which a part is hidden: what is in it may be apart.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(solid.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if areas.size < 2:
        return np.ones_like(solid)
    small = areas < 0.25 * areas.max()
    if place is not None:
        small = (areas < areas.max()) & (np.bincount(labels[place], minlength=areas.size + 1)[1:] < 0.5 * areas)
    off = np.isin(labels, np.flatnonzero(small) + 1)
    grown = cv2.dilate(off.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.bool_)
    return np.asarray(~grown | (solid & ~off))


def _tidied(cut: Mask, solid: Mask, near: float) -> Mask:
    """Without threads and specks that the last frame did not have."""
    small = cv2.morphologyEx(cut.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(np.bool_)
    kept = small if small.any() else cut
    _, labels, stats, _ = cv2.connectedComponentsWithStats(kept.astype(np.uint8), connectivity=8)
    deep = np.unique(labels[kept & solid])
    large = [label for label in deep if stats[label, cv2.CC_STAT_AREA] >= min(near * near, 0.05 * kept.sum())]
    return np.asarray(np.isin(labels, large)) if large else kept


def _carried(plane: npt.NDArray[np.float32], flow: Flow) -> npt.NDArray[np.float32]:
    """``plane`` as seen along ``flow``; outside of the picture its border goes on."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(plane, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)
