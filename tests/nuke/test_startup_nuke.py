"""Nuke's start with VOID: what it costs, what it brings, and that nothing of VOID can stop it. On every Python here."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.nuke_wheels import EVERY, this_pythons_wheels, tiny_wheels, write_pins
from void_cli.main import main
from void_cli.nuke_targets import Target
from void_client import vendor

ROOT = Path(__file__).parents[2]
SESSION = Path(__file__).with_name("nuke_session.py")
STANDIN = ROOT / "tests" / "nuke_standin"
HEAVY = {"zmq", "msgpack", "ruamel", "void_client.client", "void_client.connection", "void_nuke.actions", "sqlite3"}
HERE = Target(f"{sys.version_info[0]}.{sys.version_info[1]}", *vendor.target_name().split("-")[1:])


def pythons(*versions: str) -> list[Path]:
    """Interpreters without packages of their own, as Nuke's is: those of pyenv."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [next(iter(sorted(root.glob(f"{version}.*/bin/python"))), None) for version in versions]
    return [path for path in found if path is not None]


BASE = Path(getattr(sys, "_base_executable", sys.executable))
NUKES = [*pythons("3.9", "3.10"), BASE]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation: this Python's real packages, others that only look like some. Read only."""
    folder = tmp_path_factory.mktemp("install")
    real = json.loads(this_pythons_wheels(folder, HERE).read_text())["targets"]
    tiny = json.loads(tiny_wheels(folder, [target for target in EVERY if target != HERE]).read_text())["targets"]
    pins = write_pins(folder, {**tiny, **real})
    code = main(
        ["nuke", "install", "--wheels", str(folder), "--pins", str(pins), "--dest", str(folder / "dest"), "--json"]
    )
    assert code == 0
    return folder / "dest"


@pytest.fixture
def dest(installed: Path, tmp_path: Path) -> Path:
    """A copy of it, to be broken."""
    shutil.copytree(installed, tmp_path / "dest")
    return tmp_path / "dest"


def start(*folders: Path, gui: bool = True, python: Path = BASE, code: str = "", **environment: str) -> dict[str, Any]:
    """Start Nuke; it must come up, whatever VOID does."""
    command = [str(python), "-B", "-S", "-W", "error", str(SESSION), str(STANDIN), "gui" if gui else "terminal", code]
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "SYSTEMROOT") if key in os.environ}
    given = {**kept, "NUKE_PATH": os.pathsep.join(map(str, folders)), "VOID_CONFIG_DIR": "/nowhere", **environment}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=given, check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert said["failed"] == [], said["failed"]
    said["stderr"] = done.stderr
    return said


def void_menu(said: dict[str, Any]) -> list[str]:
    (menu,) = [items for name, items in said["menu"] if name == "VOID"]
    return menu


# --- what it brings


@pytest.mark.parametrize("python", NUKES, ids=lambda path: path.parts[-3])
def test_a_gui_session_has_the_menu_the_node_and_its_packages(installed, python):
    said = start(installed, python=python)
    assert void_menu(said) == [
        "Create a VOID node", "Queue", "Submit all VOID nodes to the farm", "", "Test the server", "Settings in use",
        "Help",
    ]  # fmt: skip
    assert said["nodes"] == [["VOID", ["VOID"]]]
    assert said["printed"] == []
    assert said["stderr"] == ""
    assert said["missing_icons"] == []
    version = installed / "void-nuke-0.1.0"
    assert str(version / "gizmos") in said["plugin_path"]
    assert said["sys_path"][-1].startswith(str(version / "vendor" / "cp3"))


@pytest.mark.parametrize("python", NUKES, ids=lambda path: path.parts[-3])
@pytest.mark.parametrize("gui", [True, False])
def test_the_start_imports_nothing_that_is_not_needed(installed, python, gui):
    modules = start(installed, python=python, gui=gui)["modules"]
    assert {name for name in modules if name.split(".")[0] in HEAVY or name in HEAVY} == set()
    ours = {name for name in modules if name.startswith("void_")}
    assert ours == {"void_client", "void_client.vendor", "void_nuke", "void_nuke.startup"}
    assert len(modules) <= 12, modules  # ours and a handful of Python's own


