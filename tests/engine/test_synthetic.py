"""The synthetic shot keeps what it promises: its truth is the truth."""

from __future__ import annotations

import numpy as np
import pytest

from void_engine.interface import AFFECTED, KEEP, OVERLAP, REMOVE
from void_engine.synthetic import render_shot


def test_plate_and_truth_are_the_same_bits_where_the_quadmask_keeps() -> None:
    for frame in render_shot(160, 90, 4, seed=2):
        keep = frame.quadmask == KEEP
        assert np.array_equal(frame.plate[keep], frame.truth[keep])
        assert not np.array_equal(frame.plate[~keep], frame.truth[~keep])


def test_it_is_a_pure_function_of_its_arguments() -> None:
    one, again = (list(render_shot(96, 54, 3, seed=5)) for _ in range(2))
    other = list(render_shot(96, 54, 3, seed=6))
    for a, b, c in zip(one, again, other, strict=True):
        assert a.plate.tobytes() == b.plate.tobytes()
        assert a.truth.tobytes() == b.truth.tobytes()
        assert a.plate.tobytes() != c.plate.tobytes()


def test_light_is_scene_linear_with_highlights_and_a_noise_floor_below_zero() -> None:
    plates = np.array([frame.plate for frame in render_shot(320, 180, 2, seed=1)])
    assert plates.dtype == np.float32
    assert np.isfinite(plates).all()
    assert plates.max() > 10.0
    assert plates.min() < 0.0


def test_every_region_occurs_on_every_frame() -> None:
    for frame in render_shot(160, 90, 5):
        assert set(np.unique(frame.quadmask)) == {REMOVE, OVERLAP, AFFECTED, KEEP}


def test_a_locked_camera_hides_only_a_small_part_of_the_room_always() -> None:
    holes = np.array([frame.quadmask != KEEP for frame in render_shot(320, 180, 9, moving=False)])
    always = holes.all(axis=0).sum()
    assert always < 0.1 * holes[0].sum()


def test_too_small_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="16 by 16"):
        next(render_shot(8, 8, 1))
