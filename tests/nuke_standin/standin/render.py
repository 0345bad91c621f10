"""Pixels: what each node class makes of its inputs. A class that is not here raises."""

from __future__ import annotations

from typing import Any, Callable

from . import combine, exr_io, filters, generate, graph, reading, tcl
from .errors import StandinError
from .image import Image


def image(node: Any, frame: float, view: str) -> Image:
    """A node's picture at a frame of a view."""
    with tcl.at(node, frame, view):
        real = graph.through(node)
        if real is None:
            return reading.black()
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
                path = reading.frame_file(real, frame, view)
            except RuntimeError:
                return {}
            return exr_io.attributes(exr_io.header(path), path) if path else {}
        if real._class in filters.TIMES:
            frame = filters.TIMES[real._class](real, frame)
        if real._class in ("Constant", "CheckerBoard2"):
            return {}
        return metadata(real._inputs_get(0), frame, view)


def take(node: Any, index: int, frame: float, view: str) -> Image:
    """What comes in at an input."""
    return image(node._inputs_get(index), frame, view)


OPERATIONS: dict[str, Callable[[Any, float, str], Image]] = {
    "Read": reading.read,
    "Constant": generate.constant,
    "CheckerBoard2": generate.checkerboard,
    "Roto": generate.roto,
    "RotoPaint": generate.roto,
    "Keymix": combine.keymix,
    "Copy": combine.copy,
    "Merge2": combine.merge,
    "Shuffle2": combine.shuffle,
    "Grade": filters.grade,
    "Blur": filters.blur,
    "Crop": filters.crop,
    "Reformat": filters.reformat,
    "FrameHold": filters.timed,
    "TimeOffset": filters.timed,
    "FrameRange": filters.unchanged,
    "AddChannels": filters.add_channels,
    "Remove": filters.remove,
    "Premult": filters.premult,
    "OneView": filters.one_view,
    "JoinViews": filters.join_views,
    "Expression": filters.expression,
    "BlackOutside": filters.unchanged,
}
