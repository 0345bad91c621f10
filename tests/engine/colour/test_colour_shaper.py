"""The shaper: every half there and back, smooth, rising, and the same for every ordinary shot."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from void_engine.colour.levels import Levels
from void_engine.colour.shaper import Shaper, fit, fit_frames

DEFAULT = Shaper()
EXTREMES = [
    [0.0, 0.18, 10000.0],
    [-50.0, 0.18, 1.0],
    [-0.1, 0.18, 200.0],
    [-65504.0, 65504.0],
    [1e-6, 3e-6],
    [500.0, 3000.0, -4.0],
    [1e-6] * 5 + [65504.0],
]
SHAPERS = [
    DEFAULT,
    replace(DEFAULT, peak=2.0**36, floor=-(2.0**36), black=1 / 16),
    Shaper(2.0**-6, 1 / 16, 0.875, -(2.0**36), 2.0**36),
    Shaper(2.0**14, 1 / 16, 0.875, -8.0, 2.0**22),
    *[fit_frames([np.float32(light)]) for light in EXTREMES],
]
each_shaper = pytest.mark.parametrize("shaper", SHAPERS, ids=str)


def halves(shaper: Shaper) -> np.ndarray:
    """All finite halves in the shaper's range, rising; -0 left out."""
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    light = np.unique(every[np.isfinite(every)].astype(np.float32))
    return light[(light >= shaper.floor) & (light <= shaper.peak)]


def test_there_are_63487_finite_halves_with_one_zero():
    assert len(halves(SHAPERS[1])) == 63487


@each_shaper
def test_every_half_comes_home(shaper):
    light = halves(shaper)
    back = shaper.to_light(shaper.to_display(light))
    last_bit = np.exp2(np.maximum(np.frexp(light)[1] - 11.0, -24.0))
    large = np.abs(light) >= 2.0**-14
    assert (np.abs(back - light)[large] < 0.5 * last_bit[large]).all()
    assert (back.astype(np.float16)[large] == light[large]).all()
    assert (np.abs(back - light)[~large] < last_bit[~large]).all()


@each_shaper
def test_display_rises_with_light(shaper):
    light = halves(shaper)
    steps = np.diff(shaper.to_display(light))
    assert (steps >= 0).all()
    large = np.abs(light) >= 2.0**-14
    assert (steps[large[1:] & large[:-1]] > 0).all()


@each_shaper
def test_the_ends_of_the_range_are_the_ends_of_the_display_and_beyond_is_held(shaper):
    light = np.float32([2 * shaper.floor, shaper.floor, shaper.peak, 2 * shaper.peak])
    assert shaper.to_display(light) == pytest.approx([0, 0, 1, 1], abs=2e-7)
    back = shaper.to_light(np.float32([-1, 0, 1, 2]))
    assert back == pytest.approx([shaper.floor, shaper.floor, shaper.peak, shaper.peak], rel=1e-4)


@each_shaper
def test_black_white_and_middle_grey_are_where_models_know_them(shaper):
    black, grey, white = shaper.to_display(np.float32([0.0, 0.18, 1.0]) / np.float32(shaper.exposure))
    assert black == np.float32(shaper.black)
    assert black <= 1 / 16
    assert 0.40 < grey < 0.46
    assert white == pytest.approx(shaper.white, abs=1e-7)


@each_shaper
@pytest.mark.parametrize("joint", [0.0, 0.0030399, 1.0])
def test_smooth_at_the_joints(shaper, joint):
    """The slope on either side, from points so near that the log ends are still straight; in float32, so to 1 %."""
    near = {0.0: 2e-6, 0.0030399: 1e-4, 1.0: 3e-4}[joint]
    at = np.float32([joint - near, joint, joint + near]) / np.float32(shaper.exposure)
    codes = shaper.to_display(at).astype(np.float64)
    left, right = np.diff(codes) / np.diff(at.astype(np.float64))
    tolerance = 0.02 + 1.5 * near * (45 if joint else 10000)  # the ends bend at once
    assert left == pytest.approx(right, rel=tolerance)
    assert np.diff(codes).max() < 13 * near + 1e-6


def test_close_to_the_srgb_curve_between_black_and_white():
    light = np.linspace(0, 1, 5001, dtype=np.float32)
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055)
    shown = DEFAULT.to_display(light)
    assert shown == pytest.approx(DEFAULT.black + (DEFAULT.white - DEFAULT.black) * srgb, abs=2e-5)
    assert np.abs(shown - srgb).max() < 0.13


def test_black_is_near_the_displays_where_the_shot_has_no_negatives():
    assert DEFAULT.to_display(np.zeros(1, np.float32))[0] == 1 / 64


def test_any_layout_and_the_input_stays():
    light = np.random.default_rng(3).normal(0.2, 1.0, (9, 300, 401, 3)).astype(np.float32)
    view = light[::2, :, ::-1]
    kept = light.copy()
    shown = DEFAULT.to_display(view)
    assert shown.dtype == np.float32
    assert shown.shape == view.shape
    assert (light == kept).all()
    assert (shown[1, 7, 5] == DEFAULT.to_display(view[1, 7, 5])).all()
    assert DEFAULT.to_light(shown[..., :0]).shape == (*view.shape[:-1], 0)


# parameters


