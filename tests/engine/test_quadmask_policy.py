"""The quadmask policy: regions over time to the coded quadmask of each frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from void_client.errors import JobError

from void_engine.quadmask.policy import QuadmaskPolicy
from void_engine.quadmask.policy_options import PolicyOptions, read_options
from void_engine.quadmask.policy_regions import box_mask, cells_of, filled, held_box, held_mask
from void_engine.quadmask.upstream import gridded
from void_engine.reasoning.analysis import Affected, Analysis, Belonging, Region, Waypoint
from void_engine.reasoning.interface import PRIMARY
from void_engine.segmentation import MatteStore

SIZE = (80, 160)
NUMBERS = tuple(range(1001, 1013))
SOFT = PolicyOptions(shape="soft", spread=0.0, smooth=1, timing=0)


def box(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.float32)
    mask[y0:y1, x0:x1] = 1
    return mask


@pytest.fixture
def mattes(tmp_path: Path) -> MatteStore:
    store = MatteStore(tmp_path, SIZE)
    for position in range(len(NUMBERS)):
        store.write(PRIMARY, position, box(20, 20, 40, 60))
    return store


def thing(**changes: object) -> Affected:
    return replace(Affected("box", "physical", "held", 1003, 1010), **changes)  # type: ignore[arg-type]


def policy(mattes: MatteStore, analysis: Analysis, options: PolicyOptions = SOFT) -> QuadmaskPolicy:
    return QuadmaskPolicy(analysis, mattes, NUMBERS, SIZE, options)


def test_an_analysis_that_says_nothing_leaves_the_primary_alone(mattes: MatteStore) -> None:
    quadmask = policy(mattes, Analysis("none"))(4)
    assert ((quadmask == 0) == (box(20, 20, 40, 60) > 0)).all()
    assert ((quadmask == 255) == (box(20, 20, 40, 60) == 0)).all()


def test_belongings_join_the_primary(mattes: MatteStore) -> None:
    mattes.write("belonging-0", 4, box(40, 20, 50, 30))
    found = policy(mattes, Analysis("m", belongings=(Belonging("bag", "worn", (), "belonging-0"),)))
    assert (found(4)[20:30, 40:50] == 0).all()
    assert found(5)[25, 45] == 255
    assert found.regions(4)["belonging-0"].sum() == 100


def test_affected_mattes_overlap_the_primary_and_are_timed(mattes: MatteStore) -> None:
    for position in range(len(NUMBERS)):
        mattes.write("affected-0", position, box(30, 20, 60, 40))
    found = policy(mattes, Analysis("m", affected=(thing(matte="affected-0"),)))
    assert found(5)[30, 35] == 63
    assert found(5)[30, 50] == 127
    assert found(1)[30, 50] == 255
    assert found(10)[30, 50] == 255


def test_boxes_are_interpolated_between_frames_and_held_outside(mattes: MatteStore) -> None:
    regions = (Region(1004, 0.5, 0.5, 0.6, 0.6), Region(1008, 0.7, 0.5, 0.8, 0.6))
    assert held_box(regions, 1006) == pytest.approx((0.6, 0.5, 0.7, 0.6))
    found = policy(mattes, Analysis("m", affected=(thing(regions=regions),)))
    assert found(5)[44, round(0.65 * 160)] == 127
    assert found(5)[44, round(0.75 * 160)] == 255
    assert found(9)[44, round(0.75 * 160)] == 127
    assert found(2)[44, round(0.55 * 160)] == 127


def test_a_frames_boxes_are_all_of_it_and_nothing_between_them(mattes: MatteStore) -> None:
    """Vision models say a thing's place by several rectangles of cells; between frames nobody knows which is which."""
    left, right = Region(1004, 0.5, 0.5, 0.6, 0.6), Region(1004, 0.8, 0.5, 0.9, 0.6)
    later = (Region(1008, 0.6, 0.5, 0.7, 0.6), Region(1008, 0.9, 0.5, 1.0, 0.6))
    regions = (right, later[1], left, later[0])
    for frame in (1000, 1004):
        mask = held_mask(regions, frame, SIZE)
        expected = box_mask((0.5, 0.5, 0.6, 0.6), SIZE) | box_mask((0.8, 0.5, 0.9, 0.6), SIZE)
        assert np.array_equal(mask, expected)
        assert not mask[:, round(0.62 * SIZE[1]) : round(0.78 * SIZE[1])].any()
    assert np.array_equal(held_mask(regions, 1006, SIZE), box_mask((0.55, 0.5, 0.95, 0.6), SIZE))
    assert held_mask(regions, 2000, SIZE).sum() == sum(box_mask((e.x0, e.y0, e.x1, e.y1), SIZE).sum() for e in later)
    assert not held_mask((), 1004, SIZE).any()
    assert held_box(regions, 1006) == pytest.approx((0.55, 0.5, 0.95, 0.6))
    assert held_box((right, left), 1) == held_box((left, right), 1) == pytest.approx((0.5, 0.5, 0.9, 0.6))
    found = policy(mattes, Analysis("m", affected=(thing(regions=(left, right)),)))
    assert [found(5)[44, round(share * 160)] for share in (0.55, 0.7, 0.85)] == [127, 255, 127]


