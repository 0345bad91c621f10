"""The embedded segmenter: no weights, one core. From clicks, boxes or mattes to a matte on every frame.

Promises that the same prompts give the same bits, however often the run was killed; that a negative click's pixel is
never in the matte; that an object which is not seen has an empty matte and little confidence, not an invented one.
Works at a proxy; `refine` finds the plate's edge. Memory holds a few frames; passes in between lie in a scratch folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from void_engine.segmentation import refine, track_prompt, track_region
from void_engine.segmentation.interface import Matte, Mattes, Pictures, Prompt, Tick
from void_engine.segmentation.pictures import proxy_size
from void_engine.segmentation.track_follow import Follower, Step
from void_engine.segmentation.track_prompt import Seeds

_LONG_SIDE = 640
_SURE = 0.98  # an artist's word, cut out by us


@dataclass(frozen=True)
class _Job:
    """One object."""

    pictures: Pictures
    prompt: Prompt
    seeds: dict[int, Seeds]
    folder: Path

    def store(self, position: int, step: Step, side: str) -> None:
        codes = (np.clip(step.matte, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
        done, data = cv2.imencode(".png", codes)
        assert done
        (self.folder / f"{side}{position:06d}").write_bytes(np.float32(step.confidence).tobytes() + data.tobytes())

    def load(self, position: int, side: str) -> Step | None:
        path = self.folder / f"{side}{position:06d}"
        if not path.is_file():
            return None
        data = path.read_bytes()
        codes = cv2.imdecode(np.frombuffer(data[4:], np.uint8), cv2.IMREAD_GRAYSCALE)
        assert codes is not None
        matte = codes.astype(np.float32) / np.float32(255)
        return Step(matte, float(np.frombuffer(data[:4], np.float32)[0]))


class TrackSegmenter:
    name = "track"
    version = "1"

    def segment(self, pictures: Pictures, prompts: tuple[Prompt, ...], out: Mattes, tick: Tick) -> None:
        count, size = len(pictures), pictures.size
        for prompt in prompts:
            track_prompt.check(prompt, count, size)
        of = count * len(prompts)
        for index, prompt in enumerate(prompts):
            missing = [position for position in range(count) if not out.has(prompt.name, position)]
            done = index * count + count - len(missing)
            tick(done, of, f"segment {prompt.name}")
            if not missing:
                continue
            with tempfile.TemporaryDirectory(prefix="void-track-") as folder:
                seeds = track_prompt.seeds_of(prompt, size, proxy_size(size, _LONG_SIDE))
                job = _Job(pictures, prompt, seeds, Path(folder))
                for position, step in _answers(job, tick, (done, of)):
                    if not out.has(prompt.name, position):
                        matte = _at_plate(job, position, step.matte)
                        out.write(prompt.name, position, matte, step.confidence)
                        done += 1
                    tick(done, of, f"segment {prompt.name}")


def _answers(job: _Job, tick: Tick, at: tuple[int, int]) -> Iterator[tuple[int, Step]]:
    """Every frame's matte at the proxy: outwards from the first prompted frame, then between the prompted ones."""
    anchors = _anchors(job, tick, at)
    yield from ((position, step) for position, step in _walk(job, anchors[0], -1, -1))
    for one, other in zip(anchors, anchors[1:], strict=False):
        yield one, _loaded(job, one, "a")
        # Back from the later one first, into the scratch folder; then forwards, blended with it.
        for position, step in _walk(job, other, -1, one):
            job.store(position, step, "b")
            tick(*at, f"segment {job.prompt.name}: back from frame {other}")
        for position, step in _walk(job, one, 1, other):
            yield position, _blended(step, _loaded(job, position, "b"), (position - one) / (other - one))
            (job.folder / f"b{position:06d}").unlink()
    yield anchors[-1], _loaded(job, anchors[-1], "a")
    yield from _walk(job, anchors[-1], 1, len(job.pictures))


