"""Several nodes, cancelling in every state, servers that die, and Nukes that are closed in the middle."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from small_shots import Server, read_exr, wait_until, write_matte
from void_client.client import Client
from void_client.result_store import NodeStore
from void_nuke import ordering, staleness, states
from void_nuke.node import VoidNode


@contextmanager
def held(server: Server) -> Iterator[None]:
    """The server's worker does nothing meanwhile."""
    with Client(server.settings) as client:
        pid = int(wait_until(lambda: client.health()["workers"][0].get("pid"), "a worker"))
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def store_of(node: Any) -> NodeStore:
    return ordering.store_of(VoidNode(node))


def job_state(server: Server, job_id: str) -> str:
    with Client(server.settings) as client:
        return client.status(job_id)[0].state


def test_two_nodes_at_once_each_get_their_own(artist, plate, no_swallowed):
    read = artist.read(plate)
    first, second = artist.void(read), artist.void(read)
    for node, seed in ((first, 1), (second, 2)):
        node["review"].setValue(False)
        node["seed"].setValue(seed)
        artist.click(node, 1003 + seed)
        artist.press(node, "solve")
    assert len([bar for bar in artist.standin.progress() if bar.open]) == 2
    artist.wait(first, "ready")
    artist.wait(second, "ready")
    assert first["result_file"].value() != second["result_file"].value()
    assert first["void_uuid"].value() in first["result_file"].value()
    assert not [bar for bar in artist.standin.progress() if bar.open]
    assert artist.said() == []


def test_a_queued_job_says_how_many_are_before_it_and_is_cancelled(artist, server, plate, no_swallowed):
    read = artist.read(plate)
    nodes = [artist.void(read) for _ in range(3)]
    with held(server):
        for seed, node in enumerate(nodes, 11):
            node["seed"].setValue(seed)
            artist.click(node, 1003)
            artist.press(node, "solve")
            artist.wait(node, "queued", "reasoning")
        last = nodes[-1]
        artist.standin.pump(lambda: last["status"].value() == "queued: 1 job before it")
        job = last["job_id"].value()
        artist.press(last, "cancel")
        assert last["status"].value().startswith("cancelled. You cancelled the job. Solve again when you like")
        wait_until(lambda: job_state(server, job) == "cancelled", "the server to hear of it")
    artist.wait(nodes[0], "masks ready")
    assert artist.said() == []


def test_cancelling_a_review_gives_the_output_back(artist, server, plate, no_swallowed):
    node = artist.void(artist.read(plate))
    node["output"].setValue("generated")
    artist.click(node)
    artist.solve(node, "masks ready")
    assert node["output"].value() == "generated", "the artist's choice"
    assert node.node("OutputSwitch")["which"].value() == 2, "the quadmask is shown"
    job = node["job_id"].value()
    artist.press(node, "cancel")
    assert VoidNode(node).state.name == states.CANCELLED
    assert node["output"].value() == "generated"
    assert node["mask_file"].value() == ""
    assert node.node("OutputSwitch")["which"].value() == 1
    wait_until(lambda: job_state(server, job) == "cancelled", "the server to hear of it")
    assert store_of(node).pending() == ()


def test_a_review_upstream_is_nothing_to_the_node_below(artist, plate, tmp_path, no_swallowed):
    above = artist.void(artist.read(plate))
    above["seed"].setValue(44)
    below = artist.void(above)
    artist.click(below)
    before = staleness.fingerprint(VoidNode(below))
    artist.click(above)
    artist.solve(above, "masks ready")
    above.setInput(2, artist.read(write_matte(tmp_path)))
    assert staleness.fingerprint(VoidNode(below)) == before
    artist.press(below, "solve")
    (sent,) = (artist.project / "void").rglob("plate.1003.exr")
    assert read_exr(sent)[0]["R"] == read_exr(Path(plate % 1003))[0]["R"], "the plate, not the quadmask"
    assert above["mask_file"].value()


def test_the_progress_bar_cancels_too(artist, server, plate, no_swallowed):
    node = artist.void(artist.read(plate))
    node["seed"].setValue(13)
    artist.click(node)
    with held(server):
        artist.press(node, "solve")
        artist.wait(node, "queued", "reasoning")
        job = node["job_id"].value()
        assert artist.standin.cancel_progress("VOID1") == 1
        artist.wait(node, "cancelled")
        wait_until(lambda: job_state(server, job) in ("cancelled", "running"), "the server to hear of it")
    wait_until(lambda: job_state(server, job) == "cancelled", "the server to hear of it")


def test_solving_twice_is_told_and_solving_anew_replaces(artist, server, plate, no_swallowed):
    node = artist.void(artist.read(plate))
    node["seed"].setValue(14)
    artist.click(node)
    with held(server):
        artist.press(node, "solve")
        artist.wait(node, "queued", "reasoning")
        first = node["job_id"].value()
        artist.press(node, "solve")
        assert "still under way" in artist.said()[-1]
        node["seed"].setValue(15)
        artist.press(node, "solve")
        artist.standin.pump(lambda: node["job_id"].value() != first)
    artist.wait(node, "masks ready")
    assert job_state(server, first) == "cancelled"
    assert store_of(node).pending()[-1].job_id == node["job_id"].value()


