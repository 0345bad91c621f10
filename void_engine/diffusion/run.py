"""One run of the model, step by step: text, encode, noise, denoise. `VoidPipeline.generate` gives their order.

Must not: load weights or decide where they lie (`memory`), or decode.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from void_client.errors import JobError, JobFailed

from void_engine.diffusion import noise, preview
from void_engine.diffusion.frames import Frames, ModelClip, check_clip, check_motion, sized
from void_engine.diffusion.geometry import (
    LATENT_CHANNELS,
    SPATIAL,
    TEMPORAL,
    even_windows,
    latent_frames,
    mirrored,
    window_tokens,
)
from void_engine.diffusion.loading import load_scheduler
from void_engine.diffusion.progress import Callback, Progress, silent
from void_engine.diffusion.request import Request
from void_engine.diffusion.resume import Resume
from void_engine.diffusion.sampling import Conditions, Denoising, Sampler, Watch
from void_engine.diffusion.spread import Hands, Spread
from void_engine.diffusion.text import embed_prompts
from void_engine.diffusion.warped_noise import warped_latent_noise

if TYPE_CHECKING:
    from void_engine.diffusion.pipeline import VoidPipeline

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Generated:
    """A finished run before its frames are decoded: ``latents`` (1, F, 16, h, w) on the CPU, and how many frames."""

    latents: torch.Tensor
    frames: int
    trace: Tensors = field(default_factory=dict)


@dataclass(frozen=True)
class Extras:
    """What a caller may bring or ask for besides the request. ``motion``: pass 1's frames, for pass 2's noise.
    ``hands``: who may take some of the windows."""

    init_latents: torch.Tensor | None = None
    inpaint_noise: torch.Tensor | None = None
    motion: Frames | None = None
    callback: Callback = silent
    preview_every: int = 0
    resume: Resume | None = None
    trace: bool = False
    hands: Hands | None = None


class Run:
    """The steps of one `VoidPipeline.generate`."""

    def __init__(self, pipeline: VoidPipeline, clip: ModelClip, request: Request, extras: Extras) -> None:
        self._pipeline, self._clip, self._request, self._extras = pipeline, clip, request, extras
        self._residency = pipeline.residency
        self._speed = pipeline.speed
        self._windows = request.windows(latent_frames(clip.padded))
        self._random = noise.generator(request.seed, "initial")
        self._input_key: str | None = None
        self._tiled = False  # the encoding
        self.trace: Tensors = {}

    @property
    def tokens(self) -> int:
        """That go through the transformer together, for `Residency.settle`."""
        copies = 2 if self._request.guidance > 1.0 else 1
        tokens = window_tokens(self._windows[0].length, self._request.height, self._request.width)
        return copies * self._speed.batch_windows * tokens

    def embed(self) -> torch.Tensor:
        """The prompts' embeddings (1 or 2, 226, D): the negative one first."""
        request = self._request
        self._tell(Progress("text", 0, 1))
        prompts = [request.negative_prompt, request.prompt] if request.guidance > 1.0 else [request.prompt]
        embeds = self._residency.stepping_down(
            "reading the prompt",
            lambda: embed_prompts(prompts, self._residency.using_text, self._pipeline.cache),
        )
        self._tell(Progress("text", 1, 1))
        self._note(prompt_embeds=embeds[-1])
        if len(embeds) > 1:
            self._note(negative_prompt_embeds=embeds[0])
        return torch.cat(embeds)

    def encode(self) -> Tensors:
        """``mask``, ``video`` (1, 16, F, h, w) and ``thumbnails`` (F, 3, h, w), from the cache or the VAE."""
        cache, clip = self._pipeline.cache, self._clip
        given = self._extras.inpaint_noise
        shape = (1, 3, clip.padded, self._request.height, self._request.width)
        if given is not None and tuple(given.shape) != shape:
            raise JobError(
                f"inpaint_noise has the shape {tuple(given.shape)}, and the run needs {shape}.",
                details={"key": "inpaint_noise"},
            )
        known = cache.get("encoding", self._encoding_key()) if cache.on and not self._extras.trace else None
        if known is None:
            known = self._residency.stepping_down("encoding the frames", lambda: self._encode_once(given))
            if cache.on:
                cache.put("encoding", self._encoding_key(), known)
        self._tiled = self._residency.vae.tiling is not None
        self._tell(Progress("encode", 2 * clip.padded, 2 * clip.padded))
        self._note(mask_latents=known["mask"], masked_video_latents=known["video"])
        return known

    def _encoding_key(self) -> list[Any]:
        """What decides the encoding; after a step down it may be another than before."""
        tiled, given = self._residency.vae.tiling is not None, self._extras.inpaint_noise
        return [self.input_key(), self._request.seed, tiled, self._pipeline.adds_noise, _digest(given)]

    def _encode_once(self, given: torch.Tensor | None) -> Tensors:
        clip, padded = self._clip, self._clip.padded
        adding = noise.ConditionNoise(self._request.seed, given, self._pipeline.adds_noise)
        prepared: dict[str, list[torch.Tensor]] = {"video": [], "mask": [], "condition": []}
        adding.drawn = [] if self._extras.trace else None
        thumbnails = []

        def video(start: int, stop: int) -> torch.Tensor:
            frames = []
            for index in range(start, stop):
                rgb = clip.rgb(index)
                if index % TEMPORAL == 0:
                    thumbnails.append(preview.thumbnail(rgb))
                if self._extras.trace:
                    prepared["video"].append(rgb)
                frames.append(adding.add(rgb * 2.0 - 1.0, index))
            return torch.stack(frames, dim=1)[None]

        def mask(start: int, stop: int) -> torch.Tensor:
            frames = []
            for index in range(start, stop):
                level = clip.mask(index)
                condition = clip.condition(level)
                if self._extras.trace:
                    prepared["mask"].append(level)
                    prepared["condition"].append(condition)
                frames.append((1.0 - condition).expand(3, -1, -1))
            return torch.stack(frames, dim=1)[None]

        with self._residency.using_vae() as vae:
            masks = vae.encode(mask, padded, lambda done: self._tell(Progress("encode", done, 2 * padded)))
            videos = vae.encode(video, padded, lambda done: self._tell(Progress("encode", padded + done, 2 * padded)))
        if self._extras.trace:
            self._note(
                prepared_video=torch.stack(prepared["video"], 1)[None],
                prepared_mask=torch.stack(prepared["mask"])[None, None],
                mask_condition=torch.stack(prepared["condition"])[None, None],
            )
            if adding.drawn:
                self._note(inpaint_noise=torch.stack(adding.drawn, 1)[None])
        return {"mask": masks, "video": videos, "thumbnails": torch.stack(thumbnails)}

    def initial_noise(self) -> torch.Tensor:
        """(1, F, 16, h, w): what was given, noise that follows pass 1's motion, or white noise."""
        request, clip = self._request, self._clip
        shape = (1, latent_frames(clip.padded), LATENT_CHANNELS, request.height // SPATIAL, request.width // SPATIAL)
        given, motion = self._extras.init_latents, self._extras.motion
        if given is not None:
            if tuple(given.shape) != shape:
                raise JobError(
                    f"init_latents has the shape {tuple(given.shape)}, and the run needs {shape}.",
                    details={"key": "init_latents"},
                )
            latents = given.float()
        elif request.pass_number == 2 and motion is not None:
            check_motion(motion, clip.frames)
            latents = torch.from_numpy(
                warped_latent_noise(
                    lambda index: sized(motion[mirrored(index, clip.frames)], request.height, request.width),
                    clip.padded,
                    height=request.height,
                    width=request.width,
                    seed=request.seed,
                    tick=lambda done, of: self._tell(Progress("noise", done, of)),
                )
            )[None]
        else:
            if request.pass_number == 2:
                self._residency.note("pass 2 started from noise that follows no motion: pass 1's frames were not given")
            latents = noise.initial_latents(shape[1], request.height, request.width, self._random)
        self._note(init_latents=latents)
        return latents

    def denoise(self, start: torch.Tensor, encoded: Tensors, embeds: torch.Tensor) -> torch.Tensor:
        """The final latents, on the CPU."""
        show = preview.PreviewMap(encoded["video"], encoded["thumbnails"]) if self._extras.preview_every else None
        latents = self._residency.stepping_down(
            "denoising",
            lambda: self._denoise_once(start, encoded, embeds, show),
            first=self._one_window_at_a_time,
            last=self._smaller_window,
        )
        self._note(final_latents=latents)
        return latents

    def _denoise_once(
        self, start: torch.Tensor, encoded: Tensors, embeds: torch.Tensor, show: preview.PreviewMap | None
    ) -> torch.Tensor:
        residency, request, device = self._residency, self._request, self._residency.device
        with residency.using_transformer() as transformer:
            sampler = Sampler(transformer, self._windows, device, residency.dtype, self._speed)
            scheduler = load_scheduler(self._pipeline.base, request.pass_number)
            state = sampler.start(start, scheduler, request.steps)
            joined = torch.cat([encoded["mask"], encoded["video"]], dim=1).permute(0, 2, 1, 3, 4).to(device)
            conditions = Conditions(joined, embeds.to(device, residency.dtype), request.guidance)
            self._note(timesteps=state.schedulers[0].timesteps)
            key = self._run_key(start) if self._extras.resume is not None else ""
            if self._extras.resume is not None:
                self._extras.resume.load(key, state, self._random)
            with self._spreading(conditions) as sampler.spread:
                return sampler.run(state, conditions, self._watch(sampler, key, show)).cpu()

    @contextmanager
    def _spreading(self, conditions: Conditions) -> Iterator[Spread | None]:
        """Where there is more than one window. Not with a cache: what it skips depends on who was given what before."""
        hands = self._extras.hands
        if hands is None or len(self._windows) == 1 or self._speed.first_block_cache is not None:
            yield None
            return
        begin = {
            "guidance": conditions.guidance,
            "tokens": self.tokens,
            "speed": self._speed.as_dict(),
            "fp8": self._residency.mode.startswith("fp8"),
        }
        spread = Spread(hands, begin, {"condition": conditions.latents, "embeds": conditions.embeds})
        try:
            yield spread
        finally:
            spread.close()

    def _watch(self, sampler: Sampler, key: str, show: preview.PreviewMap | None) -> Watch:
        resume, steps, count = self._extras.resume, self._request.steps, len(self._windows)

        def wanted(step: int) -> bool:
            return show is not None and step % self._extras.preview_every == 0

        def progress(step: int, window: int, picture: npt.NDArray[np.float32] | None = None) -> None:
            done = min(step, steps - 1) * count + window if step < steps else steps * count
            self._tell(Progress("denoise", done, steps * count, min(step + 1, steps), steps, window, count, picture))

        def after(state: Denoising) -> None:
            _check_finite(state.latents, state.step)
            if state.step == 1:
                self._note(latents_after_step0=state.latents)
            if resume is not None and resume.due(state.step, steps):
                resume.save(key, state, self._random)
                sampler.forget()  # a resumed run starts with empty caches, so this one does, too
            picture = show(state.clean) if show is not None and state.clean is not None else None
            progress(state.step, 0, picture)

        def first(output: torch.Tensor, timestep: torch.Tensor) -> None:
            self._note(first_model_output=output, first_timestep=timestep)

        return Watch(lambda step, window: progress(step, window), after, first, wanted)

    def _one_window_at_a_time(self) -> bool:
        if self._speed.batch_windows == 1 or len(self._windows) == 1:
            return False
        self._speed = replace(self._speed, batch_windows=1)
        self._residency.note("out of memory while denoising: windows went through one at a time")
        return True

    def _smaller_window(self) -> bool:
        """The last thing that helps: another picture, but a picture. Upstream mode keeps to upstream's windows."""
        window = (self._windows[0].length // 2) // 2 * 2
        if self._request.mode == "upstream" or window < 4:
            return False
        overlap = min(self._request.overlap_frames // TEMPORAL, window // 2)
        self._windows = even_windows(latent_frames(self._clip.padded), window, overlap)
        self._residency.note(f"out of memory while denoising: windows were cut to {4 * window - 3} frames")
        return True

    def input_key(self) -> str:
        if self._input_key is None:
            self._input_key = self._clip.digest()
        return self._input_key

    def _run_key(self, start: torch.Tensor) -> str:
        """Everything that decides the latents of every step."""
        facts = [
            self.input_key(),
            self._pipeline.identity,
            self._request.as_dict(),
            [[window.start, window.stop] for window in self._windows],
            # Of how weights are held only what changes a bit: a run may go on where more or less memory is free.
            [self._residency.mode.startswith("fp8"), self._tiled, self._pipeline.adds_noise],
            self._speed.as_dict(),
            _digest(start),
            _digest(self._extras.inpaint_noise),
        ]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _tell(self, progress: Progress) -> None:
        self._extras.callback(progress)

    def _note(self, **tensors: torch.Tensor) -> None:
        if self._extras.trace:
            self.trace.update({name: tensor.detach().cpu() for name, tensor in tensors.items()})


def prepare_clip(video: Frames, quadmask: Frames, request: Request) -> ModelClip:
    """Raises ``JobError`` where video and quadmask cannot be of one shot, or the shot is too long for the request."""
    check_clip(video, quadmask)
    frames, padded = request.shot_length(len(video))
    return ModelClip(video, quadmask, request.height, request.width, frames, padded, request.pass_number, request.mode)


def _check_finite(latents: torch.Tensor, step: int) -> None:
    """Raises ``JobFailed``: black frames after half an hour would tell nobody why."""
    if not bool(torch.isfinite(latents).all()):
        raise JobFailed(
            f"The model gave numbers that are not finite in step {step}.",
            hint="The weights are damaged (run `void models verify`), or their number format overflows: use bfloat16.",
            details={"step": step},
        )


def _digest(tensor: torch.Tensor | None) -> str:
    if tensor is None:
        return ""
    return hashlib.sha256(tensor.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
