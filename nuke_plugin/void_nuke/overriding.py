"""The node's sidecar: made and opened, and who had the last word about each region. Main thread."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

import nuke
from void_client.errors import InputError, VoidError
from void_client.manifest import write_durably
from void_client.overrides import for_node, read
from void_client.result_store import Version, of_pattern
from void_client.sequence import format_frames

from . import plate
from .messages import failure
from .node import VoidNode

REGIONS = "regions.json"
_SKELETON = """\
# Corrections of VOID's quadmasks, by frame range. docs/overrides.md tells all.
# Regions: remove, overlap, affected, keep. Modes: add, subtract, replace ("replace" of keep is a lock).
# Exactly one of matte (a file, white inside), shape (pixels from the TOP left) and hint (words).
"""
_SECTION = """
# {name}
{uuid}:
  overrides:
#    - frames: {frames}
#      region: remove
#      mode: add
#      shape: {{ellipse: [960, 540, 40, 25]}}
#    - frames: all
#      region: keep
#      mode: replace
#      matte: mattes/keep.%04d.exr
"""


def edit(node: VoidNode) -> Path:
    """Make the sidecar, or the node's section in it, where there is none; and open it. Returns its path."""
    path = sidecar_of(node)
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else _SKELETON
        if not _has_section(path, node):
            frames = "1001-1010"
            found = of_pattern(node.text("result_file"))
            if found is not None:
                frames = format_frames(found.frames)
            text = text.rstrip("\n") + "\n" + _SECTION.format(name=node.name, uuid=node.uuid, frames=frames)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, text.encode())
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"The overrides {path} cannot be written: {problem}.", hint="Check the folder.") from problem
    if nuke.GUI:
        _open(path)
    return path


def sidecar_of(node: VoidNode) -> Path:
    """The one that is read, else the one that would be. Raises ``InputError`` where the script has no place."""
    chosen = str(node.node["override_file"].evaluate() or "").strip()
    if chosen:
        return Path(chosen) if Path(chosen).is_absolute() else plate.project_of() / chosen
    script = plate.script_path()
    if not script:
        raise failure("unsaved")
    found = for_node(Path(script), uuid=node.uuid, name=node.name)
    own = Path(script).with_suffix(".void.yaml")
    return found.path if found.found and found.path is not None else own


def resolved_text(node: VoidNode) -> str:
    """Who spoke for each region, frame ranges together; with what of the sidecar is not used. Raises ``InputError``."""
    frames = _frames_of(node)
    lines = []
    for text, numbers in _grouped(frames).items():
        lines += [f"frames {format_frames(numbers)}", text, ""]
    try:
        script = plate.script_path()
        warnings = for_node(Path(script), uuid=node.uuid, name=node.name).warnings if script else ()
    except VoidError as error:
        warnings = (str(error),)
    return "\n".join([*lines, *warnings]).strip()


def at_frame(node: VoidNode, frame: int) -> str:
    """One line for the panel."""
    try:
        frames = _frames_of(node)
    except VoidError:
        return "-"
    told = frames.get(frame)
    return _one_line(told) if told is not None else f"frame {frame}: no quadmask"


def _has_section(path: Path, node: VoidNode) -> bool:
    return path.is_file() and read(path, uuid=node.uuid, name=node.name).found


def _open(path: Path) -> None:
    """In the system's own editor."""
    from nukescripts import start

    start("file:///" + path.as_posix().lstrip("/"))


_last_read: dict[str, tuple[str, dict[int, Mapping[str, Any]]]] = {}
"""A node's uuid → which quadmask was read last, and its frames: a version never changes."""


def _frames_of(node: VoidNode) -> dict[int, Mapping[str, Any]]:
    """Frame → what ``regions.json`` of the shown quadmask says. Raises ``InputError`` where there is none."""
    shown = f"{node.text('mask_file')} {node.text('result_file')}"
    known = _last_read.get(node.uuid)
    if known is not None and known[0] == shown:
        return known[1]
    version = _with_regions(node)
    if version is None:
        raise failure("no_result")
    try:
        value = json.loads((version.folder / REGIONS).read_text(encoding="utf-8"))
        frames = {int(each["frame"]): each for each in value}
        _last_read[node.uuid] = (shown, frames)
        return frames
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise InputError(f"{version.folder / REGIONS} cannot be read: {problem}.", hint="Solve again.") from problem


def _with_regions(node: VoidNode) -> Optional[Version]:
    for name in ("mask_file", "result_file"):
        version = of_pattern(node.text(name))
        if version is not None and (version.folder / REGIONS).is_file():
            return version
    return None


def _grouped(frames: Mapping[int, Mapping[str, Any]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number in sorted(frames):
        found.setdefault(_told(frames[number]), []).append(number)
    return found


def _told(frame: Mapping[str, Any]) -> str:
    lines = []
    for name, region in frame.get("regions", {}).items():
        source = region.get("source")
        if source or region.get("edits"):
            edits = "".join(f", {e.get('source')} {e.get('mode')}s" for e in region.get("edits", ()))
            label = f" ({region['label']})" if region.get("label") else ""
            lines.append(f"  {name}: {source or 'nobody'}{label}{edits}")
    return "\n".join(lines) or "  nothing is removed"


def _one_line(frame: Mapping[str, Any]) -> str:
    return f"frame {frame['frame']}: " + "; ".join(line.strip() for line in _told(frame).splitlines())
