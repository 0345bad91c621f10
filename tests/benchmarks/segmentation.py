"""How well and how fast the weightless segmenter follows an object, beside what one would do without it.

``python tests/benchmarks/segmentation.py [shot ...] [--scale S]``: intersection over union with the primary of the
given quadmask, the mean and the worst frame, and the processor's seconds a frame on one thread, decoding left out.
``grown`` is the matte made wider by two proxy pixels, since some quadmasks are drawn wide. The baselines start from
the same region on the clicked frame: ``flow only`` carries it along the flow, ``box`` cuts each frame anew (GrabCut)
in its carried box.
The synthetic shots have a moving camera and one click in the middle of the ball. ``memory`` follows a disc at 4K.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.memory_pictures import MemoryPictures, overlap, read_clicks

from void_engine.diffusion.flow import DisFlow
from void_engine.segmentation import Click, MatteStore, Prompt
from void_engine.segmentation.interface import Matte, Picture
from void_engine.segmentation.pictures import shrink
from void_engine.segmentation.track import TrackSegmenter
from void_engine.segmentation.track_prompt import Seeds
from void_engine.segmentation.track_region import region
from void_engine.synthetic import render_shot

SHOTS = Path(__file__).resolve().parents[3] / "shared" / "shots"
NAMES = ("lime", "moving_ball", "BigBen")
SIDE = 640
Truth = npt.NDArray[np.bool_]


class Made:
    """4K pictures drawn when asked for, however many: nothing but the segmenter's own memory grows."""

    def __init__(self, count: int) -> None:
        self._count = count
        random = np.random.default_rng(1)
        cloud = cv2.resize(random.random((30, 40, 3), dtype=np.float32), (5120, 2160), interpolation=cv2.INTER_CUBIC)
        self._ground = np.clip(70 + 60 * cloud, 0, 255).astype(np.uint8)

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> tuple[int, int]:
        return 2160, 3840

    def rgb(self, position: int) -> Picture:
        frame = np.ascontiguousarray(self._ground[:, 8 * (position % 100) :][:, :3840])
        cv2.circle(frame, (1400 + 15 * (position % 60), 1000), 400, (220, 120, 40), -1)
        return frame

    def proxy(self, position: int, long_side: int) -> Picture:
        return shrink(self.rgb(position), long_side)


def read(name: str, scale: float) -> tuple[MemoryPictures, list[Truth], tuple[Click, ...]]:
    frames, truths = [], []
    with av.open(str(SHOTS / name / "input_video.mp4")) as plate, av.open(str(SHOTS / name / "quadmask.mp4")) as mask:
        for picture, luma in zip(plate.decode(video=0), mask.decode(video=0), strict=True):
            rgb, grey = picture.to_ndarray(format="rgb24"), luma.to_ndarray(format="gray")
            long_side = round(max(rgb.shape) * (scale if max(rgb.shape) > 1000 else 1.0))
            frames.append(shrink(rgb, long_side))
            size = frames[-1].shape[1::-1]
            truths.append(cv2.resize(grey, size, interpolation=cv2.INTER_NEAREST) <= 95)
    return MemoryPictures(frames), truths, read_clicks(SHOTS / name, frames[0].shape[1] / rgb.shape[1])


def drawn(seed: int, moving: bool) -> tuple[MemoryPictures, list[Truth], tuple[Click, ...]]:
    shot = list(render_shot(640, 360, 16, seed=seed, moving=moving))
    frames = [(np.clip(frame.plate, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8) for frame in shot]
    truths = [frame.quadmask <= 63 for frame in shot]
    y, x = (float(np.mean(axis)) for axis in np.nonzero(truths[8]))
    return MemoryPictures(frames), truths, (Click(8, x, y),)


def started(clip: MemoryPictures, clicks: tuple[Click, ...]) -> tuple[int, Truth]:
    """The region on the clicked frame's proxy, which all baselines start from."""
    small = clip.proxy(clicks[0].position, SIDE)
    scale = small.shape[1] / clip.size[1]
    seeds = Seeds(small.shape[:2], tuple((click.x * scale, click.y * scale) for click in clicks))
    return clicks[0].position, region(small, seeds)


def carried(clip: MemoryPictures, start: int, mask: Truth, cut: Callable[[Picture, Truth], Truth]) -> list[Truth]:
    """Both ways along the flow; ``cut`` makes the answer of a frame from the carried mask."""
    flow, found = DisFlow(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM), {start: mask}
    for direction, end in ((1, len(clip)), (-1, -1)):
        last = mask.astype(np.float32)
        for position in range(start + direction, end, direction):
            back = flow(clip.proxy(position, SIDE), clip.proxy(position - direction, SIDE))
            x, y = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in last.shape[::-1]))
            last = cv2.remap(last, x + back[..., 0], y + back[..., 1], cv2.INTER_LINEAR)
            found[position] = cut(clip.proxy(position, SIDE), last > 0.5)
    return [found[position] for position in range(len(clip))]


