"""Pixels of the stand-in against numpy: real EXR files in, real EXR files out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
OpenEXR = pytest.importorskip("OpenEXR")
SIZE = (6, 8)  # rows, columns


def write_exr(path: Path, planes: dict, data: Any = None, display: Any = None, **header: Any) -> None:
    """A file with these channels; `data` is its data window's top left in the display window."""
    rows, columns = next(iter(planes.values())).shape
    x, y = data or (0, 0)
    width, height = display or (columns, rows)
    head = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "dataWindow": (np.array([x, y], np.int32), np.array([x + columns - 1, y + rows - 1], np.int32)),
        "displayWindow": (np.array([0, 0], np.int32), np.array([width - 1, height - 1], np.int32)),
        **header,
    }
    with OpenEXR.File(head, planes) as file:
        file.write(str(path))


def read_exr(path: Any) -> tuple:
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return {n: np.array(c.pixels) for n, c in file.channels().items()}, dict(file.header())


def noise(seed: int, kind: Any = np.float32) -> Any:
    return np.random.default_rng(seed).normal(0.5, 2.0, SIZE).astype(kind)


def plate(folder: Path, frames: Any = (1001, 1002, 1003), kind: Any = np.float16, **header: Any) -> str:
    """A noisy plate with HDR, negative values and a layer of its own."""
    for frame in frames:
        planes = {c: noise(frame * 10 + i, kind) for i, c in enumerate("RGBA")}
        planes["matte.hero"] = noise(frame * 10 + 7, np.float32)
        write_exr(folder / f"bg.{frame}.exr", planes, **header)
    return f"{folder}/bg.%04d.exr"


@pytest.fixture
def read(nuke: Any, tmp_path: Path) -> Any:
    """A Read of that plate."""
    return nuke.nodes.Read(file=plate(tmp_path), first=1001, last=1003, raw=True)


def pixels(node: Any, frame: int = 1001) -> Any:
    from standin import render

    return render.image(node, frame, "main")


def write(nuke: Any, source: Any, path: str, frame: int = 1001, **knobs: Any) -> tuple:
    """Rendered by a Write with these knobs; the file's planes and header."""
    node = nuke.nodes.Write(inputs=[source], file=path, file_type="exr", raw=True, channels="all")
    node["create_directories"].setValue(True)
    for name, value in knobs.items():
        node[name].setValue(value)
    nuke.execute(node, frame, frame)
    return read_exr(path % frame)


def test_a_read_tells_what_is_in_the_file(read: Any) -> None:
    assert (read.width(), read.height(), read.firstFrame(), read.lastFrame()) == (8, 6, 1001, 1003)
    assert read.channels() == ["rgba.red", "rgba.green", "rgba.blue", "rgba.alpha", "matte.hero"]
    top_left = noise(10010, np.float16)[0, 0]
    assert read.sample("red", 0, 5, 1, 1, 1001) == top_left


@pytest.mark.parametrize(("datatype", "kind"), [("16 bit half", np.float16), ("32 bit float", np.float32)])
def test_what_is_read_is_written_bit_for_bit(nuke: Any, tmp_path: Path, datatype: str, kind: Any) -> None:
    source = nuke.nodes.Read(file=plate(tmp_path, kind=kind), first=1001, last=1003, raw=True)
    planes, _ = write(nuke, source, f"{tmp_path}/out/a.%04d.exr", datatype=datatype)
    for index, channel in enumerate("RGBA"):
        assert planes[channel].dtype == kind
        assert planes[channel].tobytes() == noise(10010 + index, kind).tobytes()


def test_windows_aspect_and_metadata_survive(nuke: Any, tmp_path: Path) -> None:
    write_exr(
        tmp_path / "a.1.exr",
        {c: noise(i) for i, c in enumerate("RGB")},
        (2, 1),
        (20, 10),
        pixelAspectRatio=2.0,
        owner="me",
    )
    source = nuke.nodes.Read(file=f"{tmp_path}/a.%d.exr", first=1, last=1, raw=True)
    box = source.bbox()
    assert (box.x(), box.y(), box.w(), box.h()) == (2, 3, 8, 6)
    assert (source.width(), source.height(), source.pixelAspect()) == (20, 10, 2.0)
    assert source.metadata("exr/owner") == "me"
    planes, head = write(nuke, source, f"{tmp_path}/b.%d.exr", 1, datatype="32 bit float", metadata="all metadata")
    assert np.array_equal(planes["G"], noise(1))
    assert [tuple(v) for v in head["dataWindow"]] == [(2, 1), (9, 6)]
    assert [tuple(v) for v in head["displayWindow"]] == [(0, 0), (19, 9)]
    assert (head["pixelAspectRatio"], head["owner"]) == (2.0, "me")


