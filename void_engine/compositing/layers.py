"""The layers that a result carries beside its colour: what was removed, what was generated, and how sure it is.

Promises: half floats over the frame's data window, named as docs/artist.md says. Must not: read or write files.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from void_engine.compositing.matte import Matte
from void_engine.interface import AFFECTED, KEEP, OVERLAP, REMOVE, Quadmask, Share

Layer = npt.NDArray[np.float16]  # (H, W), 0 to 1

REGIONS: Final = {
    "primary": (REMOVE, OVERLAP),
    "overlap": (OVERLAP,),
    "affected": (AFFECTED, OVERLAP),
    "keep": (KEEP,),
}
"""Region of the layer ``void_quadmask`` → the quadmask's values in it."""


def quadmask_layers(quadmask: Quadmask) -> dict[str, Layer]:
    """``void_quadmask.*``: 1 inside the region."""
    return {f"void_quadmask.{name}": np.isin(quadmask, levels).astype(np.float16) for name, levels in REGIONS.items()}


def result_layers(quadmask: Quadmask, matte: Matte, confidence: Share) -> dict[str, Layer]:
    """All layers of a result's frame; the arrays are (H, W) over its data window.

    ``void_matte.generated`` is the matte that the colour was laid in with; ``void_conf.confidence`` is 1 where a pixel
    was seen, in this frame or another, and 0 where it was invented.
    """
    return {
        **quadmask_layers(quadmask),
        "void_matte.generated": matte.astype(np.float16),
        "void_conf.confidence": confidence.astype(np.float16),
    }
