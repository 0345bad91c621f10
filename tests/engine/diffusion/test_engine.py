"""The engine ``void`` on clips: options, size, passes, going on after a kill. Weights are tiny and random."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from helpers.memory_clip import CountingClip, MemoryClip, MemoryContext, MemoryFrames
from helpers.tiny_void import TinyModel
from void_client.errors import Cancelled, EngineUnavailable, JobError

from void_engine.diffusion.engine import VoidEngine
from void_engine.diffusion.options import read_options
from void_engine.interface import GenerateRequest, Host
from void_engine.quadmask import resized

SMALL = {"height": 16, "width": 32, "steps": 3, "steps_2": 2, "window_frames": 13, "overlap_frames": 8}


def clip(frames: int = 6, height: int = 64, width: int = 96, kind: type[MemoryClip] = MemoryClip) -> MemoryClip:
    rng = np.random.default_rng(5)
    base = rng.random((height // 8, width // 8, 3)).astype(np.float32).repeat(8, 0).repeat(8, 1)
    masks = np.full((frames, height, width), 255, np.uint8)
    masks[1:, 16:40, 24:60] = 0
    masks[1:, 40:48, 24:60] = 127
    return kind([np.roll(base, i, axis=1) * 2 for i in range(frames)], list(masks))


def request(seed: int = 1, **options: object) -> GenerateRequest:
    return GenerateRequest(seed=seed, prompt="an empty table", options=asdict(read_options({**SMALL, **options})))


@pytest.fixture(scope="module")
def engine(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> VoidEngine:
    # memory full: both passes stay loaded.
    return VoidEngine(Host(models=tiny.root, memory="full", cache=tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def whole(engine: VoidEngine, tmp_path_factory: pytest.TempPathFactory) -> MemoryFrames:
    """Both passes, uninterrupted."""
    return run(engine, clip(), tmp_path_factory.mktemp("whole"), passes=2)[0]


def run(engine: VoidEngine, shot_clip: MemoryClip, scratch: Path, **options: object) -> tuple[MemoryFrames, dict]:
    out = MemoryFrames(shot_clip)
    return out, engine.generate(shot_clip, request(**options), out, MemoryContext(scratch))


def test_frames_with_a_hole_are_written_at_the_plates_size_and_others_are_not(engine, tmp_path):
    plates = clip()
    out, facts = run(engine, plates, tmp_path / "scratch")
    assert sorted(out.frames) == [1, 2, 3, 4, 5]
    assert facts["regions"][0]["model_size"] == [32, 16]
    assert all(frame.shape == (64, 96, 3) for frame in out.frames.values())


def test_the_same_clip_and_seed_give_the_same_bits_and_another_seed_others(engine, whole, tmp_path):
    plates = clip()
    again, _ = run(engine, plates, tmp_path / "b", passes=2)
    other, _ = run(engine, plates, tmp_path / "c", passes=2, seed=2)
    for position, frame in whole.frames.items():
        assert np.array_equal(frame, again.frames[position])
        assert not np.array_equal(frame, other.frames[position])


def test_pass_2_follows_pass_1(engine, whole, tmp_path):
    plates = clip()
    one, _ = run(engine, plates, tmp_path / "one")
    two, facts = run(engine, plates, tmp_path / "two", passes=2)
    assert not np.array_equal(one.frames[1], two.frames[1])
    assert np.array_equal(whole.frames[1], two.frames[1])
    assert facts["regions"][0]["notes"] == []  # it had the motion


def test_a_draft_is_one_pass_of_few_steps_at_half_the_size():
    draft = read_options({"profile": "draft", "passes": 2})
    assert (draft.passes, draft.steps) == (1, 8)
    final = read_options({})
    assert final.size_for(1080, 1920) == (384, 672)
    assert draft.size_for(1080, 1920) == (192, 336)


@pytest.mark.parametrize(
    ("height", "width"), [(2160, 4096), (1080, 1920), (1716, 4096), (1080, 1080), (1920, 1080), (9, 4000)]
)
def test_the_models_size_has_the_plates_aspect_and_the_area_that_was_learned(height, width):
    """Quirk: upstream squeezes every plate to 384 x 672."""
    rows, columns = read_options({}).size_for(height, width)
    assert rows % 16 == columns % 16 == 0
    if 0.3 < width / height < 3:
        assert columns / rows == pytest.approx(width / height, rel=0.06)
        assert rows * columns == pytest.approx(384 * 672, rel=0.06)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"step": 3}, "step"),
        ({"steps": 0}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"steps": True}, "steps"),
        ({"passes": 3}, "passes"),
        ({"profile": "best"}, "profile"),
        ({"guidance": 0.5}, "guidance"),
        ({"guidance": "6"}, "guidance"),
        ({"height": 384}, "width"),
        ({"height": 390, "width": 672}, "height"),
        ({"window_frames": 80}, "window_frames"),
        ({"window_frames": 21, "overlap_frames": 20}, "overlap_frames"),
        ({"negative_prompt": 3}, "negative_prompt"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(engine, options, key):
    with pytest.raises(JobError) as caught:
        engine.check_options(options)
    assert caught.value.details["key"] == key


def test_without_models_the_error_says_what_to_run():
    with pytest.raises(EngineUnavailable, match="void models fetch"):
        VoidEngine(Host()).identity(read_options({}).__dict__)


def test_without_pass_2_two_passes_are_refused_and_one_is_not(tiny, tmp_path):
    root = tmp_path / "models"
    root.mkdir()
    (root / tiny.base.name).symlink_to(tiny.base)
    (root / tiny.pass1.name).symlink_to(tiny.pass1)
    engine = VoidEngine(Host(models=root, cache=tmp_path / "cache"))
    assert engine.identity(asdict(read_options({})))["model.pass1"]
    with pytest.raises(EngineUnavailable, match="void_pass2"):
        engine.identity(asdict(read_options({"passes": 2})))


def test_the_metadata_says_that_the_weights_are_tiny_and_random(engine):
    identity = engine.identity(asdict(read_options({})))
    assert "tiny random weights" in identity["model.note"]
    assert identity["model.numbers"] == "float32"
    assert "model.pass2" not in identity


def test_progress_rises_to_its_end_and_names_steps_and_passes(engine, tmp_path):
    context = MemoryContext(tmp_path / "scratch")
    plates = clip(frames=20)
    engine.generate(plates, request(passes=2), MemoryFrames(plates), context)
    done = [step for step, _, _ in context.steps]
    assert done == sorted(done)
    assert done[-1] == context.steps[-1][1] == 2000
    notes = {note for _, _, note in context.steps}
    assert "pass 1: step 3 of 3, window 2 of 2" in notes
    assert "pass 2: following the motion" in notes


@pytest.mark.parametrize("cancel_at", [20, 150, 900, 960, 1300, 1800])
def test_a_cancelled_run_goes_on_with_the_same_bits(engine, whole, tmp_path, cancel_at):
    plates = clip()
    out = MemoryFrames(plates)
    with pytest.raises(Cancelled):
        engine.generate(plates, request(passes=2), out, MemoryContext(tmp_path / "cut", cancel_at=cancel_at))
    engine.generate(plates, request(passes=2), out, MemoryContext(tmp_path / "cut"))
    assert all(np.array_equal(out.frames[position], frame) for position, frame in whole.frames.items())


def test_finished_latents_are_not_denoised_again(engine, tmp_path):
    plates = clip()
    out = MemoryFrames(plates)
    with pytest.raises(Cancelled):
        engine.generate(plates, request(), out, MemoryContext(tmp_path / "cut", cancel_at=960))
    context = MemoryContext(tmp_path / "cut")
    engine.generate(plates, request(), out, context)
    assert not [note for _, _, note in context.steps if "step" in note]


def test_each_plate_is_decoded_once_and_few_are_alive(engine, tmp_path):
    plates = clip(frames=20, kind=CountingClip)
    run(engine, plates, tmp_path / "scratch")
    assert plates.decoded == 20
    assert plates.most_alive <= 2


def test_weights_stay_loaded_from_job_to_job(engine, tmp_path, monkeypatch):
    from void_engine.diffusion import pipeline

    run(engine, clip(), tmp_path / "first")
    monkeypatch.setattr(pipeline, "load_transformer", None)
    run(engine, clip(), tmp_path / "second", seed=7)


def test_the_engines_name_and_options_cost_no_torch():
    code = (
        "import sys; from void_engine.pipeline import make_engines; from void_engine.interface import Host\n"
        "engine = make_engines(Host())['void']; engine.check_options({'steps': 4})\n"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# --- masks


def test_shrinking_a_quadmask_makes_up_no_level_and_keeps_thin_things():
    mask = np.full((96, 160), 255, np.uint8)
    mask[10:50, 11:61] = 0
    mask[70, :] = 0
    small = resized(mask, (48, 80))
    assert set(np.unique(small)) == {0, 255}
    assert (small[35] == 0).all()


def test_overlap_and_affected_keep_their_rank_when_a_quadmask_shrinks():
    mask = np.full((64, 64), 255, np.uint8)
    mask[:, :32] = 127
    mask[:32, :32] = 63
    mask[:16, :16] = 0
    small = resized(mask, (16, 16))
    assert [small[1, 1], small[6, 1], small[12, 1], small[12, 12]] == [0, 63, 127, 255]


# --- crops


def two_holes() -> MemoryClip:
    rng = np.random.default_rng(8)
    base = rng.random((40, 60, 3)).astype(np.float32).repeat(8, 0).repeat(8, 1)
    masks = np.full((5, 320, 480), 255, np.uint8)
    masks[:, 20:40, 20:50] = 0
    masks[:, 280:300, 430:460] = 0
    return MemoryClip([base] * 5, list(masks))


def test_holes_far_apart_are_generated_apart_and_both_are_written(engine, tmp_path):
    plates = two_holes()
    out, facts = run(engine, plates, tmp_path / "s")
    assert [each["model_size"] for each in facts["regions"]] == [[32, 16]] * 2
    assert facts["regions"][0]["crop"] != facts["regions"][1]["crop"]
    assert all(each["crop"][2] < 200 for each in facts["regions"])
    for frame in out.frames.values():
        assert frame[20:40, 20:50].any()
        assert frame[280:300, 430:460].any()


def test_without_crops_the_whole_picture_is_seen(engine, tmp_path):
    _, facts = run(engine, two_holes(), tmp_path / "s", crop=False)
    assert [each["crop"] for each in facts["regions"]] == [[0, 0, 480, 320]]


@pytest.mark.parametrize("cancel_at", [1100, 1990])
def test_a_cancel_between_regions_goes_on_with_the_same_bits(engine, tmp_path, cancel_at):
    plates = two_holes()
    straight, _ = run(engine, plates, tmp_path / "straight")
    out = MemoryFrames(plates)
    with pytest.raises(Cancelled):
        engine.generate(plates, request(), out, MemoryContext(tmp_path / "cut", cancel_at=cancel_at))
    engine.generate(plates, request(), out, MemoryContext(tmp_path / "cut"))
    assert all(np.array_equal(out.frames[position], frame) for position, frame in straight.frames.items())


def test_a_squeezed_crop_may_take_more_area():
    options = read_options({"area": 4.0})
    assert options.enlarged((384, 672), 3.0) == (768, 1344)
    assert options.enlarged((384, 672), 1.5) == (576, 1008)
    assert options.enlarged((384, 672), 1.0) == (384, 672)
    assert read_options({}).enlarged((384, 672), 3.0) == (384, 672)
    assert read_options({"area": 4.0, "height": 64, "width": 64}).enlarged((64, 64), 3.0) == (64, 64)
