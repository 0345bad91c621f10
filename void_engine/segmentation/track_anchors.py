"""Cuts the object out on every prompted frame, so that all frames say the same of what it is.

From the most telling frame on, what was carried to the next one stands if it explains that frame's clicks; else the
clicks correct it. A correction is then carried to the frames that were cut out before it, for a click says that a
point is in, not that nothing else is: where it explains their clicks too, it takes their place.
"""

from __future__ import annotations

import cv2
import numpy as np

from void_engine.segmentation import refine, track_region
from void_engine.segmentation.interface import Matte
from void_engine.segmentation.track_follow import Step
from void_engine.segmentation.track_job import Job
from void_engine.segmentation.track_prompt import Mask, Seeds, pixel

_SURE, _UNSURE = 0.98, 0.3  # an artist's word, cut out by us; a word that left nothing
_CARRIED = 0.5  # confidence from which what was carried is a part of what is clicked elsewhere
_AGREE = 0.8  # overlap from which two cuts say the same
_TOUCH = 5  # pixels of the kernel within which parts touch


def cut_anchors(job: Job) -> list[int]:
    """Returns the prompted frames in order of time."""
    order = sorted(job.seeds)
    first = max(order, key=lambda position: (*_tells(job.seeds[position]), -position))
    _cut(job, first, None)
    done = [first]
    for direction, others in ((1, [p for p in order if p > first]), (-1, [p for p in order if p < first][::-1])):
        at_last = first
        for position in others:
            before = None if job.seeds[position].matte is not None else _carried(job, at_last, position, direction)
            if _cut(job, position, before):
                _spread(job, position, done)
            done.append(position)
            at_last = position
    return order


def _tells(seeds: Seeds) -> tuple[int, int]:
    if seeds.matte is not None:
        return 3, 0
    if seeds.box is not None:
        return 2, 0
    return (1 if seeds.positive else 0), len(seeds.positive)


def _carried(job: Job, start: int, end: int, direction: int) -> Step:
    step = job.anchor(start)
    for _, reached in job.walk(start, direction, end + direction):
        job.note(f"to the prompt on frame {end}")
        step = reached
    return step


def _cut(job: Job, position: int, before: Step | None) -> bool:
    """Whether the frame's prompt says more than ``before``, which was carried there."""
    seeds = job.seeds[position]
    if seeds.matte is None and before is not None and _explains(before.matte, seeds):
        job.set_anchor(position, Step(before.matte, _SURE))
        return False
    matte = seeds.matte
    if matte is None:
        matte = refine.filtered(job.picture(position), _corrected(job, position, before).astype(np.float32))
    job.set_anchor(position, Step(matte, _SURE if matte.max(initial=0) > 0 else _UNSURE))
    return before is not None


def _spread(job: Job, corrected: int, done: list[int]) -> None:
    """To the anchors that were cut out before, outwards, until one knows better."""
    for direction in (1, -1):
        at_last = corrected
        for position in sorted((p for p in done if (p - corrected) * direction > 0), reverse=direction < 0):
            seeds = job.seeds[position]
            if seeds.matte is not None or seeds.box is not None:
                break
            step, known = _carried(job, at_last, position, direction), job.anchor(position)
            if step.confidence < _CARRIED or not _explains(step.matte, seeds):
                break
            if track_region.overlap(step.matte > 0.5, known.matte > 0.5) < _AGREE:
                job.set_anchor(position, Step(step.matte, _SURE))
            at_last = position


def _corrected(job: Job, position: int, before: Step | None) -> Mask:
    """What was carried here, with what this frame's prompt adds and takes."""
    seeds = job.seeds[position]
    picture = job.picture(position)
    if seeds.box is not None:
        return track_region.region(picture, seeds)
    known = np.zeros(seeds.shape, np.bool_) if before is None else before.matte > 0.5
    if any(not known[pixel(point, seeds.shape)] for point in seeds.positive):
        found = track_region.region(picture, seeds)
        # What was carried goes on being the object where the clicked one touches it, or where it is sure.
        sure = before is not None and before.confidence >= _CARRIED
        known = known | found if sure or _touch(known, found) else found
    return track_region.honoured(picture, known, seeds)


def _touch(one: Mask, other: Mask) -> bool:
    near = cv2.dilate(one.astype(np.uint8), np.ones((_TOUCH, _TOUCH), np.uint8)) > 0
    return bool((near & other).any())


def _explains(carried: Matte, seeds: Seeds) -> bool:
    if seeds.box is not None or not (carried > 0.5).any():
        return False
    inside = [bool(carried[pixel(point, seeds.shape)] > 0.5) for point in seeds.positive]
    beside = [bool(carried[pixel(point, seeds.shape)] > 0.5) for point in seeds.negative]
    return all(inside) and not any(beside)
