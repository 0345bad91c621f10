"""Camera motion between two frames, from the pixels that both quadmasks keep.

Promises a map from a frame's proxy pixels to another's that never leaves the plausible, exactly
the identity for a camera that stands still, and the same answer every time. Must not follow the
object: features lie outside the quadmask.

Corners (Shi and Tomasi), pyramidal Lucas-Kanade forward and backward, then RANSAC: a homography
where many corners agree, else an affinity, else a shift, else the identity. Neighbours are chained;
a pair further apart starts from the chain and is measured again directly, so errors do not add up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import scratch
from void_engine.cleanplate.proxies import Matrix, Proxy, ProxyShot

Points = npt.NDArray[np.float32]  # (n, 2), x and y

STILL = 0.08  # proxy pixels: a corner of the frame that moves less has not moved
_CORNERS = 1200
_BACK_ERROR = 0.5  # proxy pixels between a corner and itself tracked there and back
_HELD = 4096


@dataclass(frozen=True)
class Pair:
    """``matrix`` maps the target's proxy pixels to the source's; ``inliers`` corners agreed on it."""

    matrix: Matrix
    inliers: int


class Camera:
    """The shot's camera: `to_source` for any two positions."""

    def __init__(self, shot: ProxyShot, chain: list[Matrix], locked: bool) -> None:
        """``chain[i]`` maps frame i's proxy pixels to frame 0's."""
        self.locked = locked
        self._shot = shot
        self._chain = chain
        self._pairs: OrderedDict[tuple[int, int], Pair] = OrderedDict()

    def chained(self, target: int, source: int) -> Matrix:
        """Target to source through the chain of neighbours: cheap, and a little less exact."""
        if self.locked:
            return np.eye(3)
        return _unit(np.linalg.inv(self._chain[source]) @ self._chain[target])

    def to_source(self, target: int, source: int) -> Matrix:
        """Target's proxy pixels to source's, measured directly; (3, 3) float64, identity for a locked camera."""
        if self.locked or target == source:
            return np.eye(3)
        pair = self._pairs.get((target, source))
        if pair is None:
            pair = measure_pair(self._shot.get(target), self._shot.get(source), self.chained(target, source))
            self._pairs[(target, source)] = pair
            if len(self._pairs) > _HELD:
                self._pairs.popitem(last=False)
        return pair.matrix


def track_camera(shot: ProxyShot, count: int, folder: Path, tick: Callable[[str], None]) -> Camera:
    """Measures neighbour to neighbour over ``count`` frames; ``tick`` is called once a frame."""
    stored = scratch.load_arrays(folder / "camera.npz")
    if stored is not None:
        for _ in range(count):
            tick("camera")
        return Camera(shot, list(stored["chain"]), bool(stored["locked"]))
    chain: list[Matrix] = [np.eye(3)]
    tick("camera")
    for position in range(1, count):
        step = measure_pair(shot.get(position), shot.get(position - 1), np.eye(3)).matrix
        chain.append(_unit(chain[-1] @ step))
        tick("camera")
    locked = _is_locked(shot, chain)
    scratch.save_arrays(folder / "camera.npz", {"chain": np.array(chain), "locked": np.array(locked)})
    return Camera(shot, chain, locked)