def test_a_saved_workspace_finds_the_queue(installed):
    said = start(installed, code="from standin.state import S\nsaid['panels'] = sorted(S.panels)")
    assert said["panels"] == ["uk.void.queue"]


def test_the_node_can_be_created_from_the_menu(installed):
    said = start(installed, code='nuke.menu("Nuke").findItem("VOID/Create a VOID node").invoke()\n'
                                 'said["created"] = [n.name() for n in nuke.allNodes()]')  # fmt: skip
    assert "VOID1" in said["created"]


def test_the_first_node_brings_the_sessions_callbacks(installed):
    code = (
        'said["early"] = "void_nuke.callbacks" in sys.modules\n'
        'nuke.createNode("Group")\n'
        'said["any_group"] = "void_nuke.callbacks" in sys.modules\n'
        'nuke.createNode("VOID")\n'
        'said["late"] = "void_nuke.callbacks" in sys.modules'
    )
    said = start(installed, code=code)
    assert (said["early"], said["any_group"], said["late"]) == (False, False, True)


def test_a_checkout_works_as_a_plugin_folder(installed):
    """As who works on VOID has it: no packages, but those of the Python that runs."""
    said = start(ROOT / "nuke_plugin", PYTHONPATH=str(installed / "void-nuke-0.1.0" / "vendor" / vendor.target_name()))
    assert "Create a VOID node" in void_menu(said)
    assert said["printed"] == []
    assert str(ROOT / "gizmos") in said["plugin_path"]


def test_a_version_can_be_named_without_the_launcher(installed):
    assert "Queue" in void_menu(start(installed / "void-nuke-0.1.0"))


def test_the_other_way_is_a_line_in_ones_own_init(installed, tmp_path):
    (tmp_path / "init.py").write_text(f'nuke.pluginAddPath("{installed}")\n')
    assert "Queue" in void_menu(start(tmp_path))


def test_a_terminal_session_has_no_menu_and_no_words(installed):
    said = start(installed, gui=False)
    assert said["printed"] == []
    assert any(path.endswith("gizmos") for path in said["plugin_path"])


def test_the_results_folder_becomes_a_favourite(installed, tmp_path):
    said = start(installed, code='said["favourites"] = dict(standin.favourites())', VOID_NUKE_RESULTS=str(tmp_path))
    assert said["favourites"] == {"VOID results": str(tmp_path)}


def test_the_studios_results_folder_does_with_the_first_node(installed, tmp_path):
    (tmp_path / "nuke.yaml").write_text(f"results: {tmp_path}\n")
    code = 'nuke.createNode("VOID"); said["favourites"] = dict(standin.favourites())'
    assert start(installed, code=code, VOID_CONFIG_DIR=str(tmp_path))["favourites"] == {"VOID results": str(tmp_path)}


def test_settings_and_help_tell_where_things_are(installed, tmp_path):
    (tmp_path / "nuke.yaml").write_text("results: /show/void\n")
    code = 'for name in ("Settings in use", "Help"):\n    nuke.menu("Nuke").findItem("VOID/" + name).invoke()'
    settings, help_text = start(installed, code=code, VOID_CONFIG_DIR=str(tmp_path))["dialogs"]
    assert str(tmp_path / "nuke.yaml") in settings
    assert "/show/void" in settings
    assert "docs/artist.md" in help_text


def test_testing_the_server_answers_also_where_there_is_none(installed, tmp_path):
    code = """
import standin
nuke.menu("Nuke").findItem("VOID/Test the server").invoke()
standin.pump(standin.dialogs, 40)
"""
    said = start(installed, code=code, VOID_CONFIG_DIR=str(tmp_path), XDG_DATA_HOME=str(tmp_path))
    assert "void nuke install --pair" in said["dialogs"][0]


