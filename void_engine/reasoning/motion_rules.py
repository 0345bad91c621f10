"""What the things that move had to do with the object: collisions, pushes, carrying, resting on it.

Promises: pure functions of what was seen; every finding has a reason in words, a confidence, and says what cannot be
known. Must not: read pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from void_engine.cleanplate.pixels import Box, Mask
from void_engine.reasoning.analysis import Category
from void_engine.reasoning.motion_events import OBJECT
from void_engine.reasoning.motion_measure import mapped
from void_engine.reasoning.motion_spread import Spread
from void_engine.reasoning.motion_things import Sighting, Thing, Track

CUES = ("rests", "collides", "pushed", "carried", "shadow", "reflection")

_LASTED = 3  # frames of own motion: less may be noise
_AT_EDGE = 0.5  # of its motion hanging together with the picture's edge: it moves by its own will, or is the world
_SWERVED = 0.4  # of its speed: a change of velocity by more, when it touches, is a collision
_SHADES = 0.35  # of what it newly covers only darkens: a shadow
_TRAVEL = 0.6  # of its own size: a thing that moved less has not gone anywhere
_STRAIGHT = 0.35  # of the way walked: net travel; water and leaves come and go
_FALL_SECONDS = 0.4  # from a hand's width to a table's height: the best guess where nothing tells
_COINCIDENCE = (
    "A thing that began to move by itself just as the object passed in front of it looks like one that it pushed."
)
_SHARED = 0.5  # of a thing: the rest may be fringe
_WHOLE = 0.7  # of its usual size: less is partly hidden, and its middle misleads
_BEHIND = 0.1  # of it within the object's outline: it may be behind
_ALWAYS = 0.8  # of the frames in which it moves: a part of the object touches it and goes with it
_DRIFTS = 0.35  # of the object's way: a part of it keeps its place
_WITHIN = 4  # frames over which a velocity is measured


@dataclass(frozen=True)
class Finding:
    """One thing affected, or (``belonging``) one that goes with the object. Positions and proxy pixels throughout."""

    cue: str
    noun: str
    why: str
    first: int
    last: int
    confidence: float
    mask: Callable[[int], Mask]
    category: Category = "physical"
    belonging: bool = False
    will_move: bool = False
    movement: str = ""
    path: tuple[tuple[int, float, float], ...] = ()
    warning: str = ""

    @property
    def moves(self) -> bool:
        """Whether it was found by its motion, which nobody sees in a clip's first frame."""
        return self.category == "physical" or self.movement != ""


def judge(
    track: Track, spread: Spread, object_boxes: list[Box | None], rate: float, cues: frozenset[str]
) -> list[Finding]:
    """Findings, the surest first. ``object_boxes``: by position, None where the object is away."""
    scene = _Scene(track, object_boxes, rate)
    found: list[Finding] = _pushed(spread, scene.last) if "pushed" in cues else []
    for thing in track.things:
        for cue, rule in _RULES:
            # What an event moves was touched, not held: it must not go with the object.
            if cue == "carried" and _share_pushed(spread, track, thing) > _SHARED:
                continue
            if cue in cues and _credible(thing, apart=cue == "shadow"):
                findings = rule(scene, thing)
                found.extend(findings)
                if findings:
                    break
    return sorted(found, key=lambda each: (-each.confidence, each.first))


@dataclass(frozen=True)
class _Scene:
    track: Track
    object_boxes: list[Box | None]
    rate: float

    @property
    def last(self) -> int:
        return len(self.track.chain) - 1

    def thing(self, key: int) -> Callable[[int], Mask]:
        empty = np.zeros(self.track.size, np.bool_)
        return lambda position: self.track.masks(position).get(key, empty)

    def placed(self, position: int, steady: tuple[float, float]) -> tuple[float, float]:
        """A steady place (frame 0's pixels) in that frame's pixels."""
        return mapped(steady, np.asarray(np.linalg.inv(self.track.chain[position]), np.float64))

    def inside(self, place: tuple[float, float]) -> bool:
        height, width = self.track.size
        return 0 <= place[0] < width and 0 <= place[1] < height


def _credible(thing: Thing, apart: bool) -> bool:
    moved = thing.moved
    if len(moved) < _LASTED or not (apart or any(seen.touching for seen in thing.sightings)):
        return False
    return float(np.mean([seen.edge for seen in moved])) < _AT_EDGE


