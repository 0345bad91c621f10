"""To light and back: how exact, for which names, and what is refused."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from void_client.errors import JobError

from void_engine.colour import config as configs
from void_engine.colour.working import LIMIT, WorkingSpace, working_space

LOGS = ["ARRI LogC3 (EI800)", "ARRI LogC4", "S-Log3 S-Gamut3", "S-Log3 S-Gamut3.Cine", "V-Log V-Gamut", "Apple Log",
        "Log3G10 REDWideGamutRGB", "CanonLog2 CinemaGamut D55", "CanonLog3 CinemaGamut D55", "ACEScct",
        "DaVinci Intermediate WideGamut", "BMDFilm WideGamut Gen5"]  # fmt: skip
FILM = (0.0, 0.01, 0.05, 0.2, 0.5, 1.2, 3.0)


def refusal(config, name: str, key: str = "colour_space") -> JobError:
    with pytest.raises(JobError) as caught:
        working_space(config, name)
    assert caught.value.details["key"] == key
    assert caught.value.hint
    return caught.value


def halves(count: int = 100_000, seed: int = 0) -> np.ndarray:
    """Plate pixels of eighteen stops, a sixth of the channels negative."""
    source = np.random.default_rng(seed)
    light = np.clip(np.exp(source.normal(-2.0, 2.5, (count, 3))), 2.0**-14, 60000.0)
    light *= np.where(source.random((count, 3)) < 1 / 6, -1.0, 1.0)
    return light.astype(np.float16).astype(np.float32)


def last_bits(light: np.ndarray) -> np.ndarray:
    """The worth of a half's last bit."""
    return np.exp2(np.maximum(np.frexp(light)[1] - 11.0, -24.0))


# exactness


def test_every_space_of_the_default_configuration_is_accepted_except_data(studio):
    for name in studio.spaces():
        if name != "Raw":
            assert working_space(studio, name).name == name


def test_scene_linear_spaces_come_back_to_3e7_of_the_pixels_largest_channel(studio):
    light = halves()
    largest = np.abs(light).max(axis=1, keepdims=True)
    for name in studio.scene_linear():
        space = working_space(studio, name)
        error = np.abs(space.from_linear(space.to_linear(light)) - light)
        assert (error <= 4e-7 * largest).all(), name


def test_a_half_acescg_plate_comes_back_bit_for_bit_in_channels_of_a_thousandth_of_the_largest(studio):
    """A half's last bit is 2^-10 to 2^-11 of it; the error, of the largest channel, 2^-21.7: 2^-10 of room at least."""
    space, light = working_space(studio, "ACEScg"), halves()
    back = space.from_linear(space.to_linear(light))
    largest = np.abs(light).max(axis=1, keepdims=True)
    safe = np.abs(light) >= largest / 700
    assert (back.astype(np.float16)[safe] == light[safe]).all()
    assert (np.abs(back - light) <= 4e-7 * largest).all()
    assert 0.5 < safe.mean() < 1.0


def test_known_values(studio):
    grey = np.full((1, 3), 0.18, np.float32)
    assert working_space(studio, "ACEScg").to_linear(grey) == pytest.approx(grey, abs=1e-6)
    red = working_space(studio, "ACEScg").to_linear(np.float32([1, 0, 0]))
    assert red == pytest.approx([1.70505, -0.13026, -0.02400], abs=1e-4)
    assert working_space(studio, "ARRI LogC3 (EI800)").from_linear(grey)[0] == pytest.approx([0.391] * 3, abs=1e-3)
    assert working_space(studio, "S-Log3 S-Gamut3").from_linear(grey)[0] == pytest.approx([420 / 1023] * 3, abs=1e-3)
    assert working_space(studio, "sRGB - Display").to_linear(np.float32([0.5] * 3))[0] == pytest.approx(0.21404, 1e-4)


@pytest.mark.parametrize("name", LOGS)
def test_log_codes_come_back(studio, name):
    space = working_space(studio, name)
    tints = np.random.default_rng(2).uniform(-0.08, 0.08, (801, 3))
    codes = (np.linspace(0.1, 0.9, 801)[:, None] + tints).astype(np.float32)
    assert np.abs(space.from_linear(space.to_linear(codes)) - codes).max() < 1e-6


