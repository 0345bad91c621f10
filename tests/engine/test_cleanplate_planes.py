"""Parallax: several planes move past each other, and each place behind the hole is on one of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from helpers.memory_clip import MemoryClip

from void_engine.cleanplate.background import find_background
from void_engine.cleanplate.motion import apply, measure_pair, movement
from void_engine.cleanplate.options import read_options
from void_engine.cleanplate.planes import Offer, shares
from void_engine.cleanplate.proxies import Proxy
from void_engine.interface import KEEP, REMOVE, RGB

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


def light(seed: int, across: float = 0.0) -> npt.NDArray[np.float32]:
    return np.asarray(texture(seed, across).mean(axis=2) / 255.0, dtype=np.float32)


NOWHERE = np.zeros(SIZE[::-1], dtype=bool)
EVERYWHERE = ~NOWHERE
STILL = np.zeros(2)


def test_the_plane_counts_on_which_the_frames_agree() -> None:
    offers = []
    for position, camera in enumerate((-9.0, 5.0, 8.0, 13.0)):
        offers.append(Offer(light(4), EVERYWHERE, position, STILL))  # taken for floor
        offers.append(Offer(light(4, camera), EVERYWHERE, position, np.array([camera, 0.0])))  # taken for wall
    share = shares(light(4), NOWHERE, offers)
    assert share[0::2].min() > 0.99
    assert share[1::2].max() < 0.1


def test_of_two_planes_that_agree_the_one_counts_that_hides_the_other_on_the_ring() -> None:
    """A post before a wall: the frames see both, past each other. The post goes on from the ring into the hole."""
    across, kept = NOWHERE.copy(), EVERYWHERE.copy()
    across[:, 130:190] = True
    kept[60:180, 90:230] = False
    wall, post = light(5), light(6)
    truth = np.where(across, post, wall)
    offers = []
    for position, camera in enumerate((-90.0, -75.0, 75.0, 90.0)):
        beside = light(7 + position)  # what a frame shows of the wall when it is taken for the post's plane
        offers.append(Offer(wall, EVERYWHERE, position, STILL))
        offers.append(Offer(np.where(across, post, beside), EVERYWHERE, position, np.array([camera, 0.0])))
    inside = NOWHERE.copy()
    inside[70:170, 145:175] = True
    share = shares(truth, kept, offers)
    assert share[0::2][:, inside].max() < 0.1
    assert share[1::2][:, inside].min() > 0.7  # cells at its edges see the wall, too
    assert share[0::2][:, ~kept & ~across].mean() > 0.8
    # Without a ring nothing tells which one is in front.
    blind = shares(truth, NOWHERE, offers)
    assert blind[0::2][:, inside].min() > 0.9


def test_a_bare_wall_is_not_taken_for_something_in_front() -> None:
    """A lamp before a rail: moved along the rail, all frames show the rail without the lamp, and agree."""
    rail = np.repeat(np.linspace(0.2, 0.8, SIZE[1], dtype=np.float32)[:, None], SIZE[0], axis=1)
    lamps = rail.copy()
    kept = EVERYWHERE.copy()
    kept[60:180, 90:230] = False
    for x in (60, 160):
        lamps[90:150, x - 20 : x + 20] = 1.0
    offers = []
    for position, camera in enumerate((-90.0, -75.0, 75.0, 90.0)):
        offers.append(Offer(lamps, EVERYWHERE, position, STILL))
        offers.append(Offer(rail, EVERYWHERE, position, np.array([camera, 0.0])))
    for truth in (lamps, np.where(kept, rail, lamps)):  # also where the ring speaks for the rail
        assert shares(truth, kept, offers)[0::2].min() > 0.9


def test_a_frame_alone_is_as_good_as_any() -> None:
    seen = NOWHERE.copy()
    seen[:, :100] = True
    assert (shares(light(4), NOWHERE, [Offer(light(4), seen, 3, STILL)]) == 1.0).all()
    apart = [Offer(light(4), seen, 3, STILL), Offer(light(4), ~seen, 4, STILL)]  # no place that both show
    assert np.isfinite(shares(light(4), NOWHERE, apart)).all()


def test_what_passes_before_the_object_is_no_background_though_other_planes_are_there(tmp_path: Path) -> None:
    """A hand passes before a thing that is never seen through, while a shirt beside it moves as a plane of its own."""
    height, width, count = 180, 320, 22
    random = np.random.default_rng(1)

    def cloth(rows: int, columns: int, size: tuple[int, int], low: float, high: float) -> RGB:
        coarse = random.uniform(low, high, (rows, columns, 3)).astype(np.float32)
        return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), dtype=np.float32)

    wall = cloth(45, 100, (width + 80, height), 0.05, 0.5)
    shirt, hand = cloth(18, 20, (110, 100), 0.1, 0.8), cloth(14, 20, (90, 64), 0.5, 1.0)
    plates, masks = [], []
    for position in range(count):
        across, thing = 2 * position, 190 - 2 * position
        plate, mask = wall[:, across : across + width].copy(), np.full((height, width), KEEP, np.uint8)
        plate[:55, 20 + position : 130 + position] = shirt[:55]
        plate[60:130, thing : thing + 40], mask[60:130, thing : thing + 40] = 0.9, REMOVE
        if position in (5, 6):
            left = thing - 30 + 7 * (position - 5)
            plate[50:114, left : left + 90], mask[50:114, left : left + 90] = hand, KEEP
        plates.append(plate + 0.002 * random.standard_normal(plate.shape).astype(np.float32))
        masks.append(mask)
    behind = find_background(MemoryClip(plates, masks), tmp_path, read_options({}), lambda note: None)
    assert any(len(behind.camera.planes(0, other)) > 1 for other in range(1, count))
    for position, plan in behind.plans.items():
        assert not {5, 6} & set(plan.sources), position
