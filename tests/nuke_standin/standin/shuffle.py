"""Shuffle2's `mappings`: "N rgba.red 0 0 rgba.green 0 1 …"."""

from __future__ import annotations

from typing import Any

from . import layers, tcl
from .errors import StandinError


def mapping(node: Any) -> list:
    """(from channel or black/white, from the other input, to channel)."""
    text = str(node._knobs["mappings"]._text)
    words = tcl.interpreter().split(text)
    if len(words) == 1:
        words = tcl.interpreter().split(words[0])
    if not words:
        return [
            (f"{node._knobs['in1'].value()}.{c}", False, f"{node._knobs['out1'].value()}.{c}")
            for c in layers.BUILT_IN["rgba"]
        ]
    count, rest = int(words[0]), words[1:]
    if len(rest) != 6 * count:
        raise StandinError(f"Shuffle2 mappings: {text!r}")
    found = []
    for source, group, _, target, _, _ in zip(*[iter(rest)] * 6):
        if source in ("black", "white"):
            found.append((source, False, layers.full(target)))
        else:
            other = "{1}" in str(node._knobs[f"fromInput{int(group) + 1}"]._text)
            found.append((layers.full(source), other, layers.full(target)))
    return found


def outputs(node: Any) -> list:
    return [to for _, _, to in mapping(node)]
