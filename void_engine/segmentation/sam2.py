"""SAM 2.1 for video: from clicks, boxes or mattes on any frames to a matte on every frame.

Promises that the same prompts give the same bits, also after a kill; that objects do not influence each other; memory
for one frame and for what the model's memory attention reaches back to. Two implementations of the model, the same
files: ``transformers``, and Meta's own package. Must not: load torch on import.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from void_client.errors import EngineUnavailable, JobError

from void_engine.models.hashing import sha256
from void_engine.models.sam2_folder import WEIGHTS
from void_engine.models.weights import need
from void_engine.segmentation import track_prompt
from void_engine.segmentation.interface import Matte, Mattes, Pictures, Prompt, Tick

if TYPE_CHECKING:
    import torch

    from void_engine.segmentation.sam2_pictures import Answer, Frames, Said

_VERSION = "1"
_CONDITIONS = 4  # prompted frames that a frame attends to: more cost time and memory for each, and add little
_META_PACKAGES = "SAM2_BUILD_CUDA=0 pip install --no-build-isolation --no-deps sam2==1.1.0, then pip install hydra-core"


class Tracker(Protocol):
    """One object, one way in time. Frames come in the order of that way."""

    def condition(self, position: int, said: Said) -> Answer:
        """The object from what was said, without memory; remembered for all other frames."""

    def track(self, position: int) -> Answer:
        """The object from memory."""

    def correct(self, position: int, said: Said) -> Answer:
        """The object from memory and what was said; remembered as said."""

    def conditions(self) -> set[int]:
        """The frames of which what was said is remembered."""

    def forget(self, position: int) -> None: ...


class Model(Protocol):
    @property
    def device(self) -> torch.device: ...

    @property
    def size(self) -> int: ...

    def trackers(self, frames: Frames, count: int, backwards: bool) -> Sequence[Tracker]: ...


@dataclass
class _Object:
    """``anchors``: frames whose prompt is enough by itself; ``corrections``: further frames with clicks only."""

    prompt: Prompt
    anchors: list[int]
    corrections: set[int]
    missing: set[int]
    answers: dict[int, Answer] = field(default_factory=dict)  # of anchors that the walk has yet to reach

    @property
    def first(self) -> int:
        return self.anchors[0]

    def way(self, backwards: bool, count: int) -> range:
        """The frames to walk, as far as a matte is missing."""
        if backwards:
            lacking = [position for position in self.missing if position < self.first]
            return range(self.first - 1, min(lacking) - 1, -1) if lacking else range(0)
        lacking = [position for position in self.missing if position >= self.first]
        return range(self.first, max(lacking) + 1) if lacking else range(0)


class Sam2Segmenter:
    name = "sam2"

    def __init__(self, folder: Path, *, backend: str = "transformers", device: str = "") -> None:
        """``folder``: see `void_engine.models.sam2_folder`. ``device``: empty for the GPU where there is one.

        Raises ``EngineUnavailable`` where the backend's packages are missing, ``JobError`` for an unknown backend.
        """
        if backend not in ("transformers", "meta"):
            raise JobError(f"There is no SAM 2 backend called {backend!r}.", hint="Known are: transformers, meta.")
        if not (folder / WEIGHTS).is_file():
            raise EngineUnavailable(
                f"The segmenter sam2 has no weights: {folder / WEIGHTS} is not there.",
                hint="`void models fetch sam2` fetches them.",
            )
        need("torch", "transformers", "safetensors")
        if backend == "meta":
            _need_meta()
        self._folder = folder
        self._backend = backend
        self._device = device
        self._loaded: Model | None = None
        self._digest = ""

    @property
    def version(self) -> str:
        """Of this code, the implementation and the weights."""
        self._digest = self._digest or sha256(self._folder / WEIGHTS)[:16]
        return f"{_VERSION}-{self._backend}-{self._digest}"

    def segment(self, pictures: Pictures, prompts: tuple[Prompt, ...], out: Mattes, tick: Tick) -> None:
        count, size = len(pictures), pictures.size
        for prompt in prompts:
            track_prompt.check(prompt, count, size)
        objects = [_object(prompt, out, count) for prompt in prompts]
        progress = _Progress(tick, count * len(prompts), sum(len(each.missing) for each in objects))
        progress.tell("segment")
        for each in objects:
            _write_given(each, out, progress)
        objects = [each for each in objects if each.missing]
        if not objects:
            return
        from void_engine.segmentation.sam2_pictures import Frames

        model = self._model()
        frames = Frames(pictures, model.size, model.device)
        for backwards in (False, True):
            _walk(model, frames, [each for each in objects if each.way(backwards, count)], backwards, out, progress)

    def _model(self) -> Model:
        if self._loaded is None:
            import torch

            device = torch.device(self._device or ("cuda" if torch.cuda.is_available() else "cpu"))
            if self._backend == "meta":
                from void_engine.segmentation.sam2_meta import MetaModel

                self._loaded = MetaModel(self._folder, device)
            else:
                from void_engine.segmentation.sam2_hf import TransformersModel

                self._loaded = TransformersModel(self._folder, device)
        return self._loaded


@dataclass
class _Progress:
    tick: Tick
    of: int
    left: int

    def tell(self, what: str) -> None:
        self.tick(self.of - self.left, self.of, what)


def _need_meta() -> None:
    try:
        need("sam2", "hydra", "omegaconf", "iopath", "tqdm")
    except EngineUnavailable as error:
        raise EngineUnavailable(
            error.message, hint=f"{_META_PACKAGES} iopath tqdm; or take the backend transformers."
        ) from error


def _object(prompt: Prompt, out: Mattes, count: int) -> _Object:
    positive = [click.position for click in prompt.clicks if click.positive]
    whole = {box.position for box in prompt.boxes} | set(prompt.mattes)
    first = min([*positive, *whole])
    anchors = sorted({first, *whole})
    corrections = {click.position for click in prompt.clicks} - set(anchors)
    missing = {position for position in range(count) if not out.has(prompt.name, position)}
    return _Object(prompt, anchors, corrections, missing)


def _write_given(each: _Object, out: Mattes, progress: _Progress) -> None:
    """The artist's own mattes, as they are."""
    for position in sorted(each.missing & each.prompt.mattes.keys()):
        _write(each, position, np.clip(each.prompt.mattes[position], 0.0, 1.0).astype(np.float32), 1.0, out, progress)


