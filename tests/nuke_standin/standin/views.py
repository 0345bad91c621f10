"""Views of the script: kept in Root's `views` knob, one `name #colour` a line."""

from __future__ import annotations

from .state import S


def names() -> list:
    """All views, in their order."""
    text = S.root._knobs["views"]._text
    return [line.split()[0] for line in text.splitlines() if line.split()]


def add(name: str, color: str = "") -> None:
    if name not in names():
        knob = S.root._knobs["views"]
        knob._change(knob._text + f"\n{name} {color}".rstrip())
    from_root()


def remove(name: str) -> None:
    knob = S.root._knobs["views"]
    knob._change("\n".join(line for line in knob._text.splitlines() if line.split()[0] != name))
    from_root()


def from_root() -> None:
    """Root was read: its views are the script's."""
    hero = S.root._knobs["hero_view"]
    hero._values = names() or ["main"]
    if S.view not in hero._values:
        S.view = hero._values[0]
