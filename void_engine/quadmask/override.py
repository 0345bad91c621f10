"""A sidecar's overrides on one frame's regions: region algebra, and a record of who said what.

A frame is two sets of pixels, *remove* (coded 0 and 63) and *affected* (127 and 63): overlap is what both hold, keep
what neither holds. Each override changes these sets, in the order of the file; locks (keep, replace) come last.
Promises: pure but for ``read_matte`` and ``read_hint``; who is heard is decided by `void_client.overrides.rule` alone;
a matte that cannot be read, or a hint that was not found, disables its override on that frame and is told. Must not:
grow, feather, or find files or things.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from void_client.errors import FrameError
from void_client.job import MaskSpec
from void_client.overrides import FrameRef, OverrideSpec, Ruling, ShapeSpec, Source, Word, rule

from void_engine.interface import AFFECTED, KEEP, OVERLAP, REMOVE, Mask, Quadmask, Window
from void_engine.reasoning.interface import NOBODY
from void_engine.segmentation.interface import Matte

ReadMatte = Callable[[FrameRef], Matte]
"""A matte on the canvas: (H, W), 0 to 1, white inside."""


@dataclass(frozen=True)
class Hinted:
    """What the words of a hint stand for at a frame. ``by``: who looked and who drew ("grounding-dino, track")."""

    matte: Matte
    confidence: float
    by: str


ReadHint = Callable[[int], Hinted]
"""By the override's place in the job. Raises ``FrameError`` where the hint covers nothing, saying why."""

_SETS: Final = {"remove": ("remove",), "affected": ("affected",), "overlap": ("remove", "affected"),
                "keep": ("remove", "affected")}  # fmt: skip
_NAMES: Final = ("remove", "overlap", "affected", "keep")
_HALF: Final = 0.5


@dataclass(frozen=True)
class Place:
    """Where shapes lie: they are drawn in ``display``, the masks cover ``canvas``; both in the plate's pixels."""

    display: Window
    canvas: Window


@dataclass(frozen=True)
class Overridden:
    """``remove`` and ``affected`` share the overlap. ``locked``: pixels that nothing may change after this, either.

    ``rulings``: of "remove" and "affected". ``changed``: per override that was heard, the pixels that each region won
    and lost by it. ``faults``: per override whose matte or hint cannot be had here, why.
    """

    remove: Mask
    affected: Mask
    locked: Mask | None
    rulings: Mapping[str, Ruling]
    changed: Mapping[int, dict[str, tuple[int, int]]] = field(default_factory=dict)
    faults: Mapping[int, str] = field(default_factory=dict)

    @property
    def regions(self) -> dict[str, Mask]:
        """As `void_engine.quadmask.policy.combined` takes them."""
        return {"remove": self.remove, "affected": self.affected}

    def quadmask(self) -> Quadmask:
        return coded(self.regions)

    def lock(self, quadmask: Quadmask) -> Quadmask:
        """``quadmask`` after grow and feather, with what is locked kept. A new array where anything is."""
        return quadmask if self.locked is None else np.where(self.locked, np.uint8(KEEP), quadmask)


def _no_hints(index: int) -> Hinted:
    raise FrameError("hint: nobody looked for it.")


def apply(
    regions: Mapping[str, Mask],
    number: int,
    overrides: Sequence[OverrideSpec],
    read_matte: ReadMatte,
    place: Place,
    said: Mapping[str, Sequence[Word]] | None = None,
    read_hint: ReadHint = _no_hints,
) -> Overridden:
    """The regions of plate frame ``number`` after the overrides.

    ``regions``: "affected", and with or without "-0"…; every other name ("remove", "overlap", "primary", "belonging-0")
    joins remove; "overlap" joins affected as well. ``said``: who spoke for "remove" and "affected" before (`spoken`).
    """
    state = _two_sets(regions)
    here = {index: each for index, each in enumerate(overrides) if number in each.frames}
    mattes, faults = _mattes(here, number, read_matte, read_hint)
    words = {i: _word(i, each, mattes.get(i)) for i, each in here.items() if each.shapes or i in mattes}
    rulings = {
        name: rule(name, [*(said or {}).get(name, ()), *(w for w in words.values() if name in _SETS[w.region])])
        for name in ("remove", "affected")
    }
    heard = {word.index for ruling in rulings.values() for word in (ruling.winner, *ruling.edits) if word is not None}
    changed: dict[int, dict[str, tuple[int, int]]] = {}
    locked: Mask | None = None
    for index in sorted(heard & set(words), key=lambda i: (words[i].is_lock, i)):
        inside = mattes[index].mask() if index in mattes else _shapes(overrides[index], number, place)
        before = state
        state = _changed(state, overrides[index], inside)
        changed[index] = _difference(before, state)
        if words[index].is_lock:
            locked = inside if locked is None else locked | inside
    return Overridden(state[0], state[1], locked, rulings, changed, faults)


