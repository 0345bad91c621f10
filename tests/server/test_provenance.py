"""Results are signed without anybody asking for it, `void verify` tells what was changed, and nothing is left unsigned
in silence: real servers, real files."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.servers import RunningServer, resolve, run_void
from void_cli.main import main
from void_client import provenance as p
from void_client.errors import SettingsError
from void_client.manifest import ResultFile, ResultManifest
from void_server import credentials, signing

MADE_FOR = "void_nuke.result"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No trusted keys of whoever runs the tests."""
    monkeypatch.setenv("VOID_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture(scope="module")
def made(server: RunningServer, shot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result as it was fetched. Read only."""
    out = tmp_path_factory.mktemp("made") / "out"
    with server.client() as client:
        client.run("signed", resolve(shot), out)
    return out


@pytest.fixture(scope="module")
def pictures(server: RunningServer, shot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result with a still and a movie. Read only."""
    resolved = resolve(shot)
    masks = dataclasses.replace(resolved, spec=dataclasses.replace(resolved.spec, stop="masks"))
    out = tmp_path_factory.mktemp("pictures") / "out"
    with server.client() as client:
        client.run("pictures", masks, out)
    return out


@pytest.fixture
def result(made: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(made, tmp_path / "result"))


@pytest.fixture
def verify(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any], str]]:
    """`void verify`: exit code, what it tells machines, what it tells people."""

    def run(*arguments: str | Path) -> tuple[int, dict[str, Any], str]:
        words = ["verify", *map(str, arguments)]
        code = main([*words, "--json"])
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert main(words) == code
        told = capsys.readouterr()
        return code, lines[0], told.out + told.err

    return run


def server_key(server: RunningServer) -> str:
    return (server.data / "keys" / "signing.pub").read_text().strip()


# --- signed by default


def test_a_result_is_signed_without_ceremony_and_passes(server, made, verify, config):
    key = server_key(server)
    assert run_void("keys", "signing", "--data", server.data).stdout.strip() == key
    assert stat.S_IMODE((server.data / "keys" / "signing.pem").stat().st_mode) == 0o600
    code, told, words = verify(made)
    assert (code, told["verdict"], told["key"]) == (0, "unknown_key", key)
    assert p.key_id(key) in words
    assert "not known here" in words
    code, told, words = verify(made, "--key", key)
    assert (code, told["verdict"]) == (0, "genuine")
    assert "Genuine" in words
    config.mkdir()
    (config / "trusted_keys").write_text(f"{key} void01\n")
    code, told, words = verify(made)
    assert (code, told["verdict"]) == (0, "genuine")
    assert "signed by void01" in words


