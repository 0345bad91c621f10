"""Guards against drift: what the plugin and the stand-in call exists in a real Nuke, by the published stubs.

`types-nuke` describes Nuke 13.2. What it lacks and Nuke documents is in ALLOWED, with where.
"""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import json
import logging
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "nuke_plugin"
SHARED = ROOT.parent / "shared" / "reference" / "nuke_knobs.json"

# Names of the module `nuke` that types-nuke lacks.
ALLOWED: dict[str, str] = {}
# Members of Nuke's classes that types-nuke lacks: "Class.member".
ALLOWED_MEMBERS: dict[str, str] = {}
# Names of nukescripts, which has no stubs: shipped with every Nuke as readable Python.
NUKESCRIPTS = {
    "panels": "nukescripts/panels.py",
    "panels.registerWidgetAsPanel": "nukescripts/panels.py",
    "panels.registerPanel": "nukescripts/panels.py",
    "PythonPanel": "nukescripts/panels.py",
    "panels.PythonPanel": "nukescripts/panels.py",
    "start": "nukescripts/utils.py: opens a URL or a file with the system's program",
}
# Methods in camelCase that are not Nuke's.
OTHERS = {name for name in dir(logging) if not name.startswith("_")}


@cache
def stubs() -> tuple[frozenset[str], dict[str, frozenset[str]]]:
    """(names of the module, class → its members with those of its bases), read off types-nuke."""
    files = importlib.metadata.files("types-nuke") or []
    names: set[str] = set()
    members: dict[str, set[str]] = {}
    bases: dict[str, list[str]] = {}
    for file in files:
        if file.suffix != ".pyi" or file.parent.name != "nuke-stubs":
            continue
        if file.stem not in (
            "__init__",
            "_nuke",
            "callbacks",
            "executeInMain",
            "overrides",
            "utils",
            "scripts",
            "colorspaces",
        ):
            continue
        for item in ast.parse(file.read_text(encoding="utf-8")).body:
            names.update(_names(item))
            if isinstance(item, ast.ClassDef):
                members[item.name] = {n for part in item.body for n in _names(part)}
                bases[item.name] = [b.id for b in item.bases if isinstance(b, ast.Name)]

    def whole(name: str) -> set[str]:
        return members.get(name, set()).union(*(whole(base) for base in bases.get(name, [])))

    return frozenset(names), {name: frozenset(whole(name)) for name in members}


def _names(item: ast.stmt) -> Iterator[str]:
    """The names that a statement of a stub makes."""
    if isinstance(item, (ast.FunctionDef, ast.ClassDef)):
        yield item.name
    elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
        yield item.target.id
    elif isinstance(item, ast.Assign):
        yield from (t.id for t in item.targets if isinstance(t, ast.Name))
    elif isinstance(item, ast.ImportFrom):
        yield from (a.asname or a.name for a in item.names if a.name != "*")


@cache
def qt() -> frozenset[str]:
    """All names of the Qt modules that Nuke brings, read off PySide6's own stubs."""
    found: set[str] = set()
    for file in importlib.metadata.files("PySide6-Essentials") or []:
        if file.suffix == ".pyi" and file.stem in ("QtCore", "QtGui", "QtWidgets"):
            found.update(re.findall(r"^ +(?:def )?(\w+) *[:(]", file.read_text(encoding="utf-8"), re.MULTILINE))
    return frozenset(found)


@pytest.fixture(scope="module")
def known() -> Any:
    """The stubs; where they are not installed (Nuke's own Pythons in `make test-nuke`), there is nothing to compare."""
    try:
        importlib.metadata.version("types-nuke")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("types-nuke is not installed here")
    return stubs()


def plugin_files() -> list[Path]:
    return sorted([PLUGIN / "init.py", PLUGIN / "menu.py", *(PLUGIN / "void_nuke").rglob("*.py")])


def dotted(node: ast.expr) -> str:
    """`nuke.nodes.Blur` of its tree; empty for anything else than names and dots."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


def used(path: Path, module: str) -> set[str]:
    """What a file uses of a module: the dotted names behind it, also through `from MODULE import PART`."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    found, prefixes = set(), {module: ""}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == module:
            inner = (node.module or "")[len(module) + 1 :]
            for one in node.names:
                whole = f"{inner}.{one.name}".lstrip(".")
                found.add(whole)
                prefixes[one.asname or one.name] = whole + "."
        if isinstance(node, ast.Import):
            found.update(a.name[len(module) + 1 :] for a in node.names if a.name.startswith(module + "."))
            assert not any(a.asname for a in node.names if a.name == module), f"{path}: import {module} as itself"
    for node in nodes:
        if isinstance(node, ast.Attribute):
            first, _, rest = dotted(node).partition(".")
            if rest and first in prefixes:
                found.add(prefixes[first] + rest)
    return found


