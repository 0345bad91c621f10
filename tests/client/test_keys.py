from __future__ import annotations

import os
import re
import stat

import pytest
from void_client import keys
from void_client.errors import NotAuthorised, SettingsError


def test_a_pair_is_made_once_and_its_secret_is_private(tmp_path):
    first = keys.make_pair(tmp_path / "keys", "client")
    assert keys.make_pair(tmp_path / "keys", "client") == first
    secret = tmp_path / "keys" / "client.key_secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert first.secret not in repr(first)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_secret_that_others_can_read_is_refused(tmp_path):
    keys.make_pair(tmp_path, "client")
    (tmp_path / "client.key_secret").chmod(0o644)
    with pytest.raises(NotAuthorised, match="chmod 600"):
        keys.read_pair(tmp_path / "client.key_secret")


def test_missing_and_broken_keys_are_named(tmp_path):
    with pytest.raises(NotAuthorised, match="no key at"):
        keys.read_pair(tmp_path / "none.key_secret")
    broken = tmp_path / "b.key_secret"
    broken.write_text("nonsense")
    broken.chmod(0o600)
    with pytest.raises(NotAuthorised, match="cannot be read"):
        keys.read_pair(broken)


def test_clients_are_allowed_listed_and_revoked(tmp_path):
    pair = keys.make_pair(tmp_path / "mine", "client")
    keys.allow(tmp_path / "list", "anna", pair.public)
    keys.allow(tmp_path / "list", "anna", pair.public)
    assert keys.allowed(tmp_path / "list") == {pair.public: "anna"}
    other = keys.make_pair(tmp_path / "other", "client")
    with pytest.raises(SettingsError, match="another key"):
        keys.allow(tmp_path / "list", "anna", other.public)
    keys.revoke(tmp_path / "list", "anna")
    assert keys.allowed(tmp_path / "list") == {}
    with pytest.raises(SettingsError, match="No client"):
        keys.revoke(tmp_path / "list", "anna")


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden"])
def test_a_keys_name_stays_in_its_folder(tmp_path, name):
    with pytest.raises(SettingsError):
        keys.make_pair(tmp_path, name)


@pytest.mark.parametrize("text", ["", "x", "é" * 40, "a" * 41, '"' * 40])
def test_a_public_key_is_checked(text):
    with pytest.raises(SettingsError, match="public key"):
        keys.check_public(text)


def test_a_key_in_hex_is_the_same_key(tmp_path):
    pair = keys.make_pair(tmp_path / "own", "anna")
    spelled = keys.spelled(pair.public)
    assert re.fullmatch(r"hex:[0-9a-f]{64}", spelled)
    assert keys.check_public(spelled) == pair.public
    keys.allow(tmp_path / "clients", "anna", spelled)
    assert keys.allowed(tmp_path / "clients") == {pair.public: "anna"}


@pytest.mark.parametrize("text", ["hex:", "hex:" + "g" * 64, "hex:" + "0" * 63, "HEX:" + "0" * 64])
def test_what_is_no_hex_key_is_refused(text):
    with pytest.raises(SettingsError, match="not a public key"):
        keys.check_public(text)
