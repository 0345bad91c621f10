"""A session of the stand-in: callbacks, undo, the graph, menus, dialogs, the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


# -- callbacks
def changes(nuke: Any, node_class: str = "Blur") -> list:
    seen: list = []
    nuke.addKnobChanged(lambda: seen.append(nuke.thisKnob().name()), nodeClass=node_class)
    return seen


def test_knob_changed_comes_with_dummy_knobs_too(standin: Any) -> None:
    import nuke

    standin.reset(knob_changed="always")
    seen = changes(nuke)
    node = nuke.createNode("Blur")
    node["size"].setValue(3)
    node["size"].setValue(3)
    node.setInput(0, nuke.nodes.Constant())
    node.hideControlPanel()
    assert seen == ["showPanel", "size", "inputChange", "hidePanel"]


@pytest.mark.parametrize(("when", "expected"), [("always", ["size", "inputChange"]), ("open panel", [])])
def test_a_closed_panel_is_heard_or_not(standin: Any, when: str, expected: list) -> None:
    """Nuke's documentation says the one up to 16 and the other from 17 on: a plugin must live with both."""
    import nuke

    standin.reset(knob_changed=when)
    seen = changes(nuke)
    node = nuke.createNode("Blur", inpanel=False)
    node["size"].setValue(3)
    node.setInput(0, nuke.nodes.Constant())
    assert seen == expected


def test_knobs_are_heard_without_a_gui(standin: Any) -> None:
    import nuke

    standin.reset(gui=False, knob_changed="always")
    seen = changes(nuke)
    nuke.createNode("Blur")["size"].setValue(3)
    assert seen == ["size"]


def test_a_script_that_loads_changes_no_knob(nuke: Any) -> None:
    seen = changes(nuke)
    nuke.scriptReadText("Blur {\n inputs 0\n size 4\n}")
    assert seen == []


def test_knob_changed_is_not_called_from_within_itself(nuke: Any) -> None:
    seen: list = []

    def changed() -> None:
        seen.append(nuke.thisKnob().name())
        nuke.thisNode()["label"].setValue(str(len(seen)))

    node = nuke.createNode("Blur")
    nuke.addKnobChanged(changed, node=node)
    node["size"].setValue(3)
    assert seen == ["size"]
    assert node["label"].value() == "1"


def test_a_callback_knows_its_node_and_its_group(nuke: Any) -> None:
    seen: list = []
    group = nuke.createNode("Group")
    nuke.addOnCreate(lambda: seen.append((nuke.thisNode().name(), nuke.thisParent().name())), nodeClass="Blur")
    with group:
        nuke.createNode("Blur")
    group["knobChanged"].setValue("nuke.thisNode()['label'].setValue(nuke.thisGroup().name())")
    group["disable"].setValue(True)
    assert seen == [("Blur1", "Group1")]
    assert group["label"].value() == "Group1"


def test_exceptions_of_callbacks_are_printed_and_nuke_goes_on(nuke: Any, standin: Any, capsys: Any) -> None:
    nuke.addOnCreate(lambda: 1 / 0)
    assert nuke.createNode("Blur").name() == "Blur1"
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert standin.swallowed()[0][0] == "onCreate of Blur1"


def test_an_exception_before_a_render_stops_it(nuke: Any, standin: Any, tmp_path: Path) -> None:
    write = nuke.nodes.Write(inputs=[nuke.nodes.Constant()], file=f"{tmp_path}/a.%d.exr", file_type="exr")
    write["beforeRender"].setValue("raise ValueError('no licence')")
    with pytest.raises(RuntimeError, match="no licence"):
        nuke.execute(write, 1, 2)
    assert standin.rendered() == []


