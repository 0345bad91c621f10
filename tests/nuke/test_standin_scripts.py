"""Scripts of the stand-in: real-looking .nk and .gizmo files are read by Tcl, and saving loses nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SHOT = r"""#! /opt/Nuke16.0v3/Nuke16.0 -nx
#write_info Write1 file:"/jobs/x/comp.%04d.exr" format:"2048 1152 1" framerange:"1001 1010"
version 16.0 v3
define_window_layout_xml {<?xml version="1.0" encoding="UTF-8"?>
<layout version="1.0"><window x="0" y="0" w="1920"/></layout>
}
Root {
 inputs 0
 name /jobs/x/sh010_comp_v012.nk
 project_directory "\[python \{nuke.script_directory()\}]"
 frame 1001
 first_frame 1001
 last_frame 1010
 lock_range true
 format "2048 1152 0 0 2048 1152 1 plate_2k"
 proxy_type scale
 colorManagement OCIO
 workingSpaceLUT "ACES - ACEScg"
 views "left #ff0000\nright #00ff00"
}
add_layer {matte matte.hero matte.ground}
Read {
 inputs 0
 file_type exr
 file /jobs/x/plates/sh010_bg.%04d.exr
 format "2048 1152 0 0 2048 1152 1 plate_2k"
 first 1001
 last 1010
 origfirst 1001
 origlast 1010
 origset true
 raw true
 name Read1
 label "\[value first]-\[value last] \"bg\""
 tile_color 0x7f2600ff
 selected true
 xpos -120
 ypos -340
}
set N7f3c1800 [stack 0]
Dot {
 name Dot1
 xpos 34
 ypos -200
}
set N7f3c1c00 [stack 0]
push $N7f3c1800
Grade {
 multiply {1.2 1.1 1 1}
 add {{curve i x1001 0 x1010 0.5}}
 name Grade1
 xpos -120
 ypos -150
}
Group {
 name Edge
 tile_color 0xaa
 addUserKnob {20 User}
 addUserKnob {7 size l "edge size" t "in \"pixels\" \[px]" R 0 100}
 size 12.5
 addUserKnob {41 channels T Blur1.channels}
 addUserKnob {22 go l Go T "nuke.message('a \{b\} \$c')" +STARTLINE}
 addUserKnob {26 note l "" +STARTLINE T "<b>hello</b>"}
 addUserKnob {4 kind M {soft "very hard" ""}}
 kind "very hard"
}
 Input {
  inputs 0
  name Input1
 }
 Blur {
  size {{parent.size}}
  name Blur1
 }
 Output {
  name Output1
 }
