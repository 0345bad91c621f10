"""``void models``: what needs no hub: list, verify, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.servers import free_port, run_void
from safetensors.numpy import save_file

SHARED = ("scheduler/scheduler_config.json", "tokenizer/spiece.model", "model_index.json")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder made by hand."""
    base = tmp_path / "models" / "my-base"
    for name in SHARED:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text("{}")
    for part, stem in (("vae", "diffusion_pytorch_model"), ("text_encoder", "model"), ("transformer", None)):
        (base / part).mkdir()
        (base / part / "config.json").write_text("{}")
        if stem:
            save_file({"w": np.ones((4, 4), np.float32)}, base / part / f"{stem}.safetensors")
    save_file({"w": np.ones((4, 4), np.float32)}, base.parent / "void_pass1.safetensors")
    return base.parent


def test_list_names_licences_sizes_and_revisions():
    done = run_void("models", "list")
    assert done.returncode == 0, done.stderr
    for word in (
        "alibaba-pai/CogVideoX-Fun-V1.5-5b-InP",
        "netflix/void-model",
        "Apache-2.0",
        "CogVideoX licence",
        "GB",
    ):
        assert word in done.stdout


def test_list_says_what_a_folder_has(models):
    done = run_void("models", "list", "--models", models, "--json")
    entries = {entry["model"]: entry for entry in map(json.loads, done.stdout.splitlines())}
    assert entries["void"]["present"] == ["void_pass1.safetensors"]
    assert entries["void"]["revision"] is None
    assert len(entries["base"]["revision"]) == 40


def test_verify_passes_what_was_made_by_hand(models):
    done = run_void("models", "verify", "--models", models, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert {finding["state"] for finding in findings} == {"unknown"}
    assert all(len(finding["sha256"]) == 64 for finding in findings)


def test_verify_names_what_is_damaged(models):
    path = models / "void_pass1.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    done = run_void("models", "verify", "--models", models)
    assert done.returncode == 2
    assert "void_pass1.safetensors: not a whole safetensors file" in done.stderr
    assert "void models fetch" in done.stderr
    as_json = run_void("models", "verify", "--models", models, "--json")
    assert json.loads(as_json.stdout.splitlines()[-1])["exit_code"] == 2


@pytest.mark.parametrize(
    ("words", "environment", "code", "said"),
    [
        (["fetch"], {}, 2, "--accept-licences"),
        (["fetch", "sam"], {}, 2, "Known are: base, void"),
        (["fetch", "--accept-licences"], {"HF_HUB_OFFLINE": "1"}, 2, "HF_HUB_OFFLINE"),
        (["fetch", "void"], {"HF_ENDPOINT": "http://127.0.0.1:PORT"}, 3, "cannot be reached"),
        (["fetch", "void"], {"HF_ENDPOINT": "nonsense"}, 3, "cannot be reached"),
        (["verify"], {}, 2, "cannot be read"),
    ],
)
def test_refusals_say_what_to_do(words, environment, code, said, tmp_path):
    environment = {key: value.replace("PORT", str(free_port())) for key, value in environment.items()}
    done = run_void("models", *words, "--models", tmp_path / "nowhere", NO_PROXY="127.0.0.1", **environment)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
