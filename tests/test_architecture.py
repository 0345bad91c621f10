"""The rooms and arrows of docs/architecture.md, read off the imports. Python is parsed, not run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "void_client": ROOT / "nuke_plugin" / "void_client",
    "void_nuke": ROOT / "nuke_plugin" / "void_nuke",
    "void_server": ROOT / "server" / "void_server",
    "void_cli": ROOT / "server" / "void_cli",
    "void_engine": ROOT / "void_engine",
}
ARROWS = {
    "void_client": set(),
    "void_nuke": {"void_client"},
    "void_server": {"void_client"},
    "void_engine": {"void_client"},
    "void_cli": {"void_client", "void_server", "void_engine"},
}
ENGINE_MAY_USE = {"void_client", "void_client.job", "void_client.errors", "void_client.sequence",
                  "void_client.overrides", "void_client.digest"}  # fmt: skip
HEAVY = {
    "numpy",
    "torch",
    "cv2",
    "OpenEXR",
    "OpenImageIO",
    "diffusers",
    "transformers",
    "patchmatch",
    "PIL",
    "PyOpenColorIO",
    "av",
}
CLIENT_MAY_USE = {"zmq", "msgpack", "ruamel"}
CLIENT_MAY_LOOK_FOR = {"cryptography"}  # where it is, inside the one function that needs it
LAZY = {"void_cli"}  # imports of server and engine stand inside the commands that need them


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(full module name, whether at the top level) for each import; relative ones resolved."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = set(tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in top
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node in top


def files(room: str) -> list[Path]:
    return sorted(ROOMS[room].rglob("*.py")) if ROOMS[room].exists() else []


def room_files() -> list[tuple[str, Path]]:
    return [(room, path) for room in ROOMS for path in files(room)]


@pytest.mark.parametrize(("room", "path"), room_files(), ids=lambda v: v if isinstance(v, str) else v.stem)
def test_imports_follow_the_arrows(room, path):
    worker = path == ROOMS["void_server"] / "worker.py"
    for name, _ in imports(path):
        target = name.split(".")[0]
        if target in ROOMS and target != room:
            allowed = ARROWS[room] | ({"void_engine"} if worker else set())
            assert target in allowed, f"{path} imports {name}"
        assert target != "nuke" or room == "void_nuke", f"{path} imports nuke"


def test_the_engine_uses_the_clients_job_errors_and_digests_only():
    for path in files("void_engine"):
        for name, _ in imports(path):
            if name.startswith("void_client"):
                module = ".".join(name.split(".")[:2])
                if name != "void_client.__version__":
                    assert module in ENGINE_MAY_USE, f"{path} imports {name}"


def test_the_client_needs_three_packages_only():
    import sys

    for path in files("void_client"):
        for name, top in imports(path):
            target = name.split(".")[0]
            if target in CLIENT_MAY_LOOK_FOR and not top and path.stem == "provenance":
                continue
            assert target in sys.stdlib_module_names | CLIENT_MAY_USE | {"void_client"}, f"{path} imports {name}"


def test_no_pixels_in_the_servers_process():
    for room in ("void_server", "void_client"):
        for path in files(room):
            for name, _ in imports(path):
                assert name.split(".")[0] not in HEAVY, f"{path} imports {name}"


def test_the_command_line_imports_server_and_engine_only_where_needed():
    for path in files("void_cli"):
        if path.stem == "demo":
            continue  # itself imported by its command only
        for name, top in imports(path):
            if top:
                assert name.split(".")[0] not in HEAVY | {"void_server", "void_engine"}, f"{path} imports {name}"


def test_nothing_pickles_evaluates_or_calls_a_shell():
    for _, path in room_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in {"eval", "exec", "torch.load", "pickle.loads", "os.system"}, f"{path}: {name}"
                assert not any(k.arg == "shell" for k in node.keywords), f"{path}: shell="
                allow = [k for k in node.keywords if k.arg == "allow_pickle"]
                assert all(ast.unparse(k.value) == "False" for k in allow), f"{path}: allow_pickle"
                assert name not in {"np.load", "numpy.load"} or allow, f"{path}: np.load without allow_pickle=False"
        for name, _ in imports(path):
            assert name.split(".")[0] not in {"pickle", "shelve", "marshal", "dill"}, f"{path} imports {name}"
