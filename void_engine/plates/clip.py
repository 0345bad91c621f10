"""A shot on disk as an engine sees it.

Promises: everything wrong with the shot's headers is found when the clip is made, not hours later; frames are decoded
when asked for, and held in a bounded cache, so that memory does not grow with the clip. Must not: hold file handles.
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
from void_client.errors import FrameError

from void_engine.interface import RGB, Quadmask, Valid, Window
from void_engine.plates.frames import PlateFrame, read_frame
from void_engine.plates.header import PlateHeader, read_header
from void_engine.plates.limits import DEFAULT_LIMITS, Limits
from void_engine.plates.sequence import check_sequence
from void_engine.quadmask import check_range, read_mask, read_mask_header, resolve_supplied

DEFAULT_CACHE_BYTES: Final = 2 << 30
NumberedFile = tuple[int, Path]
_Array = TypeVar("_Array", bound=npt.NDArray[Any])


class ArrayCache:
    """The arrays used last, up to a number of bytes; one that is larger than that is not held at all."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._arrays: OrderedDict[Hashable, npt.NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        return self._bytes

    def get(self, key: Hashable, make: Callable[[], _Array]) -> _Array:
        """The array of ``key``, made where it is not held; read-only, since others get the same one."""
        with self._lock:
            held = self._arrays.get(key)
            if held is not None:
                self._arrays.move_to_end(key)
                return held  # type: ignore[return-value]  # a key always stands for one kind of array
        array = make()
        array.setflags(write=False)
        with self._lock:
            if key not in self._arrays and array.nbytes <= self._max_bytes:
                self._arrays[key] = array
                self._bytes += array.nbytes
            while self._bytes > self._max_bytes:
                self._bytes -= self._arrays.popitem(last=False)[1].nbytes
        return array


