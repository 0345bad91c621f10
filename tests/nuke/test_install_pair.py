"""Pairing once for a studio, and what `void nuke check` says of settings, keys, packages and the server."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest
from helpers.nuke_wheels import this_pythons_wheels
from helpers.servers import RunningServer
from void_cli import nuke_pair
from void_cli.main import main
from void_cli.nuke_targets import Target
from void_client import keys, pairing, vendor
from void_client.errors import NotAuthorised, SettingsError
from void_client.pairing import Pairing
from void_client.settings import load_client_settings
from void_client.studio import client_settings, load_plugin_settings
from void_nuke import server_test

posix = pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
HERE = Target(f"{sys.version_info[0]}.{sys.version_info[1]}", *vendor.target_name().split("-")[1:])


@pytest.fixture(autouse=True)
def nobodys_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("VOID_CONFIG_DIR", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nothing"))
    monkeypatch.delenv("NUKE_PATH", raising=False)
    monkeypatch.delenv("PYTHONPATH", raising=False)


@pytest.fixture
def data(tmp_path) -> Path:
    """A server's folder, as its first start makes it."""
    keys.make_pair(tmp_path / "server" / "keys", "server")
    (tmp_path / "server" / "connection.yaml").write_text("endpoint: tcp://void01:7411\n")
    return tmp_path / "server"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wheels and an installation, with the packages that this Python runs with. Read only."""
    folder = tmp_path_factory.mktemp("installed")
    pins = this_pythons_wheels(folder / "wheels", HERE)
    chosen = ["--python", HERE.python, "--platform", HERE.platform]
    offline = ["--wheels", str(folder / "wheels"), "--pins", str(pins), *chosen]
    assert main(["nuke", "install", *offline, "--dest", str(folder / "dest"), "--json"]) == 0
    return folder


@pytest.fixture
def dest(installed: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    shutil.copytree(installed / "dest", tmp_path / "dest")
    (tmp_path / "wheels").symlink_to(installed / "wheels")
    return tmp_path / "dest"


def pair(tmp_path: Path, data: Path, *more: str) -> Path:
    assert main(["keys", "pair", str(tmp_path / "pair.yaml"), "--data", str(data), *more, "--json"]) == 0
    return tmp_path / "pair.yaml"


def use_pair(tmp_path: Path, dest: Path, file: Path, *more: str) -> int:
    """Install again, with the pairing file."""
    wheels = tmp_path / "wheels"
    chosen = ["--python", HERE.python, "--platform", HERE.platform]
    offline = ["--wheels", str(wheels), "--pins", str(wheels / "pins.json"), *chosen]
    return main(["nuke", "install", *offline, "--dest", str(dest), "--pair", str(file), *more])


def settings_of(dest: Path):
    return load_plugin_settings(os.environ, dest / "void-nuke-0.1.0")


def checked(capsys, dest: Path, *more: str) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code, and the last finding of each subject."""
    capsys.readouterr()
    code = main(["nuke", "check", str(dest), "--json", *more])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return code, {line["subject"]: line for line in lines}


# --- pairing


def test_a_pairing_file_without_a_shared_key_holds_no_secret(tmp_path, data):
    file = pair(tmp_path, data)
    made = pairing.read(file)
    assert (made.endpoint, made.server_key) == ("tcp://void01:7411", keys.read_public(data / "keys" / "server.key"))
    assert not made.shared
    assert "secret" not in file.read_text().split("\n", 1)[1]


def test_every_artist_finds_the_server_by_it_with_a_key_of_their_own(tmp_path, data, dest):
    assert use_pair(tmp_path, dest, pair(tmp_path, data)) == 0
    connection = client_settings(settings_of(dest), os.environ)
    assert connection.endpoint == "tcp://void01:7411"
    assert connection.server_key == keys.read_public(data / "keys" / "server.key")
    assert connection.key_file == str(tmp_path / "user" / "keys" / "client.key_secret")
    assert not connection.shared_key


@posix
def test_a_shared_key_is_allowed_on_the_server_and_its_groups_at_the_plugin(tmp_path, data, dest):
    file = pair(tmp_path, data, "--shared", "studio")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    public = pairing.read(file).client_public
    assert keys.allowed(data / "keys" / "clients") == {public: "studio"}
    assert use_pair(tmp_path, dest, file) == 0
    secret = dest / "keys" / "studio.key_secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o640
    assert stat.S_IMODE((dest / "studio.yaml").stat().st_mode) == 0o644
    connection = client_settings(settings_of(dest), os.environ)
    assert keys.read_pair(Path(connection.key_file or ""), shared=connection.shared_key).public == public
    assert pairing.read(file).client_secret not in (dest / "studio.yaml").read_text()


