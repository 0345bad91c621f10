"""`nuke.execute`: Writes, frame by frame, with the callbacks of a render."""

from __future__ import annotations

import os
from typing import Any, Optional

from . import events, exr_io, graph, layers, reading, render, tcl, views
from .errors import StandinError
from .group import walk
from .image import union
from .ranges import FrameRange, FrameRanges
from .state import S

BUSY = "I'm already executing something else"


class Cancelled(RuntimeError):
    """`nuke.CancelledError`"""

    def __init__(self) -> None:
        super().__init__("Cancelled")


def _node(wanted: Any) -> Any:
    from . import app

    found = app.to_node(wanted) if isinstance(wanted, str) else wanted
    if found is None:
        raise RuntimeError(f'"{wanted}" not found')
    return found


def frames_of(args: tuple, node: Any) -> tuple:
    """(frames, rest of the arguments) of execute's many forms."""
    if args and isinstance(args[0], (FrameRange, FrameRanges)):
        found = args[0].toFrameList() if isinstance(args[0], FrameRanges) else list(args[0])
        return found, args[1:]
    numbers = []
    while args and isinstance(args[0], (int, float)) and not isinstance(args[0], bool) and len(numbers) < 3:
        numbers.append(int(args[0]))
        args = args[1:]
    if not numbers:
        numbers = [S.root.firstFrame(), S.root.lastFrame()]
    first, last, step = (*numbers, *([numbers[0], 1][len(numbers) - 1 :] if len(numbers) < 3 else []))[:3]
    return list(range(first, last + 1, step)), args


def execute(nameOrNode: Any, *args: Any, **kwargs: Any) -> None:
    """Render a Write."""
    names = ("start", "end", "incr")
    if "frameRangeSet" in kwargs:
        args = (kwargs.pop("frameRangeSet"),)
    elif any(n in kwargs for n in names):
        args = (*args, *(kwargs.pop(n) for n in names if n in kwargs))
    node = _node(nameOrNode)
    frames, rest = frames_of(args, node)
    chosen = kwargs.pop("views", rest[0] if rest else None)
    go_on = kwargs.pop("continueOnError", rest[1] if len(rest) > 1 else False)
    if kwargs:
        raise TypeError(f"execute: unexpected {sorted(kwargs)}")
    execute_nodes([node], frames, chosen, bool(go_on))


def execute_multiple(nodes: Any, ranges: Any = (), views: Any = None, continueOnError: bool = False) -> None:
    """`nuke.executeMultiple(nodes, [[first, last, step]], views)`"""
    spans = [tuple(r) for r in ranges] if not isinstance(ranges, (FrameRange, FrameRanges)) else [ranges]
    frames: list = []
    for span in spans:
        frames += frames_of(span if isinstance(span, tuple) else (span,), None)[0]
    found = [_node(n) for n in nodes]
    if any(n is S.root for n in found):
        found = all_writes()
    execute_nodes(found, frames, views, continueOnError)


def all_writes() -> list:
    """Every enabled Write, groups' inner ones included, in their render order."""
    found = [n for n in walk(S.root) if n._class == "Write" and not _disabled(n)]
    return sorted(found, key=lambda n: n._knobs["render_order"]._number())


def _disabled(node: Any) -> bool:
    """Disabled itself, or in a disabled group."""
    while node is not None and node is not S.root:
        if graph._disabled(node):
            return True
        node = node._parent
    return False


def execute_nodes(nodes: list, frames: list, chosen: Optional[list], go_on: bool) -> None:
    """The render itself: not from inside another."""
    if S.executing is not None:
        raise RuntimeError(BUSY)
    S.executing, S.cancel_render = nodes[0].fullName() if nodes else "nothing", False
    try:
        for node in nodes:
            if node._class != "Write":
                raise RuntimeError(f"{node.fullName()} is not an executable node")
            if _disabled(node):
                raise RuntimeError(f"{node.fullName()} is disabled")
            _execute_one(node, frames, chosen, go_on)
    finally:
        S.executing = None


