"""Reading and writing scripts: .nk and .gizmo are Tcl, read by a real Tcl interpreter."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Optional

from . import create, facts, layers, tcl, views
from .curve import number
from .errors import StandinError
from .knob_base import ALWAYS_SAVE, DO_NOT_WRITE, FLAGS, STARTLINE, WRITTEN
from .knob_choice import Enumeration_Knob, Link_Knob
from .knob_numbers import Array_Knob
from .knob_text import PyScript_Knob, Tab_Knob, Text_Knob
from .state import S

IGNORED = {"define_window_layout_xml", "Preferences", "Layout"}


class Reader:
    """Runs a script's commands: each node class is a command, `push`, `set N [stack 0]` and `end_group` join them."""

    def __init__(self, group: Any, where: str) -> None:
        self.where, self.groups = where, [group]
        self.stacks: list[list] = [[]]
        self.made: list = []
        self.all: list = []
        self.names: dict[str, Any] = {}
        self.tcl = tcl.Interpreter(unknown=True)
        for name, function in {
            "unknown": self.node,
            "push": self.push,
            "stack": self.stack,
            "end_group": self.end_group,
            "add_layer": self.add_layer,
            "version": lambda *_: "",
            "clone": self.clone,
        }.items():
            self.tcl.add(name, function)
        self.tcl.tcl.setvar("cut_paste_input", "0")

    def stack(self, index: str = "0") -> str:
        stack = self.stacks[-1]
        found = stack[-1 - int(index)] if int(index) < len(stack) else None
        if found is None:
            return "0"
        key = f"node{id(found)}"
        self.names[key] = found
        return key

    def push(self, name: str) -> None:
        if name not in ("0", "") and name not in self.names:
            raise RuntimeError(f"{self.where}: push of {name!r}, which is no node")
        self.stacks[-1].append(self.names.get(name))

    def add_layer(self, text: str) -> None:
        words = self.tcl.split(text)
        layers.add(words[0], words[1:])

    def clone(self, *_: str) -> None:
        raise StandinError("clones are not in the stand-in")

    def end_group(self) -> None:
        if len(self.groups) < 2:
            raise RuntimeError(f"{self.where}: end_group without a Group")
        done = self.groups.pop()
        self.stacks.pop()
        self.stacks[-1].append(done)

    def node(self, class_name: str, body: str = "", *rest: str) -> None:
        if rest:
            raise RuntimeError(f"{self.where}: {class_name} has more than one body")
        if class_name in IGNORED:
            return
        if class_name == "Root":
            read_knobs(S.root, body, self.tcl)
            return
        if class_name == "Gizmo":
            raise StandinError("a gizmo whose body says Gizmo: VOID's says Group")
        pairs = pair(self.tcl.split(body), f"{self.where}: {class_name}")
        if not facts.known(class_name):
            raise RuntimeError(f"{self.where}: {class_name}: Unknown command")
        group = self.groups[-1]
        wanted = dict(pairs).get("name")
        made = create.make(class_name, group, wanted)
        sources = self._pop(
            dict(pairs).get("inputs", "0" if facts.inputs(class_name)[1] == 0 and class_name != "Group" else "1")
        )
        read_pairs(made, [p for p in pairs if p[0] not in ("inputs", "name")], self.tcl)
        made._inputs = sources
        while made._inputs and made._inputs[-1] is None:
            made._inputs.pop()
        self.all.append(made)
        if len(self.groups) == 1:
            self.made.append(made)
        if class_name == "Group":
            self.groups.append(made)
            self.stacks.append([])
        else:
            self.stacks[-1].append(made)

    def _pop(self, count: str) -> list:
        plain, _, mask = count.partition("+")
        total = int(plain) + int(mask or 0)
        stack = self.stacks[-1]
        return [stack.pop() if stack else None for _ in range(total)]


def pair(words: list, where: str) -> list:
    """(knob, text) pairs of a node's body."""
    if len(words) % 2:
        raise RuntimeError(f"{where}: a knob without a value: {words[-1]!r}")
    return list(zip(words[::2], words[1::2]))