def test_a_key_may_hold_any_character_anywhere(tmp_path):
    """Z85's characters; many of them are YAML's, too."""
    (tmp_path / "void-nuke-0.1.0").mkdir()
    (tmp_path / "void-nuke-0.1.0" / "init.py").write_text("")
    for character in "0a.-:+=^!/*?&<>()[]{}@%$#":
        for key in (character + "k" * 39, "k" * 39 + character, ("k" + character) * 20, character * 40):
            made = Pairing("tcp://void01:7411", key, 1, "studio", key, key)
            pairing.write(tmp_path / "p.yaml", made)
            assert pairing.read(tmp_path / "p.yaml") == made
            nuke_pair.apply(tmp_path, made, None)
            (tmp_path / "void-nuke-0.1.0" / "studio.yaml").write_bytes((tmp_path / "studio.yaml").read_bytes())
            assert settings_of(tmp_path).server_key == key


def test_pairing_again_gives_the_same_key(tmp_path, data):
    first = pairing.read(pair(tmp_path, data, "--shared", "studio"))
    assert pairing.read(pair(tmp_path, data, "--shared", "studio")) == first
    assert (first.client_secret or "") not in repr(first)


def test_other_settings_and_comments_stay(tmp_path, data, dest):
    (dest / "studio.yaml").write_text("# ours\nengine: void  # the GPU\nendpoint: tcp://old:1\n")
    assert use_pair(tmp_path, dest, pair(tmp_path, data)) == 0
    text = (dest / "studio.yaml").read_text()
    assert "# ours" in text
    assert "# the GPU" in text
    assert (settings_of(dest).engine, settings_of(dest).endpoint) == ("void", "tcp://void01:7411")


def test_pairing_without_a_shared_key_drops_the_old_one(tmp_path, data, dest):
    use_pair(tmp_path, dest, pair(tmp_path, data, "--shared", "studio"))
    use_pair(tmp_path, dest, pair(tmp_path, data))
    assert not client_settings(settings_of(dest), os.environ).shared_key


def test_a_broken_studio_file_is_told_and_left(tmp_path, data, dest, capsys):
    (dest / "studio.yaml").write_text("engnie: void\n")
    assert use_pair(tmp_path, dest, pair(tmp_path, data)) == 2
    assert "'engnie' is not known" in capsys.readouterr().err
    assert (dest / "studio.yaml").read_text() == "engnie: void\n"


def test_an_unknown_group_is_told(tmp_path, data, dest, capsys):
    file = pair(tmp_path, data, "--shared", "studio")
    assert use_pair(tmp_path, dest, file, "--group", "no-such-group") == 2
    assert "cannot be given to the group 'no-such-group'" in capsys.readouterr().err


def test_an_address_of_this_machine_only_is_not_handed_out(tmp_path, data, capsys):
    (data / "connection.yaml").write_text("endpoint: tcp://127.0.0.1:7411\n")
    assert main(["keys", "pair", str(tmp_path / "p.yaml"), "--data", str(data)]) == 2
    assert "--endpoint tcp://HOST:7411" in capsys.readouterr().err
    assert pairing.read(pair(tmp_path, data, "--endpoint", "tcp://void02:7411")).endpoint == "tcp://void02:7411"


def test_without_a_server_nothing_is_paired(tmp_path, capsys):
    assert main(["keys", "pair", str(tmp_path / "p.yaml"), "--data", str(tmp_path / "none")]) == 2
    assert "There is no server in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"void_pairing": 2}, "version 2"),
        ({"endpoint": "void01:7411"}, "tcp://"),
        ({"server_key": "short"}, "is not a key"),
        ({"client_name": "studio"}, "belong together"),
        ({"surprise": 1}, "'surprise' is not known"),
    ],
)
def test_a_pairing_file_that_is_none_is_told(tmp_path, change, told):
    values = {"void_pairing": 1, "endpoint": "tcp://a:1", "server_key": "k" * 40, **change}
    file = tmp_path / "pair.yaml"
    file.write_text(json.dumps(values))
    with pytest.raises(SettingsError, match=told) as caught:
        pairing.read(file)
    assert str(file) in str(caught.value)


# --- an artist's own key


