"""Writes ``gizmos/VOID.gizmo`` and the knobs' reference from the description: ``python -m void_nuke.gizmo --write``.

Promises: the same description gives the same bytes; the text is what Nuke itself would save, so a script embeds the
whole node. Must not: import nuke.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Optional

from .description import KIND_IDS, LAYERS, STATES, TABS, Knob, Tab
from .graph import ChannelLink, Expression, Inner, Value, nodes

ROOT: Final = Path(__file__).resolve().parents[2]
GIZMO: Final = ROOT / "gizmos" / "VOID.gizmo"
REFERENCE: Final = ROOT / "docs" / "node.md"
BEGIN: Final = "<!-- knobs: written by python -m void_nuke.gizmo --write -->"
END: Final = "<!-- end of knobs -->"

NUKE_VERSION: Final = "14.0 v1"
"""The oldest Nuke that is supported: a newer number makes it warn at every load."""

HELP: Final = (
    "VOID takes an object out of a shot, and what the object caused: its shadow, its reflection, what it held.\n\n"
    "1. Connect the plate.  2. Put points on the object, or connect a matte to input 1.  3. Solve.  4. Look at the"
    " quadmask, correct it, approve.\n\n"
    "Outside of the generated matte the plate's own pixels pass untouched."
)
LABEL: Final = (
    '[regsub {[.] .*} [value status] ""]'
    '[if {[value version] ne "none" && [string first [value version] [value status]] < 0}'
    ' {format "\\n%s" [value version]}]'
)
"""The first sentence of ``status``, and the version where that does not name it."""

_BARE: Final = re.compile(r"\A[A-Za-z0-9_./+][A-Za-z0-9_./+-]*\Z")
_ESCAPED: Final = {"\\": "\\\\", '"': '\\"', "[": "\\[", "]": "]", "$": "\\$", "{": "\\{", "}": "\\}", "\n": "\\n"}


def word(text: str) -> str:
    """``text`` as one Tcl word, as Nuke writes it. Braces are escaped too: a node's body is one braced word."""
    if _BARE.match(text):
        return text
    return '"' + "".join(_ESCAPED.get(character, character) for character in text) + '"'


_IMPORT: Final = "import void_nuke.actions as _void_actions"
"""Nuke runs a node's scripts in ``__main__``, where the artist's own names are."""


def script(call: str) -> str:
    """The Python of a button: it says in one message why it can do nothing where the plugin is not installed."""
    name, _, arguments = call.partition(":")
    extra = f", {arguments}" if arguments else ""
    return (
        "try:\n"
        f"    {_IMPORT}\n"
        "except ImportError as _void_problem:\n"
        "    nuke.message('The VOID plugin is not there: %s.\\nThe node shows its result without it."
        " To solve, have it installed: void nuke install.' % _void_problem)\n"
        "else:\n"
        f"    _void_actions.{name}(nuke.thisNode(){extra})\n"
    )


def callback(call: str) -> str:
    """The Python of a callback: silent where the plugin is not installed."""
    return f"try:\n    {_IMPORT}\nexcept ImportError:\n    pass\nelse:\n    _void_actions.{call}\n"


def knob_changed() -> str:
    """A node that is dragged calls this for each pixel: no import is tried then, which may look through a network."""
    guarded = callback("knob_changed(nuke.thisNode(), nuke.thisKnob())")
    inside = "".join(f"    {line}\n" for line in guarded.splitlines())
    return f"if nuke.thisKnob().name() not in ('xpos', 'ypos', 'selected'):\n{inside}"


def gizmo() -> str:
    """The whole file. Its body says ``Group``: a script holds the node whole, and a farm needs no gizmo."""
    lines = [
        "# VOID for Nuke. Written by python -m void_nuke.gizmo --write from void_nuke/description.py: edit that.",
        f"version {NUKE_VERSION}",
        "Group {",
        " inputs 4",
        " name VOID1",
        f" help {word(HELP)}",
        f" onCreate {word(callback('created(nuke.thisNode())'))}",
        f" knobChanged {word(knob_changed())}",
        f" tile_color 0x{STATES[0].tile:08x}",
        f" label {word(LABEL)}",
    ]
    for tab in TABS:
        lines.append(f" addUserKnob {{20 {tab.name} l {word(tab.label)} t {word(tab.about)}}}")
        for knob in tab.knobs:
            lines += user_knob(knob)
    lines.append("}")
    lines += _inside(nodes())
    lines.append("end_group")
    return "\n".join(lines) + "\n"


def user_knob(knob: Knob) -> list[str]:
    """The line that makes the knob, and the one that sets it where its value is not what Nuke starts with."""
    parts = [str(KIND_IDS[knob.kind]), knob.name, "l", word(knob.label), "t", word(knob.tooltip)]
    if knob.beside:
        parts.append("-STARTLINE")
    elif knob.kind in ("button", "bool"):  # alone among knobs, these do not begin a line by themselves
        parts.append("+STARTLINE")
    if knob.readonly and knob.kind != "text":
        parts.append("+DISABLED")
    if knob.hidden:
        parts.append("+INVISIBLE")
    if knob.kind == "enum":
        parts += ["M", "{" + " ".join(word(value) for value in knob.values) + "}"]
    if knob.kind == "text":
        parts += ["T", word(str(knob.default or ""))]
    if knob.kind == "button":
        parts += ["T", word(script(knob.call or knob.name))]
    lines = [" addUserKnob {" + " ".join(parts) + "}"]
    value = start_value(knob)
    if value is not None:
        lines.append(f" {knob.name} {value}")
    return lines