def _is_locked(shot: ProxyShot, chain: list[Matrix]) -> bool:
    size = (shot.width, shot.height)
    # Noise of the neighbours adds up along the chain: what counts is the direct measure over long spans.
    if any(movement(chain[i] @ np.linalg.inv(chain[i - 1]), size) > 4 * STILL for i in range(1, len(chain))):
        return False
    last = len(chain) - 1
    for position in sorted({last // 4, last // 2, 3 * last // 4, last}):
        pair = measure_pair(shot.get(position), shot.get(0), np.eye(3))
        if movement(pair.matrix, size) > 2 * STILL:
            return False
    return True


def movement(matrix: Matrix, size: tuple[int, int]) -> float:
    """How far, in proxy pixels, the frame's corner that moves most moves; ``size`` is (width, height)."""
    corners = np.array([[0, 0], [size[0] - 1, 0], [0, size[1] - 1], [size[0] - 1, size[1] - 1]], dtype=np.float64)
    return float(np.abs(apply(matrix, corners) - corners).max())


def apply(matrix: Matrix, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Maps points (n, 2) by a homography."""
    homogeneous = points @ matrix[:, :2].T + matrix[:, 2]
    depth = homogeneous[:, 2:]
    return np.asarray(homogeneous[:, :2] / np.where(np.abs(depth) < 1e-9, 1e-9, depth))


def measure_pair(target: Proxy, source: Proxy, guess: Matrix) -> Pair:
    """The motion from ``target`` to ``source``, starting from ``guess``; falls back to the guess."""
    size = (target.rgb.shape[1], target.rgb.shape[0])
    start, end = _tracks(target, source, guess)
    pair = _fit(start, end, size)
    if pair is None:
        return Pair(guess, 0)
    if movement(pair.matrix, size) < STILL:
        return Pair(np.eye(3), pair.inliers)
    return pair


def _tracks(target: Proxy, source: Proxy, guess: Matrix) -> tuple[Points, Points]:
    none = np.zeros((0, 2), dtype=np.float32)
    if min(target.rgb.shape[:2]) < 24:
        return none, none
    grey_t, grey_s = (cv2.cvtColor(proxy.rgb, cv2.COLOR_RGB2GRAY) for proxy in (target, source))
    # Windows of 21 pixels must not look into the hole: corners keep away from it.
    open_t, open_s = (cv2.erode((proxy.state == 0).astype(np.uint8), np.ones((9, 9))) for proxy in (target, source))
    spacing = max(3.0, max(grey_t.shape) / 120)
    corners = cv2.goodFeaturesToTrack(grey_t, _CORNERS, 0.002, spacing, mask=open_t)
    if corners is None or len(corners) < 4:
        return none, none
    start = np.asarray(corners, dtype=np.float32).reshape(-1, 2)
    init = apply(guess, start.astype(np.float64)).astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.003)
    window = {"winSize": (21, 21), "maxLevel": 3, "criteria": criteria, "flags": cv2.OPTFLOW_USE_INITIAL_FLOW}
    end, found, _ = cv2.calcOpticalFlowPyrLK(grey_t, grey_s, start, init.copy(), **window)  # type: ignore[call-overload]
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(grey_s, grey_t, end, start.copy(), **window)  # type: ignore[call-overload]
    good = (found.ravel() == 1) & (found_back.ravel() == 1)
    good &= np.abs(back - start).max(axis=1) < _BACK_ERROR
    good &= _inside(end, open_s)
    return start[good], end[good]


def _inside(points: Points, mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    x, y = np.rint(points[:, 0]).astype(int), np.rint(points[:, 1]).astype(int)
    inside = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
    inside[inside] &= mask[y[inside], x[inside]] != 0
    return np.asarray(inside)


def _fit(start: Points, end: Points, size: tuple[int, int]) -> Pair | None:
    if len(start) < 3:
        return None
    cv2.setRNGSeed(1)
    moved = float(np.median(np.abs(end - start)))
    if moved < STILL / 2 and float(np.quantile(np.abs(end - start), 0.6)) < STILL:
        return Pair(np.eye(3), len(start))
    if len(start) >= 24:
        matrix, inliers = cv2.findHomography(start, end, cv2.RANSAC, 0.8, maxIters=3000, confidence=0.999)
        if matrix is not None and int(inliers.sum()) >= max(16, 0.3 * len(start)) and _plausible(matrix, size):
            return Pair(_unit(matrix), int(inliers.sum()))
    if len(start) >= 8:
        affine, inliers = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=0.8)
        if affine is not None and int(inliers.sum()) >= max(6, 0.3 * len(start)):
            matrix = np.vstack([affine, [0.0, 0.0, 1.0]])
            if _plausible(matrix, size):
                return Pair(matrix, int(inliers.sum()))
    shift = np.median((end - start).astype(np.float64), axis=0)
    near = np.abs(end - start - shift).max(axis=1) < 1.0
    if np.count_nonzero(near) < max(3, 0.5 * len(start)):
        return None
    return Pair(np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]], dtype=np.float64), int(near.sum()))


def _plausible(matrix: Matrix, size: tuple[int, int]) -> bool:
    """No mirror, no more than a factor of two in size, no horizon inside the frame."""
    width, height = size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    if np.any(corners @ matrix[2, :2] + matrix[2, 2] <= 0.2 * abs(matrix[2, 2])):
        return False
    area = float(cv2.contourArea(apply(_unit(matrix), corners).astype(np.float32), oriented=True))
    return 0.25 < area / (width * height) < 4.0


def _unit(matrix: npt.NDArray[np.floating]) -> Matrix:
    return np.asarray(matrix / matrix[2, 2], dtype=np.float64)
