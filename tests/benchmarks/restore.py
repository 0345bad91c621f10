"""How close clean plates come to known truth, on drawn shots and on real ones, beside what is usual.

``python tests/benchmarks/restore.py [--full] [--only NAME ...] [--no-baselines] [--sheets FOLDER] [--memory]``:
PSNR (dB) and SSIM inside the mask; picture: PSNR against the truth without grain, both blurred by 2 pixels at a width
of 1024 (1 at least), so that grain counts little; flicker: the second difference in time of the slightly blurred
picture minus the same of the truth, its mean size inside the mask in 255ths of display values; grain: how
much fine detail changes from frame to frame, the truth's being 1; lamps: share of the pixels above 100 that
come back. ``truth, other grain`` is as good as can be. Methods: per-frame Telea and PatchMatch, the temporal
median without alignment (Telea where nothing is seen), ours; before a standing camera without its grain, too. On the
real shots a drawn ball with a shadow travels over clean plate, so the truth is known; the shot's own quadmask counts
as hole, too.
The quick run takes a minute; ``--full`` draws at 1K, one shot at 4K, and takes ten.
``--memory``: peak memory of our engine at 2K for 25 and 100 frames, standing and panning, nothing else.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import patchmatch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.camera_shots import Frame, Scene, render
from helpers.memory_clip import MemoryClip, MemoryContext, MemoryFrames, request
from helpers.shots import NAMES, read_shot, shots_folder

from void_engine.cleanplate import CleanplateEngine
from void_engine.contact_sheet import contact_sheet, display, per_frame_inpaint, psnr
from void_engine.interface import AFFECTED, KEEP, REMOVE, RGB, GenerateRequest, Window

SCENES = (
    Scene("static", "static"),
    Scene("static, arm", "static", arm=True),
    Scene("pan", "pan"),
    Scene("zoom", "zoom"),
    Scene("handheld", "handheld"),
    Scene("track, posts", "track"),
    Scene("pan, light drifts", "pan", drift=1.0),
    Scene("handheld, drifts", "handheld", drift=1.0),
    Scene("static, unseen", "static", travel=0.06),
    Scene("handheld, unseen", "handheld", travel=0.06),
    Scene("static, shadow", "static", shade=0.6),
    Scene("handheld, shadow", "handheld", shade=0.6),
    Scene("handheld, shadow rests", "handheld", shade=0.6, sway=0.08),
)
QUICK = ("static, arm", "zoom", "track, posts", "handheld, drifts", "handheld, unseen", "handheld, shadow")
LARGE = Scene("pan at 4K", "pan", width=4096, height=2160, frames=8, travel=0.9)
OURS = "cleanplate"
NO_GRAIN = "cleanplate, grain 0"  # where the camera stands


@dataclass
class Shot:
    """Lists by frame; ``mask`` is where results are judged."""

    name: str
    plates: list[RGB]
    truth: list[RGB]
    again: list[RGB] | None
    bare: list[RGB]  # the truth without grain, or with where it is not known
    quadmasks: list[np.ndarray]
    masks: list[np.ndarray]


@dataclass(frozen=True)
class Score:
    psnr: float
    ssim: float
    picture: float
    flicker: float
    grain: float
    lamps: str
    seconds: float  # a frame


def drawn(scene: Scene) -> Shot:
    frames: list[Frame] = list(render(scene))
    masks = [frame.quadmask != KEEP for frame in frames]
    return Shot(
        scene.name,
        [frame.plate for frame in frames],
        [frame.truth for frame in frames],
        [frame.again for frame in frames],
        [frame.bare for frame in frames],
        [frame.quadmask for frame in frames],
        masks,
    )


def real(name: str, scale: float, count: int | None) -> Shot:
    """A striped ball with a shadow travels to and fro where the plate is farthest from anything masked."""
    pairs = list(read_shot(name, scale=scale, frames=count))
    free = ~np.any([quadmask != KEEP for _, quadmask in pairs], axis=0)
    height, width = free.shape
    away = cv2.distanceTransform(np.pad(free, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    middle_y, middle_x = np.unravel_index(int(away.argmax()), away.shape)
    radius = min(0.09 * height, 0.35 * float(away.max()))
    shot = Shot(name, [], [], None, [], [], [])
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    for index, (plate, own) in enumerate(pairs):
        phase = index / max(1, len(pairs) - 1)
        u = (x - middle_x - 1.6 * radius * np.sin(2.0 * np.pi * phase)) / radius
        v = (y - middle_y - 0.3 * radius * np.cos(5.0 * phase)) / radius
        inside, dark = np.hypot(u, v) < 1.0, np.clip(1.0 - np.hypot((u - 0.3) / 1.4, (v - 0.9) / 0.6), 0.0, 1.0)
        stripes = 0.5 + 0.5 * np.sign(np.sin(7.0 * u + 4.0 * v + 6.0 * phase))[..., None]
        ball = np.float32([0.1, 0.2, 0.5]) + stripes * np.float32([0.5, 0.2, -0.4])
        shaded = plate * (1.0 - 0.6 * dark)[..., None]
        shot.plates.append(np.where(inside[..., None], ball, shaded).astype(np.float32))
        quadmask = np.where(inside, REMOVE, np.where(dark > 0, AFFECTED, own)).astype(np.uint8)
        shot.quadmasks.append(quadmask)
        shot.truth.append(plate)
        shot.bare.append(plate)
        shot.masks.append(inside | (dark > 0))
    return shot


def ours(shot: Shot, grain: float = 1.0) -> list[RGB]:
    clip = MemoryClip(shot.plates, shot.quadmasks)
    engine, out = CleanplateEngine(), MemoryFrames(clip)
    with tempfile.TemporaryDirectory() as folder:
        engine.generate(clip, request(0, engine.check_options({"grain": grain})), out, MemoryContext(Path(folder)))
    return [out.result(position) for position in range(len(shot.plates))]


def telea(shot: Shot) -> list[RGB]:
    pairs = zip(shot.plates, shot.quadmasks, strict=True)
    return [per_frame_inpaint(plate, quadmask != KEEP) for plate, quadmask in pairs]


def patchmatched(shot: Shot) -> list[RGB]:
    return [_patchmatch(plate, quadmask != KEEP) for plate, quadmask in zip(shot.plates, shot.quadmasks, strict=True)]


def _patchmatch(plate: RGB, hole: np.ndarray) -> RGB:
    """On the hole's surroundings, 8-bit display values, at most 256 pixels across; as bright as 1 at most."""
    if not hole.any():
        return plate
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    pad = max(32, (rows[-1] - rows[0]) // 2, (columns[-1] - columns[0]) // 2)
    window = (
        slice(max(0, rows[0] - pad), rows[-1] + pad + 1),
        slice(max(0, columns[0] - pad), columns[-1] + pad + 1),
    )
    part, mask = display(plate[window]), hole[window].astype(np.uint8)
    ratio = min(1.0, 256 / max(mask.shape))
    size = (max(24, round(mask.shape[1] * ratio)), max(24, round(mask.shape[0] * ratio)))
    small = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) * 255.0 + 0.5).astype(np.uint8)
    small_mask = (cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
    patchmatch.set_random_seed(0)
    made = patchmatch.inpaint(small, small_mask, patch_size=5).astype(np.float32) / 255.0
    code = cv2.resize(made, mask.shape[::-1], interpolation=cv2.INTER_CUBIC).clip(0.0, 1.0)
    light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    result = plate.copy()
    result[window] = np.where(mask[..., None] > 0, light, plate[window])
    return result


def median(shot: Shot) -> list[RGB]:
    """Per pixel over all frames that keep it, without alignment; Telea where none does."""
    holes = np.array([quadmask != KEEP for quadmask in shot.quadmasks])
    ever = np.argwhere(holes.any(axis=0))
    rows, columns = ever[:, 0], ever[:, 1]
    values = np.array([plate[rows, columns] for plate in shot.plates])
    hidden = holes[:, rows, columns]
    order = np.sort(np.where(hidden[..., None], np.inf, values), axis=0)
    count = (~hidden).sum(axis=0)
    low, high = (np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(values) - 1))
    pick = np.arange(len(rows))
    middle = (order[low, pick] + order[high, pick]) / 2
    results = []
    for plate, hole in zip(shot.plates, holes, strict=True):
        picture = plate.copy()
        picture[rows, columns] = np.where((count > 0)[:, None], middle, plate[rows, columns])
        unseen = np.zeros_like(hole)
        unseen[rows, columns] = count == 0
        filled = per_frame_inpaint(picture, unseen & hole) if (unseen & hole).any() else picture
        results.append(np.where(hole[..., None], filled, plate).astype(np.float32))
    return results


