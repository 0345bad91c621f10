"""``motion``: the embedded reasoner. No model and no network: what the pixels' motion and light say, in words.

Promises: deterministic; survives a kill (measures and mattes lie on disk); memory does not grow with the clip but for a
few numbers per thing and frame. Honest: what motion cannot tell is a warning. Must not: make a quadmask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from void_engine.cleanplate.pixels import Box, Mask
from void_engine.reasoning.analysis import Affected, Analysis, Belonging, Region, Waypoint
from void_engine.reasoning.interface import ReasonRequest
from void_engine.reasoning.motion_light import Mirror, find_mirror, mirrored, shadow
from void_engine.reasoning.motion_measure import Measures
from void_engine.reasoning.motion_rules import CUES, Finding, judge
from void_engine.reasoning.motion_spread import Spread
from void_engine.reasoning.motion_things import Track, box_of, follow
from void_engine.segmentation.interface import Tick

_MOST = 6  # affected things: the surest are kept
_SAMPLES = 9  # frames at which light is judged
_AGREE = 0.5  # of the samples
_AGREE_MOVING = 0.7  # of them, on a reflection of an object that moves
_BOXES = 24  # at most, of a thing, over the clip
_FAINT = 0.02  # of the object's size: a smaller shadow is noise
_PASSES = 5  # over the clip: measuring, following, touches, judging light, writing

_UNKNOWN = (
    "What the motion reasoner cannot know: what things are, what lies out of sight, and anything that neither moves "
    "nor changes the light."
)


@dataclass(frozen=True)
class MotionReasoner:
    """``cues``: which of `CUES` to use; all but for measuring what each is worth."""

    cues: frozenset[str] = frozenset(CUES)
    name: str = "motion"
    version: str = "2"
    cloud: bool = False

    def reason(self, request: ReasonRequest, tick: Tick) -> Analysis:
        measures = Measures(request)
        count = measures.count
        steps = _PASSES * count
        measures.make(tick, steps)
        track = follow(measures, request.scratch / "motion", lambda i: tick(count + i, steps, "following what moves"))
        boxes = [_box(measures.get(position).primary) for position in range(count)]
        if not any(boxes):
            return Analysis(self.name, warnings=("The object's matte is empty in every frame: nothing was analysed.",))
        spread = Spread(measures, track.chain, request.scratch / "motion",
                        lambda i: tick(2 * count + i, steps, "what the object touches"))  # fmt: skip
        findings = judge(track, spread, boxes, request.frame_rate, self.cues)
        findings += self._light(measures, track, boxes, lambda i: tick(3 * count + i, steps, "shadow and reflection"))
        belongings = [finding for finding in findings if finding.belonging][:_MOST]
        affected = [finding for finding in findings if not finding.belonging][:_MOST]
        named = [(f"belonging-{i}", finding) for i, finding in enumerate(belongings)]
        named += [(f"affected-{i}", finding) for i, finding in enumerate(affected)]
        regions = _write(request, measures, named, lambda i: tick(4 * count + i, steps, "writing mattes"))
        return _analysis(self.name, request, measures, named, regions)

    def _light(
        self, measures: Measures, track: Track, boxes: list[Box | None], tick: Callable[[int], None]
    ) -> list[Finding]:
        present = [position for position, box in enumerate(boxes) if box is not None]
        picks = sorted({present[int(i)] for i in np.linspace(0, len(present) - 1, min(_SAMPLES, len(present)))})
        mirrors: list[Mirror] = []
        shaded = 0
        for position in picks:
            tick(position)
            measure = measures.get(position)
            mirror = find_mirror(measure.rgb, measure.primary) if "reflection" in self.cues else None
            mirrors += [mirror] if mirror is not None else []
            if "shadow" in self.cues:
                dark = shadow(measure.rgb, measure.primary, _taken(measures, track, position))
                shaded += int(dark.sum() > _FAINT * measure.primary.sum())
        found: list[Finding] = []
        # A reflection goes wherever the object goes; scenery that looks like one comes and goes as the object passes.
        agree = _AGREE_MOVING if _wanders([boxes[position] for position in picks]) else _AGREE
        if len(mirrors) > agree * len(picks):
            below = int(np.median([mirror.below for mirror in mirrors]))
            alike = float(np.mean([mirror.alike for mirror in mirrors]))
            found.append(_reflection(measures, Mirror(below, alike), present))
        if shaded > _AGREE * len(picks):
            found.append(_shadow(measures, track, present))
        return found


def _wanders(boxes: list[Box | None]) -> bool:
    """Whether the object's middle moves in the picture by more than half its size."""
    sides = np.array([box for box in boxes if box is not None], np.float64)
    middles, sizes = (sides[:, :2] + sides[:, 2:]) / 2, sides[:, 2:] - sides[:, :2]
    return bool((np.ptp(middles, axis=0) > 0.5 * np.median(sizes, axis=0)).any())


