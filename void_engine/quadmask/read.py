"""One quadmask frame from a file: EXR, or an image that OpenImageIO reads (PNG, TIFF, ...).

Promises: code values are taken as they are in the file, without colour conversion; everything that is wrong is a
``FrameError`` with input "quadmask". Must not: grow, feather, or change a level.

Accepted: EXR with channel R, or with one channel of any name, half or float, 0 to 1; other formats with one channel, or
with R first, 8 or 16 bits (0/63/127/255 of 255) or float 0 to 1. An EXR's values over 1 are 0..255 values in floats:
refused, since 1.0 would mean "nearly black" in one reading and "keep" in the other.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import OpenImageIO as oiio

from void_engine.interface import Quadmask, Window
from void_engine.plates.exrfile import MAGIC
from void_engine.plates.frames import read_frame
from void_engine.plates.header import PlateHeader, check_size, read_header
from void_engine.plates.limits import DEFAULT_LIMITS, Limits
from void_engine.plates.sequence import window_words
from void_engine.plates.source import FrameSource
from void_engine.quadmask.levels import quantise

_INPUT: Final = "quadmask"
# Filters overshoot: a resized or antialiased edge may leave 0..1 by this much.
_OVERSHOOT: Final = 1 / 255
_CODES: Final = 30.0  # a float mask that goes beyond was written as codes up to 255
_TYPES: Final = {"uint8": oiio.UINT8, "uint16": oiio.UINT16, "half": oiio.HALF, "float": oiio.FLOAT}
_SIZE_HINT: Final = "Reformat the mask to the plate's format: they must agree, or the wrong pixels are removed."


@dataclass(frozen=True)
class MaskHeader:
    """Where a mask's values are. ``display_window`` is None for formats that know no windows but the image itself."""

    source: FrameSource
    window: Window
    display_window: Window | None
    exr: PlateHeader | None
    channel: str

    def check_fits(self, plate: Window) -> None:
        """Raises ``FrameError`` where the mask was not made for the plate's display window."""
        if self.display_window is not None and self.display_window != plate:
            mask = self.display_window
            raise self.source.error(
                f"its display window is {window_words(mask)}, the plate's is {window_words(plate)}",
                _SIZE_HINT,
                has=window_words(mask),
                plate=window_words(plate),
            )
        if self.display_window is None and (self.window.width, self.window.height) != (plate.width, plate.height):
            raise self.source.error(
                f"it is {window_words(self.window)}, the plate's display window is {window_words(plate)}",
                _SIZE_HINT,
                has=window_words(self.window),
                plate=window_words(plate),
            )

    def window_on(self, plate: Window) -> Window:
        """Where the mask's pixels lie in the plate's coordinates; without windows, on the display window."""
        return self.window if self.display_window is not None else plate


@dataclass(frozen=True)
class MaskFrame:
    """A mask's levels (H, W) over ``header.window``."""

    header: MaskHeader
    levels: Quadmask


def read_mask_header(path: Path | str, *, frame: int, limits: Limits = DEFAULT_LIMITS) -> MaskHeader:
    """Reads and judges a mask's header, without its pixels. Raises ``FrameError`` (input "quadmask")."""
    path = Path(path)
    source = FrameSource(_INPUT, frame, path)
    if _is_exr(source):
        header = read_header(path, input=_INPUT, frame=frame, limits=limits)
        part, name = _exr_channel(header)
        return MaskHeader(header.source, header.parts[part].data_window, header.display_window, header, name)
    file = _open(source, limits)
    try:
        return _image_header(source, file.spec(), limits)
    finally:
        file.close()


def read_mask(path: Path | str, *, frame: int, limits: Limits = DEFAULT_LIMITS) -> MaskFrame:
    """Reads one mask frame and quantises it. Raises ``FrameError`` (input "quadmask")."""
    header = read_mask_header(path, frame=frame, limits=limits)
    values = _exr_values(header, limits) if header.exr else _image_values(header, limits)
    if values.dtype in (np.float16, np.float32):
        _check_floats(header, values)
    return MaskFrame(header, quantise(values))


def _is_exr(source: FrameSource) -> bool:
    """By content: a file in a store has no suffix. A suffix that promises an EXR is taken at its word."""
    try:
        with source.path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC or source.path.suffix.lower() == ".exr"
    except OSError as error:
        raise source.unreadable(error) from error