def test_metadata_is_dropped_as_asked(nuke: Any, tmp_path: Path) -> None:
    source = nuke.nodes.Read(file=plate(tmp_path, owner="me"), first=1001, last=1003, raw=True)
    _, head = write(nuke, source, f"{tmp_path}/b.%04d.exr", metadata="no metadata")
    assert "owner" not in head


def test_the_time_code_is_part_of_the_default_metadata(nuke: Any, tmp_path: Path) -> None:
    code = OpenEXR.TimeCode(1, 2, 3, 4, *[0] * 14)
    source = nuke.nodes.Read(file=plate(tmp_path, timeCode=code, owner="me"), first=1001, last=1003)
    assert source.metadata("input/timecode", 1001) == "01:02:03:04"
    _, head = write(nuke, source, f"{tmp_path}/b.%04d.exr")
    assert (head["timeCode"].hours, head["timeCode"].frame) == (1, 4)
    assert "owner" not in head
    _, head = write(nuke, source, f"{tmp_path}/c.%04d.exr", metadata="all metadata")
    assert head["nuke/input/filename"].endswith("bg.1001.exr")


def test_a_missing_frame_does_what_on_error_says(read: Any, nuke: Any, tmp_path: Path) -> None:
    os.unlink(tmp_path / "bg.1002.exr")
    nuke.frame(1002)
    assert read.hasError()
    with pytest.raises(RuntimeError, match=r"Read1: Read error: No such file or directory: .*bg\.1002\.exr"):
        pixels(read, 1002)
    read["on_error"].setValue("black")
    assert not pixels(read, 1002).planes
    read["on_error"].setValue("nearest frame")
    assert np.array_equal(pixels(read, 1002).planes["rgba.red"], pixels(read, 1001).planes["rgba.red"])


def test_outside_of_the_range_before_and_after_decide(read: Any) -> None:
    assert np.array_equal(pixels(read, 990).planes["rgba.red"], pixels(read, 1001).planes["rgba.red"])
    read["after"].setValue("black")
    assert not pixels(read, 1004).planes


def test_keymix_leaves_the_bits_outside_of_the_mask(nuke: Any, read: Any, tmp_path: Path) -> None:
    mask = np.zeros(SIZE, np.float32)
    mask[2:4, 2:5], mask[4, 2] = 1, 0.25
    write_exr(tmp_path / "m.exr", {"A": mask})
    over = nuke.nodes.Constant(color=[5, 6, 7, 1], channels="rgba")
    over["format"].setValue(nuke.addFormat("8 6 1 tiny"))
    key = nuke.nodes.Keymix(inputs=[read, over, nuke.nodes.Read(file=f"{tmp_path}/m.exr", raw=True)])
    out, b = pixels(key).planes, pixels(read).planes
    for channel, value in (("rgba.red", 5.0), ("rgba.blue", 7.0)):
        assert out[channel][mask == 0].tobytes() == b[channel][mask == 0].tobytes()
        assert (out[channel][mask == 1] == value).all()
        assert out[channel][4, 2] == pytest.approx(value * 0.25 + b[channel][4, 2] * 0.75, rel=1e-6)
    key["mix"].setValue(0)
    assert pixels(key).planes["rgba.red"].tobytes() == b["rgba.red"].tobytes()
    key["mix"].setValue(1)
    key["invertMask"].setValue(True)
    assert pixels(key).planes["rgba.red"][mask == 1].tobytes() == b["rgba.red"][mask == 1].tobytes()


