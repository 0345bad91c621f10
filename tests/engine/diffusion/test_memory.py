"""How the weights are held, what happens where memory runs out, and what never grows with the clip."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny_void import TinyModel
from torch import nn
from void_client.errors import JobError, JobFailed

from void_engine.diffusion import VoidPipeline
from void_engine.diffusion import memory as memory_module
from void_engine.diffusion.loading import load_text_encoder
from void_engine.diffusion.memory import LADDER, PLACES, Residency, is_out_of_memory
from void_engine.diffusion.request import Request
from void_engine.diffusion.run import Extras
from void_engine.diffusion.speed import Speed
from void_engine.diffusion.vae import Tiling, decode_chunks, encode_chunks

SMALL: dict[str, Any] = {
    "height": 16, "width": 32, "num_inference_steps": 2, "window_frames": 5, "overlap_frames": 4,
}  # fmt: skip
MODES = ["auto", "tiled", *PLACES, *(f"{place}+tiled" for place in PLACES)]
OOM = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.00 GiB"


def shot(frames: int, height: int = 32, width: int = 64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    quadmask = np.full((frames, height, width), 255, np.uint8)
    quadmask[:, 8:20, 8:30] = 0
    return rng.integers(0, 256, (frames, height, width, 3), dtype=np.uint8), quadmask


CLIP = shot(5)


@pytest.fixture(scope="module", autouse=True)
def _only_what_these_tests_make_is_collected() -> Iterator[None]:
    """Every step down collects garbage; with all of torch's objects to look at it takes 0.2 s."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def load(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., VoidPipeline]:
    cache = tmp_path_factory.mktemp("prompts-only")

    def load(memory: str = "auto", dtype: torch.dtype = torch.float32, cached: bool = True) -> VoidPipeline:
        for encoding in cache.glob("encoding-*"):  # the VAE shall work
            encoding.unlink()
        where = cache if cached else None
        return VoidPipeline.from_pretrained(tiny.base, tiny.pass1, dtype, "cpu", memory, cache_dir=where)

    return load


@pytest.fixture(scope="module")
def expected(load: Callable[..., VoidPipeline]) -> np.ndarray:
    return load("full")(*CLIP, "a ball", **SMALL).frames


@contextmanager
def too_small(module: nn.Module, times: int, first: int = 0) -> Iterator[list[weakref.ref[torch.Tensor]]]:
    """Calls ``first`` to ``first + times`` of ``module`` run out of memory. Gives its inputs of those calls."""
    calls, inputs = [0], []

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls[0] += 1
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        if first < calls[0] <= first + times:
            inputs.extend(weakref.ref(tensor) for tensor in tensors if tensor.is_floating_point())
            raise torch.OutOfMemoryError(OOM)

    handle = module.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield inputs
    finally:
        handle.remove()


@pytest.mark.parametrize("memory", [mode for mode in MODES if not mode.startswith("fp8")])
def test_wherever_the_weights_lie_the_picture_is_the_same(load, expected, memory):
    """16 x 32 is less than a tile, so tiles change nothing here."""
    pipe = load(memory)
    result = pipe(*CLIP, "a ball", **SMALL)
    assert np.array_equal(result.frames, expected)
    assert result.memory == {"auto": "offload", "tiled": "full+tiled"}.get(memory, memory)
    assert (pipe.residency.vae.tiling is not None) == memory.endswith("tiled")
    assert np.array_equal(pipe(*CLIP, "a ball", **SMALL).frames, expected)  # once more


@pytest.mark.parametrize("memory", ["fp8", "fp8+tiled"])
def test_fp8_rounds_the_weights_and_little_more(load, expected, memory):
    """e4m3 keeps 4 significant bits: a few percent of a weight, a few levels of 255 in this picture."""
    found = load(memory)(*CLIP, "a ball", **SMALL).frames
    assert not np.array_equal(found, expected)
    assert np.abs(found - expected).mean() < 0.01
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.995


