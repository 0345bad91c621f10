"""Is this one shot? What must not change from frame to frame.

Promises: a clip whose frames differ in size, channels or pixel aspect is refused with the frame's number, what it has
and what the others have. Must not: decode pixels.

Data windows and compressions may differ from frame to frame; display windows, pixel aspects, parts and channels
may not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Final

from void_engine.interface import Window
from void_engine.plates.header import PlateHeader


def check_sequence(headers: Sequence[PlateHeader], layer: str = "") -> None:
    """Raises ``FrameError`` for the first frame that differs from what most frames have, or that lacks the layer.

    Details: input, frame, file, ``has`` and ``others``. An empty sequence passes.
    """
    for what, of, words in _ASPECTS:
        found = [of(header) for header in headers]
        if len(set(found)) < 2:
            continue
        # Counter keeps the order of arrival: where two are as common, the first frame's is right.
        usual = Counter(found).most_common(1)[0][0]
        position = next(index for index, value in enumerate(found) if value != usual)
        has, others = words(found[position], usual), words(usual, found[position])
        raise headers[position].source.error(
            f"its {what} is {has}, where the other frames have {others}",
            "A plate is one shot at one format: render this frame like the others, or take it out of the range.",
            has=has,
            others=others,
        )
    for header in headers:
        header.select(layer)


def window_words(window: Window) -> str:
    """A window as people say it: its size, and its origin where that is not 0, 0."""
    size = f"{window.width}x{window.height}"
    return size if (window.x0, window.y0) == (0, 0) else f"{size} at ({window.x0}, {window.y0})"


_Channels = tuple[tuple[str, str, str], ...]


def _display(header: PlateHeader) -> Hashable:
    return header.display_window


def _aspect(header: PlateHeader) -> Hashable:
    return header.pixel_aspect


def _part_names(header: PlateHeader) -> Hashable:
    return tuple(part.name for part in header.parts) if len(header.parts) > 1 else ("",)


def _channels(header: PlateHeader) -> Hashable:
    several = len(header.parts) > 1
    found = [
        (part.name if several else "", channel.name, channel.type) for part in header.parts for channel in part.channels
    ]
    return tuple(sorted(found))


def _display_words(value: Hashable, other: Hashable) -> str:
    assert isinstance(value, Window)
    return window_words(value)


def _plain_words(value: Hashable, other: Hashable) -> str:
    return f"{value:g}" if isinstance(value, float) else ", ".join(map(str, value)) if isinstance(value, tuple) else ""


def _channel_words(value: Hashable, other: Hashable) -> str:
    """Only the channels that the other side has not: a list of 200 helps nobody."""
    assert isinstance(value, tuple)
    assert isinstance(other, tuple)
    mine = [
        f"{part}{'/' if part else ''}{name} ({kind})" for part, name, kind in value if (part, name, kind) not in other
    ]
    return ", ".join(mine) or "no such channel"


_ASPECTS: Final[tuple[tuple[str, Callable[[PlateHeader], Hashable], Callable[[Hashable, Hashable], str]], ...]] = (
    ("display window", _display, _display_words),
    ("pixel aspect ratio", _aspect, _plain_words),
    ("list of parts", _part_names, _plain_words),
    ("list of channels", _channels, _channel_words),
)
