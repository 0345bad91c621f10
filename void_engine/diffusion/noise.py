"""The random numbers of a run: from the seed alone, so that two shots never depend on their order.

Upstream shares one generator between all clips and draws the conditioning noise from an unseeded one.
"""

from __future__ import annotations

import hashlib

import torch

from void_engine.diffusion.geometry import LATENT_CHANNELS, SPATIAL

STRENGTH = 0.0563  # of the noise that VOID adds to the video before it is encoded


def generator(seed: int, purpose: str) -> torch.Generator:
    """A generator on the CPU (the same numbers for every device), one for each purpose."""
    digest = hashlib.sha256(f"{seed} {purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def initial_latents(latents: int, height: int, width: int, source: torch.Generator) -> torch.Tensor:
    """White noise (1, F, 16, h, w)."""
    return torch.randn((1, latents, LATENT_CHANNELS, height // SPATIAL, width // SPATIAL), generator=source)


class ConditionNoise:
    """Adds the conditioning noise to frames in [-1, 1], in order; pixels of exactly -1 stay, as upstream's do."""

    def __init__(self, seed: int, given: torch.Tensor | None, on: bool) -> None:
        """``given`` (1, 3, T', H, W), unit normal, instead of the seed's; not ``on``: nothing is added."""
        self._source = generator(seed, "condition")
        self._given = given
        self._on = on
        self.drawn: list[torch.Tensor] | None = None  # a list keeps what was drawn

    def add(self, frame: torch.Tensor, index: int) -> torch.Tensor:
        """(3, H, W), the frame at ``index`` of the padded clip."""
        if not self._on:
            return frame
        if self._given is not None:
            noise = self._given[0, :, index].to(frame.dtype)
        else:
            noise = torch.randn(frame.shape, generator=self._source)
        if self.drawn is not None:
            self.drawn.append(noise)
        return frame + torch.where(frame == -1.0, 0.0, noise * STRENGTH)