# --- what cannot stop it


def test_a_syntax_error_in_the_plugin_is_told_once(dest):
    (dest / "void-nuke-0.1.0" / "void_nuke" / "startup.py").write_text("def broken(:\n")
    said = start(dest)
    assert len(said["printed"]) == 1
    assert said["printed"][0].startswith("VOID could not be loaded: SyntaxError - ")
    assert void_menu(said) == ["VOID could not be loaded..."]
    assert any(path.endswith("gizmos") for path in said["plugin_path"])  # old results still render
    assert start(dest, gui=False)["printed"] == said["printed"]


def test_the_reason_can_be_read_in_the_menu(dest):
    (dest / "void-nuke-0.1.0" / "void_nuke" / "__init__.py").write_text("raise RuntimeError('planted')\n")
    said = start(dest, code='nuke.menu("Nuke").findItem("VOID/VOID could not be loaded...").invoke()')
    assert "RuntimeError: planted" in said["dialogs"][0]
    assert "void nuke check" in said["dialogs"][0]


@pytest.mark.parametrize("name", ["void_client/__init__.py", "void_client/vendor.py", "void_nuke/startup.py"])
def test_missing_code_is_told(dest, name):
    (dest / "void-nuke-0.1.0" / name).unlink()
    said = start(dest)
    assert len(said["printed"]) == 1
    assert void_menu(said) == ["VOID could not be loaded..."]


def test_a_broken_callback_module_harms_no_node(dest):
    (dest / "void-nuke-0.1.0" / "void_nuke" / "callbacks.py").write_text("1/0\n")
    said = start(dest, code='nuke.createNode("VOID"); nuke.createNode("VOID")')
    assert [line for line in said["printed"] if "does not follow" in line] == [
        "VOID does not follow this session (ZeroDivisionError, division by zero)."
    ]


def test_unreadable_settings_are_told_when_they_are_needed(dest):
    (dest / "studio.yaml").write_text("engnie: void\n")
    said = start(dest, code='nuke.menu("Nuke").findItem("VOID/Settings in use").invoke()')
    assert said["printed"] == []
    assert "studio.yaml" in said["dialogs"][0]
    assert "'engnie' is not known" in said["dialogs"][0]


def test_without_packages_the_menu_says_why(dest):
    shutil.rmtree(dest / "void-nuke-0.1.0" / "vendor")
    said = start(dest, code='nuke.menu("Nuke").findItem("VOID/VOID cannot solve: why?").invoke()')
    assert len(said["printed"]) == 1
    assert f"has no packages for {vendor.target_name()} (it has none)" in said["dialogs"][0]
    assert "void nuke install" in said["dialogs"][0]
    assert "Create a VOID node" in void_menu(said)


@pytest.mark.parametrize("damage", ["text", "another Python's"])
def test_packages_of_another_build_are_explained_when_they_are_needed(dest, damage):
    folder = dest / "void-nuke-0.1.0" / "vendor" / vendor.target_name()
    for library in (folder / "zmq").rglob("*.so"):
        if damage == "text":
            library.write_bytes(b"for another machine")
        else:
            library.rename(library.with_name(library.name.replace("-3", "-9")))
    said = start(dest, code='nuke.menu("Nuke").findItem("VOID/Test the server").invoke()')
    assert said["printed"] == []
    assert "VOID's packages do not load in this Nuke" in said["dialogs"][0]
    assert "void nuke check" in said["dialogs"][0]


def test_an_old_system_is_told_which_builds_it_needs():
    text = vendor.explain(ImportError("/lib64/libc.so.6: version `GLIBC_2.26' not found"), "/nowhere")
    assert "has no packages" in text
    folder = vendor.plugin_folder()
    assert "--glibc 2.17" not in vendor.explain(ImportError("no"), folder)


