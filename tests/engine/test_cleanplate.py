"""The cleanplate engine against known truth, and at the edges of what a clip can be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.memory_clip import CountingClip, MemoryClip, MemoryContext, MemoryFrames, request
from void_client.errors import Cancelled, JobError, MaskError

from void_engine.cleanplate import CleanplateEngine, shaper
from void_engine.contact_sheet import per_frame_inpaint, psnr
from void_engine.interface import AFFECTED, KEEP, REMOVE, Quadmask
from void_engine.synthetic import SyntheticFrame, render_shot


def run(
    clip: MemoryClip, folder: Path, *, seed: int = 0, options: dict[str, Any] | None = None
) -> tuple[MemoryFrames, dict[str, Any]]:
    engine = CleanplateEngine()
    out = MemoryFrames(clip)
    facts = engine.generate(clip, request(seed, engine.check_options(options or {})), out, MemoryContext(folder))
    json.dumps(facts)
    return out, facts


def clip_of(frames: list[SyntheticFrame]) -> MemoryClip:
    return MemoryClip([frame.plate for frame in frames], [frame.quadmask for frame in frames])


def bits(out: MemoryFrames) -> list[bytes]:
    return [out.frames[position].tobytes() for position in sorted(out.frames)]


def keep(height: int, width: int) -> Quadmask:
    return np.full((height, width), KEEP, dtype=np.uint8)


def boxed(height: int, width: int, box: tuple[int, int, int, int]) -> Quadmask:
    quadmask = keep(height, width)
    quadmask[box[1] : box[3], box[0] : box[2]] = REMOVE
    return quadmask


@pytest.fixture(scope="module")
def moving() -> list[SyntheticFrame]:
    return list(render_shot(384, 216, 12, seed=4))


@pytest.fixture(scope="module")
def static_hole() -> MemoryClip:
    """A camera that stands still before an object that stands still: nothing behind it is ever seen."""
    frames = list(render_shot(192, 108, 4, seed=2, moving=False))
    return MemoryClip([frame.truth for frame in frames], [boxed(108, 192, (70, 40, 110, 80))] * 4)


@pytest.fixture(scope="module")
def moving_run(
    moving: list[SyntheticFrame], tmp_path_factory: pytest.TempPathFactory
) -> tuple[CountingClip, MemoryFrames, dict[str, Any]]:
    clip = CountingClip([frame.plate for frame in moving], [frame.quadmask for frame in moving])
    return clip, *run(clip, tmp_path_factory.mktemp("moving"))


def test_the_revealed_background_beats_inpainting_by_far(
    moving: list[SyntheticFrame], moving_run: tuple[CountingClip, MemoryFrames, dict[str, Any]]
) -> None:
    clip, out, facts = moving_run
    clean, plain = [], []
    for position, frame in enumerate(moving):
        hole = frame.quadmask != KEEP
        clean.append(psnr(out.result(position), frame.truth, hole))
        plain.append(psnr(per_frame_inpaint(frame.plate, hole), frame.truth, hole))
        assert np.array_equal(out.result(position)[~hole], frame.plate[~hole])
    assert np.mean(clean) > np.mean(plain) + 8.0
    assert min(clean) > np.mean(plain) + 4.0
    assert facts["camera"] == "moving"
    assert facts["revealed"] > 0.95
    assert [frame["frame"] for frame in facts["frames"]] == list(clip.numbers)


def test_a_locked_camera_gives_the_background_back_without_resampling(tmp_path: Path) -> None:
    frames = list(render_shot(256, 144, 8, seed=1, moving=False, grain=0.0))
    clip = clip_of(frames)
    out, facts = run(clip, tmp_path)
    assert facts["camera"] == "locked"
    for position, frame in enumerate(frames):
        hole = frame.quadmask != KEEP
        away = np.abs(out.result(position) - frame.truth).max(axis=2)
        revealed = facts["frames"][position]["revealed"]
        assert out.confidence[position][hole].mean() == pytest.approx(revealed, abs=0.05)
        assert (out.confidence[position][~hole] == 1).all()
        seen = hole & (out.confidence[position] == 1)
        assert seen.sum() > 0.95 * revealed * hole.sum() - 0.02 * hole.sum()
        # Shadows are taken off, which is close and not exact.
        assert np.mean(away[seen & (frame.quadmask != AFFECTED)] < 2e-4) > 0.99
        assert np.mean(away[seen & (frame.quadmask == AFFECTED)] < 0.02) > 0.97


def test_the_same_request_gives_the_same_bits_and_another_seed_another_fill(
    static_hole: MemoryClip, tmp_path: Path
) -> None:
    first, facts = run(static_hole, tmp_path / "a", seed=1)
    again, _ = run(static_hole, tmp_path / "b", seed=1)
    other, _ = run(static_hole, tmp_path / "c", seed=2)
    assert facts["revealed"] == 0.0
    assert facts["fills"]
    assert bits(first) == bits(again)
    assert bits(first) != bits(other)


def test_a_fill_does_not_boil(static_hole: MemoryClip, tmp_path: Path) -> None:
    out, _ = run(static_hole, tmp_path)
    hole = static_hole.quadmask(0) != KEEP
    shown = [shaper.encode(out.frames[position])[hole] for position in range(4)]
    # The plate's own grain changes by about 0.02 here; another fill of this wall changes by far more.
    assert max(np.abs(a - b).mean() for a, b in zip(shown, shown[1:], strict=False)) < 0.04
    other, _ = run(static_hole, tmp_path / "other", seed=9)
    assert np.abs(shaper.encode(other.frames[0])[hole] - shown[0]).mean() > 0.0


class _Killed(Exception):
    pass


class _DyingFrames(MemoryFrames):
    """Dies when the frame after ``alive`` ones is written."""

    def __init__(self, clip: MemoryClip, alive: int) -> None:
        super().__init__(clip)
        self.alive = alive

    def write(self, position: int, rgb: np.ndarray, confidence: np.ndarray | None = None) -> None:
        if len(self.frames) >= self.alive:
            raise _Killed
        super().write(position, rgb, confidence)


def test_a_killed_run_goes_on_to_the_same_bits(moving: list[SyntheticFrame], tmp_path: Path) -> None:
    clip = clip_of(moving[:4])
    whole, facts = run(clip, tmp_path / "whole", seed=7)
    dying = _DyingFrames(clip, 2)
    engine, job = CleanplateEngine(), request(7, CleanplateEngine().check_options({}))
    with pytest.raises(_Killed):
        engine.generate(clip, job, dying, MemoryContext(tmp_path / "killed"))
    dying.alive = 100
    assert engine.generate(clip, job, dying, MemoryContext(tmp_path / "killed")) == facts
    assert bits(dying) == bits(whole)


def test_being_killed_anywhere_does_not_change_the_bits(static_hole: MemoryClip, tmp_path: Path) -> None:
    whole, _ = run(static_hole, tmp_path / "whole", seed=3)
    engine, job = CleanplateEngine(), request(3, CleanplateEngine().check_options({}))
    out = MemoryFrames(static_hole)
    for step in range(2, 24, 3):
        with pytest.raises(Cancelled):
            engine.generate(static_hole, job, out, MemoryContext(tmp_path / "cut", cancel_at=step))
    engine.generate(static_hole, job, out, MemoryContext(tmp_path / "cut"))
    assert bits(out) == bits(whole)


def test_steps_are_counted_to_a_total_known_from_the_start_and_cancelling_is_prompt(
    static_hole: MemoryClip, tmp_path: Path
) -> None:
    engine, job = CleanplateEngine(), request(0, CleanplateEngine().check_options({}))
    context = MemoryContext(tmp_path / "whole")
    engine.generate(static_hole, job, MemoryFrames(static_hole), context)
    assert [step for step, _, _ in context.steps] == list(range(1, context.steps[0][1] + 1))
    assert len({of for _, of, _ in context.steps}) == 1
    assert all(note for _, _, note in context.steps)
    for at in (1, 3, 9, 14, 22):
        cut = MemoryContext(tmp_path / f"cut{at}", cancel_at=at)
        with pytest.raises(Cancelled):
            engine.generate(static_hole, job, MemoryFrames(static_hole), cut)
        assert cut.steps[-1][0] == at


def test_few_frames_are_alive_at_once_and_each_is_decoded_few_times(
    moving_run: tuple[CountingClip, MemoryFrames, dict[str, Any]],
) -> None:
    clip = moving_run[0]
    assert clip.most_alive <= 3
    assert clip.decoded < 8 * len(clip.numbers)


def test_frames_without_a_hole_are_left_alone(tmp_path: Path) -> None:
    frames = list(render_shot(128, 72, 4, seed=3))
    quadmasks = [keep(72, 128), boxed(72, 128, (50, 30, 70, 50)), keep(72, 128), keep(72, 128)]
    out, facts = run(MemoryClip([frame.truth for frame in frames], quadmasks), tmp_path)
    assert sorted(out.frames) == [1]
    assert len(facts["frames"]) == 1


def test_a_clip_without_any_hole_is_done_at_once(tmp_path: Path) -> None:
    out, facts = run(MemoryClip([np.ones((40, 60, 3), dtype=np.float32)] * 2, [keep(40, 60)] * 2), tmp_path)
    assert out.frames == {}
    assert facts["frames"] == []


def test_a_single_frame_is_filled(tmp_path: Path) -> None:
    frame = next(render_shot(192, 108, 1, seed=3))
    out, facts = run(clip_of([frame]), tmp_path)
    hole = frame.quadmask != KEEP
    assert facts["frames"][0]["filled"] == 1.0
    assert psnr(out.result(0), frame.truth, hole) > psnr(frame.plate, frame.truth, hole)


def test_a_mask_that_leaves_nothing_is_an_error_that_helps(tmp_path: Path) -> None:
    clip = MemoryClip([np.ones((30, 40, 3), dtype=np.float32)] * 2, [np.zeros((30, 40), dtype=np.uint8)] * 2)
    with pytest.raises(MaskError, match="inverted"):
        run(clip, tmp_path)


def test_a_frame_that_is_all_hole_is_taken_from_the_others(tmp_path: Path) -> None:
    frames = list(render_shot(128, 72, 3, seed=3, moving=False, grain=0.0))
    quadmasks = [keep(72, 128), np.zeros((72, 128), dtype=np.uint8), keep(72, 128)]
    out, _ = run(MemoryClip([frame.truth for frame in frames], quadmasks), tmp_path)
    np.testing.assert_allclose(out.frames[1], frames[1].truth, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (3, 40), (33, 17)])
@pytest.mark.parametrize("count", [1, 3])
def test_tiny_plates(size: tuple[int, int], count: int, tmp_path: Path) -> None:
    width, height = size
    plates = [np.full((height, width, 3), 0.2, dtype=np.float32)] * count
    quadmasks = [boxed(height, width, (0, 0, max(1, width // 2), max(1, height // 2)))] * (count - 1)
    quadmasks += [keep(height, width)] if count > 1 else [boxed(height, width, (0, 0, width // 2, height))]
    out, _ = run(MemoryClip(plates, quadmasks), tmp_path)
    for position in out.frames:
        assert np.allclose(out.result(position), 0.2, atol=0.02)


@pytest.mark.parametrize("light", [0.0, -0.01, 0.18, 10000.0, 1e-4])
def test_flat_plates_stay_flat(light: float, tmp_path: Path) -> None:
    plates = [np.full((60, 80, 3), light, dtype=np.float32)] * 3
    out, _ = run(MemoryClip(plates, [boxed(60, 80, (20, 20, 50, 60))] * 3), tmp_path)
    for position in out.frames:
        np.testing.assert_allclose(out.result(position), light, rtol=0.02, atol=2e-4)


def test_negative_light_and_highlights_come_through(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    plate = random.uniform(0.0, 0.5, (90, 120, 3)).astype(np.float32)
    plate[40:50, 50:60] = 10000.0
    plate[50:60, 50:60] = -0.02
    plates = [plate] * 4
    quadmasks = [boxed(90, 120, (40, 30, 70, 70)), keep(90, 120), keep(90, 120), keep(90, 120)]
    out, _ = run(MemoryClip(plates, quadmasks), tmp_path)
    np.testing.assert_allclose(out.frames[0][30:70, 40:70], plate[30:70, 40:70], rtol=1e-3, atol=1e-4)


def test_pixels_outside_a_frames_own_window_are_not_taken(tmp_path: Path) -> None:
    frames = list(render_shot(160, 90, 4, seed=6, moving=False))
    valid = np.ones((90, 160), dtype=bool)
    valid[:, :60] = False
    # Where a frame has no pixels the clip gives black: it must show up nowhere.
    plates = [np.where(valid[..., None], frame.truth, np.float32(0.0)) for frame in frames]
    quadmasks = [boxed(90, 160, (50, 30, 90, 90)), *[keep(90, 160)] * 3]
    out, _ = run(MemoryClip(plates, quadmasks, [valid] * 4), tmp_path)
    inside = out.frames[0][35:85, 66:88]
    assert np.isfinite(out.frames[0]).all()
    assert psnr(inside, frames[0].truth[35:85, 66:88], np.ones(inside.shape[:2], dtype=bool)) > 25.0


def test_a_whole_pixel_pan_is_not_softened(tmp_path: Path) -> None:
    wide = next(render_shot(640, 180, 1, seed=8, moving=False, grain=0.0)).truth
    plates = [np.ascontiguousarray(wide[:, 10 * k : 10 * k + 320]) for k in range(8)]
    quadmasks = [boxed(180, 320, (140, 60, 180, 110))] * 8
    out, facts = run(MemoryClip(plates, quadmasks), tmp_path)
    assert facts["camera"] == "moving"
    revealed = np.array([frame["revealed"] for frame in facts["frames"]])
    assert revealed.min() > 0.5
    exact = [
        np.mean(
            np.abs(out.result(k) - plates[k])[60:110, 140:180].max(axis=2)
            < 2e-3 * (1 + plates[k][60:110, 140:180].max())
        )
        for k in range(8)
    ]
    assert np.mean(exact) > 0.8


def test_the_shaper_is_monotone_and_invertible() -> None:
    light = np.array([-5.0, -0.01, 0.0, 1e-6, 0.18, 1.0, 60.0, 10000.0, 65504.0], dtype=np.float32)
    for exposure in (1.0, 2.0**-8, 2.0**12):
        code = shaper.encode(light, exposure)
        assert np.all(np.diff(code) > 0)
        np.testing.assert_allclose(shaper.decode(code, exposure), light, rtol=1e-5, atol=1e-9)
    assert np.isfinite(shaper.decode(np.array([1e9, -1e9], dtype=np.float32))).all()


@pytest.mark.parametrize(
    "options",
    [{"serach_frames": 3}, {"patch_size": 0}, {"grain": "much"}, {"search_frames": True}, {"margin": 2.5}],
)
def test_a_bad_option_is_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(JobError) as caught:
        CleanplateEngine().check_options(options)
    assert caught.value.details["key"] == next(iter(options))


def test_options_are_filled_in_and_stay_what_they_are() -> None:
    engine = CleanplateEngine()
    filled = engine.check_options({"grain": 0})
    assert filled["grain"] == 0.0
    assert engine.check_options(filled) == filled


def test_without_searching_everything_is_filled(moving: list[SyntheticFrame], tmp_path: Path) -> None:
    _, facts = run(clip_of(moving[:2]), tmp_path, options={"search_frames": 0})
    assert facts["revealed"] == 0.0
