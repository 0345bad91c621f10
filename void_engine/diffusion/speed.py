"""What makes the transformer faster, each an option: batched windows, attention kernels, compiled blocks, a cache.

Promises: without options the plain eager transformer runs; nothing that a cache holds outlives a run or a saved state.
Must not know the loop.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from diffusers import FirstBlockCacheConfig
from void_client.errors import JobError

from void_engine.diffusion import attention
from void_engine.diffusion.geometry import SPATIAL
from void_engine.diffusion.loading import Transformer

if TYPE_CHECKING:
    from void_engine.diffusion.sampling import Sampler

_ONLY_COMPILED: Final = "flex"  # by itself it holds all scores of all tokens: 25 GB for one window


@dataclass(frozen=True)
class Speed:
    """``batch_windows``: windows of equal length that go through the transformer together.

    ``attention``: a kernel of `attention.known_backends`; empty: the stock processor. ``compile_blocks``: each block
    through ``torch.compile``, minutes at the first call of a new size. ``first_block_cache``: all blocks but the first
    are skipped, and their last change is used again, where the first block's output changed by less than this share
    since it was last followed through; 0.05 to 0.1 are usual, 0 skips nothing. Raises ``JobError``.
    """

    batch_windows: int = 1
    attention: str = ""
    compile_blocks: bool = False
    first_block_cache: float | None = None

    def __post_init__(self) -> None:
        _check("batch_windows", self.batch_windows, _whole(self.batch_windows), "a whole number, 1 or more")
        _check("compile_blocks", self.compile_blocks, isinstance(self.compile_blocks, bool), "true or false")
        _check("first_block_cache", self.first_block_cache, _share(self.first_block_cache), "0 or more, or left out")
        _check("attention", self.attention, isinstance(self.attention, str), "a name")
        if self.attention:
            attention.check_backend(self.attention)
        if self.attention == _ONLY_COMPILED and not self.compile_blocks:
            raise JobError(
                f"The attention kernel {_ONLY_COMPILED!r} needs compile_blocks.",
                hint="Without it, it is slower than none and takes 25 GB more.",
                details={"key": "attention"},
            )

    def as_dict(self) -> dict[str, Any]:
        """What decides a pixel, if only by rounding: all of it. Belongs in the key of a saved run."""
        return asdict(self)

    def prepare(self, transformer: Transformer) -> None:
        """Once, after loading, before anything else hooks itself into the blocks.

        From inside out: the compiled block, the cache around it (it decides in Python what to skip), and later, around
        both, what moves weights: so these hooks are never compiled. (Memory ``fp8`` has hooks on the layers inside,
        which split the graph: right numbers, no gain.)
        """
        if self.attention or self.compile_blocks:
            attention.use_backend(transformer, self.attention or attention.NATIVE)
        if self.compile_blocks:
            _compile(transformer.transformer_blocks)
        if self.first_block_cache is not None:
            transformer.enable_cache(cast(Any, FirstBlockCacheConfig)(threshold=float(self.first_block_cache)))

    def start(self, transformer: Transformer, device: torch.device, dtype: torch.dtype) -> None:
        """Before a run, on its device: empty caches. Raises ``JobError`` for what cannot run here."""
        self.forget(transformer)
        if self.attention:
            attention.check_on_device(self.attention, device, dtype, transformer.config.attention_head_dim)
        if self.compile_blocks:
            _check_compiler(device)

    def window(self, transformer: Transformer, index: int) -> AbstractContextManager[Any]:
        """Around each call, with its first window's index: no window is given what another one left in the cache."""
        if self.first_block_cache is None:
            return nullcontext()
        return cast(AbstractContextManager[Any], transformer.cache_context(f"window {index}"))

    def forget(self, transformer: Transformer) -> None:
        """Empty the caches."""
        if self.first_block_cache is not None:
            transformer._reset_stateful_cache()


@torch.no_grad()
def warm_up(sampler: Sampler, height: int, width: int, guidance: float = 1.0) -> None:
    """One call for each shape that a run of ``sampler`` at this size will use, on zeros: compiles, and finds the
    kernels. So a server does it before its first job. The weights must be on the device: `Residency.using_transformer`.
    """
    speed, transformer = sampler.speed, sampler.transformer
    config = transformer.config
    speed.start(transformer, sampler.device, sampler.dtype)
    for length, batch in _shapes([window.length for window in sampler.windows], speed.batch_windows):
        samples = batch * (2 if guidance > 1.0 else 1)
        size = (samples, length, config.in_channels, height // SPATIAL, width // SPATIAL)
        text = (samples, config.max_text_seq_length, config.text_embed_dim)
        with speed.window(transformer, 0):
            transformer(
                hidden_states=torch.zeros(size, device=sampler.device, dtype=sampler.dtype),
                encoder_hidden_states=torch.zeros(text, device=sampler.device, dtype=sampler.dtype),
                timestep=torch.zeros((), device=sampler.device, dtype=torch.int64).expand(samples),
                image_rotary_emb=sampler.rotary(length, *size[-2:]),
                return_dict=False,
            )
        speed.forget(transformer)


def _compile(blocks: Iterable[Any]) -> None:
    """All blocks share one graph, for weights are its inputs; one for the first size, one or two for all others.

    Not ``block.compile()``: that compiles hooks, too. The first block is given parts of one tensor, and others whole
    tensors: another layout in memory, which would be another graph.
    """
    for i, block in enumerate(blocks):
        block.forward = torch.compile(block.forward)
        if i == 0:
            block.forward = _on_whole_tensors(block.forward)


def _on_whole_tensors(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def copied(hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, **rest: Any) -> Any:
        whole = torch.contiguous_format
        return forward(
            hidden_states=hidden_states.clone(memory_format=whole),
            encoder_hidden_states=encoder_hidden_states.clone(memory_format=whole),
            **rest,
        )

    return copied


def _shapes(lengths: list[int], batch: int) -> list[tuple[int, int]]:
    """(length, windows) of every call; windows of one length follow each other."""
    found = []
    for length in sorted(set(lengths)):
        full, rest = divmod(lengths.count(length), batch)
        found += [(length, batch)] * (full > 0) + [(length, rest)] * (rest > 0)
    return found


def _check_compiler(device: torch.device) -> None:
    """torch would say so, too, but in the middle of a run and in a page of text."""
    if device.type == "cuda":
        needed, here = "triton", importlib.util.find_spec("triton") is not None
    else:
        needed = os.environ.get("CXX", "cl" if os.name == "nt" else "g++")
        here = shutil.which(needed) is not None
    if not here:
        raise JobError(
            f"compile_blocks needs {needed} on {device}, and it is not here.",
            hint="Install it, or leave compile_blocks out.",
            details={"key": "compile_blocks"},
        )


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _share(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _check(key: str, value: object, good: bool, allowed: str) -> None:
    if not good:
        raise JobError(f"{key} is {value!r}; it must be {allowed}.", details={"key": key})
