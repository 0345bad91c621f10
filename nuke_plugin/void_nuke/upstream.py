"""What hangs on a node's inputs, as one short text: equal texts are equal pixels, as far as Nuke can know. Main thread.

Promises: the same at every frame and in every place of the graph; no pixel is computed, no file is opened. Must not:
see whether a file on disk was rendered again: `void_nuke.upstream_files` does.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from typing import Any, Optional

import nuke

from .node import is_void

_COSMETIC = frozenset(
    "name xpos ypos selected label note_font note_font_size note_font_color tile_color gl_color icon indicators "
    "hide_input postage_stamp postage_stamp_frame dope_sheet bookmark cached autolabel help lifetimeStart lifetimeEnd "
    "useLifetime onCreate onDestroy knobChanged updateUI display_range".split()
)
_VOID_COUNTS = ("result_file", "result_first", "result_last", "output", "mix", "missing_result", "disable")
"""Of a VOID node upstream: what changes its picture. Its status is news, not a picture."""
_ASKED_OF_ROOT = ("first_frame", "last_frame", "fps", "format", "proxy")
_ROOT = re.compile(r"\broot\b")
"""Followed to the Root itself, such a node would hang on the frame that is shown."""
_COLOURS = ("colorManagement", "OCIO_config", "customOCIOConfigPath", "workingSpaceLUT", "floatLut")
_WORD = re.compile(r"\A\s*([A-Za-z_][A-Za-z0-9_.]*)")


def print_of(node: Any) -> str:
    """The tree above and including ``node``; "" for none."""
    if node is None:
        return ""
    digest = hashlib.sha256()
    _add(node, digest)
    return digest.hexdigest()[:32]


def walk(start: Any, places: Optional[dict[str, int]] = None) -> Iterator[Any]:
    """Each node above and including ``start`` once, inside of Groups, too, and what expressions ask, but for the Root.

    ``places``: filled with full name → number of its place.
    """
    seen: dict[str, int] = {} if places is None else places
    waiting = [start] if start is not None else []
    while waiting:
        node = waiting.pop()
        key = node.fullName()
        if key in seen or node.Class() == "Root":
            continue
        seen[key] = len(seen)
        yield node
        waiting.extend(above for above in map(node.input, _shown_inputs(node)) if above is not None)
        if is_void(node):
            continue  # its picture is its plate and what `_VOID_COUNTS` says
        waiting.extend(node.dependencies(nuke.EXPRESSIONS))
        if _has_inside(node):
            waiting.extend(child for child in node.nodes())
        elif node.Class() == "Input" and node.parent() is not None:
            above = _outside(node)
            if above is not None:
                waiting.append(above)


def _add(start: Any, digest: Any) -> None:
    """Each node by a number of its place: names do not count, connections do."""
    places: dict[str, int] = {}
    for node in walk(start, places):
        knobs = _knobs(node)
        digest.update(f"{node.Class()}\n{knobs}\n".encode())
        for index in _shown_inputs(node):
            above = node.input(index)
            if above is None:
                digest.update(b"-\n")
                continue
            known = places.get(above.fullName())
            digest.update(f"{index}:{known if known is not None else 'new'}\n".encode())
        if _ROOT.search(knobs):
            digest.update(_project(_ASKED_OF_ROOT).encode())


def _shown_inputs(node: Any) -> range:
    """Of a VOID node only the plate: its masks are in no picture until it is solved."""
    return range(1 if is_void(node) else node.inputs())


def colours() -> str:
    """What the Project Settings say of colour: every Read and Write goes by it."""
    return f"{_project(_COLOURS)}\n{os.environ.get('OCIO', '')}"


def _project(names: tuple[str, ...]) -> str:
    """Some of the Project Settings; not the frame that is shown."""
    root = nuke.root()
    return "\n".join(f"{name} {root[name].toScript()}" for name in names if root.knob(name) is not None)


def _has_inside(node: Any) -> bool:
    gizmo = getattr(nuke, "Gizmo", None)
    return node.Class() == "Group" or (gizmo is not None and isinstance(node, gizmo))


def _outside(node: Any) -> Any:
    """What is connected to the Group whose Input this is."""
    group = node.parent()
    if group is None or group.Class() == "Root":
        return None
    return group.input(int(node["number"].value()))


def _knobs(node: Any) -> str:
    """The knobs that are not at their default, without those that only show."""
    if is_void(node):
        return "\n".join(f"{name} {node[name].toScript()}" for name in _VOID_COUNTS)
    text = str(node.writeKnobs(nuke.WRITE_NON_DEFAULT_ONLY | nuke.TO_SCRIPT))
    kept, depth, keep = [], 0, True
    for line in text.splitlines():
        if depth == 0:
            word = _WORD.match(line)
            keep = word is None or word.group(1) not in _COSMETIC
        depth = max(0, depth + _braces(line))
        if keep:
            kept.append(line.strip())
    return "\n".join(kept)


def _braces(line: str) -> int:
    bare = line.replace("\\{", "").replace("\\}", "")
    return bare.count("{") - bare.count("}")
