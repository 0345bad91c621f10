"""The detector's entry in the catalogue: fetched only when named, held to its pin, and found where it was put."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from void_client.errors import EngineUnavailable

from void_engine.models.catalogue import CATALOGUE, GROUNDING_DINO, ModelFile, choose
from void_engine.models.detector_folder import find_detector
from void_engine.models.fetch import fetch
from void_engine.models.verify import verify

FILES = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": b"", "pytorch_model.bin": b"\x80\x04."}


@pytest.fixture
def files(fake) -> dict[str, bytes]:
    from model_samples import weights

    files = {**FILES, "model.safetensors": weights(9)}
    fake.repositories[GROUNDING_DINO.repository] = (GROUNDING_DINO.revision, files)
    return files


def test_it_comes_only_when_named():
    assert GROUNDING_DINO not in choose([])
    assert choose(["grounding-dino"]) == (GROUNDING_DINO,)
    assert GROUNDING_DINO in CATALOGUE
    assert len(GROUNDING_DINO.revision) == 40
    assert not GROUNDING_DINO.licence.must_accept


def test_other_weights_than_the_pinned_ones_are_not_fetched(hub, files, tmp_path):
    with pytest.raises(EngineUnavailable, match=r"another model\.safetensors than VOID is pinned to"):
        list(fetch(tmp_path, [GROUNDING_DINO], hub))
    with pytest.raises(EngineUnavailable):
        find_detector(tmp_path)


def test_what_was_fetched_is_found_and_verifies(hub, files, tmp_path):
    digest = hashlib.sha256(files["model.safetensors"]).hexdigest()
    pinned = tuple(dataclasses.replace(each, sha256=digest if each.sha256 else "") for each in GROUNDING_DINO.files)
    model = dataclasses.replace(GROUNDING_DINO, files=pinned)
    places = [each.place for each in fetch(tmp_path, [model], hub)]
    assert places == [model.place(each.name) for each in model.files]  # and nothing pickled
    folder = find_detector(tmp_path)
    states = {each.file: each.state for each in verify(tmp_path, [model])}
    assert [states[place] for place in places] == ["ok"] * 3
    (folder / "model.safetensors").write_bytes(files["model.safetensors"][:-1] + b"x")
    assert "damaged" in {each.state for each in verify(tmp_path, [model])}


def test_each_of_its_files_is_needed(hub, files, tmp_path):
    model = dataclasses.replace(GROUNDING_DINO, files=tuple(ModelFile(f.name, 1) for f in GROUNDING_DINO.files))
    list(fetch(tmp_path, [model], hub))
    for each in model.files:
        path = tmp_path / model.place(each.name)
        kept = path.read_bytes()
        path.unlink()
        with pytest.raises(EngineUnavailable, match=each.name):
            find_detector(tmp_path)
        path.write_bytes(kept)
    assert find_detector(tmp_path).is_dir()
