"""What is connected, and how it goes to the server: an untouched Read's own files, or an export. Main thread only.

Promises: a Read is untouched only where its files' bits are the graph's pixels, frame by frame; proxy mode is refused
and never touched. Must not: open a file.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import nuke
from void_client.errors import JobError
from void_client.sequence import FramePattern

from .messages import failure
from .node import VoidNode

_LINEAR = {"linear", "scene_linear", "rendering"}
_PASSES = ("Dot",)
_BUILTIN = re.compile(r"\A(?:fn-nuke_)?((?:cg|studio)-config-v.+)\Z")
_ACES_1 = "ocio://studio-config-v1.0.0_aces-v1.3_ocio-v2.1"
_VERSIONED = re.compile(r"\A(.*[^._-].*?)[._-]v\d+(?:[._-].*)?\Z", re.IGNORECASE)
"""A name up to its last version, which stands between separators."""


@dataclass(frozen=True)
class Range:
    """``frames`` go to the server, ``deliver`` come back; both without gaps."""

    frames: tuple[int, ...]
    deliver: tuple[int, ...]


@dataclass(frozen=True)
class Colour:
    """The graph's working space, as a job names it. Both empty: linear with Rec.709 primaries."""

    space: str = ""
    ocio: str = ""


def check_session() -> None:
    """What would spoil any solve. Raises ``InputError``."""
    if nuke.root()["proxy"].value():
        raise failure("proxy")
    if nuke.executing():
        raise failure("executing")


def plate_of(node: VoidNode) -> Any:
    """The node on input 0. Raises ``InputError`` where there is none, or one that VOID cannot read."""
    plate = node.node.input(0)
    if plate is None:
        raise failure("no_plate")
    check_flat(plate)
    return plate


def check_flat(plate: Any) -> None:
    """Deep reaches the input as a deep class, or as Dots behind one."""
    above = _through(plate)
    if above is not None and above.Class().startswith("Deep") and above.Class() not in ("DeepToImage", "DeepToImage2"):
        raise failure("deep")


def check_fits(node: VoidNode, plate: Any) -> None:
    """Masks must have the plate's display window. Raises ``InputError``."""
    wanted = _size(plate)
    for index, kind in ((1, "matte on input 1"), (2, "matte on input 2"), (3, "quadmask on input 3")):
        mask = node.node.input(index)
        if mask is not None and _size(mask) != wanted:
            raise failure("mask_size", kind=kind, has=_size(mask), wanted=wanted)


def range_of(node: VoidNode, plate: Any, wanted: Optional[tuple[int, int]] = None) -> Range:
    """The frames to solve. ``wanted``: instead of the node's own range. Handles stop at the plate's ends.

    Raises ``InputError`` for a range that the plate does not have.
    """
    there = (int(plate.firstFrame()), int(plate.lastFrame()))
    chosen = node.text("range")
    first, last = there
    if wanted is not None:
        first, last = wanted
    elif chosen == "custom":
        first, last = node.number("first"), node.number("last")
    elif chosen == "global":
        root = nuke.root()
        first, last = max(there[0], int(root.firstFrame())), min(there[1], int(root.lastFrame()))
    if first > last or first < there[0] or last > there[1]:
        raise failure("bad_range", text=f"{first}-{last}", plate=f"{there[0]}-{there[1]}")
    handles = max(0, node.number("handles"))
    frames = range(max(there[0], first - handles), min(there[1], last + handles) + 1)
    return Range(tuple(frames), tuple(range(first, last + 1)))


def untouched_files(plate: Any, frames: tuple[int, ...]) -> str:
    """The frame pattern of an EXR Read whose pixels are its files'; "" for anything else.

    ``frames`` outside of the Read's own range are held or black there: they are no files.
    """
    read = _through(plate)
    if read is None or read.Class() != "Read" or read["disable"].value():
        return ""
    if frames[0] < int(read["first"].value()) or frames[-1] > int(read["last"].value()):
        return ""
    if read["frame_mode"].value() != "expression" or str(read["frame"].value()).strip():
        return ""
    if not _same_colour(read):
        return ""
    pattern = pattern_of(read)
    try:
        FramePattern.parse(pattern)
    except JobError:
        return ""
    return pattern if pattern.lower().endswith(".exr") and "[" not in pattern else ""


def pattern_of(read: Any) -> str:
    """A Read's or Write's files with Tcl, views and path rules worked out, the frame number left in; absolute."""
    text = _mapped(read, str(nuke.filename(read) or ""))
    text = re.sub(r"%V", view(), text).replace("%v", view()[:1])
    if text and not os.path.isabs(text):
        text = os.path.join(_evaluated("project_directory") or os.getcwd(), text)
    return text.replace("\\", "/")


