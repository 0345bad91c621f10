"""gizmos/VOID.gizmo, read by real Tcl: it is what the description says, and what Nuke knows."""

from __future__ import annotations

import ast
import json
import re
import tkinter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from helpers.node_picture import IMAGES, PICTURES
from void_nuke import gizmo
from void_nuke.description import HIDDEN, INPUTS, KIND_IDS, LAYERS, OUTPUTS, STATES, TABS, knob, knobs, stale_knobs

ROOT = Path(__file__).parents[2]
SHARED = Path(__file__).parents[3] / "shared" / "reference" / "nuke_knobs.json"
FACTS = SHARED if SHARED.is_file() else ROOT / "tests" / "nuke_standin" / "standin" / "facts.json"

# Knobs that every node has, and those of the EXR writer, which exist once file_type is exr: no scan lists them.
EVERY_NODE = {"name", "label", "help", "tile_color", "xpos", "ypos", "disable", "inputs", "onCreate", "knobChanged"}
EXR_WRITER = {
    "datatype": {"16 bit half", "32 bit float"},
    "compression": {"none", "Zip (1 scanline)", "Zip (16 scanlines)", "PIZ Wavelet (32 scanlines)"},
    "metadata": {"no metadata", "default metadata", "all metadata"},
}
OWN = {"Input": {"number"}}


@dataclass
class Node:
    kind: str
    knobs: dict[str, str]
    user: dict[str, tuple[str, ...]] = field(default_factory=dict)
    inputs: list[Any] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.knobs["name"]


class Reader:
    """Reads a script as Nuke does: classes are commands, and nodes take their inputs off a stack."""

    def __init__(self, text: str) -> None:
        self.tcl = tkinter.Tcl()
        self.nodes: list[Node] = []
        self.order: list[tuple[str, str]] = []  # (what, name): add_layer and nodes, as they come
        self.stack: list[Node | None] = []
        self.named: dict[str, Node | None] = {}
        self.tcl.createcommand("_seen", self._seen)
        self.tcl.eval("proc unknown args {return [_seen {*}$args]}")
        self.tcl.eval(text)

    def _seen(self, command: str, *words: str) -> str:
        if command == "stack":
            key = f"node{len(self.named)}"
            self.named[key] = self.stack[-1]
            return key
        if command == "push":
            self.stack.append(None if words[0] == "0" else self.named[words[0]])
        elif command == "add_layer":
            self.order.append(("add_layer", self.tcl.splitlist(words[0])[0]))
        elif command not in ("version", "end_group"):
            self._node(command, words[0])
        return ""

    def _node(self, kind: str, body: str) -> None:
        words = self.tcl.splitlist(body)
        assert len(words) % 2 == 0, f"{kind}: a knob without a value, or one too many"
        node = Node(kind, {})
        for name, value in zip(words[::2], words[1::2]):
            if name == "addUserKnob":
                made = self.tcl.splitlist(value)
                node.user[made[1]] = made
            else:
                assert name not in node.knobs, f"{kind} sets {name} twice"
                node.knobs[name] = value
        count = int(node.knobs.get("inputs", "1"))
        node.inputs = [self.stack.pop() if self.stack else None for _ in range(count)]
        self.stack.append(node)
        self.nodes.append(node)
        self.order.append((kind, node.knobs["name"]))


