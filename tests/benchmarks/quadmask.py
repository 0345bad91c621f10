"""How close the ``motion`` reasoner and the quadmask policy come to given quadmasks and to scenes of known truth.

``python tests/benchmarks/quadmask.py [--primary given|track] [--ablation] [--synthetic] [--long]
[--quiet FIRST] [--absent keep|follow] [--scale 0.25] [SHOT ...]``: IoU over the whole clip of remove (0 and 63) and of
affected (63 and 127), with one setting for all shots, beside a naive baseline: the primary, dilated. ``--primary
track`` segments from the recorded clicks, ``given`` takes the quadmask's own. ``--ablation``: less one cue each.
``--quiet``: in how many of twenty scenes drawn by chance, in which the object affects nothing, something is claimed.
``--long``: peak memory and time of the reasoner alone on drawn 2K clips of 60 and of 300 frames.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.shots import NAMES, quantised, shots_folder

from void_engine.quadmask.policy import QuadmaskPolicy
from void_engine.quadmask.policy_options import PolicyOptions
from void_engine.quadmask.upstream import gridded
from void_engine.reasoning.interface import PRIMARY, ReasonRequest
from void_engine.reasoning.motion import MotionReasoner
from void_engine.reasoning.motion_rules import CUES
from void_engine.segmentation import Click, MatteStore, Prompt
from void_engine.segmentation.pictures import shrink

BASELINE = 0.04  # of the long side: how far the naive baseline dilates


@dataclass
class Case:
    """``given`` (T, H, W) uint8, coded; ``primary`` (T, H, W) bool, or None for clicks."""

    name: str
    pictures: np.ndarray
    given: np.ndarray
    primary: np.ndarray | None
    clicks: tuple[Click, ...] = ()


class Frames:
    """`void_engine.segmentation.interface.Pictures` of an array."""

    def __init__(self, frames: np.ndarray) -> None:
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def size(self) -> tuple[int, int]:
        return self._frames.shape[1:3]

    def rgb(self, position: int) -> np.ndarray:
        return self._frames[position]

    def proxy(self, position: int, long_side: int) -> np.ndarray:
        return shrink(self._frames[position], long_side)


def real(name: str, scale: float, how: str) -> Case:
    folder = shots_folder()
    if folder is None:
        raise SystemExit("the real shots are not here")
    pictures, masks = [], []
    with av.open(str(folder / name / "input_video.mp4")) as plate, av.open(str(folder / name / "quadmask.mp4")) as mask:
        for picture, matte in zip(plate.decode(video=0), mask.decode(video=0), strict=True):
            rgb, luma = picture.to_ndarray(format="rgb24"), matte.to_ndarray(format="gray")
            # Shots as small as BigBen stay as they are.
            ratio = max(min(1.0, 540 / min(rgb.shape[:2])), scale)
            size = (round(rgb.shape[1] * ratio), round(rgb.shape[0] * ratio))
            pictures.append(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))
            masks.append(quantised(cv2.resize(luma, size, interpolation=cv2.INTER_NEAREST)))
    given = np.stack(masks)
    clicks = json.loads((folder / name / "clicks.json").read_text())
    points = tuple(Click(int(clicks["frame"]), x * ratio, y * ratio) for x, y in clicks["positive"])
    return Case(name, np.stack(pictures), given, given <= 95 if how == "given" else None, points)


def quiet(first: int) -> None:
    from helpers import physics_shots

    claims = []
    for seed in range(first, first + 20):
        shot = physics_shots.passes_by_chance(seed)
        case = Case(shot.name, shot.plates, np.where(shot.primary, 0, 255).astype(np.uint8), shot.primary)
        with tempfile.TemporaryDirectory() as folder:
            made = solved(case, frozenset(CUES), PolicyOptions(), Path(folder))
        if (made != case.given).any():
            claims.append(seed)
    print(f"something claimed in {len(claims)} of 20: {claims}")


def synthetic() -> Iterator[Case]:
    from helpers import physics_shots

    for make in physics_shots.ALL:
        shot = make()
        given = np.full(shot.primary.shape, 255, np.uint8)
        truth = gridded(shot.affected)
        given[truth] = 127
        given[shot.primary] = 0
        given[shot.primary & truth] = 63
        yield Case(shot.name, shot.plates, given, shot.primary)


def store(case: Case, folder: Path) -> MatteStore:
    """The primary's mattes: given, or tracked from the clicks."""
    mattes = MatteStore(folder / "mattes", case.given.shape[1:])
    if case.primary is not None:
        for position, mask in enumerate(case.primary):
            mattes.write(PRIMARY, position, mask.astype(np.float32))
        return mattes
    from void_engine.segmentation.track import TrackSegmenter

    TrackSegmenter().segment(Frames(case.pictures), (Prompt(PRIMARY, case.clicks),), mattes, lambda *_: None)
    # Once for all settings.
    case.primary = np.stack([mattes.read(PRIMARY, position) >= 0.5 for position in range(len(case.pictures))])
    return mattes


