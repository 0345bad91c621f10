"""What a node is described with, and what of the VOID node is not a knob: its inputs, layers and states.

Promises: plain, frozen data. Must not: import nuke.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Optional, Union

NODE_FORMAT: Final = 1
"""Value of the marker knob ``void_node``: which version of this description a node in a script was made from."""

Default = Union[str, int, float, bool, tuple[float, ...], None]

KIND_IDS: Final = {
    "string": 1,
    "file": 2,
    "int": 3,
    "enum": 4,
    "bool": 6,
    "float": 7,
    "channel": 11,
    "xy": 12,
    "bbox": 15,
    "button": 22,
    "text": 26,
    "multiline": 43,
}
"""Kind of knob → the number that Nuke's ``addUserKnob`` knows it by."""


@dataclass(frozen=True)
class Knob:
    """One knob. ``call``: what a button calls in ``void_nuke.actions``, after the node: its further arguments as text.

    ``hidden``: never shown. ``readonly``: shown, but only the plugin writes it. ``beside``: on the line of the knob
    before. ``limits``: of the slider, or of what is accepted.
    """

    name: str
    kind: str
    label: str
    about: str
    default: Default = None
    values: tuple[str, ...] = ()
    stale: bool = False
    hidden: bool = False
    readonly: bool = False
    beside: bool = False
    limits: Optional[tuple[float, float]] = None
    call: str = ""

    @property
    def tooltip(self) -> str:
        """What the knob changes, and whether that makes the result stale."""
        if self.kind == "button":
            return self.about + (" Makes the result stale." if self.stale else " Does not make the result stale.")
        return self.about + (" A change makes the result stale." if self.stale else " Does not make the result stale.")


@dataclass(frozen=True)
class Tab:
    name: str
    label: str
    about: str
    knobs: tuple[Knob, ...]


@dataclass(frozen=True)
class NodeInput:
    """``node``: the Input inside the Group."""

    number: int
    node: str
    about: str


@dataclass(frozen=True)
class State:
    """``shown``: an example of what ``status`` and the node's label say. ``tile``: the node's colour, 0xRRGGBBAA."""

    name: str
    shown: str
    about: str
    tile: int


INPUTS: Final = (
    NodeInput(0, "PlateIn", "The plate. An untouched Read is sent as it is; anything else is exported first."),
    NodeInput(1, "PrimaryIn", "A matte of the object that goes, white on the object. Optional."),
    NodeInput(2, "AffectedIn", "A matte of what the removal changes: shadows, reflections, what it held. Optional."),
    NodeInput(3, "QuadmaskIn", "A whole quadmask in red: 0, 63, 127, 255 of 255. Optional; for `quadmask override`."),
)

LAYERS: Final = {
    "void_quadmask": ("primary", "overlap", "affected", "keep"),
    "void_matte": ("generated",),
    "void_conf": ("confidence",),
}
"""Layers that the node adds to its output → their channels."""

NO_VERSION: Final = "none"
"""What ``version`` says before there is a result."""

OUTPUTS: Final = ("composite", "generated", "quadmask", "generated matte", "confidence", "plate")
MISSING: Final = ("fail", "plate")

STATES: Final = (
    State("not solved", "not solved", "There is no result yet. The plate passes.", 0x5A5A5AFF),
    State(
        "exporting",
        "exporting 12 of 100",
        "The plate is read and sent; what is no untouched Read is rendered first, and that blocks.",
        0x2F6DB5FF,
    ),
    State("queued", "queued: 2 jobs before it", "The server has the job; others are before it.", 0x2F6DB5FF),
    State("reasoning", "reasoning", "The server follows the object and works out what it caused.", 0x2F6DB5FF),
    State(
        "masks ready",
        "masks ready. Look at the quadmask, then approve",
        "The quadmask waits for you. Correct it, or approve.",
        0xC79A1EFF,
    ),
    State("generating", "generating 12 of 100, about 3 min left", "Clean frames are made.", 0x2F6DB5FF),
    State("ready", "ready v003", "The result is in the node.", 0x3C8A3CFF),
    State("stale", "stale v003", "The plate, a mask or a knob changed since. The old result still shows.", 0xC7661EFF),
    State(
        "failed",
        "failed. The plate lacks frame 1013",
        "It says what happened. Nothing is lost; solve again.",
        0xB03030FF,
    ),
    State("cancelled", "cancelled", "Stopped before the end. Finished stages are kept by the server.", 0x5A5A5AFF),
    State(
        "server offline", "server offline", "No server answers. A running job goes on, and is found again.", 0xB03030FF
    ),
)
