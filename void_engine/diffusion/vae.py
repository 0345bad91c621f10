"""The video VAE, chunk by chunk in time: what upstream computes, in memory that does not grow with the clip.

Encoding is the stock class's, bit for bit. Decoding is not: the stock class makes 16 frames of 4 latents, upstream 13,
because it decodes the first latent alone and then pairs, and lets a lone last latent grow in time like the others.
Both keep the causal convolutions' cache from chunk to chunk. Tiles, where asked for, overlap and are blended; time
is the outer loop, so that a tiled clip is streamed, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers.models.upsampling import CogVideoXUpsample3D
from torch import nn

from void_engine.diffusion.geometry import LATENT_CHANNELS, SPATIAL
from void_engine.diffusion.loading import Vae

_FRAMES = 8  # encoded together, as the stock class does
_LATENTS = 2  # decoded together
Read = Callable[[int, int], torch.Tensor]
"""Frames from, to (exclusive) → (1, 3, n, H, W) float32."""


@dataclass(frozen=True)
class Tiling:
    """Tiles of ``height`` x ``width`` latents that overlap by ``overlap``: 384 x 384 pixels and 64."""

    height: int = 48
    width: int = 48
    overlap: int = 8


@dataclass(frozen=True)
class _Tile:
    """A tile's place in latents, and its weights (h, w) in latents, or in pixels by `pixels`."""

    rows: tuple[int, int]
    columns: tuple[int, int]

    def pixels(self) -> _Tile:
        return _Tile(
            (self.rows[0] * SPATIAL, self.rows[1] * SPATIAL), (self.columns[0] * SPATIAL, self.columns[1] * SPATIAL)
        )

    def cut(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor[..., self.rows[0] : self.rows[1], self.columns[0] : self.columns[1]]


class LoneLatentUpsample(nn.Module):
    """The stock upsampler, whose lone frame grows in time as pairs do when it is not the clip's first."""

    def __init__(self, stock: CogVideoXUpsample3D) -> None:
        super().__init__()
        self.stock = stock
        self.first = True

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, C, T, H, W) → (B, C, 2T, 2H, 2W); the clip's first frame stays one."""
        if self.first or inputs.shape[2] > 1:
            return cast(torch.Tensor, self.stock(inputs))
        grown = F.interpolate(inputs, scale_factor=2.0)
        frames = grown.transpose(1, 2).flatten(0, 1)
        # The parent module is called, not its weights: hooks (offloading, casting) keep working.
        return cast(torch.Tensor, self.stock.conv(frames).unflatten(0, (inputs.shape[0], -1)).transpose(1, 2))


