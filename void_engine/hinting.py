"""Hints of a job's overrides: words of people that detector and segmenter make a region of, where they can.

Promises: a hint that is not found, or that nobody can look for, disables only its own entry, and says why; hints that
are done are not done again because another entry came or moved; the same answer after a kill. Must not: decide what an
override does (`void_engine.quadmask.override`), or who is heard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from void_client.errors import EngineUnavailable, FrameError
from void_client.overrides import OverrideSpec

from void_engine import detecting
from void_engine.detecting import Scene, Thing
from void_engine.detection import Detector
from void_engine.quadmask.override import Hinted
from void_engine.segmentation import Mattes, MatteStore, Segmenter
from void_engine.stages import Context, StageCache, StageResult

VERSION = 1  # of what is asked: raised whenever its mattes change
SUPPLIED = "with a supplied quadmask nothing is looked for by words; give a matte or a shape."
NOBODY = "nothing here could look for it."
_SHOWN = 80  # characters of a hint in a warning

Find = Callable[[], tuple[Detector | None, str]]
"""The detector that this machine has; or None, and why and what to run."""


@dataclass(frozen=True)
class Hints:
    """What became of the hints. ``mattes`` None: nobody looked, and ``why`` not.

    ``key``: for a stage that uses them. ``by``: who looked and who drew. ``found``: override's place in the job → its
    matte's name.
    """

    why: str = SUPPLIED
    key: str = ""
    by: str = ""
    found: Mapping[int, str] = field(default_factory=dict)
    mattes: Mattes | None = None

    def read(self, index: int, words: str, position: int) -> Hinted:
        """What the hint of override ``index`` covers there. Raises ``FrameError`` where it covers nothing."""
        shown = repr(words if len(words) <= _SHOWN else words[: _SHOWN - 1] + "…")
        if self.mattes is None:
            raise FrameError(f"hint: {shown}: {self.why}")
        if index not in self.found:
            raise FrameError(f"hint: not found: {shown}.")
        name = self.found[index]
        return Hinted(self.mattes.read(name, position), self.mattes.confidence(name, position), self.by)


def resolve(
    hints: Mapping[int, OverrideSpec],
    scene: Scene,
    segment: str,
    segmenter: Segmenter,
    find: Find,
    cache: StageCache,
) -> tuple[Hints, tuple[str, ...]]:
    """What becomes of the hints, and a warning where nobody can look. ``segment``: key of the scene's mattes.

    ``hints``: by their overrides' places in the job. Raises as the segmenter does.
    """
    if not hints:
        return Hints(), ()
    detector, note = find()
    if detector is not None:
        try:
            return _look(hints, scene, segment, segmenter, detector, cache), ()
        except EngineUnavailable as problem:  # its weights are there, but damaged
            note = str(problem)
    # Not part of any stage: it says how things are here and now.
    told = f"The overrides' hints could not be drawn, and went to the reasoner as words only: {note}"
    return Hints(NOBODY), (told,)


def _look(
    hints: Mapping[int, OverrideSpec],
    scene: Scene,
    segment: str,
    segmenter: Segmenter,
    detector: Detector,
    cache: StageCache,
) -> Hints:
    asked = {index: _asked(spec, scene) for index, spec in hints.items()}
    # Names by their order among the hints alone, so that other entries may come and go; the same words are asked once.
    names = {what: f"hint-{place}" for place, what in enumerate(dict.fromkeys(asked.values()))}
    things = [Thing(name, words, positions, apart=apart) for (words, positions, apart), name in names.items()]
    who = [detector.name, detector.version, segmenter.name, segmenter.version]

    def store(folder: StageResult | Context) -> MatteStore:
        return MatteStore(folder.folder / "mattes", scene.pictures.size)

    def work(context: Context) -> dict[str, object]:
        boxes = detecting.look(things, scene, detector, segmenter, store(context), context.progress)
        return {name: [scene.numbers[box.position], box.x0, box.y0, box.x1, box.y1] for name, box in boxes.items()}

    stage = cache.run("hint", [VERSION, detecting.VERSION, who, segment, list(names)], work)
    found = {index: names[what] for index, what in asked.items() if names[what] in stage.facts}
    return Hints("", stage.key, f"{detector.name}, {segmenter.name}", found, store(stage))


def _asked(spec: OverrideSpec, scene: Scene) -> tuple[str, tuple[int, ...], bool]:
    """Words; the first of the entry's frames, the middle one and the last; whether it cannot be the object itself."""
    wanted = frozenset(spec.frames)
    inside = [position for position, number in enumerate(scene.numbers) if number in wanted]
    positions = sorted({inside[0], inside[len(inside) // 2], inside[-1]})
    # A detector that is asked for a shadow likes to show who casts it; what is affected is not what goes.
    return spec.hint, tuple(positions), spec.region == "affected"
