"""Upstream mode against a second implementation, for cases of which there is no recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import plain_void
from helpers.plain_void import PlainRun, PlainVoid
from helpers.tiny_void import TinyModel
from safetensors.torch import load_file, save_file

from void_engine.diffusion import VoidPipeline

TOLERANCE = 1e-4
PROMPT = "an empty table in a room"
PROJ = "patch_embed.proj.weight"

CASES: dict[str, tuple[int, tuple[int, int], dict[str, Any]]] = {
    "sizes that do not divide": (9, (50, 70), {"height": 48, "width": 64, "steps": 2}),
    "enlarged": (5, (20, 30), {"height": 32, "width": 48, "steps": 3}),
    "one frame": (1, (32, 64), {"height": 16, "width": 32, "steps": 3}),
    "three overlapping windows": (27, (40, 52), {"height": 32, "width": 48, "steps": 2}),
    "guidance": (9, (40, 52), {"height": 32, "width": 48, "steps": 2, "guidance": 3.0, "negative_prompt": "a ball"}),
    "86 frames": (86, (20, 40), {"height": 16, "width": 32, "steps": 2, "window_frames": 85, "overlap_frames": 16}),
    "cut at 197": (203, (16, 32), {"height": 16, "width": 32, "steps": 1, "window_frames": 85, "overlap_frames": 16}),
    "pass 2": (23, (40, 52), {"height": 32, "width": 48, "steps": 2, "pass_number": 2, "guidance": 6.0}),
    "33 channels": (5, (32, 64), {"height": 16, "width": 32, "steps": 2}),
}


@pytest.fixture(scope="module")
def checkpoints(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    state = load_file(tiny.pass1)
    whole = state[PROJ]
    state[PROJ] = torch.cat([whole[:, :128], whole[:, 128:136] * 3, whole[:, -128:]], dim=1).contiguous()
    old = tmp_path_factory.mktemp("old") / "void_33.safetensors"
    save_file(state, old)
    return {"pass 1": tiny.pass1, "pass 2": tiny.pass2, "33 channels": old}


@pytest.fixture(scope="module")
def loaded(
    tiny: TinyModel, checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[VoidPipeline, PlainVoid]]:
    known: dict[str, tuple[VoidPipeline, PlainVoid]] = {}

    def load(name: str) -> tuple[VoidPipeline, PlainVoid]:
        if name not in known:
            pipe = VoidPipeline.from_pretrained(
                tiny.base, checkpoints[name], dtype=torch.float32, device="cpu",
                cache_dir=tmp_path_factory.getbasetemp() / "prompts",
            )  # fmt: skip
            known[name] = pipe, PlainVoid(tiny.base, checkpoints[name])
        return known[name]

    return load


def shot(frames: int, size: tuple[int, int], seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Regions whose edges lie anywhere, so that averages fall between the levels; black pixels, which get no noise."""
    rng = np.random.default_rng(seed)
    video = rng.integers(0, 256, (frames, *size, 3), dtype=np.uint8)
    video[:, : size[0] // 4, : size[1] // 2] = 0
    quadmask = np.full((frames, *size), 255, np.uint8)
    for position in range(frames):
        for level in (127, 63, 0):
            top, left = rng.integers(0, size[0] // 2), rng.integers(0, size[1] // 2)
            quadmask[position, top : top + size[0] // 3, left : left + size[1] // 3] = level
    return video, quadmask


LONG = {"86 frames", "cut at 197"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in CASES])
def test_two_implementations_give_one_picture(loaded, name):
    frames, size, settings = CASES[name]
    run = PlainRun(prompt=PROMPT, **{"window_frames": 13, "overlap_frames": 8, **settings})
    pipe, plain = loaded(name if name in ("pass 2", "33 channels") else "pass 1")
    video, quadmask = shot(frames, size)
    noise, inpaint = plain_void.unit_noise(run, frames, seed=5)
    expected = plain(run, video, quadmask, noise, inpaint)
    found = pipe(
        video, quadmask, run.prompt, run.negative_prompt, run.height, run.width, run.steps, run.guidance,
        run.pass_number, "upstream", run.window_frames, run.overlap_frames,
        init_latents=noise, inpaint_noise=inpaint,
    ).frames  # fmt: skip
    assert found.shape == expected.shape
    assert len(found) == run.padded(frames)
    assert np.abs(found - expected).max() < TOLERANCE
    assert found.std() > 0.01  # not all grey, all black


def test_the_comparison_can_fail(loaded):
    """A mask that differs in one region's level, noise of another seed: far beyond the tolerance."""
    pipe, plain = loaded("pass 1")
    run = PlainRun(16, 32, 2, PROMPT, window_frames=13, overlap_frames=8)
    video, quadmask = shot(5, (32, 64))
    noise, inpaint = plain_void.unit_noise(run, 5, seed=5)
    expected = plain(run, video, quadmask, noise, inpaint)
    settings = {"height": 16, "width": 32, "num_inference_steps": 2, "window_frames": 13, "overlap_frames": 8}
    for mask, other in ((np.where(quadmask == 127, 255, quadmask), inpaint), (quadmask, inpaint.roll(1, 2))):
        changed = pipe(video, mask, PROMPT, mode="upstream", init_latents=noise, inpaint_noise=other, **settings)
        assert np.abs(changed.frames - expected).max() > 10 * TOLERANCE


@pytest.mark.parametrize("size", [(48, 64), (50, 70), (96, 128), (20, 30), (7, 200)])
def test_plain_averages_are_the_area_mode(size):
    frame = torch.rand((3, *size), generator=torch.Generator().manual_seed(1))
    found = plain_void.resized(frame.permute(1, 2, 0)[None].numpy(), 48, 64)[0]
    assert np.abs(found - plain_void.interpolated_area(frame, 48, 64).permute(1, 2, 0).numpy()).max() < 1e-6


@pytest.mark.parametrize("steps", [1, 2, 30, 50, 61, 121, 999])
def test_every_number_of_steps_has_its_timesteps(tiny, steps):
    """The stock classes' rounding gives 61 steps a 62nd, at timestep -1: pure noise."""
    from void_engine.diffusion.loading import load_scheduler
    from void_engine.diffusion.sampling import Sampler
    from void_engine.diffusion.speed import Speed

    for number in (1, 2):
        sampler = Sampler(None, (), torch.device("cpu"), torch.float32, Speed())
        scheduler = load_scheduler(tiny.base, number)
        sampler.start(torch.zeros(1), scheduler, steps)
        assert scheduler.timesteps.tolist() == [time for time, _ in plain_void.timesteps(steps)]
