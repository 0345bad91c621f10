"""A long shot's windows over the idle devices of a server: the same digests as on one, and the queue comes first."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.servers import RunningServer, digests, resolve, wait_until, write_shot
from helpers.tiny_void import TinyModel, write_tiny_model
from void_client.errors import MessageError
from void_client.manifest import ResultManifest
from void_server.lines import Borrowed, Line
from void_server.link import Link, pair

OPTIONS = {"height": 48, "width": 80, "window_frames": 13, "overlap_frames": 8, "crop": False, "detail": False}
LONG = {"steps": 50}
ENDLESS = {"passes": 2, "steps": 200, "steps_2": 200}  # longer than anything beside it; it is cancelled
SEEDS = (42, 5)


@pytest.fixture(scope="module", autouse=True)
def calm() -> Iterator[None]:
    """One thread: tiny models are slowed down, not sped up, by threads that wait for each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("MKL_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    return write_tiny_model(tmp_path_factory.mktemp("tiny-void"))


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shot(tmp_path_factory.mktemp("long") / "shot", width=96, height=64, frames=29)


@pytest.fixture(scope="module")
def alone(tiny: TinyModel, shots: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[int, str]]:
    """By seed. The second device stands idle, and without the setting nobody asks it."""
    folder, found = tmp_path_factory.mktemp("alone"), {}
    settings = {"models": tiny.root, "devices": "cpu:0,cpu:1"}
    with RunningServer(folder / "data", **settings) as server, server.client() as client:
        for seed in SEEDS:
            manifest = client.run(f"alone-{seed}", job(shots, seed, **LONG), folder / str(seed))
            assert helped(manifest) == []
            found[seed] = digests(manifest)
    return found


@pytest.fixture(scope="module")
def both(tiny: TinyModel, shots: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Two workers that have loaded the model: they help at once."""
    folder = tmp_path_factory.mktemp("both")
    with RunningServer(folder / "data", models=tiny.root, devices="cpu:0,cpu:1", spread="auto") as server:
        warm(server, shots)
        yield server


def warm(server: RunningServer, shots: Path) -> None:
    with server.client() as client:
        for name in ("one", "two"):
            client.deliver(name, job(shots, ord(name[0]), steps=1))
        for name in ("one", "two"):
            client.wait(name)


def job(shots: Path, seed: int = 42, **options: Any) -> Any:
    return resolve(shots, engine="void", options={**OPTIONS, **options}, prompt="an empty table", seed=seed)


def states(client: Any) -> dict[str, str]:
    return {worker["device"]: worker["state"] for worker in client.health()["workers"]}


def helped(manifest: ResultManifest) -> list[str]:
    found = manifest.facts["generate"]["regions"][0].get("helped_by", [])
    assert isinstance(found, list)
    return found


@pytest.mark.slow
def test_the_idle_device_helps_and_every_digest_is_that_of_one_device(both, alone, shots, tmp_path):
    with both.client() as client:
        client.deliver("long", job(shots, **LONG))
        wait_until(lambda: "lent" in states(client).values(), "help")
        client.wait("long")
        manifest = client.download("long", tmp_path / "long")
        assert digests(manifest) == alone[42]
        assert helped(manifest) == ["cpu"]
        wait_until(lambda: set(states(client).values()) == {"ready"}, "the end of the help")


@pytest.mark.slow
def test_a_job_that_waits_takes_the_device_back_at_once(both, shots, tmp_path):
    with both.client() as client:
        client.deliver("slow", job(shots, 1, **ENDLESS))
        wait_until(lambda: "lent" in states(client).values(), "help")
        client.deliver("short", job(shots, 2, steps=1))
        client.wait("short")
        assert client.status("slow")[0].state == "running"  # it went on alone, and is helped again
        wait_until(lambda: "lent" in states(client).values(), "help again")
        client.cancel("slow")
        wait_until(lambda: set(states(client).values()) == {"ready"}, "both devices free")
        assert client.metrics().get("workers_died", 0) == 0


@pytest.mark.slow
def test_a_helper_that_is_killed_and_a_worker_that_is_killed_lose_nothing(both, shots, alone, tmp_path):
    with both.client() as client:
        client.deliver("killed", job(shots, 5, **LONG))
        for state in ("lent", "busy"):
            worker = wait_until(lambda state=state: _pid(client, state), f"a worker that is {state}")
            wait_until(lambda: "lent" in states(client).values(), "help")
            os.kill(worker, signal.SIGKILL)
        client.wait("killed")
        assert digests(client.download("killed", tmp_path / "killed")) == alone[5]
        assert client.metrics()["workers_died"] == 2


def _pid(client: Any, state: str) -> int:
    return next((worker["pid"] for worker in client.health()["workers"] if worker["state"] == state), 0)


# --- the lines


def test_a_socket_goes_over_the_line_with_its_message():
    ours, theirs = pair()
    other = Link(theirs)
    near, far = socket.socketpair()
    ours.send("before", text="x" * 100_000)
    ours.send("lend", far, engine="void")
    ours.send("after")
    far.close()
    found: list[dict[str, Any]] = []
    while len(found) < 3:
        found += other.receive()
    assert [message["kind"] for message in found] == ["before", "lend", "after"]
    with found[1]["line"] as came, near:
        came.sendall(b"here")
        assert near.recv(4) == b"here"
        assert not came.get_inheritable()
    ours.close()
    other.close()


def test_a_message_that_says_it_brings_a_socket_and_does_not_is_nonsense():
    ours, theirs = pair()
    other = Link(theirs)
    ours._line.sendall(b"\x00\x00\x00\x11\x82\xa4kind\xa4lend\xa4line\xc3")
    with pytest.raises(MessageError, match="without it"):
        other.receive()
    ours.close()
    other.close()


def lines() -> tuple[Line, Line]:
    near, far = socket.socketpair()
    return Line(near), Line(far)


def test_messages_with_bytes_cross_and_the_end_is_seen():
    one, other = lines()
    data = os.urandom(3_000_000)
    sender = threading.Thread(target=one.send, args=({"kind": "windows", "windows": [[0, 4]]}, data))
    sender.start()
    assert other.receive() == ({"kind": "windows", "windows": [[0, 4]]}, data)
    sender.join()
    one.send({"kind": "empty"})
    one.close()
    assert other.receive() == ({"kind": "empty"}, b"")
    with pytest.raises(ConnectionError):
        other.receive()
    with pytest.raises(ConnectionError):
        other.send({"kind": "late"}, b"x" * 1_000_000)
    other.close()


def test_who_leaves_takes_no_more_but_may_still_answer():
    one, other = lines()
    other.leave()
    with pytest.raises(ConnectionError):
        other.receive()
    other.send({"kind": "outputs"}, b"last")
    assert one.receive() == ({"kind": "outputs"}, b"last")
    with pytest.raises(ConnectionError):
        one.send({"kind": "windows"}, b"more")
    one.close()
    other.close()


def test_whoever_waits_hears_that_the_line_is_broken_off():
    one, other = lines()
    ended = []

    def wait() -> None:
        try:
            one.receive()
        except ConnectionError:
            ended.append(True)

    waiting = threading.Thread(target=wait)
    waiting.start()
    one.break_off()
    waiting.join(10)
    assert ended == [True]
    one.close()
    other.close()


@pytest.mark.parametrize(
    "bytes_",
    [b"\xff" * 12, b"\x00\x00\x00\x01" + b"\xff" * 8, b"\x00\x00\x00\x01" + b"\x00" * 8 + b"\xc0", b"\x00" * 5],
    ids=["a map too long", "bytes too many", "no map", "cut"],
)
def test_nonsense_on_a_line_ends_it(bytes_):
    near, far = socket.socketpair()
    line = Line(far)
    near.sendall(bytes_)
    near.close()
    with pytest.raises(ConnectionError):
        line.receive()
    line.close()


def test_help_that_comes_after_the_job_is_sent_away():
    asked: list[tuple[str, int]] = []
    borrowed = Borrowed(lambda job_id, count: asked.append((job_id, count)))
    borrowed.ask(2)
    assert asked == []  # no job
    borrowed.begin("job")
    borrowed.ask(2)
    assert asked == [("job", 2)]
    (one, far), (two, distant), (three, remote) = lines(), lines(), lines()
    borrowed.put("job", one)
    assert borrowed.arrived() == [one]
    assert borrowed.arrived() == []
    borrowed.put("job", two)
    borrowed.end()
    borrowed.put("job", three)
    for left in (distant, remote):
        with pytest.raises(ConnectionError):
            left.receive()
        left.close()
    one.close()
    far.close()
