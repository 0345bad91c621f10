"""One object on its way through the clip: what is asked, and what lies in the scratch folder in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from void_engine.segmentation.interface import Picture, Pictures, Prompt, Tick
from void_engine.segmentation.track_follow import Follower, Step
from void_engine.segmentation.track_prompt import Seeds


@dataclass
class Progress:
    tick: Tick
    done: int
    of: int

    def note(self, text: str) -> None:
        """Raises ``Cancelled``."""
        self.tick(self.done, self.of, text)


@dataclass(frozen=True)
class Job:
    """``long_side``: of the proxies that it is followed in."""

    pictures: Pictures
    prompt: Prompt
    seeds: dict[int, Seeds]
    long_side: int
    folder: Path
    progress: Progress

    def picture(self, position: int) -> Picture:
        return self.pictures.proxy(position, self.long_side)

    def walk(self, start: int, direction: int, end: int) -> Iterator[tuple[int, Step]]:
        """Follows it from the anchor at ``start``: the next frame up to, not including, ``end``."""
        follower = Follower(self.picture(start), self.anchor(start).matte)
        for position in range(start + direction, end, direction):
            yield position, follower.step(self.picture(position))

    def note(self, text: str) -> None:
        self.progress.note(f"segment {self.prompt.name}: {text}")

    def anchor(self, position: int) -> Step:
        """What it is on a prompted frame."""
        return self._load(f"anchor{position:06d}")

    def set_anchor(self, position: int, step: Step) -> None:
        self._store(f"anchor{position:06d}", step)

    def put_aside(self, position: int, step: Step) -> None:
        self._store(f"aside{position:06d}", step)

    def take_back(self, position: int) -> Step:
        step = self._load(f"aside{position:06d}")
        (self.folder / f"aside{position:06d}").unlink()
        return step

    def _store(self, name: str, step: Step) -> None:
        codes = (np.clip(step.matte, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
        done, data = cv2.imencode(".png", codes)
        assert done
        (self.folder / name).write_bytes(np.float32(step.confidence).tobytes() + data.tobytes())

    def _load(self, name: str) -> Step:
        data = (self.folder / name).read_bytes()
        codes = cv2.imdecode(np.frombuffer(data[4:], np.uint8), cv2.IMREAD_GRAYSCALE)
        assert codes is not None
        return Step(codes.astype(np.float32) / np.float32(255), float(np.frombuffer(data[:4], np.float32)[0]))
