"""Production mode: each of upstream's quirks beside what is done instead, on tiny random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_void import TinyModel
from void_client.errors import JobError

from void_engine.diffusion import VoidPipeline

SIZE = {"height": 16, "width": 32}  # a run costs as many seconds as it has pixels
SHORT = {**SIZE, "num_inference_steps": 2, "window_frames": 13, "overlap_frames": 8}


@pytest.fixture(scope="module")
def pipe(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> VoidPipeline:
    return load(tiny, tiny.pass1, tmp_path_factory.getbasetemp() / "prompts")


@pytest.fixture(scope="module")
def pipe2(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> VoidPipeline:
    return load(tiny, tiny.pass2, tmp_path_factory.getbasetemp() / "prompts")


def load(tiny: TinyModel, checkpoint: Path, cache: Path) -> VoidPipeline:
    """With a cache on disk: T5 is loaded once for all of these tests."""
    return VoidPipeline.from_pretrained(tiny.base, checkpoint, dtype=torch.float32, device="cpu", cache_dir=cache)


def shot(frames: int, seed: int = 0, height: int = 32, width: int = 64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (frames, -(-height // 4), -(-width // 4), 3), dtype=np.uint8)
    video = small.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]
    quadmask = np.full((frames, height, width), 255, np.uint8)
    quadmask[:, 4:16, 8:24] = 0
    quadmask[:, 16:28, 8:32] = 127
    quadmask[:, 12:16, 16:24] = 63
    return video, quadmask


@pytest.mark.parametrize("frames", [1, 2, 5, 13, 14, 27])
def test_the_result_has_exactly_the_clips_frames(pipe, frames):
    """Quirk: upstream's output is as long as the padded clip."""
    result = pipe(*shot(frames), "an empty table", **SHORT)
    assert result.frames.shape == (frames, 16, 32, 3)
    assert result.frames.dtype == np.float32
    assert result.frames.min() >= 0
    assert result.frames.max() <= 1
    longer = pipe(*shot(frames), "an empty table", mode="upstream", **SHORT)
    assert len(longer.frames) % 8 == 5


def test_the_mirrored_padding_is_cut_off_and_nothing_else(pipe):
    video, quadmask = shot(9)
    whole = pipe(video, quadmask, "an empty table", mode="upstream", **SHORT, trace=True)
    noise = {key: whole.trace[key] for key in ("init_latents", "inpaint_noise")}
    # A mask without edges inside a model's pixel is resized to the same in both modes.
    result = pipe(video, quadmask, "an empty table", **SHORT, **noise)
    assert len(whole.frames) == 13
    assert np.array_equal(result.frames, whole.frames[:9])


def test_86_frames_get_two_full_windows(pipe):
    """Quirk: upstream pads to 93 and leaves a last window of 6 latents."""
    calls = []
    result = pipe(
        *shot(86), "an empty table", height=16, width=32, num_inference_steps=1,
        callback=lambda p: calls.append((p.window, p.windows)) if p.stage == "denoise" else None,
    )  # fmt: skip
    assert len(result.frames) == 86
    assert {windows for _, windows in calls} == {2}


def test_one_seed_gives_one_shot_whatever_ran_before(pipe):
    """Quirk: upstream's one generator runs on from clip to clip, and the conditioning noise is unseeded."""
    first, second = shot(9, seed=1), shot(9, seed=2)
    alone = pipe(*second, "an empty table", **SHORT).frames
    pipe(*first, "an empty table", **SHORT)
    torch.manual_seed(1234)
    after = pipe(*second, "an empty table", **SHORT).frames
    assert np.array_equal(alone, after)
    assert not np.array_equal(alone, pipe(*second, "an empty table", **SHORT, seed=43).frames)


