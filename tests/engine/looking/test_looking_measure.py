"""Measures, flicker, view, pictures and plots, against plain implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from void_engine.interface import Window
from void_engine.looking import pictures
from void_engine.looking.flicker import FlickerMeter, ring_around, ring_width
from void_engine.looking.measure import differing, measure, ssim
from void_engine.looking.plot import Panel, Series, nice_step, plot
from void_engine.looking.view import placed, to_view


def noise(seed: int, height: int = 40, width: int = 52) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)


def disc(height: int = 40, width: int = 52, x: float = 26, y: float = 20, radius: float = 9) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.hypot(columns - x, rows - y) < radius


def plain_ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The map, by loops over a padded picture."""
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(taps, taps) / taps.sum() ** 2
    x, y = (np.pad(p.astype(np.float64) @ [0.2126, 0.7152, 0.0722], 5, mode="symmetric") for p in (a, b))
    found = np.empty(a.shape[:2])
    for row, column in np.ndindex(found.shape):
        p, q = x[row : row + 11, column : column + 11], y[row : row + 11, column : column + 11]
        mp, mq = (window * p).sum(), (window * q).sum()
        vp, vq, both = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum(), 0.0
        both = (window * (p - mp) * (q - mq)).sum()
        above = (2 * mp * mq + 1e-4) * (2 * both + 9e-4)
        found[row, column] = above / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4))
    return found


@pytest.mark.parametrize("region", [None, disc(), disc(x=2, y=2), disc(radius=0.5)])
def test_ssim_is_what_the_paper_says(region: np.ndarray | None) -> None:
    a, b = noise(1), np.clip(noise(1) + 0.2 * noise(2), 0, 1).astype(np.float32)
    wanted = plain_ssim(a, b)
    assert ssim(a, b, region) == pytest.approx(wanted.mean() if region is None else wanted[region].mean(), abs=1e-5)
    assert ssim(a, a, region) == 1.0


@pytest.mark.parametrize("region", [None, disc()])
def test_differences_are_counted_in_the_region_only(region: np.ndarray | None) -> None:
    light = noise(3) * 4, noise(4) * 4
    shown = to_view(light[0]), to_view(light[1])
    found = measure(light, shown, region)
    assert found is not None
    where = np.ones((40, 52), bool) if region is None else region
    away = np.abs(light[0].astype(np.float64) - light[1])[where]
    codes = np.abs(shown[0].astype(np.float64) - shown[1])[where] * 255
    assert found.pixels == where.sum()
    assert found.light is not None
    for spread, values in ((found.light, away), (found.display, codes)):
        assert spread.mean == pytest.approx(values.mean(), rel=1e-5)
        assert spread.median == pytest.approx(np.median(values), rel=1e-5)
        assert spread.maximum == pytest.approx(values.max(), rel=1e-5)
    assert found.psnr == pytest.approx(10 * math.log10(255**2 / np.mean(codes**2)), abs=1e-4)


def test_an_empty_region_has_no_measures_and_equal_pictures_no_psnr() -> None:
    a = noise(5)
    assert measure(None, (a, a), np.zeros(a.shape[:2], bool)) is None
    found = measure(None, (a, a), None)
    assert found is not None
    assert (found.psnr, found.ssim, found.display.maximum, found.light) == (None, 1.0, 0.0, None)


def test_bits_are_bits() -> None:
    a = np.zeros((2, 2, 3), np.float32)
    b = a.copy()
    b[0, 0, 1] = -0.0
    b[1, 1] = np.nextafter(np.float32(0), np.float32(1))
    everywhere = np.ones((2, 2), bool)
    assert differing(a, b, everywhere) == 2
    everywhere[1, 1] = False
    assert differing(a, b, everywhere) == 1
    nan = np.full_like(a, np.nan)
    assert differing(nan, nan.copy(), everywhere) == 0