def test_fp8_really_stores_eight_bits(load):
    """Upstream's "qfloat8" is upcast to bf16 at load and saves nothing."""
    held = {}
    for memory in ("full", "fp8"):
        pipe = load(memory, torch.bfloat16)
        assert np.isfinite(pipe(*CLIP, "a ball", **SMALL).frames).all()
        weights = {
            name: weight
            for name, weight in pipe.residency.transformer.transformer_blocks.named_parameters()
            if "norm" not in name  # few, and sensitive: diffusers keeps them
        }
        held[memory] = sum(weight.numel() * weight.element_size() for weight in weights.values())
        wanted = torch.float8_e4m3fn if memory == "fp8" else torch.bfloat16
        assert {weight.dtype for weight in weights.values()} == {wanted}
    assert held["fp8"] * 2 == held["full"]


@pytest.mark.parametrize("memory", ["", "half", "fp8+", "auto+tiled", "tiled+tiled", "group+tiles"])
def test_an_unknown_way_to_hold_the_weights_is_refused(load, memory):
    with pytest.raises(JobError, match="memory mode") as caught:
        load(memory)(*CLIP, "a ball", **SMALL)
    assert caught.value.details["key"] == "memory"


PARTS: dict[str, Callable[[VoidPipeline], nn.Module]] = {
    "denoising": lambda pipe: pipe.residency.transformer,
    "denoising, within a block": lambda pipe: pipe.residency.transformer.transformer_blocks[1],
    "encoding": lambda pipe: pipe.residency.vae.model.encoder,
    "decoding": lambda pipe: pipe.residency.vae.model.decoder,
}


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("part", PARTS)
def test_auto_steps_down_where_memory_runs_out(load, expected, part, first, times):
    pipe = load("auto")
    with too_small(PARTS[part](pipe), times, first) as inputs:
        result = pipe(*CLIP, "a ball", **SMALL)
    assert result.memory == LADDER[1 + times]
    assert np.array_equal(result.frames, expected)
    gc.collect()
    assert inputs
    assert not [ref for ref in inputs if ref() is not None]
    steps = [note for note in result.notes if "out of memory" in note]
    assert len(steps) == times
    assert all(part.split(",")[0] in step for step in steps)
    assert np.array_equal(pipe(*CLIP, "a ball", **SMALL).frames, expected)  # hooks are not applied twice


@pytest.mark.parametrize("times", [1, 2])
def test_auto_steps_down_while_the_prompt_is_read(load, expected, monkeypatch, times):
    fails = [times]

    def load_failing(*args: Any) -> tuple[Any, Any]:
        tokenizer, encoder = load_text_encoder(*args)

        def hook(*_: Any) -> None:
            if fails[0]:
                fails[0] -= 1
                raise torch.OutOfMemoryError(OOM)

        encoder.register_forward_pre_hook(hook)
        return tokenizer, encoder

    monkeypatch.setattr(memory_module, "load_text_encoder", load_failing)
    result = load("auto", cached=False)(*CLIP, "a ball", **SMALL)
    assert result.memory == LADDER[1 + times]
    assert np.array_equal(result.frames, expected)


def test_a_failed_tries_tensors_are_gone_before_the_next_one(load, monkeypatch):
    """What still held them, a traceback for one, would take the memory that the next try needs."""
    pipe = load("auto")
    alive: list[int] = []
    released = memory_module.release_memory

    def watch(device: torch.device) -> None:
        released(device)
        alive.append(len([ref for ref in inputs if ref() is not None]))

    monkeypatch.setattr(memory_module, "release_memory", watch)
    with too_small(pipe.residency.transformer, 1) as inputs:
        pipe(*CLIP, "a ball", **SMALL)
    assert inputs
    assert alive
    assert not any(alive)


def test_windows_are_cut_where_the_ladder_ends(load):
    pipe = load("auto")
    settings = {**SMALL, "window_frames": 29, "overlap_frames": 8}
    with too_small(pipe.residency.transformer, 3):
        result = pipe(*shot(37), "a ball", **settings)
    assert result.memory == "group+tiled"
    assert [note for note in result.notes if "windows were cut to 13 frames" in note]
    clean = load("auto")(*shot(37), "a ball", **{**settings, "window_frames": 13})
    assert np.array_equal(result.frames, clean.frames)