def _write(each: _Object, position: int, matte: Matte, confidence: float, out: Mattes, progress: _Progress) -> None:
    out.write(each.prompt.name, position, matte, confidence)
    each.missing.discard(position)
    progress.left -= 1
    progress.tell(f"segment {each.prompt.name}")


def _walk(
    model: Model, frames: Frames, objects: list[_Object], backwards: bool, out: Mattes, progress: _Progress
) -> None:
    """All objects together, so that each frame is encoded once. A way that was begun before is walked again from its
    start: the memory is not stored, and the mattes must be the same bits."""
    from void_engine.segmentation.sam2_pictures import confidence, matte_of

    trackers = model.trackers(frames, len(objects), backwards)
    ways = [each.way(backwards, len(frames)) for each in objects]
    for each in objects:
        each.answers.clear()
    for position in _union(ways, backwards):
        here = [(o, tracker) for o, tracker, way in zip(objects, trackers, ways, strict=True) if position in way]
        for each, tracker in here:  # for all before any is tracked: other frames are encoded for it
            _recall(model, frames, each, tracker, position)
        for each, tracker in here:
            answer = _answered(model, frames, each, tracker, position)
            if position in each.missing:
                matte = matte_of(answer, frames.picture(position))
                _write(each, position, matte, confidence(answer), out, progress)
            else:
                progress.tell(f"segment {each.prompt.name}: again, from memory")


def _union(ways: Sequence[range], backwards: bool) -> Iterator[int]:
    ends = [end for way in ways for end in (way[0], way[-1])]
    if ends:
        yield from range(max(ends), min(ends) - 1, -1) if backwards else range(min(ends), max(ends) + 1)


def _recall(model: Model, frames: Frames, each: _Object, tracker: Tracker, position: int) -> None:
    """The tracker remembers the prompts nearest to ``position``, and no others."""
    from void_engine.segmentation.sam2_pictures import said

    kept = nearest({*each.anchors, *tracker.conditions()}, position, _CONDITIONS)
    for other in tracker.conditions() - kept:
        tracker.forget(other)
        each.answers.pop(other, None)
    for other in sorted(kept - tracker.conditions()):
        each.answers[other] = tracker.condition(other, said(each.prompt, other, frames.plate_size, model.size))


def _answered(model: Model, frames: Frames, each: _Object, tracker: Tracker, position: int) -> Answer:
    from void_engine.segmentation.sam2_pictures import said

    if position in each.anchors:
        return each.answers.pop(position)
    if position in each.corrections:
        return tracker.correct(position, said(each.prompt, position, frames.plate_size, model.size))
    return tracker.track(position)


def nearest(positions: set[int], position: int, count: int) -> set[int]:
    """The closest before, the closest after, then the closest others: as SAM 2 chooses prompted frames."""
    found = {max(before)} if (before := [p for p in positions if p < position]) else set()
    found |= {min(after)} if (after := [p for p in positions if p >= position]) else set()
    others = sorted(positions - found, key=lambda other: (abs(other - position), other))
    return found | set(others[: max(0, count - len(found))])