def test_a_path_is_timed_and_not_smeared_and_its_end_stays(mattes: MatteStore) -> None:
    regions = (Region(1003, 0.45, 0.05, 0.55, 0.15),)
    path = (Waypoint(1003, 0.5, 0.1), Waypoint(1007, 0.9, 0.1))
    found = policy(mattes, Analysis("m", affected=(thing(regions=regions, path=path, will_move=True),)))
    assert found(2)[8, 144] == 255
    assert found(6)[8, 144] == 127
    assert found(9)[8, 144] == 127
    assert found(4)[8, 112] == 127
    assert found(8)[8, 112] == 255


def test_a_path_that_leaves_the_picture_leaves_nothing(mattes: MatteStore) -> None:
    regions = (Region(1003, 0.45, 0.05, 0.55, 0.15),)
    path = (Waypoint(1003, 0.5, 0.1), Waypoint(1007, 1.02, 0.1))
    found = policy(mattes, Analysis("m", affected=(thing(regions=regions, path=path),)))
    assert found(6)[8, 159] == 127
    assert found(8)[8, 159] == 255


def test_cells_are_those_of_upstream_where_any_pixel_fills_them() -> None:
    rng = np.random.default_rng(1)
    for size in ((80, 160), (45, 80), (90, 51)):
        mask = rng.random(size) > 0.98
        assert (filled(cells_of(mask, 8, 0.0), size) == gridded(mask[None])[0]).all()


def test_a_sliver_fills_no_cell_but_a_small_thing_does() -> None:
    mask = box(20, 20, 41, 40) > 0
    mask[20:40, 40] = True
    cells = cells_of(mask, 8, 0.125)
    assert cells[2, 2]
    assert not cells[2, 4]
    assert cells_of(box(45, 45, 46, 46) > 0, 8, 0.125)[4, 4]


def test_one_frame_that_differs_does_not_flicker(mattes: MatteStore) -> None:
    for position in range(len(NUMBERS)):
        shown = position not in (5, 8)
        mattes.write("affected-0", position, box(60, 20, 80, 40) if shown else box(100, 0, 120, 20))
    found = policy(mattes, Analysis("m", affected=(thing(matte="affected-0"),)), replace(SOFT, smooth=3))
    for position in range(3, 9):
        assert found(position)[30, 70] == 127
        assert found(position)[10, 110] == 255


def test_frames_without_the_object_are_kept_unless_what_it_moved_is_followed(mattes: MatteStore) -> None:
    mattes.write(PRIMARY, 5, np.zeros(SIZE, np.float32))
    mattes.write("affected-0", 5, box(60, 20, 80, 40))
    moved = Analysis("m", affected=(thing(matte="affected-0"),))
    assert (policy(mattes, moved)(5) == 255).all()
    assert policy(mattes, moved, replace(SOFT, absent="follow"))(5)[30, 70] == 127


def test_light_far_from_the_object_is_left_out_frame_by_frame(mattes: MatteStore) -> None:
    for position in range(len(NUMBERS)):
        mattes.write("affected-0", position, np.maximum(box(44, 50, 60, 60), box(140, 50, 150, 60)))
    mattes.write(PRIMARY, 6, box(120, 20, 135, 60))
    analysis = Analysis("m", affected=(thing(category="artifact", matte="affected-0"),))
    found = policy(mattes, analysis, replace(SOFT, near=0.1))
    assert (found(5)[55, 50], found(5)[55, 145]) == (127, 255)
    assert (found(6)[55, 50], found(6)[55, 145]) == (255, 127)


def test_grow_feather_and_the_first_frame(mattes: MatteStore) -> None:
    mattes.write("affected-0", 0, box(100, 20, 120, 40))
    analysis = Analysis("m", affected=(thing(first_frame=1001, matte="affected-0"),))
    found = policy(mattes, analysis, replace(SOFT, grow=3, feather=4, first_frame_clear=True))
    assert found(3)[40, 17] == 0
    assert found(3)[40, 14] == 127
    assert found(3)[40, 11] == 255
    assert found(0)[30, 110] == 255
    assert policy(mattes, analysis)(0)[30, 110] == 127
    assert policy(mattes, analysis, replace(SOFT, grow=-3))(3)[40, 21] == 255


def test_what_is_unsure_is_left_out(mattes: MatteStore) -> None:
    regions = (Region(1003, 0.5, 0.5, 0.6, 0.6),)
    found = policy(mattes, Analysis("m", affected=(thing(regions=regions, confidence=0.1),)))
    assert "affected-0" not in found.regions(5)


def test_any_order_of_asking_gives_the_same_and_memory_stays_small(mattes: MatteStore) -> None:
    for position in range(len(NUMBERS)):
        mattes.write("affected-0", position, box(50 + 4 * position, 20, 70 + 4 * position, 40))
    analysis = Analysis("m", affected=(thing(matte="affected-0"),))
    options = PolicyOptions()
    forward, backward = policy(mattes, analysis, options), policy(mattes, analysis, options)
    ahead = [forward(position) for position in range(len(NUMBERS))]
    behind = [backward(position) for position in reversed(range(len(NUMBERS)))][::-1]
    assert (np.stack(ahead) == np.stack(behind)).all()
    assert len(forward._raw) <= options.smooth + 1


def test_options_have_limits() -> None:
    assert read_options({"shape": "soft", "grow": 4}).grow == 4
    with pytest.raises(JobError, match="colour"):
        read_options({"colour": 1})
    with pytest.raises(JobError, match="cells"):
        read_options({"cells": 1})