def test_the_callbacks_of_a_render_come_in_order(nuke: Any, standin: Any, tmp_path: Path) -> None:
    seen: list = []
    for kind in ("BeforeRender", "BeforeFrameRender", "AfterFrameRender", "AfterRender"):
        getattr(nuke, "add" + kind)(lambda kind=kind: seen.append((kind, nuke.frame())))
    write = nuke.nodes.Write(inputs=[nuke.nodes.Constant()], file=f"{tmp_path}/a.%d.exr", file_type="exr")
    nuke.execute(write, 3, 4)
    assert [k for k, _ in seen] == ["BeforeRender", *["BeforeFrameRender", "AfterFrameRender"] * 2, "AfterRender"]
    assert [f for _, f in seen[1:5]] == [3, 3, 4, 4]
    assert [row[1] for row in standin.rendered()] == [3, 4]


def test_update_ui_runs_when_nuke_is_idle_and_something_changed(nuke: Any, standin: Any) -> None:
    seen: list = []
    nuke.addUpdateUI(lambda: seen.append(nuke.thisNode()["size"].value(0)), nodeClass="Blur")
    node = nuke.createNode("Blur", inpanel=False)
    standin.idle()
    standin.idle()
    node["size"].setValue(5)
    assert seen == [0]
    standin.idle()
    assert seen == [0, 5]


def test_update_ui_runs_for_every_node_where_one_or_the_frame_changed(nuke: Any, standin: Any) -> None:
    seen: list = []
    nuke.addUpdateUI(lambda: seen.append(nuke.thisNode().name()), nodeClass="Blur")
    nodes = [nuke.createNode("Blur", inpanel=False) for _ in range(2)]
    standin.idle()
    seen.clear()
    nodes[0]["size"].setValue(5)
    standin.idle()
    assert sorted(seen) == ["Blur1", "Blur2"]
    nuke.frame(nuke.frame() + 1)
    standin.idle()
    assert len(seen) == 4


def test_scripts_tell_of_load_save_and_close(nuke: Any, tmp_path: Path) -> None:
    seen: list = []
    for kind in ("OnScriptLoad", "OnScriptSave", "OnScriptClose"):
        getattr(nuke, "add" + kind)(lambda kind=kind: seen.append((kind, nuke.root().name())))
    path = f"{tmp_path}/a.nk"
    nuke.scriptSaveAs(path)
    nuke.scriptOpen(path)
    assert seen == [("OnScriptSave", path), ("OnScriptClose", path), ("OnScriptLoad", path)]


def test_opening_a_script_runs_on_create_of_every_node(nuke: Any, tmp_path: Path) -> None:
    group = nuke.createNode("Group")
    with group:
        nuke.createNode("Blur")
    nuke.scriptSaveAs(f"{tmp_path}/a.nk")
    seen: list = []
    nuke.addOnCreate(lambda: seen.append(nuke.thisNode().fullName()))
    nuke.addOnUserCreate(lambda: seen.append("by the user"))
    nuke.scriptOpen(f"{tmp_path}/a.nk")
    assert seen == ["Group1", "Group1.Blur1"]


def test_a_removed_callback_is_silent(nuke: Any) -> None:
    seen: list = []

    def made() -> None:
        seen.append(1)

    nuke.addOnCreate(made, nodeClass="Blur")
    nuke.addOnCreate(made, nodeClass="Blur")
    nuke.createNode("Blur")
    nuke.removeOnCreate(made, nodeClass="Blur")
    nuke.createNode("Blur")
    assert seen == [1]


def test_filename_filters_map_paths(nuke: Any, tmp_path: Path) -> None:
    nuke.addFilenameFilter(lambda path: path.replace("P:/", f"{tmp_path}/"))
    write = nuke.nodes.Write(inputs=[nuke.nodes.Constant()], file="P:/a.%d.exr", file_type="exr")
    nuke.execute(write, 1, 1)
    assert (tmp_path / "a.1.exr").is_file()
    assert write["file"].value() == "P:/a.%d.exr"
    assert nuke.filename(write) == "P:/a.%d.exr"
    assert nuke.filenameFilter("P:/a.%d.exr") == f"{tmp_path}/a.%d.exr"
    nuke.frame(7)
    assert nuke.filename(write, nuke.REPLACE) == f"{tmp_path}/a.7.exr", "with the current frame's number"


