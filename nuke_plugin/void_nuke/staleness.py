"""Whether the shown result is still that of the node as it stands. Main thread; no pixel, no socket.

The *fingerprint* is of the knobs that count, of what is upstream and of the node's overrides. A solve that brings the
same content gets the same version, so that undoing a change makes the result ready again. A *look* is the fingerprint
and, behind a dot, sizes and times of the files that the pixels come from. Files are asked for at a solve, at Reload,
when a script loads and for the farm, never while the artist works.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Optional

import nuke
from void_client.errors import VoidError
from void_client.overrides import Sidecar, for_node, read

from . import plate, states, upstream, upstream_files
from .description import INPUTS, stale_knobs
from .node import VoidNode
from .states import State

SHOWN, APPROVE = "The quadmask is shown.", "Look at it, correct it or press Approve."
EARLIER, SOLVE_AGAIN = "The quadmask is of the node before your change.", "Solve again, or approve it as it is."
RENDERED = "Files of the plate or of a mask were written again since."
AGAIN = "Solve again: where they hold the same pixels, this version comes back."
_COUNTED = (*stale_knobs(), "void_clicks")
STAT_EVERY_S = 2.0
_stats: dict[str, tuple[float, list[tuple[int, int]]]] = {}
_sidecars: dict[tuple[str, str], tuple[object, str]] = {}
_looked: dict[str, tuple[str, str]] = {}
_other_files: dict[str, str] = {}
"""A node's uuid → the look of its result, where files had changed since when they were last asked for."""


def fingerprint(node: VoidNode) -> str:
    """The node as it stands, in 32 hex digits."""
    return _digest(node, _above(node), _said(node, _sidecar_stat(node)))


def look(node: VoidNode) -> str:
    """The fingerprint and the files: what a result is made of. Lists folders."""
    return f"{fingerprint(node)}.{_files(node)}"


def is_of(node: VoidNode, made: str) -> bool:
    """Whether what was made at this look would be made again now. Lists folders."""
    return bool(made) and made in (look(node), fingerprint(node))


def look_at_files(node: VoidNode) -> None:
    """Ask whether files were rendered again since the shown result: `refreshed` goes by the answer from then on."""
    if node.state.name not in (states.READY, states.STALE):
        return
    made = node.solved.prints.get(node.solved.shown, "")
    _other_files.pop(node.uuid, None)
    if "." in made and made.partition(".")[2] != _files(node):
        _other_files[node.uuid] = made


def fingerprint_quickly(node: VoidNode) -> str:
    """The same. What is upstream is walked only where Nuke's own hashes are not those of the last look: an artist who
    drags a knob of the node waits for no walk."""
    quick, known = _hashes(node), _looked.get(node.uuid)
    if known is None or known[0] != quick:
        known = _looked[node.uuid] = (quick, _above(node))
    return _digest(node, known[1], _said(node, _stat_now_and_then(node)))


def refreshed(node: VoidNode, running: bool) -> Optional[State]:
    """The state that the node should show instead of the one that it shows; None where that is right."""
    state = node.state
    if running:
        return None
    if state.name == states.MASKS_READY and state.looked:
        return _review(node, state)
    if state.name not in (states.READY, states.STALE):
        return None
    solved = node.solved
    made = solved.prints.get(solved.shown, "")
    fresh = bool(made) and _print(made) == fingerprint_quickly(node)
    other_files = _other_files.get(node.uuid) == made
    wanted = State(states.READY, version=solved.shown, job_id=state.job_id)
    if not fresh or other_files:
        wanted = State(
            states.STALE,
            RENDERED if fresh else "The plate, a mask or a knob changed since.",
            AGAIN if fresh else "Solve again, or undo the change.",
            version=solved.shown,
            job_id=state.job_id,
        )
    return wanted if wanted.name != state.name or wanted.version != state.version else None


def _review(node: VoidNode, state: State) -> Optional[State]:
    """A quadmask that is shown may be of the node as it was before a correction."""
    current = _print(state.looked) == fingerprint_quickly(node)
    wanted = replace(state, what=SHOWN, do=APPROVE) if current else replace(state, what=EARLIER, do=SOLVE_AGAIN)
    return wanted if wanted.what.split(".")[0] != state.what.split(".")[0] else None


