"""Each option of `Speed` beside the plain eager transformer, on tiny random weights."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from helpers.tiny_void import TinyModel
from void_client.errors import JobError

from void_engine.diffusion import Progress, Resume, Speed, VoidPipeline, attention
from void_engine.diffusion.geometry import Window, even_windows
from void_engine.diffusion.loading import Transformer, load_scheduler, load_transformer
from void_engine.diffusion.sampling import Conditions, Sampler, Watch
from void_engine.diffusion.speed import warm_up

CPU = torch.device("cpu")
SIZE = (6, 10)  # latents of 48 x 80 pixels
THREE = even_windows(8, 4, 2)
APART = (Window(0, 4), Window(4, 8), Window(8, 12))
SKIPPING = 0.5  # the threshold at which these weights skip some calls, and not all
ALWAYS = 100.0  # skips whatever has something in the cache: what ought not to be there is seen


class Counted:
    """Calls of the last block that were computed, not skipped."""

    def __init__(self, transformer: Transformer) -> None:
        self.calls = 0
        transformer.transformer_blocks[-1].ff.register_forward_hook(self._count)

    def _count(self, *_: object) -> None:
        self.calls += 1


def make(tiny: TinyModel, speed: Speed) -> Transformer:
    transformer = load_transformer(tiny.base, tiny.pass1, torch.float32, CPU)
    speed.prepare(transformer)
    return transformer


def sample(
    tiny: TinyModel,
    transformer: Transformer,
    speed: Speed,
    windows: tuple[Window, ...] = THREE,
    *,
    steps: int = 4,
    guidance: float = 1.0,
    part: slice = slice(None),
    watch: Watch | None = None,
) -> torch.Tensor:
    """A run of the sampler; ``part`` of the same 12 random latents."""
    random = torch.Generator().manual_seed(5)
    latents, rest = torch.randn((1, 12, 48, *SIZE), generator=random).split([16, 32], dim=2)
    # Each later window is another kind of picture, so that their caches would not fit each other.
    rest = rest * torch.linspace(0.2, 3, 12).view(1, -1, 1, 1, 1)
    embeds = torch.randn((2 if guidance > 1 else 1, 226, 32), generator=random)
    frames = range(12)[part] if part != slice(None) else range(windows[-1].stop)
    chosen = slice(frames.start, frames.stop)
    sampler = Sampler(transformer, windows, CPU, torch.float32, speed)
    state = sampler.start(latents[:, chosen], load_scheduler(tiny.base, 1), steps)
    return sampler.run(state, Conditions(rest[:, chosen], embeds, guidance), watch or Watch())


def run(tiny: TinyModel, speed: Speed, *args: object, **options: object) -> torch.Tensor:
    return sample(tiny, make(tiny, speed), speed, *args, **options)


def call(transformer: Transformer, length: int, batch: int = 1) -> torch.Tensor:
    random = torch.Generator().manual_seed(length)
    sampler = Sampler(transformer, (Window(0, length),), CPU, torch.float32, Speed())
    with torch.no_grad():
        return transformer(
            hidden_states=torch.randn((batch, length, 48, *SIZE), generator=random),
            encoder_hidden_states=torch.randn((batch, 226, 32), generator=random),
            timestep=torch.tensor(500).expand(batch),
            image_rotary_emb=sampler.rotary(length, *SIZE),
            return_dict=False,
        )[0]


# --- options


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("batch_windows", 0),
        ("batch_windows", 1.5),
        ("batch_windows", True),
        ("compile_blocks", "yes"),
        ("first_block_cache", -0.1),
        ("first_block_cache", float("nan")),
        ("first_block_cache", float("inf")),
        ("first_block_cache", "0.1"),
        ("attention", "fastest"),
        ("attention", 3),
    ],
)
def test_what_cannot_be_is_refused_by_name(key, value):
    with pytest.raises(JobError) as caught:
        Speed(**{key: value})
    assert caught.value.details["key"] == key


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError):
        Speed(first_block_cahce=0.1)  # type: ignore[call-arg]


def test_the_saved_runs_key_holds_every_option():
    assert Speed(2, "native", True, 0.1).as_dict() == {
        "batch_windows": 2, "attention": "native", "compile_blocks": True, "first_block_cache": 0.1,
    }  # fmt: skip


def test_nothing_is_touched_unless_asked_for(tiny):
    transformer = make(tiny, Speed())
    assert not any("forward" in vars(block) for block in transformer.transformer_blocks)
    assert {type(p).__name__ for p in transformer.attn_processors.values()} == {"CogVideoXAttnProcessor2_0"}
    assert not transformer.is_cache_enabled


# --- attention


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("length", [2, 4, 8])
def test_our_attention_gives_the_stock_processors_numbers(tiny, length, batch):
    stock, ours = make(tiny, Speed()), make(tiny, Speed(attention="native"))
    assert (call(stock, length, batch) - call(ours, length, batch)).abs().max() <= 1e-6


def test_our_attention_without_rotary_embedding_is_the_stock_processors(tiny):
    block = make(tiny, Speed()).transformer_blocks[0].attn1
    video, text = torch.randn((2, 2, 5, 64), generator=torch.Generator().manual_seed(0)).unbind()
    stock = block.processor(block, video, text)
    ours = attention.DispatchedAttention()(block, video, text)
    for expected, found in zip(stock, ours, strict=True):
        assert (expected - found).abs().max() <= 1e-6


@pytest.mark.parametrize("backend", ["_native_math", "_native_flash"])
def test_another_kernel_is_really_used(tiny, backend, monkeypatch):
    used = []
    stock = _AttentionBackendRegistry._backends[backend]

    def noted(*args: object, **kwargs: object) -> torch.Tensor:
        used.append(backend)
        return stock(*args, **kwargs)

    transformer = make(tiny, Speed(attention=backend))
    expected = call(make(tiny, Speed()), 4)
    monkeypatch.setitem(_AttentionBackendRegistry._backends, backend, noted)
    assert (call(transformer, 4) - expected).abs().max() < 1e-5
    assert len(used) == 2


def test_diffusers_own_switch_reaches_our_processor(tiny, monkeypatch):
    """It passes over the stock processor in silence."""
    monkeypatch.setattr(_AttentionBackendRegistry, "_active_backend", _AttentionBackendRegistry._active_backend)
    transformer = make(tiny, Speed(attention="native"))
    transformer.set_attention_backend("_native_math")
    assert {p._attention_backend.value for p in transformer.attn_processors.values()} == {"_native_math"}
    transformer.reset_attention_backend()
    assert {p._attention_backend for p in transformer.attn_processors.values()} == {None}
    call(transformer, 2)


def test_other_models_keep_their_kernel(tiny):
    before = _AttentionBackendRegistry.get_active_backend()
    make(tiny, Speed(attention="_native_math"))
    assert _AttentionBackendRegistry.get_active_backend() == before


@pytest.mark.parametrize(
    ("name", "why"), [("fastest", "not known"), ("xformers", "not installed"), ("flash_hub", "fetched from a hub")]
)
def test_a_kernel_that_is_not_here_is_refused_with_those_that_are(name, why):
    if name in attention.known_backends():
        pytest.skip(f"{name} is installed here")
    with pytest.raises(JobError, match=why) as caught:
        Speed(attention=name)
    assert "native" in caught.value.details["available"]
    assert "native" in caught.value.hint
    assert not any("hub" in known for known in caught.value.details["available"])


def test_a_kernel_of_another_device_is_refused_before_the_first_step(tiny):
    speed = Speed(attention="_native_efficient")
    with pytest.raises(JobError, match="does not run on cpu") as caught:
        run(tiny, speed)
    assert "native" in caught.value.details["available"]
    assert "_native_efficient" not in caught.value.details["available"]


def test_a_kernel_that_gives_wrong_numbers_is_refused_before_the_first_step(tiny, monkeypatch):
    def broken(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return value

    attention._trouble.cache_clear()
    monkeypatch.setitem(_AttentionBackendRegistry._backends, "_native_math", broken)
    monkeypatch.setitem(_AttentionBackendRegistry._supported_arg_names, "_native_math", {"query", "key", "value"})
    with pytest.raises(JobError, match="wrong numbers"):
        run(tiny, Speed(attention="_native_math"))
    attention._trouble.cache_clear()


def test_flex_attention_is_refused_where_it_would_hold_all_scores():
    with pytest.raises(JobError, match="compile_blocks"):
        Speed(attention="flex")
    Speed(attention="flex", compile_blocks=True)


# --- batched windows


@pytest.mark.parametrize("guidance", [1.0, 6.0])
@pytest.mark.parametrize("batch", [2, 3, 5])
def test_windows_together_are_the_windows_one_by_one(tiny, batch, guidance):
    one = run(tiny, Speed(), guidance=guidance)
    together = run(tiny, Speed(batch_windows=batch), guidance=guidance)
    assert (one - together).abs().max() < 1e-5


def test_windows_of_unequal_length_go_apart(tiny):
    uneven = (Window(0, 4), Window(2, 6), Window(4, 6))
    one, together = run(tiny, Speed(), uneven), run(tiny, Speed(batch_windows=3), uneven)
    assert (one - together).abs().max() < 1e-5


# --- first block cache


@pytest.mark.parametrize("guidance", [1.0, 6.0])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_cache_that_skips_nothing_changes_nothing(tiny, batch, guidance):
    without = run(tiny, Speed(batch_windows=batch), guidance=guidance)
    assert torch.equal(run(tiny, Speed(batch, first_block_cache=0.0), guidance=guidance), without)


@pytest.mark.parametrize("guidance", [1.0, 6.0])
@pytest.mark.parametrize(("batch", "groups"), [(1, 3), (2, 2)])
def test_a_high_threshold_skips_all_but_the_first_step(tiny, batch, groups, guidance):
    speed = Speed(batch, first_block_cache=ALWAYS)
    transformer = make(tiny, speed)
    counted = Counted(transformer)
    result = sample(tiny, transformer, speed, steps=4, guidance=guidance)
    assert counted.calls == groups
    assert bool(result.isfinite().all())
    assert (result - run(tiny, Speed(), guidance=guidance)).abs().max() > 1e-3


def test_windows_never_share_what_is_cached(tiny):
    """Three windows that do not overlap come out as three runs of one window each."""
    speed = Speed(first_block_cache=SKIPPING)
    transformer = make(tiny, speed)
    counted = Counted(transformer)
    together = sample(tiny, transformer, speed, APART, steps=8)
    assert 3 < counted.calls < 24  # some were skipped, and some not
    for window in APART:
        alone = sample(tiny, transformer, speed, (Window(0, 4),), steps=8, part=slice(window.start, window.stop))
        assert torch.equal(alone, together[:, window.start : window.stop])


def test_windows_that_did_share_would_be_seen(tiny, monkeypatch):
    """The test above can fail."""
    speed = Speed(first_block_cache=SKIPPING)
    transformer = make(tiny, speed)
    right = sample(tiny, transformer, speed, APART, steps=8)
    window = Speed.window
    monkeypatch.setattr(Speed, "window", lambda self, transformer, index: window(self, transformer, 0))
    assert (sample(tiny, transformer, speed, APART, steps=8) - right).abs().max() > 1e-3


def test_a_second_run_sees_nothing_of_the_first(tiny):
    speed = Speed(first_block_cache=ALWAYS)
    transformer = make(tiny, speed)
    first = sample(tiny, transformer, speed, steps=6)
    sample(tiny, transformer, speed, APART, steps=6, guidance=6.0)
    assert torch.equal(sample(tiny, transformer, speed, steps=6), first)


def test_a_cancelled_run_leaves_nothing_in_the_cache(tiny):
    speed = Speed(first_block_cache=SKIPPING)
    transformer = make(tiny, speed)
    manager = transformer.transformer_blocks[0]._diffusers_hook.hooks["fbc_leader_block_hook"].state_manager
    held = []

    def cancel(state: object) -> None:
        held.append(len(manager._state_cache))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(tiny, transformer, speed, watch=Watch(after=cancel))
    assert held == [3]
    assert not manager._state_cache


def shot() -> tuple[np.ndarray, np.ndarray]:
    video = np.random.default_rng(3).integers(0, 255, (29, 48, 80, 3), dtype=np.uint8)
    quadmask = np.full((29, 48, 80), 255, np.uint8)
    quadmask[:, 8:24, 8:40] = 0
    return video, quadmask


@pytest.fixture
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "prompts"


@pytest.mark.parametrize("batch", [1, 2])
def test_a_resumed_run_is_bit_identical_with_a_cache(tiny, tmp_path, prompts, batch):
    speed = Speed(batch, first_block_cache=ALWAYS)
    settings = {"height": 32, "width": 48, "num_inference_steps": 4, "window_frames": 13, "overlap_frames": 8}

    def pipe() -> VoidPipeline:
        return VoidPipeline.from_pretrained(tiny.base, tiny.pass1, torch.float32, "cpu", cache_dir=prompts, speed=speed)

    def folder(name: str) -> Resume:
        (tmp_path / name).mkdir(exist_ok=True)
        return Resume(tmp_path / name, every=2)

    def die(progress: Progress) -> None:
        if progress.stage == "denoise" and progress.step == 4:
            raise KeyboardInterrupt

    whole = pipe()
    counted = Counted(whole.residency.transformer)
    expected = whole(*shot(), "an empty table", resume=folder("whole"), **settings).frames
    assert counted.calls == 2 * (3 if batch == 1 else 2)  # of 4 steps the first, and the one after the saved one
    with pytest.raises(KeyboardInterrupt):
        pipe()(*shot(), "an empty table", resume=folder("killed"), callback=die, **settings)
    seen = []
    found = pipe()(
        *shot(), "an empty table", resume=folder("killed"), callback=lambda p: seen.append(p.step), **settings
    ).frames
    assert min(step for step in seen if step) >= 3  # it did go on, and not start again
    assert np.array_equal(found, expected)


# --- compiled blocks


@contextmanager
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def graphs() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Blocks are traced into graphs, but the graphs run in Python: seconds instead of minutes."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    with fresh_compiler():
        yield


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("cache", [None, 0.0])
def test_all_blocks_share_one_graph_and_give_the_eager_numbers(tiny, cache):
    speed = Speed(compile_blocks=True, first_block_cache=cache)
    assert (run(tiny, speed, steps=2) - run(tiny, Speed(), steps=2)).abs().max() < 1e-5
    assert graphs() == 1
    assert not torch._dynamo.utils.counters["graph_break"]


@pytest.mark.usefixtures("traced")
def test_compiled_blocks_are_skipped_like_others(tiny):
    speed = Speed(compile_blocks=True, first_block_cache=SKIPPING)
    transformer = make(tiny, speed)
    found = sample(tiny, transformer, speed, steps=6)
    assert (found - run(tiny, Speed(first_block_cache=SKIPPING), steps=6)).abs().max() < 1e-5


@pytest.mark.usefixtures("traced")
def test_warming_up_leaves_nothing_to_compile(tiny):
    speed = Speed(batch_windows=2, compile_blocks=True, first_block_cache=SKIPPING)
    transformer = make(tiny, speed)
    sampler = Sampler(transformer, THREE, CPU, torch.float32, speed)
    warm_up(sampler, 48, 80)
    before = graphs()
    assert before == 2  # two windows together, and the third alone
    warm = sample(tiny, transformer, speed, steps=2)
    assert graphs() == before
    assert torch.equal(warm, run(tiny, speed, steps=2))


@pytest.mark.usefixtures("traced")
def test_a_missing_compiler_is_told_before_the_run(tiny, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(JobError, match="no-such-compiler") as caught:
        run(tiny, Speed(compile_blocks=True))
    assert caught.value.details["key"] == "compile_blocks"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("cache", [None, SKIPPING])
def test_compiled_machine_code_gives_the_eager_numbers(tiny, cache):
    import torch._inductor.config as inductor

    with fresh_compiler(), inductor.patch(compile_threads=1):
        speed = Speed(compile_blocks=True, first_block_cache=cache)
        found = run(tiny, speed, steps=3)
        assert graphs() == 1
    assert (found - run(tiny, Speed(first_block_cache=cache), steps=3)).abs().max() < 1e-4
