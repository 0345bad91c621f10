"""What makes a result stale without a knob: files that were written again. And what all this looking costs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from small_shots import write_matte, write_plate
from void_nuke import staleness, states, watch
from void_nuke.node import Solved, VoidNode
from void_nuke.states import State


def state_of(node: Any) -> str:
    return VoidNode(node).state.name


def written_again(path: str, changed: bool = False) -> None:
    """Another time; ``changed``: a byte of its last pixels, too."""
    file = Path(path)
    data = bytearray(file.read_bytes())
    if changed:
        data[-1] ^= 1
    file.write_bytes(data)
    os.utime(path, (time.time() + 5, time.time() + 5))


def looks_ready(artist: Any, *inputs: Any) -> Any:
    """A node with a result of this very set-up, without a solve."""
    node = artist.void(*inputs)
    void = VoidNode(node)
    void.keep_solved(Solved("v001", {"v001": staleness.look(void)}))
    void.show(State(states.READY, version="v001"))
    return node


# --- files


@pytest.mark.parametrize("what", ["plate", "graded plate", "matte", "matte of the overrides"])
def test_files_that_were_written_again_are_found_by_reload(artist, standin, plate, tmp_path, what, no_swallowed):
    if what.endswith("plate"):
        changed = write_plate(tmp_path) % 1003
        source = artist.read(changed.replace("1003", "%04d"))
        node = looks_ready(artist, artist.nuke.nodes.Grade(inputs=[source]) if what == "graded plate" else source)
    elif what == "matte":
        changed = write_matte(tmp_path) % 1003
        node = looks_ready(artist, artist.read(plate), artist.read(changed.replace("1003", "%04d")))
    else:
        changed = write_matte(artist.project) % 1003
        name = Path(changed).name.replace("1003", "%04d")
        entry = f"{{frames: 1003, region: keep, mode: add, matte: {name}}}"
        (artist.project / "sh010_comp_v001.void.yaml").write_text(f"VOID1:\n  overrides:\n    - {entry}\n")
        node = looks_ready(artist, artist.read(plate))
    artist.press(node, "reload")
    assert state_of(node) == states.READY
    written_again(changed)
    standin.idle()
    assert state_of(node) == states.READY, "nobody looks at files while the artist works"
    artist.press(node, "reload")
    assert node["status"].value() == f"stale v001. {staleness.RENDERED} {staleness.AGAIN}"
    artist.nuke.frame(1005)
    standin.idle()
    assert state_of(node) == states.STALE, "it stays so"


def test_files_that_were_written_again_are_found_when_the_script_loads(artist, tmp_path, no_swallowed):
    pattern = write_plate(tmp_path)
    looks_ready(artist, artist.read(pattern))
    artist.nuke.scriptSave()
    artist.nuke.scriptOpen(artist.nuke.root().name())
    assert state_of(artist.nuke.toNode("VOID1")) == states.READY
    artist.nuke.scriptSave()
    written_again(pattern % 1002)
    artist.nuke.scriptOpen(artist.nuke.root().name())
    assert state_of(artist.nuke.toNode("VOID1")) == states.STALE


def test_frames_that_are_not_solved_do_not_count(artist, tmp_path, no_swallowed):
    pattern = write_plate(tmp_path)
    node = artist.void(artist.read(pattern))
    for name, value in (("range", "custom"), ("first", 1002), ("last", 1004)):
        node[name].setValue(value)
    void = VoidNode(node)
    before = staleness.look(void)
    written_again(pattern % 1006)
    assert staleness.look(void) == before
    written_again(pattern % 1004)
    assert staleness.look(void) != before


def test_the_same_pixels_under_another_time_are_the_same_version(artist, tmp_path, no_swallowed):
    pattern = write_plate(tmp_path)
    node = artist.void(artist.read(pattern))
    node["review"].setValue(False)
    artist.click(node)
    artist.solve(node)
    written_again(pattern % 1003)
    artist.press(node, "reload")
    assert state_of(node) == states.STALE
    assert artist.solve(node).startswith("ready v001")
    artist.press(node, "reload")
    assert state_of(node) == states.READY
    written_again(pattern % 1003, changed=True)
    assert artist.solve(node).startswith("ready v002")


def test_the_farm_solves_a_plate_that_was_written_again(artist, tmp_path, no_swallowed):
    from void_nuke import farm

    pattern = write_plate(tmp_path)
    node = looks_ready(artist, artist.read(pattern))
    artist.write(node, tmp_path)
    node["result_file"].setValue("/somewhere/v001_0/plate.%04d.exr")
    artist.click(node)
    void = VoidNode(node)
    void.keep_solved(Solved("v001", {"v001": staleness.look(void)}))
    void.show(State(states.READY, version="v001"))
    assert farm.submit([void]).kept == ("VOID1",)
    written_again(pattern % 1003)
    assert farm.submit([void]).solved == ("VOID1",)


@pytest.mark.parametrize(
    ("knob", "value"),
    [("colorManagement", "OCIO"), ("workingSpaceLUT", "ACEScg"), ("customOCIOConfigPath", "/show/config.ocio")],
)
def test_the_projects_colours_count(artist, plate, knob, value):
    void = VoidNode(artist.void(artist.read(plate)))
    before = staleness.fingerprint(void)
    artist.nuke.root()[knob].setValue(value)
    assert staleness.fingerprint(void) != before


# --- what it costs


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of nodes for which all that is upstream was walked."""
    found: list[str] = []
    walk = staleness._above

    def above(node: VoidNode) -> str:
        found.append(node.name)
        return walk(node)

    monkeypatch.setattr(staleness, "_above", above)
    return found