def test_copy_and_shuffle_move_channels(nuke: Any, read: Any) -> None:
    copy = nuke.nodes.Copy(inputs=[read, read], from0="matte.hero", to0="rgba.alpha")
    assert np.array_equal(pixels(copy).planes["rgba.alpha"], pixels(read).planes["matte.hero"])
    nuke.scriptReadText(
        'Shuffle2 {\n inputs 0\n fromInput1 {{0} B}\n fromInput2 {{0} B}\n name Swap\n mappings "4'
        " rgba.blue 0 2 rgba.red 0 0"
        ' black -1 -1 rgba.green 0 1 white -1 -1 rgba.blue 0 2 matte.hero 1 0 rgba.alpha 0 3"\n}'
    )
    swap = nuke.toNode("Swap")
    swap.setInput(0, read)
    out, source = pixels(swap).planes, pixels(read).planes
    assert np.array_equal(out["rgba.red"], source["rgba.blue"])
    assert (out["rgba.green"] == 0).all()
    assert (out["rgba.blue"] == 1).all()
    assert np.array_equal(out["rgba.alpha"], source["matte.hero"])


def test_merge_over_grade_premult_and_blur(nuke: Any, read: Any) -> None:
    source = pixels(read).planes
    grade = nuke.nodes.Grade(inputs=[read], channels="rgb", multiply=2, add=0.5)
    assert np.allclose(pixels(grade).planes["rgba.red"], source["rgba.red"] * 2 + 0.5)
    assert np.array_equal(pixels(grade).planes["rgba.alpha"], source["rgba.alpha"])
    merge = nuke.nodes.Merge2(inputs=[read, grade])
    over = pixels(grade).planes["rgba.green"] + source["rgba.green"] * (1 - source["rgba.alpha"])
    assert np.allclose(pixels(merge).planes["rgba.green"], over)
    premult = nuke.nodes.Premult(inputs=[read])
    assert np.allclose(pixels(premult).planes["rgba.blue"], source["rgba.blue"] * source["rgba.alpha"])
    blur = pixels(nuke.nodes.Blur(inputs=[read], size=2, channels="rgba"))
    assert blur.window == (-1, -1, 9, 7)
    assert blur.planes["rgba.red"][3, 3] == pytest.approx(source["rgba.red"][1:4, 1:4].mean(), rel=1e-5)
    assert np.array_equal(blur.planes["matte.hero"][1:7, 1:9], source["matte.hero"])


def test_time_nodes_choose_frames(nuke: Any, read: Any) -> None:
    at = {f: pixels(read, f).planes["rgba.red"] for f in (1001, 1002, 1003)}
    hold = nuke.nodes.FrameHold(inputs=[read], firstFrame=1003)
    late = nuke.nodes.TimeOffset(inputs=[read], time_offset=2)
    trimmed = nuke.nodes.FrameRange(inputs=[read], first_frame=1002, last_frame=1003)
    assert np.array_equal(pixels(hold, 1001).planes["rgba.red"], at[1003])
    assert np.array_equal(pixels(late, 1004).planes["rgba.red"], at[1002])
    assert (late.firstFrame(), late.lastFrame()) == (1003, 1005)
    assert (trimmed.firstFrame(), trimmed.lastFrame()) == (1002, 1003)


def test_crop_reformat_and_roto_set_windows(nuke: Any, read: Any, standin: Any) -> None:
    source = pixels(read).planes["rgba.red"]
    crop = pixels(nuke.nodes.Crop(inputs=[read], box=[1, 2, 5, 6]))
    assert crop.window == (1, 0, 5, 4)
    assert np.array_equal(crop.planes["rgba.red"], source[0:4, 1:5])
    larger = nuke.nodes.Reformat(
        inputs=[read], type="to box", box_width=10, box_height=10, box_fixed=True, resize="none"
    )
    assert (larger.width(), pixels(larger).window) == (10, (1, 2, 9, 8))
    roto = nuke.nodes.Roto(inputs=[read])
    with pytest.raises(standin.StandinError, match="set_roto"):
        pixels(roto)
    alone = nuke.nodes.Roto()
    standin.set_roto(alone, (2, 1, 6, 4))
    nuke.root()["format"].setValue(nuke.addFormat("8 6 1 tiny"))
    assert pixels(alone).window == (2, 2, 6, 5)
    assert alone.sample("alpha", 3, 2) == 1
    assert alone.sample("alpha", 0, 0) == 0


def test_channels_are_added_and_removed(nuke: Any, read: Any) -> None:
    nuke.Layer("void_matte", ["void_matte.generated"])
    added = nuke.nodes.AddChannels(inputs=[read], channels="void_matte")
    assert "void_matte.generated" in added.channels()
    assert (pixels(added).planes["void_matte.generated"] == 0).all()
    assert nuke.nodes.Remove(inputs=[read], channels="matte").channels() == [
        f"rgba.{c}" for c in ("red", "green", "blue", "alpha")
    ]
    assert nuke.nodes.Remove(inputs=[read], operation="keep", channels="alpha").channels() == ["rgba.alpha"]


