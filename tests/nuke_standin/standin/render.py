"""Pixels: what each node class makes of its inputs. A class that is not here raises."""

from __future__ import annotations

import os
from typing import Any, Callable, Optional

from . import exr_io, graph, layers, tcl
from .errors import StandinError
from .image import Image, cut, union
from .state import S

RGB = ("rgba.red", "rgba.green", "rgba.blue")
RGBA = (*RGB, "rgba.alpha")


def black(info: Any = None) -> Image:
    """Nothing, in the format of what is there."""
    found = info.format if info is not None else S.root.format()
    return Image(found._w, found._h, found._aspect, (0, 0, 1, 1), {})


def image(node: Any, frame: float, view: str) -> Image:
    """A node's picture at a frame of a view."""
    with tcl.at(node, frame, view):
        real = graph.through(node)
        if real is None:
            return black()
        maker = OPERATIONS.get(real._class)
        if maker is None:
            raise StandinError(f"{real.fullName()}: the stand-in renders no {real._class}")
        with tcl.at(real, frame, view):
            return maker(real, frame, view)


def metadata(node: Any, frame: float, view: str) -> dict:
    """A node's metadata at a frame: that of input B."""
    with tcl.at(node, frame, view):
        real = graph.through(node)
        if real is None:
            return {}
        if real._class == "Read":
            try:
                path = _frame_file(real, frame, view)
            except RuntimeError:
                return {}
            return exr_io.attributes(exr_io.header(path), path) if path else {}
        if real._class in _TIMES:
            frame = _TIMES[real._class](real, frame)
        if real._class in ("Constant", "CheckerBoard2"):
            return {}
        return metadata(real._inputs_get(0), frame, view)


def _input(node: Any, index: int, frame: float, view: str) -> Image:
    return image(node._inputs_get(index), frame, view)


# -- Read
def _frame_file(node: Any, frame: float, view: str) -> Optional[str]:
    """The file that a Read shows at a frame; None for black."""
    knobs = node._knobs
    first, last = int(knobs["first"]._number()), int(knobs["last"]._number())
    now = _shown_frame(node, frame)
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


def _shown_frame(node: Any, frame: float) -> int:
    text, mode = node._knobs["frame"]._text, node._knobs["frame_mode"]._choice()
    if not text:
        return round(frame)
    if mode == "offset":
        return round(frame) + int(text)
    if mode == "start at":
        return round(frame) - int(text) + int(node._knobs["first"]._number())
    raise StandinError("Read.frame with an expression")


def _read(node: Any, frame: float, view: str) -> Image:
    knobs = node._knobs
    if graph._disabled(node):
        return black(graph.info(node))
    _linear_only(node)
    path = _frame_file(node, frame, view)
    if path is None:
        return black(graph.info(node))
    if os.path.splitext(path)[1].lower() != ".exr":
        raise StandinError(f"{path}: the stand-in reads EXR only")
    found = exr_io.read(path)
    if knobs["auto_alpha"]._number() and "rgba.alpha" not in found.planes:
        found = found.with_planes({"rgba.alpha": found.plane("rgba.red") * 0 + 1})
    return _proxied(found)


def _linear_only(node: Any) -> None:
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


def _proxied(full: Image) -> Image:
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


# -- generators
def _constant(node: Any, frame: float, view: str) -> Image:
    import numpy as np

    found = graph.info(node).format
    chosen = layers.expand(node._knobs["channels"]._text, RGBA) or list(RGB)
    names = list(dict.fromkeys([*chosen, *(RGBA if "rgba.red" in chosen else ())]))
    values = node._knobs["color"]._get(-1)
    planes = {
        n: np.full((found._h, found._w), values[RGBA.index(n) if n in RGBA else i % 4], np.float32)
        for i, n in enumerate(names)
    }
    return _proxied(Image(found._w, found._h, found._aspect, (0, 0, found._w, found._h), planes))


