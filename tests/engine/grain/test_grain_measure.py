"""Grain is measured as it is, whatever picture it lies on and however the camera moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from grain_samples import Clip, Picture, grass, gravel, measured, neighbours, noise, room, spectrum, strength, weave

from void_engine.cleanplate import shaper
from void_engine.grain import GrainModel, measure, synthesise
from void_engine.interface import KEEP
from void_engine.synthetic import SyntheticFrame, render_shot

LIME = Path("/work/shared/shots/lime/input_video.mp4")
LEVELS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)  # where every channel of the room has enough pixels


def flat(level: float, size: tuple[int, int] = (256, 256)) -> Picture:
    return np.full((*size, 3), level, np.float32)


def laid(model: GrainModel, level: Picture) -> Picture:
    return synthesise(model, level, (5, 3), (0, 0))


def check_known(model: GrainModel, base: float = 0.015, within: float = 0.15, upto: float = 0.7, band: int = 0) -> None:
    """Against the truth of `grain_samples`."""
    for level in (level for level in LEVELS if level <= upto):
        truth = strength(np.float32(level), base)
        for channel in range(3):
            assert model.strength(np.array(level), channel) == pytest.approx(truth[channel], rel=within)
    given, true = laid(model, flat(0.5)), noise((256, 256), 999)
    np.testing.assert_allclose(neighbours(given), neighbours(true), atol=0.1)
    ratio = spectrum(given / given.std(axis=(0, 1))) / spectrum(true)
    # The finest band holds next to nothing of either.
    assert ratio[:, band:6].min() > 0.7
    assert ratio[:, band:6].max() < 1.4
    between = np.corrcoef(given.reshape(-1, 3).T)
    np.testing.assert_allclose(between, np.corrcoef(true.reshape(-1, 3).T), atol=0.1)


@pytest.mark.parametrize(
    "step", [(0.0, 0.0), (3.0, -2.0), (0.5, 0.0), (2.37, 1.71)], ids=["still", "whole", "half", "any"]
)
def test_known_grain_on_texture_under_a_camera(step: tuple[float, float]) -> None:
    check_known(measured(Clip(step).frames))


def test_a_single_frame_is_enough() -> None:
    """But for the brightest level, whose few tiles lie on edges here, and for waves longer than a tile."""
    check_known(measured(Clip((0, 0), 1, (360, 480)).frames), within=0.25, upto=0.6, band=1)


def strength_on(picture: Picture, frames: list[Picture]) -> float:
    model = measured(frames)
    return float(np.mean([model.strength(picture[..., c], c).mean() for c in range(3)]))


@pytest.mark.parametrize("texture", [grass, gravel, weave])
def test_texture_all_over_a_single_frame_is_not_taken_for_grain(texture: Callable[[], Picture]) -> None:
    """Without texture taken out these were found: 0.04 to 0.09 where there is none, up to 4.5 times what there is."""
    picture = texture()
    assert strength_on(picture, [picture]) < 0.016
    assert picture.std() > 0.06
    for base, across in ((0.02, 0.05), (0.02, 0.7), (0.05, 0.6)):
        grainy = picture + base * noise(picture.shape[:2], 4, across=across, down=across)
        assert 0.8 < strength_on(picture, [grainy]) / base < 1.75


def test_texture_does_not_hide_grain_that_two_frames_show() -> None:
    """Grain that is alike in all channels: a single frame of grass cannot show it, a pair can."""
    picture = grass()
    grains = [0.02 * noise(picture.shape[:2], seed)[..., :1] for seed in (1, 2)]
    assert strength_on(picture, [picture + grain for grain in grains]) == pytest.approx(0.02, rel=0.15)
    assert strength_on(picture, [picture + grains[0]]) < 0.02


@pytest.mark.parametrize("base", [0.01, 0.025])
def test_grain_that_is_alike_in_all_channels_is_found_where_a_single_frame_is_flat(base: float) -> None:
    for picture in (flat(0.5), room((240, 320))):
        grey = base * noise(picture.shape[:2], 6, across=0.6, down=0.6)[..., :1]
        assert strength_on(picture, [picture + grey]) == pytest.approx(base, rel=0.25)


def test_grain_whose_chroma_a_codec_has_thinned_out_is_found() -> None:
    """4:2:0: at half the size and blurred, but for the luma."""
    grain = 0.025 * noise((256, 256), 8, across=0.5, down=0.5)
    luma = grain.mean(axis=2, keepdims=True)
    chroma = cv2.resize(cv2.resize(grain - luma, (128, 128), interpolation=cv2.INTER_AREA), (256, 256))
    thinned = luma + chroma
    assert strength_on(flat(0.5), [flat(0.5) + thinned]) == pytest.approx(float(thinned.std()), rel=0.2)


def test_heavy_grain() -> None:
    check_known(measured(Clip((1.4, 0.3), base=0.05).frames), base=0.05)


@pytest.fixture(scope="module")
def bricks() -> tuple[list[SyntheticFrame], list[SyntheticFrame]]:
    return tuple(list(render_shot(480, 270, 8, 3, grain=grain)) for grain in (1.0, 0.0))  # type: ignore[return-value]


def test_a_wall_of_bricks_under_a_panning_camera(bricks) -> None:
    """It has no flat spot, and what is measured on one frame is twice as strong."""
    grainy, clean = bricks
    model = measure(lambda p: (shaper.encode(grainy[p].plate), grainy[p].quadmask == KEEP), 8)
    light = shaper.encode(clean[4].truth)
    true, given = shaper.encode(grainy[4].truth) - light, laid(model, light)
    np.testing.assert_allclose(given.std(axis=(0, 1)), true.std(axis=(0, 1)), rtol=0.15)
    np.testing.assert_allclose(neighbours(given), neighbours(true), atol=0.1)
    assert np.abs(np.corrcoef(given.reshape(-1, 3).T) - np.eye(3)).max() < 0.15


def test_a_rendered_plate_has_no_grain(bricks) -> None:
    _, clean = bricks
    moving = measure(lambda p: (shaper.encode(clean[p].plate), clean[p].quadmask == KEEP), 8)
    assert laid(moving, shaper.encode(clean[4].truth)).std() < 0.0015
    assert not measured([room((120, 160))] * 3).sigma.any()
    assert not measured([flat(0.4, (64, 64))]).sigma.any()
    assert measured(Clip((2.3, 0.7)).clean).sigma.max() < 0.002


def test_frames_that_are_held_do_not_count() -> None:
    frames = Clip((2.0, 0.0)).frames
    check_known(measured([frame for frame in frames for _ in range(2)]))


def test_a_cut_does_not_count() -> None:
    check_known(measured(Clip((0.6, 0.2)).frames + Clip((0.6, 0.2), seed=1).frames))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_tiny_plate(count: int) -> None:
    size = (32, 32)
    frames = [flat(0.5, size) + 0.02 * noise(size, k, across=0.6, down=0.6) for k in range(count)]
    model = measured(frames)
    assert 0.7 < model.strength(np.array(0.5), 1) / 0.02 < 1.35
    assert model.sigma.max() < 0.035


@pytest.mark.parametrize("size", [(2, 2), (3, 40), (15, 15)])
def test_a_plate_too_small_for_any_tile_has_none(size: tuple[int, int]) -> None:
    assert not measured([flat(0.5, size) + 0.02 * noise(size, k) for k in range(2)]).sigma.any()


def test_only_usable_pixels_count() -> None:
    clip = Clip((1.3, 0.0))
    usable = np.ones((240, 320), np.bool_)
    usable[60:200, 100:260] = False
    for k, frame in enumerate(clip.frames):
        frame[~usable] += 0.2 * noise((240, 320), 50 + k)[~usable]
    clip.frames[2][70, 110] = np.nan
    clip.frames[3][5, 5] = np.nan  # a broken pixel that is kept
    check_known(measured(clip.frames, usable))
    assert not measured(clip.frames, np.zeros_like(usable)).sigma.any()


def test_where_the_plate_is_clipped_there_is_no_grain() -> None:
    clip = Clip((0.0, 0.0))
    frames = []
    for frame in clip.frames:
        frame[:90, :150] += 1.0
        frames.append(np.minimum(frame, 1.0))
    model = measured(frames)
    check_known(model)
    assert np.abs(laid(model, flat(1.0, (32, 32)))).max() < 0.001
    assert np.isinf(model.ends[:, 0]).all()


def test_a_level_that_the_plate_lacks_gets_the_nearest_ones_grain() -> None:
    frames = [flat(0.5, (96, 96)) + 0.02 * noise((96, 96), k) for k in range(3)]
    model = measured(frames)
    for level in (-0.1, 0.0, 1.0, 1.9):
        assert model.strength(np.array(level), 0) == pytest.approx(0.02, rel=0.1)


def test_the_same_frames_give_the_same_model() -> None:
    frames = Clip((2.37, 1.71), 3).frames
    assert measured(frames).to_json() == measured(frames).to_json()


@pytest.mark.skipif(not LIME.exists(), reason="the sample shots are not here")
def test_grain_added_to_a_compressed_shot_is_found() -> None:
    """H.264 leaves hardly any grain, in blocks that stand still: what was added is all that there is."""
    av = pytest.importorskip("av")
    plain = []
    with av.open(str(LIME)) as movie:
        for frame in movie.decode(video=0):
            code = frame.to_ndarray(format="rgb24")[700:1000, 1200:1700]
            plain.append(shaper.encode((code.astype(np.float32) / 255.0) ** 2.2))
            if len(plain) == 3:
                break
    before = measured(plain)
    assert before.sigma.max() < 0.005
    for added in (0.01, 0.03):
        grain = [added * noise((300, 500), k) for k in range(3)]
        given = laid(measured([p + g for p, g in zip(plain, grain, strict=True)]), plain[0])
        np.testing.assert_allclose(given.std(axis=(0, 1)), added, rtol=0.15)
        np.testing.assert_allclose(neighbours(given), neighbours(grain[0]), atol=0.1)


def test_grain_that_a_codec_has_blocked_does_not_explode() -> None:
    clip = Clip((1.0, 0.5), 3)
    coded = []
    for frame in clip.frames:
        code = np.clip(frame * 255 + 0.5, 0, 255).astype(np.uint8)
        _, jpeg = cv2.imencode(".jpg", code, [cv2.IMWRITE_JPEG_QUALITY, 60])
        coded.append(cv2.imdecode(jpeg, cv2.IMREAD_COLOR).astype(np.float32) / 255)
    model = measured(coded)
    assert model.sigma.max() < 1.5 * strength(np.float32(0.0)).max()
