"""Draws the VOID node's panel and its states from the description: ``python tests/helpers/node_picture.py``.

The pictures show which knobs stand where, what they start with, and the states' colours. They are no screenshots.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[2] / "nuke_plugin"))

from void_nuke.description import INPUTS, STATES, TABS, Knob, Tab

IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
WIDTH: Final = 470
LINE: Final = 27
LABEL: Final = 128  # where the controls begin
BEGINS_NO_LINE: Final = ("button", "bool")


def _text(x: float, y: float, text: str, fill: str = "#d2d2d2", anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:g}" y="{y:g}" fill="{fill}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, fill: str, round_: int = 2) -> str:
    place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    return f'<rect {place} rx="{round_}" fill="{fill}" stroke="#1c1c1c"/>'


def _wide(text: str) -> float:
    return 7.0 * len(text) + 16


def _field(x: float, y: float, width: float, text: str, readonly: bool = False) -> list[str]:
    fill = "#3a3a3a" if readonly else "#262626"
    return [_box(x, y, width, 20, fill), _text(x + 6, y + 14, text, "#8f8f8f" if readonly else "#e8e8e8")]


def _control(knob: Knob, x: float, y: float) -> tuple[list[str], float]:
    """The drawing, and where it ends."""
    if knob.kind == "button":
        width = _wide(knob.label)
        return [
            _box(x, y, width, 20, "#5a5a5a", 4),
            _text(x + width / 2, y + 14, knob.label, anchor="middle"),
        ], x + width
    if knob.kind == "bool":
        mark = [_text(x + 3, y + 15, "x", "#e0b050")] if knob.default else []
        return [_box(x, y + 3, 14, 14, "#262626"), *mark, _text(x + 21, y + 14, knob.label)], x + 14 + _wide(knob.label)
    if knob.kind in ("enum", "channel"):
        text = str(knob.default or knob.values[0])
        width = max(_wide(one) for one in (*knob.values, text)) + 14
        drawn = [_box(x, y, width, 20, "#4a4a4a"), _text(x + 6, y + 14, text, "#e8e8e8")]
        return [*drawn, f'<path d="M{x + width - 14:g} {y + 8:g}h8l-4 5z" fill="#d2d2d2"/>'], x + width
    if knob.kind in ("xy", "bbox"):
        count = 2 if knob.kind == "xy" else 4
        return [part for i in range(count) for part in _field(x + 36 * i, y, 32, "0")], x + 36 * count
    if knob.kind == "int":
        return _field(x, y, 46, str(knob.default or 0)), x + 46
    if knob.kind == "float":
        line = f'<path d="M{x + 58:g} {y + 10:g}h150" stroke="#8f8f8f"/>'
        return [*_field(x, y, 46, f"{knob.default:g}"), line, _box(x + 203, y + 3, 6, 14, "#c8c8c8")], x + 214
    if knob.kind == "text":
        return [_text(x, y + 14, str(knob.default or ""), "#8f8f8f")], x + 60
    width = 320 if knob.name not in ("resolve_frames", "endpoint") else 200
    return _field(x, y, width, str(knob.default or ""), knob.readonly), x + width


def _panel(tab: Tab, left: float, top: float) -> tuple[list[str], float]:
    """A tab's drawing, and where it ends."""
    parts: list[str] = []
    x, y = left + LABEL, top + 12.0
    for knob in (one for one in tab.knobs if not one.hidden):
        labelled = knob.kind not in BEGINS_NO_LINE
        if knob.beside:
            x += 8
        else:
            x, y = left + LABEL, y + LINE
        if labelled and knob.beside:
            parts.append(_text(x, y + 14, knob.label))
            x += _wide(knob.label) - 8
        elif labelled:
            parts.append(_text(left + LABEL - 8, y + 14, knob.label, anchor="end"))
        drawn, x = _control(knob, x, y)
        parts += drawn
        if knob.kind == "multiline":
            parts.append(_box(left + LABEL, y, 320, 40, "#262626"))
            y += 20
    end = y + LINE + 8
    frame = [
        _box(left, top + 22, WIDTH, end - top - 22, "#383838", 3),
        _box(left, top, _wide(tab.label) + 10, 23, "#383838", 3),
        _text(left + 13, top + 16, tab.label, "#ffffff"),
    ]
    return [*frame, *parts], end


def panel() -> str:
    """The five tabs, side by side as no panel shows them."""
    first, first_end = _panel(TABS[0], 10, 10)
    parts, y, rest_end = first, 10.0, 0.0
    for tab in TABS[1:3]:
        drawn, y = _panel(tab, WIDTH + 30, y)
        parts, y = parts + drawn, y + 14
    rest_end, y = y, 10.0
    for tab in TABS[3:]:
        drawn, y = _panel(tab, 2 * WIDTH + 50, y)
        parts, y = parts + drawn, y + 14
    return _svg(3 * WIDTH + 60, max(first_end, rest_end, y) + 10, parts)


def states() -> str:
    """The node in each of its states, and its inputs."""
    parts: list[str] = []
    for place, state in enumerate(STATES):
        x, y = 20 + 250 * (place % 4), 50 + 70 * (place // 4)
        parts.append(_box(x, y, 230, 46, f"#{state.tile >> 8:06x}", 3))
        parts.append(_text(x + 115, y + 19, "VOID1", "#ffffff", "middle", 13))
        parts.append(_text(x + 115, y + 36, state.shown.split(". ")[0], "#ffffff", "middle", 11))
    for one in INPUTS:
        x = 20 + 25 + 60 * one.number
        parts.append(f'<path d="M{x} 24v24m-4 -7l4 7l4 -7" stroke="#d2d2d2" fill="none"/>')
        parts.append(_text(x, 18, str(one.number), anchor="middle"))
    return _svg(1020, 50 + 70 * ((len(STATES) + 3) // 4), parts)


def _svg(width: float, height: float, parts: list[str]) -> str:
    size = f'width="{width:g}" height="{height:g}"'
    font = 'font-family="DejaVu Sans, Verdana, sans-serif"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width:g} {height:g}" {font}>'
    return "\n".join([head, f'<rect {size} fill="#2b2b2b"/>', *parts, "</svg>"]) + "\n"


PICTURES: Final = {"node_panel.svg": panel, "node_states.svg": states}


if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (IMAGES / name).write_text(draw(), encoding="utf-8")
