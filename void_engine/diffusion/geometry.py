"""The sizes that the VOID model works in: how frames become latents, and where its windows lie in time.

Promises: pure arithmetic, no torch. F latent frames stand for 4(F - 1) + 1 frames: the first latent for one frame,
each other for four. The transformer pairs latents in time, so F is even and a length is 8k + 5 frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from void_client.errors import JobError

SPATIAL: Final = 8  # pixels of a latent's side
TEMPORAL: Final = 4  # frames of a latent, after the first
PATCH: Final = 2  # latents of a token's side, in each of the three directions
SIZE_STEP: Final = SPATIAL * PATCH
LATENT_CHANNELS: Final = 16
UPSTREAM_MAX_FRAMES: Final = 197

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """Latents ``start`` to ``stop`` (exclusive) of a clip, denoised together."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


def latent_frames(frames: int) -> int:
    """Latents that ``frames`` (4k + 1) frames become."""
    return (frames - 1) // TEMPORAL + 1


def padded_length(frames: int, window_frames: int, max_frames: int | None = None) -> int:
    """The next 8k + 5, ``window_frames`` at least and ``max_frames`` at most."""
    snapped = 8 * max(0, -(-(frames - 5) // 8)) + 5
    if max_frames is not None:
        snapped = min(snapped, max_frames)
    return max(snapped, window_frames)


def mirrored(index: int, frames: int) -> int:
    """Which of ``frames`` frames stands at ``index`` of the padded clip: to and fro, the ends twice."""
    turn = index % (2 * frames)
    return turn if turn < frames else 2 * frames - 1 - turn


def upstream_windows(latents: int, window: int, overlap: int) -> tuple[Window, ...]:
    """Windows at every ``window - overlap`` latents; the last one ends with the clip and may be short."""
    windows = [Window(0, min(window, latents))]
    while windows[-1].stop < latents:
        start = windows[-1].start + window - overlap
        windows.append(Window(start, min(start + window, latents)))
    return tuple(windows)


def even_windows(latents: int, window: int, overlap: int) -> tuple[Window, ...]:
    """As few full-length windows as cover the clip, evenly spread, overlapping by ``overlap`` at least.

    Starts are even, so that all windows pair the same latents in time.
    """
    if latents <= window:
        return (Window(0, latents),)
    last = latents - window
    step = max(2, (window - overlap) // 2 * 2)
    moves = -(-last // step)
    starts = [2 * int(last * i / moves / 2 + 0.5) for i in range(moves + 1)]
    return tuple(Window(start, start + window) for start in starts)


def ramps(windows: tuple[Window, ...]) -> tuple[Weights, ...]:
    """Per window and latent, the weight in the blend: linear where windows overlap, 1 in all together."""
    total = np.zeros(max(window.stop for window in windows), np.float64)
    raised = []
    for i, window in enumerate(windows):
        rank = np.arange(1, window.length + 1)
        weight = np.ones(window.length)
        if i > 0:
            weight = np.minimum(weight, rank / (windows[i - 1].stop - window.start + 1))
        if i + 1 < len(windows):
            weight = np.minimum(weight, rank[::-1] / (window.stop - windows[i + 1].start + 1))
        total[window.start : window.stop] += weight
        raised.append(weight)
    return tuple(
        (weight / total[window.start : window.stop]).astype(np.float32)
        for window, weight in zip(windows, raised, strict=True)
    )


def window_tokens(latents: int, height: int, width: int) -> int:
    """Of the transformer, for a window of ``latents`` at this size in pixels."""
    return latents // PATCH * (height // SIZE_STEP) * (width // SIZE_STEP)


def check_size(height: int, width: int) -> None:
    """Raises ``JobError`` where the model cannot work at this size."""
    for name, value in (("height", height), ("width", width)):
        if value < SIZE_STEP or value % SIZE_STEP:
            raise JobError(
                f"The model's {name} {value} is not a multiple of {SIZE_STEP}.",
                hint="VOID learned 384 x 672; other sizes go in steps of 16.",
                details={"key": name},
            )


def check_windows(window_frames: int, overlap_frames: int) -> None:
    """Raises ``JobError`` where windows of this length cannot be laid."""
    if window_frames < 5 or window_frames % 8 != 5:
        raise JobError(
            f"A window of {window_frames} frames does not fit the model.",
            hint="Windows are 8k + 5 frames long: 85 as learned, or 45, 53, 61, 69, 77, 93 …",
            details={"key": "window_frames"},
        )
    if overlap_frames < TEMPORAL or overlap_frames % TEMPORAL:
        raise JobError(
            f"Windows cannot overlap by {overlap_frames} frames.",
            hint="Overlaps go in steps of 4 frames: 16 as learned.",
            details={"key": "overlap_frames"},
        )


def check_overlap(window_frames: int, overlap_frames: int) -> None:
    """For clips longer than one window. Raises ``JobError`` where windows would not move on."""
    if overlap_frames // TEMPORAL >= latent_frames(window_frames) - 1:
        raise JobError(
            f"Windows of {window_frames} frames cannot overlap by {overlap_frames}.",
            hint="The overlap must be shorter than the window by 8 frames or more.",
            details={"key": "overlap_frames"},
        )
