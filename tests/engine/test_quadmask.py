"""Quadmasks: any honest mask file becomes the four levels, in the right place; others are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenImageIO as oiio
import pytest
from exr_samples import box, write_exr
from void_client.errors import FrameError, MaskError

from void_engine.interface import Window
from void_engine.plates import Limits
from void_engine.quadmask import align, check_range, quantise, read_mask, read_mask_header, resolve_supplied

LEVELS = np.array([[0, 63, 127, 255], [255, 127, 63, 0]], np.uint8)
PLATE = Window(0, 0, 3, 1)


def _image(path: Path, pixels: np.ndarray[Any, Any], kind: Any, **attributes: object) -> Path:
    planes = pixels.reshape(*pixels.shape[:2], -1)
    spec = oiio.ImageSpec(planes.shape[1], planes.shape[0], planes.shape[2], kind)
    for name, value in attributes.items():
        spec.attribute(name.replace("__", ":"), value)
    file = oiio.ImageOutput.create(str(path))
    assert file.open(str(path), spec), file.geterror()
    assert file.write_image(planes), file.geterror()
    file.close()
    return path


def _refused(path: Path, match: str, **arguments: Any) -> FrameError:
    with pytest.raises(FrameError, match=match) as caught:
        read_mask(path, frame=1013, **arguments)
    details = caught.value.details
    assert (details["input"], details["frame"], details["file"]) == ("quadmask", 1013, str(path))
    assert caught.value.hint
    return caught.value


def test_the_levels_are_quantised_at_upstreams_bounds() -> None:
    codes = np.arange(256, dtype=np.uint8)
    expected = np.where(codes <= 31, 0, np.where(codes <= 95, 63, np.where(codes <= 191, 127, 255)))
    np.testing.assert_array_equal(quantise(codes), expected)
    np.testing.assert_array_equal(quantise(codes.astype(np.uint16) * 257), expected)
    np.testing.assert_array_equal(quantise(codes / np.float32(255)), expected)
    np.testing.assert_array_equal(quantise((codes / np.float32(255)).astype(np.float16)), expected)


def test_integers_wider_than_16_bits_are_no_mask() -> None:
    with pytest.raises(TypeError, match="uint32"):
        quantise(np.zeros((1, 1), np.uint32))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("channels", [["R"], ["R", "G", "B", "A"], ["Y"], ["mask.alpha"]])
def test_an_exr_mask(tmp_path: Path, dtype: Any, channels: list[str]) -> None:
    values = (LEVELS / np.float32(255)).astype(dtype)
    path = write_exr(tmp_path / "m.exr", {name: values if name != "G" else values * 0 for name in channels})
    np.testing.assert_array_equal(read_mask(path, frame=1).levels, LEVELS)


@pytest.mark.parametrize("suffix", ["png", "tif", "tga", "bmp"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_8_bit_image_is_read_by_its_code_values(tmp_path: Path, suffix: str, channels: int) -> None:
    if suffix == "bmp" and channels == 4:
        pytest.skip("BMP has no alpha here")
    pixels = np.repeat(LEVELS[..., None], channels, axis=2)
    if channels == 4:
        pixels[..., 3] = 40  # a premultiplying reader would darken the rest
    path = _image(tmp_path / f"m.{suffix}", pixels, oiio.UINT8, oiio__ColorSpace="sRGB", oiio__UnassociatedAlpha=1)
    mask = read_mask(path, frame=1)
    np.testing.assert_array_equal(mask.levels, LEVELS)
    assert mask.header.display_window is None


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (oiio.UINT16, LEVELS.astype(np.uint16) * 257),
        (oiio.HALF, (LEVELS / 255).astype(np.float16)),
        (oiio.FLOAT, (LEVELS / 255).astype(np.float32)),
    ],
)
def test_a_deeper_image(tmp_path: Path, kind: Any, values: Any) -> None:
    np.testing.assert_array_equal(read_mask(_image(tmp_path / "m.tif", values, kind), frame=1).levels, LEVELS)


def test_a_16_bit_png_by_opencv(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "m.png"), LEVELS.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", frame=1).levels, LEVELS)


def test_a_file_of_a_store_has_no_suffix(tmp_path: Path) -> None:
    for name, path in {
        "a": _image(tmp_path / "m.png", LEVELS, oiio.UINT8),
        "b": write_exr(tmp_path / "m.exr", {"R": (LEVELS / 255).astype(np.float16)}),
    }.items():
        path.rename(tmp_path / name)
        np.testing.assert_array_equal(read_mask(tmp_path / name, frame=1).levels, LEVELS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_mask_that_is_not_finite(tmp_path: Path, value: float) -> None:
    values = np.ones((2, 4), np.float32)
    values[1, 2] = value
    error = _refused(write_exr(tmp_path / "m.exr", {"R": values}), "x=2, y=1")
    assert error.details["pixel"] == [2, 1]


@pytest.mark.parametrize("values", [LEVELS.astype(np.float32), LEVELS / np.float32(-255), LEVELS / np.float32(127)])
def test_floats_that_do_not_run_from_0_to_1(tmp_path: Path, values: Any) -> None:
    error = _refused(write_exr(tmp_path / "m.exr", {"R": values}), "runs from")
    assert "0 to 1" in error.hint
    assert ("255" in error.hint) == (values.max() > 30)  # divided by that a mask of a bit over 1 would be all black


def test_a_filters_overshoot_is_forgiven(tmp_path: Path) -> None:
    values = np.array([[-0.002, 1.003]], np.float32)
    np.testing.assert_array_equal(read_mask(write_exr(tmp_path / "m.exr", {"R": values}), frame=1).levels, [[0, 255]])


def test_masks_without_a_channel_that_could_be_meant(tmp_path: Path) -> None:
    values = np.ones((2, 4), np.float16)
    _refused(write_exr(tmp_path / "a.exr", {"depth.Z": values, "A": values}), r"no channel R.*depth\.Z")
    _refused(write_exr(tmp_path / "b.exr", {"R": np.ones((2, 4), np.uint32)}), "integers")


def test_files_that_are_no_masks(tmp_path: Path) -> None:
    _refused(tmp_path / "gone.png", "missing")
    _refused(tmp_path / "gone.exr", "missing")
    (tmp_path / "empty.png").write_bytes(b"")
    _refused(tmp_path / "empty.png", "empty")
    (tmp_path / "text.png").write_bytes(b"no image at all, but longer than a few bytes")
    _refused(tmp_path / "text.png", "cannot be read as an image")
    (tmp_path / "not.exr").write_bytes(b"\x89PNG")
    _refused(tmp_path / "not.exr", "not an EXR")


@pytest.mark.parametrize("suffix", ["png", "tif", "exr"])
def test_a_mask_cut_short(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (120, 90)).astype(np.uint8)
    path = tmp_path / f"m.{suffix}"
    if suffix == "exr":
        write_exr(path, {"R": (codes / 255).astype(np.float16)})
    else:
        _image(path, codes, oiio.UINT8)
    data = path.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.99):
        path.write_bytes(data[: int(len(data) * share)])
        _refused(path, "cannot be read|ends|never finished")


def test_a_mask_over_the_limits_is_not_decoded(tmp_path: Path) -> None:
    path = _image(tmp_path / "m.png", np.zeros((512, 512), np.uint8), oiio.UINT8)
    _refused(path, "over the limit", limits=Limits(max_pixels=511 * 511))
    _refused(path, "over the limit", limits=Limits(max_decoded_bytes=1000))


def test_a_roto_with_a_cropped_window_keeps_outside(tmp_path: Path) -> None:
    path = write_exr(
        tmp_path / "m.exr",
        {"R": np.zeros((2, 3), np.float16)},
        dataWindow=box(2, 1, 4, 2),
        displayWindow=box(0, 0, 9, 7),
    )
    mask = read_mask(path, frame=1)
    mask.header.check_fits(Window(0, 0, 9, 7))
    canvas = Window(-1, 0, 9, 7)
    resolved = resolve_supplied(mask.levels, mask.header.window_on(Window(0, 0, 9, 7)), canvas)
    expected = np.full((8, 11), 255, np.uint8)
    expected[1:3, 3:6] = 0
    np.testing.assert_array_equal(resolved, expected)


@pytest.mark.parametrize(
    ("window", "size"), [((-5, -5, -4, -4), (2, 2)), ((3, 1, 40, 30), (30, 38)), ((-9, -9, 30, 30), (40, 40))]
)
def test_a_mask_may_lie_beside_or_over_the_canvas(window: tuple[int, ...], size: tuple[int, int]) -> None:
    mask = np.zeros(size, np.uint8)
    canvas = Window(0, 0, 9, 7)
    aligned = align(mask, Window(*window), canvas)
    y, x = np.mgrid[0:8, 0:10]
    inside = (x >= window[0]) & (x <= window[2]) & (y >= window[1]) & (y <= window[3])
    np.testing.assert_array_equal(aligned, np.where(inside, 0, 255))


def test_a_mask_of_another_format_is_refused_with_both_sizes(tmp_path: Path) -> None:
    png = read_mask_header(_image(tmp_path / "m.png", LEVELS, oiio.UINT8), frame=1001)
    png.check_fits(PLATE)
    png.check_fits(Window(10, 20, 13, 21))
    with pytest.raises(FrameError, match="it is 4x2, the plate's display window is 8x4") as caught:
        png.check_fits(Window(0, 0, 7, 3))
    assert caught.value.details["frame"] == 1001
    exr = read_mask_header(write_exr(tmp_path / "m.exr", {"R": (LEVELS / 255).astype(np.float16)}), frame=1001)
    exr.check_fits(PLATE)
    with pytest.raises(FrameError, match="display window is 4x2, the plate's is 8x4"):
        exr.check_fits(Window(0, 0, 7, 3))
    with pytest.raises(FrameError, match=r"4x2, the plate's is 4x2 at \(1, 0\)"):
        exr.check_fits(Window(1, 0, 4, 1))


def test_a_range_without_anything_to_remove() -> None:
    keep, affected = np.full((4, 4), 255, np.uint8), np.full((4, 4), 127, np.uint8)
    for level in (0, 63):
        marked = keep.copy()
        marked[3, 3] = level
        check_range([keep, affected, marked])
    with pytest.raises(MaskError, match="only affected"):
        check_range([keep, affected])
    with pytest.raises(MaskError, match="only keep"):
        check_range([keep])
    with pytest.raises(MaskError, match="no frames"):
        check_range([])