def _share_pushed(spread: Spread, track: Track, thing: Thing) -> float:
    """How much of it belongs to what touches set in motion, over a few frames."""
    moved = thing.moved
    picks = [moved[int(i)].position for i in np.linspace(0, len(moved) - 1, min(5, len(moved)))]
    shares = [spread.owns(track.masks(position)[thing.key], position) for position in picks]
    return float(np.median(shares)) if shares else 0.0


def _darkens(scene: _Scene, thing: Thing) -> list[Finding]:
    """It goes where the object goes, and only darkens what it passes over: a shadow, touching the object or not."""
    shades = [seen.shade for seen in thing.moved if seen.shade >= 0]
    if len(shades) < _LASTED or np.mean(shades) < _SHADES:
        return []
    if not _goes_along(thing.moved):
        return []
    why = "It moves as the object moves, and only darkens what it passes over."
    return [Finding("shadow", "shadow of the object", why, thing.sightings[0].position, thing.sightings[-1].position,
                    0.7, scene.thing(thing.key), category="artifact", movement="It goes with the object.")]  # fmt: skip


def _goes_along(seen: list[Sighting]) -> bool:
    """Whether it goes where the object goes: along the ground faster or slower, but never another way."""
    pairs = [(a, b) for a, b in zip(seen, seen[1:], strict=False) if b.position == a.position + 1]
    own = np.array([np.subtract(b.steady, a.steady) for a, b in pairs])
    objects = np.array([np.subtract(b.object_steady, a.object_steady) for a, b in pairs])
    if len(pairs) < _LASTED or np.linalg.norm(objects, axis=1).mean() < 0.5:
        return False
    along = float((own * objects).sum() / max(1e-6, float((objects**2).sum())))
    strays = np.linalg.norm(own - along * objects, axis=1).mean()
    return bool(0.4 < along < 2.5 and strays <= np.linalg.norm(own, axis=1).mean())


def _rigid(seen: list[Sighting]) -> bool:
    """Whether it keeps its place at the object while that travels: what overtakes it, or is overtaken, does not."""
    offsets = np.array([np.subtract(each.steady, each.object_steady) for each in seen])
    ways = np.array([each.object_steady for each in seen])
    travel = float(np.linalg.norm(np.ptp(ways, axis=0)))
    return float(np.linalg.norm(np.ptp(offsets, axis=0))) < _DRIFTS * travel


def _rests(scene: _Scene, thing: Thing) -> list[Finding]:
    """It moves inside, on or in front of an object that stands still, and stays there: the object holds it up."""
    moved = thing.moved
    if np.mean([seen.inside for seen in moved]) < 0.5 or not _went_somewhere(moved):
        return []
    usual = float(np.median([seen.area for seen in moved]))
    first = next(seen for seen in thing.sightings if seen.inside > 0.5 and seen.area > 0.5 * usual)
    path = _fall(scene, thing, first)
    return [
        Finding(
            cue="rests",
            noun="thing inside the object",
            why="It moves within the object's outline while the object stands, and stays there: the object holds it.",
            first=first.position,
            last=thing.sightings[-1].position,
            confidence=0.6,
            mask=scene.thing(thing.key),
            will_move=True,
            movement="Without the object it would fall to where the object stands, and come to rest there.",
            path=path,
            warning="How and where a thing that the object held would come to rest is a guess from its motion.",
        )
    ]


def _fall(scene: _Scene, thing: Thing, first: Sighting) -> tuple[tuple[int, float, float], ...]:
    """Accelerating, from where it meets the object down to the object's foot."""
    box = scene.object_boxes[first.position]
    if box is None:
        return ()
    half = float(np.median([seen.box[3] - seen.box[1] for seen in thing.moved])) / 2
    x, start = first.place
    down = max(0.0, box[3] - half - start)
    frames = max(2, round(_FALL_SECONDS * (scene.rate or 24.0)))
    steps = [min(scene.last, first.position + step) for step in range(frames + 1)]
    path = [(position, x, start + down * ((position - first.position) / frames) ** 2) for position in steps]
    foot = mapped(path[-1][1:], scene.track.chain[path[-1][0]])
    path.append((scene.last, *scene.placed(scene.last, foot)))
    return tuple(dict.fromkeys(path))


