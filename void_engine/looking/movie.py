"""Review movies: display-referred RGB frames into H.264 or ProRes, with colour tags that are true.

Promises: the matrix is BT.709 and is ours (swscale, which PyAV would ask, takes BT.601 unless told otherwise); the file
has its name only when it is whole; position i of the movie is the i-th frame (no B-frames, no edit list to skip).
Must not: convert scene-linear light, scale pictures, or know what is shown.

**Tags.** Primaries BT.709, matrix BT.709, video range, and the transfer that the pixels were really encoded with: sRGB
(IEC 61966-2-1), written into the stream and the container (``colr``: 1-13-1). The usual 1-1-1 says that the pixels are
camera-encoded BT.709: players that manage colour (QuickTime, Safari, RV) then undo another curve than was applied, and
the shadows look lifted. In Nuke, sRGB is the Read's colour space for these pixels. None of them was at hand to try.
``transfer="bt709"`` is there for whoever must deliver 1-1-1: it changes the tag, not the pixels.

**Odd sizes** are padded to even ones by repeating the last column or row (4:2:0 and 4:2:2 need it): nothing is cut off,
and pixel (0, 0) stays where it is.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from void_client.errors import EngineUnavailable, InputError

from void_engine.atomic import write_error

if TYPE_CHECKING:
    import av

Pixels = npt.NDArray[Any]  # (H, W, 3) display-referred RGB: uint8, uint16, or float 0 to 1
Plane = npt.NDArray[np.float32]
Size = tuple[int, int]  # width, height

TRANSFERS: Final = {"srgb": 13, "bt709": 1}  # ISO/IEC 23091-2 code points
_BT709, _VIDEO_RANGE = 1, 1  # the same in primaries and matrix; libav's AVCOL_RANGE_MPEG
_KR, _KB = 0.2126, 0.0722  # BT.709's luma
_FASTEST: Final = 1000
_NTSC_NEAR: Final = 0.005  # 23.98 and 23.976 mean 24000/1001
_turn = itertools.count()


@dataclass(frozen=True)
class Codec:
    """``sampling``: chroma samples by (width, height) of the luma's, as divisors. ``profile``: libav's option."""

    encoder: str
    container: str
    pixel_format: str
    bits: int
    sampling: tuple[int, int]
    options: dict[str, str]

    @property
    def suffix(self) -> str:
        return f".{self.container}"


# crf 14 is beyond what eyes tell apart at 8 bits; a key frame each half second, so that scrubbing is quick.
_H264: Final = {"crf": "14", "preset": "medium", "bf": "0", "g": "12"}
CODECS: Final = {
    "h264": Codec("libx264", "mp4", "yuv420p", 8, (2, 2), _H264),
    "prores": Codec("prores_ks", "mov", "yuv422p10le", 10, (2, 1), {"profile": "hq", "vendor": "apl0"}),
    "prores4444": Codec("prores_ks", "mov", "yuv444p10le", 10, (1, 1), {"profile": "4444", "vendor": "apl0"}),
}


@dataclass(frozen=True)
class Movie:
    """A movie that was written. ``size`` is the stream's, even in both directions."""

    path: Path
    size: Size
    frames: int
    fps: Fraction


def choose_codec(name: str) -> Codec:
    """Raises ``InputError`` for an unknown name, ``EngineUnavailable`` where PyAV or its encoder is not here."""
    if name not in CODECS:
        raise InputError(f"There is no movie codec {name!r}.", hint=f"There are: {', '.join(CODECS)}.")
    codec = CODECS[name]
    try:
        import av
    except ImportError:
        raise EngineUnavailable("Movies need PyAV, which is not installed.", hint="pip install av") from None
    try:
        av.codec.Codec(codec.encoder, "w")
    except av.codec.codec.UnknownCodecError:
        raise EngineUnavailable(
            f"This PyAV ({av.__version__}) has no encoder {codec.encoder}, which {name} needs.",
            hint="The wheels of PyPI have it: pip install --force-reinstall --only-binary=:all: av",
        ) from None
    return codec


