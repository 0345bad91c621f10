"""How long pass 2's noise takes a frame, as ratios to the optical flow that it needs anyway and to bilinear warping.

``python tests/benchmarks/warped_noise.py [turns]``: 384 x 672, 16 channels, subdivision 4, one thread, all in the same
run. The bilinear baseline is `cv2.remap` of the same noise on the fine grid: what one would do that is not white.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.diffusion.flow import DisFlow, Flow
from void_engine.diffusion.particles import ParticleNoise
from void_engine.diffusion.warped_noise import warped_latent_noise

HEIGHT, WIDTH, CHANNELS, SUBDIVISION = 384, 672, 16, 4
FRAMES = 9


def moving() -> list[npt.NDArray[np.uint8]]:
    """A textured ground with a slow zoom and pan, and a square that crosses it."""
    rng = np.random.default_rng(1)
    ground = cv2.resize(rng.random((64, 112, 3), dtype=np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    square = cv2.resize(rng.random((20, 20, 3), dtype=np.float32), (120, 120), interpolation=cv2.INTER_CUBIC)
    frames = []
    for index in range(FRAMES):
        matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 0.3 * index, 1 + 0.01 * index)
        matrix[0, 2] += 1.5 * index
        frame = cv2.warpAffine(ground, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        frame[100:220, 60 + 9 * index : 180 + 9 * index] = square
        frames.append(np.clip(frame * 255, 0, 255).astype(np.uint8))
    return frames


def bilinear(fine: npt.NDArray[np.float32], flow: Flow) -> None:
    """All channels of the fine grid along ``flow`` (fine cells)."""
    x, y = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in fine.shape[:0:-1]))
    for channel in fine:
        cv2.remap(channel, x - flow[..., 0], y - flow[..., 1], cv2.INTER_LINEAR)


def best(work: Callable[[], object], turns: int) -> float:
    """Seconds of the fastest of ``turns`` runs: the one that other processes disturbed least."""
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    cv2.setNumThreads(1)
    frames = moving()
    search = DisFlow()
    pairs = list(zip(frames, frames[1:], strict=False))
    flows = [(search(one, other), search(other, one)) for one, other in pairs]
    shape = (CHANNELS, HEIGHT // 8 * SUBDIVISION, WIDTH // 8 * SUBDIVISION)
    fine = np.random.default_rng(2).standard_normal(shape, dtype=np.float32)
    small = [cv2.resize(forward, shape[:0:-1]) * SUBDIVISION / 8 for forward, _ in flows]
    noise = ParticleNoise(HEIGHT, WIDTH, seed=1, channels=CHANNELS, subdivision=SUBDIVISION)

    def whole() -> None:
        warped_latent_noise(lambda i: frames[i], FRAMES, height=HEIGHT, width=WIDTH, seed=1, channels=CHANNELS)

    def carry() -> None:
        for forward, backward in flows:
            noise.advance(forward, backward)

    a_frame = {
        "flow, both ways": best(lambda: [(search(a, b), search(b, a)) for a, b in pairs], turns) / len(pairs),
        "bilinear warping": best(lambda: [bilinear(fine, flow) for flow in small], turns) / len(pairs),
        "particles, a step": best(carry, turns) / len(pairs),
        "particles, a latent": best(noise.latent, turns),
        "all": best(whole, turns) / len(pairs),
    }
    print(f"{HEIGHT}x{WIDTH}, {CHANNELS} channels, subdivision {SUBDIVISION}, one thread, best of {turns}")
    for what, seconds in a_frame.items():
        to_flow, to_bilinear = (seconds / a_frame[name] for name in ("flow, both ways", "bilinear warping"))
        print(
            f"{what:20s} {1000 * seconds:6.1f} ms, {to_flow:5.2f} of the flow, {to_bilinear:5.2f} of bilinear warping"
        )


if __name__ == "__main__":
    main()
