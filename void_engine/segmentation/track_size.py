"""How large the pictures are that an object is followed in: as small as it allows, for time goes with their area."""

from __future__ import annotations

import math

import numpy as np

from void_engine.segmentation import track_prompt, track_region
from void_engine.segmentation.interface import Pictures, Prompt
from void_engine.segmentation.pictures import proxy_size
from void_engine.segmentation.track_prompt import Seeds

_LONG_SIDES = (640, 1280, 2560)
_LEAST = 14.0  # pixels, the root of its area: the flow's patches are eight wide


def long_side(pictures: Pictures, prompt: Prompt) -> int:
    """Of the proxies for this object; the same however often it is asked."""
    largest = max(pictures.size)
    size = _size(pictures, prompt, _LONG_SIDES[0])
    for side in _LONG_SIDES:
        if side >= largest or size * side / _LONG_SIDES[0] >= _LEAST:
            return side
    return _LONG_SIDES[-1]


def _size(pictures: Pictures, prompt: Prompt, side: int) -> float:
    """Of what the prompts name, the largest: the root of its area, in pixels of that proxy."""
    shape = proxy_size(pictures.size, side)
    seeds = track_prompt.seeds_of(prompt, pictures.size, shape)
    return max(_root(pictures, position, each, side) for position, each in seeds.items() if each.names_the_object)


def _root(pictures: Pictures, position: int, seeds: Seeds, side: int) -> float:
    if seeds.box is not None:
        x0, y0, x1, y1 = seeds.box
        return math.sqrt((x1 - x0) * (y1 - y0))
    if seeds.matte is not None:
        return math.sqrt(np.count_nonzero(seeds.matte > 0.5))
    return math.sqrt(np.count_nonzero(track_region.region(pictures.proxy(position, side), seeds)))
