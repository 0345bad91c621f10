"""``verify``: a folder against its lock, the catalogue and itself. No network."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_samples import STRICT, base_entry, entry, pass_files, weights, write_models
from void_client.digest import sha256_file
from void_client.errors import EngineUnavailable, InputError

from void_engine.models.catalogue import BASE, CATALOGUE, VOID, Model, ModelFile, choose
from void_engine.models.lock import LockedFile, LockedModel, read_lock, write_lock
from void_engine.models.verify import failure, verify


def states(root: Path, *catalogue: Model) -> dict[str, str]:
    return {finding.file: finding.state for finding in verify(root, catalogue)}


def lock_all(root: Path) -> None:
    paths = [path for path in root.rglob("*") if path.is_file()]
    files = {p.relative_to(root).as_posix(): LockedFile(p.stat().st_size, sha256_file(p)) for p in paths}
    write_lock(root, {"all": LockedModel("studio/all", "c" * 40, files)})


def test_a_folder_made_by_hand_is_unknown_but_sane(tmp_path):
    findings = list(verify(write_models(tmp_path)))
    assert {finding.state for finding in findings} == {"unknown"}
    assert len(findings) == 14
    assert failure(findings, tmp_path) is None
    assert sha256_file(tmp_path / "void_pass1.safetensors") in findings[-2].text


def test_a_locked_folder_is_ok(tmp_path):
    lock_all(write_models(tmp_path))
    assert set(states(tmp_path).values()) == {"ok"}


def test_the_pinned_file_is_ok_without_a_lock(tmp_path):
    write_models(tmp_path)
    pin = ModelFile("void_pass1.safetensors", 1, sha256_file(tmp_path / "void_pass1.safetensors"))
    found = states(tmp_path, entry("void", {}, files=(pin,)))
    assert found["void_pass1.safetensors"] == "ok"
    assert found["void_pass2.safetensors"] == "unknown"


def test_changed_bytes_a_changed_size_and_a_missing_file(tmp_path):
    lock_all(write_models(tmp_path))
    spiece = tmp_path / "hand-made/tokenizer/spiece.model"
    spiece.write_bytes(spiece.read_bytes()[::-1])
    (tmp_path / "void_pass1.safetensors").write_bytes(weights(5, size=999))
    (tmp_path / "void_pass2.safetensors").unlink()
    found = {finding.file: finding for finding in verify(tmp_path)}
    assert found["hand-made/tokenizer/spiece.model"].state == "damaged"
    assert found["void_pass1.safetensors"].state == "damaged"
    assert "bytes, not the" in found["void_pass1.safetensors"].text
    assert found["void_pass2.safetensors"].state == "missing"
    error = failure(list(found.values()), tmp_path)
    assert isinstance(error, EngineUnavailable)
    assert "and 2 more" in error.message
    assert len(error.details["files"]) == 3


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_cut_safetensors_without_a_lock(keep, tmp_path):
    path = write_models(tmp_path) / "hand-made/text_encoder/model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert states(tmp_path)["hand-made/text_encoder/model-00002-of-00002.safetensors"] == "damaged"


def test_pickles_are_a_warning_and_are_not_read(tmp_path):
    write_models(tmp_path)
    (tmp_path / "hand-made/vae/old.ckpt").write_bytes(b"\x80\x04.")
    (tmp_path / "sam2.pt").write_bytes(b"\x80\x04.")
    findings = list(verify(tmp_path))
    assert {f.file for f in findings if f.state == "warning"} == {"hand-made/vae/old.ckpt", "sam2.pt"}
    assert failure(findings, tmp_path) is None


def test_a_folder_that_is_not_complete(tmp_path):
    (write_models(tmp_path) / "void_pass1.safetensors").unlink()
    assert states(tmp_path)[str(tmp_path)] == "missing"


def test_parts_of_a_fetch_are_no_models(tmp_path):
    write_models(tmp_path)
    (tmp_path / ".void_pass1.safetensors.0123.part").write_bytes(b"half")
    (tmp_path / "hand-made/vae/.diffusion_pytorch_model.safetensors.0123.part").write_bytes(b"half")
    assert not [name for name in states(tmp_path) if name.endswith(".part")]


@pytest.mark.parametrize(
    "lock",
    [
        "{", '{"version": 2, "models": {}}', '{"version": 1}',
        '{"version": 1, "models": {"a": {"repository": "r", "revision": "v", "files": {"../x": {}}}}}',
        '{"version": 1, "models": {"a": {"repository": "r", "revision": "v", "files": {"x": {"size": 1,'
        ' "sha256": "short"}}}}}',
    ],
)  # fmt: skip
def test_a_damaged_lock_says_so(lock, tmp_path):
    (write_models(tmp_path) / "models.lock.json").write_text(lock)
    with pytest.raises(InputError, match=r"models.lock.json is damaged") as caught:
        list(verify(tmp_path))
    assert "Remove it" in caught.value.hint


def test_a_lock_comes_back_as_it_was_written(tmp_path):
    models = {"void": LockedModel("a/b", "c" * 40, {"x": LockedFile(3, "d" * 64)})}
    write_lock(tmp_path, models)
    assert read_lock(tmp_path) == models


def test_no_folder_at_all(tmp_path):
    with pytest.raises(InputError, match="typo"):
        list(verify(tmp_path / "typo"))


def test_the_catalogue_is_sound():
    for model in CATALOGUE:
        assert len(model.revision) in (0, 40)
        assert model.licence.url.startswith("https://")
        for file in model.files:
            assert len(file.sha256) in (0, 64)
            assert not file.name.endswith((".bin", ".pt", ".ckpt", ".pkl", ".py"))
    assert BASE.licence.must_accept
    assert BASE.size(everything=True) - BASE.size() == 11_100_000_000
    assert BASE.files[-1].name == "model_index.json"  # a base that is not whole must not look like one
    assert {file.name for file in VOID.files} == set(pass_files())
    assert choose([]) == (BASE, VOID)  # extra ones only when named
    assert choose(["void", "void"]) == (VOID,)
    with pytest.raises(InputError, match="sam"):
        choose(["sam"])
    assert base_entry().licence is STRICT
