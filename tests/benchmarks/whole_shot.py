"""A real shot, whole and at any size, through cleanplate: seconds a frame and peak memory.

``python tests/benchmarks/whole_shot.py NAME [--scale 1.0] [--frames N] [--keep FOLDER] [--grow PIXELS]``: frames lie on
disk as halves and are read when asked for, as a plate's would be. ``--keep`` leaves plate, quadmask and result there,
to be looked at. ``--grow`` widens what is removed: the supplied quadmasks are tight.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.memory_clip import MemoryContext, request
from helpers.shots import read_shot

from void_engine.cleanplate import CleanplateEngine
from void_engine.interface import KEEP, OVERLAP, REMOVE, RGB, Quadmask, Share, Valid, Window


class StoredClip:
    """A `void_engine.interface.Clip` and its `CleanFrames`, in a folder of arrays."""

    pixel_aspect = 1.0

    def __init__(self, folder: Path, name: str, scale: float, frames: int | None, grow: int) -> None:
        self._folder = folder
        count = 0
        for plate, quadmask in read_shot(name, scale=scale, frames=frames):
            np.save(folder / f"plate{count}.npy", plate.astype(np.float16))
            np.save(folder / f"quadmask{count}.npy", widened(quadmask, grow))
            self._shape, count = quadmask.shape, count + 1
        self.numbers = tuple(range(1001, 1001 + count))
        self.canvas = Window(0, 0, self._shape[1] - 1, self._shape[0] - 1)

    def plate(self, position: int) -> RGB:
        return np.load(self._folder / f"plate{position}.npy").astype(np.float32)

    def valid(self, position: int) -> Valid:
        return np.ones(self._shape, dtype=bool)

    def quadmask(self, position: int) -> Quadmask:
        return np.load(self._folder / f"quadmask{position}.npy")

    def has(self, position: int) -> bool:
        return (self._folder / f"result{position}.npy").exists()

    def write(self, position: int, rgb: RGB, confidence: Share | None = None) -> None:
        hole = (self.quadmask(position) != KEEP)[..., None]
        result = np.where(hole, rgb.astype(np.float16), self.plate(position).astype(np.float16))
        np.save(self._folder / f"result{position}.npy", result)

    def read(self, position: int) -> RGB:
        raise NotImplementedError


def widened(quadmask: Quadmask, grow: int) -> Quadmask:
    if grow < 1:
        return quadmask
    round_ = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1))
    removed = cv2.dilate((quadmask <= OVERLAP).astype(np.uint8), round_) > 0
    return np.where(removed & (quadmask > OVERLAP), np.uint8(REMOVE), quadmask)


def measure(folder: Path, name: str, scale: float, frames: int | None, grow: int) -> None:
    clip = StoredClip(folder, name, scale, frames, grow)
    engine = CleanplateEngine()
    start, own = time.perf_counter(), time.process_time()
    facts = engine.generate(clip, request(0, engine.check_options({})), clip, MemoryContext(folder / "scratch"))
    count = len(clip.numbers)
    took, own = (time.perf_counter() - start) / count, (time.process_time() - own) / count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name}, {clip.canvas.width}x{clip.canvas.height}x{count}, {facts['camera']}: {took:.2f} s a frame, "
        f"{own:.2f} of them computing; peak {peak:.0f} MB"
    )
    for warning in facts["warnings"]:
        print(warning)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--grow", type=int, default=0)
    args = parser.parse_args()
    if args.keep is not None:
        args.keep.mkdir(parents=True, exist_ok=True)
        measure(args.keep, args.name, args.scale, args.frames, args.grow)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), args.name, args.scale, args.frames, args.grow)


if __name__ == "__main__":
    main()
