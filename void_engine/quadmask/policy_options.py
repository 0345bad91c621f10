"""The quadmask policy's settings, with limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from void_engine.options import Limits, read


@dataclass(frozen=True)
class PolicyOptions:
    """How regions become a quadmask. Pixels are the plate's.

    ``shape``: "cells" as the model learned them, or "soft": the regions themselves. ``cells``: on the short side.
    ``cell_share``: of a cell that a region must cover to fill it; 0 is upstream's rule, any pixel. ``spread``: how far
    a soft region grows, a share of the long side. ``near``: shadows and reflections further from the object, as it is
    in each frame, than this share of the long side are left out; 0 keeps all. ``grow`` and ``feather``: of the primary.
    ``smooth``: frames over which a pixel's affected state is a majority; 1 is none. ``timing``: frames before and after
    for which a predicted place counts. ``absent``: frames without the object are kept whole, or "follow" what it moved.
    ``first_frame_clear``: upstream's rule, no affected pixel in the first frame.
    """

    shape: str = "cells"
    cells: int = 8
    cell_share: float = 0.125
    spread: float = 0.01
    near: float = 0.5
    grow: int = 0
    feather: int = 0
    smooth: int = 5
    timing: int = 2
    paths: bool = True
    first_frame_clear: bool = False
    least_confidence: float = 0.2
    absent: str = "keep"


LIMITS: Final[Limits] = {
    "shape": ("cells", "soft"),
    "cells": (2, 64),
    "cell_share": (0.0, 1.0),
    "spread": (0.0, 0.2),
    "near": (0.0, 2.0),
    "grow": (-64, 256),
    "feather": (0, 256),
    "smooth": (1, 31),
    "timing": (0, 48),
    "absent": ("keep", "follow"),
    "least_confidence": (0.0, 1.0),
}


def read_options(options: Mapping[str, Any]) -> PolicyOptions:
    """Raises ``JobError`` naming an unknown key or a bad value."""
    return read(PolicyOptions, options, LIMITS, "quadmask")