def solved(case: Case, cues: frozenset[str], options: PolicyOptions, folder: Path) -> np.ndarray:
    mattes = store(case, folder)
    numbers = tuple(range(1001, 1001 + len(case.pictures)))
    request = ReasonRequest(Frames(case.pictures), numbers, mattes, folder / "scratch", frame_rate=12.0)
    analysis = MotionReasoner(cues).reason(request, lambda *_: None)
    policy = QuadmaskPolicy(analysis, mattes, numbers, case.given.shape[1:], options)
    return np.stack([policy(position) for position in range(len(numbers))])


def baseline(primary: np.ndarray) -> np.ndarray:
    radius = round(BASELINE * max(primary.shape[1:]))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.stack([cv2.dilate(mask.astype(np.uint8), kernel) > 0 for mask in primary])


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    union = int((one | other).sum())
    return float((one & other).sum() / union) if union else 1.0


def affected(quadmask: np.ndarray) -> np.ndarray:
    return (quadmask == 63) | (quadmask == 127)


def measured(case: Case, cues: frozenset[str], options: PolicyOptions) -> tuple[float, float, float]:
    """IoU of remove, of affected, and of the baseline's affected."""
    with tempfile.TemporaryDirectory() as folder:
        made = solved(case, cues, options, Path(folder))
    naive = overlap(baseline(case.given <= 95), affected(case.given))
    return overlap(made <= 95, case.given <= 95), overlap(affected(made), affected(case.given)), naive


class Drawn:
    """A 2K clip drawn on demand: a ball rolls on and on over a panning wall, past blocks. Holds a few proxies."""

    size = (1080, 2048)

    def __init__(self, frames: int) -> None:
        self._count = frames
        noise = np.random.default_rng(1).integers(0, 255, (1080, 4096, 3)).astype(np.uint8)
        self._wall = cv2.GaussianBlur(noise, (0, 0), 9)
        self.proxy = lru_cache(maxsize=20)(self._proxy)

    def __len__(self) -> int:
        return self._count

    def rgb(self, position: int) -> np.ndarray:
        shift = 4 * position % 2048
        picture = self._wall[:, shift : shift + 2048].copy()
        cv2.rectangle(
            picture, (1200, 500 + min(300, 3 * position)), (1300, 600 + min(300, 3 * position)), (9, 9, 9), -1
        )
        cv2.circle(picture, self.middle(position), 90, (210, 60, 50), -1)
        return picture

    def middle(self, position: int) -> tuple[int, int]:
        return 100 + 17 * position % 1800, 600

    def primary(self, position: int) -> np.ndarray:
        return cv2.circle(np.zeros(self.size, np.float32), self.middle(position), 90, 1.0, -1)

    def _proxy(self, position: int, long_side: int) -> np.ndarray:
        return shrink(self.rgb(position), long_side)


def long_clip(frames: int) -> None:
    """In a process of its own: the peak is the process's."""
    with tempfile.TemporaryDirectory() as folder:
        clip, path = Drawn(frames), Path(folder)
        mattes = MatteStore(path / "mattes", clip.size)
        for position in range(frames):
            mattes.write(PRIMARY, position, clip.primary(position))
        start = time.perf_counter()
        request = ReasonRequest(clip, tuple(range(frames)), mattes, path / "scratch")
        found = MotionReasoner().reason(request, lambda *_: None)
        took = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        scratch = sum(file.stat().st_size for file in (path / "scratch").rglob("*") if file.is_file()) / 1e6
    things = len(found.affected) + len(found.belongings)
    print(
        f"{frames:4d} frames: peak {peak:6.0f} MB, {took:6.1f} s, scratch {scratch:6.0f} MB, {things} things",
        flush=True,
    )


def long_clips() -> None:
    for frames in (60, 300):
        worker = multiprocessing.get_context("spawn").Process(target=long_clip, args=(frames,))
        worker.start()
        worker.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shots", nargs="*", default=[])
    parser.add_argument("--primary", choices=("given", "track"), default="given")
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--synthetic", action="store_true")
    parser.add_argument("--scale", type=float, default=0.0)
    parser.add_argument("--absent", choices=("keep", "follow"), default="keep")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--quiet", type=int, metavar="FIRST")
    chosen = parser.parse_args()
    if chosen.quiet is not None:
        return quiet(chosen.quiet)
    if chosen.long:
        return long_clips()
    names = chosen.shots or ([] if chosen.synthetic else list(NAMES))
    cases = [real(name, chosen.scale, chosen.primary) for name in names]
    cases += list(synthetic()) if chosen.synthetic else []
    settings = {"all cues": frozenset(CUES)}
    if chosen.ablation:
        settings |= {f"without {cue}": frozenset(CUES) - {cue} for cue in CUES}
    print(f"{'cues':20} {'shot':18} remove affected baseline")
    for label, cues in settings.items():
        rows = [measured(case, cues, PolicyOptions(absent=chosen.absent)) for case in cases]
        for case, (remove, changed, naive) in zip(cases, rows, strict=True):
            print(f"{label:20} {case.name:18} {remove:6.3f} {changed:8.3f} {naive:8.3f}", flush=True)
        means = np.mean(rows, axis=0)
        print(f"{label:20} {'mean':18} {means[0]:6.3f} {means[1]:8.3f} {means[2]:8.3f}", flush=True)


if __name__ == "__main__":
    main()