def read_text(text: str, group: Any, where: str = "script") -> list:
    """Read a script into a group; its top nodes."""
    reader = Reader(group, where)
    S.loading += 1
    try:
        reader.tcl.run(text)
    finally:
        S.loading -= 1
    if len(reader.groups) != 1:
        raise RuntimeError(f"{where}: {reader.groups[-1]._name} has no end_group")
    read_text.last = reader.all  # type: ignore[attr-defined]
    return reader.made


def read_knobs(node: Any, text: str, interpreter: Optional[tcl.Interpreter] = None) -> None:
    """`Node.readKnobs` and a node's body."""
    splitter = interpreter or tcl.interpreter()
    read_pairs(node, pair(splitter.split(text), node._name or "Root"), splitter)
    if node is S.root:
        views.from_root()


def read_pairs(node: Any, pairs: list, splitter: tcl.Interpreter) -> None:
    """Set knobs from their texts; addUserKnob makes them."""
    for name, text in pairs:
        if name == "inputs" and node is S.root:
            continue
        if name == "addUserKnob":
            _add_user_knob(node, splitter.split(text))
        elif name in node._knobs:
            knob = node._knobs[name]
            before = knob._state()
            try:
                knob.fromScript(text)
            except (RuntimeError, ValueError) as error:
                if isinstance(error, StandinError):
                    raise
                raise RuntimeError(f"{node._name or 'Root'}.{name}: {error}") from error
            if before != knob._state() and name == "file_type":
                node._update_dynamic_knobs()
        else:
            raise RuntimeError(f"{node._name or 'Root'}: {node.Class()} has no knob {name}")


def _add_user_knob(node: Any, words: list) -> None:
    """`addUserKnob {ID name l label t tooltip T text M {menu} R low high n group +FLAG -FLAG}`"""
    number, name = int(words[0]), words[1] if len(words) > 1 else ""
    if number not in facts.BY_ID:
        raise StandinError(f"addUserKnob {number}: the stand-in does not know this kind of knob")
    knob: Any = facts.BY_ID[number](name)
    rest = words[2:]
    while rest:
        word = rest.pop(0)
        if word == "l":
            knob._label = rest.pop(0)
        elif word == "t":
            knob._tooltip = rest.pop(0)
        elif word == "T" and isinstance(knob, Link_Knob):
            knob._link = rest.pop(0)
        elif word == "T":
            knob._text = rest.pop(0)
        elif word == "M" and isinstance(knob, Enumeration_Knob):
            knob._values = tcl.interpreter().split(rest.pop(0))
            while knob._values and knob._values[-1] == "":
                knob._values.pop()
        elif word == "R":
            knob._range = (float(rest.pop(0)), float(rest.pop(0)))
        elif word == "n" and isinstance(knob, Tab_Knob):
            knob._group = int(rest.pop(0))
        elif word[:1] in "+-" and word[1:] in FLAGS:
            knob._explicit.add(word[1:])
            knob._flags = knob._flags | FLAGS[word[1:]] if word[0] == "+" else knob._flags & ~FLAGS[word[1:]]
        else:
            raise StandinError(f"addUserKnob {number} {name}: {word!r} is not known")
    knob._default = knob._state() if not isinstance(knob, (Text_Knob, PyScript_Knob, Link_Knob)) else ""
    node._attach(knob)


def user_knob_line(knob: Any) -> str:
    """A user knob's addUserKnob line."""
    identity = next((n for n, cls in facts.BY_ID.items() if cls is type(knob)), type(knob)._USER_ID)
    if type(knob).__name__ == "String_Knob":
        identity = 1
    if isinstance(knob, Tab_Knob):
        identity = 20
    if identity is None:
        raise StandinError(f"a {knob.Class()} as a user knob ({knob._name}) cannot be written: its number is not known")
    words = [str(identity), tcl.quote(knob._name)]
    if knob._label is not None:
        words += ["l", tcl.quote(knob._label)]
    if knob._tooltip:
        words += ["t", tcl.quote(knob._tooltip)]
    usual = STARTLINE if type(knob)._STARTLINE else 0
    for name in WRITTEN:
        now, normal = knob._flags & FLAGS[name], usual & FLAGS[name]
        if now != normal or name in knob._explicit:
            words.append(("+" if now else "-") + name)
    if isinstance(knob, Link_Knob):
        words += ["T", tcl.quote(knob._link)]
    if isinstance(knob, (PyScript_Knob, Text_Knob)) and knob._text:
        words += ["T", tcl.quote(knob._text)]
    if isinstance(knob, Enumeration_Knob):
        words += ["M", "{" + " ".join(tcl.quote(v) for v in knob._values) + "}"]
    elif isinstance(knob, Array_Knob) and knob._range != (0.0, 1.0):
        words += ["R", *(number(x) for x in knob._range)]
    if isinstance(knob, Tab_Knob) and knob._group:
        words += ["n", str(knob._group)]
    return "addUserKnob {" + " ".join(words) + "}"