def test_the_command_line_says_who_signed(server, shot, tmp_path):
    arguments = ["--plate", shot / "plate.%04d.exr", "--quadmask", shot / "quadmask.%04d.exr"]
    done = run_void("render", *arguments, "--connection", server.connection, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert f"5 frames in {tmp_path / 'out'}; signed by {server_key(server)}" in done.stdout
    done = run_void("status", "signed", "--connection", server.connection, "--json")
    assert json.loads(done.stdout.splitlines()[0])["provenance"]["signed"] is True
    with server.client() as client:
        assert next(e for e in client.events("signed") if e.kind == "done").data["signed"] is True
        assert client.health()["workers"][0]["signing"] == {"key": server_key(server), "reason": ""}


# --- what was changed


def test_one_flipped_byte_names_its_frame(result, verify):
    path = result / "plate.1003.exr"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    code, told, words = verify(result)
    assert (code, told["verdict"]) == (4, "altered")
    assert [(each["kind"], each["frame"]) for each in told["problems"]] == [("altered", 1003)]
    assert "frame 1003, plate.1003.exr, is not what was delivered." in words


def test_missing_renamed_and_extra_frames_are_named_and_notes_do_no_harm(result, verify):
    (result / "plate.1001.exr").unlink()
    (result / "plate.1002.exr").rename(result / "sh010.1002.exr")
    shutil.copy(result / "plate.1004.exr", result / "plate.1006.exr")
    (result / "notes.txt").write_text("looks good")
    code, told, words = verify(result)
    assert (code, told["verdict"]) == (4, "altered")
    problems = {(each["kind"], each["file"]) for each in told["problems"]}
    assert problems == {("missing", "plate.1001.exr"), ("missing", "plate.1002.exr"), ("extra", "plate.1006.exr")}
    assert "there under the name sh010.1002.exr" in words
    assert told["others"] == ["notes.txt", "sh010.1002.exr"]


def test_two_frames_that_change_places_are_not_what_was_delivered(result, verify):
    first, second = result / "plate.1001.exr", result / "plate.1002.exr"
    first.rename(result / "aside")
    second.rename(first)
    (result / "aside").rename(second)
    code, told, _ = verify(result)
    assert code == 4
    assert [each["frame"] for each in told["problems"]] == [1001, 1002]


def edited(result: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = result / "manifest.json"
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["facts"].update(engine="paint"),
        lambda m: m["facts"].pop("void/seed"),
        lambda m: m["job"].update(prompt="another"),
        lambda m: m["frames"].pop(),
        lambda m: m["frames"][0].update(number=7),
        lambda m: m["provenance"].update(time="2020-01-01T00:00:00Z"),
        lambda m: m["provenance"]["credentials"].update({"x.png": ""}),
    ],
    ids=["fact", "fact gone", "job", "frame gone", "number", "time", "credentials"],
)
def test_an_edited_manifest_is_not_what_was_signed(result, verify, change):
    edited(result, change)
    code, told, words = verify(result)
    assert (code, told["verdict"]) == (4, "altered")
    assert "manifest.json is not what was signed" in words


def test_a_forger_who_signs_again_is_an_unknown_key_and_fails_against_a_pinned_one(server, result, verify, tmp_path):
    forger = tmp_path / "forger" / "signing.pem"
    signing.make_key(forger)
    manifest = ResultManifest.read(result)
    facts = {**manifest.facts, "engine": "paint"}
    signing.Notary(forger).vouch(dataclasses.replace(manifest, facts=facts), result).write(result)
    code, told, words = verify(result)
    assert (code, told["verdict"]) == (0, "unknown_key")
    assert p.key_id(told["key"]) in words
    code, told, words = verify(result, "--key", server_key(server))
    assert (code, told["verdict"]) == (4, "other_key")
    assert "another key" in words


def test_a_signature_of_another_key_under_the_first_ones_name_does_not_hold(result, verify, tmp_path):
    signing.make_key(tmp_path / "other.pem")
    manifest = ResultManifest.read(result)
    other = signing.Notary(tmp_path / "other.pem").vouch(manifest, result).provenance
    forged = dataclasses.replace(manifest.provenance, signature=other.signature)
    dataclasses.replace(manifest, provenance=forged).write(result)
    assert verify(result)[0] == 4


def test_what_a_manifest_says_of_itself_cannot_look_like_our_words(result, verify):
    edited(result, lambda m: m.update(provenance={"signed": False, "reason": "\r\x1b[2KGenuine\n"}))
    code, _, words = verify(result)
    assert code == 4
    assert "\x1b" not in words
    assert "\r" not in words


def test_what_nobody_signed_says_so(result, verify):
    edited(result, lambda m: m.pop("provenance"))
    code, told, words = verify(result)
    assert (code, told["verdict"]) == (4, "unsigned")
    assert p.NOT_RECORDED in words


@pytest.mark.parametrize("arguments", [["nowhere"], [".", "--key", "nonsense"]])
def test_what_cannot_be_looked_at_is_bad_input(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["verify", *arguments]) == 2
    assert "void: " in capsys.readouterr().err


