"""Small pictures of unfinished latents, by a linear map instead of the VAE: less than a thousandth of a step.

The map (16 channels and a constant → RGB) is fitted by least squares to the shot itself: its frames, averaged over
8 x 8 pixels, against their own latents. So it needs no table of numbers for particular weights.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from void_engine.diffusion.geometry import SPATIAL, TEMPORAL

_SAMPLES = 20_000


def thumbnail(frame: torch.Tensor) -> torch.Tensor:
    """A frame (3, H, W) at the size of its latents, (3, h, w)."""
    return F.avg_pool2d(frame[None], SPATIAL)[0]


def shown_frame(latent: int) -> int:
    """The frame that stands for a latent: the last of its four."""
    return TEMPORAL * latent


class PreviewMap:
    def __init__(self, latents: torch.Tensor, thumbnails: torch.Tensor) -> None:
        """``latents`` (1, 16, F, h, w) of the shot as filmed; ``thumbnails`` (F, 3, h, w) in [0, 1]."""
        points = latents[0].flatten(1).T.double()
        colours = thumbnails.transpose(0, 1).flatten(1).T.double()
        step = max(1, len(points) // _SAMPLES)
        # gelsd: by singular values; the default driver fits a plain black or grey shot with nothing at all.
        fit = torch.linalg.lstsq(_with_constant(points[::step]), colours[::step], driver="gelsd")
        self._map = fit.solution.float()

    def __call__(self, latents: torch.Tensor) -> npt.NDArray[np.float32]:
        """Latents (1, F, 16, h, w) → (F, h, w, 3) in [0, 1]."""
        points = latents[0].permute(0, 2, 3, 1).float().cpu()
        picture: npt.NDArray[np.float32] = (_with_constant(points) @ self._map).clamp(0.0, 1.0).numpy()
        return picture


def _with_constant(points: torch.Tensor) -> torch.Tensor:
    return torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)