class FileClip:
    """``void_engine.interface.Clip`` from files: ``(frame number, path)`` for the plate and the supplied quadmask.

    Without a quadmask (None) one is to be worked out: see `with_quadmask`.

    The canvas is the union of the plate frames' data windows. ``layer`` is the plate's layer to work on (see
    ``void_engine.plates.header``). ``cache_bytes`` bounds what is held decoded. Safe to share between threads.

    Raises ``FrameError`` for the first frame that is wrong, in either input; ``ValueError`` for no frames.
    """

    def __init__(
        self,
        plate: Sequence[NumberedFile],
        quadmask: Sequence[NumberedFile] | None,
        *,
        layer: str = "",
        limits: Limits = DEFAULT_LIMITS,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        self._plate = _numbered("plate", plate)
        self._masks = _numbered("quadmask", quadmask or ())
        self._worked_out: Callable[[int], Quadmask] | None = None
        self._to_light: Callable[[RGB], RGB] | None = None
        self._numbers = tuple(self._plate)
        if not self._numbers:
            raise ValueError("a clip has one frame or more")
        self._layer, self._limits = layer, limits
        self._cache = ArrayCache(cache_bytes)
        self._headers = [read_header(path, frame=number, limits=limits) for number, path in self._plate.items()]
        check_sequence(self._headers, layer)
        self._windows = [header.data_window(layer) for header in self._headers]
        self._canvas = reduce(Window.union, self._windows)
        _check_canvas(self._headers[0], self._canvas, limits)
        for number in self._numbers if quadmask is not None else ():
            if number not in self._masks:
                raise _missing_mask(number)
            header = read_mask_header(self._masks[number], frame=number, limits=limits)
            header.check_fits(self._headers[0].display_window)

    def with_quadmask(self, worked_out: Callable[[int], Quadmask]) -> FileClip:
        """The same clip with this quadmask, by position, on the canvas. What is decoded is shared."""
        other = copy.copy(self)
        other._worked_out = worked_out
        return other

    def with_light(self, to_light: Callable[[RGB], RGB]) -> FileClip:
        """The same clip whose ``plate`` is brought from the working space to light; ``frame`` stays as it is."""
        other = copy.copy(self)
        other._to_light = to_light
        return other

    @property
    def numbers(self) -> tuple[int, ...]:
        """Plate frame numbers, ascending."""
        return self._numbers

    @property
    def canvas(self) -> Window:
        return self._canvas

    @property
    def pixel_aspect(self) -> float:
        """The width of a pixel by its height; the same in all frames."""
        return self._headers[0].pixel_aspect

    @property
    def frame_rate(self) -> float:
        """Frames a second, as the first frame's header says; 0.0 where it does not."""
        return self._headers[0].frame_rate

    def header(self, position: int) -> PlateHeader:
        """The plate frame's header, as it was when the clip was made."""
        return self._headers[position]

    def window(self, position: int) -> Window:
        """The frame's data window, of the chosen layer; it lies inside the canvas."""
        return self._windows[position]

    def frame(self, position: int) -> PlateFrame:
        """The whole plate frame, every channel as stored; decoded anew, not held. Raises ``FrameError``."""
        number = self._numbers[position]
        frame = read_frame(self._plate[number], frame=number, limits=self._limits)
        if frame.header.parts != self._headers[position].parts:
            raise frame.header.source.error("the file changed while the job ran", "Run the job again.")
        return frame

    def plate(self, position: int) -> RGB:
        """float32 (H, W, 3) on the canvas, light where `with_light` said how; 0 where the frame has no pixels.

        Raises ``FrameError``.
        """
        return self._cache.get(("plate", self._to_light, position), lambda: self._read_plate(position))

    def valid(self, position: int) -> Valid:
        """(H, W), True inside the frame's own data window."""
        window = self._windows[position]
        return self._cache.get(("valid", window), lambda: _inside(window, self._canvas))

    def quadmask(self, position: int) -> Quadmask:
        """The quadmask, supplied (quantised) or worked out, on the canvas. Raises ``FrameError``."""
        return self._cache.get(("quadmask", self._worked_out, position), lambda: self._read_mask(position))

    def check_quadmask(self) -> None:
        """Raises ``MaskError`` where no frame has a pixel to remove; reads masks until one has."""
        check_range(self.quadmask(position) for position in range(len(self._numbers)))

    def _read_plate(self, position: int) -> RGB:
        frame = self.frame(position)
        window = self._windows[position]
        colour = frame.rgb(self._layer)
        if self._to_light is not None:
            colour = self._to_light(colour)
        if window == self._canvas:
            return colour
        placed = np.zeros((self._canvas.height, self._canvas.width, 3), np.float32)
        placed[window.slices_in(self._canvas)] = colour
        return placed

    def _read_mask(self, position: int) -> Quadmask:
        if self._worked_out is not None:
            return self._worked_out(position)
        number = self._numbers[position]
        mask = read_mask(self._masks[number], frame=number, limits=self._limits)
        display = self._headers[position].display_window
        mask.header.check_fits(display)
        return resolve_supplied(mask.levels, mask.header.window_on(display), self._canvas)


def _numbered(which: str, files: Sequence[NumberedFile]) -> dict[int, Path]:
    """By ascending number. A number that comes twice is an error: one of the files would vanish."""
    found: dict[int, Path] = {}
    for number, path in sorted(files, key=lambda item: item[0]):
        if number in found:
            raise FrameError(
                f"The {which}'s frame {number} is there twice: {found[number]} and {path}.",
                hint="Check the file pattern.",
                details={"input": which, "frame": number, "file": str(path)},
            )
        found[number] = Path(path)
    return found


def _check_canvas(header: PlateHeader, canvas: Window, limits: Limits) -> None:
    """Small windows that lie far apart make a large canvas."""
    if canvas.width * canvas.height > limits.max_pixels:
        raise header.source.error(
            f"the union of the plate's data windows is {canvas.width}x{canvas.height} pixels, over the limit",
            "Crop the plate to its format.",
        )


def _missing_mask(number: int) -> FrameError:
    return FrameError(
        f"The quadmask's frame {number} is missing: the plate has it.",
        hint="Write the quadmask over the plate's whole range; an all-white (255) frame removes nothing.",
        details={"input": "quadmask", "frame": number},
    )


def _inside(window: Window, canvas: Window) -> Valid:
    inside = np.zeros((canvas.height, canvas.width), np.bool_)
    inside[window.slices_in(canvas)] = True
    return inside