def _anchors(job: _Job, tick: Tick, at: tuple[int, int]) -> list[int]:
    """Cuts the object out on every prompted frame, from the most telling one on; returns them in order of time."""
    order = sorted(job.seeds)
    first = max(order, key=lambda position: (_tells(job.seeds[position]), -position))
    _anchor(job, first, None)
    for direction, others in ((1, [p for p in order if p > first]), (-1, [p for p in order if p < first][::-1])):
        at_last = first
        for position in others:
            prior: Matte | None = None
            if job.seeds[position].matte is None:
                for reached, step in _walk(job, at_last, direction, position + direction):
                    tick(*at, f"segment {job.prompt.name}: to the prompt on frame {position}")
                    prior = step.matte if reached == position else None
            _anchor(job, position, prior)
            at_last = position
    return order


def _tells(seeds: Seeds) -> int:
    if seeds.matte is not None:
        return 3
    if seeds.box is not None:
        return 2
    return 1 if seeds.positive else 0


def _anchor(job: _Job, position: int, prior: Matte | None) -> None:
    seeds = job.seeds[position]
    picture = job.pictures.proxy(position, _LONG_SIDE)
    if seeds.matte is not None:
        matte = seeds.matte
    elif prior is not None and _explains(prior, seeds):
        matte = prior
    else:
        matte = refine.filtered(picture, _corrected(job, position, prior).astype(np.float32))
    job.store(position, Step(matte, _SURE if matte.max(initial=0) > 0 else 0.3), "a")


def _corrected(job: _Job, position: int, prior: Matte | None) -> track_prompt.Mask:
    """What was carried here, with what this frame's prompt adds and takes."""
    seeds = job.seeds[position]
    picture = job.pictures.proxy(position, _LONG_SIDE)
    known = prior > 0.5 if prior is not None else np.zeros(seeds.shape, np.bool_)
    if seeds.box is not None:
        return track_region.region(picture, seeds)
    if any(not known[track_prompt.pixel(point, seeds.shape)] for point in seeds.positive):
        found = track_region.region(picture, seeds)
        # The carried matte goes on being the object only where the clicked one touches it.
        known = known | found if (known & found).any() else found
    return track_region.honoured(picture, known, seeds)


def _explains(prior: Matte, seeds: Seeds) -> bool:
    if seeds.box is not None or not (prior > 0.5).any():
        return False
    inside = [bool(prior[track_prompt.pixel(point, seeds.shape)] > 0.5) for point in seeds.positive]
    beside = [bool(prior[track_prompt.pixel(point, seeds.shape)] > 0.5) for point in seeds.negative]
    return all(inside) and not any(beside)


def _walk(job: _Job, start: int, direction: int, end: int) -> Iterator[tuple[int, Step]]:
    """From next to ``start`` up to, not including, ``end``."""
    follower = Follower(job.pictures.proxy(start, _LONG_SIDE), _loaded(job, start, "a").matte)
    for position in range(start + direction, end, direction):
        yield position, follower.step(job.pictures.proxy(position, _LONG_SIDE))


def _loaded(job: _Job, position: int, side: str) -> Step:
    step = job.load(position, side)
    assert step is not None
    return step


def _blended(earlier: Step, later: Step, time: float) -> Step:
    """``time`` 0 at the earlier prompted frame, 1 at the later: the nearer and the surer one counts more."""
    one, other = (1 - time) * earlier.confidence + 1e-6, time * later.confidence + 1e-6
    matte = (earlier.matte * np.float32(one) + later.matte * np.float32(other)) / np.float32(one + other)
    return Step(matte.astype(np.float32), (one * earlier.confidence + other * later.confidence) / (one + other))


def _at_plate(job: _Job, position: int, matte: Matte) -> Matte:
    given = job.prompt.mattes.get(position)
    seeds = job.seeds.get(position)
    if given is not None:
        full = np.clip(given, 0.0, 1.0).astype(np.float32)
    elif not (matte > 0.004).any():
        return np.zeros(job.pictures.size, np.float32)
    else:
        full = refine.to_plate(job.pictures.rgb(position), job.pictures.proxy(position, _LONG_SIDE), matte)
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