@pytest.mark.parametrize(("mode", "levels"), [("production", [0.0, 127 / 255, 1.0]), ("upstream", [0.0, 1.0])])
def test_pass_2_sees_three_levels_of_the_mask(pipe2, mode, levels):
    """Quirk: upstream's pass 2 cuts at one half, so that what is affected is removed."""
    result = pipe2(*shot(5), "an empty table", pass_number=2, mode=mode, **SHORT, trace=True)
    assert np.unique(result.trace["mask_condition"].numpy()) == pytest.approx(levels)


def test_pass_2_takes_clips_of_any_length_in_windows(pipe2):
    """Quirk: upstream makes noise for one window only and fails beyond."""
    video, quadmask = shot(30)
    result = pipe2(video, quadmask, "an empty table", pass_number=2, guidance_scale=6.0, motion=video, **SHORT)
    assert len(result.frames) == 30


def test_pass_2_starts_from_unit_noise(pipe2):
    """Quirk: upstream's warped noise has a standard deviation of 0.66, and its neighbours are correlated."""
    video, quadmask = shot(13)
    settings = {**SHORT, "height": 64, "width": 96, "num_inference_steps": 1}
    noise = pipe2(video, quadmask, "a table", pass_number=2, motion=video, **settings, trace=True).trace["init_latents"]
    samples = noise.numel()
    assert float(noise.mean()) == pytest.approx(0.0, abs=5 / samples**0.5)
    assert float(noise.std()) == pytest.approx(1.0, abs=5 / (2 * samples) ** 0.5 + 1e-3)
    beside = float((noise[..., 1:] * noise[..., :-1]).mean())
    assert beside == pytest.approx(0.0, abs=5 / samples**0.5)


def test_pass_2_without_motion_says_so(pipe2):
    result = pipe2(*shot(5), "an empty table", pass_number=2, **SHORT)
    assert any("follows no motion" in note for note in result.notes)


def test_regions_are_resized_by_themselves(pipe):
    """Quirk: the average of 0 and 255 along an edge is read as 63 or 127: rings that nobody drew."""
    video, _ = shot(5, height=30, width=60)
    quadmask = np.full((5, 30, 60), 255, np.uint8)
    quadmask[:, 5:17, 7:31] = 0
    found = {}
    for mode in ("production", "upstream"):
        result = pipe(video, quadmask, "an empty table", mode=mode, **SHORT, trace=True)
        found[mode] = set(np.unique(result.trace["prepared_mask"].numpy()))
    assert found["production"] == {0.0, 1.0}
    assert found["upstream"] - {0.0, 1.0}


def test_a_thin_object_does_not_vanish_from_the_mask(pipe):
    video, _ = shot(5)
    quadmask = np.full((5, 32, 64), 255, np.uint8)
    quadmask[:, 10:11, 4:60] = 0  # a wire, half a model's pixel wide
    result = pipe(video, quadmask, "an empty table", **SHORT, trace=True)
    assert (result.trace["mask_condition"][0, 0, 0, 5, 2:30] == 1).all()


def test_frames_smaller_than_the_model_are_enlarged_smoothly(pipe):
    video, quadmask = shot(5, height=8, width=16)
    result = pipe(video, quadmask, "an empty table", **SHORT, trace=True)
    prepared = result.trace["prepared_video"]
    assert prepared.shape[-2:] == (16, 32)
    assert 0 <= float(prepared.min()) <= float(prepared.max()) <= 1
    blocky = pipe(video, quadmask, "an empty table", mode="upstream", **SHORT, trace=True).trace["prepared_video"]
    jumps = [float((p[..., 1:] - p[..., :-1]).abs().max()) for p in (prepared, blocky)]
    assert jumps[0] < jumps[1]


def test_floats_and_bytes_of_one_picture_give_one_result(pipe):
    video, quadmask = shot(5)
    as_floats = pipe(video.astype(np.float32) / 255, quadmask, "an empty table", **SHORT).frames
    assert np.array_equal(as_floats, pipe(video, quadmask, "an empty table", **SHORT).frames)


