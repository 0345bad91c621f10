"""What Nuke knows of a node without its pixels: format, range, channels, metadata, hash; and who depends on whom."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, replace
from typing import Any, Optional

from . import exr_io, formats, layers, tcl
from .errors import StandinError
from .knob_base import WITHOUT_HASH
from .knob_numbers import Array_Knob, Expression
from .state import S


@dataclass(frozen=True)
class Info:
    format: Any
    first: int
    last: int
    channels: tuple


@dataclass(frozen=True)
class Bounds:
    """`Node.bbox()`: a box that counts from the lower left."""

    _x: int
    _y: int
    _w: int
    _h: int

    def x(self) -> int:
        return self._x

    def y(self) -> int:
        return self._y

    def w(self) -> int:
        return self._w

    def h(self) -> int:
        return self._h


RGBA = ("rgba.red", "rgba.green", "rgba.blue", "rgba.alpha")


def source_of(node: Any, index: int) -> Any:
    """What comes in, seen through Input nodes, Groups, Dots and disabled nodes."""
    return node._inputs_get(index)


def through(node: Any) -> Any:
    """The node that really makes this node's picture: Groups, Inputs, Dots, disabled nodes are gone through."""
    while node is not None:
        if node._children is not None and node is not S.root:
            if _disabled(node):
                node = node._inputs_get(0)
                continue
            exit_node = node._exit()
            node = None if exit_node is None else exit_node._inputs_get(0)
        elif node._class == "Input":
            entrances = node._parent._entrances() if node._parent is not S.root else []
            node = node._parent._inputs_get(entrances.index(node)) if node in entrances else None
        elif node._class in ("Dot", "NoOp", "Output", "Viewer") or (_disabled(node) and node._class not in ("Read",)):
            node = node._inputs_get(0)
        elif node._class == "Write":
            if node._knobs["reading"]._number():
                raise StandinError("Write.reading")
            node = node._inputs_get(0)
        elif node._class == "Switch":
            node = node._inputs_get(int(node._knobs["which"]._number()))
        else:
            return node
    return None


def _disabled(node: Any) -> bool:
    knob = node._knobs.get("disable")
    return knob is not None and bool(knob._number())


def default_info() -> Info:
    """What an unconnected input looks like."""
    root = S.root
    return Info(root.format(), root.firstFrame(), root.lastFrame(), ())


def info(node: Any) -> Info:
    """A node's format, range and channels."""
    if node is not None and node._class == "Root":
        return Info(node.format(), node.firstFrame(), node.lastFrame(), RGBA)
    real = through(node)
    if real is None:
        return default_info()
    maker = _INFO.get(real._class)
    if maker is not None:
        return maker(real)
    below = [info(source) for source in real._inputs if source is not None]
    return below[0] if below else default_info()


def _read_info(node: Any) -> Info:
    knobs = node._knobs
    first, last = int(knobs["first"]._number()), int(knobs["last"]._number())
    head = read_header(node)
    if head is None:
        return Info(knobs["format"].value(), first, last, RGBA)
    width, height, aspect, _ = exr_io.geometry(head[1])
    channels = exr_io.channels_of(head[1])
    for channel in channels:
        layer, _, short = channel.partition(".")
        layers.add(layer, [short])
    return Info(formats.of(width, height, aspect), first, last, tuple(channels))


def read_header(node: Any) -> Optional[tuple]:
    """(path, header) of the first file of a Read that is there: the frame at hand, then first, then last."""
    first, last = (int(node._knobs[k]._number()) for k in ("first", "last"))
    now = int(min(max(tcl.context()[1], first), last))
    for frame in (now, first, last, *range(first, min(last, first + 1000) + 1)):
        path = node._knobs["file"]._resolved(frame, tcl.context()[2])
        if path and os.path.isfile(path):
            return path, exr_io.header(path)
    return None


def _constant_info(node: Any) -> Info:
    found = node._knobs["format"].value()
    first = int(node._knobs["first"]._number()) if "first" in node._knobs else S.root.firstFrame()
    last = int(node._knobs["last"]._number()) if "last" in node._knobs else S.root.lastFrame()
    return Info(found, first, last, RGBA)


