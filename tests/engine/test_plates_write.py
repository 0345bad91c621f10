"""Writing plates: the same file but for what was replaced, whole or not there."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import OpenEXR
import OpenImageIO as oiio
import pytest
from exr_samples import (
    bits,
    box,
    header_of,
    noise,
    read_by_oiio,
    rgba,
    set_attribute,
    write_exr,
    write_parts,
    write_rich,
)
from void_client.errors import DiskFull, FrameError, InputError

from void_engine.atomic import write_atomically
from void_engine.plates import PlateFrame, pixel_digest, read_frame, write_frame


def _frame(tmp_path: Path, **header: object) -> PlateFrame:
    return read_frame(write_exr(tmp_path / "in.exr", rgba(37, 41), **header), frame=1)  # type: ignore[arg-type]


def test_a_frame_that_was_not_touched_is_the_same_file(tmp_path: Path) -> None:
    frame = _frame(tmp_path, owner="me")
    write_frame(tmp_path / "out.exr", frame)
    assert (tmp_path / "out.exr").read_bytes() == (tmp_path / "in.exr").read_bytes()


def test_a_rich_frame_keeps_every_attribute_and_every_bit(tmp_path: Path) -> None:
    channels = write_rich(tmp_path / "in.exr")
    frame = read_frame(tmp_path / "in.exr", frame=1)
    red, green, blue = (plane.copy() for plane in frame.native_rgb())
    red[3, 4] = 7.5
    write_frame(tmp_path / "out.exr", frame, rgb=(red, green, blue), attributes={"void/engine": "cleanplate 1"})

    before, _ = header_of((tmp_path / "in.exr").read_bytes())
    after, _ = header_of((tmp_path / "out.exr").read_bytes())
    assert after == [*before, (b"void/engine", b"string", b"cleanplate 1")]
    channels["R"][3, 4] = 7.5
    ours = read_frame(tmp_path / "out.exr", frame=1).channels[0]
    other = read_by_oiio(tmp_path / "out.exr")
    for name, plane in channels.items():
        np.testing.assert_array_equal(bits(ours[name]), bits(plane))
        np.testing.assert_array_equal(other[name], plane)


def test_another_library_reads_the_metadata_of_what_we_write(tmp_path: Path) -> None:
    write_rich(tmp_path / "in.exr")
    write_frame(tmp_path / "out.exr", read_frame(tmp_path / "in.exr", frame=1), attributes={"void/seed": "42"})
    specs = []
    for name in ("in.exr", "out.exr"):
        file = oiio.ImageInput.open(str(tmp_path / name))
        specs.append({attribute.name: attribute.value for attribute in file.spec().extra_attribs})
        file.close()
    assert specs[1].pop("void/seed") == "42"
    assert specs[1] == specs[0]
    assert specs[0]["FramesPerSecond"] == (24000, 1001)


@pytest.mark.parametrize("name", ["NO", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "HTJ2K32", "HTJ2K256", "ZSTD"])
@pytest.mark.parametrize("tiles", [None, (16, 8)])
@pytest.mark.parametrize("order", ["INCREASING_Y", "DECREASING_Y"])
def test_a_lossless_compression_is_kept_and_changes_nothing(
    tmp_path: Path, name: str, tiles: tuple[int, int] | None, order: str
) -> None:
    channels = {**rgba(37, 41), "id": noise(37, 41, np.uint32)}
    channels["A"] = np.arange(37 * 41, dtype=np.uint16).reshape(37, 41).view(np.float16)
    source = write_exr(tmp_path / "in.exr", channels, compression=name, tiles=tiles, lineOrder=getattr(OpenEXR, order))
    frame = read_frame(source, frame=1)
    write_frame(tmp_path / "out.exr", frame)
    again = read_frame(tmp_path / "out.exr", frame=1)
    assert again.header.parts == frame.header.parts
    assert pixel_digest(again) == pixel_digest(frame)
    np.testing.assert_array_equal(bits(again.channels[0]["A"]), bits(channels["A"]))


@pytest.mark.parametrize("name", ["DWAA", "DWAB", "B44", "B44A"])
@pytest.mark.parametrize("tiles", [None, (16, 8)])
def test_a_lossy_compression_becomes_zip_and_says_so(tmp_path: Path, name: str, tiles: tuple[int, int] | None) -> None:
    frame = read_frame(write_exr(tmp_path / "in.exr", rgba(37, 41), compression=name, tiles=tiles), frame=1)
    write_frame(tmp_path / "out.exr", frame)
    again = read_frame(tmp_path / "out.exr", frame=1)
    (part,) = again.header.parts
    assert part.compression == "zip"
    source = part.attribute("void/source_compression")
    assert source is not None
    assert source.value() == name.lower()
    assert pixel_digest(again) == pixel_digest(frame)
    for channel, plane in read_by_oiio(tmp_path / "out.exr").items():
        np.testing.assert_array_equal(plane, frame.channels[0][channel])


def test_pxr24_is_lossy_for_float_only(tmp_path: Path) -> None:
    for dtype, expected in ((np.float16, "pxr24"), (np.float32, "zip")):
        source = write_exr(tmp_path / "in.exr", rgba(37, 41, dtype), compression="PXR24")
        frame = read_frame(source, frame=1)
        write_frame(tmp_path / "out.exr", frame)
        again = read_frame(tmp_path / "out.exr", frame=1)
        assert again.header.parts[0].compression == expected
        assert pixel_digest(again) == pixel_digest(frame)


def test_attributes_that_no_library_knows_pass_byte_for_byte(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "in.exr", rgba(4, 6))
    set_attribute(path, b"author", b"string", b"J\xfcrgen")
    set_attribute(path, b"studio", b"studio:opaque", bytes(range(256)))
    set_attribute(path, b"an_attribute_name_of_more_than_31_characters", b"double", b"\0" * 8)
    frame = read_frame(path, frame=1)
    write_frame(tmp_path / "out.exr", frame, attributes={"void/prompt": "Straße"})
    after, _ = header_of((tmp_path / "out.exr").read_bytes())
    assert after == [*header_of(path.read_bytes())[0], (b"void/prompt", b"string", "Straße".encode())]
    assert (tmp_path / "out.exr").read_bytes()[5] & 0x04, "the flag for long names"
    assert pixel_digest(read_frame(tmp_path / "out.exr", frame=1)) == pixel_digest(frame)


def test_our_attributes_are_sorted_replaced_in_place_and_ours_alone(tmp_path: Path) -> None:
    frame = _frame(tmp_path)
    write_frame(tmp_path / "a.exr", frame, attributes={"void/seed": "1", "void/engine": "x"})
    write_frame(tmp_path / "b.exr", read_frame(tmp_path / "a.exr", frame=1), attributes={"void/seed": "2"})
    names = [name for name, _, _ in header_of((tmp_path / "b.exr").read_bytes())[0]]
    assert names[-2:] == [b"void/engine", b"void/seed"]
    assert header_of((tmp_path / "b.exr").read_bytes())[0][-1][2] == b"2"
    for name in ("owner", "void/", "void/" + "x" * 300):
        with pytest.raises(ValueError, match="void/"):
            write_frame(tmp_path / "c.exr", frame, attributes={name: "x"})


def test_a_thumbnail_that_shows_what_was_removed_goes(tmp_path: Path) -> None:
    path = write_exr(tmp_path / "in.exr", rgba(4, 6))
    frame = read_frame(set_attribute(path, b"preview", b"preview", b"\1\0\0\0\1\0\0\0RGBA"), frame=1)
    write_frame(tmp_path / "same.exr", frame)
    write_frame(tmp_path / "new.exr", frame, rgb=frame.native_rgb())
    (same,), (new,) = (read_frame(tmp_path / name, frame=1).header.parts for name in ("same.exr", "new.exr"))
    assert same.attribute("preview") == frame.header.parts[0].attribute("preview")
    assert new.attribute("preview") is None
    dropped = new.attribute("void/dropped")
    assert dropped is not None
    assert dropped.value() == "preview"


def test_only_the_part_with_the_layer_changes(tmp_path: Path) -> None:
    depth = np.full((23, 31), np.inf, np.float32)
    source = write_parts(
        tmp_path / "in.exr",
        [
            ("beauty", {"owner": "me"}, {name: noise(40, 30, seed=1) for name in "RGBA"}),
            (
                "depth",
                {
                    "compression": OpenEXR.PIZ_COMPRESSION,
                    "dataWindow": box(-1, 2, 29, 24),
                    "displayWindow": box(0, 0, 29, 39),
                },
                {"Z": depth},
            ),
            ("aov", {"compression": OpenEXR.DWAB_COMPRESSION}, {f"aov.{name}": noise(40, 30) for name in "RGB"}),
        ],
    )
    frame = read_frame(source, frame=1)
    new = tuple(np.zeros_like(plane) for plane in frame.native_rgb())
    write_frame(tmp_path / "out.exr", frame, rgb=new, attributes={"void/seed": "7"})  # type: ignore[arg-type]
    again = read_frame(tmp_path / "out.exr", frame=1)
    assert [part.compression for part in again.header.parts] == ["zip", "piz", "zip"]
    assert [part.name for part in again.header.parts] == ["beauty", "depth", "aov"]
    for old, part in zip(frame.header.parts, again.header.parts, strict=True):
        kept = {a.name: a for a in old.attributes if a.name not in ("compression", "chunkCount")}
        assert kept.items() <= {a.name: a for a in part.attributes}.items()
    assert not again.rgb().any()
    np.testing.assert_array_equal(again.channels[0]["A"], frame.channels[0]["A"])
    np.testing.assert_array_equal(again.channels[1]["Z"], depth)
    for name, plane in frame.channels[2].items():
        np.testing.assert_array_equal(bits(again.channels[2][name]), bits(plane))
    file = oiio.ImageInput.open(str(tmp_path / "out.exr"))
    assert file.seek_subimage(2, 0)
    assert file.read_image(oiio.HALF) is not None
    file.close()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (33, 65)])
def test_odd_sizes_and_negative_origins(tmp_path: Path, size: tuple[int, int]) -> None:
    window = box(-7, -9, size[1] - 8, size[0] - 10)
    source = write_exr(tmp_path / "in.exr", rgba(*size), dataWindow=window, displayWindow=box(0, 0, 9, 9))
    frame = read_frame(source, frame=1)
    write_frame(tmp_path / "out.exr", frame, rgb=tuple(plane[:, ::-1] for plane in frame.native_rgb()))  # type: ignore[arg-type]
    again = read_frame(tmp_path / "out.exr", frame=1)
    assert again.header.data_window() == frame.header.data_window()
    np.testing.assert_array_equal(again.rgb(), frame.rgb()[:, ::-1])


def test_the_same_input_gives_the_same_bytes_whatever_the_threads(tmp_path: Path) -> None:
    frame = read_frame(write_exr(tmp_path / "in.exr", rgba(200, 100), compression="DWAA"), frame=1)
    before = OpenEXR.global_thread_count()
    try:
        for threads in (0, 1, 2):
            OpenEXR.set_global_thread_count(threads)
            write_frame(tmp_path / f"{threads}.exr", frame, attributes={"void/seed": "1"})
    finally:
        OpenEXR.set_global_thread_count(before)
    assert len({(tmp_path / f"{threads}.exr").read_bytes() for threads in (0, 1, 2)}) == 1


def test_replacements_must_fit(tmp_path: Path) -> None:
    frame = _frame(tmp_path)
    red, green, blue = frame.native_rgb()
    with pytest.raises(ValueError, match="float16"):
        write_frame(tmp_path / "out.exr", frame, rgb=(red.astype(np.float32), green, blue))
    with pytest.raises(ValueError, match="channel B"):
        write_frame(tmp_path / "out.exr", frame, rgb=(red, green, blue[1:]))
    with pytest.raises(FrameError, match="no layer"):
        write_frame(tmp_path / "out.exr", frame, rgb=(red, green, blue), layer="aov")
    assert not (tmp_path / "out.exr").exists()


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_is_disk_full_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    frame = _frame(tmp_path)
    (tmp_path / "out.exr").write_bytes(b"old")

    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(DiskFull, match=r"out\.exr") as caught:
        write_frame(tmp_path / "out.exr", frame)
    assert caught.value.retryable
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.exr", "out.exr"]
    assert (tmp_path / "out.exr").read_bytes() == b"old"


def test_a_write_may_take_less_than_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:7]))
    write_atomically(tmp_path / "a", [b"0123456789" * 10, memoryview(b"tail")])
    assert (tmp_path / "a").read_bytes() == b"0123456789" * 10 + b"tail"


def test_the_folder_is_synced_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real_sync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("fsync"), real_sync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), real_replace(a, b))[1])
    write_frame(tmp_path / "out.exr", _frame(tmp_path))
    assert order == ["fsync", "replace", "fsync"]


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_frame(tmp_path / "none" / "out.exr", _frame(tmp_path))


def test_a_file_written_follows_the_umask(tmp_path: Path) -> None:
    frame = _frame(tmp_path)
    old = os.umask(0o022)
    try:
        write_frame(tmp_path / "out.exr", frame)
    finally:
        os.umask(old)
    assert (tmp_path / "out.exr").stat().st_mode & 0o777 == 0o644


_KILLED = """
import os, signal, sys
from pathlib import Path
from void_engine.atomic import write_atomically
def chunks():
    yield b"x" * 100_000
    os.kill(os.getpid(), signal.SIGKILL)