def _execute_one(node: Any, frames: list, chosen: Optional[list], go_on: bool) -> None:
    if isinstance(chosen, str):
        raise TypeError("views is a list of names")
    selected = list(chosen) if chosen else (str(node._knobs["views"]._text).split() or ["main"])
    known = views.names()
    if not chosen:
        selected = [v for v in selected if v in known] or known[:1]
    for view in selected:
        if view not in known:
            raise RuntimeError(f'no view is named "{view}"')
    if node._knobs["use_limit"]._number():
        first, last = node._knobs["first"]._number(), node._knobs["last"]._number()
        frames = [f for f in frames if first <= f <= last]
    if not frames:
        raise RuntimeError("No frames to execute")
    events.fire("BeforeRender", node, raises=True)
    before = S.frame
    failed: list = []
    try:
        for number, frame in enumerate(frames, 1):
            if S.cancel_render:
                raise Cancelled()
            S.frame = frame
            events.fire("BeforeFrameRender", node, raises=True)
            for view in selected:
                try:
                    _write_frame(node, frame, view)
                except StandinError:
                    raise
                except RuntimeError as error:
                    if not go_on:
                        raise
                    failed.append(error)
                    _tell(f"ERROR: {error}")
                else:
                    _tell(f"Writing {S.rendered[-1][3]} took 0.01 seconds")
            _tell(f"Frame {frame} ({number} of {len(frames)})")
            events.fire("AfterFrameRender", node, raises=True)
            events.fire("RenderProgress", node, raises=True)
    finally:
        S.frame = before
    events.fire("AfterRender", node, raises=True)
    if failed:
        raise RuntimeError(str(failed[0]))


def _tell(text: str) -> None:
    if S.tell is not None:
        S.tell(text)


def _write_frame(node: Any, frame: float, view: str) -> None:
    knobs = node._knobs
    if knobs["file_type"]._choice() != "exr":
        raise StandinError(
            f"{node.fullName()}: the stand-in writes EXR only; file_type is {knobs['file_type']._choice()!r}"
        )
    if not knobs["raw"]._number():
        reading.linear_only(node)
    with tcl.at(node, frame, view):
        key = "proxy" if reading.proxy_scale() != 1 and knobs["proxy"]._text else "file"
        path = knobs[key]._resolved(frame, view)
        if not path:
            raise RuntimeError(f"{node.fullName()}: no file name specified")
        folder = os.path.dirname(path)
        if not os.path.isdir(folder):
            if not knobs["create_directories"]._number():
                raise RuntimeError(f"{node.fullName()}: Write error: can't open {path}: No such file or directory")
            try:
                os.makedirs(folder)
            except OSError as error:
                raise RuntimeError(f"{node.fullName()}: {error.strerror}: {folder}") from None
        if node._inputs_get(0) is None:
            raise RuntimeError(f"{node.fullName()}: no input")
        picture = render.image(node._inputs_get(0), frame, view)
        meta = _metadata(node, frame, view)
    chosen = layers.expand(knobs["channels"]._text, picture.planes)
    window = picture.window if knobs["autocrop"]._number() else _written_window(picture)
    half = knobs["datatype"]._choice() == "16 bit half"
    try:
        exr_io.write(path, picture.on(window), chosen, half, knobs["compression"]._choice(), meta)
    except OSError as error:
        raise RuntimeError(f"{node.fullName()}: {error.strerror}: {path}") from None
    S.rendered.append((node.fullName(), int(frame), view, path))


def _written_window(picture: Any) -> tuple:
    """Nuke writes the picture's own box, cropped ones too; an empty one is a pixel."""
    return tuple(picture.window if picture.planes else union((0, 0, 1, 1), (0, 0, 1, 1)))


def _metadata(node: Any, frame: float, view: str) -> dict:
    """What the knob `metadata` lets through. Time code and frame rate belong to the default."""
    kind = node._knobs["metadata"]._choice()
    found = render.metadata(node._inputs_get(0), frame, view)
    default = {k: found[k] for k in ("input/timecode", "input/frame_rate") if k in found}
    return {
        "no metadata": {},
        "default metadata": default,
        "default metadata and exr/*": {**default, **{k: v for k, v in found.items() if k.startswith("exr/")}},
        "all metadata except input/*": {k: v for k, v in found.items() if not k.startswith("input/")},
        "all metadata": found,
    }[kind]
