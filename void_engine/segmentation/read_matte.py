"""One matte of the artist's from a file, on the canvas: white is the object.

Promises: alpha where there is one, else R, else the only channel; soft values stay. What cannot be meant is a
``FrameError`` with input "matte". Must not: quantise, or change a value but to bring it into 0 to 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import OpenImageIO as oiio
from void_client.errors import FrameError

from void_engine.interface import Window
from void_engine.segmentation.interface import Matte


def read_matte(path: Path, *, frame: int, display: Window, canvas: Window, kind: str = "matte") -> Matte:
    """(H, W) on ``canvas``, 0 to 1; outside the file's data window 0. ``display``: the plate's display window.

    ``kind``: the job's input. Raises ``FrameError``.
    """
    try:
        return _read(path, frame, display, canvas)
    except FrameError as problem:
        if kind != "matte":
            problem.message = problem.message.replace("matte frame", f"{kind} matte frame", 1)
            problem.details["input"] = kind
        raise


def _read(path: Path, frame: int, display: Window, canvas: Window) -> Matte:
    image = oiio.ImageInput.open(str(path))
    if image is None:
        raise _bad(frame, path, f"cannot be read ({oiio.geterror()})", "Write mattes as EXR, PNG or TIFF.")
    try:
        spec = image.spec()
        pixels = image.read_image(format="float")
    finally:
        image.close()
    if pixels is None:
        raise _bad(frame, path, "cannot be decoded", "Render it again.")
    full = (spec.full_width, spec.full_height)
    if full != (display.width, display.height):
        has = f"{full[0]}x{full[1]}"
        wanted = f"the plate's display window is {display.width}x{display.height}"
        raise _bad(frame, path, f"is {has}, {wanted}", "Reformat it to the plate's format.")
    values = _channel(np.asarray(pixels), list(spec.channelnames), frame, path)
    if not np.isfinite(values).all():
        raise _bad(frame, path, "holds values that are NaN or infinite", "Clean the matte.")
    x0, y0 = display.x0 + spec.x - spec.full_x, display.y0 + spec.y - spec.full_y
    return _placed(np.clip(values, 0.0, 1.0), Window(x0, y0, x0 + spec.width - 1, y0 + spec.height - 1), canvas)


def _channel(pixels: npt.NDArray[Any], names: list[str], frame: int, path: Path) -> npt.NDArray[np.float32]:
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    for wanted in ("A", "alpha", "R"):
        if wanted in names:
            return np.asarray(pixels[..., names.index(wanted)], np.float32)
    if pixels.shape[2] == 1:
        return np.asarray(pixels[..., 0], np.float32)
    raise _bad(frame, path, f"has neither alpha nor R ({', '.join(names)})", "Write the matte to alpha or to R.")


def _placed(values: npt.NDArray[np.float32], window: Window, canvas: Window) -> Matte:
    placed = np.zeros((canvas.height, canvas.width), np.float32)
    x0, y0 = max(window.x0, canvas.x0), max(window.y0, canvas.y0)
    x1, y1 = min(window.x1, canvas.x1), min(window.y1, canvas.y1)
    if x0 <= x1 and y0 <= y1:
        shared = Window(x0, y0, x1, y1)
        placed[shared.slices_in(canvas)] = values[shared.slices_in(window)]
    return placed


def _bad(frame: int, path: Path, fault: str, hint: str) -> FrameError:
    return FrameError(
        f"matte frame {frame}: {path} {fault}.",
        hint=hint,
        details={"input": "matte", "frame": frame, "file": str(path)},
    )
