"""The plate of a standing camera: the mean of what most frames show, alive by other frames' detail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.camera_shots import Frame, Scene, render
from helpers.memory_clip import CountingClip, MemoryClip, MemoryContext, MemoryFrames, request
from void_client.errors import Cancelled

from void_engine.cleanplate import CleanplateEngine, pixels
from void_engine.cleanplate.background import find_background
from void_engine.cleanplate.options import read_options
from void_engine.contact_sheet import psnr
from void_engine.interface import KEEP, REMOVE, RGB


@pytest.fixture(scope="module")
def arm() -> list[Frame]:
    """An arm covers the lamps' wall more than half of the time."""
    return list(render(Scene("arm", "static", 384, 216, 10, arm=True)))


def clip_of(frames: list[Frame]) -> MemoryClip:
    return MemoryClip([frame.plate for frame in frames], [frame.quadmask for frame in frames])


def run(clip: MemoryClip, folder: Path, **options: Any) -> tuple[MemoryFrames, dict[str, Any]]:
    engine, out = CleanplateEngine(), MemoryFrames(clip)
    return out, engine.generate(clip, request(0, engine.check_options(options)), out, MemoryContext(folder))


def quality(out: MemoryFrames, frames: list[Frame]) -> float:
    pairs = enumerate(frames)
    return float(np.mean([psnr(out.result(k), frame.truth, frame.quadmask != KEEP) for k, frame in pairs]))


