"""What a run tells while it runs, how it is stopped, and the small pictures of what it is working on."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny_void import TinyModel

from void_engine.diffusion import Progress, Resume, VoidPipeline
from void_engine.diffusion.preview import PreviewMap, shown_frame, thumbnail

STEPS = 3
LONG: dict[str, Any] = {
    "height": 16, "width": 32, "num_inference_steps": STEPS, "window_frames": 13, "overlap_frames": 8,
}  # fmt: skip
FRAMES, PADDED, WINDOWS = 27, 29, 3
STAGES = ["text", "encode", "denoise", "decode"]


def shot() -> tuple[np.ndarray, np.ndarray]:
    quadmask = np.full((FRAMES, 32, 64), 255, np.uint8)
    quadmask[:, 8:20, 8:30] = 0
    return np.random.default_rng(1).integers(0, 256, (FRAMES, 32, 64, 3), dtype=np.uint8), quadmask


CLIP = shot()


@pytest.fixture(scope="module")
def pipe(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> VoidPipeline:
    cache = tmp_path_factory.getbasetemp() / "prompts"
    return VoidPipeline.from_pretrained(tiny.base, tiny.pass1, torch.float32, "cpu", cache_dir=cache)


@pytest.fixture(scope="module")
def told(pipe: VoidPipeline) -> list[Progress]:
    progress: list[Progress] = []
    pipe(*CLIP, "a ball", seed=1, callback=progress.append, **LONG)
    return progress


@pytest.fixture(scope="module")
def expected(pipe: VoidPipeline) -> np.ndarray:
    return pipe(*CLIP, "a ball", **LONG).frames


def test_stages_come_in_order_and_count_up_to_their_end(told):
    stages = [progress.stage for progress in told]
    assert list(dict.fromkeys(stages)) == STAGES
    assert stages == sorted(stages, key=STAGES.index)
    totals = {"text": 1, "encode": 2 * PADDED, "denoise": STEPS * WINDOWS, "decode": FRAMES}
    for stage in STAGES:
        done = [progress.done for progress in told if progress.stage == stage]
        assert done == sorted(done), stage
        assert done[-1] == totals[stage], stage
        assert {progress.of for progress in told if progress.stage == stage} == {totals[stage]}


def test_each_call_of_the_transformer_is_told_before_it_begins(told):
    denoise = [progress for progress in told if progress.stage == "denoise"]
    before = [(p.step, p.window, p.done) for p in denoise if not (p.window == 0 and p.done == WINDOWS * p.step)]
    for step in range(STEPS):
        for window in range(WINDOWS):
            assert (step + 1, window, step * WINDOWS + window) in before
    assert {(p.steps, p.windows) for p in denoise} == {(STEPS, WINDOWS)}
    assert (denoise[-1].step, denoise[-1].done) == (STEPS, STEPS * WINDOWS)
    assert all(progress.preview is None for progress in told)


def test_only_denoising_has_steps(told):
    assert {(p.step, p.steps, p.window, p.windows) for p in told if p.stage != "denoise"} == {(0, 0, 0, 0)}


def test_pass_2_tells_of_its_noise(tiny, pipe):
    stages: list[tuple[str, int, int]] = []
    settings = {**LONG, "num_inference_steps": 1, "pass_number": 2}
    pipe(
        *CLIP, "a ball", motion=CLIP[0], callback=lambda p: stages.append((p.stage, p.done, p.of)), **settings
    )  # fmt: skip
    noise = [(done, of) for stage, done, of in stages if stage == "noise"]
    assert noise == [(i + 1, PADDED) for i in range(PADDED)]


def test_a_resumed_run_counts_from_the_saved_step(pipe, tmp_path):
    class Stop(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.stage == "denoise" and progress.step == 3:
            raise Stop

    with pytest.raises(Stop):
        pipe(*CLIP, "a ball", resume=Resume(tmp_path, 1), callback=stop, **LONG)
    told: list[Progress] = []
    pipe(*CLIP, "a ball", resume=Resume(tmp_path, 1), callback=told.append, **LONG)
    denoise = [(p.step, p.window, p.done) for p in told if p.stage == "denoise"]
    assert denoise == [(3, 0, 6), (3, 1, 7), (3, 2, 8), (3, 0, 9)]


class Cancel(BaseException):
    """Of no kind that any code could mean to catch."""


@pytest.mark.parametrize(
    ("stage", "at", "kind"),
    [("text", 0, Cancel), ("text", 1, KeyError), ("encode", 0, KeyError), ("encode", 5, Cancel), ("denoise", 0, Cancel),
     ("denoise", 4, KeyError), ("denoise", 11, Cancel), ("decode", 0, KeyError), ("decode", 3, Cancel)],
)  # fmt: skip
def test_what_the_callback_raises_ends_the_run_at_once(pipe, expected, stage, at, kind):
    for encoding in Path(pipe.cache._folder).glob("encoding-*"):
        encoding.unlink()
    calls, raised, seen = [], [], [0]
    problem = kind("stop")

    def callback(progress: Progress) -> None:
        assert not raised  # and nothing is told any more
        if progress.stage == stage:
            seen[0] += 1
            if seen[0] == at + 1:
                raised.append(len(calls))
                raise problem

    handle = pipe.residency.transformer.register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(kind) as caught:
        pipe(*CLIP, "a ball", callback=callback, **LONG)
    assert caught.value is problem
    assert len(raised) == 1
    assert len(calls) == raised[0]
    handle.remove()
    assert np.array_equal(pipe(*CLIP, "a ball", **LONG).frames, expected)


@pytest.mark.parametrize("memory", ["group", "fp8", "full"])
def test_a_cancelled_pipeline_is_usable_however_its_weights_lie(pipe, tiny, memory):
    other = VoidPipeline.from_pretrained(
        tiny.base, tiny.pass1, torch.float32, "cpu", memory, cache_dir=pipe.cache._folder
    )

    def callback(progress: Progress) -> None:
        if progress.stage == "denoise" and progress.done == 1:
            raise Cancel

    fresh = other(*CLIP, "a ball", **LONG).frames
    with pytest.raises(Cancel):
        other(*CLIP, "a ball", callback=callback, **LONG)
    assert np.array_equal(other(*CLIP, "a ball", **LONG).frames, fresh)


def test_a_cancelled_run_leaves_no_tensors(pipe):
    """The pipeline stays in memory for the next shot; the run must not."""

    def latents() -> int:
        gc.collect()
        return len([t for t in gc.get_objects() if type(t) is torch.Tensor and t.shape[-2:] == (2, 4)])

    def callback(progress: Progress) -> None:
        if progress.stage == "denoise" and progress.done == 4:
            raise Cancel

    before = latents()
    with pytest.raises(Cancel):
        pipe(*CLIP, "a ball", callback=callback, **LONG)
    assert latents() == before


@pytest.mark.parametrize(("every", "steps"), [(1, [1, 2, 3]), (2, [2]), (3, [3]), (5, []), (0, [])])
def test_previews_come_every_so_many_steps(pipe, expected, every, steps):
    calls: list[int] = []
    pictures: dict[int, np.ndarray] = {}
    model = pipe.residency.vae.model
    handles = [part.register_forward_hook(lambda *_: calls.append(1)) for part in (model.encoder, model.decoder)]
    before_decode: list[int] = []

    def callback(progress: Progress) -> None:
        if progress.stage == "denoise":
            before_decode.append(len(calls))
            if progress.preview is not None:
                pictures[progress.done // WINDOWS] = progress.preview

    found = pipe(*CLIP, "a ball", preview_every=every, callback=callback, **LONG).frames
    for handle in handles:
        handle.remove()
    assert list(pictures) == steps
    for picture in pictures.values():
        assert picture.shape == (PADDED // 4 + 1, 2, 4, 3)
        assert picture.dtype == np.float32
        assert 0 <= picture.min() <= picture.max() <= 1
    assert len(set(before_decode)) == 1  # no call of the VAE for a preview
    assert np.array_equal(found, expected)  # and looking changes nothing


def test_a_linear_codes_pictures_come_back():
    """Where latents are a linear map of colours, the fitted map is its inverse, for latents that it never saw, too."""
    source = torch.Generator().manual_seed(0)
    encode = torch.randn((16, 3), generator=source)

    def coded(colours: torch.Tensor) -> torch.Tensor:
        """(F, 3, h, w) to (1, 16, F, h, w)"""
        return torch.einsum("ck,fkhw->cfhw", encode, colours * 2 - 1)[None]

    known, new = (torch.rand((5, 3, 12, 20), generator=source) for _ in range(2))
    show = PreviewMap(coded(known), known)
    found = show(coded(new).permute(0, 2, 1, 3, 4))
    assert np.abs(found - new.permute(0, 2, 3, 1).numpy()).max() < 1e-3


def test_a_preview_of_a_noisy_code_is_nearer_to_its_picture_than_to_another():
    source = torch.Generator().manual_seed(1)
    encode = torch.randn((16, 3), generator=source)
    colours = torch.rand((9, 3, 12, 20), generator=source)
    latents = torch.einsum("ck,fkhw->cfhw", encode, colours)[None]
    latents = latents + 0.3 * torch.randn(latents.shape, generator=source)
    found = PreviewMap(latents, colours)(latents.permute(0, 2, 1, 3, 4))
    wanted = colours.permute(0, 2, 3, 1).numpy()
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.9
    assert np.corrcoef(found.ravel(), wanted[::-1].ravel())[0, 1] < 0.2


@pytest.mark.parametrize("colours", [torch.zeros((2, 3, 1, 1)), torch.full((2, 3, 2, 2), 0.5)])
def test_a_shot_without_detail_has_a_preview_all_the_same(colours):
    """Fewer pixels than numbers to fit, or all alike."""
    latents = torch.zeros((1, 16, *colours[:, 0].shape))
    found = PreviewMap(latents, colours)(latents.permute(0, 2, 1, 3, 4))
    assert np.abs(found - colours.permute(0, 2, 3, 1).numpy()).max() < 1e-4


def test_latents_beyond_all_colours_are_clamped():
    source = torch.Generator().manual_seed(2)
    latents, colours = torch.randn((1, 16, 3, 8, 8), generator=source), torch.rand((3, 3, 8, 8), generator=source)
    found = PreviewMap(latents, colours)(1000 * latents.permute(0, 2, 1, 3, 4))
    assert set(np.unique(found)) <= {0.0, 1.0} or (0 <= found.min() and found.max() <= 1)


def test_a_latents_thumbnail_is_its_last_frames_average():
    frame = torch.arange(3 * 16 * 24, dtype=torch.float32).view(3, 16, 24)
    assert thumbnail(frame).shape == (3, 2, 3)
    assert float(thumbnail(frame)[0, 0, 0]) == float(frame[0, :8, :8].mean())
    assert [shown_frame(latent) for latent in range(3)] == [0, 4, 8]
