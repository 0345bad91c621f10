"""Things that move by themselves, followed through the clip, with what they did to the object and it to them.

Promises: one small file of masks per frame in the scratch folder; memory holds the current masks and a few numbers per
thing and frame. A thing that comes to rest is kept where it lies. Must not: say what any of it means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import pixels, scratch
from void_engine.cleanplate.pixels import Box, Mask, Matrix
from void_engine.reasoning.motion_measure import LONG_SIDE, Measure, Measures, mapped, warped, warped_mask
from void_engine.segmentation.interface import Picture

SMALLEST = 0.0004  # of the frame: less is noise
_LARGEST = 0.3  # of the frame: more is the scene itself
REACH = 0.012  # of the long side: nearer is touching
_MOST = 24  # things followed at once
_LOST = 2.5  # times its size: a blob that swells so much is another thing coming along
_PATIENCE = 2  # frames without own motion for a thing that has not yet lasted


@dataclass(frozen=True)
class Sighting:
    """A thing at one position; ``place`` and ``box`` in proxy pixels, ``steady`` with the camera's motion taken out."""

    position: int
    place: tuple[float, float]
    steady: tuple[float, float]
    box: Box
    area: int
    moving: bool  # by itself, now
    touching: bool  # the object
    inside: float  # share of it that lies within the object
    edge: bool  # it, or what it hangs together with, reaches out of the picture
    object_moves: float  # pixels that the object's middle moved since the frame before
    object_steady: tuple[float, float]  # the object's middle, or its last one
    shade: float  # share of what it newly covers that only darkens, or -1 where it covers nothing new


@dataclass
class Thing:
    key: int
    sightings: list[Sighting] = field(default_factory=list)

    @property
    def moved(self) -> list[Sighting]:
        return [seen for seen in self.sightings if seen.moving]


@dataclass
class Track:
    """All things of a clip, the camera's chain, and where the object's middle was."""

    things: list[Thing]
    chain: list[Matrix]  # frame i's pixels to frame 0's
    folder: Path
    size: tuple[int, int]

    def masks(self, position: int) -> dict[int, Mask]:
        """By the thing's key."""
        stored = scratch.load_arrays(_path(self.folder, position))
        if stored is None:
            return {}
        count = self.size[0] * self.size[1]
        return {
            int(key): np.unpackbits(bits, count=count).reshape(self.size).astype(np.bool_)
            for key, bits in zip(stored["keys"], stored["masks"], strict=True)
        }


def follow(measures: Measures, folder: Path, tick: Callable[[int], None]) -> Track:
    """Forward through the clip; deterministic, so that a killed run simply does it again."""
    follower = _Follower(measures.size)
    for position in range(measures.count):
        tick(position)
        follower.step(position, measures.get(position), measures.rgb(max(0, position - 1)))
        keys = sorted(follower.masks)
        packed = [np.packbits(follower.masks[key]) for key in keys]
        bits = np.stack(packed) if packed else np.zeros((0, 0), np.uint8)
        scratch.save_arrays(_path(folder, position), {"keys": np.array(keys, np.int64), "masks": bits})
    return Track(follower.things, follower.chain, folder, measures.size)


class _Follower:
    def __init__(self, size: tuple[int, int]) -> None:
        self.things: list[Thing] = []
        self.chain: list[Matrix] = []
        self.masks: dict[int, Mask] = {}
        self._size = size
        self._reach = max(2, round(REACH * max(size)))
        self._object: tuple[float, float] | None = None

    def step(self, position: int, measure: Measure, before: Picture) -> None:
        self.chain.append(self.chain[-1] @ measure.camera if self.chain else np.eye(3))
        moves = self._object_moved(measure)
        blobs = _blobs(measure, moves)
        old = self.masks
        carried = {key: warped_mask(mask, measure.flow, measure.camera) for key, mask in self.masks.items()}
        self.masks, taken = self._carry(carried, blobs)
        for index, blob in enumerate(blobs):
            if index not in taken and len(self.masks) < _MOST:
                self.things.append(Thing(len(self.things)))
                self.masks[self.things[-1].key] = blob
                taken[index] = self.things[-1].key
        self._forget(position)
        outside = _edge_blobs(measure, moves)
        moving = set(taken.values())
        still = warped(before, measure.camera)
        for key, mask in self.masks.items():
            new = mask & ~_as_before(old.get(key), measure) & ~measure.primary
            sight = self._sight(position, mask, measure, outside, key in moving, moves)
            self.things[key].sightings.append(replace(sight, shade=_shade(measure.rgb, still, new)))

    def _carry(self, carried: dict[int, Mask], blobs: list[Mask]) -> tuple[dict[int, Mask], dict[int, int]]:
        """Each thing's new mask, and which blob (by index) went to which thing."""
        masks: dict[int, Mask] = {}
        taken: dict[int, int] = {}
        for key, mask in carried.items():
            area = int(mask.sum())
            if area == 0:
                continue
            near = pixels.grown(mask, self._reach)
            best, most = -1, 0
            for index, blob in enumerate(blobs):
                shared = int((near & blob).sum())
                if index not in taken and shared > max(most, 0.2 * min(area, int(blob.sum()))):
                    best, most = index, shared
            if best < 0:
                masks[key] = mask
                continue
            taken[best] = key
            blob = blobs[best]
            if blob.sum() > _LOST * area:
                blob = blob & pixels.grown(mask, 2 * self._reach)
            masks[key] = blob if blob.sum() > 0.6 * area else blob | mask
        return masks, taken

    def _forget(self, position: int) -> None:
        """What moved for a moment only, and what shrank away."""
        least = max(4.0, SMALLEST * self._size[0] * self._size[1])
        for key in list(self.masks):
            seen = self.things[key].sightings
            brief = len([each for each in seen if each.moving]) < 3
            stale = bool(seen) and position - max([e.position for e in seen if e.moving], default=0) > _PATIENCE
            if self.masks[key].sum() < least / 2 or (brief and stale):
                del self.masks[key]

    def _object_moved(self, measure: Measure) -> float:
        if not measure.primary.any():
            self._object = None
            return 0.0
        here = middle(measure.primary)
        before, self._object = self._object, here
        if before is None:
            return 0.0
        there = mapped(here, measure.camera)
        return float(np.hypot(there[0] - before[0], there[1] - before[1]))

    def _sight(
        self, position: int, mask: Mask, measure: Measure, outside: Mask, moving: bool, object_moves: float
    ) -> Sighting:
        place = middle(mask)
        area = int(mask.sum())
        touching = bool((pixels.grown(mask, self._reach) & measure.primary).any())
        return Sighting(
            position=position,
            place=place,
            steady=mapped(place, self.chain[-1]),
            box=box_of(mask),
            area=area,
            moving=moving,
            touching=touching,
            inside=float((mask & measure.primary).sum()) / area,
            edge=bool((pixels.grown(mask, 2) & outside).any()),
            object_moves=object_moves,
            object_steady=mapped(self._object, self.chain[-1]) if self._object is not None else (0.0, 0.0),
            shade=-1.0,
        )


