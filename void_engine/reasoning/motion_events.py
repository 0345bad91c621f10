"""What the object sets in motion: motion that begins where the object, or what it set in motion, arrives.

Promises: every moving pixel has an owner: it moved by itself, or an event (a touch) set it going; chains of touches are
followed. One small file per frame in the scratch folder; memory holds a few maps. Must not: say what any of it means.

Regions and not things are followed: a stack that falls apart, or things that tumble over each other, need no identity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import pixels, scratch
from void_engine.cleanplate.pixels import Mask, Matrix
from void_engine.reasoning.motion_measure import LONG_SIDE, Measure, Measures, warped, warped_mask
from void_engine.reasoning.motion_things import REACH, SMALLEST, middle
from void_engine.segmentation.interface import Picture

Labels = npt.NDArray[np.uint8]  # (H, W): 0 nothing, `OWN` moves by itself, else an event's key

OWN = 1
WAITING = 255  # a label: began to move, and nothing that could have touched it has been seen yet
_WAITS = 3  # frames: the far edge of a plain thing is seen to move before the near one
LASTED = 3  # frames of motion: less may be noise
OBJECT = 0  # the parent of an event that the object itself began
_MOST = 12  # events: a clip with more of them is one in which everything moves
_EARLY = 2  # frames: what moves by then moved before the clip, for all that one can see
_REMEMBERED = 12  # frames for which what moved by itself is known to; leaves and water rest between gusts
SAME_TOUCH = 2  # frames: what begins this soon after its neighbour began with it
_COVERED = 0.5  # of a piece lay behind the object just now
_FRONT = 4  # frames back: how far the object advanced, also where it is slow
_JUMP = 3.0  # times its size: as far as a fast thing is looked for in the next frame
_ALIKE = 14.0  # Lab units between the colours of a fast thing here and there
_SWELLS = 2.5  # times the area of a fast thing, at most, from frame to frame
_FLICKER = 0.4  # of the frame moves: a cut, a flash, or no camera found


@dataclass(frozen=True)
class Event:
    """A touch. ``parent``: `OBJECT`, or the event whose things touched. ``lasted``: frames in which it moved something.

    ``begun`` and ``seen``: when it moved, and when it was clear why. ``area``: proxy pixels, in its largest frame.
    """

    key: int
    parent: int
    begun: int
    seen: int
    lasted: int = 0
    area: int = 0


@dataclass(frozen=True)
class Traces:
    """``labels``: what is whose, moving or at rest; ``swept``: by event, wherever its things have been since."""

    labels: Labels
    swept: dict[int, Mask]


@dataclass(frozen=True)
class _Piece:
    """Something that moved in the frame before, to find it again by its looks."""

    label: int
    area: int
    place: tuple[float, float]
    colour: npt.NDArray[np.float64]


def find_events(measures: Measures, folder: Path, tick: Callable[[int], None]) -> list[Event]:
    """Forward through the clip; deterministic, so that a killed run simply does it again."""
    finder = _Finder(measures)
    for position in range(measures.count):
        tick(position)
        finder.step(position)
        keys = sorted(finder.swept)
        bits = [np.packbits(finder.swept[key]) for key in keys]
        stored: dict[str, npt.NDArray[Any]] = {"labels": finder.labels, "keys": np.array(keys, np.int64)}
        scratch.save_arrays(_path(folder, position), stored | {"swept": np.stack(bits) if bits else np.zeros((0, 0))})
    return [event for event in finder.events.values() if event.lasted > 0]


def traces(folder: Path, position: int) -> Traces:
    """What `find_events` left. Raises ``LookupError`` where it has not been."""
    stored = scratch.load_arrays(_path(folder, position))
    if stored is None:
        raise LookupError(f"position {position} has not been looked at")
    labels = stored["labels"]
    swept = {
        int(key): np.unpackbits(bits, count=labels.size).reshape(labels.shape).astype(np.bool_)
        for key, bits in zip(stored["keys"], stored["swept"], strict=True)
    }
    return Traces(labels, swept)


class _Finder:
    def __init__(self, measures: Measures) -> None:
        self.labels: Labels = np.zeros(measures.size, np.uint8)
        self.swept: dict[int, Mask] = {}
        self.events: dict[int, Event] = {}
        self._measures = measures
        self._reach = max(2, round(REACH * max(measures.size)))
        self._least = max(4.0, SMALLEST * measures.size[0] * measures.size[1])
        self._rested = np.zeros(measures.size, np.uint8)  # frames since what moves by itself moved here
        self._waited = np.zeros(measures.size, np.uint8)  # frames for which it has waited for its cause
        self._pieces: list[_Piece] = []
        self._primaries: list[Mask] = []  # of the frames before, as this frame's camera sees them; the newest first

    def step(self, position: int) -> None:
        measure = self._measures.get(position)
        before = self._measures.rgb(max(0, position - 1))
        self._follow_camera(measure.camera)
        carried = self._carried(measure, before)
        moving = _moving(measure)
        labels = self._owned(position, measure, moving, carried)
        self._pieces = self._seen(measure, labels)
        self.labels = self._settled(measure, before, labels, moving, carried)
        for key in np.unique(labels[(labels > OWN) & (labels < WAITING)]):
            mask = labels == key
            self.swept[int(key)] = self.swept.get(int(key), np.zeros_like(mask)) | mask
            event = self.events[int(key)]
            self.events[int(key)] = replace(event, lasted=event.lasted + 1, area=max(event.area, int(mask.sum())))
        self._forget()
        self._primaries = [measure.primary, *self._primaries][:_FRONT]

    def _forget(self) -> None:
        """Events that were a flicker: their keys are used again."""
        for key, event in list(self.events.items()):
            if event.lasted < LASTED and not (self.labels == key).any():
                del self.events[key]
                self.swept.pop(key, None)

    def _follow_camera(self, camera: Matrix) -> None:
        if np.array_equal(camera, np.eye(3)):
            return
        self.labels, self._rested, self._waited = (
            _shifted(each, camera) for each in (self.labels, self._rested, self._waited)
        )
        self.swept = {key: _shifted(mask.astype(np.uint8), camera) > 0 for key, mask in self.swept.items()}
        self._primaries = [_shifted(mask.astype(np.uint8), camera) > 0 for mask in self._primaries]

    def _carried(self, measure: Measure, before: Picture) -> Labels:
        """The labels of the frame before where dense flow takes them, and where they were."""
        out = self.labels.copy()
        for key in np.unique(self.labels[self.labels > 0]):
            # The camera has been followed already.
            out[warped_mask(self.labels == key, measure.flow, np.eye(3)) & (out == 0)] = key
        return out

    def _owned(self, position: int, measure: Measure, moving: Mask, carried: Labels) -> Labels:
        """Whose every moving pixel is: its nearest neighbour's of the frame before, or else a new event's."""
        labels = np.zeros_like(carried)
        if not moving.any():
            return labels
        away, nearest = _nearest(carried)
        known = moving & (away <= self._reach)
        labels[known] = nearest[known]
        fresh, found = _pieces_of(moving & ~known)
        for index in range(1, found + 1):
            piece = fresh == index
            if piece.sum() < self._least:
                # A rim of something known, or noise.
                labels[piece] = nearest[piece] if away[piece].min() <= self._reach + 2 else OWN
                continue
            labels[piece] = self._cause(position, measure, piece, labels)
        self._decide(position, measure, labels)
        return labels

    def _decide(self, position: int, measure: Measure, labels: Labels) -> None:
        """What has waited for its cause: it has found one, or moves by itself."""
        age = np.where(labels == WAITING, _spread(self._waited, self._reach) + 1, 0).astype(np.uint8)
        parts, count = _pieces_of(labels == WAITING)
        for index in range(1, count + 1):
            part = parts == index
            waited = int(age[part].max()) - 1
            cause = self._touched(position, measure, pixels.grown(part, self._reach), labels, waited)
            if cause != WAITING or waited >= _WAITS:
                labels[part] = OWN if cause == WAITING else cause
            age[part] = waited + 1
        self._waited = age

    def _cause(self, position: int, measure: Measure, piece: Mask, labels: Labels) -> int:
        if position <= _EARLY:
            return OWN
        again = self._by_looks(measure.rgb, piece)
        if again is not None:
            return again
        # Out from behind the object: whether it moved there before, nobody saw.
        if (piece & np.logical_or.reduce(self._primaries)).sum() > _COVERED * piece.sum():
            return OWN
        return self._touched(position, measure, pixels.grown(piece, self._reach), labels, 0)

    def _touched(self, position: int, measure: Measure, near: Mask, labels: Labels, waited: int) -> int:
        """The event of what touches ``near``, a new one where need be; or `WAITING`."""
        # In the wake of an event all is its own: what it lays bare, what tumbles on.
        wake = {key: int((near & mask).sum()) for key, mask in self.swept.items() if self.events[key].parent == OBJECT}
        if any(wake.values()) and waited == 0:
            return max(wake, key=lambda key: (wake[key], -key))
        if (near & self._contact(measure)).any():
            return self._event(position, OBJECT, waited)
        for map_ in (labels, self.labels):
            touching, counts = np.unique(map_[near & (map_ > 0) & (map_ < WAITING)], return_counts=True)
            if len(touching) > 0:
                toucher = int(touching[np.argmax(counts)])
                return OWN if toucher == OWN else self._event(position, toucher, waited)
        return WAITING

    def _event(self, position: int, parent: int, waited: int) -> int:
        """A new one, or the one that the same touch began just now."""
        begun = position - waited
        if parent in self.events and begun - self.events[parent].begun <= SAME_TOUCH:
            return parent
        for event in self.events.values():
            if event.parent == parent and begun - event.begun <= SAME_TOUCH:
                return event.key
        free = [key for key in range(OWN + 1, OWN + 1 + _MOST) if key not in self.events]
        if not free:
            return OWN
        self.events[free[0]] = Event(free[0], parent, begun, position)
        return free[0]

    def _contact(self, measure: Measure) -> Mask:
        """Where the object may have touched something since the frame before; empty while it stands."""
        none = np.zeros_like(measure.primary)
        if not measure.primary.any() or not self._primaries or not self._primaries[0].any():
            return none
        was = self._primaries[0]
        longer = next(mask for mask in reversed(self._primaries) if mask.any())
        front = measure.primary & ~pixels.grown(longer, 1)
        if int(front.sum()) < 4:
            return none
        # A fast object may touch and rebound between two frames: as far as it goes in one, ahead of where it was.
        step = _farthest(was, measure.primary)
        if len(self._primaries) > 1 and self._primaries[1].any():
            step = max(step, _farthest(self._primaries[1], was))
        ahead = pixels.grown(np.asarray(front | (measure.primary & ~was)), round(self._reach + step))
        beside = pixels.grown(np.asarray(measure.primary | was), self._reach)
        return np.asarray(ahead | beside)

    def _by_looks(self, rgb: Picture, piece: Mask) -> int | None:
        """Whose it is if it jumped here: something of the frame before, as large and of the same colour."""
        area, place, colour = int(piece.sum()), middle(piece), _colour(rgb, piece)
        best, found = np.inf, None
        for other in self._pieces:
            distance = float(np.hypot(place[0] - other.place[0], place[1] - other.place[1]))
            alike = float(np.linalg.norm(colour - other.colour))
            swells = max(area, other.area) / max(1, min(area, other.area))
            if distance < _JUMP * np.sqrt(other.area) and alike < _ALIKE and swells < _SWELLS and distance < best:
                best, found = distance, other.label
        return found

    def _seen(self, measure: Measure, labels: Labels) -> list[_Piece]:
        found = []
        for label in np.unique(labels[labels > 0]):
            parts, count = _pieces_of(labels == label)
            for index in range(1, count + 1):
                part = parts == index
                if part.sum() >= self._least:
                    place, colour = middle(part), _colour(measure.rgb, part)
                    found.append(_Piece(int(label), int(part.sum()), place, colour))
        return found

    def _settled(self, measure: Measure, before: Picture, labels: Labels, moving: Mask, carried: Labels) -> Labels:
        """With what came to rest: an event's things stay its own where nothing changes, the others for a while."""
        self._rested = np.where(labels == OWN, 0, np.minimum(self._rested + 1, 255)).astype(np.uint8)
        same = _same(measure.rgb, warped(before, measure.camera))
        rests = (carried > OWN) & (carried < WAITING) & ~moving & same & ~measure.primary
        lately = (self.labels == OWN) & (self._rested <= _REMEMBERED) & ~rests
        out = labels.copy()
        out[(out == 0) & rests] = carried[(out == 0) & rests]
        out[(out == 0) & lately] = OWN
        return out


