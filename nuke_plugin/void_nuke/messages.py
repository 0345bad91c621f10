"""Every failure of the node in the artist's words: the state it leads to, what happened, what to do. Pure: no nuke.

`failure` makes the errors that the plugin itself finds; `explain` turns any error into what the node shows.
docs/artist.md has the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from void_client import __version__
from void_client.errors import Cancelled, InputError, ServerUnreachable, VersionMismatch, VoidError
from void_client.messages import PROTOCOL

from . import states
from .states import State


@dataclass(frozen=True)
class Text:
    """``what`` may hold ``{names}``. ``state``: what the node shows. ``about``: the manual's, where that is empty."""

    what: str
    do: str
    state: str = states.FAILED
    about: str = ""


FOUND_HERE: Final[Mapping[str, Text]] = {
    "no_plate": Text("Nothing is connected to the plate input.", "Connect the plate to input 0, then solve."),
    "proxy": Text(
        "Nuke is in proxy mode: the plate would be sent smaller than it is.",
        "Switch proxy off (Ctrl+P), then solve. VOID never switches it for you.",
    ),
    "unsaved": Text(
        "The script has not been saved, so the result has no place.",
        "Save the script, or set a project directory in the Project Settings, then solve.",
    ),
    "no_object": Text(
        "Nothing says what is to be removed.",
        "Put a point on the object and press '+ object', draw a box, or connect a matte to input 1.",
    ),
    "no_matte": Text("The mode is 'use mattes', and no matte is connected.", "Connect the object's matte to input 1."),
    "no_quadmask": Text(
        "The mode is 'quadmask override', and no quadmask is connected.",
        "Connect one to input 3, or choose another mode.",
    ),
    "deep": Text("The plate is deep.", "Flatten it with DeepToImage before VOID."),
    "mask_size": Text(
        "The {kind} is {has}, the plate is {wanted}.", "Reformat it to the plate's format (Reformat, resize none)."
    ),
    "views": Text(
        "The plate's views are {views}, and VOID solves one at a time.",
        "Put a OneView before VOID, and one VOID node on each view.",
    ),
    "ocio_config": Text(
        "The working space is {space} of the OCIO configuration {name}, which only Nuke has.",
        "Choose 'custom' in the Project Settings and name its config.ocio, or set the variable OCIO to it.",
    ),
    "bad_range": Text("{text!r} is not a frame range of this plate ({plate}).", "Write 1001-1046, or choose 'input'."),
    "point_outside": Text(
        "The point {x}, {y} is outside of the plate ({width}x{height}).", "Move it onto the object, then add it."
    ),
    "box_empty": Text("The box has no area inside of the plate ({width}x{height}).", "Draw it around the object."),
    "executing": Text("Nuke is rendering right now.", "Wait for the render to end, then solve."),
    "export": Text("The {kind} could not be rendered: {why}", "Mend what is upstream, then solve. Nothing was sent."),
    "export_cancelled": Text("The export was cancelled.", "Solve when you like.", states.CANCELLED),
    "no_result": Text("This node has no result yet.", "Solve it first."),
    "no_job": Text("No job of this node is under way.", "Nothing has to be done."),
    "no_review": Text("No quadmask of this node waits for approval.", "Solve with 'review' on."),
    "still_under_way": Text("This node's job is still under way.", "Wait for it, or cancel it first."),
    "cancelled_here": Text(
        "You cancelled the job.", "Solve again when you like: finished stages are kept.", states.CANCELLED
    ),
    "bad_frames": Text("The result has no frames {text}.", "It has {there}."),
    "whole_result": Text(
        "That is the whole result: no finished frame would be left to go by.", "Change the seed, then solve."
    ),
    "version_gone": Text(
        "The files of {version} are not on disk any more.", "Choose another version, or solve again: it comes back."
    ),
    "indie": Text(
        "Nuke Indie lets Python work on scripts of ten nodes at most: VOID cannot solve in it.",
        "Solve with `void render` on the command line, and read the result with a Read.",
    ),
    "too_new": Text(
        "This node was made by a newer version of the plugin.",
        "Ask your TD to update the plugin. Its result still shows.",
    ),
    "no_nodes": Text("The script has no VOID node that is on.", "Create one, or enable one."),
    "farm_folder": Text("The farm job could not be written to {folder}: {why}.", "Check the folder; ask your TD."),
    "farm_refused": Text("Deadline Cloud did not take the job: {why}", "The job's folder is kept: submit it by hand."),
}
"""What the plugin finds itself, before anything is sent."""

