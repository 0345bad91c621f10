"""What has a name but no matte is looked for by its name: a detector finds its box, the segmenter makes it a matte.

`detect` is the stage between reason and quadmask; `look` does the work, for anyone who has words for a thing. Promises:
where there is no detector, or a thing is not found, the analysis stays as it was, and the artist is told of the latter;
the same answer after a kill. Must not: decide what is affected, or what a quadmask is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from void_client.errors import EngineUnavailable

from void_engine.atomic import write_atomically
from void_engine.detection import Detection, Detector
from void_engine.quadmask.policy_regions import held_box, hulls
from void_engine.reasoning.analysis import Affected, Analysis, Belonging, Region
from void_engine.reasoning.analysis_json import analysis_to_json
from void_engine.reasoning.interface import PRIMARY
from void_engine.segmentation import Box, Mattes, Pictures, Prompt, Segmenter
from void_engine.segmentation.interface import Tick
from void_engine.stages import Context

VERSION = 1  # of `look` and what it asks: raised whenever its mattes change
ANALYSIS = "analysis.json"
_INSIDE = 0.5  # of a box that must lie near where the thing is said to be
_CELL = 1 / 8  # of the short side: how coarsely a reasoner says where a thing is
_SAME = 0.8  # overlap from which a box is the object's own: a detector asked for a shadow likes to show who casts it
_HALF = 0.5  # a matte's value from which a pixel belongs to it
_PREFIX = "detected-"  # of a matte's name
_SHOWN = 80  # characters of a noun in a warning

Edges = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels of the canvas


@dataclass(frozen=True)
class Thing:
    """What is looked for. ``name``: its matte's; ``words``: what the detector is asked; ``positions``: on which frames.

    ``regions``: where it is said to be, one at a frame and ascending; may be empty. ``apart``: it is not the object.
    """

    name: str
    words: str
    positions: tuple[int, ...]
    regions: tuple[Region, ...] = ()
    apart: bool = False


@dataclass(frozen=True)
class Scene:
    """The clip as the reasoner knew it. ``numbers``: the plate's frame numbers, by position; ``mattes``: read only."""

    pictures: Pictures
    numbers: tuple[int, ...]
    mattes: Mattes


def detect(
    analysis: Analysis, scene: Scene, detector: Detector, segmenter: Segmenter, out: Mattes, context: Context
) -> dict[str, Any]:
    """A stage: the analysis, with the names of the mattes that were found. Facts: what was found, and the warnings."""
    things = things_of(analysis, scene)
    boxes: dict[str, Box] = {}
    try:
        boxes = look(things, scene, detector, segmenter, out, context.progress)
        warnings = [_not_found(thing) for thing in things if thing.name not in boxes]
    except EngineUnavailable as problem:  # its weights are there, but damaged: the analysis does without
        warnings = [f"Things could not be looked for by their names: {problem}"]
    text = analysis_to_json(matted(analysis, frozenset(boxes)))
    write_atomically(context.folder / ANALYSIS, [text.encode()])
    found = {name: [scene.numbers[box.position], box.x0, box.y0, box.x1, box.y1] for name, box in boxes.items()}
    return {"found": found, "warnings": warnings, "note": f"looked for by {detector.name}"}


def things_of(analysis: Analysis, scene: Scene) -> tuple[Thing, ...]:
    """What of the analysis has a noun and no matte."""
    things = []
    for name, each in _named(analysis):
        known = bool(each.matte) and any(scene.mattes.has(each.matte, p) for p in range(len(scene.numbers)))
        if each.noun.strip() and not known:
            regions = hulls(each.regions)
            positions = _positions(each, regions, scene)
            if positions:
                things.append(Thing(name, each.noun, positions, regions, apart=isinstance(each, Affected)))
    return tuple(things)


def unmatted(analysis: Analysis) -> Analysis:
    """Without the names that `matted` gave in an earlier run: its mattes are not here, and things may have moved up."""
    belongings = tuple(replace(e, matte="") if e.matte.startswith(_PREFIX) else e for e in analysis.belongings)
    affected = tuple(replace(e, matte="") if e.matte.startswith(_PREFIX) else e for e in analysis.affected)
    return replace(analysis, belongings=belongings, affected=affected)


def matted(analysis: Analysis, found: frozenset[str]) -> Analysis:
    """The analysis whose things bear the names of their mattes, where one was found."""
    named = [replace(each, matte=name) if name in found else each for name, each in _named(analysis)]
    belongings = tuple(each for each in named if isinstance(each, Belonging))
    return replace(analysis, belongings=belongings, affected=tuple(e for e in named if isinstance(e, Affected)))