@pytest.mark.parametrize("name", ["sRGB - Display", "sRGB - Texture", "Rec.1886 Rec.709 - Display", "Camera Rec.709"])
def test_every_code_of_a_ten_bit_movie_comes_back(studio, name):
    space = working_space(studio, name)
    codes = np.repeat(np.arange(1024, dtype=np.float32)[:, None] / 1023, 3, axis=1)
    light = space.to_linear(codes)
    assert light[0] == pytest.approx([0.0] * 3, abs=1e-6)
    assert light[-1] == pytest.approx([1.0] * 3, abs=1e-5)
    assert np.abs(space.from_linear(light) - codes).max() < 1e-6


# finite, and shapes


def test_finite_in_finite_out_for_every_space(studio):
    source = np.random.default_rng(4)
    wild = (source.choice([-1, 1], (4000, 3)) * np.exp2(source.uniform(-140, 127.9, (4000, 3)))).astype(np.float32)
    wild[0], wild[1], wild[2] = 3.4e38, -3.4e38, (3.4e38, -3.4e38, 0)
    for name in studio.spaces():
        if name != "Raw":
            space = working_space(studio, name)
            assert np.abs(space.to_linear(wild)).max() <= LIMIT, name
            assert np.isfinite(space.from_linear(wild)).all(), name


def test_no_half_of_a_scene_linear_plate_is_held_back(studio):
    corners = np.float32([[a, b, c] for a in (-65504, 65504) for b in (-65504, 65504) for c in (-65504, 65504)])
    for name in studio.scene_linear():
        assert np.abs(working_space(studio, name).to_linear(corners)).max() < LIMIT, name


def test_any_layout_and_the_input_stays(studio):
    space = working_space(studio, "ARRI LogC4")
    codes = np.random.default_rng(1).random((5, 60, 700, 4)).astype(np.float32)
    kept, view = codes.copy(), codes[::2, ::-1, :, :3]
    light = space.to_linear(view)
    assert light.shape == view.shape
    assert light.dtype == np.float32
    assert (codes == kept).all()
    assert (light[1, 3, 650] == space.to_linear(view[1, 3, 650])).all()
    assert space.to_linear(codes[:0, ..., :3]).shape == (0, 60, 700, 3)


def test_threads_share_a_space(studio):
    space = working_space(studio, "ACEScct")
    frames = [np.random.default_rng(seed).random((100, 900, 3)).astype(np.float32) for seed in range(8)]
    alone = [space.to_linear(frame) for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(space.to_linear, frames))
    assert all((one == other).all() for one, other in zip(alone, together, strict=True))


# names


def test_no_name_is_light_as_it_is_and_needs_no_ocio(monkeypatch):
    monkeypatch.setitem(sys.modules, "PyOpenColorIO", None)
    space = working_space(None, "")
    light = np.float32([[-1e9, 0.5, 3e38]])
    assert (space.to_linear(light) == light).all()
    assert (space.from_linear(light) == light).all()
    assert space.to_linear(light) is not light
    assert space.identity() == {}
    assert space == WorkingSpace()


def test_what_is_kept_of_a_space(studio):
    space = working_space(studio, "scene_linear")
    assert space.identity() == {"workingSpace": "ACEScg", "ocio": studio.name, "ocioDigest": studio.digest}
    assert working_space(None, "ACEScg") == space


@pytest.mark.parametrize(
    ("name", "meant"),
    [("ACES - ACEScg", "ACEScg"), ("acescg", "ACEScg"), ("ACES/ACEScg", "ACEScg"), ("scene_linear (ACEScg)", "ACEScg"),
     ("compositing_log", "ACEScct"), ("Input/ARRI/ARRI LogC3 (EI800)", "ARRI LogC3 (EI800)"), (" ACEScg ", "ACEScg"),
     ("Utility - Linear - sRGB", "Linear Rec.709 (sRGB)"), ("linear rec709 srgb", "Linear Rec.709 (sRGB)"),
     ("sRGB", "sRGB Encoded Rec.709 (sRGB)"), ("Utility - sRGB - Texture", "sRGB Encoded Rec.709 (sRGB)")],
)  # fmt: skip
def test_names_as_people_and_nuke_write_them(studio, name, meant):
    assert working_space(studio, name).name == meant