def start_value(knob: Knob) -> Optional[str]:
    """The knob's value as a script writes it; None where Nuke starts with it anyway."""
    default = knob.default
    if knob.kind in ("text", "button") or not default:
        return None
    if knob.kind == "enum":
        return None if default == knob.values[0] else word(str(default))
    if isinstance(default, tuple):
        return "{" + " ".join(f"{number:g}" for number in default) + "}" if any(default) else None
    if isinstance(default, bool):
        return "true"
    return word(default) if isinstance(default, str) else f"{default:g}"


def _inside(inner: tuple[Inner, ...]) -> list[str]:
    """The nodes inside. A node takes its inputs off the stack, input 0 from the top: they are pushed in reverse."""
    lines: list[str] = []
    layers_told = False
    for node in inner:
        if not layers_told and "void_" in repr(node.knobs):
            layers_told = True
            lines += [
                f"add_layer {{{layer} {' '.join(f'{layer}.{one}' for one in LAYERS[layer])}}}" for layer in LAYERS
            ]
        lines += [f"push ${_variable(source)}" for source in reversed(node.inputs)]
        lines.append(f" {node.kind} {{")
        if len(node.inputs) != 1:
            lines.append(f"  inputs {len(node.inputs)}")
        lines += [f"  {name} {value(what)}" for name, what in node.knobs if name != "disable"]
        lines += [f"  name {node.name}", f"  xpos {node.place[0]}", f"  ypos {node.place[1]}"]
        lines += [f"  {name} {value(what)}" for name, what in node.knobs if name == "disable"]
        lines.append(" }")
        if node.kind != "Output":
            lines.append(f"set {_variable(node.name)} [stack 0]")
    return lines


def _variable(name: str) -> str:
    return f"N{name}"


def value(what: Value) -> str:
    """A knob's value as a script writes it."""
    if isinstance(what, Expression):
        return "{{" + word(what.text) + "}}"
    if isinstance(what, ChannelLink):
        return "{{{" + what.knob + "}}}"
    if isinstance(what, bool):
        return "true" if what else "false"
    return word(what) if isinstance(what, str) else str(what)


def reference() -> str:
    """The knobs as Markdown: a section for each tab."""
    return "\n\n".join(_section(tab) for tab in TABS)


def _section(tab: Tab) -> str:
    lines = [
        f"### {tab.label}",
        "",
        tab.about,
        "",
        "| knob | name | default | stale | what it does |",
        "|---|---|---|---|---|",
    ]
    for knob in tab.knobs:
        if not knob.hidden:
            lines.append(_row(knob))
    return "\n".join(lines)


def _row(knob: Knob) -> str:
    default = knob.default if knob.default is not None else (knob.values[0] if knob.values else "")
    if isinstance(default, tuple):
        default = " ".join(f"{number:g}" for number in default)
    if isinstance(default, bool):
        default = "on" if default else "off"
    if knob.kind == "button":
        default = "button"
    stale = "yes" if knob.stale else "no"
    return f"| {knob.label} | `{knob.name}` | {default} | {stale} | {knob.about} |"


def with_reference(text: str) -> str:
    """``text`` of a page with its reference as it should be. Raises ``ValueError`` where it has no place for it."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no lines {BEGIN!r} and {END!r}")
    return f"{head}{BEGIN}\n\n{reference()}\n\n{END}{tail}"


def outdated() -> list[Path]:
    """The written files that differ from the description."""
    wrong = [] if GIZMO.is_file() and GIZMO.read_text(encoding="utf-8") == gizmo() else [GIZMO]
    if REFERENCE.is_file():
        text = REFERENCE.read_text(encoding="utf-8")
        wrong += [] if with_reference(text) == text else [REFERENCE]
    return wrong


def write() -> None:
    """Writes both files."""
    GIZMO.parent.mkdir(parents=True, exist_ok=True)
    GIZMO.write_bytes(gizmo().encode())
    if REFERENCE.is_file():
        REFERENCE.write_bytes(with_reference(REFERENCE.read_text(encoding="utf-8")).encode())


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m void_nuke.gizmo", description="The VOID node from its description."
    )
    parser.add_argument("--write", action="store_true", help="write the gizmo and the reference in docs/node.md")
    parser.add_argument("--check", action="store_true", help="only say which of them are out of date")
    said = parser.parse_args(arguments)
    if said.write:
        write()
    wrong = outdated()
    for path in wrong:
        sys.stderr.write(f"{path} is not what the description says. Run: python -m void_nuke.gizmo --write\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
