"""Pictures and numbers for people: a sheet of chosen frames, and how far a result is from the truth.

Promises an ordinary PNG that shows scene-linear light as a display would, and measures that say what
they measure. Must not take part in making results: `per_frame_inpaint` is here to be compared with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from void_client.errors import DiskFull

from void_engine.interface import AFFECTED, KEEP, OVERLAP, REMOVE, RGB

Bytes = npt.NDArray[np.uint8]  # (H, W, 3), sRGB
Mask = npt.NDArray[np.bool_]  # (H, W)
Row = tuple[str, Sequence[npt.NDArray[np.float32] | npt.NDArray[np.uint8]]]

# What the four values of a quadmask look like, by name: red, orange, blue, nearly white.
COLOURS = {
    REMOVE: ("remove", (214, 58, 52)),
    OVERLAP: ("overlap", (238, 150, 44)),
    AFFECTED: ("affected", (70, 120, 214)),
    KEEP: ("keep", (226, 226, 222)),
}
_GAP, _LABEL = 4, 22  # pixels between pictures, and of a row's label
_KNEE = 0.8  # light above which highlights roll off


def display(rgb: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scene-linear light to display values in [0, 1]: highlights roll off towards 1, then the sRGB curve.

    Light x above 0.8 becomes ``0.8 + 0.2 * (1 - exp(-(x - 0.8) / 0.8))``; below, it stays.
    """
    low = np.clip(rgb, 0.0, _KNEE)
    over = np.maximum(rgb - _KNEE, 0.0)
    light = low + (1.0 - _KNEE) * (1.0 - np.exp(-over / _KNEE))
    curve = np.where(light <= 0.0031308, light * 12.92, 1.055 * np.power(np.maximum(light, 1e-9), 1 / 2.4) - 0.055)
    return np.asarray(np.clip(curve, 0.0, 1.0), dtype=np.float32)


def psnr(a: RGB, b: RGB, mask: Mask) -> float:
    """``10 * log10(1 / mean((display(a) - display(b)) ** 2))`` in decibels over the pixels in ``mask``.

    All three channels count alike; the mean is over mask pixels only, infinite where nothing differs.
    Raises `ValueError` where the mask is empty.
    """
    if not mask.any():
        raise ValueError("psnr needs at least one pixel in its mask")
    error = float(np.mean((display(a[mask]).astype(np.float64) - display(b[mask])) ** 2))
    return math.inf if error == 0.0 else -10.0 * math.log10(error)


def per_frame_inpaint(plate: RGB, hole: Mask) -> RGB:
    """The plain baseline: OpenCV's Telea inpainting (radius 5) of one frame alone, on 8-bit display values.

    Returns scene-linear light: the plate outside ``hole``, at most about 1 inside.
    """
    code = (display(plate) * 255.0 + 0.5).astype(np.uint8)
    filled = np.asarray(cv2.inpaint(code, hole.astype(np.uint8), 5, cv2.INPAINT_TELEA), dtype=np.float32) / 255.0
    light = np.where(filled <= 0.04045, filled / 12.92, ((filled + 0.055) / 1.055) ** 2.4)
    # Undo the roll-off, held below its end where the inverse runs to infinity.
    over = -_KNEE * np.log(1.0 - np.minimum((light - _KNEE) / (1.0 - _KNEE), 0.99))
    light = np.where(light > _KNEE, _KNEE + over, light)
    return np.where(hole[..., None], light, plate).astype(np.float32)


def quadmask_picture(quadmask: npt.NDArray[np.uint8]) -> Bytes:
    """The four regions in `COLOURS`; any other value is black."""
    picture = np.zeros((*quadmask.shape, 3), dtype=np.uint8)
    for value, (_, colour) in COLOURS.items():
        picture[quadmask == value] = colour
    return picture


def contact_sheet(rows: Sequence[Row], path: Path, *, width: int = 1600) -> Path:
    """Writes a PNG at most ``width`` pixels wide: a row for each label, a column for each frame.

    An image is float scene-linear (H, W, 3) or a uint8 quadmask (H, W). Raises `ValueError` where there
    is nothing to show and `DiskFull` where the file cannot be written.
    """
    columns = max((len(images) for _, images in rows), default=0)
    if columns == 0:
        raise ValueError("a contact sheet needs at least one picture")
    widest = max(image.shape[1] for _, images in rows for image in images)
    cell = max(16, min(widest, (width - _GAP * (columns + 1)) // columns))
    strips = [_strip(label, images, cell, columns) for label, images in rows]
    sheet = np.vstack(strips)
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", np.ascontiguousarray(sheet[..., ::-1]))
    if not done:
        raise ValueError("the contact sheet is too large for a PNG")
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise DiskFull(f"The contact sheet {path} cannot be written.", hint=str(error)) from error
    return path


def _strip(
    label: str, images: Sequence[npt.NDArray[np.float32] | npt.NDArray[np.uint8]], cell: int, columns: int
) -> Bytes:
    pictures = [_cell(image, cell) for image in images]
    tall = max((picture.shape[0] for picture in pictures), default=1)
    strip = np.full((tall + _LABEL + _GAP, (cell + _GAP) * columns + _GAP, 3), 32, dtype=np.uint8)
    for column, picture in enumerate(pictures):
        x = _GAP + column * (cell + _GAP)
        strip[_LABEL : _LABEL + picture.shape[0], x : x + cell] = picture
    x = _write(strip, label, _GAP + 2, (235, 235, 235)) + 14
    if any(image.ndim == 2 for image in images):
        for name, colour in COLOURS.values():
            x = _write(strip, name, x, colour) + 14
    return strip


def _write(strip: Bytes, text: str, x: int, colour: tuple[int, int, int]) -> int:
    cv2.putText(strip, text, (x, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
    return int(x + cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0])


def _cell(image: npt.NDArray[np.float32] | npt.NDArray[np.uint8], wide: int) -> Bytes:
    size = (wide, max(1, round(image.shape[0] * wide / image.shape[1])))
    if image.ndim == 2:
        picture = cv2.resize(quadmask_picture(image.astype(np.uint8)), size, interpolation=cv2.INTER_NEAREST)
        return np.asarray(picture, dtype=np.uint8)
    # Shrunk as light's display values: a lamp of 30 must not spread over its neighbours.
    small = cv2.resize(display(image.astype(np.float32)), size, interpolation=cv2.INTER_AREA)
    return np.asarray(np.asarray(small) * 255.0 + 0.5).astype(np.uint8)