def test_a_window_of_four_latents_is_not_cut_further(load):
    pipe = load("auto")
    with too_small(pipe.residency.transformer, 99), pytest.raises(JobFailed, match="memory while denoising") as caught:
        pipe(*shot(37), "a ball", **{**SMALL, "window_frames": 29})
    assert "CUDA out of memory" in str(caught.value)
    assert "Tried" not in str(caught.value)
    assert len(pipe(*CLIP, "a ball", **SMALL).frames) == 5


@pytest.mark.parametrize(
    ("memory", "settings", "times"),
    [("auto", {"mode": "upstream"}, 3), ("offload", {}, 1), ("full", {"guidance_scale": 2.0}, 1), ("fp8", {}, 1)],
)
def test_what_must_not_change_fails_with_advice(load, memory, settings, times):
    """Upstream mode has upstream's windows, and a chosen mode is kept; both work again where memory is free again."""
    pipe = load(memory)
    with too_small(pipe.residency.transformer, times), pytest.raises(JobFailed, match="not enough memory") as caught:
        pipe(*CLIP, "a ball", **{**SMALL, **settings})
    assert caught.value.__context__ is None  # a traceback would keep the tensors
    assert caught.value.hint
    pipe(*CLIP, "a ball", **{**SMALL, **settings})


def test_decoding_fails_with_advice_where_the_ladder_ends(load):
    pipe = load("auto")
    with too_small(pipe.residency.vae.model.decoder, 3), pytest.raises(JobFailed, match="memory while decoding"):
        pipe(*CLIP, "a ball", **SMALL)


