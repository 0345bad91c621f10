"""One picture into another: colour, windows, time, channels, views."""

from __future__ import annotations

from typing import Any, Callable

from . import graph, layers, render
from .errors import StandinError
from .image import RGBA, Image, cut


def _numpy() -> Any:
    import numpy

    return numpy


def grade(node: Any, frame: float, view: str) -> Image:
    below, knobs = render.take(node, 0, frame, view), node._knobs
    for name in ("blackpoint", "whitepoint", "gamma", "black", "white"):
        if knobs[name]._not_default():
            raise StandinError(f"Grade.{name}")
    if node._inputs_get(1) is not None:
        raise StandinError("Grade with a mask")
    gain, lift = knobs["multiply"]._get(-1), knobs["add"]._get(-1)
    gain, lift = (v if isinstance(v, list) else [v] * 4 for v in (gain, lift))
    chosen = layers.expand(knobs["channels"]._text, below.planes)
    return below.mapped(
        lambda n, p: (
            (p * _numpy().float32(gain[RGBA.index(n)]) + _numpy().float32(lift[RGBA.index(n)]))
            if n in chosen and n in RGBA
            else p
        )
    )


def blur(node: Any, frame: float, view: str) -> Image:
    """A box of about the size: an approximation of Nuke's gaussian."""
    np, below = _numpy(), render.take(node, 0, frame, view)
    size = node._knobs["size"]._get(0)
    radius = round(size / 2)
    if radius < 1:
        return below
    chosen = layers.expand(node._knobs["channels"]._text, below.planes)
    x0, y0, x1, y1 = below.window
    below = below.on((x0 - radius, y0 - radius, x1 + radius, y1 + radius))

    def soften(name: str, plane: Any) -> Any:
        if name not in chosen:
            return plane
        for axis in (0, 1):
            shifted = [np.roll(plane, s, axis) for s in range(-radius, radius + 1)]
            plane = np.mean(shifted, axis=0, dtype=np.float64).astype(np.float32)
        return plane

    return below.mapped(soften)


def crop(node: Any, frame: float, view: str) -> Image:
    below, knobs = render.take(node, 0, frame, view), node._knobs
    x, y, r, t = (round(v) for v in knobs["box"]._get(-1))
    window = (x, below.height - t, r, below.height - y)
    if knobs["intersect"]._number():
        window = cut(window, below.window)
    cropped = below.on(window)
    if not knobs["reformat"]._number():
        return cropped
    return Image(r - x, t - y, below.aspect, (0, 0, r - x, t - y), cropped.planes, below.metadata)


def reformat(node: Any, frame: float, view: str) -> Image:
    below, target = render.take(node, 0, frame, view), graph.info(node).format
    if node._knobs["resize"]._choice() != "none" and (target._w, target._h) != (below.width, below.height):
        raise StandinError("Reformat that resizes: only resize none")
    left, top = (
        ((target._w - below.width) // 2, (target._h - below.height) // 2)
        if node._knobs["center"]._number()
        else (0, target._h - below.height)
    )
    x0, y0, x1, y1 = below.window
    moved = Image(
        target._w, target._h, target._aspect, (x0 + left, y0 + top, x1 + left, y1 + top), below.planes, below.metadata
    )
    return moved if node._knobs["pbb"]._number() else moved.on(cut(moved.window, (0, 0, target._w, target._h)))


def hold(node: Any, frame: float) -> float:
    if node._knobs["increment"]._number():
        raise StandinError("FrameHold.increment")
    return float(node._knobs["firstFrame"]._number())


def offset(node: Any, frame: float) -> float:
    if node._knobs["reverse_input"]._number():
        raise StandinError("TimeOffset.reverse_input")
    return frame - float(node._knobs["time_offset"]._number())


TIMES: dict[str, Callable[[Any, float], float]] = {"FrameHold": hold, "TimeOffset": offset}


def timed(node: Any, frame: float, view: str) -> Image:
    return render.take(node, 0, TIMES[node._class](node, frame), view)


def add_channels(node: Any, frame: float, view: str) -> Image:
    below = render.take(node, 0, frame, view)
    new = {c: below.plane("none") for c in graph.info(node).channels if c not in below.planes}
    return below.with_planes(new)


def remove(node: Any, frame: float, view: str) -> Image:
    below = render.take(node, 0, frame, view)
    keep = node._knobs["operation"]._choice() == "keep"
    named = graph.removed_channels(node, below.planes)
    planes = {n: p for n, p in below.planes.items() if (n in named) == keep}
    return Image(below.width, below.height, below.aspect, below.window, planes, below.metadata)


def premult(node: Any, frame: float, view: str) -> Image:
    below = render.take(node, 0, frame, view)
    chosen = layers.expand(node._knobs["channels"]._text, below.planes)
    alpha = below.plane(layers.full(node._knobs["alpha"]._text))
    return below.mapped(lambda n, p: p * alpha if n in chosen else p)


def expression(node: Any, frame: float, view: str) -> Image:
    from . import pixel_math

    knobs, texts = node._knobs, {}
    for index in range(4):
        text = knobs[f"expr{index}"].evaluate()
        for channel in layers.expand(knobs[f"channel{index}"]._text, RGBA) if text else ():
            texts[channel] = text
    return pixel_math.expression(render.take(node, 0, frame, view), texts)


def one_view(node: Any, frame: float, view: str) -> Image:
    return render.take(node, 0, frame, node._knobs["view"]._choice() or view)


def join_views(node: Any, frame: float, view: str) -> Image:
    from . import views

    names = views.names()
    return render.take(node, names.index(view) if view in names else 0, frame, view)


def unchanged(node: Any, frame: float, view: str) -> Image:
    return render.take(node, 0, frame, view)