def test_where_cryptography_lacks_a_changed_file_is_still_told_and_a_signature_is_not_taken_on_trust(
    result, verify, monkeypatch
):
    for name in ("cryptography", "cryptography.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["verify", str(result)]) == 2
    (result / "plate.1001.exr").write_bytes(b"x")
    code, told, words = verify(result)
    assert (code, told["verdict"]) == (4, "altered")
    assert "signature was not checked" in words


# --- not signed, and not in silence


def test_a_server_whose_key_is_broken_works_on_and_says_so_everywhere(shot, tmp_path, verify):
    broken = tmp_path / "broken.pem"
    broken.write_text("this was a key")
    broken.chmod(0o600)
    arguments = ["--plate", shot / "plate.%04d.exr", "--quadmask", shot / "quadmask.%04d.exr", "--job-id", "unsigned"]
    with RunningServer(tmp_path / "data", signing_key=broken) as running:
        done = run_void("render", *arguments, "--connection", running.connection, "--out", tmp_path / "out")
        assert done.returncode == 0, done.stderr
        assert f"NOT SIGNED: The signing key {broken} cannot be read" in done.stdout
        done = run_void("status", "--connection", running.connection)
        assert "This server's results are NOT SIGNED" in done.stdout
        done = run_void("status", "unsigned", "--connection", running.connection)
        assert f"NOT SIGNED: The signing key {broken}" in done.stdout
        assert broken.read_text() == "this was a key"
        assert "NOT SIGNED" in (running.data / "server.log").read_text()
        code, told, words = verify(tmp_path / "out")
        assert (code, told["verdict"]) == (4, "unsigned")
        assert str(broken) in words
        # Mended, the next result is signed: nothing has to be started again.
        broken.unlink()
        signing.make_key(broken)
        with running.client() as client:
            client.run("mended", resolve(shot), tmp_path / "mended")
    assert verify(tmp_path / "mended")[0] == 0


def test_without_the_package_a_result_says_which(made, tmp_path, monkeypatch):
    manifest = dataclasses.replace(ResultManifest.read(made), provenance=None)
    key = tmp_path / "signing.pem"
    signing.make_key(key)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    told = signing.Notary(key).vouch(manifest, made).provenance
    assert not told.signed
    assert "cryptography is not installed" in told.reason


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_key_that_others_can_read_signs_nothing(made, tmp_path):
    key = tmp_path / "signing.pem"
    signing.make_key(key)
    key.chmod(0o644)
    told = signing.Notary(key).vouch(ResultManifest.read(made), made).provenance
    assert not told.signed
    assert "chmod 600" in told.reason


# --- keys


def test_a_key_is_made_once_and_a_rotated_one_keeps_its_public_half(tmp_path, made):
    key = tmp_path / "keys" / "signing.pem"
    first = signing.make_key(key)
    assert signing.make_key(key) == first
    before = signing.Notary(key).vouch(ResultManifest.read(made), made)
    done = run_void("keys", "signing", "--key-file", key, "--rotate", "--json")
    second = json.loads(done.stdout)
    assert second["public_key"] != first
    assert second["key_id"] == p.key_id(second["public_key"])
    assert p.read_keys(str(key.with_name("signing.retired"))).keys() == {first}
    assert key.with_name("signing.pub").read_text().strip() == second["public_key"]
    assert p.signature_holds(before)
    assert signing.Notary(key).vouch(before, made).provenance.key == second["public_key"]
    assert sorted(each.name for each in key.parent.iterdir()) == ["signing.pem", "signing.pub", "signing.retired"]


def test_two_that_make_the_same_key_end_with_one(tmp_path, monkeypatch):
    key = tmp_path / "signing.pem"
    real = signing._new_secret

    def overtaken(path: Path) -> Path:
        monkeypatch.setattr(signing, "_new_secret", real)
        made.append(signing.make_key(path))  # another process gets in between
        return real(path.with_name("mine.pem"))

    made: list[str] = []
    monkeypatch.setattr(signing, "_new_secret", overtaken)
    assert signing.make_key(key) == made[0]


@pytest.mark.parametrize("text", ["", "nonsense", "RSA"])
def test_what_is_no_signing_key_is_refused_and_kept(text, tmp_path):
    key = tmp_path / "signing.pem"
    if text == "RSA":
        from cryptography.hazmat.primitives.asymmetric import ec

        key.write_bytes(credentials.secret_pem(ec.generate_private_key(ec.SECP256R1())))
    else:
        key.write_text(text)
    key.chmod(0o600)
    before = key.read_bytes()
    with pytest.raises(SettingsError, match=str(key)):
        signing.make_key(key)
    assert key.read_bytes() == before


def test_private_servers_sign_as_their_user(tmp_path, monkeypatch, config):
    from void_cli.private import _sign_as_the_user

    environment = {"VOID_CONFIG_DIR": str(config)}
    _sign_as_the_user(environment, "V")
    assert environment["V"] == str(config / "keys" / "signing.pem")
    environment["V"] = "chosen"
    _sign_as_the_user(environment, "V")
    assert environment["V"] == "chosen"
    (tmp_path / "file").write_text("no folder")  # settings that cannot be written
    environment = {"VOID_CONFIG_DIR": str(tmp_path / "file")}
    _sign_as_the_user(environment, "V")
    assert "V" not in environment
    done = run_void("keys", "signing", "--user")
    assert (config / "keys" / "signing.pub").read_text() == done.stdout


def test_keys_signing_makes_none_in_a_mistyped_folder(tmp_path):
    done = run_void("keys", "signing", "--data", tmp_path / "typo")
    assert done.returncode == 2
    assert not (tmp_path / "typo").exists()


# --- content credentials


def test_stills_and_movies_carry_a_credential_that_is_whole_and_untrusted(server, pictures, verify):
    manifest = ResultManifest.read(pictures)
    assert manifest.provenance.credentials == {"quadmask.png": "", "overlay.mp4": ""}
    code, told, words = verify(pictures, "--key", server_key(server))
    assert (code, told["verdict"]) == (0, "genuine")
    for name in ("quadmask.png", "overlay.mp4"):
        assert told["credentials"][name]["state"] == "untrusted"
        assert told["credentials"][name]["source"] == "composite"  # a plate under a mask: no engine made it
    assert "on no trust list" in words


def test_a_changed_picture_has_an_invalid_credential_and_a_changed_digest(pictures, tmp_path, verify):
    result = Path(shutil.copytree(pictures, tmp_path / "result"))
    path = result / "overlay.mp4"
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    assert credentials.read(path)["state"] == "invalid"
    code, told, _ = verify(result)
    assert (code, told["verdict"]) == (4, "altered")
    assert told["problems"][0]["file"] == "overlay.mp4"


@pytest.fixture
def still(tmp_path: Path, pictures: Path) -> tuple[ResultManifest, Path]:
    """A result of the engine void with one still, not vouched for; the still is a hard link, as a cached one is."""
    import cv2
    import numpy as np

    folder = tmp_path / "still"
    folder.mkdir()
    cv2.imwrite(str(tmp_path / "cached.png"), np.full((40, 60, 3), 90, np.uint8))
    os.link(tmp_path / "cached.png", folder / "still.png")
    file = ResultFile("still.png", p.sha256_file(folder / "still.png"), (folder / "still.png").stat().st_size)
    facts = {"engine": "void", "engine_version": "3", "void/model.base": "sha256:12", "void/prompt": "a secret film"}
    manifest = ResultManifest("still", "e" * 64, (), {"shot": "sh010"}, facts, (file,))
    return manifest, folder


def test_a_credential_says_what_made_the_pixels_and_nothing_of_the_shot(still, tmp_path):
    import c2pa

    manifest, folder = still
    cached = (tmp_path / "cached.png").read_bytes()
    signing.make_key(tmp_path / "signing.pem")
    vouched = signing.Notary(tmp_path / "signing.pem").vouch(manifest, folder)
    assert (tmp_path / "cached.png").read_bytes() == cached
    assert [each.name for each in folder.iterdir()] == ["still.png"]
    assert vouched.files[0].sha256 == p.sha256_file(folder / "still.png") != manifest.files[0].sha256
    assert vouched.files[0].size == (folder / "still.png").stat().st_size
    with c2pa.Reader(folder / "still.png") as reader:
        found = json.loads(reader.json())
    claim = found["manifests"][found["active_manifest"]]
    told = {each["label"]: each["data"] for each in claim["assertions"]}
    actions = told["c2pa.actions.v2"]["actions"]
    assert [each["action"] for each in actions] == ["c2pa.created", "c2pa.edited"]
    assert all(each["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia") for each in actions)
    assert told[MADE_FOR] == {
        "engine": "void", "engine_version": "3", "job": "e" * 64, "models": {"model.base": "sha256:12"},
    }  # fmt: skip
    assert "secret film" not in json.dumps(found)
    assert "sh010" not in json.dumps(found)


def test_sources_are_named_after_what_made_them():
    assert credentials.source_type("").endswith("/composite")
    assert credentials.source_type("cleanplate").endswith("/algorithmicallyEnhanced")
    assert credentials.source_type("another").endswith("/compositeWithTrainedAlgorithmicMedia")


def test_without_c2pa_the_manifest_says_which_pictures_have_none(still, tmp_path, monkeypatch, verify):
    manifest, folder = still
    signing.make_key(tmp_path / "signing.pem")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "c2pa", None)
        vouched = signing.Notary(tmp_path / "signing.pem").vouch(manifest, folder)
    assert vouched.files == manifest.files
    assert vouched.provenance.signed
    assert "c2pa-python is not installed" in vouched.provenance.credentials["still.png"]
    assert "NO content credentials in still.png" in p.describe(vouched)[0]
    vouched.write(folder)
    code, told, words = verify(folder)
    assert (code, told["credentials"]["still.png"]["state"]) == (0, "none")
    assert "still.png: NO content credential: The package c2pa-python" in words