@pytest.mark.parametrize("pointer", [None, "", "void-nuke-9.9\n", "../../elsewhere\n"])
def test_a_pointer_that_leads_nowhere_is_told(dest, pointer):
    (dest / "current").unlink() if pointer is None else (dest / "current").write_text(pointer)
    said = start(dest)
    assert said["stderr"].count("VOID could not be loaded: ") == 1
    assert void_menu(said) == ["VOID could not be loaded..."]


def test_two_versions_on_nuke_path_are_told_and_one_is_used(installed, dest):
    said = start(dest, installed)
    assert len(said["printed"]) == 1
    assert "VOID is here twice" in said["printed"][0]
    for folder in (installed, dest):
        assert str(folder / "void-nuke-0.1.0") in said["printed"][0]
    assert [name for name, _ in said["menu"]].count("VOID") == 1
    assert len([path for path in said["plugin_path"] if path.endswith("gizmos")]) == 1


def test_the_same_folder_twice_is_once(installed):
    said = start(installed, installed)
    assert said["printed"] == []
    assert [name for name, _ in said["menu"]] == ["VOID"]


OLD_NUKE = """
import sys
class Item:
    def addMenu(self, name): return self
    def addCommand(self, name, command): print("MENU " + name); command()
class nuke: pass
nuke.tprint = staticmethod(print)
nuke.message = staticmethod(print)
nuke.pluginAddPath = staticmethod(lambda path: None)
nuke.menu = staticmethod(lambda name: Item())
sys.modules["nuke"] = nuke
for path in sys.argv[1:]:
    exec(compile(open(path).read(), path, "exec"), {"__file__": path, "__name__": "init"})
"""


@pytest.mark.parametrize("python", pythons("3.7", "3.8"), ids=lambda path: path.parts[-3])
def test_a_nuke_that_is_too_old_gets_a_sentence(installed, python):
    scripts = [str(installed / name) for name in ("init.py", "menu.py")]
    done = subprocess.run(
        [str(python), "-c", OLD_NUKE, *scripts], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("VOID needs Nuke 14 or later: this one has Python 3.")
    assert lines[1:] == ["MENU VOID could not be loaded...", lines[0]]


def test_the_icon_is_what_its_script_draws():
    draw = subprocess.run(
        [sys.executable, "-c", "import make_icon, sys; sys.stdout.buffer.write(make_icon.draw())"],
        cwd=ROOT / "nuke_plugin" / "icons", capture_output=True, timeout=30, check=True,
    )  # fmt: skip
    assert draw.stdout == (ROOT / "nuke_plugin" / "icons" / "VOID.png").read_bytes()


@pytest.mark.parametrize("broken", [False, True])
def test_a_render_in_a_terminal_goes_on_whatever_void_does(dest, tmp_path, broken):
    """The stand-in's own program, as a farm starts Nuke: its exit code is the render's, not VOID's."""
    if broken:
        (dest / "void-nuke-0.1.0" / "void_nuke" / "startup.py").write_text("def broken(:\n")
    script = tmp_path / "script.py"
    script.write_text("import nuke; print('NODE', nuke.createNode('VOID').name())\n")
    clean = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    done = subprocess.run(
        [sys.executable, str(STANDIN / "fake-nuke"), "-t", str(script)],
        env={**clean, "NUKE_PATH": str(dest), "VOID_CONFIG_DIR": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NODE VOID1" in done.stdout
    assert ("VOID could not be loaded: SyntaxError" in done.stdout) == broken
    assert "Error:" not in done.stdout + done.stderr  # a farm takes such a line for a failed task


def test_what_the_menu_asks_of_other_parts_is_there():
    """Those parts are loaded by name when they are asked for, so that no type checker looks."""
    room = ROOT / "nuke_plugin" / "void_nuke"
    asked = re.findall(r'_part\("(\w+)"\)\.(\w+)\(\)', (room / "startup.py").read_text(encoding="utf-8"))
    assert len(asked) == 2
    for module, function in asked:
        body = ast.parse((room / f"{module}.py").read_text(encoding="utf-8")).body
        assert function in {node.name for node in body if isinstance(node, ast.FunctionDef)}, f"{module}.{function}"
