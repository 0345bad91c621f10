"""For every synthesised pixel, the known pixel that it looks like: a nearest-neighbour field.

Promises an offset per pixel whose target is known, the same for the same seed. Must not make
pixels: the offsets tell the painter where the plate of *each* frame has the fine detail and grain
that a filled pixel should carry, so that a fill made once stays alive in time and sharp at full size.

The search is PatchMatch's (Barnes et al., SIGGRAPH 2009): propagation, here by jumps so that numpy
can do all pixels at once, and random search, on patches reduced to their principal components.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import pixels
from void_engine.cleanplate.pixels import Mask
from void_engine.cleanplate.shaper import Encoded

Offsets = npt.NDArray[np.int16]  # (H, W, 2), x and y; 0 outside the wanted pixels

RADIUS = 3  # of the compared patches
_COMPONENTS = 16
_ROUNDS = 5
_JUMPS = (16, 8, 4, 2, 1)
_AROUND = ((-1, 0), (1, 0), (0, -1), (0, 1))


def nearest_known(picture: Encoded, wanted: Mask, known: Mask, seed: int) -> tuple[Offsets, Mask]:
    """Offsets from ``wanted`` pixels to like ones whose whole patch is ``known``, and where there is one.

    ``picture`` (H, W, 3) is complete; all three arrays have its size.
    """
    height, width = wanted.shape
    offsets = np.zeros((height, width, 2), dtype=np.int16)
    inner = pixels.shrunk(known, RADIUS, border=False)
    sources = np.flatnonzero(inner)
    targets = np.flatnonzero(wanted)
    if sources.size < 64 or targets.size == 0:
        return offsets, np.zeros_like(wanted)
    features = _features(picture, sources)
    field = _search(features, targets, sources, inner.ravel(), (height, width), seed)
    offsets.reshape(-1, 2)[targets, 0] = field % width - targets % width
    offsets.reshape(-1, 2)[targets, 1] = field // width - targets // width
    return offsets, wanted.copy()


def _features(picture: Encoded, sources: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Patches reduced to a few numbers: (H * W, components)."""
    height, width = picture.shape[:2]
    padded = cv2.copyMakeBorder(picture, RADIUS, RADIUS, RADIUS, RADIUS, cv2.BORDER_REFLECT)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * RADIUS + 1, 2 * RADIUS + 1), axis=(0, 1))
    some = sources[:: max(1, sources.size // 4000)]
    sample = windows[some // width, some % width].reshape(some.size, -1)
    mean = sample.mean(axis=0)
    _, _, axes = np.linalg.svd(sample - mean, full_matrices=False)
    basis = np.ascontiguousarray(axes[:_COMPONENTS].T, dtype=np.float32)
    rows = [(windows[y].reshape(width, -1) - mean) @ basis for y in range(height)]
    return np.concatenate(rows).astype(np.float32)


def _search(
    features: npt.NDArray[np.float32],
    targets: npt.NDArray[np.intp],
    sources: npt.NDArray[np.intp],
    allowed: npt.NDArray[np.bool_],
    size: tuple[int, int],
    seed: int,
) -> npt.NDArray[np.int64]:
    height, width = size
    random = np.random.default_rng([abs(seed), 7])
    field = np.full(height * width, -1, dtype=np.int64)
    field[targets] = random.choice(sources, targets.size)
    own = features[targets]
    cost = _cost(own, features, field[targets])
    x, y = targets % width, targets // width

    def offer(place_x: npt.NDArray[np.int64], place_y: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_]) -> None:
        valid &= (place_x >= 0) & (place_y >= 0) & (place_x < width) & (place_y < height)
        index = np.where(valid, place_y * width + place_x, 0)
        tried = np.flatnonzero(valid & allowed[index])
        value = _cost(own[tried], features, index[tried])
        better = value < cost[tried]
        cost[tried[better]] = value[better]
        field[targets[tried[better]]] = index[tried[better]]

    for _ in range(_ROUNDS):
        for jump in _JUMPS:
            for dx, dy in _AROUND:
                near_x, near_y = x + dx * jump, y + dy * jump
                inside = (near_x >= 0) & (near_y >= 0) & (near_x < width) & (near_y < height)
                match = field[np.where(inside, near_y * width + near_x, 0)]
                offer(match % width - dx * jump, match // width - dy * jump, inside & (match >= 0))
        reach = max(height, width)
        while reach >= 1:
            shift = random.integers(-reach, reach + 1, size=(2, targets.size))
            match = field[targets]
            offer(match % width + shift[0], match // width + shift[1], np.ones(targets.size, dtype=bool))
            reach //= 3
    return field[targets]


def _cost(
    own: npt.NDArray[np.float32], features: npt.NDArray[np.float32], index: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    rest = own - features[index]
    return np.asarray(np.einsum("ij,ij->i", rest, rest), dtype=np.float32)