@pytest.fixture(scope="module")
def read() -> Reader:
    return Reader(gizmo.GIZMO.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def group(read: Reader) -> Node:
    return read.nodes[0]


@pytest.fixture(scope="module")
def inner(read: Reader) -> dict[str, Node]:
    return {node.name: node for node in read.nodes[1:]}


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    return json.loads(FACTS.read_text(encoding="utf-8"))["classes"]


def flag(made: tuple[str, ...], key: str) -> str:
    """The word after ``l``, ``t``, ``T`` or ``M``."""
    words = list(made[2:])
    while words:
        word = words.pop(0)
        if word in ("l", "t", "T", "M"):
            value = words.pop(0)
            if word == key:
                return value
    return ""


def test_the_committed_files_are_what_the_description_says():
    assert gizmo.outdated() == [], "run: python -m void_nuke.gizmo --write"


def test_the_check_tells_of_a_gizmo_edited_by_hand(tmp_path, monkeypatch, capsys):
    edited = tmp_path / "VOID.gizmo"
    edited.write_text(gizmo.gizmo().replace("name VOID1", "name VOID2"), encoding="utf-8")
    monkeypatch.setattr(gizmo, "GIZMO", edited)
    assert gizmo.main(["--check"]) == 1
    assert str(edited) in capsys.readouterr().err
    monkeypatch.setattr(gizmo, "REFERENCE", tmp_path / "none.md")
    assert gizmo.main(["--write"]) == 0
    assert edited.read_text(encoding="utf-8") == gizmo.gizmo()


def test_it_is_a_group_with_four_inputs_and_one_output(group, read):
    assert group.kind == "Group"
    assert group.knobs["inputs"] == "4"
    assert group.name == "VOID1"
    found = [node for node in read.nodes if node.kind == "Input"]
    assert [(int(node.knobs.get("number", "0")), node.name) for node in found] == [(i.number, i.node) for i in INPUTS]
    assert [node.name for node in read.nodes if node.kind == "Output"] == ["Output1"]


def test_every_class_and_knob_is_one_of_nukes(read, facts):
    for node in read.nodes:
        assert node.kind in facts, f"Nuke has no class {node.kind}"
        known = facts[node.kind]["knobs"]
        for name, value in node.knobs.items():
            if name in node.user:
                continue
            if node.kind == "Write" and name in EXR_WRITER:
                assert list(node.knobs).index("file_type") < list(node.knobs).index(name), "it exists after file_type"
                assert value in EXR_WRITER[name]
                continue
            if name in EVERY_NODE | OWN.get(node.kind, set()):
                continue
            assert name in known, f"{node.kind} has no knob {name}"
            values = known[name].get("values")
            if values and "{" not in value:
                assert value in [one.split("\t")[0] for one in values], f"{node.name}.{name} {value}"


def test_every_node_has_inputs_that_its_class_takes(read, facts):
    for node in read.nodes[1:]:
        limits = facts[node.kind]["inputs"]  # {"minimum", "maximum"}, or the stand-in's pair of them
        most = limits["maximum"] if isinstance(limits, dict) else limits[1]
        assert len(node.inputs) <= most, node.name
        assert None not in node.inputs, f"{node.name} lacks an input"


def test_layers_are_told_before_a_node_names_them(read):
    first = {name: read.order.index(("add_layer", name)) for name in LAYERS}
    for place, (kind, name) in enumerate(read.order):
        if kind == "add_layer":
            continue
        node = next(one for one in read.nodes if one.name == name)
        used = {layer for layer in LAYERS for value in node.knobs.values() if layer in value}
        assert all(first[layer] < place for layer in used), f"{name} names {used} too early"
    text = gizmo.GIZMO.read_text(encoding="utf-8")
    for layer, channels in LAYERS.items():
        assert f"add_layer {{{layer} {' '.join(f'{layer}.{one}' for one in channels)}}}" in text


def test_the_description_holds_each_knob_once_with_a_kind_that_nuke_has():
    names = [one.name for one in knobs()] + [tab.name for tab in TABS]
    assert len(set(names)) == len(names)
    assert {one.kind for one in knobs()} <= set(KIND_IDS)
    assert knob("output").values == OUTPUTS
    with pytest.raises(KeyError):
        knob("no such knob")


def test_the_gizmo_has_the_knobs_of_the_description_in_its_order(group):
    told = [name for tab in TABS for name in (tab.name, *(one.name for one in tab.knobs))]
    assert list(group.user) == told
    for one in knobs():
        made = group.user[one.name]
        assert int(made[0]) == KIND_IDS[one.kind]
        assert flag(made, "t") == one.tooltip
        assert flag(made, "l") == one.label
        assert ("+INVISIBLE" in made) == one.hidden


def test_a_knobs_first_value_is_one_that_it_can_have(group, read):
    for one in knobs():
        if one.kind == "enum":
            assert read.tcl.splitlist(flag(group.user[one.name], "M")) == one.values
            assert group.knobs.get(one.name, one.values[0]) in one.values
        if one.limits:
            assert one.limits[0] <= float(one.default or 0) <= one.limits[1]
    assert group.knobs["void_node"] == "1"
    assert group.knobs["status"] == "not solved" == STATES[0].name
    assert group.knobs["review"] == "true"
    assert float(group.knobs["mix"]) == 1


def test_every_tooltip_says_what_changes_and_whether_the_result_gets_stale():
    for one in knobs():
        assert len(one.about) > 20, one.name
        assert one.about[-1] == ".", one.name
        assert one.tooltip.endswith("stale."), one.name
        assert ("Does not make" in one.tooltip) != one.stale, one.name
        assert one.tooltip.isascii(), f"{one.name}: some Nukes show other letters wrongly"
    assert {"prompt", "seed", "engine", "primary_channel", "handles"} <= set(stale_knobs())
    assert not {"solve", "mix", "output", "endpoint", "priority", "review", "version"} & set(stale_knobs())
    assert all(not one.stale for one in HIDDEN)


def scripts(group: Node) -> dict[str, str]:
    found = {name: flag(group.user[name], "T") for name in group.user if group.user[name][0] == "22"}
    return {**found, **{name: group.knobs[name] for name in ("onCreate", "knobChanged")}}


def test_every_embedded_script_asks_for_the_plugin_inside_a_guard(group):
    called = set()
    for name, script in scripts(group).items():
        tree = ast.parse(script)
        assert len(tree.body) == 1, name
        guard = tree.body[0]
        if isinstance(guard, ast.If):
            assert name == "knobChanged"
            assert ast.unparse(guard.test) == "nuke.thisKnob().name() not in ('xpos', 'ypos', 'selected')"
            guard = guard.body[0]
        assert isinstance(guard, ast.Try), name
        assert [ast.unparse(one) for one in guard.body] == ["import void_nuke.actions as _void_actions"], name
        assert [ast.unparse(one.type) for one in guard.handlers if one.type] == ["ImportError"], name
        call = guard.orelse[0]
        assert isinstance(call, ast.Expr), name
        assert isinstance(call.value, ast.Call), name
        assert isinstance(call.value.func, ast.Attribute), name
        assert ast.unparse(call.value.args[0]) == "nuke.thisNode()", name
        called.add(call.value.func.attr)
        assert len(script) < 420, name
        assert "\t" not in script, name
        assert "[" not in script, f"{name}: Tcl would run it"
    assert {"solve", "approve", "cancel", "add_point", "created", "knob_changed", "resolve_range"} <= called


class NukeWithoutPlugin:
    """As much of ``nuke`` as the scripts touch before they find no plugin."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)

    def thisNode(self) -> None:
        raise AssertionError("it went on without the plugin")

    def thisKnob(self) -> NukeWithoutPlugin:
        return self

    def name(self) -> str:
        return "seed"


def test_without_the_plugin_a_button_says_so_once_and_callbacks_are_silent(group, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "void_nuke", None)
    for name, script in scripts(group).items():
        nuke = NukeWithoutPlugin()
        exec(compile(script, name, "exec"), {"nuke": nuke})
        if name in ("onCreate", "knobChanged"):
            assert nuke.said == [], name
        else:
            assert len(nuke.said) == 1, name
            assert "VOID plugin is not there" in nuke.said[0]
            assert "void nuke install" in nuke.said[0]


def test_the_graph_keeps_the_plate_where_the_matte_is_zero(inner):
    composite = inner["Composite"]
    assert [one.name for one in composite.inputs] == ["PlateIn", "ResultSwitch", "ResultSwitch"]
    assert composite.knobs["channels"] == "rgb"
    assert composite.knobs["maskChannel"] == "void_matte.generated"
    assert composite.knobs["bbox"] == "B"
    assert [one.name for one in inner["ResultSwitch"].inputs] == ["PlateBare", "ResultEdge", "NoResult"]
    assert [one.name for one in inner["PlateBare"].inputs] == ["PlateIn"]
    shown = inner["OutputSwitch"].inputs
    assert len(shown) == len(OUTPUTS)
    assert shown[OUTPUTS.index("plate")].name == "PlateIn"
    assert shown[OUTPUTS.index("quadmask")].name == "GreyQuadmask"


def test_nothing_that_is_rendered_needs_the_mattes(inner):
    def above(node: Node) -> set[str]:
        return {node.name}.union(*(above(one) for one in node.inputs))

    rendered = above(inner["Output1"])
    assert {"PrimaryIn", "AffectedIn", "QuadmaskIn"}.isdisjoint(rendered)
    assert not any(name.startswith("Export") for name in rendered)
    for name in ("PlateIn", "PrimaryIn", "AffectedIn", "QuadmaskIn"):
        assert name in above(inner["Export" + name.removesuffix("In")])


def test_rendering_a_script_never_writes_the_exports(inner):
    writes = [node for node in inner.values() if node.kind == "Write"]
    assert [node.name for node in writes] == ["ExportPlate", "ExportPrimary", "ExportAffected", "ExportQuadmask"]
    for node in writes:
        assert node.knobs["disable"] == "true"
        assert node.knobs["file_type"] == "exr"
        assert node.knobs["raw"] == "true"
        assert node.knobs["create_directories"] == "true"
        assert "file" not in node.knobs


def test_every_expression_is_nukes_own_and_names_knobs_that_are_there(inner, group):
    names = set(group.user) | {"name"}
    texts = [value for node in inner.values() for value in node.knobs.values() if "parent." in value]
    assert len(texts) > 10
    for text in texts:
        assert "python" not in text
        assert set(re.findall(r"parent\.(\w+)", text)) <= names, text


LABELS = [
    ("not solved", "none", "not solved"),
    ("ready v003", "v003", "ready v003"),
    ("failed. The plate lacks frame 1013. Render it.", "v002", "failed\nv002"),
    ("generating 12 of 100, about 1.5 h left", "none", "generating 12 of 100, about 1.5 h left"),
]


@pytest.mark.parametrize(("status", "version", "shown"), LABELS)
def test_the_label_is_tcl_that_shows_state_and_version(group, status, version, shown):
    tcl = tkinter.Tcl()
    values = {"status": status, "version": version}
    tcl.createcommand("value", values.__getitem__)
    tcl.setvar("label", group.knobs["label"])
    assert tcl.eval("subst -nobackslashes $label") == shown


def test_a_word_comes_back_from_tcl_as_it_was_inside_a_nodes_braces():
    tcl = tkinter.Tcl()
    for text in ("plain", "two words", 'a "quote"', "{", "}", "[exit]", "$gui", "back\\slash", "\\n", "two\nlines", ""):
        body = " knob " + gizmo.word(text) + "\n"
        tcl.eval("proc Node {body} {set ::seen $body}")
        tcl.eval("Node {\n" + body + "}")
        assert tcl.splitlist(tcl.eval("set ::seen")) == ("knob", text)


def test_the_page_tells_every_input_output_layer_and_state():
    text = gizmo.REFERENCE.read_text(encoding="utf-8")
    for one in INPUTS:
        assert f"| {one.number} | `{one.node}` | {one.about} |" in text
    for state in STATES:
        assert f"| {state.name} | {state.shown} | {state.about} |" in text
    for output in OUTPUTS:
        assert f"| `{output}` |" in text
    for layer, channels in LAYERS.items():
        assert f"`{layer}`" in text
        assert all(f"`{channel}`" in text for channel in channels)
    for one in knobs():
        assert f"`{one.name}`" in text


@pytest.mark.parametrize("name", PICTURES)
def test_the_pages_pictures_are_drawn_from_the_description(name):
    assert (IMAGES / name).read_text(encoding="utf-8") == PICTURES[name](), "run: python tests/helpers/node_picture.py"
    assert f"images/{name}" in gizmo.REFERENCE.read_text(encoding="utf-8")


def test_texts_that_name_a_button_name_one_that_is_there():
    labels = {one.label for one in knobs() if one.kind == "button"}
    folder = Path(gizmo.__file__).parent
    told = {name for path in folder.glob("*.py") for name in re.findall(r"[Pp]ress '([^']+)'", path.read_text("utf-8"))}
    assert {"Solve", "Approve", "+ object"} <= told <= labels