def test_flicker_is_zero_for_what_stands_still_or_changes_evenly() -> None:
    still, meter = noise(6), FlickerMeter()
    told = [meter.push(n, (still, (still * 0.1 * n).astype(np.float32)), disc()) for n in range(1, 6)]
    assert told[:2] == [None, None]
    for number, flicker in enumerate(told[2:], 2):
        assert flicker is not None
        assert flicker.number == number
        assert flicker.inside == pytest.approx((0.0, 0.0), abs=1e-4)
        assert flicker.ring == pytest.approx((0.0, 0.0), abs=1e-4)
    assert told[2] is not None
    assert told[2].inside[0] == 0.0


def test_flicker_of_what_alternates_is_known() -> None:
    """x = c ± d inside: the jump from the neighbours' mean is 2d; the ring stands still."""
    region, meter, step = disc(), FlickerMeter(), 10 / 255
    told = []
    for number in range(1, 6):
        b = np.full((40, 52, 3), 0.5, np.float32)
        b[region] += step * (-1) ** number
        told.append(meter.push(number, (np.full_like(b, 0.5), b), region))
    assert told[3] is not None
    assert told[3].inside == pytest.approx((0.0, 20.0), abs=1e-4)
    assert told[3].ring == (0.0, 0.0)


def test_flicker_by_a_plain_formula_with_a_matte_that_moves() -> None:
    clips = [[noise(10 * side + n, 60, 90) for n in range(3)] for side in (1, 2)]
    regions = [disc(60, 90, x=30 + 4 * n, y=30) for n in range(3)]
    meter = FlickerMeter()
    told = [meter.push(n, (clips[0][n], clips[1][n]), regions[n]) for n in range(3)][-1]
    assert told is not None
    touched = regions[0] | regions[1] | regions[2]
    rows, columns = np.nonzero(touched)
    ring = np.zeros_like(touched)
    for y, x in np.ndindex(touched.shape):
        ring[y, x] = not touched[y, x] and np.hypot(rows - y, columns - x).min() <= ring_width(90)
    assert np.array_equal(ring, ring_around(touched, ring_width(90)))
    for side in (0, 1):
        jump = np.abs(clips[side][1] - (clips[side][0] + clips[side][2]) / 2.0) * 255
        assert told.inside[side] == pytest.approx(jump[regions[1]].mean(), rel=1e-5)
        assert told.ring[side] == pytest.approx(jump[ring].mean(), rel=1e-5)


def test_flicker_needs_both_neighbours() -> None:
    a, meter = noise(7), FlickerMeter()
    assert [meter.push(number, (a, a), None) for number in (1, 2, 4, 5)] == [None] * 4
    told = meter.push(6, (a, a), None)
    assert told is not None
    assert (told.number, told.inside, told.ring) == (5, (0.0, 0.0), (None, None))


def test_flicker_without_a_pixel_in_the_matte_is_none() -> None:
    a, meter, empty = noise(8), FlickerMeter(), np.zeros((40, 52), bool)
    told = [meter.push(number, (a, a), empty) for number in (1, 2, 3)][-1]
    assert told is not None
    assert (told.inside, told.ring) == ((None, None), (None, None))


def test_the_view_is_srgb_cut_at_one() -> None:
    light = np.array([[[-1.0, 0.0, 0.001], [0.18, 0.5, 1.0], [2.0, 1e38, 0.0031308]]], np.float32)
    wanted = [
        0 if v <= 0 else 12.92 * v if v <= 0.0031308 else 1.055 * min(1.0, v) ** (1 / 2.4) - 0.055
        for v in light.ravel().tolist()
    ]
    assert to_view(light).ravel() == pytest.approx(wanted, abs=1e-6)
    assert to_view(light, 1.0)[0, 1, 1] == pytest.approx(1.0)
    assert to_view(light, -1.0)[0, 2, 0] == pytest.approx(1.0)
    assert to_view(np.full((1, 1, 3), 4.0, np.float32), -3.0)[0, 0, 0] == pytest.approx(
        1.055 * 0.5 ** (1 / 2.4) - 0.055
    )