def _reflection(measures: Measures, mirror: Mirror, present: list[int]) -> Finding:
    return Finding(
        cue="reflection",
        noun="reflection of the object",
        why="What lies below the object repeats it upside down, and stands out from what lies beside it.",
        first=present[0],
        last=present[-1],
        confidence=round(min(0.9, 0.2 + mirror.alike), 2),
        mask=lambda position: mirrored(measures.get(position).primary, mirror),
        category="artifact",
    )


def _shadow(measures: Measures, track: Track, present: list[int]) -> Finding:
    def mask(position: int) -> Mask:
        measure = measures.get(position)
        return shadow(measure.rgb, measure.primary, _taken(measures, track, position))

    return Finding(
        cue="shadow",
        noun="shadow of the object",
        why="The ground next to the object is darker than the rest of it and of nearly the same colour.",
        first=present[0],
        last=present[-1],
        confidence=0.5,
        mask=mask,
        category="artifact",
        warning="Whether the dark ground next to the object is its shadow or the ground's own colour is not certain.",
    )


def _taken(measures: Measures, track: Track, position: int) -> Mask:
    """What is no ground: things that move."""
    taken = measures.get(position).moving.copy()
    for mask in track.masks(position).values():
        taken |= mask
    return taken


def _write(
    request: ReasonRequest, measures: Measures, named: list[tuple[str, Finding]], tick: Callable[[int], None]
) -> dict[str, list[tuple[int, Box]]]:
    """Every finding's matte on the canvas; and its boxes, at some frames."""
    boxes: dict[str, list[tuple[int, Box]]] = {name: [] for name, _ in named}
    height, width = request.pictures.size
    for position in range(measures.count):
        tick(position)
        for name, finding in named:
            first = 0 if finding.moves and finding.first == 1 else finding.first
            if not first <= position <= finding.last:
                continue
            # Motion is known from the second frame on: the first takes over what is found there.
            mask = finding.mask(max(position, 1) if finding.moves else position)
            if not mask.any():
                continue
            boxes[name].append((position, box_of(mask)))
            if not request.mattes.has(name, position):
                matte = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
                request.mattes.write(name, position, np.asarray(matte, np.float32), finding.confidence)
    return boxes


def _analysis(
    reasoner: str,
    request: ReasonRequest,
    measures: Measures,
    named: list[tuple[str, Finding]],
    boxes: dict[str, list[tuple[int, Box]]],
) -> Analysis:
    region = partial(_region, request.numbers, measures.size)
    belongings: list[Belonging] = []
    affected: list[Affected] = []
    warnings: list[str] = []
    height, width = measures.size
    for name, finding in named:
        regions = tuple(region(position, box) for position, box in _thinned(boxes[name]))
        warnings += [finding.warning] if finding.warning and finding.warning not in warnings else []
        if finding.belonging:
            belongings.append(Belonging(finding.noun, finding.why, regions, name))
            continue
        path = tuple(
            Waypoint(request.numbers[position], (x + 0.5) / width, (y + 0.5) / height)
            for position, x, y in finding.path
        )
        affected.append(
            Affected(
                noun=finding.noun,
                category=finding.category,
                why=finding.why,
                first_frame=request.numbers[0 if finding.moves and finding.first == 1 else finding.first],
                last_frame=request.numbers[finding.last],
                will_move=finding.will_move,
                movement=finding.movement,
                regions=regions,
                path=path,
                matte=name,
                confidence=finding.confidence,
            )
        )
    if not affected:
        warnings.append("Motion and light show nothing that the object affects: only the object itself is removed.")
    warnings.append(_UNKNOWN)
    confidence = float(np.mean([each.confidence for each in affected])) if affected else 0.2
    return Analysis(
        reasoner, "The same scene without the object.", tuple(belongings), tuple(affected), round(confidence, 2),
        tuple(warnings),
    )  # fmt: skip


def _region(numbers: tuple[int, ...], size: tuple[int, int], position: int, box: Box) -> Region:
    height, width = size
    return Region(numbers[position], box[0] / width, box[1] / height, box[2] / width, box[3] / height)


def _thinned(boxes: list[tuple[int, Box]]) -> list[tuple[int, Box]]:
    """First, last and evenly between."""
    if len(boxes) <= _BOXES:
        return boxes
    return [boxes[round(i)] for i in np.linspace(0, len(boxes) - 1, _BOXES)]


def _box(mask: Mask) -> Box | None:
    return box_of(mask) if mask.any() else None
