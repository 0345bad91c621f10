"""Camera motion between two frames, from the pixels that both quadmasks keep.

Promises a map from a frame's proxy pixels to another's that never leaves the plausible, exactly
the identity for a camera that stands still, and the same answer every time. Must not follow the
object: features lie outside the quadmask.

Corners (Shi and Tomasi), pyramidal Lucas-Kanade forward and backward, then the simplest of
standing still, a shift, a similarity and a homography (the last two by RANSAC) that explains the
tracks. Neighbours are chained; a pair further apart starts from the chain and is measured again
directly, and by way of some other frames, so errors do not add up and what is left of them evens out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import pixels, scratch
from void_engine.cleanplate.pixels import Mask, Matrix
from void_engine.cleanplate.proxies import Proxy, ProxyShot

Points = npt.NDArray[np.float32]  # (n, 2), x and y

_STILL = 0.3  # proxy pixels over a long span: a standing camera's tracks may jitter by that
_NEARLY = 1.5  # proxy pixels: a track that moves less may belong to a standing background
_SOME_STAND = 0.15  # share of the tracks that stand, from which something else may be what moves
_MOST_STAND = 0.7  # share of the pairs of frames that must say so
_PLANES = 2  # that tracks may follow besides the camera's
_SECOND = 0.08  # share of the tracks that may be a plane of its own, and
_OF_REST = 0.3  # share of what is left over that must agree on it
_CORNERS = 600
_AGREES = 1.0  # proxy pixels between a track and the model that explains it
_JITTER = 0.05  # proxy pixels of a track's usual error that are no reason for a freer model
_BACK_ERROR = 0.5  # proxy pixels between a corner and itself tracked there and back
_HELD = 4096
_TRUSTED = 20  # corners that must agree on a pair that is to put others right
_WAYS = 5  # frames of the clip by way of which a pair is measured, too


@dataclass(frozen=True)
class Pair:
    """``matrix`` maps the target's proxy pixels to the source's; ``inliers`` corners agreed on it.

    ``others``: the motions of what does not follow it, such as the floor and a post before a wall.
    """

    matrix: Matrix
    inliers: int
    others: tuple[Matrix, ...] = ()


Pairs = OrderedDict[tuple[int, int], Pair]


def _kept(pairs: Pairs, key: tuple[int, int], pair: Pair) -> Pair:
    pairs[key] = pair
    if len(pairs) > _HELD:
        pairs.popitem(last=False)
    return pair


def _turned(pair: Pair) -> Pair:
    others = tuple(_unit(np.linalg.inv(other)) for other in pair.others)
    return Pair(_unit(np.linalg.inv(pair.matrix)), pair.inliers, others)


def _grid(size: tuple[int, int]) -> npt.NDArray[np.float64]:
    x, y = np.meshgrid(np.linspace(0, size[0] - 1, 5), np.linspace(0, size[1] - 1, 5))
    return np.stack([x.ravel(), y.ravel()], axis=1)


class Camera:
    """The shot's camera: `to_source` for any two positions."""

    def __init__(self, shot: ProxyShot, chain: list[Matrix], locked: bool) -> None:
        """``chain[i]`` maps frame i's proxy pixels to frame 0's."""
        self.locked = locked
        self._shot = shot
        self._chain = chain
        self._pairs: Pairs = OrderedDict()
        self._refined: Pairs = OrderedDict()

    def chained(self, target: int, source: int) -> Matrix:
        """Target to source through the chain of neighbours: cheap, and a little less exact."""
        if self.locked:
            return np.eye(3)
        return _unit(np.linalg.inv(self._chain[source]) @ self._chain[target])

    def to_source(self, target: int, source: int) -> Matrix:
        """Target's proxy pixels to source's, measured directly; (3, 3) float64, identity for a locked camera."""
        return self._pair(target, source).matrix

    def planes(self, target: int, source: int) -> list[Matrix]:
        """`to_source` and, where the shot has parallax, the motions of other planes."""
        pair = self._pair(target, source)
        return [pair.matrix, *pair.others]

    def _pair(self, target: int, source: int) -> Pair:
        if self.locked or target == source:
            return Pair(np.eye(3), 0)
        # One measure serves both ways, always taken from the earlier frame: the order of asking must not matter.
        key = (min(target, source), max(target, source))
        pair = self._refined.get(key)
        if pair is None:
            pair = _kept(self._refined, key, self._closed(*key))
        return pair if target < source else _turned(pair)

    def _direct(self, target: int, source: int) -> Pair:
        key = (min(target, source), max(target, source))
        pair = self._pairs.get(key)
        if pair is None:
            measured = measure_pair(self._shot.get(key[0]), self._shot.get(key[1]), self.chained(*key))
            pair = _kept(self._pairs, key, measured)
        return pair if target < source else _turned(pair)

    def _closed(self, target: int, source: int) -> Pair:
        """The direct measure and those by way of a few frames of the clip: the middle of all is steadier than each."""
        pair, count = self._direct(target, source), len(self._chain)
        if pair.others or pair.inliers < _TRUSTED:
            return pair
        spots = _grid((self._shot.width, self._shot.height))
        places = [apply(pair.matrix, spots)]
        for by in range(0, count, max(1, count // _WAYS)):
            if by in (target, source):
                continue
            there, on = self._direct(target, by), self._direct(by, source)
            if min(there.inliers, on.inliers) >= _TRUSTED and not (there.others or on.others):
                places.append(apply(on.matrix @ there.matrix, spots))
        if len(places) < 3:
            return pair
        matrix, _ = cv2.findHomography(spots, np.median(places, axis=0))
        return pair if matrix is None else Pair(_unit(np.asarray(matrix, dtype=np.float64)), pair.inliers)


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
    """Whether the background stands still, whatever passes before it: no pair may speak for a move, most must not."""
    last = len(chain) - 1
    # A slow drift hides between neighbours: what counts is the direct measure over long spans.
    spans = sorted({round(share * last) for share in np.linspace(0, 1, 9)} - {0})
    size = (shot.width, shot.height)
    steps = [chain[i - 1] for i in range(1, last + 1)]
    doubtful = [k for k, before in enumerate(steps, 1) if movement(np.linalg.inv(before) @ chain[k], size) > _STILL]
    pairs = [(k, k - 1) for k in doubtful] + [(k, 0) for k in spans]
    still = len(steps) - len(doubtful)
    for one, other in pairs:
        vote = _stands(shot.get(one), shot.get(other))
        if vote is False:
            return False
        still += vote is True
    return still >= _MOST_STAND * (len(steps) + len(spans))


def _stands(one: Proxy, other: Proxy) -> bool | None:
    """Whether the camera stood between two frames; None where too little of the background tells."""
    start, end = _tracks(one, other, np.eye(3))
    size = (one.rgb.shape[1], one.rgb.shape[0])
    whole = _fit(start, end, size)
    if whole is None or movement(whole.matrix, size) <= _STILL:
        return True
    # A hand may move more of the frame than stands still, but it leaves tracks that stand; a camera leaves none.
    near = np.abs(end - start).max(axis=1) < _NEARLY
    if np.count_nonzero(near) < _SOME_STAND * len(start):
        return False
    rest = _fit(start[near], end[near], size)
    if rest is None or rest.inliers < _SOME_STAND * len(start):
        return None
    return movement(rest.matrix, size) <= _STILL


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
    start, end = _tracks(target, source, guess)
    size = (target.rgb.shape[1], target.rgb.shape[0])
    pair = _fit(start, end, size)
    if pair is None:
        return Pair(guess, 0)
    return Pair(pair.matrix, pair.inliers, _planes(start, end, pair.matrix, size))


def _planes(start: Points, end: Points, matrix: Matrix, size: tuple[int, int]) -> tuple[Matrix, ...]:
    """Planes among the tracks that ``matrix`` does not explain, the largest first."""
    found: list[Matrix] = []
    rest, least = np.ones(len(start), dtype=bool), max(24, _SECOND * len(start))
    for _ in range(_PLANES):
        rest &= np.linalg.norm(apply(matrix, start.astype(np.float64)) - end, axis=1) > 1.5 * _AGREES
        if np.count_nonzero(rest) < least:
            break
        cv2.setRNGSeed(1)
        plane, inside = cv2.findHomography(start[rest], end[rest], cv2.RANSAC, 0.8, maxIters=3000, confidence=0.999)
        if plane is None or np.count_nonzero(inside) < _OF_REST * np.count_nonzero(rest):
            break
        matrix = _unit(np.asarray(plane, dtype=np.float64))
        if not _plausible(matrix, size):
            break
        found.append(matrix)
    return tuple(found)


def _tracks(target: Proxy, source: Proxy, guess: Matrix) -> tuple[Points, Points]:
    none = np.zeros((0, 2), dtype=np.float32)
    if min(target.rgb.shape[:2]) < 24:
        return none, none
    grey_t, grey_s = (np.asarray(cv2.cvtColor(proxy.rgb, cv2.COLOR_RGB2GRAY)) for proxy in (target, source))
    # Windows of 21 pixels must not look into the hole: corners keep away from it.
    open_t, open_s = (pixels.shrunk(proxy.state == 0, 4) for proxy in (target, source))
    spacing = max(3.0, max(grey_t.shape) / 100)
    corners = cv2.goodFeaturesToTrack(grey_t, _CORNERS, 0.002, spacing, mask=open_t.astype(np.uint8))
    if corners is None or len(corners) < 3:
        return none, none
    start = np.asarray(corners, dtype=np.float32).reshape(-1, 2)
    end, good = follow(grey_t, grey_s, start, apply(guess, start.astype(np.float64)).astype(np.float32), open_s)
    return start[good], end[good]


def follow(
    one: npt.NDArray[Any], other: npt.NDArray[Any], start: Points, guess: Points, open_: Mask, *, window: int = 21
) -> tuple[Points, npt.NDArray[np.bool_]]:
    """Where points of ``one`` are in ``other``, and which were found there and back and on ``open_``."""
    end, found = _flow(one, other, start, guess, window)
    back, found_back = _flow(other, one, end, start, window)
    return end, found & found_back & (np.abs(back - start).max(axis=1) < _BACK_ERROR) & _inside(end, open_)


def _flow(
    one: npt.NDArray[Any], other: npt.NDArray[Any], start: Points, guess: Points, window: int
) -> tuple[Points, npt.NDArray[np.bool_]]:
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.003)
    end, found, _ = cv2.calcOpticalFlowPyrLK(
        one, other, start, guess.copy(), None, None, (window, window), 3, criteria, cv2.OPTFLOW_USE_INITIAL_FLOW
    )
    return np.asarray(end, dtype=np.float32).reshape(-1, 2), np.asarray(found).ravel() == 1


def _inside(points: Points, mask: Mask) -> npt.NDArray[np.bool_]:
    x, y = np.rint(points[:, 0]).astype(int), np.rint(points[:, 1]).astype(int)
    inside = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
    inside[inside] &= mask[y[inside], x[inside]]
    return np.asarray(inside)


def _fit(start: Points, end: Points, size: tuple[int, int]) -> Pair | None:
    """The simplest motion that explains the tracks nearly as well as the freest does."""
    if len(start) < 3:
        return None
    models = [np.eye(3), _shift(start, end), *_freer(start, end, size)]
    errors = [np.linalg.norm(apply(model, start.astype(np.float64)) - end, axis=1) for model in models]
    counts = [int(np.count_nonzero(error < _AGREES)) for error in errors]
    if max(counts) < max(3, 0.3 * len(start)):
        return None
    # Judged on the tracks that the best model explains: what moves by itself has no vote.
    best = int(np.argmax(counts))
    followed = errors[best] < _AGREES
    finest = min(float(np.median(error[followed])) for error in errors)
    for model, error, count in zip(models, errors, counts, strict=True):
        # Tracks of defocused or compressed pictures jitter: a freer model fits the jitter a little better.
        if float(np.median(error[followed])) <= 1.2 * finest + _JITTER and count >= 0.85 * max(counts):
            return Pair(model, count)
    return Pair(models[best], counts[best])


def _shift(start: Points, end: Points) -> Matrix:
    moves = (end - start).astype(np.float64)
    middle = np.median(moves, axis=0)
    near = np.abs(moves - middle).max(axis=1) < _AGREES
    mean = moves[near].mean(axis=0) if near.any() else middle
    return pixels.moved_by(float(mean[0]), float(mean[1]))


def _freer(start: Points, end: Points, size: tuple[int, int]) -> list[Matrix]:
    cv2.setRNGSeed(1)
    found: list[Matrix] = []
    if len(start) >= 8:
        affine, _ = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=0.8)
        if affine is not None:
            found.append(np.vstack([np.asarray(affine, dtype=np.float64), [0.0, 0.0, 1.0]]))
    if len(start) >= 24:
        matrix, _ = cv2.findHomography(start, end, cv2.RANSAC, 0.8, maxIters=3000, confidence=0.999)
        if matrix is not None:
            found.append(np.asarray(matrix, dtype=np.float64))
    return [_unit(matrix) for matrix in found if _plausible(matrix, size)]


def _plausible(matrix: Matrix, size: tuple[int, int]) -> bool:
    """No mirror, no more than a factor of two in size, no horizon inside the frame."""
    width, height = size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    if np.any(corners @ matrix[2, :2] + matrix[2, 2] <= 0.2 * abs(matrix[2, 2])):
        return False
    area = float(cv2.contourArea(apply(_unit(matrix), corners).astype(np.float32), oriented=True))
    return 0.25 < area / (width * height) < 4.0


def _unit(matrix: npt.NDArray[np.floating[Any]]) -> Matrix:
    return np.asarray(matrix / matrix[2, 2], dtype=np.float64)