def test_playing_through_frames_looks_at_nothing(artist, standin, plate, monkeypatch, counted, no_swallowed):
    """Nuke calls updateUI of each node at each frame."""
    read = artist.read(plate)
    nodes = [looks_ready(artist, read) for _ in range(10)]
    standin.idle()
    monkeypatch.setattr(watch, "EVERY_S", 30.0)
    watch.forget()
    counted.clear()
    try:
        for step in range(20):
            artist.nuke.frame(1001 + step % 6)
            standin.idle()
        assert counted == []
        read["raw"].setValue(not read["raw"].value())
        standin.idle()
        assert counted == []
        monkeypatch.setattr(watch, "BUDGET_S", 1e-9)
        watch.look()
        assert len(counted) == 1, "what is left waits for its turn"
        monkeypatch.setattr(watch, "BUDGET_S", 60.0)
        watch.look()
        watch.look()
        assert sorted(counted) == sorted(node.fullName() for node in nodes), "each of them once"
        assert {state_of(node) for node in nodes} == {states.STALE}
        standin.idle()
        watch.look()
        assert len(counted) == 10, "and not again so soon"
    finally:
        watch.forget()


def test_a_change_upstream_shows_by_itself_a_little_later(artist, standin, plate, monkeypatch, no_swallowed):
    read = artist.read(plate)
    node = looks_ready(artist, read)
    deleted = looks_ready(artist, read)
    standin.idle()
    monkeypatch.setattr(watch, "EVERY_S", 0.05)
    read["raw"].setValue(not read["raw"].value())
    standin.idle()
    artist.nuke.delete(deleted)
    standin.pump(lambda: state_of(node) == states.STALE)


def test_dragging_a_knob_of_the_node_walks_nothing(artist, plate, counted):
    node = looks_ready(artist, artist.read(plate))
    node["grow"].setValue(1)
    counted.clear()
    for value in range(2, 20):
        node["grow"].setValue(value)
        assert state_of(node) == states.STALE
    node["grow"].setValue(0)
    assert state_of(node) == states.READY
    assert counted == []


def test_a_review_upstream_is_nobody_elses(artist, plate, tmp_path):
    first = artist.void(artist.read(plate))
    void = VoidNode(artist.void(first))
    before = staleness.look(void)
    first["mask_file"].setValue(write_matte(tmp_path))
    assert staleness.look(void) == before
    first["result_file"].setValue(write_plate(tmp_path))
    assert staleness.look(void) != before


def test_the_frame_alone_changes_no_quick_look(artist, plate, counted):
    """What is at rest upstream has the same hash at each frame."""
    void = VoidNode(artist.void(artist.nuke.nodes.Constant()))
    for frame in (1001, 1002, 1003):
        artist.nuke.frame(frame)
        staleness.fingerprint_quickly(void)
    assert len(counted) == 1


def test_the_overrides_file_is_asked_for_now_and_then(artist, plate, monkeypatch):
    monkeypatch.setattr(staleness, "STAT_EVERY_S", 3600.0)
    asked: list[str] = []
    stat = os.stat

    def counting(path: Any, *args: Any, **named: Any) -> os.stat_result:
        if "void" in Path(str(path)).suffixes or str(path).endswith(("yaml", "yml", "json")):
            asked.append(str(path))
        return stat(path, *args, **named)

    void = VoidNode(artist.void(artist.read(plate)))
    staleness.fingerprint_quickly(void)
    monkeypatch.setattr(os, "stat", counting)
    for frame in (1001, 1002, 1003):
        artist.nuke.frame(frame)
        staleness.fingerprint_quickly(void)
    assert asked == []
