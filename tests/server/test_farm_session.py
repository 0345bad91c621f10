"""A warm server for one farm session: used by its renders, gone with its lease, whatever happens to who wanted it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.servers import PATIENCE_S, run_void, wait_until, write_shot
from void_cli.farm_session import SESSION, FarmSession, end_with_lease, read_session
from void_cli.private import folder_in_use
from void_client import schema


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "VOID_CONFIG_DIR", "VOID_STATE_DIR", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "session"
    done = run_void("farm", "start", "--session", folder, "--progress", "openjd")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"openjd_env: {SESSION}={folder}"
    yield folder
    run_void("farm", "stop", "--session", folder)


def render(shot: Path, out: Path, session: Path, *more: str) -> dict[str, Any]:
    done = run_void(
        "render", "--plate", shot / "plate.####.exr", "--quadmask", shot / "quadmask.####.exr", "--out", out, "--json",
        *more, **{SESSION: str(session)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def alive(pid: int) -> bool:
    """A process that ended and that nobody asks about is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_sessions_renders_share_one_server_until_it_is_stopped(session, shot, tmp_path):
    pid = read_session(session).pid
    first = render(shot, tmp_path / "a", session, "--seed", "1")
    second = render(shot, tmp_path / "b", session, "--seed", "2")
    assert not first["finished_before"]
    assert not second["finished_before"]
    assert read_session(session).pid == pid
    assert alive(pid)
    assert run_void("farm", "start", "--session", session).returncode == 0  # starting twice is starting once
    assert read_session(session).pid == pid
    done = run_void("farm", "stop", "--session", session)
    assert done.returncode == 0, done.stderr
    assert not alive(pid)
    assert not (session / "server").exists()
    assert run_void("farm", "stop", "--session", session).returncode == 0
    # A session that was stopped is not begun again behind its manager's back.
    late = run_void("render", "--plate", shot / "plate.####.exr", "--quadmask", shot / "quadmask.####.exr", "--out",
                    tmp_path / "c", **{SESSION: str(session)})  # fmt: skip
    assert late.returncode == 2
    assert "farm start" in late.stderr


def test_a_session_is_stopped_when_its_process_is_gone(tmp_path):
    """A server lets go of its folder before it has ended; until then it may hold a GPU."""
    lease = tmp_path / "lease"
    lease.touch()
    last_second = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1)", str(lease)])
    session = FarmSession(data=str(tmp_path / "server"), lease_s=300.0, pid=last_second.pid)
    (tmp_path / "session.json").write_text(json.dumps(schema.dump(session)))
    assert run_void("farm", "stop", "--session", tmp_path).returncode == 0
    assert not alive(last_second.pid)
    assert last_second.wait(0) == 0  # by itself


@pytest.mark.slow
def test_a_killed_session_server_is_started_again_by_the_next_render(session, shot, tmp_path):
    pid = read_session(session).pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not folder_in_use(session / "server"), "the end")
    render(shot, tmp_path / "a", session)
    assert read_session(session).pid != pid
    assert alive(read_session(session).pid)


@pytest.mark.slow
def test_a_session_that_is_killed_without_grace_leaves_no_server(tmp_path):
    """The render and its session vanish at once; nobody calls stop."""
    shot = write_shot(tmp_path / "moving", width=240, height=136, frames=8)
    folder = tmp_path / "session"
    assert run_void("farm", "start", "--session", folder, "--lease", "3").returncode == 0
    pid = read_session(folder).pid
    process = subprocess.Popen(
        [sys.executable, "-m", "void_cli.main", "render", "--plate", str(shot / "plate.####.exr"), "--quadmask",
         str(shot / "quadmask.####.exr"), "--out", str(tmp_path / "out"), "--json"],
        env={**os.environ, SESSION: str(folder)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    next(line for line in process.stdout if json.loads(line).get("stage") == "generate")
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    wait_until(lambda: not alive(pid), "the server to end by itself")
    assert not folder_in_use(folder / "server")


@pytest.mark.slow
def test_a_servers_folder_that_another_session_has_is_not_fought_over(tmp_path):
    warm = tmp_path / "warm"
    for name in ("one", "two"):
        done = run_void("farm", "start", "--session", tmp_path / name, "--data", warm, "--json")
        assert done.returncode == 0, done.stderr
    assert read_session(tmp_path / "one").data == str(warm)
    assert read_session(tmp_path / "two").data == str(tmp_path / "two" / "server")
    for name in ("one", "two"):
        assert run_void("farm", "stop", "--session", tmp_path / name).returncode == 0
    assert warm.exists()  # what is to stay, stays


def test_a_lease_counts_by_changes_and_not_by_the_wall_clock(tmp_path):
    lease, ended = tmp_path / "lease", []
    lease.touch()
    os.utime(lease, (0, 0))  # 1970, or a clock that was set back: not expired
    end_with_lease(lease, 60.0, lambda: ended.append("lease"))
    wait_until(lambda: True, "a turn")
    assert not ended
    lease.unlink()
    wait_until(lambda: ended == ["lease"], "the end")
