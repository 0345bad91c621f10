"""Bad plates: refused with the input, the frame and the file, before they cost anything."""

from __future__ import annotations

import resource
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from exr_samples import bits, box, header_of, noise, rgba, set_attribute, with_attributes, write_exr, write_parts
from void_client.errors import FrameError

from void_engine.plates import Limits, check_sequence, read_frame, read_header


def _refused(read: Callable[..., object], path: Path, match: str, **arguments: object) -> FrameError:
    with pytest.raises(FrameError, match=match) as caught:
        read(path, input="plate", frame=1013, **arguments)
    details = caught.value.details
    assert (details["input"], details["frame"], details["file"]) == ("plate", 1013, str(path))
    assert "1013" in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value


def _refused_both(path: Path, match: str) -> None:
    _refused(read_header, path, match)
    _refused(read_frame, path, match)


def test_a_missing_file(tmp_path: Path) -> None:
    _refused_both(tmp_path / "gone.exr", "missing")


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    _refused_both(tmp_path, "cannot be read")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.exr").write_bytes(b"")
    _refused_both(tmp_path / "a.exr", "empty")


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" + b"\0" * 99, b"v", b"v/2\1xxxx", b"text that is no image"])
def test_what_is_not_an_exr(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.exr").write_bytes(content)
    _refused_both(tmp_path / "a.exr", "not an EXR|ends inside its header")


@pytest.mark.parametrize("compression", ["NO", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "B44", "DWAA", "DWAB"])
@pytest.mark.parametrize("tiles", [None, (16, 16)])
def test_a_file_cut_short_anywhere(tmp_path: Path, compression: str, tiles: tuple[int, int] | None) -> None:
    data = write_exr(tmp_path / "whole.exr", rgba(70, 50), compression=compression, tiles=tiles).read_bytes()
    _, end = header_of(data)
    path = tmp_path / "cut.exr"
    cuts = {1, 4, 7, 8, 60, end - 1, end, end + 3, end + 8, len(data) // 2, len(data) - 1}
    cuts |= {int(share * len(data)) for share in np.linspace(0.05, 0.99, 13)}
    for cut in sorted(cuts):
        path.write_bytes(data[:cut])
        _refused_both(path, "ends|never finished|not an EXR")


def test_a_multi_part_file_cut_short_anywhere(tmp_path: Path) -> None:
    parts = [(name, {}, {f"{name}.{c}": noise(40, 30) for c in "RGB"}) for name in ("a", "b")]
    data = write_parts(tmp_path / "whole.exr", parts).read_bytes()
    for cut in range(1, len(data), 211):
        (tmp_path / "cut.exr").write_bytes(data[:cut])
        _refused_both(tmp_path / "cut.exr", "ends|never finished|not an EXR")


def test_a_render_that_was_killed_leaves_an_empty_chunk_table(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "a.exr", rgba(70, 50))
    data = bytearray(path.read_bytes())
    _, end = header_of(bytes(data))
    data[end + 8 : end + 16] = bytes(8)
    path.write_bytes(data)
    _refused_both(path, "never finished")


def test_a_chunk_table_that_names_the_same_chunk_twice(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "a.exr", rgba(70, 50))
    data = bytearray(path.read_bytes())
    _, end = header_of(bytes(data))
    data[end + 8 : end + 16] = data[end : end + 8]
    path.write_bytes(data)
    _refused(read_frame, path, "not the one")


@pytest.mark.parametrize("compression", ["ZIP", "PIZ", "DWAA"])
def test_damaged_pixels_are_an_error_not_a_warning(
    tmp_path: Path, compression: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_exr(tmp_path / "a.exr", rgba(70, 50), compression=compression)
    data = bytearray(path.read_bytes())
    _, end = header_of(bytes(data))
    (first,) = struct.unpack_from("<Q", data, end)
    data[first + 8 : first + 200] = b"\xff" * 192
    path.write_bytes(data)
    _refused(read_frame, path, "cannot be decoded|cannot read it")
    capfd.readouterr()


@pytest.mark.parametrize(
    ("window", "match"),
    [
        ((0, 0, -1, 9), "empty"),
        ((5, 0, 2, 9), "empty"),
        ((0, 9, 9, 0), "empty"),
        ((-(2**31), 0, 2**31 - 1, 9), "out of range"),
        ((0, 0, 99_999, 99_999), "limit"),
    ],
)
@pytest.mark.parametrize("which", [b"dataWindow", b"displayWindow"])
def test_windows_that_cannot_be(tmp_path: Path, window: tuple[int, int, int, int], match: str, which: bytes) -> None:
    path = write_exr(tmp_path / "a.exr", rgba(10, 10))
    _refused_both(set_attribute(path, which, b"box2i", struct.pack("<4i", *window)), match)


@pytest.mark.parametrize("name", [b"channels", b"compression", b"dataWindow", b"displayWindow", b"lineOrder"])
def test_a_required_attribute_that_is_missing_or_of_another_type(tmp_path: Path, name: bytes) -> None:
    path = write_exr(tmp_path / "a.exr", rgba(10, 10))
    whole = path.read_bytes()
    _refused_both(with_attributes(path, lambda found: [a for a in found if a[0] != name]), "header has no")
    path.write_bytes(whole)
    _refused_both(set_attribute(path, name, b"string", b"x"), "is not a|has no")


def test_attributes_twice_or_without_an_end(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "a.exr", rgba(10, 10))
    whole = path.read_bytes()
    _refused_both(with_attributes(path, lambda found: [*found, found[0]]), "twice")
    path.write_bytes(whole[:8] + b"n" * 1000)
    _refused_both(path, "more than 255")
    path.write_bytes(whole[:8] + b"a\0string\0" + struct.pack("<i", -5) + whole[8:])
    _refused_both(path, "negative size")
    path.write_bytes(whole[:8] + b"a\0string\0" + struct.pack("<i", 2**31 - 1) + whole[8:])
    _refused_both(path, "ends inside its header")


def test_an_unknown_compression_pixel_aspect_or_version(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "a.exr", rgba(10, 10))
    whole = path.read_bytes()
    _refused_both(set_attribute(path, b"compression", b"compression", b"\x63"), "compression .number 99. is unknown")
    for aspect in (0.0, -1.0, float("nan"), float("inf")):
        path.write_bytes(whole)
        _refused_both(set_attribute(path, b"pixelAspectRatio", b"float", struct.pack("<f", aspect)), "pixel aspect")
    path.write_bytes(whole[:4] + b"\x03" + whole[5:])
    _refused_both(path, "version field")


@pytest.mark.parametrize("compression", ["DWAA", "RLE", "ZIP"])
def test_a_small_file_that_unfolds_into_a_huge_one(tmp_path: Path, compression: str) -> None:
    plane = np.zeros((4096, 4096), np.float16)
    path = write_exr(tmp_path / "bomb.exr", {name: plane for name in "RGB"}, compression=compression)
    assert path.stat().st_size < plane.nbytes / 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (read_header, read_frame):
        _refused(read, path, "bytes decoded; the limit is", limits=Limits(max_decoded_bytes=64 << 20))
        _refused(read, path, "pixels; the limit is", limits=Limits(max_pixels=2048 * 2048))
        _refused(read, path, "3 channels; the limit is", limits=Limits(max_channels=2))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10


def test_a_tiny_file_with_a_huge_window_is_over_or_too_short(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "a.exr", rgba(10, 10), compression="DWAA")
    bomb = struct.pack("<4i", 0, 0, 16383, 16383)
    _refused_both(set_attribute(path, b"dataWindow", b"box2i", bomb), "chunk table|ends before|limit")


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "a.exr", rgba(70, 50))
    _refused(read_frame, path, "the limit is 1000", limits=Limits(max_file_bytes=1000))


def test_deep_is_refused(tmp_path: Path) -> None:
    samples = np.empty((2, 3), object)
    for index in np.ndindex(2, 3):
        samples[index] = np.array([1.0, 2.0], np.float32)
    header = {"compression": OpenEXR.ZIPS_COMPRESSION, "type": OpenEXR.deepscanline}
    OpenEXR.File(header, {"Z": samples}).write(str(tmp_path / "deep.exr"))
    _refused_both(tmp_path / "deep.exr", "deep")


def _channel_list(name: bytes, kind: int, step: int) -> bytes:
    return name + b"\0" + struct.pack("<iB3xii", kind, 0, step, step) + b"\0"


def test_luminance_chroma_and_unknown_pixel_types_are_refused(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "a.exr", {"Y": noise(10, 10)})
    whole = path.read_bytes()
    _refused_both(set_attribute(path, b"channels", b"chlist", _channel_list(b"RY", 1, 2)), "subsampled")
    path.write_bytes(whole)
    _refused_both(set_attribute(path, b"channels", b"chlist", _channel_list(b"R", 7, 1)), "unknown type 7")
    path.write_bytes(whole)
    _refused_both(set_attribute(path, b"channels", b"chlist", b"\0"), "no channels")
    path.write_bytes(whole)
    _refused_both(set_attribute(path, b"channels", b"chlist", b"R\0\1\0"), "cut short")


def test_mip_maps_are_refused(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "a.exr", rgba(40, 40), tiles=(16, 16))
    _refused_both(set_attribute(path, b"tiles", b"tiledesc", struct.pack("<IIB", 16, 16, 1)), "mip-mapped")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_colour_that_is_not_finite_names_the_channel_the_count_and_the_first_pixel(
    tmp_path: Path, value: float
) -> None:
    channels = rgba(10, 12)
    channels["G"][4, 3] = channels["G"][7, 2] = value
    path = write_exr(tmp_path / "a.exr", channels, dataWindow=box(-5, -2, 6, 7), displayWindow=box(0, 0, 9, 9))
    frame = read_frame(path, frame=1013)
    with pytest.raises(FrameError, match=r"channel G holds 2 values.*x=-2, y=2") as caught:
        frame.rgb()
    assert caught.value.details == {
        "input": "plate",
        "frame": 1013,
        "file": str(path),
        "channel": "G",
        "count": 2,
        "pixel": [-2, 2],
    }


def _headers(tmp_path: Path, *changes: dict[str, object]) -> list[object]:
    headers = []
    for number, change in enumerate(changes):
        size = change.pop("size", (8, 10))
        channels = change.pop("channels", None) or rgba(*size)  # type: ignore[misc]
        path = write_exr(tmp_path / f"{number}.exr", channels, **change)  # type: ignore[arg-type]
        headers.append(read_header(path, frame=1001 + number))
    return headers


@pytest.mark.parametrize(
    ("odd", "match"),
    [
        ({"size": (8, 11)}, "display window is 11x8, where the other frames have 10x8"),
        ({"pixelAspectRatio": 2.0}, "pixel aspect ratio is 2, where the other frames have 1"),
        ({"channels": {"R": noise(8, 10), "G": noise(8, 10), "B": noise(8, 10)}}, "no such channel.*A .half."),
        ({"channels": rgba(8, 10, np.float32)}, "R .float.*where the other frames have.*R .half."),
    ],
)
@pytest.mark.parametrize("position", [0, 2])
def test_a_frame_that_differs_is_named_even_the_first(
    tmp_path: Path, odd: dict[str, object], match: str, position: int
) -> None:
    changes: list[dict[str, object]] = [{}, {}, {}, {}]
    changes[position] = dict(odd)
    headers = _headers(tmp_path, *changes)
    with pytest.raises(FrameError, match=match) as caught:
        check_sequence(headers)  # type: ignore[arg-type]
    assert caught.value.details["frame"] == 1001 + position


def test_data_windows_and_compressions_may_differ(tmp_path: Path) -> None:
    windows = [box(0, 0, 9, 7), box(-3, 1, 6, 8)]
    headers = _headers(
        tmp_path,
        {"dataWindow": windows[0], "displayWindow": windows[0]},
        {"dataWindow": windows[1], "displayWindow": windows[0], "compression": "PIZ"},
    )
    check_sequence(headers)  # type: ignore[arg-type]


def test_random_damage_never_does_worse_than_a_frame_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A thousand files with a few bytes changed: read, or refused; what is read has the shape that was promised."""
    rng = np.random.default_rng(7)
    whole = np.frombuffer(write_exr(tmp_path / "a.exr", rgba(20, 30)).read_bytes(), np.uint8)
    _, end = header_of(whole.tobytes())
    path = tmp_path / "b.exr"
    outcomes = {"read": 0, "refused": 0}
    for _ in range(1000):
        data = whole.copy()
        where = rng.integers(0, end + 16 if rng.random() < 0.7 else len(data), rng.integers(1, 4))
        data[where] = rng.integers(0, 256, where.size)
        path.write_bytes(data.tobytes())
        try:
            frame = read_frame(path, frame=1, limits=Limits(max_decoded_bytes=1 << 20))
        except FrameError:
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
            window = frame.header.parts[0].data_window
            assert all(bits(plane).shape == (window.height, window.width) for plane in frame.channels[0].values())
    assert min(outcomes.values()) > 50
    capfd.readouterr()