# -- undo
def test_undo_takes_a_named_group_back_at_once(nuke: Any) -> None:
    node = nuke.createNode("Blur")
    with nuke.Undo("Solve"):
        node["size"].setValue(4)
        node["label"].setValue("x")
        node.addKnob(nuke.Int_Knob("count"))
    assert nuke.Undo.undoDescribe() == "Solve"
    nuke.undo()
    assert (node["size"].value(0), node["label"].value(), node.knob("count")) == (0, "", None)
    nuke.redo()
    assert (node["size"].value(0), node["label"].value()) == (4, "x")
    assert node.knob("count") is not None


def test_undo_brings_a_deleted_node_back_with_its_connections(nuke: Any) -> None:
    constant = nuke.createNode("Constant")
    blur = nuke.createNode("Blur")
    grade = nuke.createNode("Grade")
    nuke.Undo.begin("delete")
    nuke.delete(blur)
    nuke.Undo.end()
    assert grade.input(0) is constant
    nuke.undo()
    assert grade.input(0) is blur
    assert blur.input(0) is constant
    assert blur.name() == "Blur1"


def test_what_is_disabled_or_flagged_is_not_undone(nuke: Any) -> None:
    node = nuke.createNode("Blur")
    size = nuke.Undo.undoSize()
    nuke.Undo.disable()
    node["size"].setValue(4)
    nuke.Undo.enable()
    node["label"].setFlag(nuke.NO_UNDO)
    node["label"].setValue("state")
    assert nuke.Undo.undoSize() == size


# -- graph
def test_dependencies_and_dependents(nuke: Any) -> None:
    constant, blur, grade = nuke.nodes.Constant(), nuke.nodes.Blur(), nuke.nodes.Grade()
    blur.setInput(0, constant)
    grade.setInput(0, blur)
    grade["multiply"].setExpression("Constant1.color.r")
    assert blur.dependencies() == [constant]
    assert blur.dependent() == [grade]
    assert set(grade.dependencies()) == {blur, constant}
    assert grade.dependencies(nuke.INPUTS) == [blur]
    assert set(constant.dependent()) == {blur, grade}


def test_names_are_unique_in_their_group(nuke: Any) -> None:
    assert [nuke.createNode("Blur").name() for _ in range(3)] == ["Blur1", "Blur2", "Blur3"]
    group = nuke.createNode("Group")
    with group:
        inner = nuke.createNode("Blur")
    assert (inner.name(), inner.fullName()) == ("Blur1", "Group1.Blur1")
    assert nuke.toNode("Group1.Blur1") is inner
    assert nuke.toNode("Nothing") is None
    assert nuke.allNodes("Blur", recurseGroups=True).count(inner) == 1
    inner.setName("Blur1")
    nuke.toNode("Blur2").setName("Blur1")
    assert sorted(n.name() for n in nuke.allNodes("Blur")) == ["Blur1", "Blur2", "Blur3"]


def test_an_input_loses_the_trailing_empty_ones(nuke: Any) -> None:
    merge, constant = nuke.nodes.Merge2(), nuke.nodes.Constant()
    merge.setInput(1, constant)
    assert (merge.inputs(), merge.input(0), merge.input(1)) == (2, None, constant)
    merge.setInput(1, None)
    assert merge.inputs() == 0
    assert not nuke.nodes.Blur().setInput(7, constant)


def test_the_roots_frame_is_nukes_frame(nuke: Any) -> None:
    nuke.root()["frame"].setValue(1005)
    assert nuke.frame() == 1005
    nuke.frame(1003)
    assert nuke.root()["frame"].value() == 1003


