"""Upstream mode against tensors that upstream's own code computed, on tiny random weights in float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.reference import CASES, Case, read_case, reference_folder

from void_engine.diffusion import VoidPipeline, VoidResult

pytestmark = pytest.mark.skipif(reference_folder() is None, reason="../shared/reference is not here")

# Far above what float32 rounds to (1e-5 here), far below what any other reading of the model gives.
TOLERANCE = 1e-4


def run(case: Case, **changes: object) -> VoidResult:
    arguments, tensors = case.arguments, case.tensors
    pipe = VoidPipeline.from_pretrained(case.base, case.checkpoint, dtype=torch.float32, device="cpu")
    settings: dict[str, object] = {
        "negative_prompt": arguments["negative_prompt"],
        "height": arguments["height"],
        "width": arguments["width"],
        "num_inference_steps": arguments["num_inference_steps"],
        "guidance_scale": arguments["guidance_scale"],
        "pass_number": 1 if arguments["use_trimask"] else 2,
        "mode": "upstream",
        "window_frames": arguments["temporal_window_size"],
        "overlap_frames": arguments["temporal_multidiffusion_stride"],
        "init_latents": tensors["init_latents"],
        "inpaint_noise": tensors["inpaint_noise"],
        "trace": True,
    }
    return pipe(tensors["video"], tensors["quadmask"], arguments["prompt"], **{**settings, **changes})


@pytest.fixture(scope="module", params=CASES)
def case_and_result(request: pytest.FixtureRequest) -> tuple[Case, VoidResult]:
    case = read_case(request.param)
    return case, run(case)


def test_every_intermediate_tensor_is_upstreams(case_and_result):
    case, result = case_and_result
    worst = {}
    for name, expected in case.tensors.items():
        if name in ("video", "quadmask"):
            continue
        found = result.trace[name].numpy()
        assert found.shape == expected.shape, name
        worst[name] = float(np.abs(found.astype(np.float64) - expected).max())
    assert max(worst.values()) < TOLERANCE, worst


def test_the_frames_are_upstreams_and_padded(case_and_result):
    case, result = case_and_result
    expected = case.tensors["output"][0].transpose(1, 2, 3, 0)
    assert result.frames.shape == expected.shape
    assert len(result.frames) == case.arguments["padded_frames"]
    assert np.abs(result.frames - expected).max() < TOLERANCE


def test_the_comparison_can_fail():
    """Another initial noise, another mask threshold, another scheduler: each is seen."""
    case = read_case("pass2_cfg")
    changed = run(case, pass_number=1)
    assert np.abs(changed.frames - case.tensors["output"][0].transpose(1, 2, 3, 0)).max() > 100 * TOLERANCE
