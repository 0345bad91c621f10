"""What the artist reads of each state: in the status, on the node, in its colour. And the rarer ends of a solve."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from small_shots import REPOSITORY, wait_until
from void_client import messages as m
from void_client import wire
from void_client.keys import make_pair
from void_nuke import description, ordering, plain_text, staleness, states
from void_nuke.node import VoidNode
from void_nuke.states import State


@pytest.mark.parametrize(
    ("state", "status", "label"),
    [
        (State(), "not solved", "not solved"),
        (State(states.EXPORTING, "Sending the plate.", step=40, of=100), "exporting 40 of 100. Sending the plate.",
         "exporting"),
        (State(states.QUEUED), "queued: next", "queued"),
        (State(states.QUEUED, before=1), "queued: 1 job before it", "queued 1"),
        (State(states.QUEUED, before=3), "queued: 3 jobs before it", "queued 3"),
        (State(states.REASONING, "Following the object."), "reasoning. Following the object.", "reasoning"),
        (State(states.MASKS_READY, "It is shown."), "masks ready. It is shown.", "masks ready"),
        (State(states.GENERATING, step=12, of=100, eta_s=170.0), "generating 12 of 100, about 3 min left",
         "generating 12/100"),
        (State(states.READY, version="v003"), "ready v003", "ready v003"),
        (State(states.STALE, "It changed.", version="v003"), "stale v003. It changed.", "stale v003"),
        (State(states.FAILED, "It broke.", "Mend it."), "failed. It broke. Mend it.", "failed"),
        (State(states.CANCELLED), "cancelled", "cancelled"),
        (State(states.OFFLINE, "Nobody answers."), "server offline. Nobody answers.", "server offline"),
    ],
)  # fmt: skip
def test_every_state_reads_well(state, status, label):
    assert state.text() == status
    assert state.label() == label
    assert State.from_json(state.to_json()) == state
    assert state.colour == {each.name: each.tile for each in description.STATES}[state.name]


def test_the_states_are_those_of_the_description():
    assert [each.name for each in description.STATES] == list(states.ALL)


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "about 1 s"), (80, "about 80 s"), (600, "about 10 min"),
                                                (9000, "about 2.5 h")])  # fmt: skip
def test_time_is_spoken(seconds, words):
    assert states.spoken(seconds) == words


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "odd"}', "null"])
def test_a_state_that_cannot_be_read_is_not_solved(text):
    assert State.from_json(text) == State()


def test_data_survives_what_tcl_would_make_of_it(artist):
    text = '{"a": [1, "$x \\\\ %5B [exec rm] }{"]}'
    assert plain_text.unpacked(plain_text.packed(text)) == text
    assert not set("[]$\\") & set(plain_text.packed(text))
    node = VoidNode(artist.void())
    node.show(State(states.FAILED, "The file /a[1]/$b is not there."))
    assert node.node["status"].value() == "failed. The file /a(1)/b is not there."
    assert node.state.what == "The file /a[1]/$b is not there."


def test_progress_is_told_on_the_way(artist, plate, no_swallowed):
    node = artist.void(artist.read(plate))
    node["review"].setValue(False)
    node["seed"].setValue(71)
    artist.click(node)
    artist.press(node, "solve")
    assert node["status"].value() == "exporting. Reading the plate."
    assert VoidNode(node).state.name == states.EXPORTING
    artist.wait(node, "ready")
    (bar,) = artist.standin.progress()
    assert bar.title == "VOID: VOID1"
    assert any(text.startswith("reasoning") for text in bar.messages)
    assert any(text.startswith("generating") for text in bar.messages)
    assert not bar.open


def test_a_review_of_an_earlier_set_up_says_so(artist, standin, plate, no_swallowed):
    node = artist.void(artist.read(plate))
    node["seed"].setValue(72)
    artist.click(node)
    artist.solve(node, "masks ready")
    assert staleness.SHOWN in node["status"].value()
    node["grow"].setValue(4)
    standin.idle()
    assert (
        node["status"]
        .value()
        .startswith("masks ready. The quadmask is of the node before your change. Solve again, or approve it as it is.")
    )
    node["grow"].setValue(0)
    standin.idle()
    assert staleness.SHOWN in node["status"].value()
    node["grow"].setValue(4)
    artist.press(node, "approve")
    artist.standin.pump(lambda: bool(node["result_file"].value()), 60)
    standin.idle()
    assert VoidNode(node).state.name == states.STALE, "what came is of the node before the change"


def test_stopping_an_export(artist, plate, no_swallowed):
    nuke = artist.nuke
    node = artist.void(nuke.nodes.Grade(inputs=[artist.read(plate)]))
    artist.click(node)
    nuke.addBeforeFrameRender(nuke.cancel)
    try:
        artist.press(node, "solve")
    finally:
        nuke.removeBeforeFrameRender(nuke.cancel)
    assert node["status"].value() == "cancelled. The export was cancelled. Solve when you like."
    assert node.node("ExportPlate")["disable"].value() is True


def test_what_arrives_while_nuke_renders_waits_for_its_end(artist, standin, plate, tmp_path, no_swallowed):
    from standin import threads

    nuke = artist.nuke
    node = artist.void(artist.read(plate))
    node["review"].setValue(False)
    node["seed"].setValue(73)
    artist.click(node)
    write = artist.write(node.input(0), tmp_path)
    told: list[str] = []

    def frame() -> None:
        time.sleep(0.3)
        threads.run_waiting()
        told.append(node["void_state"].value())

    artist.press(node, "solve")
    nuke.addBeforeFrameRender(frame)
    try:
        nuke.execute(write, 1001, 1006)
    finally:
        nuke.removeBeforeFrameRender(frame)
    assert len(set(told)) == 1, "no knob changed under the render"
    artist.wait(node, "ready")


def test_a_busy_main_thread_finds_one_report_and_no_backlog(artist, plate, no_swallowed):
    from standin.state import S

    node = artist.void(artist.read(plate))
    node["review"].setValue(False)
    node["seed"].setValue(74)
    artist.click(node)
    artist.press(node, "solve")

    wait_until(lambda: ordering.store_of(VoidNode(node)).versions(), "the result on disk")
    assert len(S.calls) <= 1
    artist.wait(node, "ready")


def test_knobs_are_written_once_a_second_and_the_bar_at_each_report(artist, plate, no_swallowed):
    from void_nuke import office, updates
    from void_nuke.sessions import Report

    node = artist.void(artist.read(plate))
    artist.click(node)
    artist.press(node, "solve")
    job = office.running(node["void_uuid"].value())
    job.stop.set()  # what follows is told by this test alone
    job.thread.join()
    office.take(job)
    for step in (1, 2, 3):
        updates.apply(job, Report(State(states.GENERATING, step=step, of=4)))
    (bar,) = artist.standin.progress()
    assert bar.percent == 75
    assert VoidNode(node).state.step == 1
    updates.apply(job, Report(State(states.QUEUED)))
    assert VoidNode(node).state.name == states.QUEUED


def test_solving_while_nuke_renders(artist, plate, tmp_path):
    from void_nuke import actions

    nuke = artist.nuke
    node = artist.void(artist.read(plate))
    artist.click(node)
    write = artist.write(node.input(0), tmp_path)

    def solve() -> None:
        actions.solve(node)

    nuke.addBeforeRender(solve)
    try:
        nuke.execute(write, 1001, 1001)
    finally:
        nuke.removeBeforeRender(solve)
    assert artist.said() == ["VOID: Nuke is rendering right now. Wait for the render to end, then solve."]


def test_nuke_indie_is_told(artist, plate, monkeypatch):
    from standin.state import S

    node = artist.void(artist.read(plate))
    artist.click(node)
    monkeypatch.setattr(S, "indie", True)
    artist.press(node, "solve")
    assert "Nuke Indie lets Python work on scripts of ten nodes at most" in artist.said()[-1]


def test_a_node_of_a_newer_plugin(artist, plate):
    node = artist.void(artist.read(plate))
    node["void_node"].setValue(99)
    artist.press(node, "solve")
    assert "made by a newer version of the plugin. Ask your TD to update the plugin." in artist.said()[-1]


def test_the_nodes_scripts_leave_the_artists_names_alone(artist, plate, monkeypatch):
    """Nuke runs them in ``__main__``, where the Script Editor's names are."""
    import __main__

    monkeypatch.setattr(__main__, "actions", "the artist's own", raising=False)
    monkeypatch.setattr(__main__, "problem", "the artist's own", raising=False)
    node = artist.void(artist.read(plate))
    artist.click(node)
    assert node["void_clicks"].value()
    assert __main__.actions == __main__.problem == "the artist's own"


