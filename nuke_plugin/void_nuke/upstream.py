"""What hangs on a node's inputs, as one short text: equal texts are equal pixels, as far as Nuke can know. Main thread.

Promises: the same at every frame and in every place of the graph; no pixel is computed, no file is opened. Must not:
see whether a file on disk was rendered again: `void_nuke.exports` and the solve itself look at files.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import nuke

from .node import is_void

_COSMETIC = frozenset(
    "name xpos ypos selected label note_font note_font_size note_font_color tile_color gl_color icon indicators "
    "hide_input postage_stamp postage_stamp_frame dope_sheet bookmark cached autolabel help lifetimeStart lifetimeEnd "
    "useLifetime onCreate onDestroy knobChanged updateUI display_range".split()
)
_VOID_COUNTS = ("result_file", "result_first", "result_last", "output", "mix", "missing_result", "disable")
"""Of a VOID node upstream: what changes its picture. Its status is news, not a picture."""
_WORD = re.compile(r"\A\s*([A-Za-z_][A-Za-z0-9_.]*)")


def print_of(node: Any) -> str:
    """The tree above and including ``node``; "" for none."""
    if node is None:
        return ""
    digest = hashlib.sha256()
    places: dict[str, int] = {}
    _add(node, digest, places)
    return digest.hexdigest()[:32]


def _add(start: Any, digest: Any, places: dict[str, int]) -> None:
    """Each node once, by a number of its place: names do not count, connections do."""
    waiting = [start]
    while waiting:
        node = waiting.pop()
        key = node.fullName()
        if key in places:
            continue
        places[key] = len(places)
        digest.update(f"{node.Class()}\n{_knobs(node)}\n".encode())
        for index in range(node.inputs()):
            above = node.input(index)
            if above is None:
                digest.update(b"-\n")
                continue
            known = places.get(above.fullName())
            digest.update(f"{index}:{known if known is not None else 'new'}\n".encode())
            waiting.append(above)
        waiting.extend(node.dependencies(nuke.EXPRESSIONS))
        if node.Class() == "Group":
            waiting.extend(child for child in node.nodes())
        elif node.Class() == "Input" and node.parent() is not None:
            above = _outside(node)
            if above is not None:
                waiting.append(above)


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