def _collides(scene: _Scene, thing: Thing) -> list[Finding]:
    """It came by itself, touched the object, and went another way: without the object it would have gone on."""
    touch = _first_touch(thing)
    before = [seen for seen in thing.moved if seen.position < touch.position and not seen.touching]
    whole = _WHOLE * float(np.median([seen.area for seen in before])) if before else 0.0
    after = [seen for seen in thing.sightings if seen.position > touch.position and seen.area > whole]
    if touch.object_moves > 0.5:
        # An object that moves may only pass in front: what is hidden stays marked where it was last seen.
        after = [seen for seen in after if seen.moving and seen.inside < _BEHIND]
    after = after[: 2 * _WITHIN]
    if len(before) < _LASTED or len(after) < 2 or not _went_somewhere(before):
        return []
    came, went = _velocity(before[-_WITHIN:]), _velocity(after)
    speed = float(np.hypot(*came))
    if speed <= 0 or float(np.hypot(went[0] - came[0], went[1] - came[1])) < _SWERVED * speed:
        return []
    if _seen_going_on(scene, touch, came):
        return []
    path = _straight_on(scene, touch, came)
    return [
        Finding(
            cue="collides",
            noun="thing that runs into the object",
            why="It comes by its own motion, touches the object and changes its way at that moment.",
            first=touch.position,
            last=scene.last,
            confidence=0.7,
            mask=scene.thing(thing.key),
            will_move=True,
            movement="Without the object it would go on the way it came.",
            path=path,
            warning="The way that a thing would have gone on is drawn straight and at the speed it came with.",
        )
    ]


def _seen_going_on(scene: _Scene, touch: Sighting, came: tuple[float, float]) -> bool:
    """Whether something is where it would be had it passed behind the object, and goes as it came."""
    near = float(np.sqrt(touch.area))
    for thing in scene.track.things:
        there = []
        for seen in thing.moved:
            ahead = seen.position - touch.position
            off = np.subtract(seen.steady, np.add(touch.steady, np.multiply(came, ahead)))
            if ahead > 1 and float(np.hypot(*off)) < near:
                there.append(seen)
        if len(there) >= _LASTED:
            off = np.subtract(_velocity(there), came)
            if float(np.hypot(*off)) < _SWERVED * float(np.hypot(*came)):
                return True
    return False


def _straight_on(scene: _Scene, touch: Sighting, came: tuple[float, float]) -> tuple[tuple[int, float, float], ...]:
    path: list[tuple[int, float, float]] = []
    for position in range(touch.position, scene.last + 1):
        ahead = position - touch.position
        place = scene.placed(position, (touch.steady[0] + came[0] * ahead, touch.steady[1] + came[1] * ahead))
        path.append((position, *place))
        if not scene.inside(place):
            break
    return tuple(path)


def _pushed(spread: Spread, last: int) -> list[Finding]:
    """It stood until the object came, or something that the object had set in motion."""
    found: list[Finding] = []
    real: set[int] = set()
    for event in spread.events:
        chained = event.parent != OBJECT
        if event.lasted < _LASTED or (chained and event.parent not in real) or not spread.stood(event):
            continue
        real.add(event.key)
        touched = "a thing that the object had set in motion" if chained else "the moving object"
        why = f"It stood until {touched} touched it, and moves from then on."
        sure = 0.55 if chained else 0.65
        thing, place = partial(spread.thing, event), partial(spread.place, event)
        found += [
            Finding("pushed", "thing that the object sets in motion", why, event.begun, last, sure, thing,
                    will_move=True, movement="Without the object it would have stayed.", warning=_COINCIDENCE),
            Finding("pushed", "place where that thing stood", why + " This is where it would still be.",
                    event.begun, last, sure, place),
        ]  # fmt: skip
    return found


