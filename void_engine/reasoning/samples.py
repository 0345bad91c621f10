"""What a vision-language model is shown of a shot: labelled frames, the object in red, the clip as a small movie.

Promises: the same inputs give the same pictures and the same key; a movie that is too large is made coarser, then loses
frames, and is never left out. Memory holds one frame and what is sent. Must not: send anything.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from void_client.errors import EngineUnavailable, JobFailed

from void_engine.quadmask.upstream import grid_size
from void_engine.reasoning.interface import PRIMARY, ReasonRequest
from void_engine.segmentation.interface import Matte, Picture, Tick

STILL_SIDE, CLIP_SIDE = 768, 512  # pixels on the long side
_MARGIN = 22  # around a still: where rows and columns are numbered
_JPEG_QUALITY = 90
_RED = np.array([255, 32, 32], np.float32)
_BEST_CRF, _WORST_CRF = 23, 44  # x264: +6 halves the size, about
_PLAIN_RATE = 24.0  # frames a second where the plate's rate is not known


@dataclass(frozen=True)
class Still:
    """A frame with its grid, as JPEG. ``percent``: of the clip. ``marked``: the object is painted red."""

    position: int
    percent: float
    jpeg: bytes
    marked: bool = False


@dataclass(frozen=True)
class Movie:
    """H.264 in mp4. ``every``: of how many frames one is in it. ``rate``: its frames a second."""

    mp4: bytes
    rate: float
    seconds: float
    every: int = 1


@dataclass(frozen=True)
class Plan:
    """What is shown: positions of plain stills, and of those with the object in red, the first appearance first."""

    stills: tuple[int, ...]
    marked: tuple[int, ...]
    grid: tuple[int, int]  # rows, columns


def plan(request: ReasonRequest, count: int, tick: Tick) -> Plan:
    """``count`` stills evenly over the clip. Raises ``JobFailed`` where the primary matte is empty on every frame."""
    frames = len(request.pictures)
    stills = tuple(sorted({round(i * (frames - 1) / max(1, count - 1)) for i in range(count)}))
    areas: dict[int, int] = {}
    for position in range(frames):
        tick(position, frames, "looking for the object")
        areas[position] = int(np.count_nonzero(request.mattes.read(PRIMARY, position) > 0.5))
        if areas[position]:
            break
    else:
        raise JobFailed(
            "The object's matte is empty on every frame: there is nothing to reason about.",
            hint="Look at the object's matte and correct its clicks.",
        )
    first = position
    for later in (each for each in stills if each > first):
        tick(later, frames, "looking for the object")
        areas[later] = int(np.count_nonzero(request.mattes.read(PRIMARY, later) > 0.5))
    # Where it comes into frame there may be a sliver of it only: then it is shown once more where it is largest.
    largest = max(areas, key=lambda each: (areas[each], -each))
    marked = (first,) if areas[largest] < 2 * areas[first] else (first, largest)
    height, width = request.pictures.size
    return Plan(stills, marked, grid_size(height, width))


def percent(position: int, frames: int) -> float:
    return round(100 * position / max(1, frames - 1), 1)


def content_key(request: ReasonRequest, shown: Plan, extra: str, tick: Tick, *, movie: bool) -> str:
    """SHA-256 of all that is shown, before it is encoded: another encoder does not ask the service again."""
    digest = hashlib.sha256(f"{extra}\0{shown}\0{len(request.pictures)}\0{request.frame_rate}\0".encode())
    for position in sorted({*shown.stills, *shown.marked}):
        _feed(digest.update, request.pictures.proxy(position, STILL_SIDE))
    for position in shown.marked:
        _feed(digest.update, _codes(_small_matte(request, position)))
    frames = len(request.pictures)
    for position in range(frames if movie else 0):
        tick(position, frames, "looking at the clip")  # each frame may have to be decoded for it
        _feed(digest.update, request.pictures.proxy(position, CLIP_SIDE))
    return digest.hexdigest()


def _feed(update: Callable[[bytes], None], pixels: np.ndarray) -> None:
    update(str(pixels.shape).encode())
    update(np.ascontiguousarray(pixels).tobytes())


def _codes(matte: Matte) -> np.ndarray:
    return (matte * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def stills(request: ReasonRequest, shown: Plan) -> list[Still]:
    """Those with the object in red first, then the plain ones in order of time."""
    frames = len(request.pictures)
    made = []
    for position in shown.marked:
        picture = in_red(request.pictures.proxy(position, STILL_SIDE), _small_matte(request, position))
        made.append(Still(position, percent(position, frames), _jpeg(with_grid(picture, shown.grid)), marked=True))
    for position in shown.stills:
        picture = request.pictures.proxy(position, STILL_SIDE)
        made.append(Still(position, percent(position, frames), _jpeg(with_grid(picture, shown.grid))))
    return made


def _small_matte(request: ReasonRequest, position: int) -> Matte:
    height, width = request.pictures.proxy(position, STILL_SIDE).shape[:2]
    matte = request.mattes.read(PRIMARY, position)
    if matte.shape == (height, width):
        return matte
    return np.asarray(cv2.resize(matte, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def in_red(picture: Picture, matte: Matte) -> Picture:
    """Red over the object, thin enough to see what it is, with a full outline."""
    cover = (np.clip(matte, 0.0, 1.0) * np.float32(0.5))[..., None]
    mixed = (picture * (1 - cover) + _RED * cover + 0.5).astype(np.uint8)
    outline, _ = cv2.findContours((matte > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(mixed, outline, -1, tuple(map(float, _RED)), 2)
    return mixed


def with_grid(picture: Picture, grid: tuple[int, int]) -> Picture:
    """Thin lines over the picture, rows numbered in the left and right margins, columns above and below."""
    rows, columns = grid
    height, width = picture.shape[:2]
    lined = picture.copy()
    xs = [round(i * width / columns) for i in range(columns + 1)]
    ys = [round(i * height / rows) for i in range(rows + 1)]
    for x in xs[1:-1]:
        cv2.line(lined, (x, 0), (x, height - 1), (255, 255, 0), 1)
    for y in ys[1:-1]:
        cv2.line(lined, (0, y), (width - 1, y), (255, 255, 0), 1)
    mixed = cv2.addWeighted(lined, 0.55, picture, 0.45, 0)
    framed = np.pad(np.asarray(mixed, np.uint8), ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)))
    for row in range(rows):
        middle = _MARGIN + (ys[row] + ys[row + 1]) // 2
        for x in (_MARGIN // 2, framed.shape[1] - _MARGIN // 2):
            _label(framed, str(row), x, middle)
    for column in range(columns):
        middle = _MARGIN + (xs[column] + xs[column + 1]) // 2
        for y in (_MARGIN // 2, framed.shape[0] - _MARGIN // 2):
            _label(framed, str(column), middle, y)
    return framed


def _label(picture: Picture, text: str, x: int, y: int) -> None:
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
    place = (x - width // 2, y + height // 2)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)


def _jpeg(picture: Picture) -> bytes:
    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise JobFailed("A frame could not be encoded as JPEG.")
    return bytes(data)


def movie(request: ReasonRequest, limit: int, tick: Tick) -> Movie:
    """The clip in at most ``limit`` bytes. Raises ``JobFailed`` where not even one frame fits."""
    crf, every, frames = _BEST_CRF, 1, len(request.pictures)
    while True:
        made = _encoded(request, crf, every, tick)
        if len(made.mp4) <= limit:
            return made
        over = len(made.mp4) / limit
        if crf < _WORST_CRF:
            crf = min(_WORST_CRF, crf + math.ceil(6 * math.log2(over)) + 1)
        elif every < frames:
            every = min(frames, max(every + 1, math.ceil(every * over * 1.05)))
        else:
            raise JobFailed(f"A movie of the clip does not fit in {limit} bytes.", hint="Raise the reasoner's limit.")


def _encoded(request: ReasonRequest, crf: int, every: int, tick: Tick) -> Movie:
    try:
        import av
    except ImportError:
        raise EngineUnavailable(
            "A movie for the reasoner needs av, which is not installed here.", hint="pip install 'void-nuke[reasoning]'"
        ) from None
    rate = Fraction((request.frame_rate or _PLAIN_RATE) / every).limit_denominator(1001)
    frames, stream = len(request.pictures), io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=rate)
        height, width = (side + side % 2 for side in request.pictures.proxy(0, CLIP_SIDE).shape[:2])
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        # One thread: the bytes do not depend on the machine's cores.
        video.options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
        for position in range(0, frames, every):
            tick(position, frames, "encoding the clip")
            picture = request.pictures.proxy(position, CLIP_SIDE)
            odd = (height - picture.shape[0], width - picture.shape[1])  # H.264 wants even sides
            picture = np.pad(picture, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
    return Movie(stream.getvalue(), float(rate), len(range(0, frames, every)) / float(rate), every)