def test_the_key_is_made_at_first_use_and_the_td_gets_the_line_to_type(tmp_path):
    settings = load_client_settings(os.environ, {"endpoint": "tcp://void01:7411", "server_key": "k" * 40})
    public = pairing.own_public_key(settings, os.environ)
    assert keys.read_pair(tmp_path / "user" / "keys" / "client.key_secret").public == public
    text = pairing.refused(NotAuthorised("The server refused this key."), settings, os.environ)
    assert text.splitlines()[-1] == f"void keys allow {pairing.user_name()} {keys.spelled(public)}"


def test_a_named_key_that_is_missing_is_not_made(tmp_path):
    settings = load_client_settings(os.environ, {"key_file": str(tmp_path / "gone.key_secret")})
    with pytest.raises(NotAuthorised, match=r"There is no key at .*gone"):
        pairing.own_public_key(settings, os.environ)


def test_a_server_without_a_known_key_is_explained(tmp_path):
    settings = load_client_settings(os.environ, {"endpoint": "tcp://void01:7411"})
    assert "`void nuke install --pair`" in server_test.ask(settings)


@posix
@pytest.mark.parametrize(("mode", "shared", "readable"), [
    (0o640, True, True), (0o600, True, True), (0o644, True, False), (0o660, True, False), (0o640, False, False),
])  # fmt: skip
def test_a_shared_key_may_be_read_by_its_group_and_nobody_else(tmp_path, mode, shared, readable):
    made = keys.make_pair(tmp_path, "studio")
    path = tmp_path / "studio.key_secret"
    path.chmod(mode)
    if readable:
        assert keys.read_pair(path, shared=shared) == made
    else:
        with pytest.raises(NotAuthorised, match="chmod 640" if shared else "chmod 600"):
            keys.read_pair(path, shared=shared)


# --- check


def test_a_sound_installation_has_no_fault(dest, capsys, monkeypatch):
    monkeypatch.setenv("NUKE_PATH", str(dest))
    code, found = checked(capsys, dest)
    assert code == 0, found
    assert {found[name]["level"] for name in ("installation", "files", "NUKE_PATH", "settings")} == {"ok"}
    assert f"loads {vendor.target_name()}: pyzmq" in found["packages"]["what"]
    assert found["server"]["what"] == "none is configured"


def test_the_packages_are_tried_in_the_python_that_is_named(dest, capsys):
    base = getattr(sys, "_base_executable", sys.executable)  # has no packages of its own
    code, found = checked(capsys, dest, "--with", base)
    assert (code, found["packages"]["level"]) == (0, "ok"), found["packages"]


def test_packages_of_another_build_are_a_fault(dest, capsys):
    version = dest / "void-nuke-0.1.0"
    for library in (version / "vendor" / vendor.target_name() / "zmq").rglob("*.so"):
        library.write_bytes(b"for another machine")
    code, found = checked(capsys, dest)
    assert code == 2
    assert found["packages"]["level"] == found["files"]["level"] == "fault"
    assert "VOID's packages do not load in this Nuke" in found["packages"]["what"]
    assert "void nuke install" in found["packages"]["do"]


def test_missing_packages_are_a_fault_of_the_python_that_is_named(dest, capsys):
    (dest / "void-nuke-0.1.0" / "vendor").rename(dest / "away")
    code, found = checked(capsys, dest, "--with", sys.executable)
    assert code == 2
    assert f"has no packages for {vendor.target_name()} (it has none)" in found["packages"]["what"]


def test_a_nukes_own_python_is_found_in_its_folder(dest, capsys, tmp_path):
    nuke = tmp_path / "Nuke16.0v4"
    nuke.mkdir()
    (nuke / "Nuke16.0").write_text("")
    (nuke / "python").symlink_to(sys.executable)
    _, found = checked(capsys, dest, "--nuke", str(nuke / "Nuke16.0"))
    assert "Python 3." in found["packages"]["what"]
    assert main(["nuke", "check", str(dest), "--nuke", str(tmp_path)]) == 2
    assert "has no Python program of its own" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["current", "init.py", "menu.py", "void-nuke-0.1.0/void_client/client.py"])
def test_what_is_missing_is_found(dest, capsys, name):
    (dest / name).unlink()
    code, found = checked(capsys, dest)
    assert code == 2
    faults = [finding for finding in found.values() if finding["level"] == "fault"]
    assert Path(name).name in str(faults) or name == "current"
    assert all(finding["do"] for finding in faults)