def test_other_errors_are_not_taken_for_memory(load):
    pipe = load("auto")
    handle = pipe.residency.transformer.register_forward_pre_hook(lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        pipe(*CLIP, "a ball", **SMALL)
    handle.remove()
    assert pipe.residency.mode == "offload"


@pytest.mark.parametrize(
    ("message", "kind", "memory"),
    [
        (OOM, torch.OutOfMemoryError, True),
        ("CUDA error: out of memory", RuntimeError, True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", RuntimeError, True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", RuntimeError, True),
        ("CUDA error: an illegal memory access was encountered", RuntimeError, False),
        ("mat1 and mat2 shapes cannot be multiplied", RuntimeError, False),
    ],
)
def test_out_of_memory_is_known_by_all_its_names(message, kind, memory):
    assert is_out_of_memory(kind(message)) is memory


def test_a_step_down_goes_on_from_the_saved_state(load, expected, tmp_path):
    pipe = load("auto")
    calls = []
    with too_small(pipe.residency.transformer, 1, first=1):
        handle = pipe.residency.transformer.register_forward_hook(lambda *_: calls.append(1))
        from void_engine.diffusion import Resume

        result = pipe(*CLIP, "a ball", resume=Resume(tmp_path, 1), **SMALL)
        handle.remove()
    assert len(calls) == 2  # not three: the first step was kept
    assert np.array_equal(result.frames, expected)


def test_tiles_that_one_shot_needed_are_not_the_next_shots(load):
    """The picture depends on them; on what ran before it must not."""
    pipe = load("auto")
    with too_small(pipe.residency.vae.model.encoder, 2):
        assert pipe(*CLIP, "a ball", **SMALL).memory == "group+tiled"
    assert pipe(*CLIP, "a ball", **SMALL).memory == "group"
    assert pipe.residency.vae.tiling is None
    with too_small(pipe.residency.vae.model.encoder, 1):
        for encoding in pipe.cache._folder.glob("encoding-*"):
            encoding.unlink()
        assert pipe(*CLIP, "a ball", **SMALL).memory == "group+tiled"
    assert isinstance(pipe.residency.vae.tiling, Tiling)


@pytest.mark.parametrize(("settled", "other"), [("group", "full"), ("fp8", "offload")])
def test_what_cannot_be_undone_is_refused(load, settled, other):
    pipe = load(settled)
    pipe(*CLIP, "a ball", **SMALL)
    pipe.memory = other
    for _ in range(2):  # and not forgotten by the next call
        with pytest.raises(JobError, match="cannot change"):
            pipe(*CLIP, "a ball", **SMALL)
    pipe.memory = settled
    pipe(*CLIP, "a ball", **SMALL)


def test_other_sizes_after_a_step_down(load):
    pipe = load("auto")
    with too_small(pipe.residency.transformer, 1):
        pipe(*CLIP, "a ball", **SMALL)
    found = pipe(*CLIP, "a ball", **{**SMALL, "height": 48, "width": 64}).frames
    assert np.array_equal(found, load("full")(*CLIP, "a ball", **{**SMALL, "height": 48, "width": 64}).frames)


@pytest.mark.parametrize("memory", ["full", "offload", "group", "fp8"])
def test_the_text_encoder_is_let_go_but_for_full(load, monkeypatch, memory):
    made: list[weakref.ref[nn.Module]] = []

    def load_watched(*args: Any) -> tuple[Any, Any]:
        pair = load_text_encoder(*args)
        made.append(weakref.ref(pair[1]))
        return pair

    monkeypatch.setattr(memory_module, "load_text_encoder", load_watched)
    pipe = load(memory, cached=False)
    pipe(*CLIP, "a ball", **SMALL)
    gc.collect()
    assert len(made) == 1
    assert (made[0]() is not None) == (memory == "full")
    pipe(*CLIP, "a table", **SMALL)
    assert len(made) == (1 if memory == "full" else 2)


def test_the_text_encoder_holds_no_weights_once_it_is_let_go(tiny, load):
    """Whoever opened it may still name it: the device's memory is free all the same."""
    residency = load("offload").residency
    residency.settle("offload", 1, 1)
    with residency.using_text() as (_, encoder):
        assert encoder.device.type == "cpu"
    assert {weight.device.type for weight in encoder.parameters()} == {"meta"}


@pytest.mark.parametrize(
    ("free", "place"),
    [(240, "full"), (200, "offload"), (115, "offload"), (105, "group"), (25, "group"), (20, "group+tiled")],
)  # fmt: skip
def test_auto_takes_what_fits(tiny, load, monkeypatch, free, place):
    """Weights of 100 units, a VAE of 20 and a text encoder of 90, with a tenth of the device to spare."""
    residency: Residency = load("auto").residency
    residency.device = torch.device("cuda")  # it is only asked, not used
    text = sum(path.stat().st_size for path in (tiny.base / "text_encoder").glob("*.safetensors"))
    unit = text / 90
    monkeypatch.setattr(
        memory_module, "_bytes", lambda model: int(unit * (100 if model is residency.transformer else 20))
    )
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(free * unit), int(999 * unit)))
    assert residency._suited(0, 0) == place


class Counted:
    """Frames made when they are asked for; ``most`` is how many were alive at once."""

    def __init__(self, frames: np.ndarray) -> None:
        self.frames, self.alive, self.most = frames, 0, 0

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, position: int) -> np.ndarray:
        frame = self.frames[position].copy()
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(frame, self._gone)
        return frame

    def _gone(self) -> None:
        self.alive -= 1


