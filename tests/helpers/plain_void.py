"""Upstream mode once more, written from the notes alone and as plainly as can be: to be compared with the engine.

The whole clip at once, loops instead of tricks, one window and one prompt at a time. Of the engine it uses nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from diffusers.models.upsampling import CogVideoXUpsample3D
from safetensors.torch import load_file
from transformers import T5EncoderModel, T5Tokenizer


@dataclass(frozen=True)
class PlainRun:
    height: int
    width: int
    steps: int
    prompt: str
    negative_prompt: str = ""
    guidance: float = 1.0
    pass_number: int = 1
    window_frames: int = 85
    overlap_frames: int = 16
    max_frames: int = 197

    def padded(self, frames: int) -> int:
        """The next 8k + 5, one window at least."""
        length = min(frames, self.max_frames)
        while length % 8 != 5:
            length += 1
        return max(min(length, self.max_frames), self.window_frames)


class PlainVoid:
    def __init__(self, base: Path, checkpoint: Path) -> None:
        config = json.loads((base / "transformer" / "config.json").read_text())
        self.adds_noise = config.pop("add_noise_in_inpaint_model", False)
        state = load_file(checkpoint)
        name = "patch_embed.proj.weight"
        if state[name].shape[1] == 33 * 8:
            stock = load_file(base / "transformer" / "diffusion_pytorch_model.safetensors")[name]
            state[name] = widened(state[name], stock)
        config["in_channels"] = 48
        self.transformer = CogVideoXTransformer3DModel(**{k: v for k, v in config.items() if k[0] != "_"}).eval()
        self.transformer.load_state_dict(state, strict=True)
        self.vae = AutoencoderKLCogVideoX.from_pretrained(base / "vae").eval()
        self.tokenizer = T5Tokenizer.from_pretrained(base / "tokenizer")
        self.encoder = T5EncoderModel.from_pretrained(base / "text_encoder", dtype=torch.float32).eval()

    @torch.no_grad()
    def __call__(
        self, run: PlainRun, video: np.ndarray, quadmask: np.ndarray, noise: torch.Tensor, inpaint: torch.Tensor
    ) -> np.ndarray:
        """Frames (T', H, W, 3). ``noise`` (1, F, 16, h, w) and ``inpaint`` (1, 3, T', H, W), both unit normal."""
        length = run.padded(len(video))
        video, quadmask = video[: run.max_frames], quadmask[: run.max_frames]
        rgb = resized(video.astype(np.float32) / np.float32(255), run.height, run.width)
        rgb = mirrored(rgb, length).transpose(3, 0, 1, 2)[None] * 2 - 1
        mask = resized(quadmask.astype(np.float32)[..., None], run.height, run.width)[..., 0]
        mask = mirrored(condition(levels(mask), run.pass_number), length)

        pixels = torch.from_numpy(np.ascontiguousarray(rgb)).float()
        if self.adds_noise:
            pixels = pixels + torch.where(pixels == -1, torch.zeros(()), inpaint * 0.0563)
        kept = torch.from_numpy(1 - mask).float()[None, None].repeat(1, 3, 1, 1, 1)
        scaling = self.vae.config.scaling_factor
        encoded = [self.vae.encode(part).latent_dist.mode() * scaling for part in (kept, pixels)]
        given = torch.cat(encoded, dim=1).permute(0, 2, 1, 3, 4)

        latents = noise
        for time, before in timesteps(run.steps):
            latents = self._step(run, latents, given, time, before)
        return self._decoded(latents.permute(0, 2, 1, 3, 4) / scaling)

    def _step(self, run: PlainRun, latents: torch.Tensor, given: torch.Tensor, time: int, before: int) -> torch.Tensor:
        """All windows, each blended into what those before it have left."""
        count = latents.shape[1]
        window, overlap = (run.window_frames - 1) // 4 + 1, run.overlap_frames // 4
        result, start = latents.clone(), 0
        while True:
            stop = min(start + window, count)
            part = latents[:, start:stop]
            predicted = self._predicted(run, torch.cat([part, given[:, start:stop]], dim=2), time)
            moved = ddim(part, predicted, time, before)
            shared = overlap if start > 0 else 0
            for i in range(stop - start):
                new = (i + 1) / (shared + 1) if i < shared else 1.0
                result[:, start + i] = (1 - new) * result[:, start + i] + new * moved[:, i]
            if stop == count:
                return result
            start += window - overlap

    def _predicted(self, run: PlainRun, inputs: torch.Tensor, time: int) -> torch.Tensor:
        def ask(prompt: str) -> torch.Tensor:
            return self.transformer(
                hidden_states=inputs,
                encoder_hidden_states=self._embedded(prompt),
                timestep=torch.tensor([time]),
                image_rotary_emb=rotary(inputs.shape[1] // 2, inputs.shape[3] // 2, inputs.shape[4] // 2, 32),
            ).sample

        wanted = ask(run.prompt)
        if run.guidance <= 1:
            return wanted
        unwanted = ask(run.negative_prompt)
        return unwanted + run.guidance * (wanted - unwanted)

    def _embedded(self, prompt: str) -> torch.Tensor:
        tokens = self.tokenizer([prompt], padding="max_length", max_length=226, truncation=True, return_tensors="pt")
        return self.encoder(tokens.input_ids).last_hidden_state

    def _decoded(self, latents: torch.Tensor) -> np.ndarray:
        """Latent 0 alone, then pairs; all but latent 0 double twice in time, a lone last one, too."""
        parts, cache, first = [], None, True

        def grown(module: CogVideoXUpsample3D, inputs: torch.Tensor) -> torch.Tensor:
            if module.compress_time and not first:
                inputs = inputs.repeat_interleave(2, dim=2)
            inputs = inputs.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4)
            return torch.stack([module.conv(inputs[:, :, i]) for i in range(inputs.shape[2])], dim=2)

        with patch.object(CogVideoXUpsample3D, "forward", grown):
            part, cache = self.vae.decoder(latents[:, :, :1], conv_cache=cache)
            parts.append(part)
            first = False
            for start in range(1, latents.shape[2], 2):
                part, cache = self.vae.decoder(latents[:, :, start : start + 2], conv_cache=cache)
                parts.append(part)
        return (torch.cat(parts, dim=2)[0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 3, 0).numpy()


def widened(old: torch.Tensor, stock: torch.Tensor) -> torch.Tensor:
    """33 input channels of 8 columns each to 48: noise and video are the checkpoint's, each mask channel the base's."""
    channels = [old[:, 8 * c : 8 * c + 8] for c in range(16)]
    channels += [stock[:, 8 * 16 : 8 * 17]] * 16
    channels += [old[:, 8 * c : 8 * c + 8] for c in range(17, 33)]
    return torch.cat(channels, dim=1)


def resized(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """(T, H, W, C) by averages of whole pixels, in float64."""
    rows, columns = averages(frames.shape[1], height), averages(frames.shape[2], width)
    return np.einsum("hy,wx,tyxc->thwc", rows, columns, frames.astype(np.float64), optimize=True).astype(np.float32)


def averages(before: int, after: int) -> np.ndarray:
    """(after, before): a new pixel is the mean of all old ones that it touches."""
    matrix = np.zeros((after, before))
    for i in range(after):
        touched = [j for j in range(before) if j * after < (i + 1) * before and (j + 1) * after > i * before]
        matrix[i, touched] = 1 / len(touched)
    return matrix


def levels(mask: np.ndarray) -> np.ndarray:
    """Quantised at 31, 95 and 191, turned round: 1 is to be removed."""
    result = np.full_like(mask, 255)
    for edge, level in ((191, 127), (95, 63), (31, 0)):
        result[mask <= edge] = level
    return (255 - result) / np.float32(255)


def condition(mask: np.ndarray, pass_number: int) -> np.ndarray:
    if pass_number == 2:
        return (mask > 0.5).astype(np.float32)
    result = np.zeros_like(mask)
    result[(mask >= 0.25) & (mask <= 0.75)] = 127 / 255
    result[mask > 0.75] = 1
    return result


def mirrored(frames: np.ndarray, length: int) -> np.ndarray:
    while len(frames) < length:
        frames = np.concatenate([frames, frames[::-1]])
    return frames[:length]


def timesteps(steps: int) -> list[tuple[int, int]]:
    """Trailing: (timestep, the one that it leads to; below 0 is the clean picture)."""
    times = [round(1000 - i * 1000 / steps) - 1 for i in range(steps)]
    return [(time, time - 1000 // steps) for time in times]


def signal() -> np.ndarray:
    """The share of the picture's variance at each of 1000 timesteps: scaled-linear betas, nothing left at the end."""
    root = np.sqrt(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2))
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2


