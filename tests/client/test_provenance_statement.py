"""The statement that is signed, and public keys as text: the standard library is enough, on every Python."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from void_client import provenance as p
from void_client.errors import EngineUnavailable, SettingsError
from void_client.manifest import Provenance, ResultFile, ResultFrame, ResultManifest

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
SEED = bytes(range(32))

# Golden: a change of any of these is another version of the provenance.
KEY = "ed25519:A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"
KEY_ID = "56475aa75463474c"
STATEMENT = (
    b'VOID provenance 1\n{"content_hash":"' + b"c" * 64 + b'","credentials":{"overlay.mp4":"","quadmask.png":"why"},'
    b'"facts":{"engine":"cleanplate","large":1e+16,"model.base":"sha256:1",'
    b'"name":"\xc3\xa9t\xc3\xa9 \\"\\\\\\n\\u0001\x7f/",'
    b'"nothing":null,"one":1.0,"share":0.1,"small":1e-05,"worked":true},'
    b'"files":[["overlay.mp4","' + b"d" * 64 + b'",7]],'
    b'"frames":[[1001,"plate.1001.exr","' + b"a" * 64 + b'",12],[1002,"plate.1002.exr","' + b"b" * 64 + b'",13]],'
    b'"job":{"seed":9007199254740993,"version":1},"job_id":"golden","key":"' + KEY.encode() + b'",'
    b'"manifest":1,"time":"2026-01-02T03:04:05Z"}'
)
SIGNATURE = "bfSxwNaz7kDaooBp7JAH2evvO3Gp5JbC7dXMbwguXLciD8QUM78f2IpRwsq4ZuuM8-LpJ1xFHeXmji5cP1mxAw"


def golden() -> ResultManifest:
    return ResultManifest(
        "golden",
        "c" * 64,
        (ResultFrame(1001, "plate.1001.exr", "a" * 64, 12), ResultFrame(1002, "plate.1002.exr", "b" * 64, 13)),
        {"version": 1, "seed": 2**53 + 1},
        {
            "engine": "cleanplate",
            "one": 1.0,
            "share": 0.1,
            "small": 0.00001,
            "large": 1e16,
            "worked": True,
            "nothing": None,
            "name": 'été "\\\n\x01\x7f/',
            "model.base": "sha256:1",
        },
        (ResultFile("overlay.mp4", "d" * 64, 7),),
        provenance=Provenance(
            True,
            key=KEY,
            time="2026-01-02T03:04:05Z",
            signature=SIGNATURE,
            credentials={"quadmask.png": "why", "overlay.mp4": ""},
        ),
    )


def vouched(manifest: ResultManifest) -> bytes:
    assert manifest.provenance is not None
    return p.statement(manifest, manifest.provenance)


def test_the_signed_bytes_are_these():
    assert vouched(golden()) == STATEMENT
    assert p.key_id(KEY) == KEY_ID
    assert p.public_text(base64.urlsafe_b64decode(KEY[8:] + "=")) == KEY


def test_the_protocol_page_holds_the_golden_vector():
    text = PROTOCOL.read_text(encoding="utf-8")
    for value in (KEY, KEY_ID, SIGNATURE, hashlib.sha256(STATEMENT).hexdigest()):
        assert value in text


def test_a_manifest_says_the_same_after_every_way_that_it_travels(tmp_path):
    from void_client import wire

    golden().write(tmp_path)
    assert vouched(ResultManifest.read(tmp_path)) == STATEMENT
    sent = wire.unpack(wire.pack(golden().to_plain()))
    ResultManifest.from_plain(sent, "there").write(tmp_path)
    assert vouched(ResultManifest.read(tmp_path)) == STATEMENT


def test_all_that_a_manifest_holds_is_signed():
    """A field that is added to the manifest belongs into the statement, or has to be named here."""
    manifest = {field.name for field in dataclasses.fields(ResultManifest)}
    assert manifest == {
        "job_id", "content_hash", "frames", "job", "facts", "files", "version", "provenance",
    }  # fmt: skip
    assert {field.name for field in dataclasses.fields(ResultFrame)} == {"number", "name", "sha256", "size"}
    assert {field.name for field in dataclasses.fields(ResultFile)} == {"name", "sha256", "size"}
    unsigned = {"signed", "reason", "signature", "version"}  # they lead to the statement, or follow from it
    signed = {field.name for field in dataclasses.fields(Provenance)} - unsigned
    assert signed == {"key", "time", "credentials"}


def test_a_manifest_from_before_is_read_and_says_that_nobody_signed_it(tmp_path):
    old = golden().to_plain()
    del old["provenance"]
    (tmp_path / "manifest.json").write_text(json.dumps(old))
    manifest = ResultManifest.read(tmp_path)
    assert manifest.provenance is None
    assert p.describe(manifest) == (f"NOT SIGNED: {p.NOT_RECORDED}", {"signed": False, "reason": p.NOT_RECORDED})


@pytest.mark.parametrize(
    "text", ["", "ed25519:", KEY[:-1], KEY + "A", KEY + "=", KEY[:-1] + "h", KEY.replace("ed", "rsa"), "ed25519:é"]
)
def test_what_is_no_public_key_is_refused(text):
    """The one with another last letter decodes to the same bytes: two spellings of a key would be two pins."""
    with pytest.raises(SettingsError):
        p.check_public(text)


def test_keys_are_read_from_a_word_or_a_file(tmp_path):
    other = p.public_text(b"\x01" * 32)
    file = tmp_path / "trusted_keys"
    file.write_text(f"# the studio's\n{KEY} void01, since May\n\n{other}   # old\n")
    assert p.read_keys(KEY) == {KEY: ""}
    assert p.read_keys(str(file)) == {KEY: "void01, since May", other: ""}
    for bad in ("", "# nothing\n", "nonsense\n"):
        file.write_text(bad)
        with pytest.raises(SettingsError):
            p.read_keys(str(file))
    with pytest.raises(SettingsError, match="neither"):
        p.read_keys(str(tmp_path / "none"))


def test_without_cryptography_the_client_works_and_checks_say_what_they_need(tmp_path, monkeypatch):
    code = "import sys, void_client.client, void_client.provenance; print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "False"
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(EngineUnavailable, match="not installed"):
        p.signature_holds(golden())


def test_the_golden_signature_holds_and_no_other():
    pytest.importorskip("cryptography")
    manifest = golden()
    assert p.signature_holds(manifest)
    for change in (
        {"signature": SIGNATURE[:-1] + ("A" if SIGNATURE[-1] != "A" else "B")},
        {"signature": ""},
        {"signature": "é"},
        {"key": p.public_text(b"\x01" * 32)},
        {"key": "nonsense"},
        {"time": "2026-01-02T03:04:06Z"},
        {"credentials": {}},
        {"signed": False},
        {"version": 2},
    ):
        changed = dataclasses.replace(manifest, provenance=dataclasses.replace(manifest.provenance, **change))
        assert not p.signature_holds(changed), change


def test_no_byte_of_the_statement_can_be_changed():
    """All of them, each with one bit flipped: the signature is over these bytes and no others."""
    pytest.importorskip("cryptography")
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(SEED)
    public, signature = key.public_key(), base64.urlsafe_b64decode(SIGNATURE + "==")
    assert key.sign(STATEMENT) == signature  # Ed25519 is deterministic
    public.verify(signature, STATEMENT)
    for place in range(len(STATEMENT)):
        changed = bytearray(STATEMENT)
        changed[place] ^= 1
        with pytest.raises(InvalidSignature):
            public.verify(signature, bytes(changed))


def test_every_value_of_a_manifest_counts():
    """Each leaf of the signed manifest, changed by itself, breaks the signature."""
    pytest.importorskip("cryptography")
    plain = golden().to_plain()
    for path in leaves({key: value for key, value in plain.items() if key not in ("provenance", "version")}):
        changed = json.loads(json.dumps(plain))
        place = changed
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = another(place[path[-1]])
        assert not p.signature_holds(ResultManifest.from_plain(changed, "changed")), path


def leaves(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path
        return
    for key, item in items:
        yield from leaves(item, (*path, key))


def another(value):
    if isinstance(value, bool) or value is None:
        return value is None
    if isinstance(value, str):
        return ("e" if value[:1] != "e" else "f") + value[1:]
    return value + (1 if isinstance(value, int) else value)