def test_memory_does_not_grow_with_the_clip(load, monkeypatch):
    """Of 45 frames and of 205, as many are alive at once: a chunk's. Only latents grow."""
    pipe = load("offload", cached=False)
    model, chunks = pipe.residency.vae.model, []
    handles = [
        part.register_forward_pre_hook(lambda _, args: chunks.append(args[0].shape[2]))
        for part in (model.encoder, model.decoder)
    ]
    most, longest = {}, {}
    for count in (45, 205):
        video, quadmask = shot(count, 16, 32)
        lazy = Counted(video.astype(np.float32) / 255), Counted(quadmask)
        tensors: list[int] = []
        request = Request("a ball", height=16, width=32, steps=1, window_frames=21, overlap_frames=8)

        def look(progress: Any, tensors: list[int] = tensors) -> None:
            if progress.stage in ("encode", "decode") and progress.done % 16 == 5:
                tensors.append(pixels_alive())

        generated = pipe.generate(*lazy, request, Extras(callback=look))
        assert generated.latents.numel() == (count // 4 + 1) * 16 * 2 * 4
        assert sum(1 for _ in pipe.decode(generated, look)) == count
        most[count] = (lazy[0].most, lazy[1].most)
        longest[count] = max(tensors)
    for handle in handles:
        handle.remove()
    limit = max(stop - start for start, stop in encode_chunks(205))
    assert most[45][0] <= limit + 1
    assert most[205][0] <= limit + 1
    assert most[205][1] <= limit + 1
    assert max(chunks) <= limit
    assert max(stop - start for start, stop in decode_chunks(52)) == 2
    grown = (205 - 45) // 4 * 16 * 2 * 4  # elements of one clip's latents
    assert longest[205] - longest[45] <= 5 * grown  # mask, video, start, result, thumbnails


def pixels_alive() -> int:
    """Elements of all tensors that Python knows but for weights."""
    storages = {}
    for thing in gc.get_objects():
        if type(thing) is torch.Tensor:
            storages[thing.untyped_storage().data_ptr()] = thing.untyped_storage().nbytes() // 4
    return sum(storages.values())


def test_frames_are_decoded_as_they_are_taken(load):
    """Who takes one frame pays for one chunk."""
    pipe = load("offload")
    request = Request("a ball", height=16, width=32, steps=1, window_frames=21, overlap_frames=8)
    generated = pipe.generate(*shot(45, 16, 32), request)
    calls: list[int] = []
    handle = pipe.residency.vae.model.decoder.register_forward_hook(lambda *_: calls.append(1))
    frames = pipe.decode(generated)
    next(frames)
    assert len(calls) == 1
    next(frames)
    assert len(calls) == 2
    frames.close()
    handle.remove()


def test_a_cache_folder_is_the_only_thing_written(load, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load("auto")(*CLIP, "a ball", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_batched_windows_go_one_at_a_time_before_anything_else_is_given_up(load):
    pipe = load("auto")
    clip = shot(27)
    settings = {**SMALL, "window_frames": 13, "overlap_frames": 8}
    whole = pipe(*clip, "a ball", **settings)
    pipe.speed = Speed(batch_windows=4)
    with too_small(pipe.residency.transformer, 1):
        result = pipe(*clip, "a ball", **settings)
    assert result.memory == whole.memory
    assert any("one at a time" in note for note in result.notes)
    assert np.abs(result.frames - whole.frames).max() < 1e-5


def test_the_prompt_is_read_on_the_cpu_where_the_device_has_no_room_for_it(load, expected, monkeypatch):
    pipe = load("auto", cached=False)
    moved = []

    def load_crowded(base: Path, dtype: torch.dtype) -> tuple[Any, Any]:
        tokenizer, encoder = load_text_encoder(base, dtype)
        stock = encoder.to

        def to(where: Any) -> Any:
            moved.append(str(where))
            if len(moved) == 1:
                raise torch.OutOfMemoryError(OOM)
            return stock(where)

        encoder.to = to
        return tokenizer, encoder

    monkeypatch.setattr(memory_module, "load_text_encoder", load_crowded)
    result = pipe(*CLIP, "a ball", **SMALL)
    assert moved[:2] == ["cpu", "cpu"]  # the device, which is the CPU here, then the CPU
    assert result.memory == "offload"
    assert any("read on the CPU" in note for note in result.notes)
    assert np.array_equal(result.frames, expected)


def test_a_warm_pipeline_gives_the_same_picture(load, expected):
    pipe = load("auto")
    pipe.warm_up(16, 32, 5, guidance_scale=6.0)
    assert np.array_equal(pipe(*CLIP, "a ball", **SMALL).frames, expected)