def spoken(
    masks: MaskSpec | None, number: int, *, reasoner: str = "", confidence: float | None = None
) -> dict[str, tuple[Word, ...]]:
    """Who speaks for "remove" and "affected" at a frame without overrides. ``masks`` None: the quadmask is supplied.

    ``confidence``: of the object's matte at this frame.
    """
    if masks is None:
        return {name: (Word(Source.INPUT, name),) for name in ("remove", "affected")}
    object_: list[Word] = []
    if masks.clicks or masks.boxes:
        object_.append(Word(Source.CLICKS, "remove", label=masks.segmenter, confidence=confidence))
    drawn = {ref.number for ref in masks.mattes}
    if number in drawn:
        object_.append(Word(Source.MATTES, "remove"))
    elif drawn and not object_:
        object_.append(Word(Source.MATTES, "remove", label=f"carried by {masks.segmenter}", confidence=confidence))
    changes: list[Word] = []
    if reasoner != NOBODY:
        object_.append(Word(Source.REASONING, "remove", "add", reasoner))
        changes.append(Word(Source.REASONING, "affected", label=reasoner))
    if number in {ref.number for ref in masks.affected}:
        changes.append(Word(Source.MATTES, "affected"))
    return {"remove": tuple(object_), "affected": tuple(changes)}


def record(number: int, done: Overridden, parts: Mapping[str, int] | None = None) -> dict[str, Any]:
    """What regions.json says of a frame; ``parts``: the pixels of the pieces from before the overrides.

    Overrides go by their place in the job: where they are written is the job's to say, and decides no pixel.
    """
    counts = [int(np.count_nonzero(mask)) for mask in _four((done.remove, done.affected))]
    sizes = dict(zip(_NAMES, counts, strict=True))
    regions: dict[str, dict[str, Any]] = {}
    for name, ruling in done.rulings.items():
        about: dict[str, Any] = {"pixels": sizes[name], **_plain(ruling.winner, name, done)}
        for key, words in (("edits", ruling.edits), ("outvoted", ruling.outvoted)):
            if words:
                about[key] = [_plain(word, name, done) for word in words]
        regions[name] = about
    for name in ("overlap", "keep"):
        regions[name] = {"pixels": sizes[name]}
    told: dict[str, Any] = {"frame": number, "regions": regions}
    if parts:
        told["parts"] = dict(parts)
    if done.faults:
        told["faults"] = [{"override": index, "fault": fault} for index, fault in done.faults.items()]
    return told


# --- sets and codes


def coded(regions: Mapping[str, Mask]) -> Quadmask:
    """0, 63, 127, 255 from the two sets, which share the overlap."""
    remove, affected = _two_sets(regions)
    quadmask = np.full(remove.shape, KEEP, np.uint8)
    quadmask[affected] = AFFECTED
    quadmask[remove] = REMOVE
    quadmask[remove & affected] = OVERLAP
    return quadmask


def decoded(quadmask: Quadmask) -> dict[str, Mask]:
    """The two sets of a coded quadmask: `coded` gives it back."""
    return {
        "remove": np.asarray(quadmask <= OVERLAP),
        "affected": np.asarray((quadmask == OVERLAP) | (quadmask == AFFECTED)),
    }


def _two_sets(regions: Mapping[str, Mask]) -> tuple[Mask, Mask]:
    shape = next(iter(regions.values())).shape
    remove, affected = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    for name, mask in regions.items():
        if name.startswith("affected") or name == "overlap":
            affected |= mask
        if not name.startswith("affected"):
            remove |= mask
    return remove, affected


def _four(state: tuple[Mask, Mask]) -> tuple[Mask, Mask, Mask, Mask]:
    """By `_NAMES`: remove and affected hold the overlap."""
    remove, affected = state
    return remove, remove & affected, affected, ~(remove | affected)


def _changed(state: tuple[Mask, Mask], override: OverrideSpec, inside: Mask) -> tuple[Mask, Mask]:
    """One override. Masks that were given stay as they are."""
    remove, affected = state
    region, mode = override.region, override.mode
    if region == "remove":
        return _one_set(remove, mode, inside), affected
    if region == "affected":
        return remove, _one_set(affected, mode, inside)
    if region == "keep":
        if mode == "subtract":  # may change now, but nobody says that it goes
            return remove, affected | (inside & ~remove)
        return remove & ~inside, affected & ~inside
    if mode == "subtract":  # no longer both: the object
        return remove, affected & ~(inside & remove)
    if mode == "replace":
        affected = affected & (inside | ~remove)
    return remove | inside, affected | inside


def _one_set(mask: Mask, mode: str, inside: Mask) -> Mask:
    if mode == "replace":
        return inside.copy()
    return mask | inside if mode == "add" else mask & ~inside


