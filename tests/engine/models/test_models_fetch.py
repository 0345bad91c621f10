"""Fetching from a hub of our own, over real HTTP: whole, interrupted, wrong, refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from fake_hub import FakeHub
from model_samples import (
    BASE_REPOSITORY,
    BASE_REVISION,
    REPOSITORY,
    VOID_REVISION,
    base_entry,
    base_files,
    entry,
    pass_files,
)
from void_client.errors import Busy, DigestMismatch, DiskFull, EngineUnavailable, InputError, ServerUnreachable

from void_engine.models import find_models
from void_engine.models.catalogue import ModelFile
from void_engine.models.fetch import Fetched, fetch
from void_engine.models.hub import Hub
from void_engine.models.lock import read_lock
from void_engine.models.verify import verify

MB = 1 << 20
PASS1 = "void_pass1.safetensors"


def bring(root: Path, hub: Hub, *models: object, **values: object) -> list[Fetched]:
    return list(fetch(root, models or (base_entry(), entry("void", pass_files())), hub, ["Strict"], **values))


def parts(root: Path) -> list[Path]:
    return sorted(root.rglob("*.part"))


def asked(fake: FakeHub, word: str) -> list[str]:
    return [path for path, _, _ in fake.seen if word in path]


def test_a_fresh_fetch_is_whole_and_verifies(fake, hub, tmp_path):
    told: list[tuple[str, int, int]] = []
    fetched = bring(tmp_path, hub, progress=lambda *news: told.append(news))
    assert all(file.fresh for file in fetched)
    assert find_models(tmp_path).base == tmp_path / "base"
    assert (tmp_path / PASS1).read_bytes() == pass_files()[PASS1]
    lock = read_lock(tmp_path)
    assert (lock["base"].revision, lock["void"].revision) == (BASE_REVISION, VOID_REVISION)
    assert {finding.state for finding in verify(tmp_path, ())} == {"ok"}
    assert parts(tmp_path) == []
    whole = sum(len(data) for data in {**base_files(), **pass_files()}.values())
    assert told[-1] == ("download", whole, whole)


def test_what_is_there_is_checked_and_not_fetched_again(fake, hub, tmp_path):
    bring(tmp_path, hub)
    fake.seen.clear()
    assert not any(file.fresh for file in bring(tmp_path, hub))
    assert asked(fake, "/resolve/") == []


def test_optional_files_come_when_asked_for(fake, hub, tmp_path):
    files = tuple(ModelFile(name, 1, optional=name == "void_pass2.safetensors") for name in pass_files())
    model = entry("void", {}, files=files)
    assert [file.place for file in bring(tmp_path, hub, model)] == [PASS1]
    assert len(bring(tmp_path, hub, model, everything=True)) == 2


def test_a_wrong_file_in_its_place_is_fetched_again(fake, hub, tmp_path):
    bring(tmp_path, hub)
    for name in (PASS1, "base/tokenizer/spiece.model"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert [f.file for f in verify(tmp_path, ()) if f.state == "damaged"] == ["base/tokenizer/spiece.model", PASS1]
    assert [file.place for file in bring(tmp_path, hub) if file.fresh] == ["base/tokenizer/spiece.model", PASS1]
    assert {finding.state for finding in verify(tmp_path, ())} == {"ok"}


def big(fake: FakeHub, size: int = 25 * MB) -> dict[str, bytes]:
    """The library writes in blocks of 10 MB: less than that, when the line breaks, is lost."""
    files = {PASS1: bytes(range(256)) * (size // 256)}
    fake.repositories[REPOSITORY] = (VOID_REVISION, files)
    return files


def test_an_interrupted_fetch_goes_on_where_it_was(fake, hub, tmp_path):
    files = big(fake)
    fake.cut[PASS1] = 22 * MB
    with pytest.raises(ServerUnreachable, match="503"):
        bring(tmp_path, hub, entry("void", files))
    [part] = parts(tmp_path)
    assert part.stat().st_size == 20 * MB
    assert not (tmp_path / PASS1).exists()
    fake.down = False
    bring(tmp_path, hub, entry("void", files))
    assert fake.ranges(PASS1)[-1] == f"bytes={20 * MB}-"
    assert (tmp_path / PASS1).read_bytes() == files[PASS1]
    assert parts(tmp_path) == []


def test_a_part_that_rotted_is_fetched_anew(fake, hub, tmp_path):
    files = big(fake, 2 * MB)
    digest = hashlib.sha256(files[PASS1]).hexdigest()
    (tmp_path / f".{PASS1}.{digest[:16]}.part").write_bytes(b"\xff" * MB)
    bring(tmp_path, hub, entry("void", files))
    assert (tmp_path / PASS1).read_bytes() == files[PASS1]
    assert fake.ranges(PASS1) == [f"bytes={MB}-", ""]


def test_a_part_of_other_content_is_not_gone_on_with(fake, hub, tmp_path):
    stale = tmp_path / f".{PASS1}.{'0' * 16}.part"
    stale.write_bytes(b"other")
    bring(tmp_path, hub, entry("void", pass_files()))
    assert fake.ranges(PASS1) == [""]
    assert not stale.exists()


def test_what_is_not_as_announced_is_refused(fake, hub, tmp_path):
    fake.declared[REPOSITORY, PASS1] = ("e" * 64, len(pass_files()[PASS1]))
    with pytest.raises(DigestMismatch, match=PASS1):
        bring(tmp_path, hub, entry("void", pass_files()))
    assert not (tmp_path / PASS1).exists()
    assert parts(tmp_path) == []


def test_a_small_file_is_checked_by_its_blob(fake, hub, tmp_path, monkeypatch):
    info = fake.info(BASE_REPOSITORY)
    next(e for e in info["siblings"] if e["rfilename"] == "vae/config.json")["blobId"] = "f" * 40
    monkeypatch.setattr(fake, "info", lambda repository: info)
    with pytest.raises(DigestMismatch, match=r"vae/config\.json"):
        bring(tmp_path, hub, base_entry())


def test_other_content_than_the_pinned_one_is_refused_unfetched(fake, hub, tmp_path):
    pinned = entry("void", {}, files=(ModelFile(PASS1, 1, "d" * 64),))
    with pytest.raises(EngineUnavailable, match="another void_pass1"):
        bring(tmp_path, hub, pinned)
    assert asked(fake, "/resolve/") == []


def test_the_first_fetch_pins_the_revision(fake, hub, tmp_path):
    bring(tmp_path, hub, entry("void", pass_files()))
    fake.repositories[REPOSITORY] = ("9" * 40, pass_files())
    with pytest.raises(EngineUnavailable, match="not the revision"):
        bring(tmp_path, hub, entry("void", pass_files()))
    assert f"/api/models/{REPOSITORY}/revision/{VOID_REVISION}" in fake.seen[-1][0]


def test_an_unknown_revision(fake, hub, tmp_path):
    with pytest.raises(EngineUnavailable, match="not the revision"):
        bring(tmp_path, hub, base_entry(revision="1" * 40))


def test_an_unknown_repository(fake, hub, tmp_path):
    with pytest.raises(EngineUnavailable, match="HTTP 401") as caught:
        bring(tmp_path, hub, entry("void", pass_files(), repository="nobody/nothing"))
    assert "HF_TOKEN" in caught.value.hint


@pytest.mark.parametrize(("status", "code"), [(401, "GatedRepo"), (403, "GatedRepo"), (403, "")])
@pytest.mark.parametrize("where", ["/api/models/", f"/{REPOSITORY}/resolve/"])
def test_a_gated_repository_says_what_to_do(where, status, code, fake, hub, tmp_path):
    fake.refusals[where] = (status, code)
    with pytest.raises(EngineUnavailable, match=f"HTTP {status}") as caught:
        bring(tmp_path, hub, entry("void", pass_files()))
    assert "accept its terms" in caught.value.hint
    assert "HF_TOKEN" in caught.value.hint


def test_the_token_goes_to_the_hub_and_no_further(fake, hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    bring(tmp_path, hub, entry("void", pass_files()))
    assert {who for path, _, who in fake.seen if not path.startswith("/cdn/")} == {"Bearer hf_secret"}
    assert {who for path, _, who in fake.seen if path.startswith("/cdn/")} == {""}


def test_a_server_in_trouble_and_no_server(fake, hub, tmp_path):
    fake.down = True
    with pytest.raises(ServerUnreachable, match="503"):
        bring(tmp_path, hub)
    hub.close()  # else the connection that is kept alive is answered by its own thread still
    fake.stop()
    with pytest.raises(ServerUnreachable, match="cannot be reached"):
        bring(tmp_path, hub)


def test_what_is_no_hub(fake, hub, tmp_path, monkeypatch):
    monkeypatch.setattr(fake, "info", lambda repository: "a proxy's page")
    with pytest.raises(EngineUnavailable):
        bring(tmp_path, hub)


def test_no_licence_no_byte(fake, hub, tmp_path):
    with pytest.raises(InputError, match="Strict of studio/base is not accepted") as caught:
        list(fetch(tmp_path / "models", (base_entry(),), hub, ["Free"]))
    assert "--accept-licences" in caught.value.hint
    assert fake.seen == []
    assert not (tmp_path / "models").exists()


def test_no_room_no_byte(fake, hub, tmp_path):
    fake.declared[REPOSITORY, PASS1] = ("e" * 64, 10**16)
    with pytest.raises(DiskFull, match="GB free") as caught:
        bring(tmp_path, hub, entry("void", pass_files()))
    assert caught.value.details["needed"] > 10**16
    assert asked(fake, "/resolve/") == []


def test_a_repository_of_pickles_is_refused(fake, hub, tmp_path):
    files = {name.replace("pytorch_model.safetensors", "pytorch_model.bin"): x for name, x in base_files().items()}
    fake.repositories[BASE_REPOSITORY] = (BASE_REVISION, files)
    with pytest.raises(EngineUnavailable, match=r"diffusion_pytorch_model\.bin: only safetensors"):
        bring(tmp_path, hub, base_entry())
    assert asked(fake, "/resolve/") == []


def test_two_fetches_into_one_folder(fake, hub, tmp_path):
    first = fetch(tmp_path, (entry("void", pass_files()),), hub)
    next(first)
    with pytest.raises(Busy, match="Another fetch"):
        bring(tmp_path, hub)
    assert len(list(first)) == 1


def test_a_folder_that_cannot_be_written(fake, hub, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be written"):
        bring(tmp_path / "file", hub)
