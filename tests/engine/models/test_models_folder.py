"""The models' folder: what is found, and what is said when something is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from model_samples import write_models
from void_client.errors import EngineUnavailable

from void_engine.models import find_models

REFERENCE = Path("/work/shared/reference")


def refused(root: Path | None, *words: str) -> EngineUnavailable:
    with pytest.raises(EngineUnavailable) as caught:
        find_models(root)
    for word in words:
        assert word in caught.value.message
    assert caught.value.hint
    return caught.value


def test_a_folder_made_by_hand(tmp_path):
    models = find_models(write_models(tmp_path))
    assert models.base == tmp_path / "hand-made"
    assert models.pass1 == tmp_path / "void_pass1.safetensors"
    assert models.require_pass2() == tmp_path / "void_pass2.safetensors"
    names = [path.relative_to(models.base).as_posix() for path in models.base_files()]
    assert names == sorted(names)
    assert "text_encoder/model-00002-of-00002.safetensors" in names


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference data are not on this machine")
def test_the_reference_folder_as_it_is():
    assert find_models(REFERENCE).base.name == "tiny-base"


def test_pass_2_may_be_missing_until_it_is_needed(tmp_path):
    (write_models(tmp_path) / "void_pass2.safetensors").unlink()
    models = find_models(tmp_path)
    assert models.pass2 is None
    with pytest.raises(EngineUnavailable, match=r"void_pass2\.safetensors") as caught:
        models.require_pass2()
    assert f"void models fetch --models {tmp_path}" in caught.value.hint


def test_the_bases_own_transformer_may_be_missing(tmp_path):
    (write_models(tmp_path) / "hand-made/transformer/diffusion_pytorch_model.safetensors").unlink()
    assert not [path for path in find_models(tmp_path).base_files() if "pytorch_model" in path.name and
                path.parent.name == "transformer"]  # fmt: skip


def test_no_folder_is_set():
    assert "--models" in refused(None, "No folder").hint


def test_a_folder_that_is_not_there(tmp_path):
    refused(tmp_path / "typo", "typo", "not there")
    (tmp_path / "file").write_bytes(b"")
    refused(tmp_path / "file", "not there")


def test_an_empty_folder(tmp_path):
    assert f"void models fetch --models {tmp_path}" in refused(tmp_path, "model_index.json").hint


def test_two_bases(tmp_path):
    write_models(tmp_path)
    shutil.copytree(tmp_path / "hand-made", tmp_path / "another")
    refused(tmp_path, "another, hand-made")


@pytest.mark.parametrize(
    "name",
    [
        "void_pass1.safetensors", "hand-made/transformer/config.json", "hand-made/vae/config.json",
        "hand-made/tokenizer/spiece.model", "hand-made/scheduler/scheduler_config.json",
        "hand-made/vae/diffusion_pytorch_model.safetensors", "hand-made/text_encoder/model.safetensors.index.json",
        "hand-made/text_encoder/model-00002-of-00002.safetensors",
    ],
)  # fmt: skip
def test_a_missing_file_is_named(name, tmp_path):
    (write_models(tmp_path) / name).unlink()
    refused(tmp_path, name.split("/")[-1].removesuffix(".index.json"))


def test_pickled_weights_alone_are_refused(tmp_path):
    vae = write_models(tmp_path) / "hand-made/vae"
    (vae / "diffusion_pytorch_model.safetensors").rename(vae / "diffusion_pytorch_model.bin")
    refused(tmp_path, "diffusion_pytorch_model.bin", "only safetensors")


@pytest.mark.parametrize("index", ["not json", "[]", '{"weight_map": 3}', "{}"])
def test_an_index_that_is_none(index, tmp_path):
    (write_models(tmp_path) / "hand-made/text_encoder/model.safetensors.index.json").write_text(index)
    refused(tmp_path, "model.safetensors.index.json")


@pytest.mark.parametrize("name", ["../../void_pass1.safetensors", "/etc/passwd", "model.bin", 3])
def test_an_index_that_names_what_is_not_beside_it(name, tmp_path):
    index = write_models(tmp_path) / "hand-made/text_encoder/model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    refused(tmp_path, "only safetensors beside it")


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    write_models(tmp_path)

    def denied(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", denied)  # as root, no mode forbids it
    refused(tmp_path, "cannot be read", "Permission denied")
