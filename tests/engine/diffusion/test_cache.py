"""Prompts and encodings that are kept: what is not computed again, and what is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny_void import TinyModel
from void_client.errors import JobError

from void_engine.diffusion import VoidPipeline, VoidResult
from void_engine.diffusion import memory as memory_module
from void_engine.diffusion.cache import TensorCache
from void_engine.diffusion.vae import Tiling

SMALL: dict[str, Any] = {
    "height": 16, "width": 32, "num_inference_steps": 2, "window_frames": 5, "overlap_frames": 4,
}  # fmt: skip


def shot(seed: int = 1, frames: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    quadmask = np.full((frames, 32, 64), 255, np.uint8)
    quadmask[:, 8:20, 8:30] = 0
    return rng.integers(0, 256, (frames, 32, 64, 3), dtype=np.uint8), quadmask


CLIP = shot()


class Watched:
    """A pipeline that counts what it computes."""

    def __init__(self, tiny: TinyModel, cache: Path | None, **options: Any) -> None:
        settings = {"dtype": torch.float32, "device": "cpu", "cache_dir": cache, **options}
        checkpoint = settings.pop("checkpoint", tiny.pass1)
        self.pipe = VoidPipeline.from_pretrained(tiny.base, checkpoint, **settings)
        self.encoded = 0
        self.pipe.residency.vae.model.encoder.register_forward_hook(self._count)

    def _count(self, *_: Any) -> None:
        self.encoded += 1

    def __call__(self, clip: tuple[Any, Any] = CLIP, prompt: str = "a ball", **settings: Any) -> VoidResult:
        self.encoded = 0
        return self.pipe(*clip, prompt, **{**SMALL, **settings})


@pytest.fixture
def no_text_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any) -> None:
        raise AssertionError("T5 was loaded")

    monkeypatch.setattr(memory_module, "load_text_encoder", load)


@pytest.fixture(scope="module")
def prompts(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of the cache after one run: both prompts, no encoding."""
    folder = tmp_path_factory.mktemp("prompts")
    Watched(tiny, folder)(guidance_scale=2.0)
    return {path.name: path.read_bytes() for path in folder.glob("prompt-*")}


@pytest.fixture
def known(cache: Path, prompts: dict[str, bytes], no_text_encoder: None) -> Path:
    """A cache that knows the prompts: whoever needs T5 fails."""
    cache.mkdir()
    for name, content in prompts.items():
        (cache / name).write_bytes(content)
    return cache


@pytest.fixture(scope="module")
def uncached(
    tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory, prompts: dict[str, bytes]
) -> Callable[..., VoidResult]:
    """A run that knows the prompts and computes all else; loaded once."""
    folder = tmp_path_factory.mktemp("uncached")
    for name, content in prompts.items():
        (folder / name).write_bytes(content)
    run = Watched(tiny, folder)

    def compute(**settings: Any) -> VoidResult:
        result = run(**settings)
        assert run.encoded
        for path in folder.glob("encoding-*"):
            path.unlink()
        return result

    return compute


def test_another_seed_needs_no_text_encoder(tiny, known):
    run = Watched(tiny, known)
    run()
    run(seed=43)
    run(guidance_scale=3.0)  # "" is known, too
    with pytest.raises(AssertionError, match="T5 was loaded"):
        run(prompt="a table")


def test_another_process_and_the_other_pass_know_the_prompts(tiny, known):
    Watched(tiny, known)()
    Watched(tiny, known, checkpoint=tiny.pass2)(pass_number=2)


def test_what_is_cached_is_bit_for_bit_what_is_computed(tiny, known, uncached):
    run = Watched(tiny, known)
    expected = uncached().frames
    assert np.array_equal(run().frames, expected)
    assert run.encoded
    assert np.array_equal(run().frames, expected)
    assert not run.encoded


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 43},
        {"height": 32},
        {"mode": "upstream"},
        {"pass_number": 2},
        {"window_frames": 21},  # padded to more
        {"clip": shot(seed=2)},
        {"clip": (CLIP[0], np.full_like(CLIP[1], 255))},
        {"clip": (CLIP[0][:4], CLIP[1][:4])},
        {"clip": (CLIP[0].reshape(5, 64, 32, 3), CLIP[1].reshape(5, 64, 32))},  # the same bytes
        {"inpaint_noise": np.ones((1, 3, 5, 16, 32), np.float32)},
    ],
    ids=lambda change: "-".join(change),
)
def test_what_changes_the_encoding_makes_a_new_one(tiny, known, uncached, change):
    run = Watched(tiny, known)
    run()
    found = run(**change).frames
    assert run.encoded
    assert np.array_equal(found, uncached(**change).frames)


