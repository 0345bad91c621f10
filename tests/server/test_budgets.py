"""Back-pressure, eviction and a full disk, through a real server."""

from __future__ import annotations

import os
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.servers import RunningServer, resolve, run_void, wait_until
from void_client.errors import Busy, DiskFull, JobError, ResultEvicted, VoidError
from void_client.manifest import ResultManifest


def test_a_full_queue_is_busy_with_a_time_to_wait(tmp_path, shot, long_shot):
    with RunningServer(tmp_path / "data", max_queued=1) as running, running.client() as client:
        client.deliver("first", resolve(long_shot))
        wait_until(lambda: client.status("first")[0].state == "running", "the first job")
        second, third = resolve(shot, seed=1), resolve(shot, seed=2)
        client.deliver("second", second)
        with pytest.raises(Busy) as caught:
            client.submit("third", third.spec)
        assert caught.value.details["retry_after"] > 0
        client.cancel("first")
        client.deliver("third", third)  # waits its turn
        client.wait("third")


def test_a_shot_larger_than_the_store_is_refused_with_what_to_do(tmp_path, shot):
    with RunningServer(tmp_path / "data", store_max_bytes=1000) as running, running.client() as client:
        with pytest.raises(JobError, match="store_max_bytes"):
            client.run("job", resolve(shot), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_result_that_made_room_says_so_and_comes_again_without_generation(tmp_path, shot):
    with RunningServer(tmp_path / "data", results_max_bytes=1) as running, running.client() as client:
        resolved = resolve(shot)
        client.deliver("job", resolved)
        client.wait("job")
        client.collect()
        with pytest.raises(ResultEvicted, match="Submit the shot again"):
            client.download("job", tmp_path / "out")


def test_gc_brings_stages_within_their_budget(tmp_path, shot):
    with RunningServer(tmp_path / "data", stages_max_bytes=1) as running:
        with running.client() as client:
            client.run("job", resolve(shot), tmp_path / "out")
        done = run_void("gc", "--connection", running.connection, "--json")
        assert done.returncode == 0, done.stderr
        wait_until(lambda: not any(p.name[0] != "." for p in (running.data / "stages").iterdir()), "the stages to go")


def test_collections_at_the_same_time_take_turns(tmp_path):
    """A server collects by itself after a job, too: just when somebody asks for it."""
    with RunningServer(tmp_path / "data", stages_max_bytes=1) as running:
        for number in range(400):
            folder = running.data / "stages" / f"generate-{number:03d}"
            folder.mkdir(parents=True)
            (folder / "frame").write_bytes(b"12345678")

        def collect(_: int) -> int:
            with running.client() as client:
                return int(client.collect()["stages"])

        with ThreadPoolExecutor(8) as many:
            freed = list(many.map(collect, range(8)))
    assert sum(freed) == 400 * 8


def test_gc_works_on_a_folder_whose_server_is_down_and_not_on_a_live_one(tmp_path, shot):
    with RunningServer(tmp_path / "data") as running, running.client() as client:
        client.run("job", resolve(shot), tmp_path / "out")
        live = run_void("gc", "--data", running.data, VOID_SERVER_STAGES_MAX_BYTES="1")
        assert live.returncode == 2
    dry = run_void("gc", "--data", running.data, "--dry-run", VOID_SERVER_STAGES_MAX_BYTES="1")
    assert dry.returncode == 0, dry.stderr
    assert any((running.data / "stages").glob("generate-*"))
    assert run_void("gc", "--data", running.data, VOID_SERVER_STAGES_MAX_BYTES="1").returncode == 0
    assert not any((running.data / "stages").glob("generate-*"))


@pytest.fixture
def small_disk(tmp_path: Path):
    """A real file system of 6 MB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_server_whose_journal_cannot_be_written_says_so_and_goes_on_later(small_disk, tmp_path, shot):
    with RunningServer(small_disk / "data", disk_reserve_bytes=0) as running, running.client() as client:
        resolved = resolve(shot)
        client.upload(resolved.spec, resolved.files)
        free = os.statvfs(small_disk)
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(free.f_bavail * free.f_bsize))
        with pytest.raises(DiskFull):
            client.submit("job", resolved.spec)
        ballast.unlink()
        client.run("job", resolved, tmp_path / "out")


def test_a_disk_that_fills_is_a_typed_error_and_the_job_goes_through_once_there_is_room(small_disk, tmp_path, shot):
    ballast = small_disk / "ballast"
    with RunningServer(small_disk / "data", disk_reserve_bytes=500_000) as running, running.client() as client:
        resolved = resolve(shot)
        client.upload(resolved.spec, resolved.files)
        free = os.statvfs(small_disk)
        ballast.write_bytes(bytes(max(0, free.f_bavail * free.f_bsize - 700_000)))
        with pytest.raises(VoidError) as caught:
            client.run("full", resolved, tmp_path / "out")
        assert isinstance(caught.value, DiskFull)
        assert caught.value.exit_code == 3
        assert not (tmp_path / "out").exists()
        ballast.unlink()
        client.run(uuid.uuid4().hex, resolved, tmp_path / "out")
    ResultManifest.read(tmp_path / "out").verify(tmp_path / "out")
