"""How large the model's picture may be in a device's memory, where the job does not say. No torch here.

Promises: the answer depends on the device's whole memory (or what the server states), the way that the weights are held
and the job's windows alone: not on what happens to be free now, so that equal hosts choose equally and a repeated job
gets the same size. What is free now decides how the weights are held (`void_engine.diffusion.memory`), which changes
no size.
"""

from __future__ import annotations

from typing import Final

from void_engine.diffusion import geometry

TRANSFORMER_BYTES_PER_TOKEN: Final = 3072 * 2 * 16  # about 16 activations of the inner width in 16 bits
VAE_BYTES_PER_PIXEL: Final = 128 * 2 * (8 * 4 + 2 * 12)  # 8 frames in 4 layers, 2 cached frames in 12
USABLE: Final = 0.9  # of what is free: allocators and libraries take the rest
AREAS: Final = (4.0, 3.0, 2.0)  # times the learned area that may be chosen; the work grows faster than they do
_RESERVED: Final = 1_500_000_000  # bytes: the driver's, and a display's
_BLOCKS: Final = 42  # of the transformer; in groups one or two are on the device
# The model's own, in 16 bits: the same on every host, whatever format its files have.
_TRANSFORMER, _VAE, _TEXT = 11_200_000_000, 430_000_000, 9_500_000_000


def area_for(memory_bytes: int, memory: str, window_frames: int, copies: int, learned: int) -> float:
    """How many times the ``learned`` area of pixels fits: one of `AREAS`, else 1.

    ``memory_bytes``: all of the device's. ``memory``: how the weights are held, `void_engine.interface.Host`.
    ``copies``: windows that go through the model together; guidance makes two of each.
    """
    free = (memory_bytes - _RESERVED) * USABLE
    for area in AREAS:
        if _needed(memory, window_frames, copies, learned * area) <= free:
            return area
    return 1.0


def _needed(memory: str, window_frames: int, copies: int, pixels: float) -> float:
    """Bytes of the device at the worst moment, without a step down that costs more than time."""
    place, _, tiled = memory.partition("+")
    latents = geometry.latent_frames(window_frames) // geometry.PATCH
    acting = copies * latents * pixels / geometry.SIZE_STEP**2 * TRANSFORMER_BYTES_PER_TOKEN
    coding = 0.0 if tiled or place == "tiled" else pixels * VAE_BYTES_PER_PIXEL
    if place in ("full", "tiled"):
        return _TRANSFORMER + _VAE + _TEXT + max(acting, coding)
    held = {"group": 2 * _TRANSFORMER / _BLOCKS, "fp8": _TRANSFORMER / 2}.get(place, float(_TRANSFORMER))
    # Text is no part of it: where it has no room it runs on the CPU.
    return max(held + acting, _VAE + coding)