def box_of(mask: npt.NDArray[np.bool_]) -> Box:
    """The far edges lie outside."""
    ys, xs = np.nonzero(mask)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def middle(mask: Mask) -> tuple[float, float]:
    ys, xs = np.nonzero(mask)
    return float(xs.mean()), float(ys.mean())


def _blobs(measure: Measure, object_moves: float) -> list[Mask]:
    """What moves, in one piece each; within an object that stands, what moves inside or in front of it by itself."""
    height, width = measure.moving.shape
    parts = [measure.moving & ~_around(measure, object_moves)]
    if object_moves <= 0.5:
        parts.append(measure.moving & measure.primary)
    found = []
    for part in parts:
        # Plain things show their edges only: strips a few pixels apart are one thing.
        opened = cv2.morphologyEx(part.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        opened = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
        count, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
        for label in range(1, count):
            if SMALLEST * height * width <= stats[label, cv2.CC_STAT_AREA] <= _LARGEST * height * width:
                found.append((int(stats[label, cv2.CC_STAT_AREA]), label, np.asarray(labels == label)))
    found.sort(key=lambda each: (-each[0], each[1]))
    return [blob for _, _, blob in found[:_MOST]]


def _around(measure: Measure, object_moves: float) -> Mask:
    """The object, with the fringe that its own motion makes where it moves."""
    if object_moves <= 0.5 or not measure.primary.any():
        return measure.primary
    return pixels.grown(measure.primary, max(1, round(2 * max(measure.primary.shape) / LONG_SIDE)))


def _as_before(mask: Mask | None, measure: Measure) -> Mask:
    """Where a thing was in the frame before, as this frame's camera sees it."""
    if mask is None:
        return np.ones_like(measure.primary)
    return np.asarray(warped(mask.astype(np.uint8), measure.camera) > 0)


def _shade(here: Picture, before: Picture, where: Mask) -> float:
    """The share of ``where`` that is darker than ``before`` and of the same colour, as under a shadow."""
    if int(where.sum()) < 4:
        return -1.0
    now, then = (cv2.cvtColor(cv2.GaussianBlur(p, (0, 0), 1.0), cv2.COLOR_RGB2LAB)[where] for p in (here, before))
    ratio = (now[:, 0].astype(np.float32) + 1) / (then[:, 0].astype(np.float32) + 1)
    tint = np.abs(now[:, 1:].astype(np.int16) - then[:, 1:].astype(np.int16)).max(axis=1)
    return float(((ratio > 0.35) & (ratio < 0.95) & (tint < 10)).mean())


def _edge_blobs(measure: Measure, object_moves: float) -> Mask:
    """All that moves and hangs together with the picture's edge: hands, people, the world going by."""
    # Not by way of the object: an arm reaches the edge, and what it holds does not for that.
    around = _around(measure, object_moves)
    count, labels = cv2.connectedComponents((measure.moving & ~around).astype(np.uint8), connectivity=8)
    rims = np.concatenate([labels[:2].ravel(), labels[-2:].ravel(), labels[:, :2].ravel(), labels[:, -2:].ravel()])
    out = np.zeros(count, np.bool_)
    out[np.unique(rims)] = True
    out[0] = False
    return np.asarray(out[labels])


def _path(folder: Path, position: int) -> Path:
    return folder / f"things.{position:06d}.npz"
