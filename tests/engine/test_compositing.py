"""The matte and the composite: kept pixels keep every bit, new ones are finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from exr_samples import bits, noise

from void_engine.compositing import composite, generated_matte


def _brute(quadmask: np.ndarray[Any, Any], soft: float) -> np.ndarray[Any, Any]:
    keep = np.argwhere(quadmask == 255)
    matte = np.ones(quadmask.shape)
    for index in np.argwhere(quadmask == 127):
        distance = np.sqrt(((keep - index) ** 2).sum(axis=1)).min()
        matte[tuple(index)] = np.clip((distance - 0.5) / soft, 0, 1)
    matte[quadmask == 255] = 0
    return matte


@pytest.mark.parametrize("soft", [0.1, 1, 2.5, 8, 100])
def test_the_matte_is_the_distance_to_keep_inside_affected(soft: float) -> None:
    rng = np.random.default_rng(1)
    quadmask = np.full((31, 47), 255, np.uint8)
    quadmask[4:31, 6:40] = 127
    quadmask[10:20, 12:25] = 0
    quadmask[15:22, 20:47] = 63
    quadmask[rng.random(quadmask.shape) < 0.01] = 255
    matte = generated_matte(quadmask, soft)
    assert matte.dtype == np.float32
    np.testing.assert_allclose(matte, _brute(quadmask, soft), atol=2e-6)
    assert (matte[quadmask == 255] == 0).all()
    assert (matte[quadmask <= 63] == 1).all()
    assert (matte[quadmask == 127] > 0).all()


def test_no_softness_is_a_hard_edge() -> None:
    quadmask = np.array([[255, 127, 63, 0]], np.uint8)
    np.testing.assert_array_equal(generated_matte(quadmask, 0), [[0, 1, 1, 1]])


@pytest.mark.parametrize("level", [0, 63, 127])
def test_the_canvas_border_is_no_edge(level: int) -> None:
    assert (generated_matte(np.full((5, 7), level, np.uint8), 4) == 1).all()
    quadmask = np.full((40, 40), level, np.uint8)
    quadmask[:, 0] = 255
    assert (generated_matte(quadmask, 4)[[0, -1], 20:] == 1).all()


def test_a_frame_that_keeps_everything_and_a_single_pixel() -> None:
    assert not generated_matte(np.full((5, 7), 255, np.uint8), 4).any()
    for level, expected in ((0, 1), (127, 1), (255, 0)):
        assert generated_matte(np.array([[level]], np.uint8), 3).item() == expected


@pytest.mark.parametrize("soft", [-1.0, float("nan"), float("inf")])
def test_a_softness_that_cannot_be(soft: float) -> None:
    with pytest.raises(ValueError, match="soft_px"):
        generated_matte(np.zeros((1, 1), np.uint8), soft)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_kept_pixels_keep_every_bit(dtype: type) -> None:
    rng = np.random.default_rng(2)
    width = np.dtype(dtype).itemsize
    # Every bit pattern, also NaN with payloads, infinities, denormals and -0.
    plate = tuple(rng.integers(0, 256, (20, 30 * width), np.uint8).view(dtype) for _ in range(3))
    matte = (rng.random((20, 30)) < 0.3).astype(np.float32)
    clean = rng.random((20, 30, 3), np.float32)
    clean[matte == 0] = np.nan  # what lies under keep is nobody's business
    result = composite(plate, clean, matte)  # type: ignore[arg-type]
    for index in range(3):
        assert result[index].dtype == dtype
        np.testing.assert_array_equal(bits(result[index])[matte == 0], bits(plate[index])[matte == 0])
        np.testing.assert_array_equal(result[index][matte == 1], clean[..., index][matte == 1].astype(dtype))


def test_the_mix_is_linear_and_rounded_once() -> None:
    plate = tuple(noise(20, 30, np.float16, seed) for seed in range(3))
    clean = np.stack([noise(20, 30, np.float32, seed + 5) for seed in range(3)], axis=2)
    matte = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    result = composite(plate, clean, matte)  # type: ignore[arg-type]
    for index, plane in enumerate(plate):
        wide = matte.astype(np.float64)
        expected = (plane.astype(np.float64) * (1 - wide) + clean[..., index] * wide).astype(np.float16)
        np.testing.assert_array_equal(result[index], expected)


def test_half_is_rounded_to_even_and_never_infinite() -> None:
    step = 2.0**-10
    values = np.array([1 + step / 2, 1 + 3 * step / 2, 65504, 65519, 65520, 1e30, -1e30, 2.0**-24, -0.0, 6e-8])
    clean = np.repeat(values.astype(np.float32)[None, :, None], 3, axis=2)
    plate = tuple(np.zeros((1, len(values)), np.float16) for _ in range(3))
    red, _, _ = composite(plate, clean, np.ones((1, len(values)), np.float32))  # type: ignore[arg-type]
    expected = np.array([1, 1 + 2 * step, 65504, 65504, 65504, 65504, -65504, 2.0**-24, -0.0, 2.0**-24], np.float16)
    np.testing.assert_array_equal(bits(red[0]), bits(expected))


def test_float_keeps_its_largest_values() -> None:
    top = np.finfo(np.float32).max
    plate = tuple(np.full((1, 2), top, np.float32) for _ in range(3))
    clean = np.full((1, 2, 3), top, np.float32)
    red, _, _ = composite(plate, clean, np.array([[0.3, 1]], np.float32))  # type: ignore[arg-type]
    np.testing.assert_array_equal(red, [[top, top]])


def test_what_does_not_fit_is_refused() -> None:
    plate = tuple(np.zeros((2, 3), np.float16) for _ in range(3))
    clean, matte = np.zeros((2, 3, 3), np.float32), np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="shapes"):
        composite(plate, clean[1:], matte)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="half or float"):
        composite(tuple(plane.astype(np.uint32) for plane in plate), clean, matte)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="finite"):
        composite(plate, clean * np.float32(np.nan), matte)  # type: ignore[arg-type]
    for wrong in (2.0, -0.5, np.nan):
        with pytest.raises(ValueError, match="matte"):
            composite(plate, clean, matte * np.float32(wrong))  # type: ignore[arg-type]
