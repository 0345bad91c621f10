"""Read: which file a frame shows, what a missing one does; and proxies."""

from __future__ import annotations

import os
from typing import Any, Optional

from . import exr_io, graph
from .errors import StandinError
from .image import Image
from .state import S


def black(info: Any = None) -> Image:
    """Nothing, in the format of what is there."""
    found = info.format if info is not None else S.root.format()
    return Image(found._w, found._h, found._aspect, (0, 0, 1, 1), {})


def frame_file(node: Any, frame: float, view: str) -> Optional[str]:
    """The file that a Read shows at a frame; None for black."""
    knobs = node._knobs
    first, last = int(knobs["first"]._number()), int(knobs["last"]._number())
    now = shown_frame(node, frame)
    for side, out, edge in (("before", now < first, first), ("after", now > last, last)):
        if not out:
            continue
        mode = knobs[side]._choice()
        if mode == "black":
            return None
        if mode != "hold":
            raise StandinError(f"Read.{side} {mode}")
        now = edge
    path = knobs["file"]._resolved(now, view)
    if not path:
        raise RuntimeError(f"{node.fullName()}: no file name specified")
    if os.path.isfile(path):
        return str(path)
    policy = knobs["on_error"]._choice()
    if policy == "black":
        return None
    if policy == "nearest frame":
        for step in range(1, last - first + 1):
            for near in (now - step, now + step):
                other = knobs["file"]._resolved(near, view)
                if first <= near <= last and os.path.isfile(other):
                    return str(other)
    if policy == "checkerboard":
        raise StandinError("Read.on_error checkerboard")
    raise RuntimeError(f"{node.fullName()}: Read error: No such file or directory: {path}")


def shown_frame(node: Any, frame: float) -> int:
    text, mode = node._knobs["frame"]._text, node._knobs["frame_mode"]._choice()
    if not text:
        return round(frame)
    if mode == "offset":
        return round(frame) + int(text)
    if mode == "start at":
        return round(frame) - int(text) + int(node._knobs["first"]._number())
    raise StandinError("Read.frame with an expression")


def read(node: Any, frame: float, view: str) -> Image:
    knobs = node._knobs
    if graph._disabled(node):
        return black(graph.info(node))
    linear_only(node)
    path = frame_file(node, frame, view)
    if path is None:
        return black(graph.info(node))
    if os.path.splitext(path)[1].lower() != ".exr":
        raise StandinError(f"{path}: the stand-in reads EXR only")
    found = exr_io.read(path)
    if knobs["auto_alpha"]._number() and "rgba.alpha" not in found.planes:
        found = found.with_planes({"rgba.alpha": found.plane("rgba.red") * 0 + 1})
    return proxied(found)


def linear_only(node: Any) -> None:
    """The stand-in knows one transform: none at all."""
    if node._knobs["raw"]._number():
        return
    chosen = node._knobs["colorspace"]._choice()
    working = S.root._knobs["workingSpaceLUT"]._choice()
    if chosen not in ("default", "linear", "raw", "scene_linear", working):
        raise StandinError(f"{node.fullName()}: the stand-in converts no colour space ({chosen})")


def proxy_scale() -> float:
    """1, or the scale of the active proxy."""
    root = S.root
    if not root._knobs["proxy"]._number():
        return 1.0
    if root._knobs["proxy_type"]._choice() == "scale":
        return float(root._knobs["proxy_scale"]._number())
    return float(root._knobs["proxy_format"].value()._w) / root.format()._w


def proxied(full: Image) -> Image:
    """In proxy mode every picture is smaller: nearest pixels."""
    scale = proxy_scale()
    if scale == 1.0:
        return full
    import numpy as np

    width, height = max(1, round(full.width * scale)), max(1, round(full.height * scale))
    whole = full.on((0, 0, full.width, full.height))
    rows = np.minimum((np.arange(height) / scale).astype(int), full.height - 1)
    columns = np.minimum((np.arange(width) / scale).astype(int), full.width - 1)
    planes = {name: plane[rows][:, columns] for name, plane in whole.planes.items()}
    return Image(width, height, full.aspect, (0, 0, width, height), planes, dict(full.metadata))
