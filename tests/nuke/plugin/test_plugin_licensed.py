"""The script for licensed machines runs to its end in the stand-in's terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig

import pytest
from small_shots import REPOSITORY, Server

FAKE_NUKE = REPOSITORY / "tests" / "nuke_standin" / "fake-nuke"
SMOKE = REPOSITORY / "tests" / "licensed" / "smoke.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("VOID_")}
    environment["FAKE_NUKE_PYTHON"] = sys.executable
    environment["PYTHONPATH"] = sysconfig.get_paths()["platlib"]  # pyzmq and its like, as an installation brings them
    return subprocess.run(
        [sys.executable, str(FAKE_NUKE), "-t", str(SMOKE), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_the_licensed_smoke_run(server: Server, tmp_path):
    done = run("--connection", str(server.connection), "--out", str(tmp_path / "smoke"), "--render", str(FAKE_NUKE))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "smoke" / "report.json").read_text())
    assert all(each["ok"] for each in report["checks"])
    assert len(report["checks"]) > 10
    assert "\nVOID in Nuke " in done.stdout
    assert done.stdout.splitlines()[-1].startswith(f"{len(report['checks'])} of {len(report['checks'])} checks passed.")


@pytest.mark.slow
def test_without_a_server_it_says_which_checks_failed(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    done = run("--out", str(tmp_path / "smoke"))
    assert done.returncode > 0
    assert "FAILED the server answers" in done.stdout
    assert "ok     what Nuke writes of it, Nuke reads back" in done.stdout
