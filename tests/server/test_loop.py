"""The whole path over real sockets and processes: client → CURVE → server → worker → engine → plates."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from helpers.servers import RunningServer, digests, follow_until, resolve, wait_until, worker_pid
from void_client.errors import EngineUnavailable, JobConflict, JobError, UnknownJob, Unsupported
from void_client.manifest import MANIFEST, ResultManifest
from void_client.messages import JobInfo, Resolve

from void_engine.plates import read_frame


def new_id() -> str:
    return uuid.uuid4().hex


def test_a_shot_comes_back_clean_whole_and_verified(server, shot, tmp_path):
    job_id, out = new_id(), tmp_path / "out"
    seen: list[tuple[str, str]] = []
    with server.client() as client:
        manifest = client.run(
            job_id, resolve(shot), out, on_event=lambda e: seen.append((e.kind, e.data.get("stage", "")))
        )
    assert [frame.number for frame in manifest.frames] == [1001, 1002, 1003, 1004, 1005]
    assert sorted(path.name for path in out.iterdir()) == [MANIFEST, *(f"plate.{n}.exr" for n in range(1001, 1006))]
    ResultManifest.read(out).verify(out)
    assert seen[0] == ("queued", "")
    assert seen[-1][0] == "done"
    for number in range(1001, 1006):
        before, after = (read_frame(folder / f"plate.{number}.exr", frame=number) for folder in (shot, out))
        mask = read_frame(shot / f"quadmask.{number}.exr", frame=number, input="quadmask").channels[0]["R"]
        keep = mask > 191 / 255
        changed = False
        for name in "RGB":
            old, new = before.channels[0][name], after.channels[0][name]
            assert np.array_equal(old[keep].view(np.uint16), new[keep].view(np.uint16))
            changed |= not np.array_equal(old, new)
        assert changed
        assert after.header.parts[0].attribute("void/engine") is not None


def test_another_seed_sends_no_frame_and_repeats_only_the_generation(server, shot, tmp_path):
    with server.client() as client:
        client.run(new_id(), resolve(shot, seed=100), tmp_path / "a")
        before = client.metrics()
        client.run(new_id(), resolve(shot, seed=101), tmp_path / "b")
        after = client.metrics()
    assert after["frame_bytes_received"] == before["frame_bytes_received"]
    assert after["stages_done.ingest"] == before["stages_done.ingest"]
    assert after["stages_done.quadmask"] == before["stages_done.quadmask"]
    assert after["stages_done.generate"] == before["stages_done.generate"] + 1


def test_equal_jobs_give_equal_files(server, shot, tmp_path):
    with server.client() as client:
        first = client.run(new_id(), resolve(shot, seed=7), tmp_path / "a")
        second = client.run(new_id(), resolve(shot, seed=7), tmp_path / "b")
    assert digests(first) == digests(second)


def test_the_same_job_id_is_one_job_however_often_it_is_sent(server, shot):
    resolved, job_id = resolve(shot, seed=8), new_id()
    with server.client() as client:
        client.upload(resolved.spec, resolved.files)
        answers = [client.submit(job_id, resolved.spec) for _ in range(20)]
        assert [answer.created for answer in answers] == [True] + [False] * 19
        with pytest.raises(JobConflict):
            client.submit(job_id, resolve(shot, seed=9).spec)
        client.wait(job_id)
        assert len([event for event in client.events(job_id) if event.kind == "running"]) == 1
        assert sum(job.job_id == job_id for job in client.status()) == 1


def test_events_are_numbered_without_gaps_and_replayed_from_any_number(server, shot):
    resolved, job_id = resolve(shot, seed=10), new_id()
    with server.client() as client:
        client.deliver(job_id, resolved)
        live = list(client.events(job_id))
    with server.client() as other:
        replayed = list(other.events(job_id, after=3))
    assert [event.seq for event in live] == list(range(1, len(live) + 1))
    assert replayed == live[3:]
    stages = [(e.data["stage"], e.data["state"]) for e in live if e.kind == "stage"]
    assert stages[-2:] == [("deliver", "running"), ("deliver", "done")]


def test_a_running_job_is_cancelled_within_a_step_and_the_worker_lives(server, long_shot):
    resolved, job_id = resolve(long_shot, seed=11), new_id()
    with server.client() as client:
        client.deliver(job_id, resolved)
        follow_until(client, job_id, "progress", stage="generate")
        pid = worker_pid(client)
        client.cancel(job_id)
        assert [event.kind for event in client.events(job_id)][-1] == "cancelled"
        assert client.status(job_id)[0].state == "cancelled"
        assert worker_pid(client) == pid


def test_a_queued_job_is_cancelled_at_once(server, shot, long_shot):
    running, queued = new_id(), new_id()
    with server.client() as client:
        client.deliver(running, resolve(long_shot, seed=12))
        client.deliver(queued, resolve(shot, seed=12))
        if client.status(queued)[0].state == "queued":
            assert client.cancel(queued).state == "cancelled"
        client.cancel(running)
        assert wait_until(lambda: client.status(running)[0].ended, "the end")


def test_higher_priority_goes_first(server, shot, long_shot):
    first, low, high = new_id(), new_id(), new_id()
    with server.client() as client:
        client.deliver(first, resolve(long_shot, seed=13))
        client.deliver(low, resolve(shot, seed=13), priority=10)
        client.deliver(high, resolve(shot, seed=14), priority=90)
        client.cancel(first)

        def ended() -> list[JobInfo] | None:
            jobs = [client.status(job)[0] for job in (high, low)]
            return jobs if all(job.ended for job in jobs) else None

        jobs = wait_until(ended, "both jobs")
        assert jobs[0].finished < jobs[1].finished


def test_what_cannot_be_done_is_told_before_it_is_queued(server, shot):
    with server.client() as client:
        wait_until(lambda: client.health()["workers"][0]["engines"], "the worker")
        resolved = resolve(shot, engine="teleport")
        client.upload(resolved.spec, resolved.files)
        with pytest.raises(EngineUnavailable, match="cleanplate"):
            client.submit(new_id(), resolved.spec)
        with pytest.raises(JobError, match="job id"):
            client.submit("../x", resolved.spec)
        with pytest.raises(UnknownJob):
            client.status("nobody")
        for reserved in (Resolve("x"),):
            with pytest.raises(Unsupported):
                client._connection.send(reserved).result()


def test_a_bad_engine_option_is_named(server, shot, tmp_path):
    with server.client() as client, pytest.raises(JobError, match="grian"):
        client.run(new_id(), resolve(shot, options={"grian": 1}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_routers_process_holds_no_pixels(tmp_path, shot):
    runner = tmp_path / "runner.py"
    modules = tmp_path / "modules.txt"
    runner.write_text(
        "import atexit, sys\n"
        f"atexit.register(lambda: open({str(modules)!r}, 'w').write(' '.join(sys.modules)))\n"
        "from void_cli.main import main\nsys.exit(main())\n"
    )
    import sys

    with RunningServer(tmp_path / "data", runner=[sys.executable, str(runner)]) as running:
        with running.client() as client:
            client.run(new_id(), resolve(shot), tmp_path / "out")
            client.collect()
        assert running.stop() == 0
    loaded = {name.split(".")[0] for name in modules.read_text().split()}
    assert "void_server" in loaded
    assert not loaded & {"void_engine", "numpy", "torch", "cv2", "OpenEXR", "OpenImageIO"}


def test_two_may_watch_a_job_over_one_line(server, shot):
    """The first stops before the end: the second still hears all."""
    resolved, job_id = resolve(shot, seed=91), new_id()
    with server.client() as client:
        client.deliver(job_id, resolved)
        first, second = client.events(job_id), client.events(job_id)
        heard = [next(first), next(second)]
        first.close()
        heard += second
    assert [event.seq for event in heard[1:]] == list(range(1, len(heard)))
    assert heard[-1].kind == "done"