def test_a_solve_that_cannot_be_sent_leaves_the_running_job_alone(artist, server, plate, no_swallowed):
    node = artist.void(artist.read(plate))
    node["seed"].setValue(43)
    artist.click(node)
    with held(server):
        artist.press(node, "solve")
        artist.wait(node, "queued", "reasoning")
        job = node["job_id"].value()
        node["mode"].setValue("use mattes")
        artist.press(node, "solve")
        assert "no matte is connected" in artist.said()[-1]
        assert VoidNode(node).state.under_way
    artist.wait(node, "masks ready")
    assert node["job_id"].value() == job
    artist.press(node, "solve")
    assert VoidNode(node).state.name == states.MASKS_READY, "the review still waits"


def test_a_job_cancelled_elsewhere_says_so(artist, server, plate, no_swallowed):
    node = artist.void(artist.read(plate))
    node["seed"].setValue(16)
    artist.click(node)
    with held(server):
        artist.press(node, "solve")
        artist.wait(node, "queued", "reasoning")
        with Client(server.settings) as client:
            client.cancel(node["job_id"].value())
    status = artist.wait(node, "cancelled")
    assert "cancelled elsewhere: in the queue, on the command line, or by your TD." in status
    assert artist.said() == [], "nobody clicked: no dialog"


def test_a_deleted_node_loses_no_result(artist, server, plate, no_swallowed):
    nuke = artist.nuke
    node = artist.void(artist.read(plate))
    node["review"].setValue(False)
    node["seed"].setValue(17)
    artist.click(node)
    with held(server):
        artist.press(node, "solve")
        artist.wait(node, "queued", "reasoning")
        nuke.delete(node)
        assert not [bar for bar in artist.standin.progress() if bar.open]
    nuke.undo()
    node = nuke.toNode("VOID1")
    assert artist.wait(node, "ready").startswith("ready v001"), "nobody pressed anything"


def waiting(artist: Any, server: Server, plate: str, seed: int) -> Any:
    """A node whose job waits at a server that does nothing: inside of ``held``."""
    node = artist.void(artist.read(plate))
    node["seed"].setValue(seed)
    artist.click(node)
    artist.press(node, "solve")
    artist.wait(node, "queued", "reasoning")
    return node


def test_a_node_that_was_cut_and_pasted_goes_on(artist, server, plate, tmp_path, no_swallowed):
    nuke, clip = artist.nuke, (tmp_path / "clip.nk").as_posix()
    with held(server):
        node = waiting(artist, server, plate, 45)
        uuid = node["void_uuid"].value()
        node.selectOnly()
        nuke.nodeCopy(clip)
        nuke.delete(node)
        nuke.nodePaste(clip)
    node = nuke.toNode("VOID1")
    artist.wait(node, "masks ready")
    assert node["void_uuid"].value() == uuid


def test_a_node_pasted_into_another_script_leaves_the_job_to_the_first(artist, server, plate, tmp_path, no_swallowed):
    nuke, clip = artist.nuke, (tmp_path / "clip.nk").as_posix()
    with held(server):
        node = waiting(artist, server, plate, 46)
        job, uuid = node["job_id"].value(), node["void_uuid"].value()
        node.selectOnly()
        nuke.nodeCopy(clip)
        nuke.scriptSave()
        nuke.scriptClear()
        artist.script("another_shot.nk")
        nuke.nodePaste(clip)
        copy = nuke.toNode("VOID1")
        assert copy["status"].value() == "not solved"
        assert copy["void_uuid"].value() != uuid
        copy.showControlPanel()
        artist.press(copy, "cancel")
        assert "No job of this node is under way" in artist.said()[-1]
    wait_until(lambda: job_state(server, job) == "review", "the first script's job")


def test_a_script_saved_under_quite_another_name_takes_its_job_along(artist, server, plate, no_swallowed):
    nuke = artist.nuke
    with held(server):
        waiting(artist, server, plate, 47)
        script = artist.script("quite_another.nk")
        nuke.scriptClear()
        nuke.scriptOpen(script.as_posix())
    artist.wait(nuke.toNode("VOID1"), "masks ready")


def test_a_server_that_dies_in_the_middle(artist, server, plate, no_swallowed):
    node = artist.void(artist.read(plate))
    node["review"].setValue(False)
    node["seed"].setValue(18)
    artist.click(node)
    with held(server):
        artist.press(node, "solve")
        artist.wait(node, "queued", "reasoning")
        server.kill()
    try:
        status = artist.wait(node, "server offline")
        assert "Nothing is lost: VOID goes on by itself when the server is back." in status
    finally:
        server.start()
    assert artist.wait(node, "ready").startswith("ready v001")
    assert artist.said() == []