def _exr_channel(header: PlateHeader) -> tuple[int, str]:
    """The part and the channel: R, or the only one there is."""
    found = [(part.index, channel) for part in header.parts for channel in part.channels]
    chosen = next(((index, channel) for index, channel in found if channel.name == "R"), None)
    if chosen is None and len(found) == 1:
        chosen = found[0]
    if chosen is None:
        names = ", ".join(channel.name for _, channel in found)
        raise header.source.error(
            f"it has no channel R and more than one other ({names})", "Write the quadmask to the channel R."
        )
    if chosen[1].type == "uint":
        raise header.source.error(
            f"its channel {chosen[1].name} holds integers", "Write the quadmask as half or float, 0 to 1."
        )
    return chosen[0], chosen[1].name


def _exr_values(header: MaskHeader, limits: Limits) -> npt.NDArray[Any]:
    source = header.source
    frame = read_frame(source.path, input=_INPUT, frame=source.frame, limits=limits)
    part, name = _exr_channel(frame.header)
    values: npt.NDArray[Any] = frame.channels[part][name]
    if values.shape != (header.window.height, header.window.width):
        raise source.error("the file changed while it was read", "Run the job again.")
    return values


def _open(source: FrameSource, limits: Limits) -> oiio.ImageInput:
    """Opens the image at its raw code values. OpenImageIO converts no colour, but it does unpremultiply."""
    try:
        check_size(source, os.stat(source.path).st_size, limits)
    except OSError as error:
        raise source.unreadable(error) from error
    config = oiio.ImageSpec()
    config.attribute("oiio:UnassociatedAlpha", 1)
    file = oiio.ImageInput.open(str(source.path), config)
    if file is None:
        reason = oiio.geterror().strip().splitlines()
        raise source.error(
            f"it cannot be read as an image ({reason[0] if reason else 'unknown format'})",
            "Write the quadmask as EXR, PNG or TIFF.",
        )
    return file


def _image_header(source: FrameSource, spec: oiio.ImageSpec, limits: Limits) -> MaskHeader:
    width, height, names = spec.width, spec.height, list(spec.channelnames)
    if width < 1 or height < 1 or spec.depth > 1:
        raise source.error(
            f"it is an image of {width}x{height}x{spec.depth}", "Write the quadmask as EXR, PNG or TIFF."
        )
    decoded = width * height * spec.nchannels * spec.format.basesize()
    if width * height > limits.max_pixels or decoded > limits.max_decoded_bytes or spec.nchannels > limits.max_channels:
        raise source.error(
            f"it is {width}x{height} pixels of {spec.nchannels} channels, which is over the limit",
            "Render it smaller, or with fewer channels.",
        )
    if str(spec.format) not in _TYPES:
        raise source.error(
            f"its values are {spec.format}", "Write the quadmask with 8 or 16 bits, or as half or float."
        )
    channel = "R" if "R" in names else names[0] if len(names) == 1 or names[0] == "Y" else ""
    if not channel:
        raise source.error(
            f"it has no channel R ({', '.join(names)})", "Write the quadmask as grey, or to the red channel."
        )
    return MaskHeader(source, Window(0, 0, width - 1, height - 1), None, None, channel)


def _image_values(header: MaskHeader, limits: Limits) -> npt.NDArray[Any]:
    source = header.source
    file = _open(source, limits)
    try:
        spec = file.spec()
        index = list(spec.channelnames).index(header.channel)
        values = file.read_image(0, 0, index, index + 1, _TYPES[str(spec.format)])
        if values is None or file.has_error:
            raise source.error(
                f"its pixels cannot be read ({file.geterror().strip()})",
                "The file is damaged or was being written: write this mask again.",
            )
    finally:
        file.close()
    plane: npt.NDArray[Any] = np.asarray(values)[..., 0]
    return plane


def _check_floats(header: MaskHeader, values: npt.NDArray[Any]) -> None:
    """Float masks are 0 to 1; anything else was meant otherwise."""
    finite = np.isfinite(values)
    if not finite.all():
        y, x = (int(value) for value in np.argwhere(~finite)[0])
        raise header.source.error(
            f"its channel {header.channel} holds {int((~finite).sum())} values that are NaN or infinite; the first is"
            f" {values[y, x]} at pixel x={x + header.window.x0}, y={y + header.window.y0} (from the top left)",
            "Write the quadmask again, with values from 0 to 1.",
            pixel=[x + header.window.x0, y + header.window.y0],
        )
    low, high = float(values.min()), float(values.max())
    if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
        raise header.source.error(
            f"its channel {header.channel} runs from {low:g} to {high:g}",
            "A float quadmask runs from 0 to 1: 0 remove, 0.247 overlap, 0.498 affected, 1 keep. "
            + ("Divide by 255." if low >= 0.0 and high > _CODES else "Clamp it."),
            low=low,
            high=high,
        )