def _difference(before: tuple[Mask, Mask], after: tuple[Mask, Mask]) -> dict[str, tuple[int, int]]:
    found = {}
    for name, old, new in zip(_NAMES, _four(before), _four(after), strict=True):
        won, lost = int(np.count_nonzero(new & ~old)), int(np.count_nonzero(old & ~new))
        if won or lost:
            found[name] = (won, lost)
    return found


# --- mattes and words


@dataclass(frozen=True)
class _Packed:
    """A matte's inside, eight pixels to a byte: all of a frame's are held until it is known who is heard.

    ``confidence`` and ``by``: of a hint's.
    """

    bits: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
    shape: tuple[int, ...]
    confidence: float | None = None
    by: str = ""

    def mask(self) -> Mask:
        flat = np.unpackbits(self.bits, count=self.shape[0] * self.shape[1])
        return flat.reshape(self.shape).astype(np.bool_)


def _mattes(
    here: Mapping[int, OverrideSpec], number: int, read_matte: ReadMatte, read_hint: ReadHint
) -> tuple[dict[int, _Packed], dict[int, str]]:
    found: dict[int, _Packed] = {}
    faults: dict[int, str] = {}
    for index, each in here.items():
        ref = next((ref for ref in each.matte if ref.number == number), None)
        if ref is not None or each.hint:
            try:
                found[index] = _packed(read_matte(ref)) if ref is not None else _hinted(read_hint(index))
            except FrameError as problem:
                # The store's path means nothing to an artist.
                faults[index] = problem.message.replace(str(problem.details.get("file", "\0")), "the file")
    return found, faults


def _packed(matte: Matte) -> _Packed:
    inside = matte >= _HALF
    return _Packed(np.packbits(inside), inside.shape)


def _hinted(hint: Hinted) -> _Packed:
    return replace(_packed(hint.matte), confidence=hint.confidence, by=hint.by)


def _word(index: int, override: OverrideSpec, drawn: _Packed | None) -> Word:
    word = Word(Source.SIDECAR, override.region, override.mode, override.label, index)
    if drawn is None or not override.hint:
        return word
    return replace(word, confidence=drawn.confidence, hint=override.hint, by=drawn.by)


def _plain(word: Word | None, region: str, done: Overridden) -> dict[str, Any]:
    if word is None:
        return {"source": "nobody"}
    about: dict[str, Any] = {"source": word.source.value}
    if word.index >= 0:
        won, lost = done.changed.get(word.index, {}).get(region, (0, 0))
        about.update(override=word.index, region=word.region, mode=word.mode, won=won, lost=lost)
    elif word.label:
        about["label"] = word.label
    if word.index < 0 and word.mode != "replace":
        about["mode"] = word.mode
    if word.hint:
        about.update(hint=word.hint, by=word.by)
    if word.confidence is not None:
        about["confidence"] = round(word.confidence, 4)
    return about


# --- shapes


def _shapes(override: OverrideSpec, number: int, place: Place) -> Mask:
    mask = np.zeros((place.canvas.height, place.canvas.width), np.bool_)
    for shape in override.shapes:
        mask |= shape_mask(shape, number, place)
    return mask


def shape_mask(shape: ShapeSpec, number: int, place: Place) -> Mask:
    """(H, W): the canvas's pixels whose centres lie inside the shape at this frame; empty where it is outside."""
    size = (place.canvas.height, place.canvas.width)
    dx, dy = place.display.x0 - place.canvas.x0, place.display.y0 - place.canvas.y0
    numbers = np.asarray(shape.at(number), np.float64)
    # Pixel i covers i to i + 1: its centre is at i + 0.5.
    if shape.kind == "polygon":
        return _polygon(numbers.reshape(-1, 2) + np.array([dx - 0.5, dy - 0.5]), size)
    x, y = np.arange(size[1]) + 0.5 - dx, np.arange(size[0]) + 0.5 - dy
    a, b, c, d = numbers
    if shape.kind == "rectangle":
        return np.asarray(((y >= b) & (y < d))[:, None] & ((x >= a) & (x < c))[None])
    return np.asarray((((y - b) / d) ** 2)[:, None] + (((x - a) / c) ** 2)[None] <= 1.0)


def _polygon(corners: np.ndarray[Any, np.dtype[np.float64]], size: tuple[int, int]) -> Mask:
    """Even-odd, exact at pixel centres. OpenCV's fillPoly would draw the outline as well: up to a pixel too much."""
    height, width = size
    crossings = np.zeros((height, width + 1), np.uint8)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        top, bottom = min(y0, y1), max(y0, y1)
        first, last = max(0, int(np.ceil(top))), min(height, int(np.ceil(bottom)))
        if first < last:
            rows = np.arange(first, last)
            at = x0 + (rows - y0) * ((x1 - x0) / (y1 - y0))
            crossings[rows, np.clip(np.ceil(at), 0, width).astype(np.intp)] ^= 1
    return np.asarray(np.logical_xor.accumulate(crossings[:, :width].astype(np.bool_), axis=1))