def test_windows_are_cropped_and_filled() -> None:
    picture = np.arange(24, dtype=np.float32).reshape(4, 6)
    moved = placed(picture, Window(-1, 2, 4, 5), Window(0, 0, 3, 3))
    assert moved[:2].sum() == 0
    assert np.array_equal(moved[2:], picture[:2, 1:5])
    assert placed(picture, Window(50, 50, 55, 53), Window(0, 0, 3, 3)).sum() == 0


def test_a_wipe_shows_a_left_and_b_right() -> None:
    a, b = np.full((10, 100, 3), 10, np.uint8), np.full((10, 100, 3), 200, np.uint8)
    picture = pictures.wipe(a, b, 0.3)
    assert (picture[:, :29] == 10).all()
    assert (picture[:, 32:] == 200).all()
    shares = [pictures.wipe_at(i, 48) for i in range(48)]
    assert (shares[0], max(shares) < 1, min(shares) > 0) == (0.5, True, True)
    assert (shares[12], shares[36]) == pytest.approx((0.96, 0.04))


def test_differences_with_and_without_their_sign() -> None:
    a, b = np.full((1, 1, 3), 0.5, np.float32), np.array([[[0.51, 0.49, 0.9]]], np.float32)
    assert pictures.difference(a, b, 8)[0, 0] == pytest.approx([0.08, 0.08, 1.0], abs=1e-5)
    assert pictures.difference(a, b, 8, signed=True)[0, 0] == pytest.approx([0.58, 0.42, 1.0], abs=1e-5)


@pytest.mark.parametrize(
    ("window", "aspect", "size"),
    [
        (Window(0, 0, 959, 539), 1.0, (960, 540)),
        (Window(0, 0, 3839, 2159), 1.0, (1920, 1080)),
        (Window(0, 0, 2047, 1555), 2.0, (1920, 729)),
        (Window(0, 0, 719, 575), 0.5, (720, 1152)),
        (Window(5, 5, 5, 5), 1.0, (1, 1)),
    ],
)
def test_pictures_are_shown_with_square_pixels(window: Window, aspect: float, size: tuple[int, int]) -> None:
    assert pictures.shown_size(window, aspect, 1920) == size


def test_a_label_fits_however_small_the_picture() -> None:
    for width in (1, 8, 40, 400, 3000):
        picture = np.full((max(1, width // 2), width, 3), 128, np.uint8)
        labelled = pictures.labelled(picture, "B shöt/plate.####.exr " * 9, right=True)
        assert labelled.shape == picture.shape
        assert (picture == 128).all()


def test_axes_have_round_numbers() -> None:
    assert [nice_step(span, 6) for span in (0, 0.05, 1, 7, 18, 255)] == [1.0, 0.01, 0.2, 2, 5, 50]
    assert nice_step(1e-9, 6) == pytest.approx(2e-10)


def test_a_plot_has_its_lines_and_a_gap_where_a_value_is_missing() -> None:
    red = (200, 0, 0)
    page = plot([1001, 1002, 1003, 1004, 1005], [Panel("p", [Series("s", red, [1.0, 2.0, None, 2.0, None])])])
    assert page.shape == (360, 1280, 3)
    is_red = (page == red).all(axis=2)
    assert is_red[60:310, 80:370].any()
    # 1003's place is empty; 1004 stands alone, as a dot.
    assert not is_red[60:310, 400:900].any()
    assert is_red[60:310, 950:970].any()


@pytest.mark.parametrize("values", [[None], [0.0], [5.0]])
def test_a_plot_of_one_frame_or_of_nothing(values: list[float | None]) -> None:
    assert plot([7], [Panel("p", [Series("s", (0, 0, 0), values, dashed=True)])]).shape[2] == 3
