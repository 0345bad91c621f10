"""New EXR files from arrays: for shots that did not come from a file, such as the demo's.

Must not: serve results; those are written by ``void_engine.plates.write``, from the plate that they replace.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import OpenEXR


def create_exr(path: Path, channels: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """One scene-linear half EXR, ZIP. ``channels``: name → (H, W), or "RGB" → (H, W, 3); finite, within half."""
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    pixels = {name: np.ascontiguousarray(plane, np.float16) for name, plane in channels.items()}
    with OpenEXR.File(header, pixels) as file:
        file.write(str(path))
