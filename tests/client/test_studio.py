"""The plugin's settings and the mapping of paths between platforms."""

from __future__ import annotations

from pathlib import Path

import pytest
from void_client.errors import SettingsError
from void_client.path_map import PathRule, map_path, replace_prefix, this_platform
from void_client.studio import PluginSettings, client_settings, load_plugin_settings, settings_files, studio_file

KEY = "a" * 40
OTHER = "b" * 40


@pytest.fixture
def environment(tmp_path):
    return {"VOID_CONFIG_DIR": str(tmp_path / "user"), "XDG_DATA_HOME": str(tmp_path / "data")}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def installed(tmp_path: Path) -> Path:
    """A plugin folder as `void nuke install` lays it: versions in a folder with a pointer."""
    write(tmp_path / "dest" / "current", "void-nuke-0.1.0\n")
    write(tmp_path / "dest" / "void-nuke-0.1.0" / "init.py", "")
    return tmp_path / "dest" / "void-nuke-0.1.0"


def test_without_any_file_the_defaults_hold(environment, tmp_path):
    assert load_plugin_settings(environment, installed(tmp_path)) == PluginSettings()


def test_user_file_beats_studio_file_and_environment_beats_both(environment, tmp_path):
    plugin = installed(tmp_path)
    write(plugin.parent / "studio.yaml", "engine: void\nreasoner: gemini\nfarm_chunk_size: 5\n")
    write(tmp_path / "user" / "nuke.yaml", "reasoner: openai\nfarm_chunk_size: 7\n")
    settings = load_plugin_settings({**environment, "VOID_NUKE_FARM_CHUNK_SIZE": "9"}, plugin)
    assert (settings.engine, settings.reasoner, settings.farm_chunk_size) == ("void", "openai", 9)


def test_the_studio_file_lies_in_the_version_else_beside_the_versions(environment, tmp_path):
    plugin = installed(tmp_path)
    assert studio_file(environment, plugin) is None
    beside = write(plugin.parent / "studio.yaml", "")
    assert studio_file(environment, plugin) == beside
    inside = write(plugin / "studio.yaml", "")
    assert studio_file(environment, plugin) == inside
    named = write(tmp_path / "elsewhere.yaml", "")
    assert studio_file({**environment, "VOID_STUDIO_CONFIG": str(named)}, plugin) == named


def test_a_file_above_a_folder_that_is_no_installation_is_not_read(environment, tmp_path):
    write(tmp_path / "checkout" / "studio.yaml", "engine: void")
    write(tmp_path / "checkout" / "nuke_plugin" / "init.py", "")
    assert studio_file(environment, tmp_path / "checkout" / "nuke_plugin") is None


def test_a_named_studio_file_that_is_missing_is_an_error(environment, tmp_path):
    with pytest.raises(SettingsError, match=r"VOID_STUDIO_CONFIG names .*gone.yaml, which is not there"):
        load_plugin_settings({**environment, "VOID_STUDIO_CONFIG": str(tmp_path / "gone.yaml")}, tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("engnie: void", "'engnie' is not known"),
        ("farm_chunk_size: many", "farm_chunk_size"),
        ("farm_chunk_size: 0", "farm_chunk_size must be 1 or more"),
        ("quality: best", "quality is 'best'; it can be final or draft"),
        ("engine: viod", "engine is 'viod'; it can be cleanplate or void"),
        ("segmenter: sam", "segmenter is 'sam'; it can be track or sam2"),
        ("reasoner: flow", "reasoner is 'flow'; it can be motion or gemini or openai or manual or none"),
        ("endpoint: void01:7411", "does not begin with tcp://"),
        ("servers: [{name: a, endpoint: 'tcp://a:1'}]", "'server_key' is missing"),
        ("servers: [{name: a, endpoint: 'a:1', server_key: k}]", "does not begin with tcp://"),
        ("path_map: [{linux: /a}]", "two names of the same folder"),
        ("path_map: [{linux: a, windows: 'S:/a'}]", "'a' is not an absolute path"),
        ("- engine", "is not a map of keys"),
        ("engine: [", "cannot be read"),
    ],
)
def test_a_fault_names_the_file_and_the_key(environment, tmp_path, text, told):
    file = write(tmp_path / "user" / "nuke.yaml", text)
    with pytest.raises(SettingsError) as caught:
        load_plugin_settings(environment, tmp_path)
    assert str(file) in str(caught.value)
    assert told in str(caught.value)


def test_an_unknown_variable_is_an_error(environment, tmp_path):
    with pytest.raises(SettingsError, match="VOID_NUKE_ENGNIE is not a setting"):
        load_plugin_settings({**environment, "VOID_NUKE_ENGNIE": "void"}, tmp_path)


def test_a_wrong_value_in_the_environment_is_told_as_such(environment, tmp_path):
    with pytest.raises(SettingsError, match=r"environment, VOID_NUKE_\*: quality is 'best'"):
        load_plugin_settings({**environment, "VOID_NUKE_QUALITY": "best"}, tmp_path)


def test_relative_keys_count_from_the_file_that_names_them(environment, tmp_path):
    plugin = installed(tmp_path)
    write(
        plugin.parent / "studio.yaml",
        f"endpoint: tcp://a:1\nserver_key: {KEY}\nkey_file: keys/studio.key_secret\nshared_key: true\n"
        f"servers: [{{name: b, endpoint: 'tcp://b:1', server_key: {OTHER}, key_file: keys/b.key_secret}}]\n",
    )
    settings = load_plugin_settings(environment, plugin)
    first = client_settings(settings, environment)
    assert first.key_file == str(plugin.parent / "keys" / "studio.key_secret")
    assert first.shared_key
    second = client_settings(settings, environment, "b")
    assert (second.endpoint, second.key_file) == ("tcp://b:1", str(plugin.parent / "keys" / "b.key_secret"))
    assert not second.shared_key


