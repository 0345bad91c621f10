"""Slurm's recipe of docs/farm.md, run on a tiny cluster of this machine. Skipped where Debian's Slurm is not installed:
apt install slurmctld slurmd munge slurm-client; it needs root, as slurmd does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.servers import PATIENCE_S, free_port, wait_until, write_shot

RECIPE = Path(__file__).parents[2] / "docs" / "farm.md"
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "scancel")
FOUND = {name: shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in NEEDED}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not all(FOUND.values()) or os.geteuid() != 0, reason="Slurm is not installed here, or not root"),
]

CONFIG = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
AuthType=auth/munge
AuthInfo=socket={root}/munge/socket
CredType=cred/munge
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
ReturnToService=2
RequeueExit=3
MinJobAge=600
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=farm Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """One node, its own keys and ports, in one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("munge", "state", "spool", "jobs", "bin"):
            (root / name).mkdir()
        (root / "munge").chmod(0o700)
        key = root / "munge" / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        text = CONFIG.format(
            host=socket.gethostname().partition(".")[0], root=root, ctld_port=free_port(), slurmd_port=free_port(),
            cpus=os.cpu_count(),
        )  # fmt: skip
        (root / "slurm.conf").write_text(text)
        void = root / "bin" / "void"
        void.write_text(f'#!/bin/sh\nexec {sys.executable} -m void_cli.main "$@"\n')
        void.chmod(0o755)
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(root / "slurm.conf"),
            "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(root / "cache"),
            "VOID_CONFIG_DIR": str(root / "config"),
        }
        self.started: list[Path] = []

    def start(self) -> None:
        munge = self.root / "munge"
        self._daemon(
            "munged", munge / "pid", "--force", f"--socket={munge}/socket", f"--key-file={munge}/munge.key",
            f"--log-file={munge}/log", f"--pid-file={munge}/pid", f"--seed-file={munge}/seed",
        )  # fmt: skip
        self._daemon("slurmctld", self.root / "slurmctld.pid", "-f", str(self.root / "slurm.conf"))
        self._daemon("slurmd", self.root / "slurmd.pid", "-f", str(self.root / "slurm.conf"))
        wait_until(lambda: "State=IDLE" in self.say("scontrol", "show", "node"), "the node")

    def _daemon(self, name: str, pid: Path, *arguments: str) -> None:
        self.say(str(FOUND[name]), *arguments)
        self.started.append(pid)
        wait_until(pid.exists, name)

    def stop(self) -> None:
        for pid in reversed(self.started):
            if pid.exists():
                os.kill(int(pid.read_text()), signal.SIGTERM)
                wait_until(lambda pid=pid: not pid.exists(), f"the end of {pid.name}")

    def say(self, *command: str, **environment: str) -> str:
        done = subprocess.run(
            list(command), capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=self.root / "jobs",
            env={**self.environment, **environment},
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stderr, done.stdout)
        return done.stdout

    def submit(self, shots: list[Path], script: str) -> str:
        """The array's job id."""
        (self.root / "jobs" / "shots.txt").write_text("".join(f"{shot}\n" for shot in shots))
        (self.root / "jobs" / "void_array.sbatch").write_text(script)
        named = {"VOID_SHOTS": str(self.root / "jobs" / "shots.txt")}
        return self.say("sbatch", "--parsable", f"--array=1-{len(shots)}", "void_array.sbatch", **named).strip()

    def task(self, job: str, number: int) -> dict[str, str]:
        text = self.say("scontrol", "--oneliner", "show", "job", f"{job}_{number}")
        return dict(word.partition("=")[::2] for word in text.split())

    def ended(self, job: str, count: int) -> list[tuple[str, str]]:
        """(state, exit code) of each task, once all have ended."""

        def states() -> list[tuple[str, str]] | None:
            tasks = [self.task(job, number) for number in range(1, count + 1)]
            over = all(task["JobState"] in ("COMPLETED", "FAILED", "CANCELLED") for task in tasks)
            return [(task["JobState"], task["ExitCode"]) for task in tasks] if over else None

        return list(wait_until(states, "the array", 3 * PATIENCE_S))

    def told(self, job: str, number: int) -> list[dict[str, Any]]:
        log = self.root / "jobs" / f"void.{job}_{number}.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def script() -> str:
    """The recipe's own lines."""
    lines = RECIPE.read_text().partition("`void_array.sbatch`:")[2].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("    #!"))
    last = next(number for number, line in enumerate(lines) if line.startswith("    exec void render"))
    text = "\n".join(line.removeprefix("    ") for line in lines[first : last + 1]) + "\n"
    return text.replace("--cpus-per-task=2", "--cpus-per-task=1")


def shot_file(folder: Path, plates: Path, **more: Any) -> Path:
    values = {"plate": f"{plates}/plate.%04d.exr", "quadmask": f"{plates}/quadmask.%04d.exr", **more}
    file = folder / f"{more['out']}.json"
    file.write_text(json.dumps(values))
    return file


def test_an_array_solves_each_shot_once(cluster, script, shot, tmp_path):
    shots = [shot_file(tmp_path, shot, out=f"sh{seed}", seed=seed) for seed in (1, 2)]
    shots.append(shot_file(tmp_path, tmp_path / "nowhere", out="bad"))
    job = cluster.submit(shots, script)
    assert cluster.ended(job, 3) == [("COMPLETED", "0:0"), ("COMPLETED", "0:0"), ("FAILED", "2:0")]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.exr")}
    assert len(before) == 10
    again = cluster.submit(shots[:2], script)
    assert cluster.ended(again, 2) == [("COMPLETED", "0:0")] * 2
    assert all(cluster.told(again, number)[-1]["finished_before"] for number in (1, 2))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.exr")} == before


def test_scancel_cancels_in_order_and_the_next_task_goes_on(cluster, script, tmp_path):
    plates = write_shot(tmp_path / "moving", width=240, height=136, frames=8)
    shots = [shot_file(tmp_path, plates, out="sh010")]
    job = cluster.submit(shots, script)
    wait_until(lambda: any(line.get("stage") == "generate" for line in cluster.told(job, 1)), "generate")
    cluster.say("scancel", job)
    assert cluster.ended(job, 1) == [("CANCELLED", "5:0")]
    assert cluster.told(job, 1)[-1]["exit_code"] == 5
    again = cluster.submit(shots, script)
    assert cluster.ended(again, 1) == [("COMPLETED", "0:0")]
    stages = [(line["stage"], line["state"]) for line in cluster.told(again, 1) if line.get("event") == "stage"]
    assert ("ingest", "cached") in stages


def test_what_is_worth_trying_again_is_requeued(cluster, script, shot, server, tmp_path):
    connection = tmp_path / "connection.yaml"
    values = json.loads(server.connection.read_text())
    connection.write_text(json.dumps({**values, "endpoint": f"tcp://127.0.0.1:{free_port()}"}))
    away = script.replace("--local", f"--connection {connection} --timeout 1")
    job = cluster.submit([shot_file(tmp_path, shot, out="out")], away)
    wait_until(lambda: int(cluster.task(job, 1)["Restarts"]) >= 1, "the requeue")
    cluster.say("scancel", job)
    assert cluster.told(job, 1)[-1]["exit_code"] == 3