def test_frames_come_one_at_a_time_from_any_sequence(pipe):
    video, quadmask = shot(9)

    class Lazy:
        def __init__(self, array: np.ndarray) -> None:
            self.array = array

        def __len__(self) -> int:
            return len(self.array)

        def __getitem__(self, position: int) -> np.ndarray:
            return self.array[position].copy()

    lazy = pipe(Lazy(video), Lazy(quadmask), "an empty table", **SHORT).frames
    assert np.array_equal(lazy, pipe(video, quadmask, "an empty table", **SHORT).frames)


def test_guidance_changes_the_picture_and_the_negative_prompt_counts(pipe):
    clip = shot(5)
    plain = pipe(*clip, "an empty table", **SHORT).frames
    guided = pipe(*clip, "an empty table", guidance_scale=6.0, **SHORT).frames
    away = pipe(*clip, "an empty table", "a ball", guidance_scale=6.0, **SHORT).frames
    assert np.abs(plain - guided).max() > 1e-3
    assert np.abs(away - guided).max() > 1e-6


def bad_video(**changes: object) -> np.ndarray:
    video = shot(5)[0].astype(np.float32) / 255
    for value in changes.values():
        video[3, 4, 5, 1] = value
    return video


@pytest.mark.parametrize(
    ("video", "quadmask", "message"),
    [
        (np.zeros((0, 32, 64, 3), np.uint8), np.zeros((0, 32, 64), np.uint8), "no frames"),
        (shot(5)[0], shot(6)[1], "5 frames and its quadmask 6"),
        (shot(5)[0], shot(5, height=16)[1], "quadmask 16 x 64"),
        (shot(5)[0][..., :1], shot(5)[1], "shape"),
        (shot(5)[0].astype(np.int32), shot(5)[1], "int32"),
        (shot(5)[0], shot(5)[1].astype(np.float32), "float32"),
        (bad_video(pixel=np.nan), shot(5)[1], "position 3"),
        (bad_video(pixel=np.inf), shot(5)[1], "position 3"),
        (bad_video(pixel=-0.1), shot(5)[1], "position 3"),
        (bad_video(pixel=1.5), shot(5)[1], "position 3"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_position(pipe, video, quadmask, message):
    with pytest.raises(JobError, match=message):
        pipe(video, quadmask, "an empty table", **SHORT)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"height": 50}, "height"),
        ({"width": 0}, "width"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"guidance_scale": 0.5}, "guidance_scale"),
        ({"guidance_scale": float("nan")}, "guidance_scale"),
        ({"pass_number": 3}, "pass_number"),
        ({"mode": "fast"}, "mode"),
        ({"window_frames": 84}, "window_frames"),
        ({"overlap_frames": 6}, "overlap_frames"),
        ({"seed": -1}, "seed"),
        ({"max_frames": 4}, "max_frames"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(pipe, settings, key):
    with pytest.raises(JobError) as caught:
        pipe(*shot(5), "an empty table", **{**SHORT, **settings})
    assert caught.value.details["key"] == key


def test_upstreams_windows_that_end_in_an_odd_number_of_latents_are_refused(pipe):
    """Quirk: upstream crashes inside the transformer."""
    with pytest.raises(JobError, match="odd"):
        pipe(*shot(21), "an empty table", mode="upstream", **{**SHORT, "overlap_frames": 4})
    assert len(pipe(*shot(21), "an empty table", **{**SHORT, "overlap_frames": 4}).frames) == 21


def test_initial_noise_of_the_wrong_shape_is_refused(pipe):
    with pytest.raises(JobError, match="init_latents"):
        pipe(*shot(5), "an empty table", **SHORT, init_latents=np.zeros((1, 2, 16, 2, 8), np.float32))


def test_motion_of_another_length_is_refused(pipe2):
    video, quadmask = shot(5)
    with pytest.raises(JobError, match="motion"):
        pipe2(video, quadmask, "an empty table", pass_number=2, motion=video[:4], **SHORT)