FROM_SERVER: Final[Mapping[str, Text]] = {
    "server_unreachable": Text(
        "",
        "Nothing is lost: VOID goes on by itself when the server is back.",
        states.OFFLINE,
        about="the server cannot be reached, or does not answer",
    ),
    "not_authorised": Text(
        "",
        "Press 'test' on the Server tab: it shows the line for your TD. Nothing was lost.",
        about="there is no key, or the server refuses it",
    ),
    "version_mismatch": Text(
        "", "", about="plugin and server speak different versions: it says which of them is too old"
    ),
    "bad_frame": Text(
        "",
        "Then solve again; what was sent already is not sent twice.",
        about="a frame is missing, empty, damaged or of another size: it is named",
    ),
    "bad_mask": Text(
        "", "Then solve again.", about="a mask as a whole makes no sense, such as one that removes nothing"
    ),
    "bad_job": Text(
        "", "Then solve again.", about="a setting of the node or an entry of the overrides cannot be meant"
    ),
    "bad_input": Text(
        "",
        "",
        about="something that was given cannot be used: a folder that cannot be written, a file that is no result",
    ),
    "bad_setting": Text(
        "",
        "Ask your TD: the settings come from the studio's file.",
        about="a key of the studio's or your settings file is wrong: file and key are named",
    ),
    "bad_model": Text("", "Ask your TD.", about="a model's file on the server is missing or damaged"),
    "engine_unavailable": Text(
        "",
        "Choose another engine, segmenter or reasoner on the Server tab, or ask your TD.",
        about="the server lacks the engine, segmenter or reasoner",
    ),
    "disk_full": Text(
        "",
        "Nothing is lost: solve again once there is room, and the result comes.",
        about="the disk is full where the result goes, or on the server",
    ),
    "store_full": Text(
        "", "Ask your TD to make room on the server, then solve again.", about="the server's store of frames is full"
    ),
    "busy": Text("", "Solve again in a while.", about="the server's queue is full"),
    "cancelled": Text(
        "The job was cancelled elsewhere: in the queue, on the command line, or by your TD.",
        "Solve again when you like: finished stages are kept.",
        states.CANCELLED,
    ),
    "result_evicted": Text(
        "",
        "Solve again: what the server still has of it is reused.",
        about="the result has left the server to make room",
    ),
    "unknown_job": Text(
        "The server does not know this job any more.", "Solve again: frames that it still holds are not sent twice."
    ),
    "worker_died": Text(
        "",
        "Solve again; if it happens again, send your TD the job id.",
        about="the server's process died under this job, again and again",
    ),
    "job_failed": Text(
        "", "Solve again; if it happens again, send your TD the job id.", about="the job failed on the server"
    ),
    "job_conflict": Text("", "Solve again.", about="the server has another job of this id"),
    "digest_mismatch": Text("", "Solve again.", about="bytes changed on the way or on disk"),
    "frames_missing": Text("", "Solve again.", about="the server lost frames while it had the job"),
    "path_refused": Text("", "Ask your TD.", about="a shared path is outside of the server's roots"),
    "unsupported": Text("", "Ask your TD to update the server.", about="the server does not know what was asked"),
    "failed": Text(
        "", "If it happens again, send your TD the job id.", about="a failure that this plugin does not know yet"
    ),
}
"""By the error's code. Where ``what`` is empty, the error's own sentence stands."""


def manual() -> str:
    """The two tables of docs/artist.md."""
    lines = ["| you read | what to do | state |", "|---|---|---|"]
    for text in FOUND_HERE.values():
        lines.append(f"| {_cell(text.what)} | {_cell(text.do)} | {text.state} |")
    lines += ["", "| what the server, a file or a setting says | what to do | state |", "|---|---|---|"]
    for text in FROM_SERVER.values():
        lines.append(f"| {_cell(text.what or text.about)} | {_cell(text.do) or 'it says so itself'} | {text.state} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("{text!r}", "{text}").replace("{", "*").replace("}", "*").replace("|", "/")


@dataclass(frozen=True)
class Told:
    """What the artist reads. ``key``: which row of the tables."""

    key: str
    state: str
    what: str
    do: str

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.do) if part)

    def as_state(self, job_id: str = "", version: str = "") -> State:
        return State(self.state, self.what, self.do, job_id=job_id, version=version)


def failure(key: str, **values: object) -> InputError:
    """The error for what the plugin finds itself: a row of ``FOUND_HERE``."""
    text = FOUND_HERE[key]
    return InputError(text.what.format(**values), hint=text.do.format(**values), details={"told": key})


def explain(error: BaseException) -> Told:
    """Any error as the node shows it. A fault of the plugin itself is told, too: never a silent end."""
    if not isinstance(error, VoidError):
        kind = type(error).__name__
        return Told("fault", states.FAILED, f"The plugin has a fault ({kind}: {error}).", "Tell your TD; solve again.")
    key = str(error.details.get("told", ""))
    if key in FOUND_HERE:
        return Told(key, FOUND_HERE[key].state, error.message, error.hint)
    if isinstance(error, VersionMismatch):
        return _versions(error)
    key = error.code if error.code in FROM_SERVER else "failed"
    text = FROM_SERVER[key]
    what = text.what or error.message
    do = " ".join(part for part in (error.hint if not text.what else "", text.do) if part)
    return Told(key, text.state, what, do)


def _versions(error: VersionMismatch) -> Told:
    """Which side is the older one: only that helps."""
    said: Any = error.details.get("versions", ())
    others = [version for version in said if isinstance(version, int) and version != PROTOCOL]
    if not others:
        return Told(error.code, states.FAILED, error.message, error.hint)
    older, do = "server", "Ask your TD to update the server"
    if max(others) > PROTOCOL:
        older, do = "plugin", "Ask your TD to update the plugin"
    what = f"The {older} is too old: the plugin {__version__} speaks version {PROTOCOL}, the server {others[0]}."
    return Told(error.code, states.FAILED, what, f"{do}. Nothing was lost.")


def is_offline(error: BaseException) -> bool:
    return isinstance(error, ServerUnreachable)


def is_cancelled(error: BaseException) -> bool:
    return isinstance(error, Cancelled)
