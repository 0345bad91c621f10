"""``void models fetch`` as it is called, with the real catalogue, against a hub of our own."""

from __future__ import annotations

import hashlib
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fake_hub import FakeHub
from helpers.servers import run_void

from void_engine.models.catalogue import BASE, VOID

MB = 1 << 20
# Where the tests run in the background the shell has SIGINT ignored, and children inherit that.
INTERRUPTIBLE = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from void_cli.main import main; sys.exit(main())"
)
SHARD = "text_encoder/model-00001-of-00002.safetensors"


@pytest.fixture
def real(fake: FakeHub) -> FakeHub:
    """A hub that announces what the catalogue pins, but has zeros."""
    for model, revision in ((BASE, BASE.revision), (VOID, "a" * 40)):
        files = {file.name: bytes(25 * MB if file.name == SHARD else 100) for file in model.files}
        fake.repositories[model.repository] = (revision, files)
        for file in model.files:
            if file.sha256:
                fake.declared[model.repository, file.name] = (file.sha256, 100)
    return fake


def fetch(fake: FakeHub, root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_void("models", "fetch", "--models", root, *words, HF_ENDPOINT=fake.endpoint)


def test_wrong_bytes_from_the_hub_are_refused(real, tmp_path):
    done = fetch(real, tmp_path, "void")
    assert done.returncode == 3, done.stderr
    assert "void_pass1.safetensors" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.safetensors"))


def test_other_weights_than_the_pinned_are_refused(real, tmp_path):
    real.declared[VOID.repository, "void_pass2.safetensors"] = (hashlib.sha256(b"new").hexdigest(), 100)
    done = fetch(real, tmp_path, "void", "--json")
    assert done.returncode == 2
    assert "void_pass2.safetensors" in done.stdout
    assert not any("/resolve/" in path for path, _, _ in real.seen)


def test_the_mirror_lacks_the_revision(real, tmp_path):
    real.repositories[BASE.repository] = ("0" * 40, {})
    done = fetch(real, tmp_path, "base", "--accept-licences")
    assert done.returncode == 2
    assert "HF_ENDPOINT" in done.stderr


def test_without_a_terminal_nothing_is_accepted(real, tmp_path):
    done = fetch(real, tmp_path)
    assert done.returncode == 2
    assert "CogVideoX licence" in done.stdout
    assert "--accept-licences" in done.stderr
    assert real.seen == []


@pytest.mark.parametrize(("answer", "asked"), [("yes", True), ("no", False), ("", False)])
def test_on_a_terminal_the_question_is_asked(answer, asked, real, tmp_path):
    real.repositories[BASE.repository] = ("0" * 40, {})  # so that it ends after its first question to the hub
    terminal, theirs = pty.openpty()
    try:
        os.write(terminal, f"{answer}\n".encode())
        done = subprocess.run(
            [sys.executable, "-m", "void_cli.main", "models", "fetch", "--models", str(tmp_path)],
            env={**os.environ, "HF_ENDPOINT": real.endpoint}, stdin=theirs, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
    finally:
        os.close(terminal)
        os.close(theirs)
    assert done.returncode == 2
    assert "Type `yes`" in done.stdout
    assert bool(real.seen) == asked, done.stderr


def test_interrupted_and_called_again(real, tmp_path):
    real.stall[SHARD] = 22 * MB
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "models", "fetch", "base", "--models", str(tmp_path),
         "--accept-licences"],
        env={"HF_ENDPOINT": real.endpoint, "NO_PROXY": "127.0.0.1,localhost", "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert real.stalled.wait(60)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 5, said
    assert (tmp_path / "base").exists() is False
    real.stall.clear()
    done = fetch(real, tmp_path, "base", "--accept-licences")
    assert done.returncode == 3, done.stderr  # the zeros are not the pinned VAE
    assert real.ranges(SHARD)[-1] in (f"bytes={20 * MB}-", f"bytes={10 * MB}-")
    folder = tmp_path / BASE.folder
    assert (folder / SHARD).stat().st_size == 25 * MB
    assert not (folder / "model_index.json").exists()  # so that it is not taken for a whole base
    assert "was there" in done.stdout