@pytest.mark.parametrize(
    "change", [{"num_inference_steps": 3}, {"guidance_scale": 2.0}, {"init_latents": np.zeros((1, 2, 16, 2, 4))}]
)
def test_what_does_not_change_the_encoding_keeps_it(tiny, known, uncached, change):
    run = Watched(tiny, known)
    run()
    found = run(**change).frames
    assert not run.encoded
    assert np.array_equal(found, uncached(**change).frames)


def test_conditioning_noise_of_another_shape_is_refused(tiny, known):
    for shape in ((1, 3, 13, 16, 32), (1, 3, 5, 16, 16), (3, 5, 16, 32)):
        with pytest.raises(JobError, match="inpaint_noise"):
            Watched(tiny, known)(inpaint_noise=np.zeros(shape, np.float32))


def test_tiles_other_weights_and_other_formats_make_a_new_encoding(tiny, known):
    Watched(tiny, known)()
    tiled = Watched(tiny, known)
    tiled.pipe.residency.settle("full", 1, 1)
    tiled.pipe.memory = "full+tiled"
    tiled()
    assert tiled.encoded
    assert isinstance(tiled.pipe.residency.vae.tiling, Tiling)
    run = Watched(tiny, known)
    run.pipe.adds_noise = False
    run()
    assert run.encoded
    for options in ({"identity": "other weights"}, {"dtype": torch.bfloat16}):
        with pytest.raises(AssertionError, match="T5 was loaded"):
            Watched(tiny, known, **options)()


def test_a_trace_is_whole_although_the_encoding_is_known(tiny, known, uncached):
    run = Watched(tiny, known)
    run()
    traced, expected = run(trace=True), uncached(trace=True)
    assert traced.trace.keys() == expected.trace.keys()
    for name, tensor in expected.trace.items():
        assert torch.equal(traced.trace[name], tensor), name


@pytest.mark.parametrize("content", [b"", b"rubbish" * 100, "half"])
def test_a_spoiled_file_is_made_again(tiny, known, uncached, caplog, content):
    run = Watched(tiny, known)
    expected = run().frames
    (path,) = known.glob("encoding-*")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    assert np.array_equal(run().frames, expected)
    assert run.encoded
    assert "made again" in caplog.text
    assert path.read_bytes() == whole


def test_a_spoiled_prompt_is_read_again(tiny, cache, prompts):
    cache.mkdir()
    for name, content in prompts.items():
        (cache / name).write_bytes(content[:-10])
    Watched(tiny, cache)(guidance_scale=2.0)
    assert {path.name: path.read_bytes() for path in cache.glob("prompt-*")} == prompts


def test_a_folder_that_cannot_be_written_costs_time_only(tiny, tmp_path, uncached, caplog):
    (tmp_path / "file").write_text("")
    frames = Watched(tiny, tmp_path / "file" / "cache")().frames
    assert np.array_equal(frames, uncached().frames)
    assert np.array_equal(frames, Watched(tiny, None)().frames)
    assert "could not be kept" in caplog.text


def test_a_folder_that_can_only_be_read_is_read(tiny, known, monkeypatch):
    run = Watched(tiny, known)
    expected = run().frames

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(os, "utime", refuse)
    assert np.array_equal(run().frames, expected)
    assert not run.encoded


def test_what_is_used_is_newer_than_what_is_not(tmp_path):
    """The folder's owner drops the oldest."""
    cache = TensorCache(tmp_path, "weights")
    cache.put("prompt", "a", {"embeds": torch.zeros(1)})
    (path,) = tmp_path.iterdir()
    os.utime(path, (1, 1))
    assert cache.get("prompt", "a") is not None
    assert path.stat().st_mtime > 1


def test_without_a_folder_nothing_is_kept():
    cache = TensorCache(None)
    cache.put("prompt", "a", {"embeds": torch.zeros(1)})
    assert cache.get("prompt", "a") is None
    assert not cache.on


def test_kinds_and_keys_do_not_meet(tmp_path):
    cache = TensorCache(tmp_path, "weights")
    cache.put("prompt", "a", {"embeds": torch.zeros(1)})
    assert cache.get("prompt", "b") is None
    assert cache.get("encoding", "a") is None
    assert TensorCache(tmp_path, "others").get("prompt", "a") is None


def test_tensors_that_are_views_are_kept(tmp_path):
    cache = TensorCache(tmp_path, "weights")
    whole = torch.arange(12.0).view(3, 4)
    cache.put("encoding", 1, {"turned": whole.T, "part": whole[:, 1:2], "again": whole.T})
    found = cache.get("encoding", 1)
    assert found is not None
    assert torch.equal(found["turned"], whole.T)
    assert torch.equal(found["part"], whole[:, 1:2])