@each_shaper
def test_parameters_go_through_json_to_the_last_bit(shaper):
    again = Shaper.from_params(json.loads(json.dumps(shaper.params())))
    assert again == shaper
    assert str(again) == str(shaper)
    light = halves(shaper)
    assert (again.to_display(light) == shaper.to_display(light)).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"exposure": 3.0},
        {"exposure": 0.0},
        {"exposure": -1.0},
        {"peak": 1.0},
        {"peak": math.inf},
        {"floor": 0.0},
        {"floor": -1e-6},
        {"black": 0.0},
        {"white": 1.0},
        {"peak": 8},
        {"black": 0.9},
    ],
    ids=str,
)
def test_numbers_that_make_no_curve_are_refused(wrong):
    with pytest.raises(ValueError, match=r"shaper|exposure|end"):
        Shaper.from_params({**DEFAULT.params(), **wrong})


def test_unknown_or_missing_parameters_are_refused():
    with pytest.raises(ValueError, match="gain"):
        Shaper.from_params({**DEFAULT.params(), "gain": 1.0})
    with pytest.raises(ValueError, match="peak"):
        Shaper.from_params({"exposure": 1.0})


def test_text_for_metadata():
    assert str(DEFAULT) == "srgb-log 1: exposure=1.0, black=0.015625, white=0.875, floor=-0.015625, peak=8.0"


# fitting


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("middle", "top"), [(0.02, 0.9), (0.18, 1.5), (0.6, 4.0), (0.1, 8.0)])
def test_ordinary_plates_all_get_the_default(seed, middle, top):
    source = np.random.default_rng(seed)
    frames = [np.minimum(source.lognormal(np.log(middle), 1.0, (40, 50, 3)), top) for _ in range(3)]
    noise = source.normal(0.0, 0.003, (40, 50, 3))
    assert fit_frames([(frame + noise).astype(np.float32) for frame in frames]) == DEFAULT


@pytest.mark.parametrize("light", EXTREMES, ids=str)
def test_extremes_are_inside_the_fitted_range(light):
    light = np.float32(light)
    shaper = fit_frames([light])
    assert shaper.floor <= light.min()
    assert shaper.peak >= light.max()
    assert shaper.to_light(shaper.to_display(light)) == pytest.approx(light, rel=2e-4, abs=1e-9)


@pytest.mark.parametrize("light", [[], [0.0] * 3, [-1e-30], [math.nan, math.inf, -math.inf]], ids=str)
def test_a_shot_without_light_gets_the_default(light):
    assert fit_frames([np.float32(light)]) == DEFAULT
    assert fit(Levels()) == DEFAULT


def test_constant_light():
    assert fit_frames([np.full((4, 4, 3), 0.5, np.float32)]) == DEFAULT
    assert fit_frames([np.full((4, 4, 3), 1e-6, np.float32)]).exposure == 2.0**13
    bright = fit_frames([np.full((4, 4, 3), 18.0, np.float32)])
    assert bright.exposure == 2.0**-5
    assert bright.to_display(np.float32([18.0]))[0] > 0.6


def test_a_dark_shot_is_lifted_by_as_little_as_will_do():
    exposures = [fit_frames([np.full(9, light, np.float32)]).exposure for light in (2.0**-7, 0.0078, 0.0039, 0.001)]
    assert exposures == [1.0, 2.0, 4.0, 8.0]


def test_one_broken_sample_in_a_million_takes_no_codes_but_a_small_light_does():
    plate = np.full((1000, 1000, 3), 0.18, np.float32)
    plate[0, 0] = 65504.0
    assert fit_frames([plate]) == DEFAULT
    plate[1:3, 0:2] = 200.0
    assert fit_frames([plate]).peak == 512.0


def test_the_middle_does_not_move_with_the_highlights():
    light = np.linspace(0, 1, 100, dtype=np.float32)
    bright = fit_frames([np.float32([0.18, 0.2, 9000.0])])
    assert (bright.to_display(light) == DEFAULT.to_display(light)).all()


# levels


def test_levels_in_any_split_and_through_json_are_the_same():
    light = np.random.default_rng(5).normal(0.1, 3.0, (6, 70, 90, 3)).astype(np.float32)
    whole, parts = Levels(), [Levels(), Levels()]
    whole.add(light)
    for position in (4, 1, 0):
        parts[0].add(light[position])
    for position in (5, 3, 2):
        parts[1].add(light[position][::-1, ::-1])
    parts[1].merge(parts[0])
    assert parts[1] == whole
    again = Levels.from_json(json.loads(json.dumps(whole.to_json())))
    assert again == whole
    assert fit(again) == fit(whole)
    assert again != parts[0]


def test_levels_say_what_the_shot_holds():
    levels = Levels()
    levels.add(np.float32([-0.3, 0.0, -0.0, 0.1, 0.2, 0.3, 7.7, math.nan, math.inf]))
    assert levels.samples == 7
    assert levels.brightest() == pytest.approx(7.7)
    assert levels.darkest() == pytest.approx(-0.3)
    assert levels.brightest(1) == pytest.approx(0.3, rel=0.13)
    assert levels.brightest(1) >= 0.3
    assert levels.darkest(1) == 0.0
    assert levels.median() == pytest.approx(0.2, rel=0.13)


@pytest.mark.parametrize(
    "stored",
    [{}, {"ends": [0, 1]}, {"ends": 3, "counts": {}}, {"ends": [0.0, 1.0], "counts": {"4096": 1}},
     {"ends": [0.0, 1.0], "counts": {"x": 1}}, {"ends": [0.0, 1.0], "counts": {"7": 1.5}}],
    ids=str,
)  # fmt: skip
def test_levels_that_were_not_stored_by_levels_are_refused(stored):
    with pytest.raises(ValueError, match=r".+"):
        Levels.from_json(stored)
