"""Lays the clean plate into the plate's own channels.

Promises: where the matte is 0 every bit of the plate stays, in its own type; what is written is finite.
Must not: convert colour, or touch a channel it was not given.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from void_engine.interface import RGB
from void_engine.plates.frames import NativeRGB, Pixels

_LARGEST: Final = {
    np.dtype(np.float16): np.float32(65504),
    np.dtype(np.float32): np.finfo(np.float32).max,
}


def composite(plate: NativeRGB, clean: RGB, matte: npt.NDArray[np.float32]) -> NativeRGB:
    """``plate x (1 - matte) + clean x matte``, in the plate's scene-linear values; only where the matte is over 0.

    ``plate``: red, green, blue, each (H, W), half or float. ``clean``: (H, W, 3), finite. ``matte``: (H, W), 0 to 1.
    Where the matte is 1 the result is ``clean`` itself. Rounds to nearest even and clamps to the type's finite range.
    Returns new arrays. Raises ``ValueError`` for shapes or types that do not fit, or a clean pixel that is not finite.
    """
    shape = matte.shape
    if clean.shape != (*shape, 3) or any(plane.shape != shape for plane in plate):
        raise ValueError(f"shapes differ: matte {shape}, clean {clean.shape}, plate {[p.shape for p in plate]}")
    if wrong := [str(plane.dtype) for plane in plate if plane.dtype not in _LARGEST]:
        raise ValueError(f"colour must be half or float, not {wrong}")
    changed = np.nonzero(matte > 0)
    weight, new = matte[changed], clean[changed]
    if not (np.isfinite(new).all() and np.isfinite(matte).all() and (matte >= 0).all() and (matte <= 1).all()):
        raise ValueError("the clean plate must be finite wherever it is used, and the matte 0 to 1")
    red, green, blue = (_blend(plane, new[:, index], weight, changed) for index, plane in enumerate(plate))
    return red, green, blue


def _blend(
    plane: Pixels,
    new: npt.NDArray[np.float32],
    weight: npt.NDArray[np.float32],
    where: tuple[npt.NDArray[np.intp], ...],
) -> Pixels:
    largest = _LARGEST[plane.dtype]
    old = plane[where].astype(np.float32)
    # In float64 one rounding is left, and two large values do not overflow. Where the matte is 1 the plate does not
    # count, whatever it holds.
    share = weight.astype(np.float64)
    mixed = np.where(weight < 1, np.where(weight < 1, old, 0) * (1 - share) + new * share, new)
    result = plane.copy()
    # Clamped before it is narrowed: 65520 and more would round to infinity in half.
    result[where] = np.clip(mixed, -largest, largest).astype(plane.dtype)
    return result
