"""Two pictures into one: Keymix, Copy, Merge2, Shuffle2."""

from __future__ import annotations

from typing import Any, Callable

from . import layers, render
from .errors import StandinError
from .image import RGBA, Image, union


def both(b: Image, a: Image) -> tuple:
    """Both on one window. Pictures of two sizes meet at the lower left, and B's format stays."""
    if (a.width, a.height) != (b.width, b.height) and a.planes and b.planes:
        down = b.height - a.height
        x0, y0, x1, y1 = a.window
        a = Image(b.width, b.height, b.aspect, (x0, y0 + down, x1, y1 + down), a.planes, a.metadata)
    window = b.window if not a.planes else a.window if not b.planes else union(a.window, b.window)
    return b.on(window), a.on(window), window


def boxed(node: Any, mixed: Image, b: Image, a: Image) -> Image:
    """The data window that the knob bbox asks for."""
    side = {"union": None, "B": b, "A": a}[node._knobs["bbox"]._choice()]
    return mixed if side is None or not side.planes else mixed.on(side.window)


def keymix(node: Any, frame: float, view: str) -> Image:
    """A where the mask is, B elsewhere. Where the mask is 0 the pixels are B's own bits."""
    import numpy as np

    below, above = render.take(node, 0, frame, view), render.take(node, 1, frame, view)
    b, a, window = both(below, above)
    masking = both(below, render.take(node, 2, frame, view))[1].on(window)
    mask = masking.plane(layers.full(node._knobs["maskChannel"]._text)).astype(np.float32)
    if node._inputs_get(2) is None:
        mask = np.ones_like(mask)
    if node._knobs["invertMask"]._number():
        mask = 1 - mask
    mask = mask * np.float32(node._knobs["mix"]._number())
    present = list(dict.fromkeys([*b.planes, *a.planes]))
    chosen = [c for c in layers.expand(node._knobs["channels"]._text, present) if c in present]
    mixed = {}
    for c in chosen:
        with np.errstate(invalid="ignore", over="ignore"):
            soft = a.plane(c) * mask + b.plane(c) * (1 - mask)
        mixed[c] = np.where(mask <= 0, b.plane(c), np.where(mask >= 1, a.plane(c), soft)).astype(np.float32)
    return boxed(node, b.with_planes(mixed), below, above)


def copy(node: Any, frame: float, view: str) -> Image:
    below, above = render.take(node, 0, frame, view), render.take(node, 1, frame, view)
    b, a, _ = both(below, above)
    knobs, new = node._knobs, {}
    if knobs["mix"]._number() != 1 or node._inputs_get(2) is not None:
        raise StandinError("Copy with a mask or a mix")
    for channel in layers.expand(knobs["channels"]._text, a.planes):
        new[channel] = a.plane(channel)
    for index in range(4):
        source, target = knobs[f"from{index}"]._text, knobs[f"to{index}"]._text
        if target != "none" and source != "none":
            new[layers.full(target)] = a.plane(layers.full(source))
    return boxed(node, b.with_planes(new), below, above)


def merge(node: Any, frame: float, view: str) -> Image:
    knobs = node._knobs
    b, a, _ = both(render.take(node, 0, frame, view), render.take(node, 1, frame, view))
    operation = knobs["operation"]._choice()
    alpha, mix = a.plane("rgba.alpha"), float(knobs["mix"]._number())
    formulas: dict[str, Callable] = {
        "over": lambda x, y: x + y * (1 - alpha),
        "plus": lambda x, y: x + y,
        "multiply": lambda x, y: x * y,
        "max": lambda x, y: _numpy().maximum(x, y),
        "min": lambda x, y: _numpy().minimum(x, y),
        "copy": lambda x, y: x,
        "from": lambda x, y: y - x,
        "minus": lambda x, y: x - y,
    }
    if operation not in formulas or node._inputs_get(2) is not None:
        raise StandinError(f"Merge2 {operation}, or with a mask")
    if node._inputs_get(1) is None:
        return b
    new = {}
    for channel in dict.fromkeys([*layers.expand(knobs["Bchannels"]._text, RGBA)]):
        result = formulas[operation](a.plane(channel), b.plane(channel))
        new[channel] = (result if mix == 1 else result * mix + b.plane(channel) * (1 - mix)).astype(_numpy().float32)
    for channel in layers.expand(knobs["also_merge"]._text, a.planes):
        new[channel] = formulas[operation](a.plane(channel), b.plane(channel))
    return b.with_planes(new)


def shuffle(node: Any, frame: float, view: str) -> Image:
    from . import shuffle

    b, a, _ = both(render.take(node, 0, frame, view), render.take(node, 1, frame, view))
    new = {}
    for source, other, target in shuffle.mapping(node):
        if source in ("black", "white"):
            new[target] = b.plane(target) * 0 + (source == "white")
        else:
            new[target] = (a if other else b).plane(source)
    return b.with_planes(new)


def _numpy() -> Any:
    import numpy

    return numpy
