"""``void render`` as a farm's unit: nothing is done twice, a kill loses nothing, the farm hears how far it is."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers.servers import PATIENCE_S, RunningServer, digests, free_port, resolve, run_void, wait_until, write_shot
from void_client.errors import JobError
from void_client.manifest import ResultManifest
from void_client.path_rules import read_rules
from void_client.result_store import NodeStore

STAGES = ("ingest", "quadmask", "generate", "restore")


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shot whose generation takes long enough to be stopped in. Read only."""
    return write_shot(tmp_path_factory.mktemp("moving"), width=240, height=136, frames=6)


@pytest.fixture(scope="module")
def whole(moving: Path, server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """What an uninterrupted run of it delivers."""
    with server.client() as client:
        return digests(client.run("whole", resolve(moving), tmp_path_factory.mktemp("whole") / "out"))


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "VOID_CONFIG_DIR", "VOID_STATE_DIR", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


def job_file(folder: Path, shot: Path, **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "job.json"
    values = {"plate": f"{shot}/plate.%04d.exr", "quadmask": f"{shot}/quadmask.%04d.exr", "shot": "sh010", **more}
    file.write_text(json.dumps(values))
    return file


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file's inode and time of change."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def counters(data: Path) -> dict[str, int]:
    with closing(sqlite3.connect(data / "journal.sqlite")) as db:
        return dict(db.execute("SELECT name, value FROM counters").fetchall())


def last(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


class Render:
    """``void render --json`` that is listened to while it runs."""

    def __init__(self, *arguments: str | Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "void_cli.main", "render", *map(str, arguments), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until(self, seen: Callable[[dict[str, Any]], bool]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if seen(json.loads(line)):
                return
        raise AssertionError(f"it ended before: {self.process.communicate()[1]}")

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode


def at(stage: str, step: int = 0, state: str = "") -> Callable[[dict[str, Any]], bool]:
    def seen(record: dict[str, Any]) -> bool:
        if record.get("stage") != stage:
            return False
        return record.get("state") == state if state else record.get("step", -1) >= step

    return seen


# --- nothing twice


def test_a_finished_shot_runs_no_stage_and_no_file_of_it_is_written(server, shot, tmp_path):
    arguments = ["render", job_file(tmp_path, shot, seed=301), "--out", tmp_path / "out", "--json"]
    connection = ["--connection", server.connection]
    first = last(run_void(*arguments, *connection))
    with server.client() as client:
        before, written = client.metrics(), stamps(tmp_path / "out")
        second = last(run_void(*arguments, *connection))
        assert client.metrics() == before
    assert stamps(tmp_path / "out") == written
    assert (first["finished_before"], second["finished_before"]) == (False, True)
    assert second["job"] == first["job"]


def test_a_finished_shot_starts_no_server(shot, tmp_path):
    arguments = ["render", job_file(tmp_path, shot, out="out", seed=302), "--json"]
    assert not last(run_void(*arguments))["finished_before"]
    written = stamps(tmp_path)
    assert last(run_void(*arguments))["finished_before"]
    assert stamps(tmp_path) == written
    # A frame that changed on disk is no finished work.
    (tmp_path / "out" / "plate.1003.exr").write_bytes(b"rot")
    assert not last(run_void(*arguments))["finished_before"]
    ResultManifest.read(tmp_path / "out").verify(tmp_path / "out")


def test_anew_makes_a_finished_shot_again(server, shot, tmp_path):
    arguments = ["render", job_file(tmp_path, shot, seed=304), "--out", tmp_path / "out", "--json", "--connection",
                 server.connection]  # fmt: skip
    first = last(run_void(*arguments))
    again = last(run_void(*arguments, "--anew"))
    assert again["job"] != first["job"]
    assert not again["finished_before"]


@pytest.mark.slow
def test_two_renders_of_one_folder_at_once_do_the_work_once(shot, tmp_path):
    data = tmp_path / "data"
    file = job_file(tmp_path, shot, out="out", seed=305)
    command = [sys.executable, "-m", "void_cli.main", "render", str(file), "--json", "--data", str(data)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [process.communicate(timeout=PATIENCE_S) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert sorted(json.loads(out.splitlines()[-1])["finished_before"] for out, _ in ends) == [False, True]
    assert {stage: counters(data)[f"stages_done.{stage}"] for stage in STAGES} == dict.fromkeys(STAGES, 1)


# --- kills

KILLS = {
    "in ingest": at("ingest", state="running"),
    "in generate": at("generate", 3),
    "in restore": at("restore", state="running"),
    "in deliver": at("deliver", state="running"),
    "once done": lambda record: record.get("event") == "done",
    "in download": at("download", 1),
}


@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=[] if point == "in generate" else pytest.mark.slow) for point in KILLS]
)
def test_a_killed_render_goes_on_where_it_was(point, moving, whole, tmp_path):
    data = tmp_path / "data"
    arguments = [job_file(tmp_path, moving, out="out"), "--data", data]
    render = Render(*arguments)
    render.until(KILLS[point])
    assert render.end(signal.SIGKILL) == -signal.SIGKILL
    done = last(run_void("render", *arguments, "--json"))
    assert digests(ResultManifest.read(Path(done["out"]))) == whole
    ResultManifest.read(tmp_path / "out").verify(tmp_path / "out")
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
    # No stage is finished twice; of one that ended with the kill the server may not have heard.
    counted = counters(data)
    assert all(counted.get(f"stages_done.{stage}", 0) <= 1 for stage in STAGES)
    assert counted["jobs_done"] == 1


@pytest.mark.slow
def test_a_render_that_is_killed_again_and_again_ends_whole(moving, whole, tmp_path):
    """At times that nobody chose: each try goes further than the one before, or at least not back."""
    chance = random.Random(7)
    command = [sys.executable, "-m", "void_cli.main", "render", str(job_file(tmp_path, moving, out="out"))]
    command += ["--data", str(tmp_path / "data")]
    for _ in range(12):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(chance.uniform(0.3, 5.0))
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
    assert run_void(*command[3:]).returncode == 0
    manifest = ResultManifest.read(tmp_path / "out")
    manifest.verify(tmp_path / "out")
    assert digests(manifest) == whole
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_a_killed_client_finds_its_job_on_the_server(server, moving, tmp_path):
    arguments = [job_file(tmp_path, moving, out="out", seed=310), "--connection", server.connection]
    render = Render(*arguments)
    render.until(at("generate", 3))
    render.end(signal.SIGKILL)
    with server.client() as client:
        before = {job.job_id for job in client.status()}
        done = last(run_void("render", *arguments, "--json"))
        assert {job.job_id for job in client.status()} == before
        assert done["job"] in before
    ResultManifest.read(tmp_path / "out").verify(tmp_path / "out")


@pytest.mark.slow
def test_a_killed_server_under_a_render_holds_it_up_only(moving, whole, tmp_path):
    with RunningServer(tmp_path / "server") as own:
        render = Render(job_file(tmp_path, moving, out="out"), "--connection", own.connection)
        render.until(at("generate", 3))
        own.kill()
        own.start()
        _, said = render.process.communicate(timeout=PATIENCE_S)
        assert render.process.returncode == 0, said
        assert digests(ResultManifest.read(tmp_path / "out")) == whole


# --- SIGTERM


@pytest.mark.parametrize("where", [pytest.param("private", marks=pytest.mark.slow), "server"])
def test_sigterm_cancels_and_the_next_try_goes_on(where, server, moving, tmp_path):
    seed = {"private": 311, "server": 312}[where]
    place = ["--data", tmp_path / "data"] if where == "private" else ["--connection", server.connection]
    arguments = [job_file(tmp_path, moving, out="out", seed=seed), *place]
    render = Render(*arguments)
    render.until(at("generate", 3))
    assert render.end(signal.SIGTERM) == 5
    assert not (tmp_path / "out").exists()
    if where == "server":
        with server.client() as client:
            job = next(job for job in client.status() if job.job_id.startswith("render-"))
            assert job.state == "cancelled"
    done = run_void("render", *arguments, "--json")
    assert last(done)["job"].endswith("-2")
    states = [(r["stage"], r["state"]) for r in map(json.loads, done.stdout.splitlines()) if r.get("event") == "stage"]
    assert ("ingest", "cached") in states


# --- exit codes and what farms hear


@pytest.mark.slow
def test_exit_codes(shot, moving, tmp_path):
    file = job_file(tmp_path, shot, out="out")
    assert run_void("render", file, "--frames", "1-3").returncode == 2
    with RunningServer(tmp_path / "server", max_attempts=1) as own:
        away = ["--connection", own.connection, "--server", f"tcp://127.0.0.1:{free_port()}", "--timeout", "0.5"]
        assert run_void("render", file, *away).returncode == 3
        render = Render(job_file(tmp_path / "long", moving, out="out"), "--connection", own.connection)
        render.until(at("generate", 2))
        with own.client() as client:
            os.kill(client.health()["workers"][0]["pid"], signal.SIGKILL)
        out, _ = render.process.communicate(timeout=PATIENCE_S)
        assert render.process.returncode == 4
        assert json.loads(out.splitlines()[-1])["error"]["code"] == "worker_died"


def test_progress_says_stage_step_of_and_eta_and_never_falls(server, moving, tmp_path):
    file = job_file(tmp_path, moving, out="out", seed=321)
    done = run_void("render", file, "--connection", server.connection, "--json", "--progress", "openjd")
    lines = done.stdout.splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{")]
    steps = [record for record in records if "step" in record]
    assert all({"stage", "step", "of", "eta", "percent"} <= set(record) for record in steps)
    percents = [record["percent"] for record in steps]
    assert percents == sorted(percents)
    assert any(record["eta"] is not None and record["eta"] > 0 for record in steps)
    told = [float(line.split(": ")[1]) for line in lines if line.startswith("openjd_progress: ")]
    assert told == sorted(told)
    assert told[-1] <= 100.0
    assert any(line.startswith("openjd_status: generate ") for line in lines)


@pytest.mark.parametrize(("style", "words"), [("openjd", "openjd_fail: "), ("deadline", "Error: "), ("tractor", None)])
def test_a_failure_is_told_as_the_manager_wants_it(style, words, shot, tmp_path):
    done = run_void("render", job_file(tmp_path, shot, out="out"), "--frames", "1-3", "--progress", style)
    assert done.returncode == 2
    assert [line.split(": ")[0] + ": " for line in done.stdout.splitlines()] == ([words] if words else [])


# --- where the node looks


def test_results_are_versions_in_the_nodes_store(server, shot, tmp_path):
    file = job_file(tmp_path, shot, seed=331, store=str(tmp_path / "project"), node="1234-abcd")
    connection = ["--connection", server.connection, "--json"]
    first = last(run_void("render", file, *connection))
    store = NodeStore.of(tmp_path / "project", "sh010", "1234-abcd")
    assert [version.name for version in store.versions()] == ["v001"]
    assert Path(first["out"]) == store.versions()[0].folder
    assert store.pending() == ()
    written = stamps(tmp_path / "project")
    assert last(run_void("render", file, *connection))["finished_before"]
    assert stamps(tmp_path / "project") == written
    other = last(run_void("render", file, *connection, "--seed", "332"))
    assert other["version"] == "v002"
    # A frame that rotted: the version is made again under its own name, the rotten one is kept aside.
    frame = store.versions()[0].folder / "plate.1002.exr"
    frame.write_bytes(bytes(frame.stat().st_size))
    assert last(run_void("render", file, *connection))["version"] == "v001"
    store.versions()[0].manifest.verify(store.versions()[0].folder)
    assert any(path.name.startswith(".damaged-v001") for path in store.root.iterdir())
    elsewhere = last(run_void("render", file, *connection, "--store", tmp_path / "project", "--node", "other"))
    assert "/other/v001_" in elsewhere["out"]


def test_a_quadmask_alone_is_no_version(shot, tmp_path):
    file = job_file(tmp_path, shot, store=str(tmp_path / "project"), node="n1")
    done = run_void("quadmask", file)
    assert done.returncode == 2
    assert "--out" in done.stderr


def test_a_store_needs_a_node(shot, tmp_path):
    done = run_void("render", job_file(tmp_path, shot), "--store", tmp_path)
    assert done.returncode == 2
    assert "--node" in done.stderr


# --- paths of other machines


@pytest.fixture
def mapping(shot: Path, tmp_path: Path) -> Path:
    """Path mapping rules as OpenJD hands them to a task."""
    rules = [
        {"source_path_format": "WINDOWS", "source_path": "Z:\\show", "destination_path": str(tmp_path)},
        {"source_path_format": "WINDOWS", "source_path": "z:\\show\\plates", "destination_path": str(shot)},
        {"source_path_format": "POSIX", "source_path": "/Volumes/show/plates", "destination_path": str(shot)},
    ]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"version": "pathmapping-1.0", "path_mapping_rules": rules}))
    return file


def test_path_mapping_reaches_every_path_of_the_shot_and_its_sidecar(server, shot, mapping, tmp_path):
    sidecar = tmp_path / "sidecar.yaml"
    matte = "/Volumes/show/plates/quadmask.%04d.exr"
    sidecar.write_text(f"n1:\n  overrides:\n  - {{frames: 1002, region: keep, mode: add, matte: {matte}}}\n")
    file = tmp_path / "job.json"
    values = {
        "plate": "Z:\\show\\plates\\plate.%04d.exr", "quadmask": "z:/show/plates/quadmask.####.exr", "seed": 341,
        "overrides": "Z:/show/sidecar.yaml", "section": "n1", "store": "Z:\\show", "node": "n1", "shot": "sh010",
    }  # fmt: skip
    file.write_text(json.dumps(values))
    assert run_void("render", file, "--connection", server.connection).returncode == 2
    done = run_void("render", file, "--connection", server.connection, "--path-mapping", mapping, "--json")
    record = last(done)
    assert record["out"].startswith(str(tmp_path / "void" / "sh010" / "n1" / "v001_"))
    manifest = ResultManifest.read(Path(record["out"]))
    (override,) = manifest.job["overrides"]
    assert override["matte"][0][0] == 1002
    by_variable = run_void("render", file, "--connection", server.connection, "--json", VOID_PATH_MAPPING=str(mapping))
    assert last(by_variable)["finished_before"]


def test_the_studios_own_path_map_counts_too(server, shot, tmp_path):
    studio = tmp_path / "studio.yaml"
    studio.write_text(json.dumps({"path_map": [{"windows": "Z:/plates", "linux": str(shot)}]}))
    file = job_file(tmp_path, Path("Z:/plates"), out=str(tmp_path / "out"), seed=342)
    done = run_void("render", file, "--connection", server.connection, "--json", VOID_STUDIO_CONFIG=str(studio))
    assert last(done)["frames"] == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "not a map"),
        ('{"version": "pathmapping-9"}', "pathmapping-9"),
        ('{"path_mapping_rules": 5}', "no list"),
        ('{"path_mapping_rules": [{"source_path": "/a"}]}', "rule 1"),
        (
            '{"path_mapping_rules": [{"source_path": "/a", "destination_path": "/b", "source_path_format": "X"}]}',
            "rule 1",
        ),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_used_are_told(text, words, tmp_path):
    (tmp_path / "rules.json").write_text(text)
    with pytest.raises(JobError, match=words) as told:
        read_rules(tmp_path / "rules.json")
    assert "rules.json" in told.value.message


# --- batch


@pytest.fixture
def shots(shot: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "shots"
    folder.mkdir()
    for number in (1, 2, 3):
        values = {"plate": f"{shot}/plate.%04d.exr", "quadmask": f"{shot}/quadmask.%04d.exr", "seed": 350 + number}
        (folder / f"sh0{number}.yaml").write_text(json.dumps(values))
    (folder / "void.yaml").write_text("overrides: []\n")
    return folder


def test_a_batch_goes_on_after_failures_and_a_second_one_does_what_is_left(shots, tmp_path):
    bad = shots / "sh02.yaml"
    good = bad.read_text()
    bad.write_text(good.replace("plate.%04d", "gone.%04d"))
    arguments = ["batch", shots, "--out", tmp_path / "out"]
    first = run_void(*arguments)
    assert first.returncode == 2, first.stderr
    table = [line.split() for line in first.stdout.splitlines()]
    assert [row[0] for row in table] == ["shot", "sh01", "sh02", "sh03"]
    assert [" ".join(row[1:3]) for row in table[1:]] == ["done 5", "bad input", "done 5"]
    assert "gone.%04d.exr" in first.stdout
    bad.write_text(good)
    written = stamps(tmp_path / "out")
    second = run_void(*arguments, "--json")
    assert second.returncode == 0, second.stderr
    records = [json.loads(line) for line in second.stdout.splitlines()]
    rows = [record for record in records if "seconds" in record]
    assert [(row["shot"], row["state"]) for row in rows] == [
        ("sh01", "done before"), ("sh02", "done"), ("sh03", "done before")
    ]  # fmt: skip
    assert records[-1] == {"shots": 3, "counts": {"done before": 2, "done": 1}, "exit_code": 0}
    after = stamps(tmp_path / "out")
    assert {name: after[name] for name in written} == written
    third = run_void(*arguments)
    assert third.returncode == 0
    assert stamps(tmp_path / "out") == after
    assert not list((tmp_path / "XDG_CACHE_HOME" / "void").glob("render-*/"))  # nothing is kept once all is done


def test_a_batch_over_a_server_solves_several_at_once(server, shots, tmp_path):
    done = run_void("batch", *sorted(shots.glob("sh*.yaml")), "--out", tmp_path / "out", "--jobs", "3", "--connection",
                    server.connection, "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in ("sh01", "sh02", "sh03"):
        ResultManifest.read(tmp_path / "out" / name).verify(tmp_path / "out" / name)
    shots_told = {json.loads(line).get("shot") for line in done.stdout.splitlines()}
    assert {"sh01", "sh02", "sh03"} <= shots_told


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_stopped_batch_cancels_all_in_order(number, moving, tmp_path):
    folder = tmp_path / "shots"
    folder.mkdir()
    for seed in (361, 362, 363):
        values = {"plate": f"{moving}/plate.%04d.exr", "quadmask": f"{moving}/quadmask.%04d.exr", "seed": seed}
        (folder / f"sh{seed}.json").write_text(json.dumps(values))
    interruptible = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from void_cli.main import main; sys.exit(main())"
    )
    with RunningServer(tmp_path / "server") as own:
        process = subprocess.Popen(
            [sys.executable, "-c", interruptible, "batch", str(folder), "--out", str(tmp_path / "out"), "--jobs", "2",
             "--json", "--connection", str(own.connection)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with own.client() as client:
            wait_until(lambda: [job.stage for job in client.status()].count("generate"), "a job in generate")
            wait_until(lambda: len(client.status()) == 2, "both jobs")
            process.send_signal(number)
            out, said = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 5, said
            assert {job.state for job in client.status()} == {"cancelled"}
    rows = [record for record in map(json.loads, out.splitlines()) if "seconds" in record]
    assert [row["state"] for row in rows] == ["cancelled", "cancelled", "not begun"]


@pytest.mark.slow
def test_shots_that_go_to_one_folder_are_refused_but_the_first(shots):
    for file in shots.glob("sh*.yaml"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "out": "../one"}))
    done = run_void("batch", shots, "--json")
    rows = [record for record in map(json.loads, done.stdout.splitlines()) if "seconds" in record]
    assert sorted(row["state"] for row in rows) == ["bad input", "bad input", "done"]


def test_two_shots_of_one_name_are_refused(shots, tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "sh01.yaml").write_text("plate: x.%04d.exr\n")
    assert run_void("batch", shots / "sh01.yaml", other / "sh01.yaml").returncode == 2
