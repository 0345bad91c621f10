"""Typed access to a VOID node's knobs. Main thread only.

Promises: what the plugin writes fills no undo step and calls no knobChanged of ours; a knob that has its value already
is left alone. Must not: know servers.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import nuke
from void_client.errors import VoidError

from .clicks import Clicks
from .description import NODE_FORMAT
from .plain_text import packed, plain, unpacked
from .states import State

MARKER = "void_node"
_quiet_depth = 0


@contextmanager
def quiet() -> Iterator[None]:
    """The plugin's own writing: the artist's undo takes back what the artist did, not what VOID reported."""
    global _quiet_depth
    was_off = nuke.Undo.disabled()
    if not was_off:
        nuke.Undo.disable()
    _quiet_depth += 1
    try:
        yield
    finally:
        _quiet_depth -= 1
        if not was_off:
            nuke.Undo.enable()


@contextmanager
def undo_step(name: str) -> Iterator[None]:
    """What the artist's next undo takes back at once."""
    nuke.Undo.begin(name)
    try:
        yield
    finally:
        nuke.Undo.end()


def is_quiet() -> bool:
    return _quiet_depth > 0


@dataclass
class Solved:
    """What the node's results were made of, in ``void_solved``: version → the node's fingerprint at that time.

    ``shown``: the version that the node shows.
    """

    shown: str = ""
    prints: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str) -> Solved:
        try:
            value = json.loads(text)
            return cls(str(value["shown"]), {str(k): str(v) for k, v in value["prints"].items()})
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def to_json(self) -> str:
        return json.dumps({"shown": self.shown, "prints": self.prints}, sort_keys=True)


class VoidNode:
    """A Group with the marker knob. ``node`` is Nuke's own."""

    def __init__(self, node: Any) -> None:
        self.node = node

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VoidNode) and bool(other.node == self.node)

    def __hash__(self) -> int:
        return hash(self.node.fullName())

    # --- reading

    def text(self, name: str) -> str:
        return str(self.node[name].value() or "")

    def data(self, name: str) -> str:
        """What `keep` wrote."""
        return unpacked(self.text(name))

    def number(self, name: str) -> int:
        return int(self.node[name].value())

    def flag(self, name: str) -> bool:
        return bool(self.node[name].value())

    @property
    def uuid(self) -> str:
        return self.text("void_uuid")

    @property
    def name(self) -> str:
        return str(self.node.fullName())

    @property
    def clicks(self) -> Clicks:
        """Raises ``JobError`` where the knob holds something else."""
        return Clicks.from_json(self.data("void_clicks"))

    @property
    def state(self) -> State:
        return State.from_json(self.data("void_state"))

    @property
    def solved(self) -> Solved:
        return Solved.from_json(self.data("void_solved"))

    def inner(self, name: str) -> Any:
        """A node inside the Group. Raises ``KeyError`` where the artist took it out."""
        found = self.node.node(name)
        if found is None:
            raise KeyError(f"{self.name} has lost its {name}")
        return found

    # --- writing

    def put(self, name: str, value: Any) -> None:
        """Only where it differs: a node that did not change must not look changed."""
        knob = self.node[name]
        if knob.value() != value:
            knob.setValue(value)

    def keep(self, name: str, text: str) -> None:
        """Data, such that Nuke takes nothing in it for Tcl."""
        self.put(name, packed(text))

    def say(self, name: str, text: str) -> None:
        """A text for the artist."""
        self.put(name, plain(text))

    def show(self, state: State) -> None:
        """The state in all its places."""
        with quiet():
            self.keep("void_state", state.to_json())
            self.say("status", state.text())
            if state.job_id:
                self.put("job_id", state.job_id)
            self.put("tile_color", state.colour)

    def keep_clicks(self, clicks: Clicks) -> None:
        """One undo step: it is the artist who clicked."""
        with undo_step("VOID clicks"):
            self.keep("void_clicks", clicks.to_json())
        self.show_clicks()

    def show_clicks(self) -> None:
        try:
            text = self.clicks.text(int(nuke.frame()))
        except VoidError as error:
            text = error.message
        with quiet():
            self.say("clicks_shown", text)

    def keep_solved(self, solved: Solved) -> None:
        with quiet():
            self.keep("void_solved", solved.to_json())

    def settle(self, home: Path) -> None:
        """Its results lie there from now on, also where the script is saved elsewhere meanwhile."""
        with contextlib.suppress(OSError):  # whoever writes there tells it
            home.mkdir(parents=True, exist_ok=True)
        with quiet():
            self.put("void_home", home.as_posix())

    def new_uuid(self) -> str:
        with quiet():
            self.put("void_uuid", uuid.uuid4().hex)
        return self.uuid


def is_void(node: Any) -> bool:
    return node is not None and node.Class() == "Group" and node.knob(MARKER) is not None


def too_new(node: Any) -> bool:
    """Whether a newer plugin made this node."""
    return int(node[MARKER].value()) > NODE_FORMAT


def all_nodes() -> list[VoidNode]:
    """Every VOID node of the script, inside of Groups, too."""
    found = nuke.allNodes("Group", nuke.root(), recurseGroups=True)
    return [VoidNode(node) for node in found if is_void(node)]


def by_uuid(wanted: str) -> Optional[VoidNode]:
    return next((node for node in all_nodes() if node.uuid == wanted), None)


@contextmanager
def reviews_hidden() -> Iterator[None]:
    """While the plugin renders here: nodes that show a quadmask in review give what their ``output`` says."""
    before = [(node, node.text("mask_file")) for node in all_nodes()]
    with quiet():
        for node, _ in before:
            node.put("mask_file", "")
        try:
            yield
        finally:
            for node, file in before:
                node.put("mask_file", file)