class VideoVae:
    """Encodes and decodes clips with a stock VAE, on whatever device its weights lie.

    ``dtype`` is what its layers compute in. Latents come out and go in scaled, float32, on the CPU.
    """

    def __init__(self, vae: Vae) -> None:
        self.model = vae
        self.tiling: Tiling | None = None
        self._lone = _replace_upsamplers(vae)

    @property
    def scaling(self) -> float:
        return float(self.model.config.scaling_factor)

    @torch.no_grad()
    def encode(self, read: Read, frames: int, tick: Callable[[int], None] = lambda done: None) -> torch.Tensor:
        """The mode of the latents, (1, 16, F, h, w). ``tick(frames done)`` after each chunk; it may raise."""
        parts: list[torch.Tensor] = []
        tiles: list[_Tile] = []
        caches: list[Any] = []
        for start, stop in encode_chunks(frames):
            chunk = self._to_device(read(start, stop))
            if not tiles:
                tiles = self._tiles(chunk.shape[3] // SPATIAL, chunk.shape[4] // SPATIAL)
                caches = [None] * len(tiles)
            pieces = []
            for i, tile in enumerate(tiles):
                moments, caches[i] = self.model.encoder(tile.pixels().cut(chunk), conv_cache=caches[i])
                pieces.append(moments[:, :LATENT_CHANNELS])  # the mode is the mean
            parts.append(_blend(pieces, tiles, self.tiling.overlap if self.tiling else 0).float().cpu())
            tick(stop)
        return torch.cat(parts, dim=2) * self.scaling

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> Iterator[torch.Tensor]:
        """Latents (1, 16, F, h, w) → chunks (3, n, H, W) in [0, 1], float32, on the CPU, in order; 4F - 3 frames."""
        tiles = self._tiles(latents.shape[3], latents.shape[4])
        caches: list[Any] = [None] * len(tiles)
        for start, stop in decode_chunks(latents.shape[2]):
            for module in self._lone:
                module.first = start == 0
            chunk = self._to_device(latents[:, :, start:stop] / self.scaling)
            pieces = []
            for i, tile in enumerate(tiles):
                piece, caches[i] = self.model.decoder(tile.cut(chunk), conv_cache=caches[i])
                pieces.append(piece)
            overlap = self.tiling.overlap * SPATIAL if self.tiling else 0
            frames = _blend(pieces, [tile.pixels() for tile in tiles], overlap)[0].float()
            yield (frames / 2 + 0.5).clamp(0.0, 1.0).cpu()

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        parameter = self.model.decoder.conv_in.conv.weight
        return tensor.to(device=self.model.device, dtype=parameter.dtype)

    def _tiles(self, height: int, width: int) -> list[_Tile]:
        tiling = self.tiling
        if tiling is None:
            return [_Tile((0, height), (0, width))]
        rows = _spans(height, tiling.height, tiling.overlap)
        return [_Tile(row, column) for row in rows for column in _spans(width, tiling.width, tiling.overlap)]


def encode_chunks(frames: int) -> list[tuple[int, int]]:
    """The stock class's chunks: the first takes what is over a multiple of 8."""
    first = min(frames, _FRAMES + frames % _FRAMES)
    starts = range(first, frames, _FRAMES)
    return [(0, first)] + [(start, start + _FRAMES) for start in starts]


def decode_chunks(latents: int) -> list[tuple[int, int]]:
    """Upstream's: the first alone, then pairs; the last may be alone."""
    return [(0, 1)] + [(start, min(start + _LATENTS, latents)) for start in range(1, latents, _LATENTS)]


def decoded_frames(start: int, stop: int) -> tuple[int, int]:
    """Which frames the latents ``start`` to ``stop`` become."""
    return max(0, 4 * start - 3), 4 * stop - 3


def _replace_upsamplers(vae: Vae) -> list[LoneLatentUpsample]:
    replaced = []
    for block in vae.decoder.up_blocks:
        for i, upsampler in enumerate(block.upsamplers or []):
            if upsampler.compress_time:
                block.upsamplers[i] = LoneLatentUpsample(upsampler)
                replaced.append(block.upsamplers[i])
    return replaced


def _spans(length: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """As few spans of ``tile`` as cover ``length`` with this overlap at least, evenly spread."""
    if length <= tile:
        return [(0, length)]
    last = length - tile
    count = -(-last // (tile - overlap)) + 1
    starts = [round(last * i / (count - 1)) for i in range(count)]
    return [(start, start + tile) for start in starts]


def _blend(pieces: list[torch.Tensor], tiles: list[_Tile], overlap: int) -> torch.Tensor:
    """Overlapping tiles (…, h, w), weighted by linear ramps at inner edges."""
    if len(pieces) == 1:
        return pieces[0]
    height = max(tile.rows[1] for tile in tiles)
    width = max(tile.columns[1] for tile in tiles)
    total = torch.zeros((*pieces[0].shape[:-2], height, width), dtype=torch.float32, device=pieces[0].device)
    weights = torch.zeros((height, width), dtype=torch.float32, device=pieces[0].device)
    for piece, tile in zip(pieces, tiles, strict=True):
        weight = _ramp(tile.rows, height, overlap)[:, None] * _ramp(tile.columns, width, overlap)[None, :]
        weight = weight.to(piece.device)
        tile.cut(total).add_(piece.float() * weight)
        tile.cut(weights).add_(weight)
    return total / weights


def _ramp(span: tuple[int, int], length: int, overlap: int) -> torch.Tensor:
    rank = torch.arange(1, span[1] - span[0] + 1, dtype=torch.float32)
    weight = torch.ones_like(rank)
    if span[0] > 0:
        weight = torch.minimum(weight, rank / (overlap + 1))
    if span[1] < length:
        weight = torch.minimum(weight, rank.flip(0) / (overlap + 1))
    return weight
