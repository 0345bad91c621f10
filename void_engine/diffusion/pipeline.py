"""``VoidPipeline``: a clip and its quadmask in, the clip without the object out.

The order of the work is `VoidPipeline.generate`: text, encode, noise, denoise; `decode` brings the frames back. What is
computed, and how production differs from upstream, is told in docs/model.md.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from void_client.errors import InputError

from void_engine.diffusion.cache import TensorCache
from void_engine.diffusion.frames import Frames, Mode
from void_engine.diffusion.geometry import SPATIAL, latent_frames, window_tokens
from void_engine.diffusion.loading import adds_condition_noise, load_transformer, load_vae
from void_engine.diffusion.memory import Residency, is_out_of_memory
from void_engine.diffusion.progress import Callback, Progress, silent
from void_engine.diffusion.request import Request
from void_engine.diffusion.resume import Resume
from void_engine.diffusion.run import Extras, Generated, Run, prepare_clip
from void_engine.diffusion.sampling import Sampler
from void_engine.diffusion.speed import Speed, warm_up
from void_engine.diffusion.vae import VideoVae

Array = npt.NDArray[Any]
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class VoidResult:
    """``frames`` (T', H, W, 3) float32 in [0, 1]. ``trace``: intermediate tensors by the names of docs/model.md, where
    asked for. ``memory``: how the weights were held in the end; ``notes``: what an artist should know of the run.
    """

    frames: npt.NDArray[np.float32]
    memory: str
    notes: tuple[str, ...] = ()
    trace: Tensors = field(default_factory=dict)


class VoidPipeline:
    """The VOID model on stock `diffusers` classes; one object for many shots. Not safe for several threads at once."""

    def __init__(
        self,
        residency: Residency,
        base: Path,
        *,
        memory: str = "auto",
        cache: TensorCache | None = None,
        speed: Speed | None = None,
        identity: str = "",
    ) -> None:
        self.residency = residency
        self.memory = memory
        self.speed = speed or Speed()
        self.identity = identity
        self.base = base
        self.cache = cache or TensorCache(None)
        self.adds_noise = adds_condition_noise(base)

    @classmethod
    def from_pretrained(
        cls,
        base_dir: str | os.PathLike[str],
        checkpoint: str | os.PathLike[str],
        dtype: torch.dtype = torch.bfloat16,
        device: str = "cuda",
        memory: str = "auto",
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        identity: str | None = None,
        speed: Speed | None = None,
    ) -> VoidPipeline:
        """``base_dir``: the folder of CogVideoX-Fun-V1.5-5b-InP; ``checkpoint``: VOID's pass 1 or 2, safetensors.

        ``memory``: full, offload, group or fp8, each with ``+tiled``, or auto. ``cache_dir`` keeps prompt embeddings
        and encodings; ``identity`` names the weights in its keys (their files' sizes and times without it).
        Raises ``ModelError`` where files are missing, torn or of another model, ``JobError`` for a bad argument.
        """
        base, path = Path(base_dir), Path(checkpoint)
        vae = VideoVae(load_vae(base, dtype))
        transformer = load_transformer(base, path, dtype, torch.device("cpu"))
        residency = Residency(transformer, vae, base, dtype, device)
        named = identity if identity is not None else _stamp(base)
        cache = TensorCache(Path(cache_dir) if cache_dir is not None else None, f"{named} {dtype}")
        chosen = speed or Speed()
        chosen.prepare(transformer)
        weights = f"{named} {_file_stamp(path)}"
        return cls(residency, base, memory=memory, cache=cache, speed=chosen, identity=f"{weights} {dtype}")

    def __call__(
        self,
        video: Frames,
        quadmask: Frames,
        prompt: str,
        negative_prompt: str = "",
        height: int = 384,
        width: int = 672,
        num_inference_steps: int = 30,
        guidance_scale: float = 1.0,
        pass_number: int = 1,
        mode: Mode = "production",
        window_frames: int = 85,
        overlap_frames: int = 16,
        max_frames: int | None = None,
        seed: int = 42,
        init_latents: torch.Tensor | Array | None = None,
        inpaint_noise: torch.Tensor | Array | None = None,
        callback: Callback | None = None,
        resume: Resume | str | os.PathLike[str] | None = None,
        *,
        motion: Frames | None = None,
        preview_every: int = 0,
        trace: bool = False,
    ) -> VoidResult:
        """Remove from ``video`` what ``quadmask`` marks, and what it caused.

        ``video`` (T, H, W, 3), uint8 or floats in [0, 1], display-referred, at any size; ``quadmask`` uint8 (T, H, W):
        0 remove, 63 overlap, 127 affected, 255 keep. Either may be any sequence of frames. The model works at
        ``height`` x ``width``, multiples of 16.

        ``prompt`` says what the scene looks like once the object is gone. ``guidance_scale`` above 1 steers away from
        ``negative_prompt``. Clips longer than ``window_frames`` (8k + 5) are denoised in windows that overlap by
        ``overlap_frames`` and are blended after every step.

        ``mode="upstream"`` gives upstream's numbers: padded length, at most ``max_frames`` (197) of it, its thresholds
        and windows. ``mode="production"`` gives exactly T frames; longer clips than ``max_frames`` are refused.

        ``init_latents`` (1, F, 16, h, w) and ``inpaint_noise`` (1, 3, T', H, W) replace the seed's noise. Pass 2 starts
        from noise that follows ``motion``, pass 1's frames as uint8. ``resume`` names a folder in which the run is
        saved after every step (or a `Resume`), and from which it goes on.

        ``callback`` is told of all progress and may raise to cancel. Raises ``JobError`` for bad input, ``JobFailed``
        where the device's memory is too small.
        """
        request = Request(
            prompt, negative_prompt, height, width, num_inference_steps, guidance_scale, pass_number, mode,
            window_frames, overlap_frames, max_frames, seed,
        )  # fmt: skip
        extras = Extras(
            _tensor(init_latents), _tensor(inpaint_noise), motion, callback or silent, preview_every,
            _resume(resume, 1 if self.speed.first_block_cache is None else 5), trace,
        )  # fmt: skip
        generated = self.generate(video, quadmask, request, extras)
        frames = np.empty((generated.frames, height, width, 3), np.float32)
        for index, frame in self.decode(generated, extras.callback):
            frames[index] = frame
        result_trace = dict(generated.trace)
        if trace:
            result_trace["output"] = torch.from_numpy(frames).permute(3, 0, 1, 2)[None]
        if extras.resume is not None:
            extras.resume.discard()
        return VoidResult(frames, self.residency.mode, tuple(self.residency.notes), result_trace)  # decoding's, too

    def generate(self, video: Frames, quadmask: Frames, request: Request, extras: Extras | None = None) -> Generated:
        """The clip's final latents. Raises as `__call__` does."""
        extras = extras or Extras()
        clip = prepare_clip(video, quadmask, request)
        run = Run(self, clip, request, extras)
        self.residency.notes.clear()
        self.residency.settle(self.memory, run.tokens, request.height * request.width)
        embeds = run.embed()
        encoded = run.encode()
        start = run.initial_noise()
        latents = run.denoise(start, encoded, embeds)
        return Generated(latents, clip.padded if request.mode == "upstream" else clip.frames, run.trace)

    def warm_up(self, height: int, width: int, window_frames: int = 85, guidance_scale: float = 1.0) -> None:
        """Compile and choose kernels for windows of this size on zeros, before anybody waits. Raises ``JobError``."""
        request = Request("", height=height, width=width, window_frames=window_frames, guidance=guidance_scale)
        windows = request.windows(latent_frames(window_frames))
        tokens = window_tokens(windows[0].length, height, width)
        self.residency.settle(self.memory, tokens * (2 if guidance_scale > 1.0 else 1), height * width)
        with self.residency.using_transformer() as transformer:
            sampler = Sampler(transformer, windows, self.residency.device, self.residency.dtype, self.speed)
            warm_up(sampler, height, width, guidance_scale)

    def decode(
        self, generated: Generated, callback: Callback = silent
    ) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """(position, frame (H, W, 3) in [0, 1]), in order; a few frames are in memory at a time.

        Where the device's memory is too small it begins again one rung down: frames that were given come again.
        """
        if not self.residency.mode:  # latents of an earlier process
            height, width = generated.latents.shape[-2:]
            self.residency.settle(self.memory, 0, height * width * SPATIAL**2)
        while True:
            frames = self._decode_once(generated, callback)
            try:
                yield from frames
                return
            except RuntimeError as problem:
                if not is_out_of_memory(problem):
                    raise
                trouble = str(problem)
            frames.close()
            self.residency.relieve("decoding", trouble)

    def _decode_once(
        self, generated: Generated, callback: Callback
    ) -> Generator[tuple[int, npt.NDArray[np.float32]], None, None]:
        position = 0
        with self.residency.using_vae() as vae:
            for chunk in vae.decode(generated.latents.permute(0, 2, 1, 3, 4)):
                for frame in chunk.permute(1, 2, 3, 0).numpy()[: generated.frames - position]:
                    yield position, frame
                    position += 1
                callback(Progress("decode", position, generated.frames))
                if position == generated.frames:
                    return


def _tensor(value: torch.Tensor | Array | None) -> torch.Tensor | None:
    return torch.from_numpy(np.asarray(value)) if isinstance(value, np.ndarray) else value


def _resume(value: Resume | str | os.PathLike[str] | None, every: int) -> Resume | None:
    if value is None or isinstance(value, Resume):
        return value
    folder = Path(value)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(
            f"The folder {folder}, in which the run is to be saved, cannot be made ({problem.strerror}).",
            hint="Choose another folder for resume, or run without it.",
            details={"file": str(folder), "key": "resume"},
        ) from problem
    return Resume(folder, every)


def _stamp(base: Path) -> str:
    """The base's files as they are now; their content is not read."""
    return " ".join(_file_stamp(path) for path in sorted(base.rglob("*.safetensors")))


def _file_stamp(path: Path) -> str:
    state = path.stat()
    return f"{path.resolve()} {state.st_size} {state.st_mtime_ns}"