def test_a_changed_file_is_found(dest, capsys):
    (dest / "void-nuke-0.1.0" / "menu.py").write_text("# mine now")
    code, found = checked(capsys, dest)
    assert (code, found["files"]["what"]) == (2, "void-nuke-0.1.0: menu.py has been changed")


def test_two_voids_on_nuke_path_are_a_fault(dest, capsys, monkeypatch):
    monkeypatch.setenv("NUKE_PATH", os.pathsep.join([str(dest), "/nowhere", str(dest / "void-nuke-0.1.0")]))
    code, found = checked(capsys, dest)
    assert (code, found["NUKE_PATH"]["level"]) == (2, "fault")
    assert "2 times" in found["NUKE_PATH"]["what"]


def test_another_void_on_nuke_path_is_a_fault(dest, capsys, monkeypatch):
    checkout = Path(__file__).parents[2] / "nuke_plugin"
    monkeypatch.setenv("NUKE_PATH", str(checkout))
    code, found = checked(capsys, dest)
    assert (code, found["NUKE_PATH"]["what"]) == (2, f"leads to another VOID: {checkout}")


def test_packages_on_pythonpath_are_worth_a_note(dest, capsys, monkeypatch, tmp_path):
    (tmp_path / "site" / "msgpack").mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    code, found = checked(capsys, dest)
    assert (code, found["PYTHONPATH"]["level"]) == (0, "note")


def test_a_settings_file_with_a_fault_is_found(dest, capsys):
    (dest / "studio.yaml").write_text("farm_chunk_size: many\n")
    code, found = checked(capsys, dest)
    assert (code, found["settings"]["level"]) == (2, "fault")
    assert str(dest / "studio.yaml") in found["settings"]["what"]


@posix
def test_a_shared_key_that_everybody_can_read_is_a_fault(dest, capsys, data, tmp_path):
    use_pair(tmp_path, dest, pair(tmp_path, data, "--shared", "studio"))
    (dest / "keys" / "studio.key_secret").chmod(0o644)
    code, found = checked(capsys, dest)
    assert (code, found["key"]["level"]) == (2, "fault")
    assert "chmod 640" in found["key"]["do"]


def test_a_folder_without_void_says_how_to_install(tmp_path, capsys):
    code, found = checked(capsys, tmp_path)
    assert code == 2
    assert "void nuke install" in found["installation"]["do"]


def test_a_server_that_does_not_answer_is_worth_a_note(dest, capsys, monkeypatch, tmp_path):
    keys.make_pair(tmp_path / "user" / "keys", "client")
    (dest / "studio.yaml").write_text(f"endpoint: tcp://127.0.0.1:9\nserver_key: {'k' * 40}\ntimeout_s: 0.3\n")
    code, found = checked(capsys, dest)
    assert (code, found["server"]["level"]) == (0, "note")
    assert "tcp://127.0.0.1:9" in found["server"]["what"]


def test_the_artists_way_in_with_a_real_server(dest, capsys, tmp_path):
    """Refused with the line that the TD must type; let in by exactly that line; then with the studio's shared key."""
    with RunningServer(tmp_path / "void") as server:
        at = ["--endpoint", server.endpoint]
        assert use_pair(tmp_path, dest, pair(tmp_path, server.data, *at)) == 0
        connection = client_settings(settings_of(dest), os.environ)
        refusal = server_test.ask(connection)
        code, found = checked(capsys, dest)
        assert (code, found["server"]["level"]) == (2, "fault")
        line = refusal.splitlines()[-1]
        assert line in found["server"]["do"]
        name, public = line.removeprefix("void keys allow ").split()
        assert main(["keys", "allow", "--data", str(server.data), name, public]) == 0
        assert f"{server.endpoint} answers" in server_test.ask(connection)
        code, found = checked(capsys, dest)
        assert (code, found["server"]["level"], found["key"]["level"]) == (0, "ok", "ok")
        record = dest / "void-nuke-0.1.0" / "install.json"
        record.write_text(json.dumps({**json.loads(record.read_text()), "protocol": 0}))  # an older plugin
        code, found = checked(capsys, dest)
        assert (code, found["server"]["level"], found["server"]["do"]) == (2, "fault", "Update the plugin.")

        assert use_pair(tmp_path, dest, pair(tmp_path, server.data, *at, "--shared", "studio")) == 0
        shared = client_settings(settings_of(dest), os.environ)
        assert shared.shared_key
        assert f"{server.endpoint} answers" in server_test.ask(shared)
        assert main(["keys", "revoke", "studio", "--data", str(server.data)]) == 0
        assert "the studio's shared key" in server_test.ask(shared)