def check_views(plate: Any) -> None:
    """One view a job. Raises ``InputError`` where the plate differs from view to view."""
    views = list(nuke.views())
    if len(views) < 2:
        return
    for node in above(plate):
        if node.Class() in ("OneView",):
            return
        if node.Class() == "JoinViews" or (node.Class() == "Read" and re.search(r"%[vV]", str(node["file"].value()))):
            raise failure("views", views=", ".join(views))


def colour() -> Colour:
    """The working space of the script, as Project Settings name it. Raises ``InputError`` for a configuration of Nuke's
    own that the server cannot have."""
    root = nuke.root()
    if str(root["colorManagement"].value()) == "Nuke":
        return Colour()
    config = os.environ.get("OCIO") or ""
    named = str(root["OCIO_config"].value())
    if not config and named == "custom":
        config = _evaluated("customOCIOConfigPath")
    if not config and named in ("nuke-default", ""):
        return Colour()
    space = str(root["workingSpaceLUT"].value()).strip() or "scene_linear"
    return Colour(space, config.replace("\\", "/") if config or named == "custom" else _builtin(named, space))


def project_of() -> Path:
    """The project directory, else the script's folder. Raises ``InputError`` where there is neither."""
    directory = str(_evaluated("project_directory")).strip()
    if directory and os.path.isabs(directory):
        return Path(directory)
    script = script_path()
    if not script:
        raise failure("unsaved")
    return Path(script).parent / directory


def script_path() -> str:
    """The saved script, else ""."""
    name = str(nuke.root().name())
    return name if os.path.isabs(name) else ""


def shot_name() -> str:
    """The script's name without its version: a new version of the script finds the results of the one before."""
    script = script_path()
    return _unversioned(script) if script else "untitled"


def same_shot(script: str, other: str) -> bool:
    """Whether two scripts differ in their versions only, as far as their names say."""
    return _unversioned(script) == _unversioned(other)


def _unversioned(script: str) -> str:
    return _VERSIONED.sub(r"\1", Path(script).stem)


# --- parts


def _evaluated(name: str) -> str:
    """A file knob of the Project Settings, its Tcl worked out."""
    knob: Any = nuke.root()[name]
    return str(knob.evaluate() or "")


def _builtin(named: str, space: str) -> str:
    """What OCIO itself calls a configuration that comes with Nuke; Nuke's have the same spaces under the same names.

    The older ACES ones are not in OCIO, but ACEScg and ACES2065-1 are the same light in each of them.
    """
    found = _BUILTIN.match(named)
    if found is not None:
        return f"ocio://{found.group(1)}"
    if named.lower().startswith("aces_1") and re.search("ACEScg|ACES2065-1|scene_linear|rendering", space):
        return _ACES_1
    raise failure("ocio_config", name=named, space=space)


def _mapped(read: Any, text: str) -> str:
    """A file as this machine spells it. `nuke.filename` knows no filename filters; with REPLACE it may, but has the
    frame's number in the name: of that only the folder counts."""
    filters: Any = nuke.filenameFilter
    try:
        found = str(filters(text) or text) if text else ""
    except (RuntimeError, ValueError):  # a filter that wants to be asked by a node
        found = text
    if not found or found != text:
        return found
    head, _, tail = text.replace("\\", "/").rpartition("/")
    whole = str(nuke.filename(read, nuke.REPLACE) or "").replace("\\", "/")
    folder, _, name = whole.rpartition("/")
    shape = re.sub(r"%0?\d*d|#+", "\0", tail)
    same = re.fullmatch(re.escape(shape).replace(re.escape("\0"), r"(-?\d+|%0?\d*d|#+)"), name) is not None
    return f"{folder}/{tail}" if same and "%" not in head and "#" not in head else text


def _through(node: Any) -> Any:
    """Past what changes nothing."""
    while node is not None and node.Class() in _PASSES:
        node = node.input(0)
    return node


def above(node: Any) -> list[Any]:
    found: dict[str, Any] = {}
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if each is not None and each.fullName() not in found:
            found[each.fullName()] = each
            waiting.extend(each.input(index) for index in range(each.inputs()))
    return list(found.values())


def _same_colour(read: Any) -> bool:
    """Whether the Read hands its files' bits on: raw, or a file space that is the working space."""
    if read["raw"].value():
        return True
    space = re.sub(r"\A(default|\w+) \((.*)\)\Z", r"\2", str(read["colorspace"].value())).lower()
    root = nuke.root()
    if space == "default" and root.knob("floatLut") is not None:
        space = str(root["floatLut"].value()).lower()
    working = str(root["workingSpaceLUT"].value()).lower()
    if str(root["colorManagement"].value()) == "Nuke" or working in _LINEAR:
        return space in _LINEAR | {"default", working}
    return space in {"default", working, "scene_linear"} or space.split(" - ")[-1] == working.split(" - ")[-1]


def _size(node: Any) -> str:
    shape = node.format()
    return f"{shape.width()}x{shape.height()}"


def view() -> str:
    """The view that is solved: behind a OneView every one is the same."""
    views = list(nuke.views())
    return str(views[0]) if views else "main"