def _roto_info(node: Any) -> Info:
    below = info(node._inputs_get(0))
    return replace(below, channels=tuple(dict.fromkeys([*below.channels, "rgba.alpha"])))


def _b_info(node: Any) -> Info:
    """Nodes with B on input 0 and A on input 1."""
    first = info(node._inputs_get(0) if node._inputs_get(0) is not None else node._inputs_get(1))
    names = list(first.channels)
    if node._class == "Copy":
        names += [layers.full(node._knobs[f"to{i}"]._text) for i in range(4) if node._knobs[f"to{i}"]._text != "none"]
        if node._knobs["channels"]._text != "none":
            names += layers.expand(node._knobs["channels"]._text, info(node._inputs_get(1)).channels)
    elif node._class in ("Merge2", "Keymix"):
        other = node._inputs_get(1)
        names += info(other).channels if other is not None else ()
    return replace(first, channels=tuple(dict.fromkeys(names)))


def _add_info(node: Any) -> Info:
    below = info(node._inputs_get(0))
    names = list(below.channels)
    for key in ("channels", "channels2", "channels3", "channels4"):
        names += layers.expand(node._knobs[key]._text, names)
    return replace(below, channels=tuple(dict.fromkeys(names)))


def _remove_info(node: Any) -> Info:
    below = info(node._inputs_get(0))
    keep = node._knobs["operation"]._choice() == "keep"
    named = removed_channels(node, below.channels)
    return replace(below, channels=tuple(c for c in below.channels if (c in named) == keep))


def removed_channels(node: Any, present: Any) -> set:
    """What Remove's four masks name."""
    named: set = set()
    for key in ("channels", "channels2", "channels3", "channels4"):
        named.update(layers.expand(node._knobs[key]._text, present))
    return named


def _shuffle_info(node: Any) -> Info:
    below = info(node._inputs_get(0) if node._inputs_get(0) is not None else node._inputs_get(1))
    from . import shuffle

    return replace(below, channels=tuple(dict.fromkeys([*below.channels, *shuffle.outputs(node)])))


def _reformat_info(node: Any) -> Info:
    kind = node._knobs["type"]._choice()
    if kind == "to format":
        return replace(info(node._inputs_get(0)), format=node._knobs["format"].value())
    if kind == "to box":
        size = int(node._knobs["box_width"]._number()), int(node._knobs["box_height"]._number())
        return replace(info(node._inputs_get(0)), format=formats.of(*size, node._knobs["box_pixel_aspect"]._number()))
    raise StandinError("Reformat by scale")


def _crop_info(node: Any) -> Info:
    below = info(node._inputs_get(0))
    if not node._knobs["reformat"]._number():
        return below
    x, y, r, t = node._knobs["box"]._get(-1)
    return replace(below, format=formats.of(int(r - x), int(t - y), below.format._aspect))


def _offset_info(node: Any) -> Info:
    below = info(node._inputs_get(0))
    by = int(node._knobs["time_offset"]._number())
    return replace(below, first=below.first + by, last=below.last + by)


def _range_info(node: Any) -> Info:
    below = info(node._inputs_get(0))
    return replace(
        below, first=int(node._knobs["first_frame"]._number()), last=int(node._knobs["last_frame"]._number())
    )


_INFO = {
    "Read": _read_info,
    "Constant": _constant_info,
    "CheckerBoard2": _constant_info,
    "Roto": _roto_info,
    "RotoPaint": _roto_info,
    "Copy": _b_info,
    "Merge2": _b_info,
    "Keymix": _b_info,
    "AddChannels": _add_info,
    "Remove": _remove_info,
    "Shuffle2": _shuffle_info,
    "Reformat": _reformat_info,
    "Crop": _crop_info,
    "TimeOffset": _offset_info,
    "FrameRange": _range_info,
}


def bbox(node: Any) -> Bounds:
    """The picture's box at the frame at hand; Nuke counts from below."""
    from . import render

    image = render.image(node, tcl.context()[1], tcl.context()[2])
    x0, y0, x1, y1 = image.window
    return Bounds(x0, image.height - y1, x1 - x0, y1 - y0)