def test_a_knobs_default_can_be_set_for_a_class(nuke: Any) -> None:
    nuke.knobDefault("Blur.size", "7")
    assert nuke.createNode("Blur")["size"].value() == [7, 7]
    assert nuke.knobDefault("Blur.size") == "7"


def test_a_frame_knob_is_animated_by_keys(nuke: Any) -> None:
    node = nuke.createNode("NoOp")
    node.addKnob(nuke.XY_Knob("point"))
    node["point"].setAnimated()
    nuke.frame(1001)
    node["point"].setValue([10, 20])
    node["point"].setValueAt(30, 1003, 0)
    assert node["point"].valueAt(1003) == [30, 20]
    assert 1001 in node["point"].getKeyList()
    nuke.frame(1003)
    assert node["point"].x() == 30
    assert node["point"].isKey(0)


# -- windows and menus
def test_what_the_artist_would_read_is_kept(nuke: Any, standin: Any) -> None:
    nuke.message("Done.")
    standin.answer(True, "v2")
    assert nuke.ask("Overwrite?") is True
    assert nuke.getInput("Which?", "v1") == "v2"
    assert [(d.kind, d.text, d.answer) for d in standin.dialogs()] == [
        ("message", "Done.", None),
        ("ask", "Overwrite?", True),
        ("getInput", "Which?", "v2"),
    ]
    with pytest.raises(standin.StandinError, match="gave no answer"):
        nuke.ask("Sure?")


def test_a_terminal_prints_messages(nuke: Any, standin: Any, capsys: Any) -> None:
    standin.reset(gui=False)
    nuke.message("Done.")
    assert capsys.readouterr().out == "Done.\n"
    assert nuke.menu("Nuke") is None
    assert not nuke.GUI
    assert not nuke.env["gui"]


def test_a_button_is_pressed_as_the_artist_does(nuke: Any, standin: Any) -> None:
    node = nuke.createNode("NoOp")
    node.addKnob(nuke.PyScript_Knob("go", "Go", "nuke.thisNode()['label'].setValue(nuke.thisKnob().name())"))
    node.addKnob(nuke.PyScript_Knob("bad", "Bad", "raise RuntimeError('server gone')"))
    standin.press(node["go"])
    assert node["label"].value() == "go"
    standin.press(node["bad"])
    assert standin.shown_texts() == ["RuntimeError: server gone"]
    node["go"].setEnabled(False)
    with pytest.raises(AssertionError, match="cannot be clicked"):
        standin.press(node["go"])


def test_menus_hold_commands_and_run_them(nuke: Any, standin: Any, tmp_path: Path) -> None:
    (tmp_path / "void.png").write_bytes(b"")
    nuke.pluginAddPath(str(tmp_path))
    void = nuke.menu("Nuke").addMenu("VOID")
    void.addCommand("Make", "nuke.createNode('Blur')", "ctrl+shift+v", icon="void.png")
    void.addCommand("Deep/Queue", lambda: nuke.message("queue"), icon="lost.png")
    void.addSeparator()
    nuke.menu("Nuke").findItem("VOID/Make").invoke()
    nuke.menu("Nuke").findItem("VOID/Deep/Queue").invoke()
    assert nuke.toNode("Blur1") is not None
    assert standin.shown_texts() == ["queue"]
    assert standin.missing_icons() == ["lost.png"]
    assert nuke.menu("Nuke").addMenu("VOID") is void
    nuke.menu("Nuke").removeItem("VOID")
    assert nuke.menu("Nuke").findItem("VOID") is None
    nuke.addFavoriteDir("VOID", "/results")
    assert standin.favourites() == {"VOID": "/results"}


def test_a_file_is_opened_with_the_systems_program(nuke: Any, standin: Any) -> None:
    import nukescripts

    nukescripts.start("file:///a/void.yaml")
    assert standin.opened() == ["file:///a/void.yaml"]


