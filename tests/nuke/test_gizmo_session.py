"""The node in a session: what it shows before and after a solve, what its inner Writes export, how it is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_gizmo_render import FIRST, RESULT, Shot, expected, on_plate, read_exr, same_bits, script, whole, write_exr
from void_nuke import gizmo
from void_nuke.node import plain


@pytest.fixture
def shot(tmp_path: Path) -> Shot:
    return Shot(tmp_path).make()


def opened(nuke: Any, folder: Path, text: str) -> Any:
    path = folder / "comp.nk"
    path.write_text(text, encoding="utf-8")
    nuke.scriptOpen(str(path))
    return nuke.toNode("VOID1")


def shown(nuke: Any, node: Any, folder: Path, frame: int) -> np.ndarray:
    """The rgb that the node gives a Write."""
    file = folder / "shown" / f"shown_{frame}.exr"
    write = nuke.createNode("Write", inpanel=False)
    write.setInput(0, node)
    for name, value in (("file", file.as_posix()), ("raw", True), ("file_type", "exr"), ("create_directories", True)):
        write[name].setValue(value)
    write["datatype"].setValue("32 bit float")
    nuke.execute(write, frame, frame, 1)
    nuke.delete(write)
    return read_exr(file).rgb()


def test_in_the_interface_the_plate_passes_until_there_is_a_result(nuke, shot, tmp_path):
    node = opened(nuke, tmp_path, script(on_plate(shot, {})))
    assert node["missing_result"].value() == "fail"
    assert not node.hasError()
    for frame in (FIRST, RESULT[0]):
        assert same_bits(shown(nuke, node, tmp_path, frame), expected("plate", shot.plates[frame], None))


def test_a_result_that_arrives_is_shown_at_once_and_leaves_as_it_came(nuke, shot, tmp_path):
    node, frame = opened(nuke, tmp_path, script(on_plate(shot, {}))), RESULT[1]
    for name, value in shot.solved().items():
        node[name].setValue(value)
    truth = expected("composite", shot.plates[frame], shot.results[frame])
    assert same_bits(shown(nuke, node, tmp_path, frame), truth)
    node["result_file"].setValue("")
    assert same_bits(shown(nuke, node, tmp_path, frame), expected("plate", shot.plates[frame], None))


def test_the_export_of_a_matte_holds_the_chosen_channel_as_alpha(nuke, shot, tmp_path):
    node = opened(nuke, tmp_path, script(on_plate(shot, {})))
    matte = tmp_path / "matte" / "matte.exr"
    planes = {
        name: np.full((16, 24), value, np.float32) for name, value in (("R", 0.25), ("A", 0.5), ("roto.object", 1))
    }
    write_exr(matte, planes, whole(), whole())
    read = nuke.createNode("Read", inpanel=False)
    read["file"].setValue(matte.as_posix())
    read["raw"].setValue(True)
    node.setInput(1, read)
    node.setInput(2, read)
    read.metadata()  # Nuke learns a file's layers when it looks at it
    for number, (kind, channel, value) in enumerate(
        [
            ("primary", "alpha", 0.5),
            ("primary", "rgba.red", 0.25),
            ("affected", "rgba.red", 0.25),
            ("affected", "alpha", 0.5),
        ]
    ):
        node[f"{kind}_channel"].setValue(channel)
        write = node.node(f"Export{kind.capitalize()}")
        file = tmp_path / "exports" / f"{number}.exr"
        write["file"].setValue(file.as_posix())
        write["disable"].setValue(False)
        nuke.execute(write, FIRST, FIRST, 1)
        picture = read_exr(file)
        assert set(picture.planes) == {"A"}
        assert (picture["A"] == value).all(), (kind, channel)


def test_a_quadmask_and_a_plate_are_exported_as_they_are(nuke, shot, tmp_path):
    node = opened(nuke, tmp_path, script(on_plate(shot, {})))
    for name, channels in (("ExportPlate", "RGBA"), ("ExportQuadmask", "RGB")):
        if name == "ExportQuadmask":
            node.setInput(3, nuke.toNode("Plate"))
        write, file = node.node(name), tmp_path / "exports" / f"{name}.exr"
        write["file"].setValue(file.as_posix())
        write["datatype"].setValue("32 bit float")
        write["disable"].setValue(False)
        nuke.execute(write, FIRST, FIRST, 1)
        picture = read_exr(file)
        assert set(picture.planes) == set(channels)
        for channel in channels:
            assert same_bits(picture[channel], shot.plates[FIRST][channel])


def test_made_from_the_menu_it_is_connected_named_and_marked(nuke, tmp_path):
    nuke.pluginAddPath(gizmo.GIZMO.parent.as_posix())
    plate = nuke.createNode("Constant", inpanel=False)
    plate["selected"].setValue(True)
    node = nuke.createNode("VOID")
    assert (node.Class(), node.name(), node["void_node"].value()) == ("Group", "VOID1", 1)
    assert node.input(0) is plate
    assert [node.input(number) for number in (1, 2, 3)] == [None] * 3
    assert node.maxInputs() >= 4
    assert nuke.createNode("VOID").name() == "VOID2"


@pytest.mark.parametrize("said", ["failed. [Errno 28] no space on $HOME", "failed. a ] alone", "ready v001"])
def test_no_status_can_break_the_label(nuke, shot, tmp_path, said):
    node = opened(nuke, tmp_path, script(on_plate(shot, {})))
    node["status"].setValue(plain(said))
    assert node["label"].evaluate() == said.split(". ")[0]
