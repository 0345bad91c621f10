"""Several servers: each job goes to one that can, stays there, and is found again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.servers import RunningServer, free_port, resolve, run_void, wait_until
from void_client import servers
from void_client.errors import EngineUnavailable, ServerUnreachable, SettingsError, UnknownJob
from void_client.job import EngineSpec, JobSpec
from void_client.servers import Candidate, choose, find, load_servers, remember, remembered
from void_client.settings import ClientSettings

NOWHERE = "tcp://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "VOID_CONFIG_DIR", "VOID_STATE_DIR", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("other") / "data") as running:
        yield running


def away(known: ClientSettings) -> ClientSettings:
    return ClientSettings(f"tcp://127.0.0.1:{free_port()}", known.server_key, known.key_file, 0.5)


def client_yaml(folder: Path, *known: ClientSettings) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    entries = [{"endpoint": s.endpoint, "server_key": s.server_key, "key_file": s.key_file} for s in known]
    (folder / "client.yaml").write_text(json.dumps({"servers": entries, "timeout_s": 5.0}))


def spec_of(shot: Path, engine: str = "cleanplate") -> JobSpec:
    return JobSpec(**{**vars(resolve(shot).spec), "engine": EngineSpec(engine)})


# --- settings


def test_the_list_of_client_yaml_gives_each_server_what_it_does_not_say(tmp_path):
    (tmp_path / "client.yaml").write_text(
        json.dumps(
            {
                "server_key": "K",
                "timeout_s": 7,
                "servers": [{"endpoint": "tcp://a:1"}, {"endpoint": "tcp://b:1", "server_key": "L", "key_file": "f"}],
            }
        )
    )
    found = load_servers({"VOID_CONFIG_DIR": str(tmp_path)}, {})
    assert [(s.endpoint, s.server_key, s.timeout_s) for s in found] == [
        ("tcp://a:1", "K", 7.0),
        ("tcp://b:1", "L", 7.0),
    ]
    assert found[1].key_file == "f"
    one = load_servers({"VOID_CONFIG_DIR": str(tmp_path)}, {"endpoint": "tcp://c:1"})
    assert [s.endpoint for s in one] == ["tcp://c:1"]
    by_variable = load_servers({"VOID_CONFIG_DIR": str(tmp_path), "VOID_CLIENT_ENDPOINT": "tcp://d:1"}, {})
    assert [s.endpoint for s in by_variable] == ["tcp://d:1"]


def test_a_bad_entry_is_named(tmp_path):
    (tmp_path / "client.yaml").write_text('{"servers": [{"endpoint": "void01:7411"}]}')
    with pytest.raises(SettingsError, match="void01"):
        load_servers({"VOID_CONFIG_DIR": str(tmp_path)}, {})


# --- choosing


def test_the_order_is_by_who_has_the_job_then_by_time():
    def named(endpoint: str, **facts: object) -> Candidate:
        return Candidate(ClientSettings(f"tcp://{endpoint}:1"), **facts)  # type: ignore[arg-type]

    busy, idle = named("busy", waiting=2.0), named("idle", waiting=0.0)
    far, near = named("far", lacks=50_000_000_000), named("near", lacks=0, waiting=1.0)
    has = named("has", waiting=9.0, has_job=True)
    assert sorted([busy, idle], key=lambda c: c.order("j")) == [idle, busy]
    assert sorted([far, near], key=lambda c: c.order("j")) == [near, far]  # sending 50 GB is slower than waiting
    assert sorted([idle, has], key=lambda c: c.order("j")) == [has, idle]


def test_equal_servers_share_jobs_and_one_job_keeps_its_server():
    equal = [Candidate(ClientSettings(f"tcp://s{n}:1")) for n in range(4)]
    first = [min(equal, key=lambda c: c.order(f"job {n}")).settings.endpoint for n in range(200)]
    assert all(first.count(c.settings.endpoint) > 20 for c in equal)
    assert first == [min(reversed(equal), key=lambda c: c.order(f"job {n}")).settings.endpoint for n in range(200)]


def test_a_server_that_is_away_or_cannot_is_not_chosen(server, shot):
    able = choose([away(server.settings), server.settings], spec_of(shot), "")
    assert [candidate.settings.endpoint for candidate in able] == [server.endpoint]
    with pytest.raises(ServerUnreachable) as told:
        choose([away(server.settings)], spec_of(shot), "")
    assert len(told.value.details["servers"]) == 1
    with server.client() as client:  # a worker that is still starting has not said what it can
        wait_until(lambda: client.health()["workers"][0]["unable"], "the worker")
    with pytest.raises(EngineUnavailable, match="void"):
        choose([away(server.settings), server.settings], spec_of(shot, "void"), "")


def test_the_one_that_holds_the_frames_is_asked_first(server, other, shot, tmp_path):
    with other.client() as client:
        resolved = resolve(shot, seed=401)
        client.upload(resolved.spec, resolved.files)
        assert client.lacking(resolved.spec) == 0
    found = {c.settings.endpoint: c for c in choose([server.settings, other.settings], resolved.spec, "key")}
    assert found[other.endpoint].lacks == 0


# --- the command line


def test_a_render_goes_past_a_server_that_is_away_and_stays_where_it_went(server, other, shot, tmp_path, monkeypatch):
    client_yaml(tmp_path / "VOID_CONFIG_DIR", away(server.settings), server.settings, other.settings)
    arguments = ["render", "--plate", shot / "plate.####.exr", "--quadmask", shot / "quadmask.####.exr", "--remote",
                 "--out", tmp_path / "out", "--seed", "402", "--timeout", "2", "--json"]  # fmt: skip
    done = run_void(*arguments)
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout.splitlines()[-1])["job"]
    where = remembered(tmp_path / "VOID_STATE_DIR", job)
    assert where in (server.endpoint, other.endpoint)
    # The folder is lost: the job is found on its server, and nothing is done again.
    (tmp_path / "out" / "manifest.json").unlink()
    again = run_void(*arguments)
    assert json.loads(again.stdout.splitlines()[-1])["job"] == job


def test_a_full_server_is_passed_by_at_submit(server, shot, tmp_path):
    with RunningServer(tmp_path / "full", store_max_bytes=1000) as full:
        done = run_void(
            "render", "--plate", shot / "plate.####.exr", "--quadmask", shot / "quadmask.####.exr", "--seed", "403",
            "--out", tmp_path / "out", "--connection", full.connection, "--connection", server.connection,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_submit_fetch_status_and_cancel_find_the_server(server, other, shot, tmp_path):
    client_yaml(tmp_path / "VOID_CONFIG_DIR", server.settings, other.settings)
    shot_arguments = ["--plate", shot / "plate.####.exr", "--quadmask", shot / "quadmask.####.exr"]
    submitted = run_void("submit", *shot_arguments, "--job-id", "spread", "--seed", "404")
    assert submitted.returncode == 0, submitted.stderr
    for memory in (True, False):  # also from a machine that did not submit it
        if not memory:
            (tmp_path / "VOID_STATE_DIR" / "jobs" / "spread.json").unlink()
        fetched = run_void("fetch", "spread", "--out", tmp_path / f"out {memory}")
        assert fetched.returncode == 0, fetched.stderr
        assert run_void("status", "spread").returncode == 0
        assert run_void("cancel", "spread").returncode == 0
    both = run_void("status")
    assert server.endpoint in both.stdout
    assert other.endpoint in both.stdout
    assert run_void("cancel", "nobody").returncode == 2


def test_a_job_that_may_be_on_a_silent_server_is_no_unknown_job(server, other, tmp_path):
    with pytest.raises(UnknownJob):
        find([server.settings, other.settings], "nobody", tmp_path)
    with pytest.raises(ServerUnreachable):
        find([server.settings, away(server.settings)], "nobody", tmp_path)


def test_what_is_remembered_is_forgotten_in_time_and_costs_nothing_where_it_cannot_be_kept(tmp_path, monkeypatch):
    remember(tmp_path, "a", NOWHERE)
    assert remembered(tmp_path, "a") == NOWHERE
    monkeypatch.setattr(servers, "_REMEMBERED_S", -1.0)
    (tmp_path / "jobs" / ".swept").unlink()
    remember(tmp_path, "b", NOWHERE)
    assert remembered(tmp_path, "a") == ""
    (tmp_path / "file").write_text("")
    remember(tmp_path / "file", "c", NOWHERE)
    assert remembered(tmp_path / "file", "c") == ""