def _knobs(node: VoidNode) -> str:
    return "\n".join(f"{name} {node.node[name].toScript()}" for name in _COUNTED if name not in ("first", "last"))


def _range(node: VoidNode) -> str:
    """The frames that would be solved, as far as knobs say it: custom counts only where it is chosen."""
    chosen = node.text("range")
    if chosen == "custom":
        return f"{node.number('first')}-{node.number('last')}"
    if chosen == "global":
        root = nuke.root()
        return f"{root.firstFrame()}-{root.lastFrame()}"
    return chosen


def _print(made: str) -> str:
    return made.partition(".")[0]


def _files(node: VoidNode) -> str:
    """Of all frames that would be solved; "" where that cannot be said."""
    source = node.node.input(0)
    if source is None:
        return ""
    try:
        frames = plate.range_of(node, source).frames
    except VoidError:
        return ""
    sources = [above for above in (node.node.input(one.number) for one in INPUTS) if above is not None]
    stamps = upstream_files.stamps_of(sources, frames)
    lines = [*stamps.values(), *_override_files(node, frames)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _override_files(node: VoidNode, frames: tuple[int, ...]) -> list[str]:
    """Of the mattes that the overrides name."""
    try:
        files = _section(node).prepare(frames).files
    except VoidError:
        return []
    disk = upstream_files.Listings()
    return [f"{kind} {number} {disk.stamp(path)}" for (kind, number), path in sorted(files.items())]


def _digest(node: VoidNode, above: str, said: str) -> str:
    parts = [_knobs(node), above, upstream.colours(), _range(node), said]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _above(node: VoidNode) -> str:
    """What is upstream: a walk through all of it."""
    return "\n".join(upstream.print_of(node.node.input(one.number)) for one in INPUTS)


def _hashes(node: VoidNode) -> str:
    """Changes with what is upstream; at another frame, too, where that is another picture."""
    found: list[str] = []
    for one in INPUTS:
        above = node.node.input(one.number)
        try:
            found.append("" if above is None else f"{above.name()} {above.opHashes()}")
        except RuntimeError:  # upstream is in error: what it says by knobs is looked at each time
            found.append(str(time.monotonic_ns()))
    return "\n".join(found)


# --- the sidecar


def _places(node: VoidNode) -> list[str]:
    chosen = node.text("override_file")
    if chosen:
        return [chosen]
    script = nuke.root().name()
    if script in ("", "Root"):
        return []
    path = Path(script)
    own = [str(path.with_suffix(".void.yaml")), f"{script}.void.yaml"]
    return [*own, *(str(path.with_name(name)) for name in ("void.yaml", "void.yml", "void.json"))]


def _stat_now_and_then(node: VoidNode) -> list[tuple[int, int]]:
    """Nuke asks at each change of its windows: a file server is asked less often."""
    now, known = time.monotonic(), _stats.get(node.uuid)
    if known is None or now - known[0] > STAT_EVERY_S:
        known = _stats[node.uuid] = (now, _sidecar_stat(node))
    return known[1]


def _sidecar_stat(node: VoidNode) -> list[tuple[int, int]]:
    found = []
    for place in _places(node):
        try:
            stat = os.stat(place)
            found.append((stat.st_mtime_ns, stat.st_size))
        except OSError:
            found.append((0, 0))
    return found


def _said(node: VoidNode, stat: list[tuple[int, int]]) -> str:
    """What the node's section says, by content: another node's section, or a comment, changes nothing."""
    key = (node.uuid, node.name)
    known = _sidecars.get(key)
    if known is not None and known[0] == stat:
        return known[1]
    text = _entries(node) if any(size for _, size in stat) else ""
    _sidecars[key] = (stat, text)
    return text


def _entries(node: VoidNode) -> str:
    try:
        entries = _section(node).entries
    except VoidError as error:
        return error.message  # the solve tells it in full
    return "\n".join(
        repr((entry.frames, entry.region, entry.mode, entry.matte, entry.shapes, entry.hint)) for entry in entries
    )


def _section(node: VoidNode) -> Sidecar:
    """What the overrides say of the node. Raises ``VoidError``."""
    chosen = node.text("override_file")
    if chosen:
        return read(Path(chosen), uuid=node.uuid, name=node.name)
    script = plate.script_path()
    return for_node(Path(script), uuid=node.uuid, name=node.name) if script else Sidecar()