def _moving(measure: Measure) -> Mask:
    """Without the object and its fringe; nothing where the whole picture moves."""
    fringe = max(1, round(2 * max(measure.primary.shape) / LONG_SIDE))
    around = pixels.grown(measure.primary, fringe) if measure.primary.any() else measure.primary
    found = cv2.morphologyEx((measure.moving & ~around).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    if found.mean() > _FLICKER:
        return np.zeros_like(measure.primary)
    return np.asarray(found > 0)


def _pieces_of(mask: Mask) -> tuple[npt.NDArray[np.int32], int]:
    # Strips a few pixels apart are one: plain things show their edges only.
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, parts = cv2.connectedComponents(closed, connectivity=8)
    parts[~mask] = 0
    return np.asarray(parts, np.int32), count - 1


def _spread(values: npt.NDArray[np.uint8], radius: int) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.dilate(values, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)), np.uint8)


def _nearest(labels: Labels) -> tuple[npt.NDArray[np.float32], Labels]:
    """How far the nearest labelled pixel is, and its label."""
    if not labels.any():
        return np.full(labels.shape, np.inf, np.float32), labels
    away = cv2.distanceTransform((labels == 0).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(away, np.float32), np.asarray(pixels.carried(labels > 0, labels, 0), np.uint8)


def _farthest(was: Mask, here: Mask) -> float:
    """How far the middle moved: the camera's motion is out of ``was`` already."""
    a, b = middle(was), middle(here)
    return float(np.hypot(b[0] - a[0], b[1] - a[1]))


def _colour(rgb: Picture, mask: Mask) -> npt.NDArray[np.float64]:
    lab = cv2.cvtColor(rgb[mask][None], cv2.COLOR_RGB2LAB)[0]
    return np.asarray(np.median(lab, axis=0), np.float64)


def _same(here: Picture, before: Picture) -> Mask:
    now, then = (cv2.GaussianBlur(picture, (0, 0), 1.0).astype(np.int16) for picture in (here, before))
    return np.asarray(np.abs(now - then).max(axis=2) < 12)


def _shifted(array: npt.NDArray[np.uint8], camera: Matrix) -> npt.NDArray[np.uint8]:
    """A map of the frame before, as this frame's camera sees it; 0 where it never was."""
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpPerspective(array, camera, array.shape[1::-1], flags=flags), np.uint8)


def _path(folder: Path, position: int) -> Path:
    return folder / f"events.{position:06d}.npz"
