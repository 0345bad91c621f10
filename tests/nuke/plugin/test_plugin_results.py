"""Versions, staleness, copies, undo; what is made of a result; bad frames solved again; solving in a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_shots import FIRST, LAST, REPOSITORY, Server, point, point_at, write_matte
from void_client.client import Client
from void_client.manifest import ResultManifest
from void_client.result_store import of_pattern
from void_nuke import staleness, states
from void_nuke.node import VoidNode


def solved(artist: Any, plate: str, **knobs: Any) -> Any:
    node = artist.void(artist.read(plate))
    node["review"].setValue(False)
    for name, value in knobs.items():
        node[name].setValue(value)
    artist.click(node)
    artist.solve(node)
    return node


def jobs(server: Server) -> set[str]:
    with Client(server.settings) as client:
        return {job.job_id for job in client.status()}


def state_of(node: Any) -> str:
    return VoidNode(node).state.name


# --- versions and staleness


def test_a_change_makes_it_stale_and_undoing_it_ready_again(artist, standin, plate, no_swallowed):
    node = solved(artist, plate)
    node["seed"].setValue(7)
    assert state_of(node) == states.STALE
    assert node["status"].value() == (
        "stale v001. The plate, a mask or a knob changed since. Solve again, or undo the change."
    )
    artist.nuke.undo()
    standin.idle()
    assert node["seed"].value() == 42
    assert node["status"].value().startswith("ready v001")


def test_the_plugins_own_writing_fills_no_undo_step(artist, standin, plate, no_swallowed):
    node = solved(artist, plate)
    result = node["result_file"].value()
    artist.nuke.undo()  # the click, not the result
    standin.idle()
    assert node["result_file"].value() == result
    assert node["void_clicks"].value() == ""
    assert state_of(node) == states.STALE


@pytest.mark.parametrize("what", ["grade", "reload", "matte", "sidecar"])
def test_what_is_upstream_counts(artist, standin, plate, tmp_path, what, no_swallowed, monkeypatch):
    monkeypatch.setattr(staleness, "STAT_EVERY_S", 0.0)
    node = solved(artist, plate)
    read = node.input(0)
    if what == "grade":
        node.setInput(0, artist.nuke.nodes.Grade(inputs=[read]))
    elif what == "reload":
        read["reload"].execute()
    elif what == "matte":
        node.setInput(2, artist.read(write_matte(tmp_path)))
    else:
        entry = "{frames: all, region: keep, mode: add, shape: {rectangle: [0, 0, 9, 9]}}"
        (artist.project / "sh010_comp_v001.void.yaml").write_text(f"VOID1:\n  overrides:\n    - {entry}\n")
    standin.idle()
    artist.nuke.frame(1004)
    standin.idle()
    assert state_of(node) == states.STALE


def test_place_name_and_frame_do_not_count(artist, standin, plate, no_swallowed):
    node = solved(artist, plate)
    node.setXYpos(500, 500)
    node.input(0).setName("Plate_v2")
    node.input(0)["label"].setValue("hello")
    node.setName("CleanUp")
    node["priority"].setValue(90)
    node["mix"].setValue(0.5)
    for frame in (1001, 1005):
        artist.nuke.frame(frame)
        standin.idle()
    assert state_of(node) == states.READY


def test_a_dot_between_is_still_the_untouched_plate_and_the_same_version(artist, server, plate, no_swallowed):
    node = solved(artist, plate)
    before = jobs(server)
    node.setInput(0, artist.nuke.nodes.Dot(inputs=[node.input(0)]))
    artist.standin.idle()
    assert state_of(node) == states.STALE, "that it is the same is found by content, when it is solved"
    assert artist.solve(node).startswith("ready v001")
    assert jobs(server) == before


def test_versions_are_switched_and_keep_their_own_state(artist, plate, no_swallowed):
    node = solved(artist, plate)
    first = node["result_file"].value()
    node["grow"].setValue(3)
    artist.solve(node)
    assert node["version"].value() == "v002"
    assert list(node["version"].values()) == ["v001", "v002"]
    node["version"].setValue("v001")
    assert node["result_file"].value() == first
    assert state_of(node) == states.STALE
    assert VoidNode(node).state.version == "v001"
    node["grow"].setValue(0)
    assert node["status"].value() == "ready v001"


def test_versions_that_another_machine_made_are_listed(artist, plate, no_swallowed):
    node = solved(artist, plate)
    store = Path(node["result_file"].value()).parent.parent
    other = of_pattern(node["result_file"].value())
    folder = store / "v005_0123456789ab"
    folder.mkdir()
    for file in other.manifest.all_files:
        (folder / file.name).write_bytes((other.folder / file.name).read_bytes())
    other.manifest.write(folder)
    artist.press(node, "reload")
    assert list(node["version"].values()) == ["v001", "v005"]
    assert node["version"].value() == "v001"


# --- copies and names


def test_a_pasted_copy_has_its_own_results_and_still_shows_the_old_one(artist, tmp_path, plate, no_swallowed):
    nuke = artist.nuke
    node = solved(artist, plate)
    node.selectOnly()
    nuke.nodeCopy((tmp_path / "clip.nk").as_posix())
    nuke.nodePaste((tmp_path / "clip.nk").as_posix())
    copy = nuke.toNode("VOID2")
    assert copy["void_uuid"].value() not in ("", node["void_uuid"].value())
    assert copy["result_file"].value() == node["result_file"].value()
    copy.setInput(0, node.input(0))
    copy.showControlPanel()
    copy["seed"].setValue(8)
    artist.solve(copy)
    assert copy["void_uuid"].value() in copy["result_file"].value()
    assert state_of(node) == states.READY


def test_a_copy_lists_and_switches_the_versions_that_it_came_with(artist, tmp_path, plate, no_swallowed):
    nuke = artist.nuke
    node = solved(artist, plate)
    node["seed"].setValue(51)
    artist.solve(node)
    node.selectOnly()
    nuke.nodeCopy((tmp_path / "clip.nk").as_posix())
    nuke.nodePaste((tmp_path / "clip.nk").as_posix())
    copy = nuke.toNode("VOID2")
    copy.showControlPanel()
    assert list(copy["version"].values()) == ["v001", "v002"]
    copy["version"].setValue("v001")
    assert "/v001_" in copy["result_file"].value()
    assert copy["void_uuid"].value() != node["void_uuid"].value()


def test_saving_elsewhere_during_the_first_solve_loses_nothing(artist, server, plate, tmp_path, no_swallowed):
    nuke = artist.nuke
    node = artist.void(artist.read(plate))
    node["seed"].setValue(52)
    artist.click(node)
    artist.press(node, "solve")
    (tmp_path / "elsewhere").mkdir()
    nuke.scriptSaveAs((tmp_path / "elsewhere" / "other_shot.nk").as_posix(), 1)
    artist.wait(node, "masks ready")
    artist.press(node, "approve")
    artist.wait(node, "ready")
    assert Path(node["result_file"].value()).is_relative_to(artist.project)


def test_a_copy_of_a_running_node_does_not_wait_with_it(artist, tmp_path, plate, no_swallowed):
    nuke = artist.nuke
    node = artist.void(artist.read(plate))
    artist.click(node)
    artist.solve(node, "masks ready")
    node.selectOnly()
    nuke.nodeCopy((tmp_path / "clip.nk").as_posix())
    nuke.nodePaste((tmp_path / "clip.nk").as_posix())
    copy = nuke.toNode("VOID2")
    assert copy["status"].value() == "not solved"
    assert copy["output"].value() == "composite"
    assert state_of(node) == states.MASKS_READY


def test_two_nodes_of_one_name_in_a_script_part_when_it_is_opened(artist, plate, tmp_path, no_swallowed):
    """Copied on a machine without the plugin."""
    nuke = artist.nuke
    node = solved(artist, plate)
    nuke.scriptSave()
    path = artist.project / "sh010_comp_v001.nk"
    text = path.read_text()
    uuid = node["void_uuid"].value()
    start = text.index("Group {")
    path.write_text(
        text + text[start : text.index("end_group", start)].replace("name VOID1", "name VOID7") + "end_group\n"
    )
    nuke.scriptClear()
    nuke.scriptOpen(path.as_posix())
    assert nuke.toNode("VOID1")["void_uuid"].value() == uuid
    assert nuke.toNode("VOID7")["void_uuid"].value() not in ("", uuid)


def test_saving_under_another_name_keeps_the_results(artist, plate, no_swallowed):
    node = solved(artist, plate)
    first = node["result_file"].value()
    artist.script("another_name.nk")
    node["seed"].setValue(50)
    artist.solve(node)
    assert Path(node["result_file"].value()).parent.parent == Path(first).parent.parent
    assert list(node["version"].values()) == ["v001", "v002"]


# --- what is made of a result


def test_a_read_of_the_result(artist, plate, no_swallowed):
    node = solved(artist, plate)
    artist.press(node, "create_read")
    read = artist.nuke.toNode("VOID1_v001")
    assert read.Class() == "Read"
    assert read["file"].value() == node["result_file"].value()
    assert (read["first"].value(), read["last"].value()) == (FIRST, LAST)
    assert read["raw"].value() is True
    artist.nuke.undo()
    assert artist.nuke.toNode("VOID1_v001") is None


def test_a_result_is_published(artist, standin, plate, tmp_path, no_swallowed):
    node = solved(artist, plate)
    standin.answer((tmp_path / "out").as_posix())
    artist.press(node, "publish")
    standin.pump(lambda: "Published as" in node["status"].value())
    target = tmp_path / "out" / "VOID1_v001"
    ResultManifest.read(target).verify(target)
    assert str(target) in node["status"].value()


def test_publishing_into_a_folder_that_takes_nothing(artist, standin, plate, tmp_path):
    node = solved(artist, plate)
    (tmp_path / "out").write_text("a file")
    standin.answer((tmp_path / "out").as_posix())
    artist.press(node, "publish")
    standin.pump(lambda: bool(artist.said()[1:]))
    assert "cannot be written" in artist.said()[-1]
    assert state_of(node) == states.READY


def test_a_wipe_and_a_contact_sheet(artist, plate, no_swallowed):
    node = solved(artist, plate)
    artist.press(node, "wipe")
    (viewer,) = artist.nuke.allNodes("Viewer")
    assert (viewer.input(0), viewer.input(1)) == (node, node.input(0))
    artist.press(node, "contact_sheet")
    sheet = artist.nuke.toNode("VOID1_v001_sheet")
    assert (sheet["rows"].value(), sheet["columns"].value()) == (2, 6)
    held = [sheet.input(index) for index in range(sheet.inputs())]
    assert [int(hold["firstFrame"].value()) for hold in held] == [*range(FIRST, LAST + 1)] * 2
    assert {hold.input(0).name() for hold in held} == {node.name(), node.input(0).name()}


def test_bad_frames_are_solved_again_between_neighbours_that_stay(artist, plate, no_swallowed):
    node = solved(artist, plate)
    first = of_pattern(node["result_file"].value())
    node["resolve_frames"].setValue("1003-1004")
    artist.press(node, "resolve_range")
    artist.standin.pump(lambda: node["version"].value() == "v002", 60)
    second = of_pattern(node["result_file"].value())
    told = {frame.number: frame.sha256 for frame in first.manifest.frames}
    again = {frame.number: frame.sha256 for frame in second.manifest.frames}
    assert [n for n in told if told[n] != again[n]] == [1003, 1004]
    second.manifest.verify(second.folder)
    assert [part["frames"] for part in second.manifest.facts["parts"]] == ["1001-1002,1005-1006", "1003-1004"]
    assert node["status"].value().startswith("ready v002")
    artist.standin.idle()
    assert state_of(node) == states.READY


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1001-1006", "no finished frame would be left to go by"),
        ("990-1002", "The result has no frames 990-1000"),
        ("abc", "is not a frame range"),
    ],
)
def test_bad_frames_that_make_no_sense(artist, plate, text, said):
    node = solved(artist, plate)
    node["resolve_frames"].setValue(text)
    artist.press(node, "resolve_range")
    assert said in artist.said()[-1]
    assert state_of(node) == states.READY


# --- without the interface


@pytest.fixture
def terminal(standin, server, plate, tmp_path, monkeypatch):
    """`nuke -t` with a VOID node on the plate, a click on it."""
    standin.reset(gui=False)
    import nuke

    point_at(monkeypatch, server, tmp_path)
    nuke.pluginAddPath((REPOSITORY / "gizmos").as_posix())
    nuke.scriptSaveAs((tmp_path / "sh020.nk").as_posix(), 1)
    read = nuke.nodes.Read(file=plate, first=FIRST, last=LAST, origfirst=FIRST, origlast=LAST)
    node = nuke.createNode("VOID", inpanel=False)
    node.setInput(0, read)
    from void_nuke import actions

    nuke.frame(1003)
    node["point"].setValue(point(1003))
    actions.add_point(node, True)
    return node


def test_solving_in_a_terminal_blocks_and_shows_the_result(terminal):
    from void_nuke import actions

    version = actions.solve_headless(terminal, frames=(1002, 1005))
    assert version.frames == (1002, 1003, 1004, 1005)
    assert terminal["result_file"].value() == version.pattern
    assert terminal["status"].value().startswith("ready v001")


def test_the_nodes_shot_file_renders_on_the_command_line(terminal, server, tmp_path):
    from void_nuke import actions

    shot = tmp_path / "shot.json"
    shot.write_text(json.dumps(actions.shot_file(terminal)))
    python = os.environ.get("VOID_TEST_SERVER_PYTHON") or sys.executable
    paths = os.pathsep.join(map(str, (REPOSITORY / "nuke_plugin", REPOSITORY / "server", REPOSITORY)))
    done = subprocess.run(
        [python, "-m", "void_cli.main", "render", str(shot), "--out", str(tmp_path / "out"), "--connection",
         str(server.connection)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    version = actions.solve_headless(terminal)
    made = ResultManifest.read(tmp_path / "out")
    assert [f.sha256 for f in made.frames] == [f.sha256 for f in version.manifest.frames]
