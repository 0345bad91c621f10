"""Where the result was allowed to change: a matte (white is inside) or a quadmask (255 is outside), frame by frame.

Promises: any value over 0 of a matte, and anything but keep of a quadmask, is inside; what lies outside the file's data
window is outside the matte. Must not: guess which of the two a file is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from void_client.errors import InputError
from void_client.sequence import FramePattern

from void_engine.interface import KEEP, Mask, Window
from void_engine.looking.footage import read_codes, words
from void_engine.looking.view import placed
from void_engine.plates import read_frame
from void_engine.plates.source import FrameSource
from void_engine.quadmask import read_mask

MATTE, QUADMASK = "matte", "quadmask"


@dataclass(frozen=True)
class Mattes:
    """``kind``: "matte" or "quadmask". ``display``: the clips' display window, which the matte's must equal."""

    kind: str
    pattern: FramePattern
    display: Window

    @classmethod
    def open(cls, kind: str, text: str, display: Window) -> Mattes:
        """Raises ``JobError`` (no pattern), ``InputError`` (no files)."""
        pattern = FramePattern.parse(text, Path.cwd())
        if not pattern.frames_on_disk():
            raise InputError(
                f"The {kind} has no frames: nothing matches {text!r}.",
                hint="Check the path and the pattern.",
                details={"input": kind, "file": text},
            )
        return cls(kind, pattern, display)

    def inside(self, number: int, canvas: Window) -> Mask:
        """(H, W) on ``canvas``. Raises ``FrameError``."""
        path = self.pattern.path(number)
        if self.kind == QUADMASK:
            mask = read_mask(path, frame=number)
            mask.header.check_fits(self.display)
            window, inside = mask.header.window_on(self.display), mask.levels != KEEP
        else:
            window, inside = self._matte(FrameSource(MATTE, number, path))
        return placed(inside.astype(np.float32), window, canvas) > 0

    def _matte(self, source: FrameSource) -> tuple[Window, Mask]:
        values, names, window, display = _values(source)
        if (display.width, display.height) != (self.display.width, self.display.height):
            raise source.error(
                f"it is {words(display)}, the clips are {words(self.display)}", "Reformat it to their format."
            )
        wanted = next((name for name in ("A", "alpha", "R", "r") if name in names), names[0] if len(names) == 1 else "")
        if not wanted:
            raise source.error(f"it has neither alpha nor R ({', '.join(names)})", "Write the matte to alpha or to R.")
        x, y = self.display.x0 - display.x0, self.display.y0 - display.y0
        moved = Window(window.x0 + x, window.y0 + y, window.x1 + x, window.y1 + y)
        plane: Mask = values[wanted] > 0
        return moved, plane


def _values(source: FrameSource) -> tuple[dict[str, npt.NDArray[Any]], list[str], Window, Window]:
    """The planes by name, the names, data window and display window."""
    if source.path.suffix.lower() == ".exr":
        frame = read_frame(source.path, input=source.input, frame=source.frame)
        header = frame.header
        return dict(frame.channels[0]), list(frame.channels[0]), header.parts[0].data_window, header.display_window
    pixels, names = read_codes(source)
    window = Window(0, 0, pixels.shape[1] - 1, pixels.shape[0] - 1)
    return {name: pixels[..., index] for index, name in enumerate(names)}, names, window, window
