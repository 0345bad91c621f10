"""A movie's frames as display-referred RGB.

Promises: the matrix and the range are those of the movie's tags, applied here in float (swscale only brings chroma to
the luma's size); without tags what players take, and a note that says so. Frames come in order: asking for an earlier
one than before is an error of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from void_client.errors import EngineUnavailable, FrameError, InputError

from void_engine.interface import Window
from void_engine.looking.footage import Footage, Picture
from void_engine.looking.movie import unit
from void_engine.looking.view import Colour
from void_engine.plates.source import FrameSource

if TYPE_CHECKING:
    import av

# libav's AVColorSpace → (Kr, Kb): BT.709; BT.470BG and SMPTE 170M (BT.601); BT.2020.
_LUMA: Final = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
_FULL: Final = 2  # AVCOL_RANGE_JPEG
_HD: Final = 720  # lines, from which on untagged video is BT.709
_DAMAGED: Final = "The movie is damaged, or was being written: make it again."


class MovieFootage(Footage):
    """Frames are counted by position; `starts_at` gives them the numbers of what they are compared with."""

    kind = "movie"

    def __init__(self, name: str, text: str, path: Path) -> None:
        try:
            import av
        except ImportError:
            raise EngineUnavailable("Reading a movie needs PyAV.", hint="pip install av") from None
        self.name, self.text, self._path = name, text, path
        if not path.is_file():
            raise InputError(f"{name}: {path} is not there.", details={"input": f"clip {name}", "file": str(path)})
        try:
            with av.open(str(path)) as movie:
                if not movie.streams.video:
                    raise self._source(1).error("it holds no video", "Give a movie with pictures.")
                stream = movie.streams.video[0]
                width, height = stream.codec_context.width, stream.codec_context.height
                self.rate = float(stream.average_rate or 0)
                self.aspect = float(stream.sample_aspect_ratio or 1)
                space = int(stream.codec_context.colorspace)
                # Containers lie about the count, or leave it out; packets are counted without decoding.
                count = sum(1 for packet in movie.demux(stream) if packet.size)
        except av.FFmpegError as error:
            raise self._broken(1, error) from error
        if not count or width < 1 or height < 1:
            raise self._source(1).error("it holds no frames", _DAMAGED)
        self.display = Window(0, 0, width - 1, height - 1)
        self._luma = _LUMA.get(space, _LUMA[1] if height >= _HD else _LUMA[6])
        if space not in _LUMA:
            guess = "BT.709" if height >= _HD else "BT.601"
            self.notes = (f"{name}: {path.name} does not say how its colours are coded; taken as {guess}.",)
        self._frames: Iterator[Any] | None = None
        self._container: av.container.InputContainer | None = None
        self._next, self._count = 0, count
        self.starts_at(1)

    def starts_at(self, number: int) -> None:
        self._first = number
        self.numbers = tuple(range(number, number + self._count))

    def read(self, number: int) -> Picture:
        import av

        position = number - self._first
        if position < self._next:
            raise ValueError(f"a movie is read forwards: position {position} after {self._next - 1}")
        try:
            if self._frames is None:
                self._container = av.open(str(self._path))
                self._container.streams.video[0].thread_type = "AUTO"
                self._frames = self._container.decode(video=0)
            for frame in self._frames:
                self._next += 1
                if self._next > position:
                    return Picture(number, self.display, self._rgb(number, frame))
        except av.FFmpegError as error:
            raise self._broken(number, error) from error
        raise self._source(number).error(f"the movie ends after {self._next} of {self._count} frames", _DAMAGED)

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._frames = self._container = None

    def _rgb(self, number: int, frame: av.VideoFrame) -> Colour:
        if (frame.width, frame.height) != (self.display.width, self.display.height):
            raise self._source(number).error(f"it is {frame.width}x{frame.height}", "A clip has one format.")
        if frame.format.is_rgb or frame.format.name.startswith(("pal", "mono")):
            # Asked for another depth, swscale is a code off.
            deep = frame.format.components[0].bits > 8
            codes = np.asarray(frame.to_ndarray(format="rgb48le" if deep else "rgb24"))
            return unit(codes)
        full = frame.color_range == _FULL or frame.format.name.startswith("yuvj")
        span = "JPEG" if full else "MPEG"
        even = frame.reformat(format="yuv444p16le", src_color_range=span, dst_color_range=span)
        planes = [
            np.frombuffer(memoryview(plane), np.uint16).reshape(plane.height, plane.line_size // 2)[:, : plane.width]
            for plane in even.planes
        ]
        yuv = np.stack(planes, axis=-1).astype(np.float32)
        bits = frame.format.components[0].bits if full else 0
        return np.clip(cv2.transform(yuv, from_yuv(self._luma, bits)), 0.0, 1.0)

    def _source(self, number: int) -> FrameSource:
        return FrameSource(self.input, number, self._path)

    def _broken(self, number: int, error: av.FFmpegError) -> FrameError:
        return self._source(number).error(f"the movie cannot be read ({error.strerror})", _DAMAGED)


def from_yuv(luma: tuple[float, float], full_bits: int = 0) -> npt.NDArray[np.float64]:
    """(3, 4): 16-bit codes of Y', Cb, Cr and 1 to R', G', B' (0 to 1).

    ``full_bits``: of how many bits full-range codes were before they were shifted up to 16; 0 is video range.
    """
    kr, kb = luma
    kg = 1 - kr - kb
    rgb = np.array(
        [[1, 0, 2 * (1 - kr)], [1, -2 * (1 - kb) * kb / kg, -2 * (1 - kr) * kr / kg], [1, 2 * (1 - kb), 0]], np.float64
    )
    scale, black = np.array([219.0, 224.0, 224.0]) * 256, 16.0 * 256
    if full_bits:
        scale, black = np.full(3, (2.0**full_bits - 1) * 2.0 ** (16 - full_bits)), 0.0
    rows = rgb / scale
    return np.column_stack([rows, -rows @ np.array([black, 32768.0, 32768.0])])
