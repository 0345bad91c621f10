"""Reading plates: every bit, in its own type, with everything that the header says."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from exr_samples import bits, box, noise, read_by_oiio, rgba, set_attribute, write_exr, write_parts, write_rich
from void_client.errors import FrameError

from void_engine.interface import Window
from void_engine.plates import Limits, pixel_digest, read_frame, read_header
from void_engine.plates.exrfile import Attribute

LOSSLESS = ["NO", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "HTJ2K32", "ZSTD"]


def test_a_rich_frame_by_openimageio_is_read_bit_for_bit(tmp_path: Path) -> None:
    channels = write_rich(tmp_path / "rich.exr")
    frame = read_frame(tmp_path / "rich.exr", frame=1001)
    (part,) = frame.header.parts
    assert frame.header.display_window == Window(0, 0, 28, 16)
    assert frame.header.data_window() == Window(-4, -3, 32, 19)
    assert frame.header.pixel_aspect == 2.0
    assert {c.name: c.type for c in part.channels} == {
        "R": "half",
        "G": "half",
        "B": "half",
        "A": "half",
        "Z": "float",
        "id": "uint",
    }
    for name, plane in channels.items():
        assert frame.channels[0][name].dtype == plane.dtype
        np.testing.assert_array_equal(bits(frame.channels[0][name]), bits(plane))
    values = {attribute.name: attribute.value() for attribute in part.attributes}
    assert values["FramesPerSecond"] == (24000, 1001)
    assert values["worldToCamera"] == tuple(float(value) for value in range(16))
    assert values["owner"] == "the studio"
    assert part.attribute("timeCode") is not None


def test_infinite_depth_and_nan_payloads_in_alpha_pass_untouched(tmp_path: Path) -> None:
    channels = rgba(5, 7)
    channels["A"] = np.arange(35, dtype=np.uint16).reshape(5, 7).__add__(0x7C01).view(np.float16)
    channels["Z"] = np.full((5, 7), np.inf, np.float32)
    frame = read_frame(write_exr(tmp_path / "a.exr", channels), frame=1)
    np.testing.assert_array_equal(bits(frame.channels[0]["A"]), bits(channels["A"]))
    np.testing.assert_array_equal(frame.channels[0]["Z"], channels["Z"])
    assert frame.rgb().shape == (5, 7, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rgb_is_the_stored_value_for_the_largest_the_smallest_and_denormals(tmp_path: Path, dtype: type) -> None:
    top = np.finfo(dtype).max
    row = np.array([[top, -top, np.finfo(dtype).smallest_subnormal, -0.0, 0.0, 1e-7]], dtype)
    frame = read_frame(write_exr(tmp_path / "a.exr", {"R": row, "G": row[:, ::-1].copy(), "B": row}), frame=1)
    np.testing.assert_array_equal(bits(frame.rgb()[..., 0]), bits(row.astype(np.float32)))


@pytest.mark.parametrize("compression", LOSSLESS)
@pytest.mark.parametrize("tiles", [None, (16, 8)])
def test_every_lossless_compression_and_layout_reads_alike(
    tmp_path: Path, compression: str, tiles: tuple[int, int] | None
) -> None:
    channels = rgba(37, 41)
    plain = read_frame(write_exr(tmp_path / "plain.exr", channels), frame=1)
    other = read_frame(write_exr(tmp_path / "o.exr", channels, compression=compression, tiles=tiles), frame=1)
    assert pixel_digest(other) == pixel_digest(plain)


@pytest.mark.parametrize("size", [(1, 1), (1, 17), (33, 1), (3, 5)])
def test_odd_sizes_are_read(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write_exr(tmp_path / "a.exr", rgba(*size))
    assert read_frame(path, frame=1).rgb().shape == (*size, 3)
    assert read_header(path, frame=1).data_window() == Window(0, 0, size[1] - 1, size[0] - 1)


def test_reading_by_another_library_agrees(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "a.exr", rgba(19, 23, np.float32), compression="PIZ")
    other = read_by_oiio(path)
    for name, plane in read_frame(path, frame=1).channels[0].items():
        np.testing.assert_array_equal(plane, other[name])


@pytest.mark.parametrize("names", ["R G B", "r g b", "red green blue", "Red Green Blue"])
@pytest.mark.parametrize("layer", ["", "beauty", "ViewLayer.Combined"])
def test_a_layer_is_found_in_every_naming(tmp_path: Path, names: str, layer: str) -> None:
    prefix = f"{layer}." if layer else ""
    channels = {prefix + name: noise(4, 6, seed=index) for index, name in enumerate(names.split())}
    frame = read_frame(write_exr(tmp_path / "a.exr", channels), frame=1)
    np.testing.assert_array_equal(frame.rgb(layer)[..., 2], list(channels.values())[2].astype(np.float32))
    assert frame.header.layers() == (layer,)


def test_nukes_name_for_the_main_layer_is_accepted(tmp_path: Path) -> None:
    header = read_header(write_exr(tmp_path / "a.exr", rgba(4, 6)), frame=1)
    assert header.select("rgba") == header.select("rgb") == header.select("")


def test_a_missing_layer_lists_those_that_are_there(tmp_path: Path) -> None:
    channels = {f"{layer}.{name}": noise(4, 6) for layer in ("beauty", "diffuse") for name in "RGB"}
    frame = read_frame(write_exr(tmp_path / "a.exr", {**channels, "Z": noise(4, 6)}), frame=1007)
    with pytest.raises(FrameError, match=r"no layer 'specular'.*beauty, diffuse.*Z") as caught:
        frame.rgb("specular")
    assert caught.value.details["layers"] == ["beauty", "diffuse"]
    with pytest.raises(FrameError, match="no channels R, G, B"):
        frame.rgb()


def test_integers_are_no_colour(tmp_path: Path) -> None:
    header = read_header(write_exr(tmp_path / "a.exr", rgba(4, 6, np.uint32)), frame=1)
    with pytest.raises(FrameError, match="integers"):
        header.select("")


def test_parts_are_found_by_name_by_view_and_by_channel(tmp_path: Path) -> None:
    path = write_parts(
        tmp_path / "parts.exr",
        [
            ("left", {"view": "left"}, {name: noise(4, 6, seed=1) for name in "RGB"}),
            ("right.main", {"view": "right"}, {name: noise(4, 6, seed=2) for name in "RGB"}),
            ("aov", {}, {f"diffuse.{name}": noise(4, 6, np.float32, seed=3) for name in "RGB"}),
        ],
    )
    header = read_frame(path, frame=1).header
    assert [header.select(layer).part for layer in ("", "left", "right", "right.main", "diffuse")] == [0, 0, 1, 1, 2]


def test_attributes_that_the_library_cannot_read_do_not_stop_us(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "a.exr", rgba(4, 6))
    set_attribute(path, b"author", b"string", "Jürgen".encode("latin-1"))
    set_attribute(path, b"studio", b"studio:opaque", b"\0\1\2\xff")
    set_attribute(path, b"timeCode", b"timecode", b"\1\2\3")
    set_attribute(path, b"gr\xf6sse", b"float", b"\0\0\x80?")
    with pytest.raises(ValueError, match="utf-8"):
        OpenEXR.File(str(path), separate_channels=True)
    (part,) = read_frame(path, frame=1).header.parts
    values = {attribute.name: attribute.value() for attribute in part.attributes}
    assert values["author"] == "Jürgen"
    assert values["studio"] == b"\0\1\2\xff"
    assert values["timeCode"] == b"\1\2\3"
    assert values["grösse"] == 1.0


@pytest.mark.parametrize(
    ("attributes", "rate"),
    [
        ({}, 0.0),
        ({"framesPerSecond": Fraction(24000, 1001)}, 24000 / 1001),
        ({"input/frame_rate": 25.0}, 25.0),
        ({"nuke/input/frame_rate": "23.976"}, 23.976),
        ({"input/frame_rate": "fast"}, 0.0),
        ({"input/frame_rate": -1.0}, 0.0),
        ({"input/frame_rate": float("nan")}, 0.0),
    ],
)
def test_the_frame_rate_is_what_the_header_says_or_nothing(tmp_path: Path, attributes, rate) -> None:
    header = read_header(write_exr(tmp_path / "a.exr", rgba(4, 6), **attributes), frame=1)
    assert header.frame_rate == pytest.approx(rate, rel=1e-6)


def test_a_header_longer_than_the_first_read_is_read(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "a.exr", rgba(4, 6), notes="x" * 700_000)
    assert read_header(path, frame=1).parts[0].attribute("notes") == Attribute("notes", "string", b"x" * 700_000)
    with pytest.raises(FrameError, match="header is over"):
        read_header(path, frame=1, limits=Limits(max_header_bytes=300_000))


def test_the_digest_is_of_the_pixels_alone(tmp_path: Path) -> None:
    channels = rgba(9, 11)
    first = read_frame(write_exr(tmp_path / "a.exr", channels), frame=1)
    again = read_frame(write_exr(tmp_path / "b.exr", channels, compression="PIZ", owner="me"), frame=2)
    assert pixel_digest(first) == pixel_digest(again)
    moved = write_exr(tmp_path / "c.exr", channels, dataWindow=box(1, 0, 11, 8), displayWindow=box(0, 0, 10, 8))
    assert pixel_digest(read_frame(moved, frame=1)) != pixel_digest(first)
    channels["A"] = channels["A"].copy()
    bits(channels["A"])[0, 0] ^= 1
    assert pixel_digest(read_frame(write_exr(tmp_path / "d.exr", channels), frame=1)) != pixel_digest(first)


def test_the_digest_is_as_documented(tmp_path: Path) -> None:
    plane = np.array([[1.0, 2.0]], np.float16)
    frame = read_frame(write_exr(tmp_path / "a.exr", {"R": plane, "G": plane, "B": plane}), frame=1)
    line = b'{"channels":[["B","half"],["G","half"],["R","half"]],"data":[0,0,1,0],"display":[0,0,1,0],"part":""}\n'
    expected = hashlib.sha256(b"void-pixels-1\n" + line + b"\x00\x3c\x00\x40" * 3).hexdigest()
    assert pixel_digest(frame) == expected


def test_decoded_arrays_are_read_only(tmp_path: Path) -> None:
    frame = read_frame(write_exr(tmp_path / "a.exr", rgba(4, 6)), frame=1)
    with pytest.raises(ValueError, match="read-only"):
        frame.channels[0]["R"][0, 0] = 1