def _carried(scene: _Scene, thing: Thing) -> list[Finding]:
    """It touches the object and moves whenever the object does: part of it, or carried until it is let go."""
    together = [seen for seen in thing.moved if seen.touching and seen.object_moves > 0.5]
    if len(together) < _LASTED or not _went_somewhere(thing.moved) or thing.moved[0].position > together[0].position:
        return []
    came = [seen for seen in thing.moved if not seen.touching and seen.position < together[0].position]
    # What turns up at an object long on its way came out from behind it; what it takes up stood, and is pushed.
    late = thing.sightings[0].position - _sets_off(scene) > 2 * _LASTED
    if late or len(came) >= _LASTED or not _goes_along(together):
        return []
    apart = [seen for seen in thing.moved if not seen.touching and seen.position > together[-1].position]
    mask = scene.thing(thing.key)
    last = thing.sightings[-1].position
    if len(apart) < _LASTED:
        if len(together) < _ALWAYS * len(thing.moved) or not _rigid(together):
            return []
        why = "It touches the object and moves only together with it, through the whole clip."
        return [Finding("carried", "thing that moves with the object", why, thing.sightings[0].position, last, 0.45,
                        mask, belonging=True, warning="Whether what moves with the object is its own or only held "
                        "cannot be told from motion: it is removed with the object.")]  # fmt: skip
    why = "It moves together with the object while they touch, and by itself after."
    path = _dropped(scene, thing, together[-1])
    movement = "it would have fallen where it was first held." if path else "it would not be where it is."
    return [Finding("carried", "thing that the object carries", why, thing.sightings[0].position, last, 0.5, mask,
                    will_move=True, movement="Without the object " + movement, path=path,
                    warning="Where a carried thing would be without the object cannot be known: at best that it falls "
                    "from where it was first held to the height at which it came to rest.")]  # fmt: skip


def _sets_off(scene: _Scene) -> int:
    """The first position at which the object has moved, the camera's motion taken out."""
    start: tuple[float, float] | None = None
    for position, box in enumerate(scene.object_boxes):
        if box is None:
            continue
        place = mapped(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), scene.track.chain[position])
        start = start or place
        if float(np.hypot(place[0] - start[0], place[1] - start[1])) > 1.0:
            return position
    return scene.last


def _dropped(scene: _Scene, thing: Thing, release: Sighting) -> tuple[tuple[int, float, float], ...]:
    """Straight down from where it was first held, as it fell when let go; empty where it did not come to rest."""
    first, final = thing.sightings[0], thing.sightings[-1]
    rested = [seen.position for seen in thing.moved][-1]
    fell, down = final.steady[1] - release.steady[1], final.steady[1] - first.steady[1]
    if rested >= scene.last - 1 or first.position > _LASTED or fell <= 0 or down <= 0:
        return ()
    frames = max(2, round((rested - release.position) * float(np.sqrt(down / fell))))
    start = _started(thing)
    path = []
    for position in range(first.position, scene.last + 1):
        share = min(1.0, (position - first.position) / frames)
        path.append((position, *scene.placed(position, (start[0], start[1] + down * share**2))))
    return tuple(path)


def _started(thing: Thing) -> tuple[float, float]:
    """Its middle where it was first seen, steady: reckoned back from when it was seen whole, as at first only its
    leading edge is."""
    whole = _WHOLE * float(np.median([seen.area for seen in thing.moved]))
    seen = [each for each in thing.moved if each.area > whole][:_WITHIN]
    velocity = _velocity(seen)
    back = seen[0].position - thing.sightings[0].position
    return seen[0].steady[0] - velocity[0] * back, seen[0].steady[1] - velocity[1] * back


def _first_touch(thing: Thing) -> Sighting:
    return next(seen for seen in thing.sightings if seen.touching)


def _went_somewhere(moved: list[Sighting]) -> bool:
    steps = [np.subtract(b.steady, a.steady) for a, b in zip(moved, moved[1:], strict=False)]
    if not steps:
        return False
    net = float(np.linalg.norm(np.sum(steps, axis=0)))
    walked = float(sum(np.linalg.norm(step) for step in steps))
    size = float(np.sqrt(np.median([seen.area for seen in moved])))
    return net > _TRAVEL * size and net > _STRAIGHT * walked


def _velocity(seen: list[Sighting]) -> tuple[float, float]:
    """Pixels a frame, by least squares."""
    times = np.array([each.position for each in seen], np.float64)
    places = np.array([each.steady for each in seen], np.float64)
    times -= times.mean()
    slope = (times[:, None] * (places - places.mean(axis=0))).sum(axis=0) / max(1e-9, float((times**2).sum()))
    return float(slope[0]), float(slope[1])


_RULES = (("shadow", _darkens), ("rests", _rests), ("collides", _collides), ("carried", _carried))
