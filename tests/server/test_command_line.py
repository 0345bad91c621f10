"""``void`` as people and farms call it: exit codes, JSON lines, keys, doctor, bundle."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers.servers import free_port, run_void, void_here, wait_until
from void_client.keys import read_pair


def shot_arguments(shot: Path) -> list[str]:
    return ["--plate", str(shot / "plate.####.exr"), "--quadmask", str(shot / "quadmask.####.exr")]


def test_submit_status_fetch(server, shot, tmp_path):
    connection = ["--connection", str(server.connection)]
    submitted = run_void("submit", *shot_arguments(shot), "--job-id", "by-hand", "--name", "sh010", *connection)
    assert (submitted.returncode, submitted.stdout.strip()) == (0, "by-hand"), submitted.stderr
    fetched = run_void("fetch", "by-hand", "--out", tmp_path / "out", *connection)
    assert fetched.returncode == 0, fetched.stderr
    assert len(list((tmp_path / "out").glob("plate.*.exr"))) == 5
    status = run_void("status", "by-hand", "--json", *connection)
    assert json.loads(status.stdout)["job"]["state"] == "done"
    assert "sh010" in run_void("status", *connection).stdout
    verified = run_void("doctor", "--verify", tmp_path / "out")
    assert verified.returncode == 0
    (tmp_path / "out" / "plate.1003.exr").write_bytes(b"rot")
    rotten = run_void("doctor", "--verify", tmp_path / "out")
    assert rotten.returncode == 3
    assert "plate.1003.exr" in rotten.stderr


def test_a_shot_file_renders_and_its_options_are_overridden(server, shot, tmp_path):
    file = tmp_path / "shot.yaml"
    file.write_text(f"plate: {shot}/plate.%04d.exr\nquadmask: {shot}/quadmask.%04d.exr\nseed: 5\nout: result\n")
    done = run_void("render", file, "--seed", "6", "--frames", "1002-1003", "--connection", server.connection)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "result" / "manifest.json").read_text())
    assert manifest["job"]["seed"] == 6
    assert [frame["number"] for frame in manifest["frames"]] == [1002, 1003]


def test_json_lines_tell_every_stage(server, shot, tmp_path):
    done = run_void(
        "render", *shot_arguments(shot), "--out", tmp_path / "out", "--connection", server.connection, "--json"
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"] for line in lines if "event" in line][-1] == "done"
    assert lines[-1]["frames"] == 5


def test_no_server_is_retryable(tmp_path, server, shot):
    done = run_void(
        "status", "--connection", server.connection, "--server", f"tcp://127.0.0.1:{free_port()}", "--timeout", "0.5"
    )
    assert done.returncode == 3
    assert "void serve" in done.stderr


def test_an_unknown_job_is_bad_input(server):
    assert run_void("status", "nobody", "--connection", server.connection).returncode == 2


# Where the tests run in the background the shell has SIGINT ignored, and children inherit that.
INTERRUPTIBLE = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from void_cli.main import main; sys.exit(main())"
)


def test_interrupting_a_render_cancels_its_job(server, long_shot, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "render", *shot_arguments(long_shot), "--out", str(tmp_path / "out"),
         "--connection", str(server.connection), "--job-id", "interrupted", "--seed", "77"],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    with server.client() as client:
        wait_until(lambda: any(j.job_id == "interrupted" and j.stage for j in client.status()), "the job to run")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 5, said
        wait_until(lambda: client.status("interrupted")[0].state == "cancelled", "the cancel")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["render"], "plate"),
        (["render", "--plate", "p.%04d.exr", "--quadmask", "q.%04d.exr"], "p.%04d.exr"),
        (["render", "missing.yaml", "--out", "x"], "missing.yaml"),
        (["submit", "--plate", "p", "--quadmask", "q"], "frame number"),
        (["render", "--plate", "p.#.exr", "--quadmask", "q.#.exr", "--option", "grain", "--out", "x"], "key=value"),
        (["demo", "--size", "big"], "size"),
        (["submit", "--plate", "p.#.exr", "--quadmask", "q.#.exr", "--priority", "1000"], "between 0 and 100"),
        (["submit", "--plate", "p.#.exr", "--quadmask", "q.#.exr", "--seed", "-1"], "seed"),
        (["submit", "--plate", "p.#.exr", "--quadmask", "q.#.exr", "--job-id", "../x"], "job id"),
        (["keys", "allow", "anna", "x" * 40, "--data", "typo"], "no server"),
        (["serve", "--data", "x", "--device", "toaster"], "toaster"),
        (["doctor", "--verify", "nowhere"], "manifest.json"),
    ],
)
def test_wrong_words_are_bad_input_with_what_to_do(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = void_here(*arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_result_never_replaces_what_is_not_a_result(server, shot, tmp_path):
    connection = ["--connection", str(server.connection)]
    assert run_void("submit", *shot_arguments(shot), "--job-id", "guard", *connection).returncode == 0
    (tmp_path / "plates").mkdir()
    (tmp_path / "plates" / "plate.1002.exr").write_bytes(b"my plate")
    done = run_void("fetch", "guard", "--out", tmp_path / "plates", *connection)
    assert done.returncode == 2
    assert [(p.name, p.read_bytes()) for p in (tmp_path / "plates").iterdir()] == [("plate.1002.exr", b"my plate")]
    (tmp_path / "demo" / "shot").mkdir(parents=True)
    assert run_void("demo", "--out", tmp_path / "demo").returncode == 2
    assert (tmp_path / "demo" / "shot").exists()


def test_a_shorter_render_leaves_no_frame_of_the_longer_one_before_it(server, shot, tmp_path):
    arguments = ["render", *shot_arguments(shot), "--connection", server.connection, "--out", tmp_path / "out"]
    assert run_void(*arguments).returncode == 0
    assert run_void(*arguments, "--frames", "1001-1003").returncode == 0
    assert len(list((tmp_path / "out").glob("plate.*.exr"))) == 3


def test_a_users_key_is_made_once(tmp_path):
    first = run_void("keys", "new", "--json", VOID_CONFIG_DIR=str(tmp_path))
    again = run_void("keys", "new", "--json", VOID_CONFIG_DIR=str(tmp_path))
    assert json.loads(first.stdout) == json.loads(again.stdout)
    assert read_pair(tmp_path / "keys" / "client.key_secret").public == json.loads(first.stdout)["public_key"]


def test_the_support_bundle_holds_the_journal_and_no_secret(server, shot, tmp_path):
    with server.client() as client:
        client.hello()
    bundle = tmp_path / "bundle.zip"
    done = run_void(
        "doctor", "--bundle", bundle, "--data", server.data, "--connection", server.connection,
        VOID_SECRET_KEY="do not tell",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(bundle) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(texts) >= {"versions.json", "settings.json", "journal.json", "server.log"}
    assert "counters" in json.loads(texts["journal.json"])
    secrets = [read_pair(path).secret for path in (server.data / "keys").glob("*.key_secret")]
    assert len(secrets) == 2
    for text in texts.values():
        assert "do not tell" not in text
        assert not any(secret in text for secret in secrets)


def test_doctor_says_whether_the_server_answers(server):
    done = run_void("doctor", "--connection", server.connection)
    assert done.returncode == 0
    assert "void-server/" in done.stdout