def look(
    things: Sequence[Thing], scene: Scene, detector: Detector, segmenter: Segmenter, out: Mattes, tick: Tick
) -> dict[str, Box]:
    """The things that were found, by name, each with the box that told; their mattes on all frames are in ``out``.

    Raises as the detector and the segmenter do, ``Cancelled`` through ``tick``.
    """
    asked = sorted({position for thing in things for position in thing.positions})
    steps = len(asked) + len(things) * len(scene.numbers)
    best: dict[str, tuple[float, Box]] = {}
    for step, position in enumerate(asked):
        here = [thing for thing in things if position in thing.positions]
        tick(step, steps, f"look on frame {scene.numbers[position]}")
        for name, worth, box in _sightings(here, position, scene, detector):
            if name not in best or worth > best[name][0]:
                best[name] = worth, box
    prompts = tuple(Prompt(thing.name, boxes=(best[thing.name][1],)) for thing in things if thing.name in best)
    if prompts:
        segmenter.segment(
            scene.pictures, prompts, out, lambda done, _, what: tick(min(steps, len(asked) + done), steps, what)
        )
    tick(steps, steps, "looked")
    boxes = {name: box for name, (_, box) in best.items()}
    return {t.name: boxes[t.name] for t in things if t.name in boxes and _is_it(t, boxes[t.name], scene, out)}


# --- what is looked for, and where


def _named(analysis: Analysis) -> Iterator[tuple[str, Belonging | Affected]]:
    for index, belonging in enumerate(analysis.belongings):
        yield f"{_PREFIX}belonging-{index}", belonging
    for index, affected in enumerate(analysis.affected):
        yield f"{_PREFIX}affected-{index}", affected


def _positions(thing: Belonging | Affected, regions: tuple[Region, ...], scene: Scene) -> tuple[int, ...]:
    """The first of its frames, the middle one and the best; of those where the reasoner saw it, if it said."""
    numbers = scene.numbers
    first, last = (thing.first_frame, thing.last_frame) if isinstance(thing, Affected) else (numbers[0], numbers[-1])
    inside = [position for position, number in enumerate(numbers) if first <= number <= last]
    area = {region.frame: (region.x1 - region.x0) * (region.y1 - region.y0) for region in regions}
    seen = [position for position in inside if numbers[position] in area]
    among = seen or inside
    if not among:
        return ()
    # The best: where it is largest, or where the object that causes it is surest.
    best = max(among, key=lambda p: area[numbers[p]] if seen else scene.mattes.confidence(PRIMARY, p))
    return tuple(sorted({among[0], among[len(among) // 2], best}))


# --- which of the boxes it is


def _sightings(
    things: Sequence[Thing], position: int, scene: Scene, detector: Detector
) -> Iterator[tuple[str, float, Box]]:
    """Each thing's candidates on that frame: name, worth, box."""
    # All words of a frame at once: a box that answers one of them does not answer another.
    words = tuple(dict.fromkeys(thing.words for thing in things))
    detections = detector.detect(scene.pictures.rgb(position).astype(np.float32) / np.float32(255), words)
    primary = _edges_of(scene.mattes, position)
    for thing in things:
        said = _said(thing, scene, position)
        for each in detections:
            edges = (each.x0, each.y0, each.x1, each.y1)
            if each.word != thing.words or (thing.apart and primary and _overlap(edges, primary) > _SAME):
                continue
            worth = _worth(each, edges, said, _CELL * min(scene.pictures.size))
            if worth > 0:
                yield thing.name, worth, Box(position, *edges)


def _worth(detection: Detection, edges: Edges, said: Edges | None, margin: float) -> float:
    """The score; where a place was said, nothing away from it, and more the better it fits."""
    if said is None:
        return detection.score
    near = (said[0] - margin, said[1] - margin, said[2] + margin, said[3] + margin)
    if _common(edges, near) < _INSIDE * _area(edges):
        return 0.0
    return detection.score + _overlap(edges, said)


def _said(thing: Thing, scene: Scene, position: int) -> Edges | None:
    shares = held_box(thing.regions, scene.numbers[position])
    if shares is None:
        return None
    height, width = scene.pictures.size
    return shares[0] * width, shares[1] * height, shares[2] * width, shares[3] * height


def _is_it(thing: Thing, box: Box, scene: Scene, out: Mattes) -> bool:
    """Whether the segmenter found anything in the box, and not the object once more."""
    matte = out.read(thing.name, box.position) >= _HALF
    if not matte.any():
        return False
    primary = scene.mattes.read(PRIMARY, box.position) >= _HALF
    return not thing.apart or bool((matte & primary).sum() <= _HALF * matte.sum())


def _not_found(thing: Thing) -> str:
    instead = "what the reasoner said of its place is used" if thing.regions else "the reasoner did not say where it is"
    return f"not found: {thing.words[:_SHOWN]!r}; {instead}."


# --- rectangles


def _edges_of(mattes: Mattes, position: int) -> Edges | None:
    inside = mattes.read(PRIMARY, position) >= _HALF
    if not inside.any():
        return None
    ys, xs = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)


def _area(edges: Edges) -> float:
    return max(0.0, edges[2] - edges[0]) * max(0.0, edges[3] - edges[1])


def _common(one: Edges, other: Edges) -> float:
    return _area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))


def _overlap(one: Edges, other: Edges) -> float:
    """Intersection over union."""
    common = _common(one, other)
    return common / (_area(one) + _area(other) - common) if common else 0.0
