"""A job's overrides, brought to its clip: what the quadmask stages need to apply them and to tell of them.

Promises: the stages' keys hold no labels, so that moving a line in a sidecar redoes nothing. Must not: decide who is
heard (`void_client.overrides`), or what an override does (`void_engine.quadmask.override`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from void_client.errors import JobFailed
from void_client.overrides import FrameRef, OverrideSpec, Word
from void_client.sequence import format_frames

from void_engine.atomic import write_atomically
from void_engine.hinting import Hints
from void_engine.interface import KEEP, OVERLAP, Mask, Quadmask
from void_engine.plates.clip import FileClip
from void_engine.quadmask.override import Hinted, Overridden, Place, apply, decoded, record, spoken
from void_engine.segmentation.interface import Matte
from void_engine.segmentation.read_matte import read_matte
from void_engine.stages import Context

REGIONS = "regions.json"


class Overrides:
    """``locate``: a matte's digest → its file."""

    def __init__(
        self, specs: Sequence[OverrideSpec], clip: FileClip, locate: Callable[[str], Path], drawn: Hints | None = None
    ) -> None:
        """``drawn``: what became of the hints; None where a quadmask is supplied, and nobody looks for them."""
        self._specs, self._clip, self._locate, self._drawn = tuple(specs), clip, locate, drawn or Hints()

    @property
    def hints(self) -> dict[int, OverrideSpec]:
        """The entries that hold words, by their place in the job."""
        return {index: spec for index, spec in enumerate(self._specs) if spec.hint}

    def with_hints(self, drawn: Hints) -> Overrides:
        return Overrides(self._specs, self._clip, self._locate, drawn)

    @property
    def key(self) -> list[Any]:
        """For a stage's inputs: empty without overrides."""
        return [*(spec.content() for spec in self._specs), *([self._drawn.key] if self.hints else [])]

    def warnings(self, faults: Sequence[Sequence[Any]]) -> list[str]:
        """For the artist, from `faults_of` a stage: each entry once, by its place in the sidecar as it is now."""
        frames: dict[tuple[int, str], list[int]] = {}
        for index, number, fault in faults:
            frames.setdefault((index, _without_frame(fault, number)), []).append(number)
        return [
            f"{self._specs[index].label}: {fault} Not used on frames {format_frames(numbers)}."
            for (index, fault), numbers in frames.items()
        ]

    def apply(
        self, position: int, regions: Mapping[str, Mask], said: Mapping[str, Sequence[Word]] | None = None
    ) -> Overridden:
        clip, number = self._clip, self._clip.numbers[position]
        place = Place(clip.header(position).display_window, clip.canvas)

        def read(ref: FrameRef) -> Matte:
            return read_matte(self._locate(ref.sha256), frame=number, display=place.display, canvas=place.canvas)

        def hinted(index: int) -> Hinted:
            return self._drawn.read(index, self._specs[index].hint, position)

        return apply(regions, number, self._specs, read, place, said, hinted)


def override_supplied(clip: FileClip, overrides: Overrides, context: Context) -> dict[str, Any]:
    """A stage: the supplied quadmask retouched, a PNG a frame, and `REGIONS`. Facts: also `faults_of`."""
    replaced, explained = [], []
    for position, number in enumerate(clip.numbers):
        done = overrides.apply(position, decoded(clip.quadmask(position)), spoken(None, number))
        mask = done.quadmask()
        write_png(context.folder / png_name(position), mask, number)
        replaced.append([number, int(np.count_nonzero(mask <= OVERLAP)), int(np.count_nonzero(mask != KEEP))])
        explained.append(record(number, done))
        context.progress(position + 1, len(clip.numbers), f"frame {number}")
    write_atomically(context.folder / REGIONS, [json.dumps(explained, indent=1).encode()])
    return {"replaced": replaced, "faults": faults_of(explained)}


def faults_of(explained: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """[override, frame, fault] of all frames' records: for a stage's facts, free of labels."""
    return [
        [each["override"], frame["frame"], each["fault"]] for frame in explained for each in frame.get("faults", ())
    ]


def _without_frame(fault: str, number: int) -> str:
    return fault.replace(f"matte frame {number}:", "matte:", 1)


def png_name(position: int) -> str:
    return f"quadmask.{position:06d}.png"


def physical_name(position: int) -> str:
    """0 where a frame's affected pixels are those of physical things alone; no file where there are none."""
    return f"physical.{position:06d}.png"


def write_png(path: Path, mask: Quadmask, number: int) -> None:
    done, data = cv2.imencode(".png", mask)
    if not done:
        raise JobFailed(f"The quadmask of frame {number} could not be stored.")
    write_atomically(path, [data.tobytes()])


def read_png(path: Path) -> Quadmask:
    levels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if levels is None:
        raise JobFailed("A stored quadmask cannot be read.", hint="Run the job again.")
    return np.asarray(levels, np.uint8)