def frame_rate(value: Fraction | float | str) -> Fraction:
    """An exact rate: 24, 12.5, "24000/1001"; a float near an NTSC rate (23.976, 29.97) is that rate.

    Raises ``InputError`` for what is no rate between 0 and 1000.
    """
    try:
        rate = Fraction(value)
    except (ValueError, OverflowError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= _FASTEST:
        raise InputError(f"{value!r} is not a frame rate.", hint='Write 24, 23.976 or "24000/1001".')
    ntsc = Fraction(round(rate * Fraction(1001, 1000)) * 1000, 1001)
    if rate.denominator > 1 and abs(rate - ntsc) < _NTSC_NEAR:
        return ntsc
    return rate.limit_denominator(1001)


def write_movie(
    path: Path,
    frames: Iterable[Pixels],
    fps: Fraction | float | str,
    *,
    codec: str = "h264",
    size: Size | None = None,
    transfer: str = "srgb",
    check: Callable[[], None] | None = None,
) -> Movie:
    """Writes all ``frames`` as the movie ``path``; its folder must be there. Memory holds one frame.

    ``frames``: (H, W, 3) RGB as a display gets it: uint8, uint16, or float 0 to 1 (cut there); all of one size, which
    is ``size`` (width, height) where that is given. ``check`` is called before each frame: what it raises
    (``Cancelled``) ends the movie and leaves no file. Raises ``ValueError`` for no frames or a frame of another size,
    ``EngineUnavailable``, ``InputError``, ``DiskFull``.
    """
    with MovieWriter(path, fps, codec=codec, size=size, transfer=transfer) as movie:
        for frame in frames:
            if check is not None:
                check()
            movie.add(frame)
        return movie.finish()


class MovieWriter:
    """A movie, frame by frame; for when several are written at once. Left without `finish`, there is no file."""

    def __init__(
        self,
        path: Path,
        fps: Fraction | float | str,
        *,
        codec: str = "h264",
        size: Size | None = None,
        transfer: str = "srgb",
    ) -> None:
        self._codec = choose_codec(codec)
        if transfer not in TRANSFERS:
            raise ValueError(f"no transfer {transfer!r}; there are {', '.join(TRANSFERS)}")
        self._transfer = TRANSFERS[transfer]
        self._rate = frame_rate(fps)
        self._path = Path(os.path.abspath(path))  # absolute: libav would take "a:b.mp4" for a protocol
        self._temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}-{next(_turn)}.tmp")
        self._size = size
        self._count = 0
        self._container: av.container.OutputContainer | None = None
        self._stream: Any = None

    def __enter__(self) -> MovieWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None) -> None:
        self._give_up()

    def add(self, pixels: Pixels) -> None:
        """The next frame. Raises as `write_movie`."""
        shape = (pixels.shape[1], pixels.shape[0]) if pixels.ndim == 3 and pixels.shape[2] == 3 else None
        if shape is None or shape != (self._size or shape) or 0 in shape:
            raise ValueError(f"a frame of this movie is (H, W, 3) RGB at {self._size}; got {pixels.shape}")
        self._size = shape
        with _told(self._path):
            if self._stream is None:
                self._open(shape)
            frame = self._frame(_planes(pixels, self._codec))
            self._container_open.mux(self._stream.encode(frame))
        self._count += 1

    def finish(self) -> Movie:
        """The file gets its name. Raises as `write_movie`."""
        if self._container is None or self._size is None:
            raise ValueError("a movie has one frame or more")
        with _told(self._path):
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._container = None
            _sync(self._temporary)
            os.replace(self._temporary, self._path)
        return Movie(self._path, _even(self._size), self._count, self._rate)

    @property
    def _container_open(self) -> av.container.OutputContainer:
        assert self._container is not None
        return self._container

    def _open(self, size: Size) -> None:
        import av

        # faststart: the index comes first, so that a browser plays before it has the whole file.
        flags = {"movflags": "+faststart"}
        self._container = av.open(str(self._temporary), "w", format=self._codec.container, options=flags)
        self._stream = self._container.add_stream(self._codec.encoder, rate=self._rate, options=self._codec.options)
        self._stream.width, self._stream.height = _even(size)
        self._stream.pix_fmt = self._codec.pixel_format
        context = self._stream.codec_context
        context.color_primaries, context.colorspace, context.color_range = _BT709, _BT709, _VIDEO_RANGE
        context.color_trc = self._transfer

    def _frame(self, planes: tuple[npt.NDArray[Any], ...]) -> av.VideoFrame:
        import av

        width, height = planes[0].shape[1], planes[0].shape[0]
        frame = av.VideoFrame(width, height, self._codec.pixel_format)
        for plane, values in zip(frame.planes, planes, strict=True):
            rows = np.frombuffer(memoryview(plane), values.dtype).reshape(
                plane.height, plane.line_size // values.itemsize
            )
            rows[:, : values.shape[1]] = values
        # ProRes writes the tags of the frame into each frame's header, not the stream's.
        frame.color_primaries, frame.colorspace, frame.color_range = _BT709, _BT709, _VIDEO_RANGE
        frame.color_trc = self._transfer
        frame.pts, frame.time_base = self._count, 1 / self._rate
        return frame

    def _give_up(self) -> None:
        """After `finish` there is nothing left to do."""
        container, self._container = self._container, None
        if container is not None:
            import av

            # It may refuse to close for the very reason (a full disk) that is already being told.
            with suppress(av.FFmpegError, OSError):
                container.close()
        self._temporary.unlink(missing_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """libav's refusals as ours: a full disk, a folder that is not there, a picture that the encoder does not take."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        raise write_error(path, OSError(error.errno, error.strerror)) from error
    except OSError as error:
        raise write_error(path, error) from error


def _even(size: Size) -> Size:
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _planes(pixels: Pixels, codec: Codec) -> tuple[npt.NDArray[Any], ...]:
    """Y', Cb, Cr in video range codes of the codec's depth, chroma at its size."""
    rgb = unit(pixels)
    height, width = rgb.shape[:2]
    if width % 2 or height % 2:
        rgb = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    codes = np.asarray(cv2.transform(rgb, to_yuv(codec.bits)), np.float32)
    luma, *chroma = (np.ascontiguousarray(codes[..., index]) for index in range(3))
    whole = np.uint8 if codec.bits == 8 else np.uint16
    return tuple(np.rint(plane).astype(whole) for plane in (luma, *(_sampled(c, codec.sampling) for c in chroma)))


def unit(pixels: Pixels) -> npt.NDArray[np.float32]:
    """uint8 or uint16 codes, or floats, as float32 0 to 1; NaN is 0."""
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    if not np.issubdtype(pixels.dtype, np.floating):
        raise ValueError(f"a frame is uint8, uint16 or float, not {pixels.dtype}")
    return np.clip(np.nan_to_num(pixels.astype(np.float32)), 0.0, 1.0)


def to_yuv(bits: int) -> npt.NDArray[np.float64]:
    """(3, 4): R', G', B' (0 to 1) and 1 to the codes of Y', Cb, Cr in video range, BT.709."""
    luma = np.array([_KR, 1 - _KR - _KB, _KB])
    blue = (np.array([0.0, 0.0, 1.0]) - luma) / (2 * (1 - _KB))
    red = (np.array([1.0, 0.0, 0.0]) - luma) / (2 * (1 - _KR))
    step = 2.0 ** (bits - 8)
    rows = np.stack([luma * 219, blue * 224, red * 224]) * step
    return np.column_stack([rows, np.array([16.0, 128.0, 128.0]) * step])


def _sampled(plane: Plane, sampling: tuple[int, int]) -> Plane:
    """Chroma at its place: level with the even columns (MPEG's siting, which players assume), between two rows."""
    if sampling[0] == 2:
        odd = plane[:, 1::2]
        before = np.concatenate([plane[:, :1], odd[:, :-1]], axis=1)
        plane = 0.5 * plane[:, 0::2] + 0.25 * (odd + before)
    if sampling[1] == 2:
        plane = 0.5 * (plane[0::2] + plane[1::2])
    return plane
