"""Review movies: colours that come home, true tags, odd sizes, and no half file."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from void_client.errors import Cancelled, EngineUnavailable, InputError

from void_engine.looking.decode import MovieFootage
from void_engine.looking.movie import CODECS, MovieWriter, frame_rate, write_movie

COLOURS = [(r, g, b) for top in (255, 191, 64) for r in (0, top) for g in (0, top) for b in (0, top)]
COLOURS += [(grey,) * 3 for grey in range(0, 256, 17)] + [(200, 120, 60), (224, 172, 150), (30, 60, 200), (255, 128, 0)]
PATCH = 32


def bars() -> np.ndarray:
    rows = -(-len(COLOURS) // 8)
    picture = np.zeros((rows * PATCH, 8 * PATCH, 3), np.uint8)
    for index, colour in enumerate(COLOURS):
        y, x = divmod(index, 8)
        picture[y * PATCH : (y + 1) * PATCH, x * PATCH : (x + 1) * PATCH] = colour
    return picture


def patches(picture: np.ndarray) -> np.ndarray:
    """The middle of each patch, averaged."""
    middles = []
    for index in range(len(COLOURS)):
        y, x = (place * PATCH for place in divmod(index, 8))
        middles.append(picture[y + 10 : y + 22, x + 10 : x + 22].reshape(-1, 3).mean(axis=0))
    return np.array(middles)


def planes(path: Path, position: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """What the decoder gives, before anybody's colour conversion: Y, Cb, Cr at full size, and the bits."""
    with av.open(str(path)) as movie:
        frame = list(movie.decode(video=0))[position]
    bits = frame.format.components[0].bits
    whole = np.uint8 if bits == 8 else np.uint16
    found = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, whole).reshape(plane.height, plane.line_size // np.dtype(whole).itemsize)
        rows = rows[:, : plane.width].astype(np.float64)
        found.append(rows.repeat(frame.height // plane.height, 0).repeat(frame.width // plane.width, 1))
    return found[0], found[1], found[2], bits


def by_the_book(path: Path, red: float, blue: float, position: int = 0) -> np.ndarray:
    """R'G'B' in codes of 255 by the textbook's formulas, from luma weights of red and blue."""
    y, cb, cr, bits = planes(path, position)
    unit = 2.0 ** (bits - 8)
    y, cb, cr = (y / unit - 16) / 219, (cb / unit - 128) / 224, (cr / unit - 128) / 224
    r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
    g = (y - red * r - blue * b) / (1 - red - blue)
    return np.clip(np.stack([r, g, b], axis=-1), 0, 1) * 255


@pytest.mark.parametrize(("codec", "codes"), [("h264", 2.0), ("prores", 1.0), ("prores4444", 1.0)])
def test_colours_come_home_through_the_bt709_matrix(codec: str, codes: float, tmp_path: Path) -> None:
    path = tmp_path / f"bars{CODECS[codec].suffix}"
    write_movie(path, [bars()] * 3, 24, codec=codec)
    wanted = np.array(COLOURS, np.float64)
    home = patches(by_the_book(path, 0.2126, 0.0722, position=1))
    assert np.abs(home - wanted).max() <= codes
    # The other matrix, which swscale takes unless told otherwise, would be seen at once.
    assert np.abs(patches(by_the_book(path, 0.299, 0.114, position=1)) - wanted).max() > 15
    # swscale, as players use it, obeys the tags; its fast path is good to a few codes.
    with av.open(str(path)) as movie:
        players = next(movie.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(patches(players) - wanted).max() <= 5
    ours = MovieFootage("A", str(path), path)
    assert np.abs(patches(ours.read(2).stored * 255) - wanted).max() <= codes
    ours.close()


@pytest.mark.parametrize(("transfer", "code"), [("srgb", 13), ("bt709", 1)])
@pytest.mark.parametrize(
    ("codec", "atom"), [("h264", b"colrnclx"), ("prores", b"colrnclc"), ("prores4444", b"colrnclc")]
)
def test_the_tags_are_in_stream_frame_and_container(
    codec: str, atom: bytes, transfer: str, code: int, tmp_path: Path
) -> None:
    path = tmp_path / f"m{CODECS[codec].suffix}"
    write_movie(path, [np.full((32, 48, 3), 90, np.uint8)], 24, codec=codec, transfer=transfer)
    with av.open(str(path)) as movie:
        stream = movie.streams.video[0]
        context = stream.codec_context
        frame = next(movie.decode(stream))
        assert context.name == ("h264" if codec == "h264" else "prores")
        assert context.profile == {"h264": "High", "prores": "HQ", "prores4444": "4444"}[codec]
        for tagged in (context, frame):
            tags = tagged.color_primaries, tagged.color_trc, int(tagged.colorspace), int(tagged.color_range)
            assert tags == (1, code, 1, 1)
    data = path.read_bytes()
    place = data.index(atom) + len(atom)
    assert data[place : place + 6] == bytes([0, 1, 0, code, 0, 1])
    assert data.index(b"moov") < data.index(b"mdat"), "the index comes first"


def test_eight_and_sixteen_bits_and_floats_are_the_same_picture(tmp_path: Path) -> None:
    picture = bars()
    kinds = [picture, picture.astype(np.uint16) * 257, picture.astype(np.float32) / 255, picture / 255.0]
    write_movie(tmp_path / "all.mov", kinds, 24, codec="prores")
    first = by_the_book(tmp_path / "all.mov", 0.2126, 0.0722, 0)
    for position in (1, 2, 3):
        assert np.array_equal(by_the_book(tmp_path / "all.mov", 0.2126, 0.0722, position), first)


def test_floats_beyond_the_display_are_cut(tmp_path: Path) -> None:
    picture = np.zeros((16, 32, 3), np.float32)
    picture[:, 16:] = 30.0
    picture[0, 0] = np.nan
    picture[8:, :16] = -2.0
    write_movie(tmp_path / "m.mov", [picture], 24, codec="prores")
    home = by_the_book(tmp_path / "m.mov", 0.2126, 0.0722)
    assert home[4, 28].min() > 254
    assert home[4, 4].max() < 1


@pytest.mark.parametrize("codec", list(CODECS))
@pytest.mark.parametrize("size", [(33, 17), (32, 17), (33, 18), (1, 1), (2, 2)])
def test_odd_sizes_gain_a_column_or_a_row(codec: str, size: tuple[int, int], tmp_path: Path) -> None:
    width, height = size
    ramp = np.linspace(20, 230, max(2, width))[:width]
    picture = np.repeat(np.repeat(ramp[None, :, None], height, 0), 3, 2).astype(np.uint8)
    path = tmp_path / f"m{CODECS[codec].suffix}"
    movie = write_movie(path, [picture] * 2, 24, codec=codec)
    assert movie.size == (width + width % 2, height + height % 2)
    home = by_the_book(path, 0.2126, 0.0722)
    assert home.shape[:2] == (movie.size[1], movie.size[0])
    assert np.abs(home[:height, :width] - picture).max() <= 6
    if width % 2:
        assert np.abs(home[:, -1] - picture[0, -1]).max() <= 6


@pytest.mark.parametrize("codec", ["h264", "prores"])
@pytest.mark.parametrize(
    ("given", "rate"),
    [
        ("24000/1001", Fraction(24000, 1001)),
        (23.976, Fraction(24000, 1001)),
        (23.98, Fraction(24000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (12.5, Fraction(25, 2)),
        (Fraction(24), Fraction(24)),
        (120, Fraction(120)),
        (1, Fraction(1)),
    ],
)
def test_frame_rates_are_exact(codec: str, given: Fraction | float | str, rate: Fraction, tmp_path: Path) -> None:
    path = tmp_path / f"m{CODECS[codec].suffix}"
    written = write_movie(path, [np.full((16, 16, 3), 100, np.uint8)] * 4, given, codec=codec)
    assert (written.fps, written.frames) == (rate, 4)
    with av.open(str(path)) as movie:
        stream = movie.streams.video[0]
        assert stream.average_rate == rate
        assert float(stream.duration * stream.time_base) == pytest.approx(float(4 / rate), rel=1e-3)
        times = [frame.pts * frame.time_base for frame in movie.decode(stream)]
    assert times == pytest.approx([float(i / rate) for i in range(4)], abs=1e-3)


@pytest.mark.parametrize("value", [0, -24, 1001, "fast", "24/0", float("nan"), float("inf"), ""])
def test_what_is_no_frame_rate_is_refused(value: float | str) -> None:
    with pytest.raises(InputError, match="frame rate"):
        frame_rate(value)


@pytest.mark.parametrize("codec", ["h264", "prores"])
@pytest.mark.parametrize("count", [1, 30])
def test_every_frame_is_at_its_position(codec: str, count: int, tmp_path: Path) -> None:
    path = tmp_path / f"m{CODECS[codec].suffix}"
    greys = [20 + 7 * i for i in range(count)]
    write_movie(path, (np.full((32, 32, 3), grey, np.uint8) for grey in greys), 24, codec=codec)
    footage = MovieFootage("B", str(path), path)
    assert footage.numbers == tuple(range(1, count + 1))
    seen = [float(footage.read(number).stored.mean() * 255) for number in footage.numbers]
    footage.close()
    assert seen == pytest.approx(greys, abs=1.5)


def frames_that_fail(error: BaseException) -> Iterator[np.ndarray]:
    yield from [np.full((64, 64, 3), 50, np.uint8)] * 3
    raise error


@pytest.mark.parametrize("codec", ["h264", "prores"])
@pytest.mark.parametrize("error", [RuntimeError("decoder"), KeyboardInterrupt(), Cancelled("now")])
def test_no_half_file_after_an_exception(codec: str, error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / f"m{CODECS[codec].suffix}"
    path.write_bytes(b"the one before")
    with pytest.raises(type(error)):
        write_movie(path, frames_that_fail(error), 24, codec=codec)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [(path.name, b"the one before")]


def test_cancelling_leaves_nothing(tmp_path: Path) -> None:
    calls = iter(range(10))

    def check() -> None:
        if next(calls) == 2:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        write_movie(tmp_path / "m.mp4", [np.zeros((32, 32, 3), np.uint8)] * 5, 24, check=check)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_is_left_early_leaves_nothing(tmp_path: Path) -> None:
    with MovieWriter(tmp_path / "m.mp4", 24) as movie:
        movie.add(np.zeros((32, 32, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("frames", "size", "words"),
    [
        ([], None, "one frame or more"),
        ([np.zeros((16, 16), np.uint8)], None, "RGB"),
        ([np.zeros((16, 16, 4), np.uint8)], None, "RGB"),
        ([np.zeros((0, 16, 3), np.uint8)], None, "RGB"),
        ([np.zeros((16, 16, 3), np.int32)], None, "uint8"),
        ([np.zeros((16, 16, 3), np.uint8), np.zeros((16, 18, 3), np.uint8)], None, "16, 16"),
        ([np.zeros((16, 16, 3), np.uint8)], (18, 16), "18, 16"),
    ],
)
def test_frames_that_are_none_are_refused(
    frames: list[np.ndarray], size: tuple[int, int] | None, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        write_movie(tmp_path / "m.mp4", frames, 24, size=size)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_movie(tmp_path / "nowhere" / "m.mp4", [np.zeros((16, 16, 3), np.uint8)], 24)


@pytest.mark.parametrize("codec", ["h264", "prores"])
@pytest.mark.parametrize("room", [2_000, 200_000, 1_000_000])
def test_no_half_file_where_there_is_no_room(codec: str, room: int, tmp_path: Path) -> None:
    """A limit on files' sizes stands in for a full disk: it refuses in the middle, or only at the end."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 180, 320, 3), np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(InputError, match=r"m\.movie cannot be written"):
            write_movie(tmp_path / "m.movie", noise, 24, codec=codec)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_name_with_a_colon_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_movie(Path("http:odd%04d.mp4"), [np.zeros((16, 16, 3), np.uint8)], 24)
    assert [path.name for path in tmp_path.iterdir()] == ["http:odd%04d.mp4"]


def test_an_unknown_codec_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="prores"):
        write_movie(tmp_path / "m.mp4", [], 24, codec="av1")


def test_an_encoder_that_this_build_lacks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str, mode: str) -> None:
        raise av.codec.codec.UnknownCodecError(name)

    monkeypatch.setattr(av.codec, "Codec", none)
    with pytest.raises(EngineUnavailable, match="libx264") as told:
        write_movie(tmp_path / "m.mp4", [np.zeros((16, 16, 3), np.uint8)], 24)
    assert "pip install" in told.value.hint


def test_without_pyav_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(EngineUnavailable, match="PyAV"):
        write_movie(tmp_path / "m.mp4", [np.zeros((16, 16, 3), np.uint8)], 24)


@pytest.mark.parametrize(
    ("pixel_format", "codes", "space", "full", "rgb"),
    [
        ("yuv420p", (255, 128, 128), 1, True, (255, 255, 255)),
        ("yuv420p", (16, 128, 128), 1, False, (0, 0, 0)),
        ("yuv444p", (54, 99, 255), 1, True, (254, 0, 0)),
        ("yuv444p", (81, 90, 240), 6, False, (254, 0, 0)),
        ("yuv444p", (63, 102, 240), 1, False, (255, 0, 0)),
    ],
)
def test_other_peoples_movies_are_read_by_their_tags(
    pixel_format: str, codes: tuple[int, ...], space: int, full: bool, rgb: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / "m.mkv"
    with av.open(str(path), "w") as movie:
        stream = movie.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 32, 16, pixel_format
        frame = av.VideoFrame(32, 16, pixel_format)
        for plane, code in zip(frame.planes, codes, strict=True):
            np.frombuffer(plane, np.uint8)[:] = code
        for tagged in (stream.codec_context, frame):
            tagged.color_range, tagged.colorspace = (2 if full else 1), space
        frame.pts = 0
        movie.mux(stream.encode(frame))
        movie.mux(stream.encode(None))
    footage = MovieFootage("A", str(path), path)
    assert footage.notes == ()
    assert footage.read(1).stored[8, 16] * 255 == pytest.approx(rgb, abs=1.6)
    footage.close()


def test_rgb_movies_are_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "m.mov"
    picture = np.random.default_rng(1).integers(0, 256, (16, 32, 3), np.uint8)
    with av.open(str(path), "w") as movie:
        stream = movie.add_stream("png", rate=24)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "rgb24"
        movie.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        movie.mux(stream.encode(None))
    footage = MovieFootage("A", str(path), path)
    assert np.array_equal(np.rint(footage.read(1).stored * 255), picture)
    footage.close()