@pytest.mark.parametrize("name", ["firstFrame", "first_frame"])
def test_the_frame_of_a_framehold_is_found_under_either_name(nuke, name):
    from void_nuke import deliveries

    hold = nuke.nodes.NoOp()
    hold.addKnob(nuke.Int_Knob(name))
    assert deliveries._held(hold).name() == name


# --- a server that is not ours


@pytest.fixture
def strange_server(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A ROUTER that answers every request in version 9 of the protocol."""
    pair = make_pair(tmp_path / "strange", "server")
    context = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.linger = 0
    socket.curve_server = True
    socket.curve_publickey, socket.curve_secretkey = pair.public.encode(), pair.secret.encode()
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            if socket.poll(50):
                peer, head, *_ = socket.recv_multipart()
                asked = wire.unpack(head, wire.LIMITS)
                socket.send_multipart([peer, wire.pack({**asked, "void": 9})])

    thread = threading.Thread(target=serve)
    thread.start()
    yield {"endpoint": f"tcp://127.0.0.1:{port}", "key": pair.public}
    stop.set()
    thread.join()
    socket.close()
    context.term()


def test_a_server_of_another_version_says_which_side_to_update(artist, plate, strange_server, monkeypatch):
    monkeypatch.setenv("VOID_NUKE_ENDPOINT", strange_server["endpoint"])
    monkeypatch.setenv("VOID_NUKE_SERVER_KEY", strange_server["key"])
    node = artist.void(artist.read(plate))
    artist.click(node)
    artist.press(node, "solve")
    status = artist.wait(node, "failed")
    assert "The plugin is too old" in status
    assert f"speaks version {m.PROTOCOL}, the server 9. Ask your TD to update the plugin." in status


def test_the_test_button_tells_the_td_all(artist, server, no_swallowed):
    node = artist.void()
    artist.press(node, "test_server")
    assert node["server_said"].value() == "asking…"
    artist.standin.pump(lambda: "answers in" in node["server_said"].value())
    said = node["server_said"].value()
    assert said.startswith(f"{server.endpoint} answers in ")
    assert "protocol 1. Your key is allowed." in said
    assert "Workers: cpu" in said
    node["endpoint"].setValue("tcp://127.0.0.1:9")
    artist.press(node, "test_server")
    assert "is not in the plugin's settings" in artist.said()[-1]


# --- what the plugin needs


def test_the_plugin_needs_no_pixels(tmp_path):
    """Every module but Qt's imports where numpy, torch, OpenEXR and their like cannot be imported."""
    code = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'numpy', 'torch', 'OpenEXR', 'OpenImageIO', 'cv2', 'av', 'PIL'}:\n"
        "            raise ImportError(f'{name} is not in Nuke')\n"
        "sys.meta_path.insert(0, Blocked())\n"
        f"sys.path[:0] = [{str(REPOSITORY / 'nuke_plugin')!r}, {str(REPOSITORY / 'tests' / 'nuke_standin')!r}]\n"
        "import pkgutil, importlib, void_nuke\n"
        "names = [each.name for each in pkgutil.iter_modules(void_nuke.__path__) if each.name != 'queue_panel']\n"
        "for name in names: importlib.import_module(f'void_nuke.{name}')\n"
        "assert len(names) > 25, names\n"
        "assert not {'numpy', 'torch', 'OpenEXR'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