def test_a_fault_in_a_library_costs_the_credential_and_not_the_job(still, tmp_path, monkeypatch):
    manifest, folder = still
    signing.make_key(tmp_path / "signing.pem")
    monkeypatch.setattr(credentials, "credential", lambda *_: 1 // 0)
    vouched = signing.Notary(tmp_path / "signing.pem").vouch(manifest, folder)
    assert vouched.provenance.signed
    assert vouched.provenance.credentials["still.png"].startswith("ZeroDivisionError")
    monkeypatch.setattr(signing, "sign", lambda *_: 1 // 0)
    vouched = signing.Notary(tmp_path / "signing.pem").vouch(manifest, folder)
    assert not vouched.provenance.signed
    assert vouched.provenance.reason.startswith("ZeroDivisionError")


def test_a_picture_that_c2pa_cannot_read_stays_as_it_is(still, tmp_path):
    manifest, folder = still
    (folder / "still.png").unlink()
    (folder / "still.png").write_bytes(b"no picture")
    signing.make_key(tmp_path / "signing.pem")
    vouched = signing.Notary(tmp_path / "signing.pem").vouch(manifest, folder)
    assert vouched.provenance.credentials["still.png"].startswith("c2pa could not sign still.png")
    assert [(each.name, each.read_bytes()) for each in folder.iterdir()] == [("still.png", b"no picture")]


@pytest.mark.parametrize("kind", ["p256", "rsa"])
def test_the_studios_own_certificate_signs_pictures(kind, still, tmp_path):
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding

    manifest, folder = still
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "p256" else rsa.generate_private_key(65537, 2048)
    root = Ed25519PrivateKey.generate()
    name = credentials._name(root.public_key(), "studio")
    made = [
        credentials._certificate(
            credentials._name(root.public_key(), "leaf"), key.public_key(), name, root, is_root=False
        ),
        credentials._certificate(name, root.public_key(), name, root, is_root=True),
    ]
    (tmp_path / "chain.pem").write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in made))
    (tmp_path / "studio.pem").write_bytes(credentials.secret_pem(key))
    (tmp_path / "studio.pem").chmod(0o600)
    signing.make_key(tmp_path / "signing.pem")
    notary = signing.Notary(tmp_path / "signing.pem", str(tmp_path / "chain.pem"), str(tmp_path / "studio.pem"))
    assert notary.vouch(manifest, folder).provenance.credentials == {"still.png": ""}
    assert credentials.read(folder / "still.png")["state"] == "untrusted"


def test_a_chain_is_a_function_of_its_key(tmp_path):
    signing.make_key(tmp_path / "signing.pem")
    key = signing.read_key(tmp_path / "signing.pem")
    first, again = credentials.self_made_signer(key), credentials.self_made_signer(key)
    assert first == again
    assert "PRIVATE" not in repr(first)