def test_paths_may_name_variables(environment, tmp_path):
    write(tmp_path / "user" / "nuke.yaml", "results: $JOB/void\n")
    assert load_plugin_settings({**environment, "JOB": "/show/sh010"}, tmp_path).results == "/show/sh010/void"
    with pytest.raises(SettingsError, match=r"needs a variable that is not set: 'JOB'"):
        load_plugin_settings(environment, tmp_path)


def test_servers_are_found_by_name_and_by_endpoint(environment, tmp_path):
    text = (
        f"servers:\n- {{name: small, endpoint: 'tcp://a:1', server_key: {KEY}}}\n"
        f"- {{name: big, endpoint: 'tcp://b:1', server_key: {OTHER}}}\n"
    )
    write(tmp_path / "user" / "nuke.yaml", text)
    settings = load_plugin_settings(environment, tmp_path)
    assert client_settings(settings, environment).endpoint == "tcp://a:1"
    assert client_settings(settings, environment, "big").server_key == OTHER
    assert client_settings(settings, environment, "tcp://b:1").server_key == OTHER
    with pytest.raises(SettingsError, match=r"'huge' is not in the plugin's settings \(known: small, big\)"):
        client_settings(settings, environment, "huge")


def test_without_servers_the_users_own_connection_counts(environment, tmp_path):
    write(tmp_path / "user" / "client.yaml", f"endpoint: tcp://mine:7411\nserver_key: {KEY}\n")
    settings = load_plugin_settings(environment, tmp_path)
    assert client_settings(settings, environment).endpoint == "tcp://mine:7411"
    assert client_settings(settings, environment, "tcp://mine:7411").server_key == KEY


def test_a_studios_server_does_not_take_the_key_of_the_users_own(environment, tmp_path):
    write(tmp_path / "user" / "client.yaml", f"endpoint: tcp://mine:7411\nserver_key: {KEY}\n")
    settings = PluginSettings(endpoint="tcp://studio:7411")
    assert client_settings(settings, environment).server_key is None


def test_the_files_that_were_read_can_be_named(environment, tmp_path):
    plugin = installed(tmp_path)
    studio, user = write(plugin.parent / "studio.yaml", ""), write(tmp_path / "user" / "nuke.yaml", "")
    assert settings_files(environment, plugin) == [studio, user]


# --- paths

RULES = (
    PathRule(linux="/mnt/show", windows="S:\\show", macos="/Volumes/show", also=("//filer/show", "/net/show")),
    PathRule(linux="/srv/cache", windows="S:/show/cache"),
    PathRule(linux="/", windows="Z:"),
)


@pytest.mark.parametrize(
    ("path", "platform", "expected"),
    [
        ("/mnt/show/sh010/plate.%04d.exr", "windows", "S:/show/sh010/plate.%04d.exr"),
        ("S:\\show\\sh010\\plate.%04d.exr", "linux", "/mnt/show/sh010/plate.%04d.exr"),
        ("s:/SHOW/sh010/Plate.exr", "macos", "/Volumes/show/sh010/Plate.exr"),
        ("\\\\FILER\\show\\sh010", "linux", "/mnt/show/sh010"),
        ("//filer/show/sh010", "windows", "S:/show/sh010"),
        ("/net/show/a", "linux", "/mnt/show/a"),
        ("/mnt/show", "windows", "S:/show"),
        ("S:/show/cache/x", "linux", "/srv/cache/x"),  # the longer rule
        ("/mnt/shows/a", "macos", "/mnt/shows/a"),  # another folder
        ("C:/local/a", "linux", "C:/local/a"),  # nobody knows it
        ("/MNT/show/a", "macos", "/MNT/show/a"),  # case counts outside Windows
        ("/opt/a", "windows", "Z:/opt/a"),
        ("Z:/opt/a", "linux", "/opt/a"),
        ("Z:", "linux", "/"),
        ("relative/a", "windows", "relative/a"),
        ("", "windows", ""),
    ],
)
def test_paths_are_spelled_as_the_platform_does(path, platform, expected):
    assert map_path(path, RULES, platform) == expected


def test_mapping_twice_changes_nothing_more():
    for path in ("/mnt/show/a", "S:/show/a", "/Volumes/show/a"):
        for platform in ("linux", "windows", "macos"):
            once = map_path(path, RULES[:2], platform)
            assert map_path(once, RULES[:2], platform) == once


def test_there_and_back_is_the_same_path():
    assert map_path(map_path("/mnt/show/a b/ü.exr", RULES, "windows"), RULES, "linux") == "/mnt/show/a b/ü.exr"


def test_a_backslash_is_a_letter_outside_windows():
    assert replace_prefix("/a/b\\c", "/a", "/z") == "/z/b\\c"
    assert replace_prefix("/a/b", "\\\\a\\b", "/z") is None


def test_without_a_platform_it_is_this_ones():
    local = PathRule(linux="/l", macos="/m", windows="W:/w")
    assert PluginSettings(path_map=(local,)).local_path("/l/x") == map_path("/l/x", (local,), this_platform())
