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
from void_engine.segmentation.track_prompt import Mask

Flow = npt.NDArray[np.float32]
_SAME = 14.0  # codes of 8 bits that a carried colour may differ by and still be the same
_GONE = 0.4  # likeness of colours below which what was carried is not the object
_FOUND = 0.6  # and from which on something found is
_LEAST_FLOW = 16  # pixels: DIS needs that many a side


@dataclass(frozen=True)
class Step:
    matte: Matte
    confidence: float


class Follower:
    """From one prompted frame outwards; `step` is given the frames in turn."""

    def __init__(self, picture: Picture, matte: Matte) -> None:
        self._anchor, self._anchor_matte = picture, matte
        solid = matte > 0.5
        self._area = int(np.count_nonzero(solid))
        self._whole = bool((_body(solid) | ~solid).all())
        bins = track_colours.codes(track_colours.lab(picture))
        self._inside = track_colours.histogram(bins, solid)
        self._outside = track_colours.histogram(bins, ~solid)
        self._last, self._matte = picture, matte
        self._flow: Flow = np.zeros((*matte.shape, 2), np.float32)  # from the last frame to the anchor
        self._anchored = True  # whether that flow means anything: not after a loss
        self._lost = False
        self._dis = DisFlow(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._confidence = 1.0

    def step(self, picture: Picture) -> Step:
        """The next frame's matte."""
        back, agreed = self._motion(picture)
        self._flow = back + _carried(self._flow, back)
        bins = track_colours.codes(track_colours.lab(picture))
        if self._lost:
            answer = self._search(picture, bins)
        else:
            answer = self._follow(picture, bins, back, agreed)
        self._last, self._matte = picture, answer.matte
        return answer

    def _motion(self, picture: Picture) -> tuple[Flow, Plane]:
        """Flow from ``picture`` to the last frame, and 1 where the way there and back agree."""
        if min(picture.shape[:2]) < _LEAST_FLOW:
            return np.zeros((*picture.shape[:2], 2), np.float32), np.ones(picture.shape[:2], np.float32)
        back, there = self._dis(picture, self._last), self._dis(self._last, picture)
        error = np.linalg.norm(back + _carried(there, back), axis=2)
        return back, np.exp(-((error / 1.5) ** 2)).astype(np.float32)

    def _follow(self, picture: Picture, bins: npt.NDArray[np.int32], back: Flow, agreed: Plane) -> Step:
        carried = _carried(self._matte, back)
        trust = self._trust(picture)
        prior = carried + (_carried(self._anchor_matte, self._flow) - carried) * trust
        solid = prior > 0.5
        if not solid.any():
            return self._nothing()
        fresh = self._recut(picture, bins, prior, trust)
        matte = (fresh + (prior - fresh) * trust).astype(np.float32)
        if not self._anchored:
            matte = self._joined(picture, bins, matte)
        if self._whole:
            matte = matte * _body(matte > 0.5)
        solid = matte > 0.5
        area = int(np.count_nonzero(solid))
        colours = track_colours.histogram(bins, solid)
        likeness = track_colours.alike(colours, self._inside) if area else 0.0
        if likeness < _GONE or area < max(1, 0.01 * self._area):
            return self._nothing()
        return Step(matte, self._sure(matte, agreed, likeness, area))

    def _trust(self, picture: Picture) -> Plane:
        """1 where the anchor's picture, carried here, looks as this frame does."""
        if not self._anchored:
            return np.zeros(picture.shape[:2], np.float32)
        carried = _carried(self._anchor.astype(np.float32), self._flow)
        differs = np.abs(cv2.GaussianBlur(carried - picture.astype(np.float32), (0, 0), 1.0)).max(axis=2)
        # The worst nearby counts: an occluder's edge is not the object's.
        differs = cv2.GaussianBlur(cv2.dilate(differs, np.ones((5, 5), np.uint8)), (0, 0), 1.5)
        return np.asarray(np.exp(-((differs / _SAME) ** 4)), np.float32)

    def _recut(self, picture: Picture, bins: npt.NDArray[np.int32], prior: Matte, trust: Plane) -> Matte:
        """``prior`` cut anew near its edge where the anchor says nothing; what lies deep inside or far off stays."""
        solid = prior > 0.5
        near = 3.0 + 0.05 * float(np.count_nonzero(solid)) ** 0.5
        inner = cv2.distanceTransform(solid.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        outer = cv2.distanceTransform((~solid).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        band = (inner <= near) & (outer <= near)
        likely = self._likely(bins, solid, near)
        covered = solid & (trust < 0.3) & (likely < -1.0)
        if not ((band & (trust < 0.7)).any() or covered.any()):
            return prior
        marks = np.where(solid, cv2.GC_FGD, cv2.GC_BGD).astype(np.uint8)
        marks[band] = np.where(solid[band], cv2.GC_PR_FGD, cv2.GC_PR_BGD)
        marks[covered] = cv2.GC_PR_BGD
        if not (marks == cv2.GC_FGD).any():
            marks[solid & (inner >= 0.7 * float(inner.max()))] = cv2.GC_FGD
        cut = track_region.grab(picture, marks, 1, 400)
        if cut is None or not cut.any():
            return prior
        if np.count_nonzero(cut) < 0.3 * np.count_nonzero(solid) and not covered.any():
            return prior
        return refine.filtered(picture, _tidied(cut, solid, near).astype(np.float32))

    def _likely(self, bins: npt.NDArray[np.int32], solid: Mask, near: float) -> Plane:
        around = track_colours.ring(solid, 4 * near)
        outside = (self._outside + track_colours.histogram(bins, around)) * np.float32(0.5)
        return np.asarray(cv2.GaussianBlur(track_colours.ratio(bins, self._inside, outside), (0, 0), 2.0), np.float32)

    def _sure(self, matte: Matte, agreed: Plane, likeness: float, area: int) -> float:
        solid = matte > 0.5
        steady = float(agreed[solid].mean())
        grown = min(area, self._area) / max(area, self._area, 1)
        self._confidence = float(np.clip(likeness * (0.4 + 0.6 * steady) * (0.5 + 0.5 * grown), 0.0, 1.0))
        return self._confidence

    def _joined(self, picture: Picture, bins: npt.NDArray[np.int32], matte: Matte) -> Matte:
        """After a loss what was found may be but a part of what comes in: what of its colours touches it joins."""
        solid = matte > 0.5
        found = self._candidate(picture, bins)
        if found is None or not (found & solid).any() or np.count_nonzero(found) < np.count_nonzero(solid):
            return matte
        return np.maximum(matte, refine.filtered(picture, found.astype(np.float32)))

    def _nothing(self) -> Step:
        self._lost, self._anchored = True, False
        return Step(np.zeros_like(self._matte), 0.05)

    def _search(self, picture: Picture, bins: npt.NDArray[np.int32]) -> Step:
        """Looks for the object's colours anywhere; nothing where no part is alike enough."""
        found = self._candidate(picture, bins)
        if found is None:
            return Step(np.zeros_like(self._matte), 0.05)
        self._lost = False
        matte = refine.filtered(picture, found.astype(np.float32))
        likeness = track_colours.alike(track_colours.histogram(bins, found), self._inside)
        return Step(matte, 0.6 * likeness)

    def _candidate(self, picture: Picture, bins: npt.NDArray[np.int32]) -> Mask | None:
        likely = cv2.GaussianBlur(track_colours.ratio(bins, self._inside, self._outside), (0, 0), 1.5)
        _, labels, stats, _ = cv2.connectedComponentsWithStats((likely > 0.7).astype(np.uint8), connectivity=8)
        best: tuple[float, Mask] | None = None
        for label in np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:4] + 1:
            mask = track_region.filled(labels == label)
            x, y, wide, tall = (int(v) for v in stats[label, :4])
            at_edge = x == 0 or y == 0 or x + wide == mask.shape[1] or y + tall == mask.shape[0]
            share = int(np.count_nonzero(mask)) / max(1, self._area)
            if not (0.05 if at_edge else 0.3) <= share <= 2.0:
                continue
            like = track_colours.alike(track_colours.histogram(bins, mask), self._inside)
            if like >= _FOUND and (best is None or like > best[0]):
                best = (like, mask)
        return best[1] if best is not None else None


def _body(solid: Mask) -> Mask:
    """All but what has come off a body and is small beside it: what lay in a glass and was taken out of it."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(solid.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if areas.size < 2:
        return np.ones_like(solid)
    off = np.isin(labels, np.flatnonzero(areas < 0.25 * areas.max()) + 1)
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
