"""Pictures of two clips: wipe, difference, labels, the sheet.

Promises: uint8 RGB display pictures, at the size that is shown (square pixels). A label lies on its own clip's picture
only, so that it is true wherever it is seen. Must not: measure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.interface import Mask, Window
from void_engine.looking.view import Colour

Bytes = npt.NDArray[np.uint8]  # (H, W, 3)
Size = tuple[int, int]  # width, height
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TRAVEL = 0.46  # of the width, to either side of the middle
_GAP, _HEAD, _NAME = 6, 24, 22  # pixels: between cells, above the columns, above a row
_PAPER, _INK, _LINE = 32, (235, 235, 235), (255, 210, 60)


def shown_size(window: Window, aspect: float, widest: int) -> Size:
    """The display window with square pixels, no wider than ``widest``."""
    width, height = window.width * max(aspect, 1.0), window.height / min(aspect, 1.0)
    scale = min(1.0, widest / width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def to_bytes(shown: Colour, size: Size) -> Bytes:
    """Display values 0 to 1 at ``size``, as codes."""
    if (shown.shape[1], shown.shape[0]) != size:
        smaller = shown.shape[1] > size[0] or shown.shape[0] > size[1]
        way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        shown = np.asarray(cv2.resize(shown, size, interpolation=way), np.float32)
    return np.asarray(np.clip(shown, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def difference(a: Colour, b: Colour, gain: float, *, signed: bool = False) -> Colour:
    """``|A - B| * gain``; signed: grey where they are equal, brighter where B is brighter."""
    away = (b - a) * np.float32(gain)
    return np.asarray(np.clip(away + np.float32(0.5) if signed else np.abs(away), 0.0, 1.0), np.float32)


def wipe_at(index: int, period: int) -> float:
    """Where the line is, as a share of the width: from the middle to the right, to the left, and back."""
    return 0.5 + _TRAVEL * math.sin(2 * math.pi * index / max(1, period))


def wipe(a: Bytes, b: Bytes, share: float) -> Bytes:
    """A left of a thin line, B right of it."""
    width = a.shape[1]
    x = min(width, max(0, round(width * share)))
    picture = b.copy()
    picture[:, :x] = a[:, :x]
    thick = max(1, width // 640)
    picture[:, max(0, x - thick // 2) : max(0, x - thick // 2) + thick] = _LINE
    return picture


def labelled(picture: Bytes, text: str, *, right: bool = False, bottom: bool = False) -> Bytes:
    """A copy with ``text`` on a dark patch in a corner, at a size that follows the picture's."""
    picture = picture.copy()
    height, width = picture.shape[:2]
    text = plain(text)
    scale = max(0.35, min(1.0, width / 1600))
    (wide, tall), below = cv2.getTextSize(text, _FONT, scale, 1)
    if wide + 12 > width:  # a long name keeps its end, where names differ
        text = text[-max(1, int(len(text) * (width - 12) / max(1, wide))) :]
        (wide, tall), below = cv2.getTextSize(text, _FONT, scale, 1)
    pad = max(3, tall // 2)
    x = width - wide - 2 * pad if right else 0
    y = height - tall - below - 2 * pad if bottom else 0
    x, y = max(0, x), max(0, y)
    patch = picture[y : y + tall + below + 2 * pad, x : x + wide + 2 * pad]
    patch[:] = patch // 4
    cv2.putText(picture, text, (x + pad, y + pad + tall), _FONT, scale, _INK, 1, cv2.LINE_AA)
    return picture


def plain(text: str) -> str:
    """The font is ASCII."""
    return text.encode("ascii", "replace").decode()


def shrunk(picture: Bytes, size: Size) -> Bytes:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True)
class Column:
    """One frame on the sheet: its pictures from top to bottom."""

    title: str
    cells: tuple[Bytes, ...]


def outlined(picture: Bytes, region: Mask) -> Bytes:
    """A copy with the region's outline, so that one sees where the result was allowed to differ."""
    picture = picture.copy()
    size = (picture.shape[1], picture.shape[0])
    share = cv2.resize(region.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    contours, _ = cv2.findContours((share > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, _LINE, 1, cv2.LINE_AA)
    return picture


def sheet(rows: Sequence[str], columns: Sequence[Column]) -> Bytes:
    """A named row for each cell, a titled column for each frame. All cells have one size."""
    tall, wide = columns[0].cells[0].shape[:2]
    width = _GAP + (wide + _GAP) * len(columns)
    page = np.full((_HEAD + len(rows) * (_NAME + tall + _GAP), width, 3), _PAPER, np.uint8)
    for place, column in enumerate(columns):
        x = _GAP + place * (wide + _GAP)
        _write(page, column.title, x, _HEAD - 8)
        for row, cell in enumerate(column.cells):
            y = _HEAD + row * (_NAME + tall + _GAP) + _NAME
            page[y : y + tall, x : x + wide] = cell
    for row, name in enumerate(rows):
        _write(page, name, _GAP, _HEAD + row * (_NAME + tall + _GAP) + _NAME - 7)
    return page


def _write(page: Bytes, text: str, x: int, y: int) -> None:
    cv2.putText(page, plain(text), (x, y), _FONT, 0.45, _INK, 1, cv2.LINE_AA)
