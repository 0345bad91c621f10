"""Line plots with readable axes, drawn by OpenCV: no plotting library is a dependency.

Promises: axes from 0 with round numbers, frame numbers below; a gap where there is no value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.looking.pictures import plain

Bytes = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]  # (N, 2): x, y
Colour = tuple[int, int, int]

WIDE, TALL = 1280, 360  # of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 24, 58, 44
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_PAPER, _GRID, _INK = (252, 252, 250), (222, 222, 222), (50, 50, 50)
_DASH = 7.0  # pixels


@dataclass(frozen=True)
class Series:
    name: str
    colour: Colour
    values: Sequence[float | None]
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    title: str
    series: Sequence[Series]


def plot(numbers: Sequence[int], panels: Sequence[Panel]) -> Bytes:
    """The panels one below the other, over the same frame numbers (ascending)."""
    return np.vstack([_panel(numbers, panel) for panel in panels])


def nice_step(span: float, most: int) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that divides ``span`` into ``most`` steps or fewer."""
    if not span > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(step * power for step in (1, 2, 5, 10, 20) if span / (step * power) <= most)


def _panel(numbers: Sequence[int], panel: Panel) -> Bytes:
    page = np.full((TALL, WIDE, 3), _PAPER, np.uint8)
    known = [value for series in panel.series for value in series.values if value is not None]
    step = nice_step(max([*known, 1e-9]) * 1.05 if max([*known, 0.0]) > 0 else 1.0, 6)
    top = step * max(1, math.ceil(max([*known, 0.0]) * 1.02 / step))
    first, last = numbers[0], max(numbers[-1], numbers[0] + 1)
    right, floor = WIDE - _RIGHT, TALL - _BOTTOM

    def x(number: float) -> float:
        return _LEFT + (right - _LEFT) * (number - first) / (last - first)

    def y(value: float) -> float:
        return floor - (floor - _TOP) * value / top

    for index in range(round(top / step) + 1):
        at = round(y(index * step))
        cv2.line(page, (_LEFT, at), (right, at), _GRID, 1)
        _text(page, f"{index * step:.6g}", (_LEFT - 8, at + 5), end=True)
    every = max(1, round(nice_step(last - first, 12)))
    for number in range(-(-first // every) * every, last + 1, every):
        cv2.line(page, (round(x(number)), floor), (round(x(number)), floor + 5), _INK, 1)
        _text(page, str(number), (round(x(number)), floor + 20), centre=True)
    _text(page, "frame", (right, TALL - 6), end=True)
    cv2.rectangle(page, (_LEFT, _TOP), (right, floor), _INK, 1)
    _text(page, panel.title, (_LEFT, 22), size=0.55)
    place = _LEFT
    for series in panel.series:
        _draw(page, [None if v is None else (x(n), y(v)) for n, v in zip(numbers, series.values, strict=True)], series)
        place = _legend(page, series, place)
    return page


def _draw(page: Bytes, points: Sequence[tuple[float, float] | None], series: Series) -> None:
    run: list[tuple[float, float]] = []
    for point in [*points, None]:
        if point is not None:
            run.append(point)
            continue
        if len(run) == 1:
            cv2.circle(page, (round(run[0][0]), round(run[0][1])), 3, series.colour, -1, cv2.LINE_AA)
        elif run:
            _line(page, np.array(run), series)
        run = []


def _line(page: Bytes, points: Points, series: Series) -> None:
    pieces = _dashes(points) if series.dashed else [points]
    for piece in pieces:
        # Sixteenths of a pixel: many frames on few pixels stay readable.
        cv2.polylines(page, [np.rint(piece * 16).astype(np.int32)], False, series.colour, 2, cv2.LINE_AA, shift=4)


def _dashes(points: Points) -> list[Points]:
    """Every second stretch of ``_DASH`` pixels along the line."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    stops = np.arange(0.0, float(along[-1]) + _DASH, _DASH)
    ends = np.stack([np.interp(stops, along, points[:, axis]) for axis in (0, 1)], axis=1)
    return [ends[index : index + 2] for index in range(0, len(ends) - 1, 2)]


def _legend(page: Bytes, series: Series, place: int) -> int:
    _line(page, np.array([[place, 40.0], [place + 30.0, 40.0]]), series)
    return _text(page, series.name, (place + 38, 45)) + 28


def _text(
    page: Bytes, text: str, at: tuple[int, int], *, size: float = 0.45, end: bool = False, centre: bool = False
) -> int:
    """Returns where it ends; ``end``: it ends at ``at``."""
    wide = cv2.getTextSize(plain(text), _FONT, size, 1)[0][0]
    x = at[0] - wide if end else at[0] - wide // 2 if centre else at[0]
    cv2.putText(page, plain(text), (x, at[1]), _FONT, size, _INK, 1, cv2.LINE_AA)
    return int(x + wide)
