"""A small clip of things that have names: a red object, the dark rectangle below it, and another just like that one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from void_client.errors import Cancelled

from helpers.shots import write_exr
from void_engine.colour.levels import Levels
from void_engine.plates.clip import FileClip
from void_engine.segmentation import Box, ClipPictures, MatteStore, Prompt
from void_engine.segmentation.track import TrackSegmenter
from void_engine.stages import StageResult

SIZE, COUNT = (96, 160), 5
NUMBERS = tuple(range(1001, 1001 + COUNT))
# x0, y0, x1, y1 on the first frame; everything moves two pixels a frame to the right
OBJECT, SHADOW, OTHER = (40, 20, 64, 60), (36, 66, 74, 80), (110, 66, 146, 80)
FEW = {"near": 0.0, "smooth": 1, "first_frame_clear": False}


class Watcher:
    """Who watches the job: at one stage's progress, to cancel once ``stop`` is told of."""

    def __init__(self, stop: str = "", stage: str = "detect") -> None:
        self.stop, self.watched, self.states, self.steps = stop, stage, [], []

    def stage(self, name: str, state: str, key: str) -> None:
        self.states.append((name, state))

    def progress(self, stage: str, step: int, of: int, note: str) -> None:
        if stage == self.watched:
            self.steps.append((step, of))
        if self.stop and stage == self.watched and note.startswith(self.stop):
            raise Cancelled("The job was cancelled.")

    def check(self) -> None: ...


def at(edges: tuple[int, ...], position: int) -> tuple[int, ...]:
    return edges[0] + 2 * position, edges[1], edges[2] + 2 * position, edges[3]


def write_plates(folder: Path) -> None:
    floor = 0.35 + 0.02 * np.random.default_rng(1).standard_normal((*SIZE, 3))
    for position, number in enumerate(NUMBERS):
        frame = floor.copy()
        for edges, colour in ((OBJECT, (0.7, 0.05, 0.05)), (SHADOW, (0.03,) * 3), (OTHER, (0.03,) * 3)):
            x0, y0, x1, y1 = at(edges, position)
            frame[y0:y1, x0:x1] = colour
        write_exr(folder / f"{number}.exr", {"RGB": frame.astype(np.float16)}, number)


def clip_of(plates: Path) -> FileClip:
    return FileClip([(number, plates / f"{number}.exr") for number in NUMBERS], None)


def ingested(folder: Path) -> StageResult:
    """The stage before the masks. Without any light measured, the way to the display is the plain one."""
    facts = {"plate": [[number, "0" * 64] for number in NUMBERS], "levels": Levels().to_json()}
    return StageResult("0" * 64, folder / "ingest", facts)


def tracked(clip: FileClip, folder: Path, edges: tuple[float, ...], position: int = 0) -> MatteStore:
    """What the segmenter makes of a box by itself."""
    store = MatteStore(folder / "expected", SIZE)
    pictures = ClipPictures(clip, folder / "pictures")
    prompt = Prompt("thing", boxes=(Box(position, *map(float, edges)),))
    TrackSegmenter().segment(pictures, (prompt,), store, lambda *news: None)
    return store
