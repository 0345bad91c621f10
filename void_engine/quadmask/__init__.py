"""Quadmasks: from a mask file's values to 0 remove, 63 overlap, 127 affected, 255 keep, on the plate's canvas.

Promises: a supplied quadmask is taken as it is: not grown, not feathered, not colour-converted. What cannot be meant
(NaN, another size, values of another range) is an error that names the file. Must not: know engines or settings.
"""

from void_engine.quadmask.levels import align, check_range, quantise, resized, resolve_supplied
from void_engine.quadmask.read import MaskFrame, MaskHeader, read_mask, read_mask_header
from void_engine.quadmask.upstream import along_path, combine, gridded, near

__all__ = [
    "MaskFrame",
    "MaskHeader",
    "align",
    "along_path",
    "check_range",
    "combine",
    "gridded",
    "near",
    "quantise",
    "read_mask",
    "read_mask_header",
    "resized",
    "resolve_supplied",
]