def test_a_group_passes_its_inputs_through(nuke: Any, read: Any) -> None:
    group = nuke.nodes.Group(inputs=[])
    with group:
        first = nuke.nodes.Input(name="A")
        second = nuke.nodes.Input(name="B", number=1)
        switch = nuke.nodes.Switch(inputs=[first, second])
        switch["which"].setExpression("[exists parent.pick] ? parent.pick : 0")
        nuke.nodes.Output(inputs=[switch])
    group.setInput(0, read)
    group.setInput(1, nuke.nodes.Grade(inputs=[read], multiply=3))
    group.addKnob(nuke.Int_Knob("pick"))
    source = pixels(read).planes["rgba.red"]
    assert np.array_equal(pixels(group).planes["rgba.red"], source)
    group["pick"].setValue(1)
    assert np.allclose(pixels(group).planes["rgba.red"], source * 3)
    group["disable"].setValue(True)
    assert np.array_equal(pixels(group).planes["rgba.red"], source)


def test_writes_follow_the_proxy(nuke: Any, read: Any, tmp_path: Path) -> None:
    nuke.root()["proxy_type"].setValue("scale")
    nuke.root()["proxy"].setValue(True)
    planes, head = write(nuke, read, f"{tmp_path}/p.%04d.exr")
    assert planes["R"].shape == (3, 4)
    assert [tuple(v) for v in head["displayWindow"]] == [(0, 0), (3, 2)]


def test_views_choose_files(nuke: Any, tmp_path: Path) -> None:
    nuke.root()["views"].setValue("left\nright")
    for view in ("left", "right"):
        write_exr(tmp_path / f"s_{view}.1.exr", {c: np.full(SIZE, len(view), np.float32) for c in "RGB"})
    source = nuke.nodes.Read(file=f"{tmp_path}/s_%V.%d.exr", first=1, last=1, raw=True)
    out = nuke.nodes.Write(
        inputs=[source], file=f"{tmp_path}/out_%v.%d.exr", file_type="exr", raw=True, views="left right"
    )
    nuke.execute(out, 1, 1)
    assert [read_exr(tmp_path / f"out_{v}.1.exr")[0]["R"][0, 0] for v in "lr"] == [4, 5]
    nuke.execute(out, 1, 1, 1, ["right"])
    one = nuke.nodes.OneView(inputs=[source], view="right")
    assert pixels(one).planes["rgba.red"][0, 0] == 5
    joined = nuke.nodes.JoinViews(inputs=[nuke.nodes.OneView(inputs=[source], view=v) for v in ("right", "left")])
    from standin import render

    assert [render.image(joined, 1, v).planes["rgba.red"][0, 0] for v in ("left", "right")] == [5, 4]
    with pytest.raises(RuntimeError, match='no view is named "middle"'):
        nuke.execute(out, 1, 1, 1, ["middle"])


def test_op_hashes_follow_pixels_and_nothing_else(nuke: Any, read: Any, tmp_path: Path) -> None:
    grade = nuke.nodes.Grade(inputs=[read])
    dot = nuke.nodes.Dot(inputs=[grade])
    before = dot.opHashes()
    grade.setXYpos(40, 50)
    grade["label"].setValue("x")
    grade.setName("Warm")
    grade["tile_color"].setValue(0xFF)
    assert dot.opHashes() == before
    seen = [before]
    grade["multiply"].setValue(1.5)
    seen.append(dot.opHashes())
    os.utime(tmp_path / "bg.1002.exr", (1, 1))
    seen.append(dot.opHashes())
    read["last"].setValue(1002)
    seen.append(dot.opHashes())
    read["file"].setValue(f"{tmp_path}/other.%04d.exr")
    seen.append(dot.opHashes())
    dot.setInput(0, read)
    seen.append(dot.opHashes())
    assert len({str(h) for h in seen}) == len(seen)


def test_a_disk_without_the_folder_or_the_right_fails_with_the_path(nuke: Any, read: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RuntimeError, match=r"Write1: .*file"):
        write(nuke, read, f"{tmp_path}/file/a.%04d.exr")
