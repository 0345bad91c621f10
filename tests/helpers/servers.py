"""Real servers in real processes, and small real shots, for tests."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from void_client.client import Client
from void_client.job import Resolved, ShotFile
from void_client.manifest import ResultManifest
from void_client.messages import Event
from void_client.settings import CONNECTION_FILE, ClientSettings, load_client_settings

from void_engine.plates.create import create_exr
from void_engine.synthetic import render_shot

PATIENCE_S = 60.0


def wait_until(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """The first true value of ``condition``; fails with ``what`` when it takes too long."""
    give_up = time.monotonic() + patience_s
    pause = 0.01
    while time.monotonic() < give_up:
        value = condition()
        if value:
            return value
        _rest(pause)
    raise AssertionError(f"waited {patience_s:.0f} s for {what}")


def _rest(seconds: float) -> None:
    import select

    select.select([], [], [], seconds)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RunningServer:
    """``void serve`` in a process of its own, always at the same address, also when started again."""

    def __init__(self, data: Path, *, runner: list[str] | None = None, **settings: Any) -> None:
        self.data = data
        self.endpoint = f"tcp://127.0.0.1:{free_port()}"
        self._runner = runner or [sys.executable, "-m", "void_cli.main"]
        self._environment = {**os.environ, **{f"VOID_SERVER_{k.upper()}": str(v) for k, v in settings.items()}}
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        (self.data / CONNECTION_FILE).unlink(missing_ok=True)
        self.data.mkdir(parents=True, exist_ok=True)
        with (self.data / "output.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._runner, "serve", "--data", str(self.data), "--bind", self.endpoint],
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        wait_until(self._ready, f"the server; its log: {(self.data / 'output.log').read_text()[-2000:]}")

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.data / "output.log").read_text()[-3000:]
        return (self.data / CONNECTION_FILE).is_file()

    @property
    def settings(self) -> ClientSettings:
        return load_client_settings({}, {"timeout_s": PATIENCE_S}, self.data / CONNECTION_FILE)

    @property
    def connection(self) -> Path:
        return self.data / CONNECTION_FILE

    def client(self) -> Client:
        return Client(self.settings)

    def kill(self) -> None:
        """As a power cut would: kill -9, no warning."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()


def worker_pid(client: Client) -> int:
    return int(wait_until(lambda: client.health()["workers"][0]["pid"], "a worker"))


def follow_until(client: Client, job_id: str, kind: str, **data: Any) -> Event:
    """The job's first event of this kind whose data hold these values."""
    for event in client.events(job_id):
        if event.kind == kind and all(event.data.get(key) == value for key, value in data.items()):
            return event
    raise AssertionError(f"{job_id} ended without a {kind} {data}")


def write_shot(folder: Path, *, width: int = 160, height: int = 96, frames: int = 5, seed: int = 3) -> Path:
    """A small synthetic shot: plate.%04d.exr and quadmask.%04d.exr from 1001."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(render_shot(width, height, frames, seed), 1001):
        create_exr(folder / f"plate.{number}.exr", {"RGB": frame.plate})
        mask = frame.quadmask.astype(np.float32) / np.float32(255)
        create_exr(folder / f"quadmask.{number}.exr", {"R": mask})
    return folder


def resolve(folder: Path, **changes: Any) -> Resolved:
    return ShotFile("plate.%04d.exr", "quadmask.%04d.exr", **changes).resolve(folder)


def run_void(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "void_cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
        check=False,
    )


def void_here(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command line in this process: for what is refused before any work, a second less of imports each time."""
    from void_cli.main import main

    words, out, err = [str(each) for each in arguments], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as end:  # argparse's
            code = end.code if isinstance(end.code, int) else 1
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def digests(manifest: ResultManifest) -> dict[int, str]:
    """Frame number → SHA-256 of the delivered file."""
    return {frame.number: frame.sha256 for frame in manifest.frames}