@pytest.mark.parametrize("path", plugin_files(), ids=lambda p: p.stem)
def test_every_name_of_nuke_that_the_plugin_uses_exists(known: Any, path: Path) -> None:
    names, members = known
    for name in used(path, "nuke"):
        first, _, rest = name.partition(".")
        assert first in names or first in ALLOWED, f"{path.name}: nuke.{name} is not in types-nuke"
        if first == "nodes" and rest:
            assert rest.split(".")[0] in table(), f"{path.name}: nuke.{name}: no such class in the table of facts"
        elif first in members and rest:
            assert rest.split(".")[0] in members[first] or name in ALLOWED_MEMBERS, f"{path.name}: nuke.{name}"


@pytest.mark.parametrize("path", plugin_files(), ids=lambda p: p.stem)
def test_every_name_of_nukescripts_that_the_plugin_uses_is_documented(path: Path) -> None:
    assert used(path, "nukescripts") - set(NUKESCRIPTS) == set()


@pytest.mark.parametrize("path", plugin_files(), ids=lambda p: p.stem)
def test_every_method_in_nukes_spelling_exists(known: Any, path: Path) -> None:
    """The plugin's own names are in snake_case: one in camelCase is Nuke's (or another library's, named here)."""
    names, members = known
    text = path.read_text(encoding="utf-8")
    all_members = set(names).union(*members.values()) | {m.rpartition(".")[2] for m in ALLOWED_MEMBERS} | OTHERS
    all_members |= {name.rpartition(".")[2] for name in used(path, "nukescripts")}
    if "PySide6" in text:
        all_members |= qt() | {"addToPane"}  # of the panel that registerWidgetAsPanel gives
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and node.attr.lower() != node.attr and not node.attr.isupper():
            if node.attr[0].islower():
                assert node.attr in all_members, f"{path.name}:{node.lineno}: nothing of Nuke's has {node.attr}"


@pytest.mark.parametrize("path", plugin_files(), ids=lambda p: p.stem)
def test_every_method_called_on_a_knob_of_a_node_exists(known: Any, path: Path) -> None:
    """`node["name"].method()`: a method of a knob, whichever."""
    _, members = known
    of_knobs = set().union(*(found for name, found in members.items() if name == "Knob" or name.endswith("_Knob")))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Subscript):
            continue
        key = node.value.slice
        if dotted(node.value.value).split(".")[-1] in ("node", "group", "root", "read", "write") and isinstance(
            key, ast.Constant
        ):
            assert node.attr in of_knobs, f"{path.name}:{node.lineno}: no knob has {node.attr}"


def table() -> dict[str, Any]:
    text = (ROOT / "tests" / "nuke_standin" / "standin" / "facts.json").read_text(encoding="utf-8")
    return dict(json.loads(text)["classes"])


def public(thing: Any) -> set[str]:
    return {name for name in vars(thing) if not name.startswith("_")}


def test_the_stand_ins_names_are_nukes(known: Any, nuke: Any) -> None:
    names, _ = known
    assert public(nuke) - set(ALLOWED) <= names


def test_the_stand_ins_methods_are_nukes(known: Any, nuke: Any) -> None:
    _, members = known
    wrong = {
        f"{name}.{method}"
        for name, cls in vars(nuke).items()
        if inspect.isclass(cls) and name in members
        for method in {m for base in cls.__mro__ if base.__module__.startswith("standin") for m in public(base)}
        if method not in members[name]
    }
    assert wrong - set(ALLOWED_MEMBERS) == set()


def test_the_stand_ins_nukescripts_is_documented() -> None:
    import nukescripts

    found = {n for n in public(nukescripts) if n != "annotations"}
    found |= {f"panels.{n}" for n in ("PythonPanel", "registerPanel", "registerWidgetAsPanel")}
    assert found <= set(NUKESCRIPTS)


def test_the_lists_of_exceptions_are_needed(known: Any, nuke: Any) -> None:
    names, _ = known
    in_use = public(nuke).union(*(used(path, "nuke") for path in plugin_files()))
    assert {name for name in ALLOWED if name in names or name not in in_use} == set()
    assert all(where for where in [*ALLOWED.values(), *ALLOWED_MEMBERS.values(), *NUKESCRIPTS.values()])


def test_the_guards_see_a_made_up_name(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import nuke\nfrom nukescripts import magic\nnuke.renderEverything(nuke.nodes.Void())\nmagic.wand()\n"
    )
    assert used(wrong, "nuke") == {"renderEverything", "nodes", "nodes.Void"}
    assert used(wrong, "nukescripts") == {"magic", "magic.wand"}


@pytest.mark.skipif(not SHARED.is_file(), reason="the scan of Nuke is not beside the checkout")
def test_the_table_of_facts_is_the_scan_of_nuke() -> None:
    scan = json.loads(SHARED.read_text(encoding="utf-8"))["classes"]
    ours = table()
    assert set(ours) == set(scan)
    for name, fact in scan.items():
        assert ours[name]["inputs"] == [fact["inputs"]["minimum"], fact["inputs"]["maximum"]], name
        assert set(ours[name]["knobs"]) == set(fact["knobs"]), name
        for knob, one in fact["knobs"].items():
            assert ours[name]["knobs"][knob]["type"] == one["type"].strip()
            if "values" in ours[name]["knobs"][knob]:
                assert ours[name]["knobs"][knob]["values"] == [v.split("\t")[0] for v in one["values"]]
