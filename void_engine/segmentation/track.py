"""The embedded segmenter: no weights, one core. From clicks, boxes or mattes to a matte on every frame.

Promises that the same prompts give the same bits, however often the run was killed; that a negative click's pixel is
never in the matte; that an object which is not seen has an empty matte and little confidence, not an invented one.
Works at a proxy; `refine` finds the plate's edge. Memory holds a few frames; passes in between lie in a scratch folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from void_engine.segmentation import refine, track_prompt, track_size
from void_engine.segmentation.interface import Matte, Mattes, Pictures, Prompt, Tick
from void_engine.segmentation.pictures import proxy_size
from void_engine.segmentation.track_anchors import cut_anchors
from void_engine.segmentation.track_follow import Step
from void_engine.segmentation.track_job import Job, Progress
from void_engine.segmentation.track_prompt import Seeds

# Of a pixel: to remove an object is to remove what blur and lenses mix with it, so its edge errs outward.
_HALF = 0.35
_EMPTY = 0.004  # of a matte: less than a code of eight bits


class TrackSegmenter:
    name = "track"
    version = "2"

    def segment(self, pictures: Pictures, prompts: tuple[Prompt, ...], out: Mattes, tick: Tick) -> None:
        count = len(pictures)
        for prompt in prompts:
            track_prompt.check(prompt, count, pictures.size)
        for index, prompt in enumerate(prompts):
            missing = [position for position in range(count) if not out.has(prompt.name, position)]
            progress = Progress(tick, (index + 1) * count - len(missing), count * len(prompts))
            progress.note(f"segment {prompt.name}")
            if missing:
                _segment_one(pictures, prompt, out, progress)


def _segment_one(pictures: Pictures, prompt: Prompt, out: Mattes, progress: Progress) -> None:
    long_side = track_size.long_side(pictures, prompt)
    seeds = track_prompt.seeds_of(prompt, pictures.size, proxy_size(pictures.size, long_side))
    with tempfile.TemporaryDirectory(prefix="void-track-") as folder:
        job = Job(pictures, prompt, seeds, long_side, Path(folder), progress)
        for position, step in _answers(job):
            if not out.has(prompt.name, position):
                out.write(prompt.name, position, _at_plate(job, position, step.matte), step.confidence)
                progress.done += 1
            progress.note(f"segment {prompt.name}")


def _answers(job: Job) -> Iterator[tuple[int, Step]]:
    """Every frame's matte at the proxy: outwards from the first prompted frame, then between the prompted ones."""
    anchors = cut_anchors(job)
    yield from job.walk(anchors[0], -1, -1)
    for one, other in zip(anchors, anchors[1:], strict=False):
        yield one, job.anchor(one)
        # Back from the later one first, into the scratch folder; then forwards, blended with it.
        for position, step in job.walk(other, -1, one):
            job.put_aside(position, step)
            job.note(f"back from frame {other}")
        for position, step in job.walk(one, 1, other):
            yield position, _blended(step, job.take_back(position), (position - one) / (other - one))
    yield anchors[-1], job.anchor(anchors[-1])
    yield from job.walk(anchors[-1], 1, len(job.pictures))


def _blended(earlier: Step, later: Step, time: float) -> Step:
    """``time`` 0 at the earlier prompted frame, 1 at the later: the nearer and the surer one counts more."""
    one, other = (1 - time) * earlier.confidence + 1e-6, time * later.confidence + 1e-6
    matte = (earlier.matte * np.float32(one) + later.matte * np.float32(other)) / np.float32(one + other)
    return Step(matte.astype(np.float32), (one * earlier.confidence + other * later.confidence) / (one + other))


def _at_plate(job: Job, position: int, matte: Matte) -> Matte:
    given = job.prompt.mattes.get(position)
    seeds = job.seeds.get(position)
    if given is not None:
        full = np.clip(given, 0.0, 1.0).astype(np.float32)
    elif not (matte > _EMPTY).any():
        full = np.zeros(job.pictures.size, np.float32)
    else:
        full = refine.to_plate(job.pictures.rgb(position), job.picture(position), matte, _HALF)
    return full if seeds is None else _clicked(full, job.prompt, position, seeds)


def _clicked(full: Matte, prompt: Prompt, position: int, seeds: Seeds) -> Matte:
    """The clicks' own pixels: exactly in, exactly out, as far as a proxy's pixel reaches."""
    radius = max(0, round(0.5 * full.shape[0] / seeds.shape[0] - 0.5))
    for positive in (True, False):  # beside the object has the last word
        for click in prompt.clicks:
            if click.position == position and click.positive == positive:
                y, x = int(click.y), int(click.x)
                around = (slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1))
                full[around] = 1.0 if positive else 0.0
    return full
