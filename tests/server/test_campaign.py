"""Kills at many random moments: nothing lost, nothing doubled, nothing torn, the same digests at the end."""

from __future__ import annotations

import os
import random
import signal

import pytest
from helpers.servers import RunningServer, digests, resolve, wait_until, worker_pid
from void_client.manifest import ResultManifest

POINTS = 12

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("victim", ["worker", "server"])
@pytest.mark.parametrize("point", range(POINTS // 2))
def test_a_kill_at_any_moment_changes_nothing(tmp_path, long_shot, expected, victim, point):
    share = random.Random(f"{victim}{point}").random()
    with RunningServer(tmp_path / "data") as running:
        with running.client() as client:
            client.deliver("job", resolve(long_shot))
            # About so many events does an undisturbed job have; a job that is done before is killed in its delivery.
            wanted = 2 + int(share * 25)
            wait_until(lambda: client.status("job")[0].last_seq >= wanted or client.status("job")[0].ended, "events")
            if victim == "worker":
                os.kill(worker_pid(client), signal.SIGKILL)
        if victim == "server":
            running.kill()
            running.start()
        with running.client() as client:
            client.wait("job")
            assert digests(client.download("job", tmp_path / "out")) == expected
            events = list(client.events("job"))
            assert [event.seq for event in events] == list(range(1, len(events) + 1))
            assert sum(event.kind == "done" for event in events) == 1
            counters = client.metrics()
            for stage in ("ingest", "quadmask", "generate", "restore"):
                assert counters[f"stages_done.{stage}"] == 1, stage
    ResultManifest.read(tmp_path / "out").verify(tmp_path / "out")
