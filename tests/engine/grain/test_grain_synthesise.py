"""Synthesised grain is the model's, everywhere, and belongs to the canvas and not to a region."""

from __future__ import annotations

import json
import time

import cv2
import numpy as np
import pytest
from grain_samples import Clip, Picture, measured, neighbours

from void_engine.grain import GrainModel, synthesise
from void_engine.grain.model import KNOTS
from void_engine.grain.synthesis import _TILE


@pytest.fixture(scope="module")
def model() -> GrainModel:
    return measured(Clip((0.0, 0.0), 3).frames)


def grey(height: int, width: int, level: float = 0.5) -> Picture:
    return np.full((height, width, 3), level, np.float32)


@pytest.mark.parametrize("level", [0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0])
def test_flat_fields_get_the_strength_of_their_level(model: GrainModel, level: float) -> None:
    given = synthesise(model, grey(300, 300, level), (1, 2), (0, 0))
    for channel in range(3):
        assert given[..., channel].std() == pytest.approx(model.strength(np.array(level), channel), rel=0.04)
        assert abs(given[..., channel].mean()) < 0.05 * given[..., channel].std()


def test_a_crop_has_the_grain_of_the_whole(model: GrainModel) -> None:
    level = np.linspace(0, 1, 400 * 500 * 3, dtype=np.float32).reshape(400, 500, 3)
    whole = synthesise(model, level, (7, 11), (0, 0))
    for x0, y0, x1, y1 in [(0, 0, 1, 1), (127, 127, 129, 130), (33, 150, 401, 399), (499, 0, 500, 400)]:
        part = synthesise(model, level[y0:y1, x0:x1], (7, 11), (x0, y0))
        assert np.array_equal(part, whole[y0:y1, x0:x1])


def test_grain_lives_and_can_be_had_again(model: GrainModel) -> None:
    level = grey(200, 200)
    one, next_one, other_seed = (synthesise(model, level, key, (0, 0)) for key in ((1, 5), (1, 6), (2, 5)))
    assert np.array_equal(one, synthesise(model, level, (1, 5), (0, 0)))
    for channel in range(3):
        for other in (next_one, other_seed):
            assert abs(np.corrcoef(one[..., channel].ravel(), other[..., channel].ravel())[0, 1]) < 0.03


def test_tiles_are_not_repeated_and_show_no_seam(model: GrainModel) -> None:
    given = synthesise(model, grey(8 * _TILE, 8 * _TILE), (3, 0), (0, 0))
    assert given.std() > 0
    inside = neighbours(given)
    products = (given[:, :-1] * given[:, 1:]).mean(axis=(0, 2)) / (given**2).mean()
    assert products[_TILE - 1 :: _TILE].mean() == pytest.approx(inside[:, 0].mean(), abs=0.04)
    strength = given.std(axis=(0, 2))
    assert strength[_TILE - 1 :: _TILE].mean() == pytest.approx(strength.mean(), rel=0.03)
    tiles = [given[:_TILE, k * _TILE : (k + 1) * _TILE].ravel() for k in range(4)]
    assert np.abs(np.corrcoef(tiles) - np.eye(4)).max() < 0.03


def test_coarse_grain_needs_no_gaussian_filter() -> None:
    """Any shape that a model can hold: here a cross, which is no product of a row and a column."""
    kernel = GrainModel.none().kernel
    kernel[:, 6, 3:10] = kernel[:, 3:10, 6] = 1.0
    kernel /= np.sqrt((kernel**2).sum(axis=(1, 2), keepdims=True))
    model = GrainModel(np.full((3, KNOTS.size), 0.02), kernel, np.eye(3), GrainModel.none().ends)
    given = synthesise(model, grey(400, 400), (0, 0), (5, 9))
    padded = np.pad(kernel[0], 1)
    right, diagonal = (padded[1:-1, 2:] * kernel[0]).sum(), (padded[2:, 2:] * kernel[0]).sum()
    np.testing.assert_allclose(neighbours(given), [[right, right, diagonal]] * 3, atol=0.02)
    assert given.std() == pytest.approx(0.02, rel=0.02)


def test_threads_change_nothing(model: GrainModel) -> None:
    level, before = grey(300, 300), cv2.getNumThreads()
    many = synthesise(model, level, (1, 1), (0, 0))
    try:
        cv2.setNumThreads(1)
        assert np.array_equal(many, synthesise(model, level, (1, 1), (0, 0)))
    finally:
        cv2.setNumThreads(before)


def test_levels_that_no_picture_should_have_do_no_harm(model: GrainModel) -> None:
    level = grey(8, 8)
    level[0, 0], level[1, 1], level[2, 2], level[3, 3] = np.nan, np.inf, -np.inf, 1e30
    assert np.isfinite(synthesise(model, level, (0, 0), (0, 0))).all()
    assert synthesise(model, grey(0, 0), (0, 0), (0, 0)).shape == (0, 0, 3)
    assert not synthesise(GrainModel.none(), grey(9, 9), (0, 0), (0, 0)).any()


def test_a_model_survives_json_and_is_small(model: GrainModel) -> None:
    text = json.dumps(model.to_json(), allow_nan=False)
    again = GrainModel.from_json(json.loads(text))
    assert json.dumps(again.to_json()) == text
    assert len(text) < 12_000
    level = grey(50, 60)
    assert np.array_equal(synthesise(model, level, (1, 1), (0, 0)), synthesise(again, level, (1, 1), (0, 0)))


def test_a_large_region_is_cheap(model: GrainModel) -> None:
    """Bounded loosely and in processor time, as test machines are shared; it takes about 0.1 s."""
    level = grey(1000, 1000)
    taken = []
    for _ in range(3):
        start = time.process_time()
        synthesise(model, level, (0, 0), (700, 300))
        taken.append(time.process_time() - start)
    assert min(taken) < 0.6
