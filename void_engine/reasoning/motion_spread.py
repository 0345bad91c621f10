"""Where the things are that a touch set in motion, and where they stood: this picture against the one before the touch.

Promises: pure functions of what `motion_events` and the measures left on disk; memory of one small picture per event,
of which there are few. Must not: say what any of it means.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import pixels
from void_engine.cleanplate.pixels import Mask, Matrix
from void_engine.reasoning.motion_events import OWN, SAME_TOUCH, WAITING, Event, Labels, find_events, traces
from void_engine.reasoning.motion_measure import Measures, changed
from void_engine.segmentation.interface import Picture

_BACK = (2, 3, 4, 6, 8, 12, 16, 24, 32, 1)  # frames before a touch: what stood there, wherever the object was not
_ASIDE = 0.25  # of where something was when it began to move must be bare later, or nothing stood there
_EARLIER = (3, 5, 8, 12)  # frames before a touch
_STIRRED = 0.15  # of a place that stood may look different a few frames earlier
_SHARED = 0.05  # of a bare piece: the first frames show but the edge of a plain thing that leaves its place
_SAMPLES = 12  # frames at which that is looked at


class Spread:
    """The events of a clip, and their regions by position. ``chain``: frame i's pixels to frame 0's."""

    def __init__(self, measures: Measures, chain: list[Matrix], folder: Path, tick: Callable[[int], None]) -> None:
        self._measures, self._chain, self._folder = measures, chain, folder
        self._before: dict[int, tuple[Picture, Mask]] = {}
        self.events = find_events(measures, folder, tick)

    def thing(self, event: Event, position: int) -> Mask:
        """What the event moves or has moved, where it is now; less the rim that looks as it did before."""
        mask = traces(self._folder, position).labels == event.key
        differs, known = self._differs(event, position)
        found = mask & (differs | ~known)
        closed = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0
        return self._outside(np.asarray(closed & mask), position)

    def place(self, event: Event, position: int) -> Mask:
        """Where that stood, and what else is not as before the touch, wherever its things have been."""
        left = traces(self._folder, position)
        primary = self._measures.get(position).primary
        swept = left.swept.get(event.key)
        if swept is None:
            return np.zeros_like(primary)
        differs, known = self._differs(event, position)
        found = differs & known & (left.labels != OWN) & ~primary
        found = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
        # Plain things show their edges only while they move: what is bare in one piece with that was theirs, too.
        return self._outside(_mostly_in(np.asarray(found), swept) & (left.labels != event.key), position)

    def _outside(self, mask: Mask, position: int) -> Mask:
        """With the pixel at every edge that `changed` leaves to jitter; outside the object."""
        return np.asarray(pixels.grown(mask, 1) & ~self._measures.get(position).primary) if mask.any() else mask

    def stood(self, event: Event) -> bool:
        """Whether something stood where the event began: its place is bare later.

        What only came out from behind the object, the object's shadow and its fringe leave nothing bare.
        """
        last = self._measures.count - 1
        # Its first frames together: the first of all may show but the object's fringe, or one edge.
        until = min(last, event.seen + SAME_TOUCH)
        began = traces(self._folder, until).swept.get(event.key)
        began = None if began is None else self._seen(began.astype(np.uint8), until, event.begun) > 0
        if began is None or event.seen >= last or not self._was_still(event, began):
            return False
        for position in sorted({round(p) for p in np.linspace(event.seen + 1, last, _SAMPLES)}):
            place = self._seen(began.astype(np.uint8), event.begun, position) > 0
            differs, known = self._differs(event, position)
            place &= known & ~self._measures.get(position).primary
            bare = place & differs & self._left(event, position)
            if int(place.sum()) >= 4 and bare.sum() >= _ASIDE * place.sum():
                return True
        return False

    def _was_still(self, event: Event, began: Mask) -> bool:
        """Whether the place looked the same in the frames before: what drifts by at another depth did not stand."""
        self._differs(event, event.begun)
        before, known = self._before[event.begun]
        place = pixels.grown(began, 2) & known
        for back in _EARLIER:
            at = event.begun - back
            if at < 0:
                continue
            measure = self._measures.get(at)
            hidden = pixels.grown(measure.primary, 3) if measure.primary.any() else measure.primary
            free = place & (self._seen((~hidden).astype(np.uint8), at, event.begun) > 0)
            moved = free & changed(self._seen(measure.rgb, at, event.begun), before, np.eye(3))
            if int(free.sum()) >= 4 and moved.sum() > _STIRRED * free.sum():
                return False
        return True

    def _left(self, event: Event, position: int) -> Mask:
        """Where what was there as the event began is no more, and nothing of the event passes by just now."""
        here = self._measures.get(position).rgb
        then = self._seen(self._measures.rgb(event.seen), event.seen, position)
        other = position - 1 if position > event.seen + 1 else min(position + 1, self._measures.count - 1)
        passes = changed(here, self._seen(self._measures.rgb(other), other, position), np.eye(3))
        mine = traces(self._folder, position).labels == event.key
        return np.asarray(changed(here, then, np.eye(3)) & ~(mine & passes))

    def owns(self, mask: Mask, position: int) -> float:
        """The share of ``mask`` that events have moved."""
        return float((mask & (_events_only(traces(self._folder, position).labels))).sum()) / max(1, int(mask.sum()))

    def _differs(self, event: Event, position: int) -> tuple[Mask, Mask]:
        """Where the picture is not as before the touch; and where that is known."""
        if event.begun not in self._before:
            self._before[event.begun] = self._undisturbed(event.begun)
        before, known = self._before[event.begun]
        seen = self._seen(before, event.begun, position)
        differs = changed(self._measures.get(position).rgb, seen, np.eye(3))
        return differs, np.asarray(self._seen(known.astype(np.uint8), event.begun, position) > 0)

    def _undisturbed(self, begun: int) -> tuple[Picture, Mask]:
        """What ``begun``'s camera would see had nothing happened yet, and where that is known."""
        height, width = self._measures.size
        picture, known = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.bool_)
        for back in _BACK:
            at = begun - back
            if at < 0:
                continue
            measure = self._measures.get(at)
            hidden = pixels.grown(measure.primary, 3) if measure.primary.any() else measure.primary
            hidden = hidden | measure.moving | (traces(self._folder, at).labels == OWN)
            free = self._seen((~hidden).astype(np.uint8), at, begun) > 0
            fresh = free & ~known
            picture[fresh] = self._seen(measure.rgb, at, begun)[fresh]
            known |= fresh
        return picture, known

    def _seen(self, picture: npt.NDArray[np.uint8], at: int, position: int) -> npt.NDArray[np.uint8]:
        """``picture``, which belongs to ``at``, as the camera sees it from ``position``; 0 where it never was."""
        matrix = np.linalg.inv(self._chain[position]) @ self._chain[at]
        if np.allclose(matrix, np.eye(3), atol=1e-9):
            return picture
        flags = cv2.INTER_LINEAR if picture.ndim == 3 else cv2.INTER_NEAREST
        return np.asarray(cv2.warpPerspective(picture, matrix, picture.shape[1::-1], flags=flags), np.uint8)


def _events_only(labels: Labels) -> Mask:
    return np.asarray((labels > OWN) & (labels < WAITING))


def _mostly_in(mask: Mask, other: Mask) -> Mask:
    """The pieces of ``mask`` that lie in ``other`` by a fair share."""
    count, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    areas = np.bincount(pieces.ravel(), minlength=count)
    shared = np.bincount(pieces[other], minlength=count)
    chosen = shared > _SHARED * areas
    chosen[0] = False
    return np.asarray(chosen[pieces])
