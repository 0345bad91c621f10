"""Every failure: what the artist reads, and that nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_shots import HEIGHT, REPOSITORY, WIDTH, point_at, wait_until, write_exr, write_plate
from void_client import keys
from void_client.client import Client
from void_client.errors import DiskFull, InputError, JobFailed, VersionMismatch, VoidError, WorkerDied, by_code
from void_nuke import messages, ordering, states
from void_nuke.messages import FOUND_HERE, FROM_SERVER, Told, explain, failure
from void_nuke.node import VoidNode


def refused(artist: Any, node: Any, button: str = "solve") -> str:
    """Press, and read the one dialog that must come at once."""
    before = len(artist.said())
    artist.press(node, button)
    said = artist.said()[before:]
    assert len(said) == 1, said
    assert said[0].startswith("VOID: ")
    return said[0][len("VOID: ") :]


def state_of(node: Any) -> str:
    return VoidNode(node).state.name


# --- found before anything is sent


def test_nothing_connected(artist):
    node = artist.void()
    assert refused(artist, node) == (
        "Nothing is connected to the plate input. Connect the plate to input 0, then solve."
    )
    assert state_of(node) == states.FAILED
    assert node["status"].value().startswith("failed. Nothing is connected")


def test_proxy_mode_is_refused_and_left_alone(artist, plate):
    node = artist.void(artist.read(plate))
    artist.click(node)
    artist.nuke.root()["proxy"].setValue(True)
    assert "proxy mode" in refused(artist, node)
    assert artist.nuke.root()["proxy"].value() is True


def test_a_script_that_was_never_saved(artist, plate):
    artist.nuke.scriptClear()
    node = artist.void(artist.read(plate))
    artist.click(node)
    assert "has not been saved" in refused(artist, node)


def test_nothing_says_what_goes(artist, plate):
    node = artist.void(artist.read(plate))
    assert "Nothing says what is to be removed. Put a point on the object" in refused(artist, node)


def test_mattes_mode_without_a_matte(artist, plate):
    node = artist.void(artist.read(plate))
    node["mode"].setValue("use mattes")
    assert "no matte is connected. Connect the object's matte to input 1." in refused(artist, node)


def test_quadmask_mode_without_a_quadmask(artist, plate):
    node = artist.void(artist.read(plate))
    node["mode"].setValue("quadmask override")
    assert "no quadmask is connected. Connect one to input 3" in refused(artist, node)


def test_a_deep_plate(artist):
    node = artist.void(artist.nuke.nodes.DeepRead())
    assert "The plate is deep. Flatten it with DeepToImage" in refused(artist, node)


def test_a_matte_of_another_size(artist, plate, tmp_path):
    for frame in range(1001, 1007):
        write_exr(tmp_path / f"small.{frame}.exr", 48, 27, {"A": [1.0] * (48 * 27)})
    node = artist.void(artist.read(plate), artist.read(f"{tmp_path.as_posix()}/small.%04d.exr"))
    assert refused(artist, node).startswith(f"The matte on input 1 is 48x27, the plate is {WIDTH}x{HEIGHT}.")


def test_a_range_that_the_plate_lacks(artist, plate):
    node = artist.void(artist.read(plate))
    artist.click(node)
    node["range"].setValue("custom")
    node["first"].setValue(1004)
    node["last"].setValue(1100)
    assert "1004-1100" in refused(artist, node)
    assert "(1001-1006)" in artist.said()[-1]


def test_several_views(artist, tmp_path):
    write_plate(tmp_path, name="left")
    write_plate(tmp_path, name="right")
    artist.nuke.addView("left")
    artist.nuke.addView("right")
    node = artist.void(artist.read(f"{tmp_path.as_posix()}/%V.%04d.exr"))
    text = refused(artist, node)
    assert "VOID solves one at a time. Put a OneView before VOID" in text


def test_a_point_beside_the_plate(artist, plate):
    node = artist.void(artist.read(plate))
    node["point"].setValue([WIDTH + 5, 3])
    assert refused(artist, node, "add_positive") == (
        f"The point {WIDTH + 5}, 3 is outside of the plate ({WIDTH}x{HEIGHT}). Move it onto the object, then add it."
    )
    assert state_of(node) == states.NOT_SOLVED, "a misplaced point is no failed solve"


def test_a_box_without_area(artist, plate):
    node = artist.void(artist.read(plate))
    node["box"].setValue([5, 5, 5, 9])
    assert "The box has no area" in refused(artist, node, "add_box")


@pytest.mark.parametrize("button", ["create_read", "publish", "wipe", "contact_sheet", "show_resolved"])
def test_what_needs_a_result_says_so(artist, plate, button):
    node = artist.void(artist.read(plate))
    assert refused(artist, node, button) == "This node has no result yet. Solve it first."


def test_nothing_to_cancel_or_to_approve(artist, plate):
    node = artist.void(artist.read(plate))
    assert "No job of this node is under way." in refused(artist, node, "cancel")
    assert "No quadmask of this node waits" in refused(artist, node, "approve")
    assert state_of(node) == states.NOT_SOLVED


# --- faults of the plugin itself


def test_a_fault_ends_the_solve_and_is_told(artist, plate, monkeypatch, caplog, no_swallowed):
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("an odd fault")

    node = artist.void(artist.read(plate))
    artist.click(node)
    monkeypatch.setattr(ordering, "order_of", broken)
    assert "The plugin has a fault (ZeroDivisionError: an odd fault)" in refused(artist, node)
    assert state_of(node) == states.FAILED
    assert "an odd fault" in caplog.text, "the log has it whole"


def test_a_fault_in_what_the_node_hears_is_said_by_the_node(artist, plate, monkeypatch, caplog, no_swallowed):
    from void_nuke import results

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("an odd fault")

    node = artist.void(artist.read(plate))
    monkeypatch.setattr(results, "relist", broken)
    node.hideControlPanel()
    node.showControlPanel()
    assert state_of(node) == states.FAILED
    assert "an odd fault" in node["status"].value()
    assert artist.said() == []


def test_a_fault_while_a_result_is_shown_is_no_endless_wait(artist, plate, monkeypatch, caplog, no_swallowed):
    from void_nuke import results

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("an odd fault")

    node = artist.void(artist.read(plate))
    node["review"].setValue(False)
    artist.click(node, 1004)
    monkeypatch.setattr(results, "show", broken)
    artist.press(node, "solve")
    assert "an odd fault" in artist.wait(node, "failed")


def test_clicks_that_cannot_be_read_are_said(artist, plate, no_swallowed):
    node = artist.void(artist.read(plate))
    node["void_clicks"].setValue("{nonsense")
    node.hideControlPanel()
    node.showControlPanel()
    assert node["clicks_shown"].value() not in ("", "none")
    refused(artist, node)
    artist.press(node, "clear_clicks")
    assert node["clicks_shown"].value() == "no points, no boxes"


# --- found by the thread or told by the server


def fails(artist: Any, node: Any) -> str:
    """Solve until it has failed; the status."""
    artist.press(node, "solve")
    return str(artist.wait(node, "failed"))


def test_missing_frames(artist, tmp_path):
    write_plate(tmp_path, range(1001, 1004))
    write_plate(tmp_path, range(1005, 1007))
    node = artist.void(artist.read(f"{tmp_path.as_posix()}/plate.%04d.exr"))
    artist.click(node)
    status = fails(artist, node)
    assert "1 plate frame is missing (1004)" in status
    assert "Render what is missing" in status
    assert [text for text in artist.said() if "1004" in text], "the click gets its answer"


def test_a_key_that_the_server_does_not_know(artist, plate, tmp_path, monkeypatch):
    pair = keys.make_pair(tmp_path / "stranger", "stranger")
    monkeypatch.setenv("VOID_NUKE_KEY_FILE", str(tmp_path / "stranger" / "stranger.key_secret"))
    node = artist.void(artist.read(plate))
    artist.click(node)
    status = fails(artist, node)
    assert "refused this key" in status
    assert "Nothing was lost." in status
    artist.press(node, "test_server")
    artist.standin.pump(lambda: node["server_said"].value() not in ("-", "asking…"))
    assert "void keys allow" in node["server_said"].value()
    assert keys.spelled(pair.public) in node["server_said"].value()


def test_a_key_that_is_allowed_later_works_at_once(artist, server, plate, tmp_path, monkeypatch):
    pair = keys.make_pair(tmp_path / "stranger", "later")
    monkeypatch.setenv("VOID_NUKE_KEY_FILE", str(tmp_path / "stranger" / "later.key_secret"))
    node = artist.void(artist.read(plate))
    artist.click(node)
    fails(artist, node)
    keys.allow(server.data / "keys" / "clients", "later", pair.public)
    artist.solve(node, "masks ready")
    keys.revoke(server.data / "keys" / "clients", "later")
    artist.press(node, "approve")
    assert "key" in artist.wait(node, "failed")
    assert len(ordering.store_of(VoidNode(node)).pending()) == 1, "the job is found again once the key is allowed"
    keys.allow(server.data / "keys" / "clients", "later", pair.public)
    artist.press(node, "reload")
    artist.wait(node, "masks ready")


def test_no_key_at_all(artist, plate, tmp_path, monkeypatch):
    monkeypatch.setenv("VOID_NUKE_KEY_FILE", str(tmp_path / "nothing.key_secret"))
    node = artist.void(artist.read(plate))
    artist.click(node)
    assert "There is no key at" in fails(artist, node)


def test_a_fault_in_the_studio_file(artist, plate, tmp_path, monkeypatch):
    studio = tmp_path / "studio.yaml"
    studio.write_text("engin: void\n")
    monkeypatch.setenv("VOID_STUDIO_CONFIG", str(studio))
    node = artist.void(artist.read(plate))
    artist.click(node)
    text = refused(artist, node)
    assert "'engin' is not known" in text
    assert "Ask your TD" in text


def test_an_engine_that_the_server_lacks(artist, plate):
    node = artist.void(artist.read(plate))
    node["segmenter"].setValue("sam2")
    artist.click(node)
    status = fails(artist, node)
    assert "Choose another engine, segmenter or reasoner on the Server tab" in status


def test_an_upstream_that_cannot_be_rendered(artist, tmp_path):
    pattern = write_plate(tmp_path, range(1001, 1004))
    grade = artist.nuke.nodes.Grade(inputs=[artist.read(pattern)])
    node = artist.void(grade)
    artist.click(node)
    text = refused(artist, node)
    assert text.startswith("The plate could not be rendered: ")
    assert "Nothing was sent." in text
    assert node.node("ExportPlate")["disable"].value() is True


def test_a_folder_that_cannot_be_written(artist, plate):
    (artist.project / "void").write_text("a file in the way")
    node = artist.void(artist.read(plate))
    artist.click(node)
    assert "cannot be written" in fails(artist, node)


def test_a_full_disk_keeps_the_job_and_the_next_solve_fetches_it(artist, plate, monkeypatch):
    """The disk is full when the result arrives: there is a state for it, and the next solve only downloads."""
    from void_client import client as client_module

    node = artist.void(artist.read(plate))
    node["review"].setValue(False)
    artist.click(node)
    whole = client_module.Client._fetch_file

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(client_module.Client, "_fetch_file", full)
    status = fails(artist, node)
    assert "The disk is full" in status
    assert "Nothing is lost: solve again once there is room" in status
    job = node["job_id"].value()
    monkeypatch.setattr(client_module.Client, "_fetch_file", whole)
    assert artist.solve(node).startswith("ready v001")
    assert node["job_id"].value() == job


def test_a_result_that_made_room_for_others(artist, server, plate):
    node = artist.void(artist.read(plate))
    artist.click(node, 1002)
    artist.solve(node, "masks ready")
    job = node["job_id"].value()
    artist.press(node, "approve")
    from void_nuke import office

    office.close()  # Nuke is closed while the server works
    with Client(server.settings) as client:
        wait_until(lambda: client.status(job)[0].state == "done", "the job")
    shutil.rmtree(server.data / "results" / job)
    artist.press(node, "reload")
    status = artist.wait(node, "failed")
    assert "Solve again: what the server still has of it is reused." in status


def test_a_version_whose_files_are_gone(artist, plate):
    node = artist.void(artist.read(plate))
    node["review"].setValue(False)
    artist.click(node)
    artist.solve(node)
    shutil.rmtree(Path(node["result_file"].value()).parent)
    assert "The files of v001 are not on disk any more." in refused(artist, node, "create_read")


# --- the tables


def told(error: BaseException) -> Told:
    return explain(error)


def test_which_side_is_too_old():
    newer = told(VersionMismatch("x", details={"versions": [2, 1]}))
    assert newer.what.startswith("The plugin is too old")
    assert newer.do == "Ask your TD to update the plugin. Nothing was lost."
    older = told(VersionMismatch("x", details={"versions": [0, 1]}))
    assert older.what.startswith("The server is too old")
    assert told(VersionMismatch("They differ.", hint="Update one.")).what == "They differ."


def test_every_error_of_the_tree_has_a_state_and_says_what_to_do():
    for code, cls in by_code().items():
        if code in ("retry", "protocol", "bad_message", "not_verified"):
            continue  # never raised themselves, or never by what the node does
        assert code in FROM_SERVER, code
        said = told(cls("It happened."))
        assert said.state in states.ALL
        assert said.what
        if code not in ("bad_input", "version_mismatch"):
            assert said.do, code


def test_every_row_of_what_the_plugin_finds_is_a_sentence():
    names = "kind has wanted views text plate x y width height why there folder version name space".split()
    values: dict[str, Any] = {**dict.fromkeys(names, "X"), "why": "it is so."}
    for key in FOUND_HERE:
        said = told(failure(key, **values))
        assert said.key == key
        assert said.what.endswith("."), said.what
        assert said.do.endswith("."), said.do


@pytest.mark.parametrize(
    ("error", "state", "part"),
    [
        (WorkerDied("The worker ended."), states.FAILED, "send your TD the job id"),
        (JobFailed("It failed."), states.FAILED, "Solve again"),
        (DiskFull("Full."), states.FAILED, "Nothing is lost"),
        (InputError("Bad.", hint="Mend it."), states.FAILED, "Mend it."),
        (VoidError("Odd."), states.FAILED, "send your TD the job id"),
        (ValueError("a fault"), states.FAILED, "Tell your TD"),
    ],
)
def test_what_is_said(error, state, part):
    said = told(error)
    assert said.state == state
    assert part in str(said)
    assert messages.explain(error).as_state("j").job_id == "j"


def test_without_the_interface_it_is_raised(standin, server, plate, tmp_path, monkeypatch):
    standin.reset(gui=False)
    import nuke
    from void_nuke import actions

    point_at(monkeypatch, server, tmp_path)
    nuke.pluginAddPath(str(Path(__file__).parents[3] / "gizmos"))
    nuke.scriptSaveAs((tmp_path / "a.nk").as_posix(), 1)
    node = nuke.createNode("VOID", inpanel=False)
    with pytest.raises(InputError, match="Nothing is connected"):
        actions.solve(node)
    assert standin.shown_texts() == []


def test_the_manual_has_every_message():
    text = (REPOSITORY / "docs" / "artist.md").read_text(encoding="utf-8")
    begin, end = "void_nuke.messages.manual() -->\n", "\n<!-- end of the tables -->"
    assert text[text.index(begin) + len(begin) : text.index(end)] == messages.manual()


def test_every_message_is_one_that_can_come():
    code = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "nuke_plugin" / "void_nuke").glob("*.py"))
    for key in FOUND_HERE:
        assert f'failure("{key}"' in code, key