def boxed(picture: Picture, mask: Truth) -> Truth:
    if not mask.any():
        return mask
    x, y, wide, tall = cv2.boundingRect(mask.astype(np.uint8))
    x0, y0 = max(1, x - 4), max(1, y - 4)
    rect = (x0, y0, min(picture.shape[1] - 1, x + wide + 4) - x0, min(picture.shape[0] - 1, y + tall + 4) - y0)
    marks = np.zeros(mask.shape, np.uint8)
    cv2.setRNGSeed(1)
    cv2.grabCut(picture, marks, rect, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_RECT)
    return (marks & 1).astype(bool)


def report(label: str, masks: list[Truth], truths: list[Truth], seconds: float) -> None:
    scores = [
        overlap(cv2.resize(mask.astype(np.uint8), truth.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0, truth)
        for mask, truth in zip(masks, truths, strict=True)
    ]
    worst = int(np.argmin(scores))
    mean, each = np.mean(scores), seconds / len(scores)
    print(f"  {label:10} mean {mean:.3f}  worst {scores[worst]:.3f} (frame {worst})  {each:.2f} s a frame")


def measure(name: str, clip: MemoryPictures, truths: list[Truth], clicks: tuple[Click, ...]) -> None:
    print(f"{name}: {len(clip)} frames of {clip.size[1]} x {clip.size[0]}, {len(clicks)} clicks")
    with TemporaryDirectory() as folder:
        store = MatteStore(Path(folder), clip.size)
        for position in range(len(clip)):
            clip.proxy(position, SIDE)  # made before the clock starts, as on disk
        start = time.process_time()
        TrackSegmenter().segment(clip, (Prompt("object", clicks),), store, lambda done, of, note: None)
        seconds = time.process_time() - start
        mattes: list[Matte] = [store.read("object", position) for position in range(len(clip))]
        masks = [matte > 0.5 for matte in mattes]
        sure = min(store.confidence("object", position) for position in range(len(clip)))
    report("track", masks, truths, seconds)
    reach = 2 * round(2 * max(clip.size) / min(SIDE, max(clip.size))) + 1
    wide = [cv2.dilate(mask.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0 for mask in masks]
    report("grown", wide, truths, seconds)
    print(f"  least confidence {sure:.2f}")
    position, first = started(clip, clicks)
    for label, cut in (("flow only", lambda picture, mask: mask), ("box", boxed)):
        start = time.process_time()
        found = carried(clip, position, first, cut)
        report(label, found, truths, time.process_time() - start)


def measure_memory() -> None:
    """At 4K: the peak of the process, which must not grow with the clip, and the time beside the flow's alone."""
    for count in (4, 16, 48):
        with TemporaryDirectory() as folder:
            clip = Made(count)
            store, start = MatteStore(Path(folder), clip.size), time.process_time()
            prompt = Prompt("object", (Click(0, 1400, 1000),))
            TrackSegmenter().segment(clip, (prompt,), store, lambda done, of, note: None)
            each = (time.process_time() - start) / count
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"4K, {count:2} frames: {each:.2f} s a frame with drawing and writing, peak {peak:.0f} MiB")
    one, other = clip.proxy(0, SIDE), clip.proxy(1, SIDE)
    flow, start = DisFlow(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM), time.process_time()
    for _ in range(10):
        flow(one, other)
    alone = (time.process_time() - start) / 10
    start = time.process_time()
    for position in range(4):
        clip.proxy(position, SIDE)
        clip.rgb(position)
    drawing = (time.process_time() - start) / 4
    print(f"  DIS flow alone {alone:.3f} s a pair; drawing {drawing:.2f} s a frame, picture and proxy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shots", nargs="*", default=[*NAMES, "synthetic", "memory"])
    parser.add_argument("--scale", type=float, default=1.0, help="of 4K plates; frames are held in memory")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for name in arguments.shots:
        if name == "memory":
            measure_memory()
        elif name == "synthetic":
            for seed in range(3):
                for moving in (True, False):
                    measure(f"synthetic {seed}{'' if moving else ', locked camera'}", *drawn(seed, moving))
        else:
            measure(name, *read(name, arguments.scale))


if __name__ == "__main__":
    main()
