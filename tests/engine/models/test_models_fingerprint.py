"""Fingerprints: they follow the content, and are not computed twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from model_samples import weights, write_models
from void_client.digest import sha256_file
from void_client.errors import ModelError

from void_engine.models import describe_weights, find_models, fingerprint
from void_engine.models import fingerprint as package_level
from void_engine.models.hashing import sha256


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are really read for their digests."""
    names: list[str] = []

    def counted(path: Path) -> str:
        names.append(path.name)
        return sha256(path)

    monkeypatch.setitem(package_level.__globals__, "sha256", counted)
    return names


def test_it_names_both_passes_and_the_base(tmp_path):
    models = find_models(write_models(tmp_path / "models"))
    found = fingerprint(models, tmp_path / "cache" / "digests.json")
    assert found["pass1"] == sha256_file(models.pass1)
    assert found["pass2"] == sha256_file(models.require_pass2())
    assert len(found["base"]) == 64


def test_the_same_content_elsewhere_has_the_same_fingerprint(tmp_path):
    one = find_models(write_models(tmp_path / "one", base="a"))
    other = find_models(write_models(tmp_path / "other", base="b"))
    assert fingerprint(one, tmp_path / "cache.json") == fingerprint(other, tmp_path / "cache.json")


def test_what_is_not_used_does_not_count(tmp_path):
    models = find_models(write_models(tmp_path / "models"))
    before = fingerprint(models, tmp_path / "cache.json")
    (models.base / "README.md").write_text("hello")
    (models.base / "vae" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    assert fingerprint(models, tmp_path / "cache.json") == before


def test_nothing_is_read_twice(tmp_path, read):
    models = find_models(write_models(tmp_path / "models"))
    first = fingerprint(models, tmp_path / "cache.json")
    assert len(read) == 14
    assert fingerprint(models, tmp_path / "cache.json") == first
    assert len(read) == 14


def test_a_changed_file_of_the_same_size_is_read_again(tmp_path, read):
    models = find_models(write_models(tmp_path / "models"))
    first = fingerprint(models, tmp_path / "cache.json")
    read.clear()
    replacement = tmp_path / "new"
    replacement.write_bytes(weights(99))
    replacement.rename(models.base / "vae" / "diffusion_pytorch_model.safetensors")
    second = fingerprint(models, tmp_path / "cache.json")
    assert read == ["diffusion_pytorch_model.safetensors"]
    assert second["base"] != first["base"]
    assert second["pass1"] == first["pass1"]


@pytest.mark.parametrize("cache", ["{", "[1]", json.dumps({"x": 3})])
def test_a_spoilt_cache_is_done_without(cache, tmp_path):
    models = find_models(write_models(tmp_path / "models"))
    (tmp_path / "cache.json").write_text(cache)
    assert fingerprint(models, tmp_path / "cache.json")["pass1"] == sha256_file(models.pass1)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, caplog):
    models = find_models(write_models(tmp_path / "models"))
    (tmp_path / "file").write_bytes(b"")
    assert fingerprint(models, tmp_path / "file" / "cache.json")["pass1"] == sha256_file(models.pass1)
    assert "not kept" in caplog.text


def test_tiny_weights_are_said_to_be_tiny(tmp_path):
    assert "for tests only" in describe_weights(find_models(write_models(tmp_path)))


def test_real_sizes_are_passed_in_silence(tmp_path):
    models = find_models(write_models(tmp_path))
    count = 100_000_000
    header = json.dumps({"w": {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}).encode()
    for path in (models.pass1, models.require_pass2()):
        with path.open("wb") as stream:  # sparse: the header is all that is on the disk
            stream.write(len(header).to_bytes(8, "little") + header)
            stream.truncate(8 + len(header) + count)
    assert describe_weights(models) == ""


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_cut_weights_are_named(keep, tmp_path):
    models = find_models(write_models(tmp_path))
    models.pass1.write_bytes(models.pass1.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"void_pass1\.safetensors"):
        describe_weights(models)
