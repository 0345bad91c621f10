"""Pictures out of nothing: Constant, CheckerBoard2, and an opaque Roto."""

from __future__ import annotations

from typing import Any

from . import graph, layers, render
from .errors import StandinError
from .image import RGB, RGBA, Image, union
from .reading import proxied


def constant(node: Any, frame: float, view: str) -> Image:
    import numpy as np

    found = graph.info(node).format
    chosen = layers.expand(node._knobs["channels"]._text, RGBA) or list(RGB)
    names = list(dict.fromkeys([*chosen, *(RGBA if "rgba.red" in chosen else ())]))
    values = node._knobs["color"]._get(-1)
    planes = {
        n: np.full((found._h, found._w), values[RGBA.index(n) if n in RGBA else i % 4], np.float32)
        for i, n in enumerate(names)
    }
    return proxied(Image(found._w, found._h, found._aspect, (0, 0, found._w, found._h), planes))


def checkerboard(node: Any, frame: float, view: str) -> Image:
    """Two by two boxes of the four colours, without lines: an approximation that has detail everywhere."""
    import numpy as np

    found = graph.info(node).format
    size = node._knobs["boxsize"]._get(-1)
    rows, columns = np.mgrid[0 : found._h, 0 : found._w]
    index = (rows // max(1, int(size[1]))) % 2 * 2 + (columns // max(1, int(size[0]))) % 2
    colours = [node._knobs[f"color{i}"]._get(-1) for i in range(4)]
    planes = {name: np.array([c[k] for c in colours], np.float32)[index] for k, name in enumerate(RGBA)}
    return proxied(Image(found._w, found._h, found._aspect, (0, 0, found._w, found._h), planes))


def roto(node: Any, frame: float, view: str) -> Image:
    """Opaque: the matte is 1 on the box of `standin.set_roto`, and its window is cropped to it."""
    import numpy as np

    below = render.take(node, 0, frame, view)
    box = getattr(node, "_roto_box", None)
    if box is None:
        raise StandinError(f"{node.fullName()}: say what its shape is with standin.set_roto(node, (x, y, r, t))")
    x, y, r, t = (int(v) for v in (box(frame) if callable(box) else box))
    window = (x, below.height - t, r, below.height - y)
    matte = np.ones((t - y, r - x), np.float32)
    if node._inputs_get(0) is None:
        return Image(below.width, below.height, below.aspect, window, {"rgba.alpha": matte})
    whole = union(below.window, window)
    shape = Image(below.width, below.height, below.aspect, window, {"rgba.alpha": matte}).on(whole)
    return below.on(whole).with_planes(
        {"rgba.alpha": np.maximum(shape.plane("rgba.alpha"), below.on(whole).plane("rgba.alpha"))}
    )