def _checkerboard(node: Any, frame: float, view: str) -> Image:
    """Two by two boxes of the four colours, without lines: an approximation that has detail everywhere."""
    import numpy as np

    found = graph.info(node).format
    size = node._knobs["boxsize"]._get(-1)
    rows, columns = np.mgrid[0 : found._h, 0 : found._w]
    index = (rows // max(1, int(size[1]))) % 2 * 2 + (columns // max(1, int(size[0]))) % 2
    colours = [node._knobs[f"color{i}"]._get(-1) for i in range(4)]
    planes = {name: np.array([c[k] for c in colours], np.float32)[index] for k, name in enumerate(RGBA)}
    return _proxied(Image(found._w, found._h, found._aspect, (0, 0, found._w, found._h), planes))


def _roto(node: Any, frame: float, view: str) -> Image:
    """Opaque: the matte is 1 on the box of `standin.set_roto`, and its window is cropped to it."""
    import numpy as np

    below = _input(node, 0, frame, view)
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


# -- two inputs
def _both(b: Image, a: Image) -> tuple:
    """Both on one window. Pictures of two sizes meet at the lower left, and B's format stays."""
    if (a.width, a.height) != (b.width, b.height) and a.planes and b.planes:
        down = b.height - a.height
        x0, y0, x1, y1 = a.window
        a = Image(b.width, b.height, b.aspect, (x0, y0 + down, x1, y1 + down), a.planes, a.metadata)
    window = b.window if not a.planes else a.window if not b.planes else union(a.window, b.window)
    return b.on(window), a.on(window), window


def _boxed(node: Any, mixed: Image, b: Image, a: Image) -> Image:
    """The data window that the knob bbox asks for."""
    side = {"union": None, "B": b, "A": a}[node._knobs["bbox"]._choice()]
    return mixed if side is None or not side.planes else mixed.on(side.window)


def _keymix(node: Any, frame: float, view: str) -> Image:
    """A where the mask is, B elsewhere. Where the mask is 0 the pixels are B's own bits."""
    import numpy as np

    below, above = _input(node, 0, frame, view), _input(node, 1, frame, view)
    b, a, window = _both(below, above)
    masking = _both(below, _input(node, 2, frame, view))[1].on(window)
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
    return _boxed(node, b.with_planes(mixed), below, above)


def _copy(node: Any, frame: float, view: str) -> Image:
    below, above = _input(node, 0, frame, view), _input(node, 1, frame, view)
    b, a, _ = _both(below, above)
    knobs, new = node._knobs, {}
    if knobs["mix"]._number() != 1 or node._inputs_get(2) is not None:
        raise StandinError("Copy with a mask or a mix")
    for channel in layers.expand(knobs["channels"]._text, a.planes):
        new[channel] = a.plane(channel)
    for index in range(4):
        source, target = knobs[f"from{index}"]._text, knobs[f"to{index}"]._text
        if target != "none" and source != "none":
            new[layers.full(target)] = a.plane(layers.full(source))
    return _boxed(node, b.with_planes(new), below, above)


def _merge(node: Any, frame: float, view: str) -> Image:
    knobs = node._knobs
    b, a, _ = _both(_input(node, 0, frame, view), _input(node, 1, frame, view))
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


def _numpy() -> Any:
    import numpy

    return numpy


def _shuffle(node: Any, frame: float, view: str) -> Image:
    from . import shuffle

    b, a, _ = _both(_input(node, 0, frame, view), _input(node, 1, frame, view))
    new = {}
    for source, other, target in shuffle.mapping(node):
        if source in ("black", "white"):
            new[target] = b.plane(target) * 0 + (source == "white")
        else:
            new[target] = (a if other else b).plane(source)
    return b.with_planes(new)


# -- one input
def _grade(node: Any, frame: float, view: str) -> Image:
    below, knobs = _input(node, 0, frame, view), node._knobs
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


def _blur(node: Any, frame: float, view: str) -> Image:
    """A box of about the size: an approximation of Nuke's gaussian."""
    np, below = _numpy(), _input(node, 0, frame, view)
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


def _crop(node: Any, frame: float, view: str) -> Image:
    below, knobs = _input(node, 0, frame, view), node._knobs
    x, y, r, t = (round(v) for v in knobs["box"]._get(-1))
    window = (x, below.height - t, r, below.height - y)
    if knobs["intersect"]._number():
        window = cut(window, below.window)
    cropped = below.on(window)
    if not knobs["reformat"]._number():
        return cropped
    return Image(r - x, t - y, below.aspect, (0, 0, r - x, t - y), cropped.planes, below.metadata)


def _reformat(node: Any, frame: float, view: str) -> Image:
    below, target = _input(node, 0, frame, view), graph.info(node).format
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


def _hold(node: Any, frame: float) -> float:
    if node._knobs["increment"]._number():
        raise StandinError("FrameHold.increment")
    return float(node._knobs["firstFrame"]._number())


def _offset(node: Any, frame: float) -> float:
    if node._knobs["reverse_input"]._number():
        raise StandinError("TimeOffset.reverse_input")
    return frame - float(node._knobs["time_offset"]._number())


_TIMES: dict[str, Callable[[Any, float], float]] = {"FrameHold": _hold, "TimeOffset": _offset}


def _timed(node: Any, frame: float, view: str) -> Image:
    return _input(node, 0, _TIMES[node._class](node, frame), view)


def _add_channels(node: Any, frame: float, view: str) -> Image:
    below = _input(node, 0, frame, view)
    new = {c: below.plane("none") for c in graph.info(node).channels if c not in below.planes}
    return below.with_planes(new)


def _remove(node: Any, frame: float, view: str) -> Image:
    below = _input(node, 0, frame, view)
    keep = node._knobs["operation"]._choice() == "keep"
    named = graph.removed_channels(node, below.planes)
    planes = {n: p for n, p in below.planes.items() if (n in named) == keep}
    return Image(below.width, below.height, below.aspect, below.window, planes, below.metadata)


def _premult(node: Any, frame: float, view: str) -> Image:
    below = _input(node, 0, frame, view)
    chosen = layers.expand(node._knobs["channels"]._text, below.planes)
    alpha = below.plane(layers.full(node._knobs["alpha"]._text))
    return below.mapped(lambda n, p: p * alpha if n in chosen else p)


def _expression(node: Any, frame: float, view: str) -> Image:
    from . import pixel_math

    knobs, texts = node._knobs, {}
    for index in range(4):
        text = knobs[f"expr{index}"].evaluate()
        for channel in layers.expand(knobs[f"channel{index}"]._text, RGBA) if text else ():
            texts[channel] = text
    return pixel_math.expression(_input(node, 0, frame, view), texts)


def _one_view(node: Any, frame: float, view: str) -> Image:
    return _input(node, 0, frame, node._knobs["view"]._choice() or view)


def _join_views(node: Any, frame: float, view: str) -> Image:
    from . import views

    names = views.names()
    return _input(node, names.index(view) if view in names else 0, frame, view)


def _pass(node: Any, frame: float, view: str) -> Image:
    return _input(node, 0, frame, view)


OPERATIONS: dict[str, Callable[[Any, float, str], Image]] = {
    "Read": _read,
    "Constant": _constant,
    "CheckerBoard2": _checkerboard,
    "Roto": _roto,
    "RotoPaint": _roto,
    "Keymix": _keymix,
    "Copy": _copy,
    "Merge2": _merge,
    "Shuffle2": _shuffle,
    "Grade": _grade,
    "Blur": _blur,
    "Crop": _crop,
    "Reformat": _reformat,
    "FrameHold": _timed,
    "TimeOffset": _timed,
    "FrameRange": _pass,
    "AddChannels": _add_channels,
    "Remove": _remove,
    "Premult": _premult,
    "OneView": _one_view,
    "JoinViews": _join_views,
    "Expression": _expression,
    "BlackOutside": _pass,
}