def test_the_two_meanings_of_srgb_are_one_light(studio):
    codes = np.linspace(0, 1, 256, dtype=np.float32)[:, None].repeat(3, axis=1)
    one, other = (working_space(studio, name).to_linear(codes) for name in ("sRGB - Display", "sRGB - Texture"))
    assert one == pytest.approx(other, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "offered"),
    [("linear", ["Linear Rec.709 (sRGB)", "ACEScg"]), ("Output - sRGB", ["sRGB - Display"]), ("ACEScq", ["ACEScg"]),
     ("rec709", ["Camera Rec.709", "Rec.1886 Rec.709 - Display"]), ("AlexaV3LogC", ["ARRI LogC3 (EI800)"]),
     ("Utility/ACEScg", ["ACEScg"]), ("scene_linear (ACEScct)", []), ("$(SHOT)", [])],
)  # fmt: skip
def test_a_name_that_may_mean_several_is_offered_and_not_taken(studio, name, offered):
    error = refusal(studio, name)
    assert error.details["close"][: len(offered)] == offered
    assert "Scene-linear" in error.hint


def test_data_is_no_working_space(studio, write_config):
    assert "data" in refusal(studio, "Raw").message
    assert "Raw" not in refusal(studio, "Rww").details["close"]  # nor offered
    assert "data" in refusal(configs.load(str(write_config(lut=FILM))), "raw").message


# configurations of a house's own


def test_a_house_configuration_with_a_lut(write_config):
    house = configs.load(str(write_config(lut=FILM)))
    space = working_space(house, "film")
    codes = np.float32([[0.3, 0.5, 0.7], [0.9, 0.95, 0.85]])
    assert space.from_linear(space.to_linear(codes)) == pytest.approx(codes, abs=1e-5)
    assert working_space(house, "kamera 1").name == "ap0"
    assert working_space(house, "Scene/ap0").name == "ap0"
    screen = working_space(house, "screen").to_linear(np.float32([0.5] * 3))
    assert screen == pytest.approx([0.21404] * 3, rel=1e-3)
    acescg = working_space(configs.load(), "ACES2065-1").to_linear(np.float32([0.3, 0.2, 0.1]))
    assert working_space(house, "ap0").to_linear(np.float32([0.3, 0.2, 0.1])) == pytest.approx(acescg, abs=1e-6)


def test_a_lut_that_was_replaced_on_disk_is_the_new_one(write_config):
    code = np.float32([0.5] * 3)
    first = working_space(configs.load(str(write_config(lut=FILM))), "film").to_linear(code)
    second = working_space(configs.load(str(write_config(lut=tuple(2 * x for x in FILM)))), "film").to_linear(code)
    assert second == pytest.approx(2 * first, rel=1e-5)


def test_a_missing_lut_refuses_the_space_that_needs_it_only(write_config):
    house = configs.load(str(write_config()))
    assert "film.spi1d" in refusal(house, "film", "ocio").message
    assert working_space(house, "ap0").name == "ap0"


@pytest.mark.parametrize(
    ("role", "space"), [("aces_interchange", "ap0"), ("cie_xyz_d65_interchange", "screen")], ids=str
)
def test_without_the_interchange_role_the_message_says_what_to_add(write_config, role, space):
    error = refusal(configs.load(str(write_config(without=(role,)))), space, "ocio")
    assert role in error.message
    assert f"`{role}:" in error.hint
    assert error.details["role"] == role


CLAMP = "!<RangeTransform> {min_in_value: 0, min_out_value: 0, max_in_value: 1, max_out_value: 1}"
ACES = "!<BuiltinTransform> {style: ACES-OUTPUT - ACES2065-1_to_CIE-XYZ-D65 - SDR-VIDEO_1.0}"
SCREEN = "!<BuiltinTransform> {style: DISPLAY - CIE-XYZ-D65_to_sRGB}"
LOSSY = {
    "singular": "from_reference: !<MatrixTransform> {matrix: [1,0,0,0, 1,0,0,0, 1,0,0,0, 0,0,0,1]}",
    "clamped": f"encoding: scene-linear, to_reference: {CLAMP}",
    "tiny": "to_reference: !<CDLTransform> {slope: [1.0e-9, 1.0e-9, 1.0e-9]}",
    "tone-mapped": f"encoding: sdr-video, from_reference: !<GroupTransform> {{children: [{ACES}, {SCREEN}]}}",
}


@pytest.mark.parametrize("space", LOSSY.values(), ids=list(LOSSY))
def test_what_cannot_be_undone_is_refused_when_it_is_named(write_config, space):
    error = refusal(configs.load(str(write_config(f"name: bad, {space}"))), "bad")
    assert "light and back" in error.message