def wall(height: int, width: int) -> RGB:
    coarse = np.random.default_rng(1).uniform(0.05, 0.5, (height // 5, width // 5, 3)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def test_behind_an_arm_the_plate_is_as_good_as_another_take(arm: list[Frame], tmp_path: Path) -> None:
    out, facts = run(clip_of(arm), tmp_path)
    again = [psnr(frame.again, frame.truth, frame.quadmask != KEEP) for frame in arm]
    assert facts["camera"] == "locked"
    assert quality(out, arm) > np.mean(again) - 0.5
    lit = [(frame.truth.max(axis=2) > 100.0) & (frame.quadmask != KEEP) for frame in arm]
    assert sum(int(where.sum()) for where in lit) > 20
    for position, (frame, where) in enumerate(zip(arm, lit, strict=True)):
        np.testing.assert_allclose(out.result(position)[where], frame.truth[where], rtol=0.1)
        kept = frame.quadmask == KEEP
        assert np.array_equal(out.result(position)[kept], frame.plate[kept])


def test_without_grain_it_is_better_than_any_one_frame(arm: list[Frame], tmp_path: Path) -> None:
    bare, _ = run(clip_of(arm), tmp_path / "bare", grain=0.0)
    again = np.mean([psnr(frame.again, frame.truth, frame.quadmask != KEEP) for frame in arm])
    assert quality(bare, arm) > again + 1.5


def test_light_that_drifts_before_a_standing_camera_is_matched(tmp_path: Path) -> None:
    frames = list(render(Scene("drift", "static", 256, 144, 8, drift=1.0)))
    out, _ = run(clip_of(frames), tmp_path)
    again = np.mean([psnr(frame.again, frame.truth, frame.quadmask != KEEP) for frame in frames])
    assert quality(out, frames) > again - 1.5


def test_cut_short_anywhere_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    frames = list(render(Scene("still", "static", 192, 108, 5)))
    clip = clip_of(frames)
    whole, facts = run(clip, tmp_path / "whole")
    engine, out = CleanplateEngine(), MemoryFrames(clip)
    job = request(0, engine.check_options({}))
    # Reading, tracking, averaging, planning, filling, painting.
    for step in range(3, 33, 3):
        with pytest.raises(Cancelled):
            engine.generate(clip, job, out, MemoryContext(tmp_path / "cut", cancel_at=step))
    assert engine.generate(clip, job, out, MemoryContext(tmp_path / "cut")) == facts
    assert all(np.array_equal(out.frames[k], whole.frames[k]) for k in whole.frames)


def test_a_longer_clip_holds_no_more_frames_at_once(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    scene = wall(90, 160)
    alive = []
    for count in (6, 30):
        plates, quadmasks = [], []
        for index in range(count):
            left = round(20 + 100 * index / count)
            plate = scene + np.float32(0.004) * random.standard_normal(scene.shape, dtype=np.float32)
            plate[30:60, left : left + 20] = 0.9
            quadmask = np.full(scene.shape[:2], KEEP, np.uint8)
            quadmask[28:62, left - 2 : left + 22] = REMOVE
            plates.append(plate)
            quadmasks.append(quadmask)
        clip = CountingClip(plates, quadmasks)
        assert run(clip, tmp_path / str(count))[1]["camera"] == "locked"
        alive.append(clip.most_alive)
        assert clip.decoded < 8 * count
    assert alive[0] == alive[1] <= 3


def test_water_stays_alive(tmp_path: Path) -> None:
    """A surface that moves by itself is not averaged away."""
    scene = wall(100, 160)
    y, x = np.mgrid[0:100, 0:160].astype(np.float32)
    truth, quadmasks = [], []
    for index in range(12):
        ripple = 0.06 * np.sin(x / 4.0 + y / 6.0 + 1.9 * index) * (y > 60)
        truth.append((scene + ripple[..., None]).astype(np.float32))
        quadmask = np.full((100, 160), KEEP, np.uint8)
        left = 10 + 10 * index
        quadmask[65:90, left : left + 24] = REMOVE
        quadmasks.append(quadmask)
    plates = [
        np.where((q == KEEP)[..., None], t, 0.9).astype(np.float32) for t, q in zip(truth, quadmasks, strict=True)
    ]
    out, facts = run(MemoryClip(plates, quadmasks), tmp_path)
    assert facts["camera"] == "locked"
    holes = [quadmask != KEEP for quadmask in quadmasks]
    mean = np.mean(truth, axis=0)
    lively = [float(np.abs(out.result(k) - mean)[hole].mean()) for k, hole in enumerate(holes)]
    wanted = [float(np.abs(truth[k] - mean)[hole].mean()) for k, hole in enumerate(holes)]
    assert np.mean(lively) > 0.7 * np.mean(wanted)


def test_the_grain_of_one_frame_is_not_lent_to_frame_after_frame(tmp_path: Path) -> None:
    """The two frames that show what a standing thing hides lend their detail in turn."""
    size, count = (72, 128), 12
    plates, masks = [], []
    for position in range(count):
        mask = np.full(size, KEEP, np.uint8)
        mask[16:56, 50:74] = KEEP if position in (7, 10) else REMOVE
        noise = np.random.default_rng(position).standard_normal((*size, 3)).astype(np.float32)
        plates.append(wall(*size) + 0.01 * noise)
        masks.append(mask)
    behind = find_background(MemoryClip(plates, masks), tmp_path, read_options({}), lambda note: None)
    assert behind.backdrop is not None
    lent = np.zeros((count, *size), np.int32)
    for position, plan in behind.plans.items():
        for label, source in enumerate(plan.sources):
            lent[position] += (source + 1) * pixels.within(plan.labels == label, plan.box, (0, 0, size[1], size[0]))
    both = (lent[1:] > 0) & (lent[:-1] > 0)
    assert both.sum() > 1000
    assert (both & (lent[1:] == lent[:-1])).sum() < 0.2 * both.sum()


@pytest.mark.parametrize("camera", ["static", "handheld"])
def test_a_frames_plan_is_no_larger_than_its_hole(camera: str, tmp_path: Path) -> None:
    """A view of a whole proxy's mask would keep all of it in memory, for every frame of the clip."""
    clip = clip_of(list(render(Scene("short", camera, 320, 180, 4, radius=0.06))))
    for plan in find_background(clip, tmp_path, read_options({}), lambda note: None).plans.values():
        for array in plan.to_arrays().values():
            assert array.base is None or array.base.nbytes == array.nbytes