def metadata(node: Any, key: Any = None, time: Any = None, view: Any = None) -> Any:
    """All metadata, or one key's; None for a key that is not there."""
    if isinstance(key, (int, float)):
        key, time, view = None, key, time
    from . import render

    with tcl.at(node, time, view):
        found = render.metadata(node, tcl.context()[1], tcl.context()[2])
    return dict(found) if key is None else found.get(key)


def sample(node: Any, channel: str, x: float, y: float, dx: float, dy: float, frame: Any) -> float:
    """One pixel; x and y count from the lower left."""
    from . import render

    image = render.image(node, tcl.context()[1] if frame is None else frame, tcl.context()[2])
    column, row = int(x), image.height - 1 - int(y)
    x0, y0, x1, y1 = image.window
    if not (x0 <= column < x1 and y0 <= row < y1):
        return 0.0
    return float(image.plane(layers.full(channel))[row - y0, column - x0])


def error_of(node: Any) -> Optional[str]:
    """What Nuke would print on the node at the frame at hand; None when all is well."""
    from . import render

    try:
        render.metadata(node, tcl.context()[1], tcl.context()[2])
        render.image(node, tcl.context()[1], tcl.context()[2])
    except StandinError:
        raise
    except RuntimeError as error:
        return str(error)
    return None


def op_hash(node: Any) -> int:
    """Changes with everything upstream that can change pixels; not with place, name or colour of nodes."""
    digest = hashlib.sha256()
    _feed(digest, node, set())
    return int.from_bytes(digest.digest()[:8], "little")


def _feed(digest: Any, node: Any, seen: set) -> None:
    if node is None:
        digest.update(b"none")
        return
    if id(node) in seen:
        digest.update(b"again")
        return
    seen.add(id(node))
    digest.update(node._class.encode() + str(node._version).encode())
    for name, knob in node._knobs.items():
        if name in WITHOUT_HASH or knob.Class() in (
            "Tab_Knob",
            "Text_Knob",
            "PyScript_Knob",
            "Script_Knob",
            "Link_Knob",
        ):
            continue
        if knob._not_default() or knob._user:
            digest.update(f"{name}={knob._hashed()!r}".encode())
    if node._class == "Read":
        _feed_files(digest, node)
    if node._children is not None and node is not S.root:
        _feed(digest, node._exit(), seen)
    elif node._class == "Input" and node._parent is not S.root:
        entrances = node._parent._entrances()
        _feed(digest, node._parent._inputs_get(entrances.index(node)), seen)
    for source in node._inputs if node._children is None else ():
        _feed(digest, source, seen)


def _feed_files(digest: Any, node: Any) -> None:
    first, last = (int(node._knobs[k]._number()) for k in ("first", "last"))
    for frame in range(first, min(last, first + 10000) + 1):
        path = node._knobs["file"]._resolved(frame, tcl.context()[2])
        if path and os.path.isfile(path):
            status = os.stat(path)
            digest.update(f"{path} {status.st_mtime_ns} {status.st_size}".encode())
        else:
            digest.update(f"{path} missing".encode())


def _expressed(node: Any) -> list:
    """Nodes that this node's expressions and links name."""
    from . import resolve

    found = []
    for knob in node._knobs.values():
        texts = [p.text for p in knob._parts if isinstance(p, Expression)] if isinstance(knob, Array_Knob) else []
        for text in texts:
            for path in re.findall(r"[A-Za-z_][\w.]*\.\w+", text):
                try:
                    other = resolve.knob(node, path)[0]._node
                except NameError:
                    continue
                if other is not node and other not in found:
                    found.append(other)
    return found


def dependencies(node: Any, what: int) -> list:
    """What a node hangs on: inputs (2), expressions (1)."""
    found = [s for s in node._inputs if s is not None] if what & 6 else []
    if what & 1:
        found += [n for n in _expressed(node) if n not in found]
    return list(dict.fromkeys(found))


def dependent(node: Any, what: int) -> list:
    """What hangs on a node."""
    from .group import walk

    if what & 1:
        others = [n for n in walk(S.root) if node in _expressed(n)]
    else:
        others = []
    if what & 6 and node._parent is not None:
        others = [n for n in node._parent._children if node in n._inputs] + others
    return list(dict.fromkeys(others))