def others_grain(shot: Shot) -> list[RGB]:
    assert shot.again is not None
    triples = zip(shot.plates, shot.again, shot.masks, strict=True)
    return [np.where(mask[..., None], again, plate) for plate, again, mask in triples]


def ssim(a: RGB, b: RGB, mask: np.ndarray) -> float:
    """Of display values' mean channel, Gaussian window of sigma 1.5, mean inside the mask."""
    one, two = (display(picture).mean(axis=2).astype(np.float64) for picture in (a, b))

    def blur(picture: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(picture, (0, 0), 1.5)

    mean_a, mean_b = blur(one), blur(two)
    var_a, var_b = blur(one * one) - mean_a**2, blur(two * two) - mean_b**2
    both = blur(one * two) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(value[mask].mean())


def picture(made: RGB, bare: RGB, mask: np.ndarray) -> float:
    sigma = max(1.0, 2.0 * made.shape[1] / 1024)
    one, two = (cv2.GaussianBlur(display(light), (0, 0), sigma) for light in (made, bare))
    error = float(np.mean((one - two)[mask].astype(np.float64) ** 2))
    return min(99.0, -10.0 * float(np.log10(max(error, 1e-12))))


def flicker(results: list[RGB], truth: list[RGB], masks: list[np.ndarray]) -> float:
    """Mean size of the second difference in time, minus the truth's, where three frames in turn are masked."""

    def error(k: int) -> np.ndarray:
        # Blurred: the grain of a pixel that was filmed at another time is no flicker.
        return cv2.GaussianBlur(display(results[k]) - display(truth[k]), (0, 0), 2.0)

    total, count = 0.0, 0
    for k in range(1, len(results) - 1):
        where = masks[k - 1] & masks[k] & masks[k + 1]
        if where.any():
            total += float(np.abs(error(k - 1) - 2.0 * error(k) + error(k + 1))[where].sum())
            count += int(where.sum()) * 3
    return 255.0 * total / max(1, count)


def grain(results: list[RGB], shot: Shot) -> float:
    """How strongly the frame changes at random from one to the next, the truth being 1: an average has no grain."""

    def change(frames: list[RGB]) -> float:
        total = []
        for k in range(1, len(frames) - 1):
            where = shot.masks[k - 1] & shot.masks[k] & shot.masks[k + 1]
            fine = [display(frame) - cv2.GaussianBlur(display(frame), (0, 0), 1.5) for frame in frames[k - 1 : k + 2]]
            if where.any():
                total.append(float(np.median(np.abs(fine[0] - 2.0 * fine[1] + fine[2])[where])))
        return float(np.mean(total)) if total else 0.0

    return change(results) / max(1e-9, change(shot.truth))


def lamps(results: list[RGB], shot: Shot) -> str:
    """Of the pixels above 100 behind the mask, the share that comes back within a tenth."""
    lit = [truth.max(axis=2) * mask > 100.0 for truth, mask in zip(shot.truth, shot.masks, strict=True)]
    total = sum(int(where.sum()) for where in lit)
    if total == 0:
        return "-"
    pairs = zip(results, shot.truth, lit, strict=True)
    good = sum(int((np.abs(made / truth - 1.0)[where].max(axis=1) < 0.1).sum()) for made, truth, where in pairs)
    return f"{good / total:.0%}"


def score(results: list[RGB], shot: Shot, seconds: float) -> Score:
    triples = [t for t in zip(results, shot.truth, shot.masks, strict=True) if t[2].any()]
    bare = [t for t in zip(results, shot.bare, shot.masks, strict=True) if t[2].any()]
    return Score(
        float(np.mean([min(99.0, psnr(*triple)) for triple in triples])),
        float(np.mean([ssim(*triple) for triple in triples])),
        float(np.mean([picture(*triple) for triple in bare])),
        flicker(results, shot.truth, shot.masks),
        grain(results, shot),
        lamps(results, shot),
        seconds / len(results),
    )


METHODS: dict[str, Callable[[Shot], list[RGB]]] = {
    "Telea": telea,
    "PatchMatch": patchmatched,
    "median": median,
    OURS: ours,
    NO_GRAIN: lambda shot: ours(shot, 0.0),
    "truth, other grain": others_grain,
}


def measure(shot: Shot, methods: list[str], sheets: Path | None) -> None:
    print(f"{shot.name}, {shot.plates[0].shape[1]}x{shot.plates[0].shape[0]}x{len(shot.plates)}", flush=True)
    kept: dict[str, list[RGB]] = {}
    for name in methods:
        if name == "truth, other grain" and shot.again is None:
            continue
        if name == NO_GRAIN and not (shot.name.startswith("static") or shot.name in NAMES):
            continue  # the camera moves
        start = time.perf_counter()
        kept[name] = METHODS[name](shot)
        found = score(kept[name], shot, time.perf_counter() - start)
        print(
            f"  {name:20s} {found.psnr:6.2f} {found.ssim:7.3f} {found.picture:8.2f} {found.flicker:8.2f} "
            f"{found.grain:6.2f} {found.lamps:>6s} {found.seconds:7.2f}",
            flush=True,
        )
    if sheets is not None and OURS in kept:
        sheet(shot, kept, sheets)


def sheet(shot: Shot, kept: dict[str, list[RGB]], folder: Path) -> None:
    """Around the hole at full size: plate, results, truth."""
    some = np.linspace(0, len(shot.plates) - 1, 5).round().astype(int)
    where = np.any([shot.masks[k] for k in some], axis=0)
    rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
    window = (slice(max(0, rows[0] - 30), rows[-1] + 30), slice(max(0, columns[0] - 30), columns[-1] + 30))
    pictures = {"plate": shot.plates, **{k: v for k, v in kept.items() if k != "truth, other grain"}}
    pictures["truth"] = shot.truth
    lines = [(name, [frames[k][window] for k in some]) for name, frames in pictures.items()]
    lines.append(("quadmask", [shot.quadmasks[k][window] for k in some]))
    contact_sheet(lines, folder / f"{shot.name.replace(', ', '_').replace(' ', '_')}.png", width=2400)


def shots(full: bool, only: list[str]) -> Iterator[Shot]:
    for scene in (*SCENES, LARGE) if full else SCENES:
        small = scene if full else replace(scene, width=384, height=216, frames=10)
        if scene.name in only or (not only and (full or scene.name in QUICK)):
            yield drawn(small)
    for name in NAMES if shots_folder() is not None else ():
        if name in only or (not only and (full or name != "moving_ball")):
            large = name == "BigBen"
            scale = 1.0 if large else 0.25
            yield real(name, scale if full else scale / 2, 12 if full else 10)


class DrawnClip:
    """A 2K pan, or the view of a standing camera, of any length, drawn frame by frame; nothing is held."""

    pixel_aspect = 1.0
    canvas = Window(0, 0, 2047, 1079)

    def __init__(self, frames: int, still: bool) -> None:
        self._pace = 0 if still else 5
        self.numbers = tuple(range(1001, 1001 + frames))
        random = np.random.default_rng(3)
        coarse = random.uniform(0.02, 0.6, (270, 768, 3)).astype(np.float32)
        self._wall = cv2.resize(coarse, (3072, 1080), interpolation=cv2.INTER_CUBIC)

    def plate(self, position: int) -> RGB:
        at = self._pace * position
        noise = np.random.default_rng(position).standard_normal((1080, 2048, 1), dtype=np.float32)
        return np.ascontiguousarray(self._wall[:, at : at + 2048]) + np.float32(0.003) * noise

    def valid(self, position: int) -> np.ndarray:
        return np.ones((1080, 2048), dtype=bool)

    def quadmask(self, position: int) -> np.ndarray:
        quadmask = np.full((1080, 2048), KEEP, dtype=np.uint8)
        quadmask[400:700, 300 + 11 * position : 560 + 11 * position] = REMOVE
        return quadmask


class _Nowhere:
    """A `void_engine.interface.CleanFrames` that keeps nothing."""

    def has(self, position: int) -> bool:
        return False

    def write(self, position: int, rgb: RGB, confidence: np.ndarray | None = None) -> None:
        pass

    def read(self, position: int) -> RGB:
        raise NotImplementedError


def long_clip(frames: int, still: bool) -> None:
    """In a process of its own: the peak is the process's."""
    engine, clip = CleanplateEngine(), DrawnClip(frames, still)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        job: GenerateRequest = request(0, engine.check_options({}))
        engine.generate(clip, job, _Nowhere(), MemoryContext(Path(folder)))
    took = (time.perf_counter() - start) / frames
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    how = "standing" if still else "panning"
    print(f"2048x1080, {how}, {frames:4d} frames: peak {peak:6.0f} MB, {took:6.2f} s a frame", flush=True)


def memory() -> None:
    for still in (True, False):
        for frames in (25, 100):
            worker = multiprocessing.get_context("spawn").Process(target=long_clip, args=(frames, still))
            worker.start()
            worker.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--memory", action="store_true")
    args = parser.parse_args()
    if args.memory:
        memory()
        return
    methods = [OURS] if args.no_baselines else list(METHODS)
    titles = f"{'PSNR':>6s} {'SSIM':>7s} {'picture':>8s} {'flicker':>8s} {'grain':>6s} {'lamps':>6s} {'s/frame':>7s}"
    print(f"  {'inside the mask':20s} {titles}")
    for shot in shots(args.full, args.only):
        measure(shot, methods, args.sheets)


if __name__ == "__main__":
    main()
