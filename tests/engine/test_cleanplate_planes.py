"""Parallax: several planes move past each other, and each place behind the hole is on one of them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import judge
from void_engine.cleanplate.motion import apply, measure_pair, movement
from void_engine.cleanplate.proxies import Proxy

SIZE = (320, 240)


def texture(seed: int, across: float = 0.0) -> npt.NDArray[np.uint8]:
    """Patches of colour, moved by ``across``."""
    coarse = np.random.default_rng(seed).integers(20, 235, (60, 100, 3)).astype(np.float32)
    wide = cv2.resize(coarse, (SIZE[0] + 80, SIZE[1]), interpolation=cv2.INTER_CUBIC)
    moved = cv2.warpAffine(wide, np.array([[1.0, 0.0, across - 40.0], [0.0, 1.0, 0.0]]), SIZE)
    return moved.clip(0, 255).astype(np.uint8)


def view(camera: float) -> npt.NDArray[np.uint8]:
    """A wall, a near and a very near band before it, as a camera sees them that has moved sideways."""
    picture = texture(1, camera)
    picture[110:170] = texture(2, 1.5 * camera)[110:170]
    picture[170:] = texture(3, 2.2 * camera)[170:]
    return picture


def test_each_of_three_planes_is_found() -> None:
    one, other = (Proxy(view(camera), np.zeros(SIZE[::-1], np.uint8)) for camera in (0.0, 12.0))
    pair = measure_pair(one, other, np.eye(3))
    found = [pair.matrix, *pair.others]
    for speed, row in ((1.0, 60), (1.5, 140), (2.2, 205)):
        spots = np.array([[x, row] for x in (40.0, 160.0, 280.0)])
        moved = [apply(matrix, spots) - spots for matrix in found]
        assert min(np.abs(move - (12.0 * speed, 0.0)).max() for move in moved) < 0.3, speed
    back = measure_pair(one, one, np.eye(3))
    assert movement(back.matrix, SIZE) == 0.0
    assert back.others == ()


def test_the_plane_counts_on_which_the_frames_agree() -> None:
    everywhere = np.ones(SIZE[::-1], dtype=bool)
    floor = texture(4).astype(np.float32) / 255.0
    pictures, positions = [], []
    for position, camera in enumerate((-9.0, 5.0, 8.0, 13.0)):
        pictures += [floor, texture(4, camera).astype(np.float32) / 255.0]  # taken for floor; taken for wall
        positions += [position, position]
    share = judge.agreed(pictures, [everywhere] * 8, positions)
    assert share[0::2].min() > 0.99
    assert share[1::2].max() < 0.1


def test_a_picture_alone_is_as_good_as_any() -> None:
    seen = np.zeros(SIZE[::-1], dtype=bool)
    seen[:, :100] = True
    floor = texture(4).astype(np.float32) / 255.0
    assert (judge.agreed([floor], [seen], [3]) == 1.0).all()
    apart = judge.agreed([floor, floor], [seen, ~seen], [3, 4])  # no place that both show
    assert np.isfinite(apart).all()