def test_a_panel_is_registered_by_name(nuke: Any) -> None:
    import nukescripts
    from standin.state import S

    text = "__import__('collections').OrderedDict"
    nukescripts.panels.registerWidgetAsPanel(text, "VOID Queue", "void.queue")
    assert S.panels["void.queue"]["name"] == "VOID Queue"
    assert nuke.getPaneFor("void.queue") is None
    made = nukescripts.panels.registerWidgetAsPanel(text, "VOID Queue", "void.queue", create=True)
    made.addToPane(nuke.getPaneFor("Properties.1"))
    assert nuke.getPaneFor("void.queue") is not None
    assert S.panels["void.queue"]["knob"].makeUI() == {}
    unknown = nukescripts.panels.registerWidgetAsPanel("void_nuke.queue.Panel", "VOID Queue", "void.queue", create=True)
    with pytest.raises(NameError, match="void_nuke"):
        unknown.addToPane()
    with pytest.raises(TypeError, match="string"):
        nukescripts.panels.registerWidgetAsPanel(object(), "x", "y")


# -- the start
@pytest.mark.parametrize("gui", [True, False])
def test_init_runs_everywhere_and_menu_in_the_gui_only(standin: Any, tmp_path: Path, gui: bool) -> None:
    import nuke

    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        for file in ("init", "menu"):
            (tmp_path / name / f"{file}.py").write_text(f"import nuke\nnuke.tprint('{name} {file}')\n")
    (tmp_path / "first" / "init.py").write_text(
        "import nuke\nnuke.pluginAddPath('./inner')\nnuke.tprint('first init')\n"
    )
    (tmp_path / "first" / "inner").mkdir()
    (tmp_path / "first" / "inner" / "init.py").write_text("import nuke\nnuke.tprint('inner init')\n")
    standin.reset(gui=gui)
    standin.start(tmp_path / "first", tmp_path / "second")
    said = [text.strip() for kind, text in standin.printed() if kind == "tprint"]
    starts = ["second init", "first init", "inner init"]
    assert said == starts + (["second menu", "first menu"] if gui else [])
    assert str(tmp_path / "first" / "inner") in nuke.pluginPath()


def test_formats_layers_and_views_are_kept(nuke: Any, tmp_path: Path) -> None:
    nuke.addFormat("3840 1080 2 squeezed")
    nuke.root()["format"].setValue("squeezed")
    nuke.root()["first_frame"].setValue(1001)
    nuke.root()["project_directory"].setValue("/jobs/x")
    nuke.Layer("void_matte", ["void_matte.generated"])
    nuke.addView("right")
    nuke.scriptSaveAs(f"{tmp_path}/a.nk")
    nuke.scriptOpen(f"{tmp_path}/a.nk")
    assert (nuke.root().width(), nuke.root().pixelAspect(), nuke.root().firstFrame()) == (3840, 2, 1001)
    assert nuke.root()["project_directory"].value() == "/jobs/x"
    assert "void_matte.generated" in nuke.channels()
    assert nuke.views() == ["main", "right"]
    assert nuke.script_directory() == str(tmp_path)
    assert not nuke.modified()
    nuke.createNode("Blur")
    assert nuke.modified()


def test_nodes_of_a_closed_script_are_dead(nuke: Any) -> None:
    node = nuke.createNode("Blur")
    nuke.scriptClear()
    with pytest.raises(ValueError, match="not attached"):
        node.name()
    assert nuke.allNodes() == []


def test_tcl_is_asked_from_python(nuke: Any) -> None:
    nuke.createNode("Blur")["size"].setValue(3)
    assert nuke.tcl("value Blur1.size") == "3 3"
    assert nuke.value("Blur1.size.w") == "3"
    assert nuke.value("Blur1.nothing", "none") == "none"
    assert nuke.expression("Blur1.size.w * 2 + (frame == 1)") == 7
    with pytest.raises(NameError):
        nuke.tcl("value Nothing.size")
    with pytest.raises(RuntimeError, match="invalid command name"):
        nuke.tcl("exec ls")
