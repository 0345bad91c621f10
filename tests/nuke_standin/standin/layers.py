"""Layers and channels of the script: `rgba.red`, `void_matte.generated`."""

from __future__ import annotations

from typing import Any, Optional

from .guard import guarded
from .state import S

BUILT_IN = {
    "rgba": ("red", "green", "blue", "alpha"),
    "rgb": ("red", "green", "blue"),
    "alpha": ("alpha",),
    "depth": ("Z",),
    "forward": ("u", "v"),
    "backward": ("u", "v"),
    "motion": ("u", "v"),
    "mask": ("a",),
    "rotopaint_mask": ("a",),
}
SHORT = {
    "red": "rgba.red",
    "green": "rgba.green",
    "blue": "rgba.blue",
    "alpha": "rgba.alpha",
    "a": "rgba.alpha",
    "r": "rgba.red",
    "g": "rgba.green",
    "b": "rgba.blue",
}


def reset() -> None:
    S.layers = {"rgba": list(BUILT_IN["rgba"]), "depth": ["Z"], "mask": ["a"]}


def add(name: str, channels: Any) -> None:
    """`add_layer {name name.channel …}` and `nuke.Layer(name, channels)`."""
    known = S.layers.setdefault(name, [])
    for channel in channels:
        short = channel.split(".", 1)[-1]
        if short not in known:
            known.append(short)


def full(name: str) -> str:
    """A channel's whole name."""
    return SHORT.get(name, name)


def check(name: str) -> None:
    """Nuke turns an unknown channel into none; here the wish itself is an error."""
    for word in name.replace("{", "").replace("}", "").split():
        if word.startswith("-") or word in ("none", "all", "rgb", "rgba", "alpha", "true", "false"):
            continue
        layer, _, channel = full(word).partition(".")
        if layer not in S.layers or (channel and channel not in S.layers[layer]):
            raise ValueError(f'no layer or channel is named "{word}": add_layer it first')


def expand(mask: str, present: Any) -> list:
    """The channels of a mask ("all", "rgba", "{rgba.alpha -rgba.red}", a layer) that are in `present`."""
    words = mask.replace("{", "").replace("}", "").split()
    out: list = []
    for word in words:
        if word.startswith("-"):
            drop = expand(word[1:], present)
            out = [c for c in out if c not in drop]
            continue
        out += [c for c in named(word, present) if c not in out]
    return out


def named(word: str, present: Any) -> list:
    """The channels that one word of a mask names."""
    if word in ("none", "false"):
        return []
    if word in ("all", "true"):
        return list(present)
    if word == "rgb":
        return [f"rgba.{c}" for c in BUILT_IN["rgb"]]
    if full(word) != word or "." in word:
        return [full(word)]
    return [f"{word}.{c}" for c in S.layers.get(word, [])]


@guarded
class Layer:
    """`nuke.Layer(name, ["name.channel", …])`: made when it is not there."""

    def __init__(self, name: str, channels: Optional[list] = None) -> None:
        self._name = name
        add(name, channels or [])

    def name(self) -> str:
        return self._name

    def channels(self) -> list:
        return [f"{self._name}.{c}" for c in S.layers[self._name]]

    def visible(self) -> bool:
        return True


def order(channels: Any) -> list:
    """Sorted as Nuke lists them: rgba first, then layer by layer."""
    names = list(S.layers)

    def key(channel: str) -> tuple:
        layer, _, short = channel.partition(".")
        known = S.layers.get(layer, [])
        return (
            names.index(layer) if layer in names else len(names),
            known.index(short) if short in known else 99,
            channel,
        )

    return sorted(set(channels), key=key)
