"""Kills: a worker, a server or a client that dies in mid-job loses nothing and repeats no finished stage."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.servers import RunningServer, digests, follow_until, resolve, run_void, wait_until, worker_pid
from void_client.errors import ServerUnreachable, WorkerDied
from void_client.manifest import ResultManifest


@pytest.fixture
def running(tmp_path: Path):
    with RunningServer(tmp_path / "data") as server:
        yield server


def start_and_wait_for_generation(server: RunningServer, shot: Path, job_id: str) -> None:
    with server.client() as client:
        client.deliver(job_id, resolve(shot))
        follow_until(client, job_id, "progress", stage="generate")


def journal_says(data: Path, job_id: str) -> tuple[str, str]:
    """(state, stage) as they are on disk."""
    db = sqlite3.connect(data / "journal.sqlite")
    try:
        row = db.execute("SELECT state, stage FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
    finally:
        db.close()
    return row[0], row[1]


def assert_stages_ran_once(client, *stages: str) -> None:
    counters = client.metrics()
    assert {stage: counters[f"stages_done.{stage}"] for stage in stages} == dict.fromkeys(stages, 1)


def test_a_killed_workers_job_is_finished_by_the_next_one(running, long_shot, expected, tmp_path):
    start_and_wait_for_generation(running, long_shot, "job")
    assert journal_says(running.data, "job") == ("running", "generate")
    with running.client() as client:
        os.kill(worker_pid(client), signal.SIGKILL)
        client.wait("job")
        assert digests(client.download("job", tmp_path / "out")) == expected
        assert_stages_ran_once(client, "ingest", "quadmask", "generate", "restore")
        counters = client.metrics()
        assert counters["stages_running.generate"] == 2
        assert counters["stages_cached.ingest"] == 1
        assert counters["workers_died"] == 1


def test_a_killed_servers_job_is_finished_after_the_restart_and_its_events_go_on(
    running, long_shot, expected, tmp_path
):
    start_and_wait_for_generation(running, long_shot, "job")
    with running.client() as client:
        worker = worker_pid(client)
        seen = client.status("job")[0].last_seq
    running.kill()
    assert journal_says(running.data, "job") == ("running", "generate")
    wait_until(lambda: not Path(f"/proc/{worker}").exists() or _is_zombie(worker), "the end of the orphaned worker")
    running.start()
    with running.client() as client:
        events = list(client.events("job", after=seen))
        assert [event.seq for event in events] == list(range(seen + 1, seen + 1 + len(events)))
        assert events[0].data == {"reason": "the server was started again"}
        assert digests(client.download("job", tmp_path / "out")) == expected
        assert_stages_ran_once(client, "ingest", "quadmask", "generate", "restore")


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_an_open_client_reconnects_and_follows_through_a_restart(running, long_shot, expected, tmp_path):
    with running.client() as client:
        client.deliver("job", resolve(long_shot))
        restarted = False
        numbers = []
        for event in client.events("job"):
            numbers.append(event.seq)
            if not restarted and event.kind == "progress" and event.data["stage"] == "generate":
                running.kill()
                running.start()
                restarted = True
        assert restarted
        assert numbers == list(range(1, len(numbers) + 1))
        assert digests(client.download("job", tmp_path / "out")) == expected


def test_a_killed_clients_job_goes_on_and_a_new_client_fetches_it(running, long_shot, expected, tmp_path):
    command = [sys.executable, "-m", "void_cli.main", "render", "--connection", str(running.connection)]
    command += ["--plate", str(long_shot / "plate.%04d.exr"), "--quadmask", str(long_shot / "quadmask.%04d.exr")]
    command += ["--job-id", "job", "--out", str(tmp_path / "never")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    with running.client() as client:
        wait_until(lambda: any(job.job_id == "job" and job.stage == "generate" for job in client.status()), "the job")
    process.kill()
    process.wait()
    assert not (tmp_path / "never").exists()
    done = run_void("fetch", "job", "--connection", running.connection, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert digests(ResultManifest.read(tmp_path / "out")) == expected


def test_a_job_that_kills_its_worker_fails_after_three_tries_and_the_queue_goes_on(running, long_shot, shot, tmp_path):
    with running.client() as client:
        client.deliver("poison", resolve(long_shot))
        client.deliver("next", resolve(shot))
        kills = 0
        for event in client.events("poison"):
            if event.kind == "running":
                os.kill(worker_pid(client), signal.SIGKILL)
                kills += 1
        assert kills == 3
        with pytest.raises(WorkerDied, match="3 times"):
            client.wait("poison")
        client.wait("next")
        client.download("next", tmp_path / "out")


def test_a_hung_worker_is_killed_when_its_job_is_cancelled(tmp_path, long_shot):
    with RunningServer(tmp_path / "data", cancel_grace_s=0.5) as running, running.client() as client:
        client.deliver("job", resolve(long_shot))
        follow_until(client, "job", "progress", stage="generate")
        os.kill(worker_pid(client), signal.SIGSTOP)
        client.cancel("job")
        wait_until(lambda: client.status("job")[0].state == "cancelled", "the cancel")
        wait_until(lambda: client.health()["workers"][0]["state"] == "ready", "a new worker")


def test_a_cancel_is_kept_though_the_server_is_killed_before_the_worker_stopped(running, long_shot):
    start_and_wait_for_generation(running, long_shot, "job")
    with running.client() as client:
        os.kill(worker_pid(client), signal.SIGSTOP)
        stopped = worker_pid(client)
        client.cancel("job")
    running.kill()
    os.kill(stopped, signal.SIGKILL)
    running.start()
    with running.client() as client:
        assert client.status("job")[0].state == "cancelled"


def test_a_server_that_is_not_there_is_told_with_what_to_do(running):
    settings = running.settings
    running.stop()
    from dataclasses import replace

    from void_client.client import Client

    with Client(replace(settings, timeout_s=0.5)) as client, pytest.raises(ServerUnreachable, match="void serve"):
        client.hello()


def test_a_private_render_that_was_killed_goes_on_where_it_was(long_shot, expected, tmp_path):
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "VOID_CONFIG_DIR": str(tmp_path / "config")}
    arguments = ["render", "--plate", str(long_shot / "plate.%04d.exr"), "--out", str(tmp_path / "out")]
    arguments += ["--quadmask", str(long_shot / "quadmask.%04d.exr"), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "void_cli.main", *arguments],
        env={**os.environ, **cache},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if '"progress"' in line and '"generate"' in line:
            process.kill()
            break
    process.stdout.close()
    process.wait()
    assert not (tmp_path / "out").exists()
    work = next(path for path in (tmp_path / "cache" / "void").iterdir() if path.suffix != ".lock")
    wait_until(lambda: _unlocked(work / "lock"), "the end of the private server")
    done = run_void(*arguments, **cache)
    assert done.returncode == 0, done.stderr
    assert '"ingest", "state": "cached"' in done.stdout
    assert digests(ResultManifest.read(tmp_path / "out")) == expected
    assert not work.exists()


def _unlocked(path: Path) -> bool:
    import fcntl

    with path.open("r+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True