end_group
push $N7f3c1c00
push 0
Merge2 {
 inputs 2+1
 operation plus
 name Merge1
 disable {{"\$gui && \[exists Edge.size]"}}
}
push $N7f3c1c00
Switch {
 inputs 2
 which {{"parent.Edge.kind == 1 ? 1 : 0"}}
 name Switch1
}
Write {
 file "\[file dirname \[value root.name]]/out/\[string tolower COMP].%04d.exr"
 file_type exr
 datatype "32 bit float"
 compression "PIZ Wavelet (32 scanlines)"
 first_part rgba
 create_directories true
 version 3
 name Write1
}
"""


@pytest.fixture
def shot(nuke: Any) -> Any:
    """The script above, read."""
    nuke.scriptReadText(SHOT)
    return nuke


def test_root_and_its_views_are_read(shot: Any) -> None:
    root = shot.root()
    assert (root.firstFrame(), root.lastFrame(), root.width(), root.height()) == (1001, 1010, 2048, 1152)
    assert root["colorManagement"].value() == "OCIO"
    assert root["workingSpaceLUT"].value() == "ACES - ACEScg"
    assert shot.views() == ["left", "right"]
    assert shot.layers()[-1] == "matte"


def test_knobs_of_every_kind_are_read(shot: Any) -> None:
    read, grade, edge = shot.toNode("Read1"), shot.toNode("Grade1"), shot.toNode("Edge")
    assert read["label"].value() == '[value first]-[value last] "bg"'
    assert read["label"].evaluate() == '1001-1010 "bg"'
    assert (read["tile_color"].value(), read.xpos(), read["raw"].value()) == (0x7F2600FF, -120, True)
    assert grade["multiply"].value() == [1.2, 1.1, 1, 1]
    assert grade["add"].isAnimated()
    assert [grade["add"].valueAt(f, 0) for f in (1001, 1010)] == [0, 0.5]
    assert (edge["size"].value(), edge["size"].max(), edge["size"].label()) == (12.5, 100, "edge size")
    assert edge["size"].tooltip() == 'in "pixels" [px]'
    assert (edge["kind"].value(), edge["kind"].getValue(), edge["kind"].values()) == (
        "very hard",
        1,
        ["soft", "very hard"],
    )
    assert edge["channels"].value() == shot.toNode("Edge.Blur1")["channels"].value()
    assert edge["note"].value() == "<b>hello</b>"


def test_connections_come_off_the_stack(shot: Any) -> None:
    def sources(name: str) -> list:
        node = shot.toNode(name)
        return [node.input(i) and node.input(i).name() for i in range(node.inputs())]

    assert sources("Dot1") == ["Read1"]
    assert sources("Grade1") == ["Read1"]
    assert sources("Edge") == ["Grade1"]
    assert sources("Merge1") == [None, "Dot1", "Edge"][: len(sources("Merge1"))]
    assert sources("Switch1") == ["Dot1", "Merge1"]
    assert sources("Write1") == ["Switch1"]
    assert shot.toNode("Edge").node("Blur1").input(0).name() == "Input1"


def test_expressions_and_tcl_are_evaluated(shot: Any) -> None:
    assert shot.toNode("Edge.Blur1")["size"].value() == [12.5, 12.5]
    assert shot.toNode("Merge1")["disable"].value() is True
    assert shot.toNode("Switch1")["which"].value() == 1
    shot.root()["name"].setValue("/jobs/x/a.nk")
    assert shot.toNode("Write1")["file"].evaluate(1007) == "/jobs/x/out/comp.1007.exr"


def test_the_exr_knobs_are_read_with_their_file_type(shot: Any) -> None:
    write = shot.toNode("Write1")
    assert (write["datatype"].value(), write["compression"].value()) == ("32 bit float", "PIZ Wavelet (32 scanlines)")


def save(nuke: Any, path: Path) -> str:
    nuke.scriptSaveAs(str(path), overwrite=1)
    return path.read_text(encoding="utf-8")


def test_save_load_save_is_the_identity(shot: Any, tmp_path: Path) -> None:
    first = save(shot, tmp_path / "a.nk")
    shot.scriptOpen(str(tmp_path / "a.nk"))
    assert save(shot, tmp_path / "a.nk") == first
    for line in ("add {{curve x1001 0 x1010 0.5}", "T \"nuke.message('a \\{b\\} \\$c')\"", "which {{", "inputs 2"):
        assert line in first


def test_a_saved_script_is_read_by_a_fresh_tcl(shot: Any, tmp_path: Path) -> None:
    import tkinter

    text = save(shot, tmp_path / "a.nk")
    interpreter, seen = tkinter.Tcl(), []
    interpreter.createcommand("push", lambda name: None)
    interpreter.createcommand("stack", lambda index: "0")
    interpreter.createcommand("unknown", lambda *words: seen.append(words[0]))
    interpreter.eval(text)
    assert seen.count("Read") == seen.count("Group") == 1
    assert seen[-1] == "Write"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Blur {\n sise 3\n}", "Blur has no knob sise"),
        ("Blur {\n size\n}", "a knob without a value"),
        ("VoidNode {\n}", "Unknown command"),
        ("push $nothing", "can't read"),
        ("end_group", "end_group without a Group"),
        ("Group {\n}\n Input {\n inputs 0\n }", "has no end_group"),
        ("Read {\n inputs 0\n on_error plate\n}", "is none of"),
        ("Blur {\n size {1 2 3}\n}", "has 2 values, not 3"),
        ("exec {rm x}", "Unknown command"),
    ],
)
def test_a_broken_script_says_where(nuke: Any, text: str, words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        nuke.scriptReadText(text)


@pytest.mark.parametrize(
    "text", ["clone node1 {\n}", "Gizmo {\n}", "Blur {\n size {{a b c}}\n}", "NoOp {\n addUserKnob {99 x}\n}"]
)
def test_what_the_reader_does_not_know_it_refuses(nuke: Any, standin: Any, text: str) -> None:
    with pytest.raises(standin.StandinError):
        nuke.scriptReadText(text)


NASTY = [
    "",
    "a b",
    '"',
    "\\",
    "[exists x]",
    "${a}",
    "{",
    "}",
    "a\nb\tc",
    "#1",
    "ä€😀",
    "%04d ####",
    "\\[",
    '{"json": [1, 2]}',
    ";",
]


@pytest.mark.parametrize("text", NASTY)
def test_any_text_survives(nuke: Any, tmp_path: Path, text: str) -> None:
    node = nuke.createNode("NoOp")
    node.addKnob(nuke.String_Knob("words", text or "empty", text))
    node["words"].setTooltip(text)
    node.addKnob(nuke.Enumeration_Knob("pick", "Pick", ["x", text + "y", "z"]))
    node["pick"].setValue(text + "y")
    node["label"].setValue(text)
    first = save(nuke, tmp_path / "a.nk")
    nuke.scriptOpen(str(tmp_path / "a.nk"))
    again = nuke.toNode("NoOp1")
    assert [again["words"].value(), again["words"].tooltip(), again["pick"].value(), again["label"].value()] == [
        text,
        text,
        text + "y",
        text,
    ]
    assert save(nuke, tmp_path / "a.nk") == first


def test_knobs_made_in_python_come_back(nuke: Any, tmp_path: Path) -> None:
    node = nuke.createNode("NoOp")
    made = [
        (nuke.Tab_Knob("page", "Page"), None),
        (nuke.Int_Knob("count"), 7),
        (nuke.Double_Knob("mix", "Mix", 0, 4), 2.5),
        (nuke.Boolean_Knob("on", "On"), True),
        (nuke.XY_Knob("point"), [12.5, 3]),
        (nuke.BBox_Knob("box"), [1, 2, 30, 40]),
        (nuke.File_Knob("path"), "/a/b.%04d.exr"),
        (nuke.Multiline_Eval_String_Knob("prompt"), "an empty\nstreet"),
        (nuke.Channel_Knob("matte"), "depth.Z"),
        (nuke.Text_Knob("note", "Note", "hello"), None),
        (nuke.PyScript_Knob("go", "Go", "nuke.message('x')"), None),
    ]
    for knob, value in made:
        node.addKnob(knob)
        if value is not None:
            knob.setValue(value)
    node["count"].setVisible(False)
    node["mix"].setEnabled(False)
    node["on"].setFlag(nuke.STARTLINE)
    node["point"].setValueAt(99, 1010, 0)
    first = save(nuke, tmp_path / "a.nk")
    nuke.scriptOpen(str(tmp_path / "a.nk"))
    again = nuke.toNode("NoOp1")
    for knob, value in made:
        if value is not None and knob.name() != "point":
            assert again[knob.name()].value() == value, knob.name()
    assert (again["point"].valueAt(1010, 0), again["point"].value(1)) == (99, 3)
    assert (again["count"].visible(), again["mix"].enabled(), again["on"].getFlag(nuke.STARTLINE)) == (
        False,
        False,
        True,
    )
    assert (again["mix"].max(), again["note"].value(), again["go"].command()) == (4, "hello", "nuke.message('x')")
    assert [k.name() for k in again.allKnobs()][-11:] == [k.name() for k, _ in made]
    assert save(nuke, tmp_path / "a.nk") == first


def test_a_gizmo_with_a_group_body_is_made_from_the_plugin_path(nuke: Any, standin: Any, tmp_path: Path) -> None:
    (tmp_path / "Softer.gizmo").write_text(
        "Group {\n name Softer1\n addUserKnob {3 kind}\n kind 4\n}\n"
        " Input {\n  inputs 0\n  name In\n }\n Output {\n  name Out\n }\nend_group\n"
    )
    nuke.pluginAddPath(str(tmp_path))
    read = nuke.createNode("Constant")
    first = nuke.createNode("Softer")
    second = nuke.createNode("Softer", "kind 5", inpanel=False)
    assert (first.name(), first.Class(), first.input(0) is read, first.shown()) == ("Softer1", "Group", True, True)
    assert (second.name(), second["kind"].value(), second.input(0) is first, second.shown()) == (
        "Softer2",
        5,
        True,
        False,
    )
    assert second.isSelected()
    assert not first.isSelected()


def test_copy_and_paste_keep_knobs_and_inner_connections(shot: Any) -> None:
    for node in shot.allNodes():
        node.setSelected(node.name() in ("Grade1", "Edge"))
    shot.nodeCopy("%clipboard%")
    shot.selectAll()
    for node in shot.selectedNodes():
        node.setSelected(False)
    last = shot.nodePaste("%clipboard%")
    assert last.name() == "Edge1"
    assert last.input(0).name() == "Grade2"
    assert last.input(0).input(0) is None
    assert sorted(n.name() for n in shot.selectedNodes()) == ["Edge1", "Grade2"]
    assert last["size"].value() == 12.5
