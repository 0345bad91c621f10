"""Pass 2's starting noise: it follows the motion of pass 1's frames, and each latent frame of it is white.

Promises unit normal, white noise for every latent frame and channel, whatever the frames show (a
cut, rubbish from the flow), the same for the same seed, and memory that does not grow with the
clip but for the result. Must not keep frames.

**How much noise can follow.** The picture is taken to carry a white-noise measure W: an area P has
W(P), normal with variance |P|, and disjoint areas are independent. A latent cell's noise is its
area's W divided by the root of that area; both frames are then white. In units of the old cells
(variance 1, noise z_i), let a new cell's area come from an area P of the old frame (|P| = A) that
overlaps old cell i by o_i. Its noise is z = W(P) / sqrt A, so cov(z, z_i) = o_i / sqrt A. The z_i
are independent and unit, so the best linear combination of them is sum(o_i z_i), and

    correlation(z, sum(o_i z_i)) = sqrt(sum(o_i^2) / A).

A pan by whole cells has 1. A pan by (fx, fy) of a cell overlaps four cells by the bilinear weights:
the root of the sum of their squares, 0.5 at worst, for half a cell both ways. Bilinear warping
without whiteness would have 1 throughout, and a variance down to a quarter. Ours carries W in pieces finer than
a cell and so loses nothing over time: after two pans by half a cell the correlation is 1 again.

That is the bound of noise that is *carried*, not of all white noise: the shift by Fourier transform
of a whole frame is white and fully determined by the old one. It takes each cell from all others,
with weights that ring, so it mixes what moves with what does not; it has no zoom (an expanding
picture has more new cells than old ones, and at most the share A of their variance can be known); and
the model was trained on carried noise.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from void_engine.diffusion.flow import RGB8, FlowMethod, flow_method
from void_engine.diffusion.particles import LATENT, ParticleNoise

_STEP = 4  # frames between latents
_MULTIPLE = 16  # pixels: the transformer takes latent cells two by two


def warped_latent_noise(
    frame: Callable[[int], RGB8],
    count: int,
    *,
    height: int,
    width: int,
    seed: int,
    channels: int = 16,
    method: str | FlowMethod = "dis",
    subdivision: int = 4,
    tick: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """(F, channels, height / 8, width / 8), F = (count - 1) / 4 + 1: latent k is the noise at frame 4k.

    ``frame(i)`` gives RGB, uint8, (height, width, 3); it is called once for each i, in order.
    ``method``: a name for `flow_method`, or what it gave (RAFT needs weights).
    ``subdivision``: particles along a latent cell's edge; 4 follows a flow to a fraction of a pixel.
    ``tick(done, of)`` is called once a frame and may raise to stop. Raises ``ValueError`` for a
    count that is not 4k + 1 and for sizes that are not multiples of 16.
    """
    if count < 1 or count % _STEP != 1:
        raise ValueError(f"the count of frames must be 4k + 1, not {count}")
    if height < _MULTIPLE or width < _MULTIPLE or height % _MULTIPLE or width % _MULTIPLE:
        raise ValueError(f"height and width must be multiples of {_MULTIPLE}, not {height} x {width}")
    flow = flow_method(method) if isinstance(method, str) else method
    noise = ParticleNoise(height, width, seed=seed, channels=channels, subdivision=subdivision)
    latents = np.empty(((count - 1) // _STEP + 1, channels, height // LATENT, width // LATENT), dtype=np.float32)
    before: RGB8 | None = None
    for index in range(count):
        now = _checked(frame(index), index, (height, width, 3))
        if before is not None:
            noise.advance(flow(before, now), flow(now, before))
        if index % _STEP == 0:
            latents[index // _STEP] = noise.latent()
        before = now.copy()  # a caller may use one buffer for all frames
        if tick is not None:
            tick(index + 1, count)
    return latents


def _checked(frame: RGB8, index: int, shape: tuple[int, int, int]) -> RGB8:
    if frame.shape != shape or frame.dtype != np.uint8:
        raise ValueError(f"frame {index} must be {shape} uint8, not {frame.shape} {frame.dtype}")
    return frame