def knob_lines(node: Any, everything: bool = False, users: bool = True) -> list:
    """A node's knobs, one line each: built-in ones first."""
    lines = []
    for key, knob in node._knobs.items():
        if knob._user:
            continue
        if _is_written(knob, everything):
            lines.append(f"{key} {knob.toScript(quote=True)}")
    for key, knob in node._knobs.items():
        if not knob._user:
            continue
        if users:
            lines.append(user_knob_line(knob))
        if not isinstance(knob, (Tab_Knob, PyScript_Knob, Text_Knob, Link_Knob)) and _is_written(knob, everything):
            lines.append(f"{key} {knob.toScript(quote=True)}")
    return lines


def _is_written(knob: Any, everything: bool) -> bool:
    if (
        knob._flags & DO_NOT_WRITE
        or isinstance(knob, Tab_Knob)
        or (knob._name == "name" and knob._node is S.root and not knob._text)
    ):
        return False
    return everything or bool(knob._flags & ALWAYS_SAVE) or knob._not_default()


def write_nodes(nodes: list, indent: str = "", count: Optional[Iterator] = None) -> str:
    """Nodes with their connections; those to nodes outside become `push 0`.

    ``count`` numbers the nodes of a whole script: a Group's inner names must not be those of the nodes around it.
    """
    ordered = _ordered(nodes)
    count = itertools.count(1) if count is None else count
    names = {node: f"N{next(count):08x}" for node in ordered}
    pushed = _pushed(ordered)
    out, top = [], None
    for node in ordered:
        sources = [source if source in names else None for source in node._inputs]
        if not (len(sources) == 1 and sources[0] is top and top is not None):
            for source in reversed(sources):
                out.append(f"{indent}push {'$' + names[source] if source is not None else '0'}")
        out.append(_node_text(node, len(sources), indent, count))
        if node in pushed:
            out.append(f"{indent}set {names[node]} [stack 0]")
        top = node
    return "\n".join(out) + ("\n" if out else "")


def _ordered(nodes: list) -> list:
    """Sources before what hangs on them."""
    done: list = []

    def visit(node: Any) -> None:
        if node in done or node not in nodes:
            return
        for source in node._inputs:
            if source is not None:
                visit(source)
        done.append(node)

    for node in nodes:
        visit(node)
    return done


def _pushed(ordered: list) -> set:
    """Nodes that are taken from the stack by name."""
    found, top = set(), None
    for node in ordered:
        sources = [s for s in node._inputs if s in ordered]
        if not (len(node._inputs) == 1 and sources and sources[0] is top):
            found.update(sources)
        top = node
    return found


def _node_text(node: Any, inputs: int, indent: str, count: Iterator) -> str:
    usual = 0 if node._class != "Group" and facts.inputs(node._class)[1] == 0 else 1
    lines = [f"{indent}{node._class} {{"]
    if inputs != 1 or usual == 0:
        lines.append(f"{indent} inputs {inputs}")
    lines += [f"{indent} {line}" for line in knob_lines(node)]
    lines.append(f"{indent}}}")
    if node._children is not None:
        inner = write_nodes(node._children, indent + " ", count)
        lines += ([inner.rstrip("\n")] if inner else []) + [f"{indent}end_group"]
    return "\n".join(lines)


def write_script() -> str:
    """The whole script, as it is saved."""
    major, minor, release = S.version
    out = [f"version {major}.{minor} v{release}", "Root {", " inputs 0"]
    out += [f" {line}" for line in knob_lines(S.root)] + ["}"]
    for name, channels in S.layers.items():
        if name not in ("rgba", "depth", "mask"):
            out.append("add_layer {" + " ".join([name, *(f"{name}.{c}" for c in channels)]) + "}")
    return "\n".join(out) + "\n" + write_nodes(S.root._children)