def ddim(sample: torch.Tensor, velocity: torch.Tensor, time: int, before: int) -> torch.Tensor:
    now = signal()[time]
    then = signal()[before] if before >= 0 else 1.0
    clean = now**0.5 * sample.double() - (1 - now) ** 0.5 * velocity.double()
    noise = now**0.5 * velocity.double() + (1 - now) ** 0.5 * sample.double()
    return (then**0.5 * clean + (1 - then) ** 0.5 * noise).float()


def rotary(frames: int, height: int, width: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions counted from 0: a quarter of a head turns with time, three eighths each with row and column."""
    position = torch.stack(torch.meshgrid(*map(torch.arange, (frames, height, width)), indexing="ij"), -1).view(-1, 3)
    angles = []
    for axis, share in enumerate((size // 4, size // 8 * 3, size // 8 * 3)):
        speeds = 1 / 10000 ** (torch.arange(0, share, 2).double() / share)
        angles.append((position[:, axis, None] * speeds).repeat_interleave(2, dim=1))
    angle = torch.cat(angles, dim=1)
    return angle.cos().float(), angle.sin().float()


def unit_noise(run: PlainRun, frames: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(initial latents, conditioning noise) for a clip of ``frames``."""
    length, source = run.padded(frames), torch.Generator().manual_seed(seed)
    latents = torch.randn((1, (length - 1) // 4 + 1, 16, run.height // 8, run.width // 8), generator=source)
    return latents, torch.randn((1, 3, length, run.height, run.width), generator=source)


def interpolated_area(frame: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """What `averages` must be: torch's own area mode, (C, H, W)."""
    return F.interpolate(frame[None], (height, width), mode="area")[0]
