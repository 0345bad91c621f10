"""Which Python a Nuke has, which packages it gets, and the line that it must be told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from void_cli import nuke_targets
from void_cli.nuke_targets import PYTHONS, python_of, targets
from void_cli.nuke_wheels import load_pins
from void_client.errors import InputError
from void_client.path_map import PLATFORMS, PathRule, this_platform

ROOT = Path(__file__).parents[2]


def make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("name", "python"),
    [
        ("Nuke14.0v5", "3.9"),
        ("Nuke14.1v2", "3.9"),
        ("Nuke15.1v3", "3.10"),
        ("Nuke16.0v1", "3.11"),
        ("Nuke17.0v3", "3.11"),
        ("NukeX15.0", "3.10"),
        ("nuke16.0v4", "3.11"),
    ],
)
def test_a_nukes_name_says_which_python_it_has(tmp_path, name, python):
    (tmp_path / name).mkdir()
    assert python_of(tmp_path / name) == python


def test_the_program_counts_as_its_folder(tmp_path):
    assert python_of(make(tmp_path / "Nuke15.1v3" / "Nuke15.1")) == "3.10"


def test_a_link_is_followed(tmp_path):
    program = make(tmp_path / "Nuke16.0v4" / "Nuke16.0")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nuke").symlink_to(program)
    assert python_of(tmp_path / "bin" / "nuke") == "3.11"


@pytest.mark.parametrize(
    ("library", "python"),
    [
        ("Nuke18.0v1/libpython3.11.so.1.0", "3.11"),
        ("Nuke18.0v1/python310.dll", "3.10"),
        ("Nuke18.0v1/lib/python3.11/os.py", "3.11"),
        ("Nuke15.0v4/libpython3.9.so", "3.9"),
    ],
)
def test_the_library_beside_it_counts_more_than_the_name(tmp_path, library, python):
    path = make(tmp_path / library)
    assert python_of(tmp_path / path.relative_to(tmp_path).parts[0]) == python


def test_an_application_of_macos(tmp_path):
    contents = tmp_path / "Nuke16.0v1" / "Nuke16.0v1.app" / "Contents"
    program = make(contents / "MacOS" / "Nuke16.0")
    make(contents / "Frameworks" / "Python.framework" / "Versions" / "3.10" / "Python")
    assert python_of(program) == "3.10"
    assert python_of(contents.parent) == "3.10"


@pytest.mark.parametrize("extra", [None, "libpython3.7m.so.1.0"])
def test_nuke_13_is_refused_by_name(tmp_path, extra):
    folder = tmp_path / "Nuke13.2v4"
    make(folder / (extra or "Nuke13.2"))
    with pytest.raises(InputError, match="VOID needs Nuke 14 or later"):
        python_of(folder)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("Nuke18.0v1", r"Nuke 18 is not known.*--python 3\.9 \| 3\.10 \| 3\.11"),
        ("programs", "does not look like a Nuke"),
    ],
)
def test_what_is_not_known_is_asked_for(tmp_path, path, told):
    (tmp_path / path).mkdir()
    with pytest.raises(InputError, match=told):
        python_of(tmp_path / path)


def test_a_python_that_is_too_new_is_said(tmp_path):
    make(tmp_path / "Nuke19.0v1" / "libpython3.13.so")
    with pytest.raises(InputError, match=r"has Python 3\.13, for which this version of VOID has no packages"):
        python_of(tmp_path / "Nuke19.0v1")


def test_a_nuke_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="There is no Nuke at"):
        python_of(tmp_path / "Nuke15.1v3")


def test_everything_is_the_default_and_choices_narrow_it(tmp_path):
    assert len(nuke_targets.chosen([], [], [], False, "")) == 3 * 4
    (tmp_path / "Nuke15.1v3").mkdir()
    chosen = nuke_targets.chosen(["3.9"], [tmp_path / "Nuke15.1v3"], ["windows"], False, "")
    assert [target.folder for target in chosen] == ["cp39-windows-x86_64", "cp310-windows-x86_64"]
    here = nuke_targets.chosen(["3.11"], [], [], True, "")
    assert {target.platform for target in here} == {this_platform()}


def test_old_glibc_is_a_matter_of_linux_only():
    names = {target.platform: target.pinned for target in targets(["3.11"], PLATFORMS, "2.17")}
    assert names["linux"] == "cp311-linux-x86_64-glibc2.17"
    assert names["windows"] == "cp311-windows-x86_64"


# --- the pinned list


@pytest.mark.parametrize("glibc", ["", "2.17"])
def test_every_python_and_platform_has_its_packages(glibc):
    pins = load_pins()
    for target in targets(PYTHONS, PLATFORMS, glibc):
        names = pins.of(target)
        assert {name.split("-")[0] for name in names} == {"pyzmq", "msgpack", "ruamel_yaml"}
        for name in names:
            _, _, python, abi, platform = name[: -len(".whl")].split("-")
            assert (python, abi) in ((target.folder.split("-")[0],) * 2, ("py3", "none"))
            kind = {"linux": "manylinux", "windows": "win_amd64", "macos": "macosx"}[target.platform]
            assert kind in platform or platform == "any"
            if target.platform == "macos" and platform != "any":
                assert target.machine in platform or "universal2" in platform
            if glibc and target.platform == "linux" and platform != "any":
                assert "manylinux2014" in platform or "manylinux_2_17" in platform


def test_the_packages_are_the_versions_that_the_tests_ran_with():
    tested = set(re.findall(r"^([\w.]+)==([\w.]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    for target in targets(PYTHONS, PLATFORMS):
        for name in load_pins().of(target):
            project, version = name.split("-")[:2]
            assert (project.replace("ruamel_yaml", "ruamel.yaml"), version) in tested


def test_a_list_that_names_no_hash_is_refused(tmp_path):
    path = tmp_path / "pins.json"
    path.write_text('{"targets": {"cp311-linux-x86_64": ["pyzmq-1-cp311-cp311-any.whl"]}, "sha256": {}}')
    with pytest.raises(InputError, match=r"pins\.json cannot be used"):
        load_pins(path)


@pytest.mark.parametrize("name", ["../pyzmq-1-cp311-cp311-any.whl", "pyzmq.whl"])
def test_a_list_that_names_no_wheel_is_refused(tmp_path, name):
    path = tmp_path / "pins.json"
    path.write_text(f'{{"targets": {{"a": ["{name}"]}}, "sha256": {{"{name}": "{"0" * 64}"}}}}')
    with pytest.raises(InputError, match="is not a wheel with its SHA-256"):
        load_pins(path)


# --- the line


def test_platforms_are_told_their_own_name_of_the_folder():
    rules = [PathRule(linux="/mnt/tools", windows="T:\\tools", macos="/Volumes/tools")]
    names = nuke_targets.names_of("/mnt/tools/void", rules)
    assert names["windows"] == "T:/tools/void"
    assert names["macos"] == "/Volumes/tools/void"
    assert nuke_targets.nuke_path_line("windows", names["windows"]) == "set NUKE_PATH=T:/tools/void;%NUKE_PATH%"
    assert nuke_targets.nuke_path_line("linux", names["linux"]) == 'export NUKE_PATH="/mnt/tools/void:$NUKE_PATH"'


def test_without_a_rule_nobody_guesses():
    names = nuke_targets.names_of("/mnt/tools/void", [])
    assert names[this_platform()] == "/mnt/tools/void"
    for platform in set(PLATFORMS) - {this_platform()}:
        assert names[platform] == f"</mnt/tools/void as {platform} names it>"
