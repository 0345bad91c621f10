"""What is installed, and what it loads: read off the installation, in processes of their own. Also on Python 3.9."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOMS = {"void_client", "void_nuke", "void_server", "void_cli", "void_engine"}
BASE = {"pyzmq", "msgpack", "ruamel.yaml"}
BASE_MODULES = {"zmq", "msgpack", "ruamel", "typing_extensions"}  # the last: pyzmq takes it on 3.9 where it is there

# Which packages an import brings in that neither Python nor the project has; "CPU" is the seconds that it took.
LOADED_BY = """
import sys, sysconfig, time, json
before, start = set(sys.modules), time.process_time()
import {module}
cpu = time.process_time() - start
stdlib = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))
def foreign(module):
    file = getattr(module, "__file__", None) or ""
    return file and ("site-packages" in file or not file.startswith(stdlib))
loaded = {{name.split(".")[0] for name in set(sys.modules) - before if foreign(sys.modules[name])}}
print(json.dumps([sorted(loaded), cpu]))
"""

# The command line where nothing but the base install is found.
BASE_ONLY = """
import sys, zmq, msgpack, ruamel.yaml
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ModuleNotFoundError("No module named " + name, name=name)
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.split(".")[0] in {blocked} else real(name, package)
sys.meta_path.insert(0, Blocked())
from void_cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def isolated(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``-I``: neither the working folder nor the environment is looked at, only what is installed."""
    return subprocess.run(
        [sys.executable, "-I", "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def loaded_by(module: str, cwd: Path) -> tuple[set[str], float]:
    done = isolated(LOADED_BY.format(module=module), cwd=cwd)
    assert done.returncode == 0, done.stderr
    names, cpu = json.loads(done.stdout)
    return set(names), cpu


def base_only(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    blocked = ("numpy", "cv2", "OpenEXR", "OpenImageIO", "patchmatch", "PIL", "torch")
    return isolated(BASE_ONLY.format(blocked=blocked), *arguments, cwd=cwd)


def test_the_base_install_needs_three_packages():
    required = importlib.metadata.requires("void-nuke") or []
    base = [line for line in required if "extra ==" not in line]
    assert {re.split(r"[<>=!~; ]", line)[0] for line in base} == BASE
    assert not any("<" in line or "==" in line for line in base), "an upper bound would break a user's machine"


def test_the_extras_are_named():
    extras = importlib.metadata.metadata("void-nuke").get_all("Provides-Extra")
    assert {"server", "plates", "dev"} <= set(extras)


@pytest.mark.parametrize("name", ["server", "tests", "docs", "init", "menu", "gizmos", "nuke_plugin", "helpers"])
def test_no_common_name_becomes_importable(name, tmp_path):
    done = isolated(f"import importlib.util as u; print(u.find_spec({name!r}))", cwd=tmp_path)
    assert done.stdout.strip() == "None", done.stdout + done.stderr


def test_the_rooms_are_importable(tmp_path):
    rooms = {room for room in ROOMS if next((Path(__file__).parents[1]).glob(f"*/{room}"), None)} | {"void_engine"}
    code = "import importlib.util as u, sys; print([n for n in sys.argv[1:] if u.find_spec(n) is None])"
    done = isolated(code, *sorted(rooms), cwd=tmp_path)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("module", ["void_client.client", "void_cli.main"])
def test_client_and_command_line_load_the_three_packages_only(module, tmp_path):
    loaded, cpu = loaded_by(module, tmp_path)
    assert loaded - BASE_MODULES <= {"void_client", "void_cli"}
    # A tenth of this on a quiet machine; numpy alone is said by the names. Processor time: others may be busy.
    assert cpu < 2.0


def test_the_command_line_loads_no_server_and_no_engine(tmp_path):
    loaded, _ = loaded_by("void_cli.main", tmp_path)
    assert not loaded & {"void_server", "void_engine", "numpy", "torch"}


@pytest.mark.parametrize("command", ["submit", "status", "cancel", "fetch", "render", "serve", "demo", "doctor"])
def test_help_works_with_the_base_install(command, tmp_path):
    done = base_only(command, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")


@pytest.mark.parametrize("command", ["render", "serve", "demo"])
def test_what_needs_a_server_says_so_with_the_base_install(command, tmp_path):
    frame = b"\x76\x2f\x31\x01 a header is enough"
    for name in ("plate.1001.exr", "quadmask.1001.exr"):
        (tmp_path / name).write_bytes(frame)
    shot = ["--plate", "plate.%04d.exr", "--quadmask", "quadmask.%04d.exr", "--out", "out"]
    arguments = {"render": shot, "serve": ["--data", "data"], "demo": []}[command]
    done = base_only(command, *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "numpy" in done.stderr
    assert "pip install 'void-nuke[server,plates]'" in done.stderr
