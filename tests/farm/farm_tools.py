"""What the farm's tests do: a script with VOID nodes, its submission, and runs of the job."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

ROOT = Path(__file__).resolve().parents[2]
FAKE_NUKE = ROOT / "tests" / "nuke_standin" / "fake-nuke"
PATIENCE_S = 180.0


@dataclass(frozen=True)
class Made:
    """What a script under `nuke -t` has made, and where."""

    script: Path
    bundle: Path
    said: dict[str, Any]


class Farm:
    """``work``: a folder of the test's own, where submitter and worker meet."""

    def __init__(self, venv: Path, work: Path) -> None:
        self.venv, self.work = venv, work

    def submitted(self, project: Path, **how: Any) -> Made:
        """The job of a script with VOID nodes, written by the plugin in `nuke -t`."""
        said = self.in_nuke("submit_comp.py", project, json.dumps(how))
        return Made(Path(said["script"]), Path(said["bundle"]), said)

    def in_nuke(self, script: str, *arguments: object) -> dict[str, Any]:
        """A file beside this one under the stand-in, with the plugin. Returns its last line, JSON."""
        environment = {**os.environ, **self._own("artist"), "FAKE_NUKE_PYTHON": sys.executable}
        packages = str(Path(zmq.__file__).parents[1])  # what `void nuke install` lays beside the plugin
        brought = [ROOT / "nuke_plugin", ROOT / "tests/nuke/plugin", packages]
        environment["PYTHONPATH"] = os.pathsep.join(map(str, brought))
        environment["NUKE_PATH"] = str(ROOT / "gizmos")
        command = [sys.executable, str(FAKE_NUKE), "-t", str(Path(__file__).with_name(script)), *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))

    def run(self, bundle: Path, step: str = "Render", *more: str) -> subprocess.CompletedProcess[str]:
        """The job to its end, or its first failure."""
        with self.running(bundle, step, *more) as process:
            said, _ = process.communicate(timeout=PATIENCE_S)
        return subprocess.CompletedProcess(process.args, process.returncode, said)

    @contextmanager
    def running(self, bundle: Path, step: str = "Render", *more: str) -> Iterator[subprocess.Popen[str]]:
        void = Path(sys.executable).with_name("void")
        command = [str(self.venv / "bin" / "openjd"), "run", str(bundle / "template.yaml"), "--step", step]
        command += ["--run-dependencies", "--extensions", "TASK_CHUNKING", "-p", f"VoidCommand={void}", *more]
        process = subprocess.Popen(
            command, env=self.worker(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True, cwd=self.work,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()

    def worker(self) -> dict[str, str]:
        """A render machine's environment: its Python knows nothing of VOID, Nuke sees no plugin."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("NUKE_", "PYTHON"))}
        environment.update(self._own("worker"))
        environment.update(
            PATH=f"{self.venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
            NUKE_EXECUTABLE=str(FAKE_NUKE),
            FAKE_NUKE_PYTHON=str(self.venv / "bin" / "python"),
            DEADLINE_CLOUD_TELEMETRY_OPT_OUT="true",
        )
        return environment

    def _own(self, who: str) -> dict[str, str]:
        home = self.work / who
        home.mkdir(exist_ok=True)
        places = ("HOME", "VOID_CONFIG_DIR", "VOID_STATE_DIR", "XDG_CACHE_HOME", "XDG_DATA_HOME")
        return {name: str(home / name.lower()) if name != "HOME" else str(home) for name in places}


def processes(work: Path, *words: str) -> dict[int, list[str]]:
    """The farm's processes (their home is below ``work``) whose command line has all these words."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            home = (folder / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(f"HOME={work}/") in home and all(any(word in part for part in command) for word in words):
            found[int(folder.name)] = command
    return found


def kill_while_it_generates(farm: Farm, task: str) -> None:
    """kill -9 of a task and of its session's server, once the server works on the clean pixels."""
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        servers = processes(farm.work, "void_cli.main", "serve", "--lease")
        for pid, command in servers.items():
            data = Path(command[command.index("--data") + 1])
            if list(data.glob("stages/generate-*")):
                for each in (*processes(farm.work, "bin/void", "render", task), pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(each, signal.SIGKILL)
                return
        time.sleep(0.002)
    raise AssertionError("no server worked on it")
