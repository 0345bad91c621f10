"""Where the weights are while they are not at work: all on the device, moved when needed, in groups, or in 8 bits.

Promises: every rung gives the same picture but for `fp8` (rounded weights) and tiles (their own normalisation), and
each step down is noted. Must not know what the models compute.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from diffusers.hooks.group_offloading import apply_group_offloading
from void_client.errors import JobError, JobFailed

from void_engine.diffusion.loading import Transformer, load_text_encoder
from void_engine.diffusion.room import TRANSFORMER_BYTES_PER_TOKEN, USABLE, VAE_BYTES_PER_PIXEL
from void_engine.diffusion.vae import Tiling, VideoVae

log = logging.getLogger(__name__)

T = TypeVar("T")
PLACES: Final = ("full", "offload", "group", "fp8")
LADDER: Final = ("full", "offload", "group", "group+tiled")
"""What ``auto`` steps down: nothing on it rounds a weight."""

_OUT_OF_MEMORY: Final = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def check_memory(memory: str) -> None:
    """Raises ``JobError`` where there is no such way to hold the weights."""
    if memory not in ("auto", "tiled", *PLACES, *(f"{place}+tiled" for place in PLACES)):
        raise JobError(
            f"There is no memory mode {memory!r}.",
            hint=f"Use auto, {', '.join(PLACES)}, each with +tiled where the VAE shall work in tiles, or tiled.",
            details={"key": "memory"},
        )


class Residency:
    """Transformer, VAE and text encoder, and how much of the device they take. ``notes`` tell each step down."""

    def __init__(self, transformer: Transformer, vae: VideoVae, base: Path, dtype: torch.dtype, device: str) -> None:
        self.transformer = transformer
        self.vae = vae
        self.device = torch.device(device)
        self.dtype = dtype
        self.mode = ""
        self.notes: list[str] = []
        self._base = base
        self._text: tuple[Any, Any] | None = None
        self._auto = False

    def settle(self, memory: str, tokens: int, pixels: int) -> None:
        """Take up a mode; ``auto`` by what is free, for windows of ``tokens`` and frames of ``pixels``."""
        check_memory(memory)
        if self.mode and memory == ("auto" if self._auto else self.mode):
            if self._auto and self.mode == "group+tiled":  # tiles change the picture: no shot gets another's
                self._enter("group" if not self._suited(tokens, pixels).endswith("+tiled") else self.mode)
            return
        self._auto = memory == "auto"
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self._enter(self._suited(tokens, pixels) if self._auto else memory)

    def facts(self) -> dict[str, Any]:
        """For the manifest: how the weights are held and, on a GPU, the most memory that was taken since `settle`."""
        facts: dict[str, Any] = {"memory": self.mode}
        if self.device.type == "cuda":
            facts["peak_gb"] = round(torch.cuda.max_memory_allocated(self.device) / 1e9, 2)
        return facts

    def step_down(self, why: str) -> bool:
        """To the next rung of the ladder, where ``auto`` was asked for and there is one."""
        if not self._auto or self.mode not in LADDER[:-1]:
            return False
        before, after = self.mode, LADDER[LADDER.index(self.mode) + 1]
        self._enter(after)
        self.note(f"out of memory while {why}: went from {before} to {after}")
        return True

    def note(self, text: str) -> None:
        log.warning("%s", text)
        self.notes.append(text)

    def stepping_down(
        self,
        why: str,
        work: Callable[[], T],
        *,
        first: Callable[[], bool] = lambda: False,
        last: Callable[[], bool] = lambda: False,
    ) -> T:
        """``work()``, again after each step down. ``first()`` may help before the ladder, ``last()`` where it ends.

        Raises ``JobFailed`` where nothing is left to try.
        """
        while True:
            try:
                return work()
            except RuntimeError as problem:
                if not is_out_of_memory(problem):
                    raise
                trouble = str(problem)
            self.relieve(why, trouble, first, last)

    def relieve(
        self,
        why: str,
        trouble: str,
        first: Callable[[], bool] = lambda: False,
        last: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make room after a failed try; call it outside the handler, whose traceback holds the try's tensors."""
        release_memory(self.device)
        if not first() and not self.step_down(why) and not last():
            raise JobFailed(
                f"The device has not enough memory while {why} ({trouble.split('. ')[0]}).",
                hint="Use a smaller size or window, memory: auto or group+tiled, or a larger device.",
                details={"memory": self.mode},
            )

    @contextmanager
    def using_transformer(self) -> Iterator[Transformer]:
        if self._place == "group":  # its hooks move it
            yield self.transformer
            return
        with self._on_device(self.transformer):
            yield self.transformer

    @contextmanager
    def using_vae(self) -> Iterator[VideoVae]:
        with self._on_device(self.vae.model):
            yield self.vae

    @contextmanager
    def using_text(self) -> Iterator[tuple[Any, Any]]:
        """Tokenizer and encoder, loaded when they are needed and, but for ``full``, let go again."""
        if self._text is None:
            self._text = load_text_encoder(self._base, self.dtype)
        tokenizer, encoder = self._text
        try:
            self._place_text(encoder)
            yield tokenizer, encoder
        finally:
            if self._place != "full":
                self._text = None
                encoder.to("meta")  # whoever still holds it, our caller for one, holds no weights
                release_memory(self.device)

    def _place_text(self, encoder: Any) -> None:
        """On the CPU where the device has no room: T5 is 9.5 GB, read once, and slower by seconds only."""
        try:
            encoder.to(self.device)
            return
        except RuntimeError as problem:
            if not is_out_of_memory(problem):
                raise
        encoder.to("cpu")
        release_memory(self.device)
        self.note("the prompt was read on the CPU: the device had no room for T5")

    @property
    def _place(self) -> str:
        return self.mode.removesuffix("+tiled")

    @contextmanager
    def _on_device(self, model: torch.nn.Module) -> Iterator[None]:
        try:
            model.to(self.device)  # may fail half way
            yield
        finally:
            if self._place != "full" and self.device.type != "cpu":
                model.to("cpu")
                release_memory(self.device)

    def _enter(self, mode: str) -> None:
        mode = "full+tiled" if mode == "tiled" else mode
        before, after = self._place, mode.removesuffix("+tiled")
        if before in ("group", "fp8") and after != before:
            raise JobError(
                f"The weights are held as {before!r} and cannot change to {after!r}.",
                hint="Load the pipeline again.",
                details={"key": "memory"},
            )
        self.mode = mode
        self.vae.tiling = Tiling() if mode.endswith("+tiled") else None
        if after == before:
            return
        if self._place != "full":
            self._text = None
            if self.device.type != "cpu":
                self.transformer.to("cpu")
                self.vae.model.to("cpu")
        if self._place == "group":
            apply_group_offloading(
                self.transformer,
                onload_device=self.device,
                offload_device=torch.device("cpu"),
                offload_type="block_level",
                num_blocks_per_group=1,
                use_stream=self.device.type == "cuda",
            )
        if self._place == "fp8":
            self.transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=self.dtype)
        release_memory(self.device)

    def _suited(self, tokens: int, pixels: int) -> str:
        if self.device.type != "cuda":
            return "offload"  # lets T5 go; nothing else to gain
        free, _ = torch.cuda.mem_get_info(self.device)
        free += torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        weights, vae = _bytes(self.transformer), _bytes(self.vae.model)
        text = sum(path.stat().st_size for path in (self._base / "text_encoder").glob("*.safetensors"))
        acting, coding = tokens * TRANSFORMER_BYTES_PER_TOKEN, pixels * VAE_BYTES_PER_PIXEL
        if weights + vae + text + max(acting, coding) < USABLE * free:
            return "full"
        if max(weights + acting, vae + coding, text) < USABLE * free:
            return "offload"
        return "group" if vae + coding < USABLE * free else "group+tiled"


def is_out_of_memory(problem: RuntimeError) -> bool:
    """Torch has a class for it, but not all that it calls: cuBLAS and the driver tell it in their messages."""
    if isinstance(problem, torch.OutOfMemoryError):
        return True
    return any(sign in str(problem) for sign in _OUT_OF_MEMORY)


def release_memory(device: torch.device) -> None:
    """Give freed tensors' memory back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _bytes(model: torch.nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
