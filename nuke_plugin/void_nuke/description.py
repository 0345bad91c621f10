"""The VOID node, told once: its tabs and knobs. The gizmo, the docs and the tests are made from it.

Its inputs, layers and states, which are no knobs, stand in ``parts``.
Promises: every knob has a tooltip that says what it changes; ``stale`` says whether a change makes the result out of
date. Must not: import nuke.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .parts import INPUTS as INPUTS
from .parts import KIND_IDS as KIND_IDS
from .parts import LAYERS as LAYERS
from .parts import MISSING as MISSING
from .parts import NO_VERSION as NO_VERSION
from .parts import NODE_FORMAT as NODE_FORMAT
from .parts import OUTPUTS as OUTPUTS
from .parts import STATES as STATES
from .parts import Default
from .parts import Knob as Knob
from .parts import Tab as Tab


def _hidden(name: str, kind: str, about: str, default: Default = "") -> Knob:
    return Knob(name, kind, name, about + " Kept by the plugin.", default, hidden=True)


HIDDEN: Final = (
    _hidden("void_node", "int", "Marks this Group as a VOID node, and says which version of it.", NODE_FORMAT),
    _hidden("void_uuid", "string", "The node's own name for its results on disk, whatever it is called here."),
    _hidden("void_home", "string", "The folder of its results, from the first solve on, wherever the script is saved."),
    _hidden("void_clicks", "string", "The points and boxes, by frame."),
    _hidden("void_state", "string", "The state, for programs."),
    _hidden("void_solved", "string", "What the shown result was made of: tells whether it is stale."),
    _hidden("result_first", "int", "First frame of the result. Before it the plate passes.", 0),
    _hidden("result_last", "int", "Last frame of the result. After it the plate passes.", 0),
    _hidden("mask_file", "string", "The quadmask in review, as a path pattern. Empty: none."),
    _hidden("mask_first", "int", "First frame of the quadmask in review.", 0),
    _hidden("mask_last", "int", "Last frame of the quadmask in review.", 0),
)


def _button(name: str, label: str, about: str, beside: bool = False, call: str = "", stale: bool = False) -> Knob:
    return Knob(name, "button", label, about, beside=beside, call=call, stale=stale)


VOID_TAB: Final = Tab(
    "void_tab",
    "VOID",
    "What must go, and the result.",
    (
        *HIDDEN,
        Knob(
            "prompt",
            "multiline",
            "prompt",
            "What the place looks like once the object is gone, in plain words: 'an empty street, wet asphalt'. Used by"
            " the engine void; cleanplate does not read it.",
            "",
            stale=True,
        ),
        Knob(
            "mode",
            "enum",
            "masks from",
            "Where the quadmask comes from. reason masks: the server follows the object and works out what it caused."
            " use mattes: only inputs 1 and 2, nobody reasons. quadmask override: input 3, as it is.",
            values=("reason masks", "use mattes", "quadmask override"),
            stale=True,
        ),
        Knob(
            "range",
            "enum",
            "range",
            "Which frames are solved. input: those of the plate. global: the project's. custom: first to last.",
            values=("input", "global", "custom"),
            stale=True,
        ),
        Knob("first", "int", "first", "First frame, when range is custom.", 1, stale=True, beside=True),
        Knob("last", "int", "last", "Last frame, when range is custom.", 100, stale=True, beside=True),
        Knob(
            "handles",
            "int",
            "handles",
            "Frames before and after the range that the server sees as context and does not deliver.",
            0,
            stale=True,
        ),
        Knob(
            "point",
            "xy",
            "point",
            "A place in the viewer. Drag it onto the object, then press + or -. Changes nothing until then.",
            (0.0, 0.0),
        ),
        _button(
            "add_positive",
            "+ object",
            "Stores the point at this frame: here is the object that must go.",
            beside=True,
            call="add_point:True",
            stale=True,
        ),
        _button(
            "add_negative",
            "- not object",
            "Stores the point at this frame: this is not part of the object.",
            beside=True,
            call="add_point:False",
            stale=True,
        ),
        Knob(
            "box",
            "bbox",
            "box",
            "A rectangle in the viewer. Draw it around the object, then press add box. Changes nothing until then.",
            (0.0, 0.0, 0.0, 0.0),
        ),
        _button(
            "add_box", "add box", "Stores the box at this frame: the object is inside it.", beside=True, stale=True
        ),
        _button("remove_click", "remove last", "Removes the newest point or box of this frame.", stale=True),
        _button("clear_clicks", "clear all", "Removes all points and boxes of all frames.", beside=True, stale=True),
        Knob(
            "clicks_shown",
            "text",
            "clicks",
            "The points and boxes that are stored, by frame. Only shows.",
            "none",
            readonly=True,
        ),
        Knob(
            "quality",
            "enum",
            "quality",
            "final: everything that the engine can. draft: quick, at half the size, with the seed that the final will"
            " have.",
            values=("final", "draft"),
            stale=True,
        ),
        Knob(
            "review",
            "bool",
            "review the quadmask",
            "On: solving stops at the quadmask and shows it; look, correct, then Approve. Off: it goes through.",
            True,
            beside=True,
        ),
        _button("solve", "Solve", "Sends what changed to the server and starts. Nuke goes on meanwhile."),
        _button("approve", "Approve", "The quadmask is right: make the clean frames.", beside=True),
        _button("cancel", "Cancel", "Stops this node's job. The last result stays in the node.", beside=True),
        _button("reload", "Reload", "Asks the server again, and reads the result's files again.", beside=True),
        Knob(
            "status",
            "multiline",
            "status",
            "What is happening, or what happened and what to do. Only shows.",
            "not solved",
            readonly=True,
        ),
        Knob(
            "output",
            "enum",
            "output",
            "What comes out. composite: the result laid on the plate through the generated matte; outside of it the"
            " plate's own pixels. generated: the result as delivered. quadmask: black goes, white stays. generated"
            " matte, confidence, plate.",
            values=OUTPUTS,
        ),
        Knob(
            "mix",
            "float",
            "mix",
            "0: the plate, 1: the composite. Works on the output composite only.",
            1.0,
            limits=(0, 1),
        ),
    ),
)

MASKS_TAB: Final = Tab(
    "masks_tab",
    "Masks",
    "Where each region of the quadmask comes from. Per region and frame the stronger wins: input 3, the override file,"
    " the mattes of inputs 1 and 2, the clicks, the reasoner.",
    (
        Knob(
            "primary_channel",
            "channel",
            "object matte",
            "Channel of input 1 that holds the matte of the object.",
            "alpha",
            stale=True,
        ),
        Knob(
            "affected_channel",
            "channel",
            "affected matte",
            "Channel of input 2 that holds the matte of what the removal changes.",
            "alpha",
            stale=True,
        ),
        Knob(
            "grow",
            "int",
            "grow",
            "Pixels by which the object's region grows; below 0 it shrinks. Not for a quadmask on input 3.",
            0,
            stale=True,
            limits=(-64, 256),
        ),
        Knob(
            "feather",
            "int",
            "feather",
            "Pixels around the object that are regenerated softly. Not for a quadmask on input 3.",
            0,
            stale=True,
            limits=(0, 256),
        ),
        Knob(
            "override_file",
            "file",
            "override file",
            "The sidecar with this node's corrections by frame range. Empty: SCRIPT.void.yaml beside the script, else"
            " void.yaml of the shot.",
            "",
            stale=True,
        ),
        _button("edit_override", "edit override", "Opens the sidecar; makes one with examples if there is none."),
        _button(
            "show_resolved", "show resolved", "Tells for each frame which source each region comes from.", beside=True
        ),
        Knob(
            "sources_shown",
            "text",
            "at this frame",
            "Where each region comes from at the viewer's frame. Only shows.",
            "-",
            readonly=True,
        ),
    ),
)

SERVER_TAB: Final = Tab(
    "server_tab",
    "Server",
    "Which server works, and how. A studio sets the server once for all; see docs/td.md.",
    (
        Knob(
            "endpoint",
            "string",
            "server",
            "Address of the server, tcp://HOST:PORT. Empty: the studio's setting. Changes where the work is done.",
            "",
        ),
        _button("test_server", "test", "Asks the server for its version, its key and what it can do.", beside=True),
        Knob("server_said", "text", "it said", "The server's answer to test. Only shows.", "-", readonly=True),
        Knob(
            "engine",
            "enum",
            "engine",
            "What makes the pixels. cleanplate: from the other frames of the clip, no weights, invents no motion. void:"
            " the diffusion model.",
            values=("cleanplate", "void"),
            stale=True,
        ),
        Knob(
            "segmenter",
            "enum",
            "segmenter",
            "What follows the object through the clip. track: by colour and flow. sam2: the model, where the server has"
            " it.",
            values=("track", "sam2"),
            stale=True,
        ),
        Knob(
            "reasoner",
            "enum",
            "reasoner",
            "Who works out what the object caused. motion: from optical flow, on the server. gemini, openai: a language"
            " model that the studio has set up. manual: an edited analysis. none: only the object.",
            values=("motion", "gemini", "openai", "manual", "none"),
            stale=True,
        ),
        Knob(
            "words",
            "multiline",
            "words",
            "The object and what it does, for the reasoner: 'the man; he pushes the swing'.",
            "",
            stale=True,
        ),
        Knob(
            "seed",
            "int",
            "seed",
            "Another seed makes other pixels of the same masks; no frame is sent again.",
            42,
            stale=True,
        ),
        Knob(
            "steps",
            "int",
            "steps",
            "Denoising steps of the engine void. 0: as many as the quality asks for. cleanplate has none.",
            0,
            stale=True,
        ),
        Knob(
            "priority",
            "int",
            "priority",
            "0 to 100: the higher is done first. Changes when the work is done, not what comes out.",
            50,
            limits=(0, 100),
        ),
    ),
)

RESULTS_TAB: Final = Tab(
    "results_tab",
    "Results",
    "Results lie beside the script, by node and version; nothing is overwritten.",
    (
        Knob(
            "version",
            "enum",
            "version",
            "Which finished result the node shows. Older ones stay on disk. Changes what comes out at once.",
            NO_VERSION,
            values=(NO_VERSION,),
        ),
        Knob(
            "result_file",
            "file",
            "result",
            "The result's frames, as a path pattern with forward slashes. The node reads them; neither plugin nor"
            " server is needed. Empty: the plate passes. Changes what comes out at once.",
            "",
        ),
        Knob(
            "job_id", "string", "job", "The server's name of the last job: for its log. Only shows.", "", readonly=True
        ),
        _button("create_read", "create Read", "Puts a Read of this result beside the node."),
        _button("publish", "publish", "Copies this result to the studio's place for published plates.", beside=True),
        _button("wipe", "wipe", "Shows result against plate in the viewer.", beside=True),
        _button("contact_sheet", "contact sheet", "Lays out frames of plate and result side by side.", beside=True),
        Knob(
            "resolve_frames",
            "string",
            "bad frames",
            "Frames to solve again by themselves, their neighbours fixed: 1013-1020. Used by solve these.",
            "",
        ),
        _button(
            "resolve_range",
            "solve these",
            "Solves the bad frames again with another seed, as a new version.",
            beside=True,
        ),
    ),
)

FARM_TAB: Final = Tab(
    "farm_tab",
    "Farm",
    "Solve and render on the farm. Render machines need neither the plugin nor the server.",
    (
        _button("submit_farm", "submit", "Sends solve and render to the farm, one after the other."),
        Knob("chunk_size", "int", "chunk size", "Frames of each render task. Changes no pixel.", 10),
        Knob(
            "missing_result",
            "enum",
            "missing result",
            "When a frame of the result is not on disk. fail: the render stops with an error; without any result only"
            " outside of the interface. plate: the plate passes, unseen.",
            values=MISSING,
        ),
    ),
)

TABS: Final = (VOID_TAB, MASKS_TAB, SERVER_TAB, RESULTS_TAB, FARM_TAB)


def knobs() -> Iterator[Knob]:
    """All knobs, in the panel's order."""
    for tab in TABS:
        yield from tab.knobs


def knob(name: str) -> Knob:
    """Raises ``KeyError`` for a knob that the node does not have."""
    for found in knobs():
        if found.name == name:
            return found
    raise KeyError(name)


def stale_knobs() -> tuple[str, ...]:
    """The knobs whose change makes the result stale. Clicks and inputs do so, too; they are not knobs that one sets."""
    return tuple(one.name for one in knobs() if one.stale and one.kind != "button")