@pytest.mark.parametrize("closed", [False, True])
def test_a_job_cancelled_while_the_server_is_away_is_cancelled_when_it_is_back(
    artist, server, plate, closed, no_swallowed
):
    nuke = artist.nuke
    with held(server):
        node = waiting(artist, server, plate, 48 + closed)
        job = node["job_id"].value()
        server.kill()
    try:
        artist.wait(node, "server offline")
        artist.press(node, "cancel")
        assert VoidNode(node).state.name == states.CANCELLED
        (record,) = store_of(node).pending()
        assert record.cancelled
        if closed:
            nuke.scriptSave()
            nuke.scriptClear()
    finally:
        server.start()
    if closed:
        nuke.scriptOpen((artist.project / "sh010_comp_v001.nk").as_posix())
        node = nuke.toNode("VOID1")
    wait_until(lambda: job_state(server, job) == "cancelled", "the server to hear of it")
    wait_until(lambda: store_of(node).pending() == (), "the record to go")
    assert VoidNode(node).state.name == states.CANCELLED


@pytest.mark.parametrize("saved_as", ["", "sh010_comp_v002.nk"])
def test_a_nuke_that_was_closed_finds_its_job_again(artist, server, plate, saved_as, no_swallowed):
    """Closed while the server works: the script is opened again, and the result comes. Also under another name."""
    nuke = artist.nuke
    node = artist.void(artist.read(plate))
    node["review"].setValue(False)
    node["seed"].setValue(19 + len(saved_as))
    artist.click(node)
    with held(server):
        artist.press(node, "solve")
        artist.wait(node, "queued", "reasoning")
        script = artist.script(saved_as) if saved_as else artist.project / "sh010_comp_v001.nk"
        nuke.scriptSave()
        nuke.scriptClear()
        nuke.scriptOpen(script.as_posix())
        node = nuke.toNode("VOID1")
        assert VoidNode(node).state.under_way
    assert artist.wait(node, "ready").startswith("ready v001")
    assert store_of(node).pending() == ()


def test_a_review_survives_closing_nuke(artist, plate, no_swallowed):
    nuke = artist.nuke
    node = artist.void(artist.read(plate))
    node["seed"].setValue(40)
    artist.click(node)
    artist.solve(node, "masks ready")
    nuke.scriptSave()
    nuke.scriptClear()
    nuke.scriptOpen((artist.project / "sh010_comp_v001.nk").as_posix())
    node = nuke.toNode("VOID1")
    artist.wait(node, "masks ready")
    node.showControlPanel()
    artist.press(node, "approve")
    artist.wait(node, "ready")
    assert node["output"].value() == "composite"


@pytest.mark.parametrize("button", ["approve", "reload"])
def test_in_a_terminal_nothing_is_left_to_a_thread(artist, server, standin, plate, button):
    from void_nuke import actions, office

    nuke = artist.nuke
    node = artist.void(artist.read(plate))
    node["seed"].setValue(53 + len(button))
    artist.click(node)
    artist.solve(node, "masks ready")
    job = node["job_id"].value()
    nuke.scriptSave()
    office.close()
    if button == "reload":
        with Client(server.settings) as client:
            client.approve(job)
    standin.reset(gui=False)
    nuke.scriptOpen((artist.project / "sh010_comp_v001.nk").as_posix())
    node = nuke.toNode("VOID1")
    getattr(actions, button)(node)
    assert node["status"].value().startswith("ready v001")
    assert node["result_file"].value()


def test_a_script_from_elsewhere_has_nothing_to_wait_for(artist, plate, no_swallowed):
    """A state that was saved in the middle, and no record of the job: the node says what to do."""
    nuke = artist.nuke
    node = artist.void(artist.read(plate))
    VoidNode(node).show(states.State(states.GENERATING, step=3, of=9, job_id="gone"))
    nuke.scriptSave()
    nuke.scriptClear()
    nuke.scriptOpen((artist.project / "sh010_comp_v001.nk").as_posix())
    status = nuke.toNode("VOID1")["status"].value()
    assert status == "not solved. The job that this node waited for is not on record any more. Solve again."


def test_a_result_that_another_program_placed_is_shown(artist, server, plate, no_swallowed):
    """The script was closed in the middle, and the result was placed before it was opened again."""
    nuke = artist.nuke
    node = artist.void(artist.read(plate))
    node["review"].setValue(False)
    node["seed"].setValue(81)
    artist.click(node)
    with held(server):
        artist.press(node, "solve")
        artist.wait(node, "queued", "reasoning")
        artist.standin.pump(lambda: bool(node["job_id"].value()))
        job, store = node["job_id"].value(), store_of(node)
        nuke.scriptSave()
        nuke.scriptClear()
    with Client(server.settings) as client:
        client.wait(job)
        store.place(client.manifest(job), lambda folder: client.download(job, folder))
    store.forget(job)
    nuke.scriptOpen((artist.project / "sh010_comp_v001.nk").as_posix())
    node = nuke.toNode("VOID1")
    assert node["status"].value() == "ready v001"
    artist.standin.idle()
    assert VoidNode(node).state.name == states.READY