write_atomically(Path(sys.argv[1]), chunks())
"""


def test_a_process_killed_while_it_writes_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.exr"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", _KILLED, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_bytes() == b"old"
    write_atomically(path, [b"new"])
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("compression", ["ZIP", "PIZ", "B44", "DWAA", "NO"])
def test_mattes_join_the_layers_part_and_nothing_else_changes(tmp_path: Path, compression: str) -> None:
    path = write_exr(tmp_path / "in.exr", rgba(37, 41, np.float32), compression=compression)
    frame = read_frame(path, frame=1)
    matte = np.linspace(0, 1, 37 * 41).reshape(37, 41).astype(np.float16)
    write_frame(
        tmp_path / "out.exr",
        frame,
        mattes={"void_matte.generated": matte, "void_conf.confidence": matte.T.reshape(37, 41)},
    )
    ours = read_frame(tmp_path / "out.exr", frame=1).channels[0]
    other = read_by_oiio(tmp_path / "out.exr")
    np.testing.assert_array_equal(ours["void_matte.generated"], matte)
    np.testing.assert_array_equal(other["void_conf.confidence"], matte.T.reshape(37, 41))
    for name, plane in frame.channels[0].items():
        np.testing.assert_array_equal(bits(ours[name]), bits(plane))


def test_mattes_of_an_earlier_result_are_replaced(tmp_path: Path) -> None:
    one, two = np.zeros((37, 41), np.float16), np.ones((37, 41), np.float16)
    write_frame(tmp_path / "one.exr", _frame(tmp_path), mattes={"void_matte.generated": one})
    again = read_frame(tmp_path / "one.exr", frame=1)
    write_frame(tmp_path / "two.exr", again, mattes={"void_matte.generated": two})
    found = read_frame(tmp_path / "two.exr", frame=1).channels[0]
    np.testing.assert_array_equal(found["void_matte.generated"], two)
    assert sorted(found) == sorted(again.channels[0])


def test_mattes_go_to_the_part_of_the_layer(tmp_path: Path) -> None:
    path = tmp_path / "in.exr"
    write_parts(path, [("left", {}, rgba(9, 7)), ("right", {}, rgba(9, 7))])
    matte = np.full((9, 7), 0.5, np.float16)
    write_frame(tmp_path / "out.exr", read_frame(path, frame=1), layer="right", mattes={"void_matte.generated": matte})
    left, right = read_frame(tmp_path / "out.exr", frame=1).channels
    assert "void_matte.generated" not in left
    np.testing.assert_array_equal(right["void_matte.generated"], matte)


@pytest.mark.parametrize(
    ("name", "plane"),
    [
        ("depth", np.zeros((37, 41), np.float16)),
        ("void_a", np.zeros((37, 41))),
        ("void_a", np.zeros((2, 2), np.float16)),
    ],
)
def test_a_matte_that_does_not_fit_is_refused(tmp_path: Path, name: str, plane: np.ndarray) -> None:
    with pytest.raises(ValueError, match="matte"):
        write_frame(tmp_path / "out.exr", _frame(tmp_path), mattes={name: plane})
