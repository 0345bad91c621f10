"""Two clips compared: a sheet, a wipe, a difference, flicker, and the numbers behind them.

Promises: one pass, in order; three frames of each clip are held at a time. ``report.json`` is written last: where it is
new, everything else is. Must not: judge which clip is right, or write anything but the files in `outputs`.
"""

from __future__ import annotations

import heapq
import math
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from void_client.errors import InputError
from void_client.sequence import FramePattern, format_frames

from void_engine.atomic import write_atomically, write_error
from void_engine.interface import Mask, Window
from void_engine.looking import pictures
from void_engine.looking.align import pair
from void_engine.looking.flicker import FlickerMeter
from void_engine.looking.footage import Footage, Picture, open_footage, words
from void_engine.looking.matte import MATTE, QUADMASK, Mattes
from void_engine.looking.measure import differing, measure
from void_engine.looking.movie import CODECS, MovieWriter, choose_codec, frame_rate
from void_engine.looking.report import FrameRow, as_csv, as_json, as_plot, summary
from void_engine.looking.spaces import name_spaces
from void_engine.looking.view import Colour, placed

SHEET, PLOT, CSV, REPORT = "sheet.png", "flicker.png", "flicker.csv", "report.json"
WIPE, DIFFERENCE = "wipe", "difference"
VERSION: Final = 1
_RATE: Final = 24
_SWEEP_S = 4.0  # the wipe's line goes right, left and back in this time
_WORST = 3  # on the sheet, beside the ends and the middle
_CELL, _PAGE = 640, 1920  # pixels, at most

Progress = Callable[[int, int, str], None]  # step, of, note
Check = Callable[[], None]  # raises Cancelled


@dataclass(frozen=True)
class CompareOptions:
    """``a``, ``b``: folder, pattern or movie. ``matte``: white is inside; ``quadmask``: 255 is outside; one of them.

    ``colour_space``: of EXRs, by the OCIO configuration ``ocio``; "" is what the results say of themselves, else
    scene-linear with Rec.709 primaries. ``recorded``: "A" and "B" → the OCIO file that a result's job was given.
    ``fps`` empty: what the footage says, else 24. ``width``: of movies, at most, pixels. ``exposure``: stops.
    """

    a: str
    b: str
    out: str
    matte: str = ""
    quadmask: str = ""
    frames: str = ""
    layer: str = ""
    colour_space: str = ""
    ocio: str = ""
    recorded: Mapping[str, str] = field(default_factory=dict)
    codec: str = "h264"
    fps: str = ""
    gain: float = 8.0
    signed: bool = False
    exposure: float = 0.0
    width: int = 1920
    movies: bool = True

    def check(self) -> None:
        """Raises ``InputError``."""
        if self.matte and self.quadmask:
            raise InputError("Give a matte or a quadmask, not both.")
        if not (math.isfinite(self.gain) and 0 < self.gain <= 10_000):
            raise InputError(f"The gain {self.gain:g} is not between 0 and 10000.")
        if not -20 <= self.exposure <= 20:
            raise InputError(f"The exposure {self.exposure:g} is not between -20 and 20 stops.")
        if not 64 <= self.width <= 8192:
            raise InputError(f"The width {self.width} is not between 64 and 8192 pixels.")
        if self.movies:
            choose_codec(self.codec)
        if self.fps:
            frame_rate(self.fps)


def outputs(options: CompareOptions) -> dict[str, Path]:
    """What a comparison writes, by what it is."""
    out = Path(os.path.abspath(os.path.expanduser(options.out)))
    names = {"sheet": SHEET, "plot": PLOT, "csv": CSV, "report": REPORT}
    if options.movies:
        suffix = CODECS[options.codec].suffix
        names |= {WIPE: WIPE + suffix, DIFFERENCE: DIFFERENCE + suffix}
    return {what: out / name for what, name in names.items()}


def compare(options: CompareOptions, progress: Progress, check: Check) -> dict[str, Any]:
    """Writes the files and returns the report. Raises ``VoidError``; after one, no new report is there."""
    options.check()
    with ExitStack() as open_things:
        a, b = (open_footage(name, text, options.layer) for name, text in (("A", options.a), ("B", options.b)))
        open_things.callback(a.close)
        open_things.callback(b.close)
        colours = name_spaces(options.colour_space, options.ocio, options.recorded, a, b)
        files = outputs(options)
        _check_outputs(files, a, b)
        pairing = pair(a, b, options.frames)
        mattes, notes = _find_matte(options, a, b, pairing.numbers)
        fps = frame_rate(options.fps or a.rate or b.rate or _RATE)
        size = pictures.shown_size(a.display, a.aspect, options.width)
        watch = _Watch(options, a, b, mattes, _Sheet(pairing.numbers, size), size, _sweep(fps, pairing.numbers))
        movies = _open_movies(files, fps, options, open_things)
        for index, number in enumerate(pairing.numbers):
            check()
            for what, frame in watch.frame(index, number).items():
                if what in movies:
                    movies[what].add(frame)
            progress(index + 1, len(pairing.numbers), f"frame {number}")
        for movie in movies.values():
            check()
            movie.finish()
    report = {
        **_told(options, a, b, mattes, fps),
        "range": format_frames(pairing.numbers),
        "notes": [*pairing.notes, *colours, *notes, *watch.notes()],
        "summary": summary(watch.rows),
        "files": {what: path.name for what, path in files.items()},
    }
    _write_png(files["sheet"], watch.sheet.page(options))
    _write_png(files["plot"], as_plot(watch.rows, mattes.kind if mattes else "whole frame"))
    write_atomically(files["csv"], [as_csv(watch.rows)])
    write_atomically(files["report"], [as_json({**report, "frames": [row.values() for row in watch.rows]})])
    return report


class _Watch:
    """Looks at one frame of both clips after another: measures it, and makes the pictures of it."""

    def __init__(
        self, options: CompareOptions, a: Footage, b: Footage, mattes: Mattes | None, sheet: _Sheet,
        size: pictures.Size, sweep: int,
    ) -> None:  # fmt: skip
        self.rows: list[FrameRow] = []
        self.sheet = sheet
        self._options, self._a, self._b, self._mattes = options, a, b, mattes
        self._size, self._sweep = size, sweep
        self._flicker = FlickerMeter()

    def frame(self, index: int, number: int) -> dict[str, pictures.Bytes]:
        """The frame's pictures, by movie."""
        a, b, options = self._a, self._b, self._options
        pair = a.read(number), b.read(number)
        # A and B may have their origins at different places where one knows no windows: A's counts.
        canvas = pair[0].window.union(pair[1].window).union(a.display)
        inside = self._mattes.inside(number, canvas) if self._mattes else None
        region = None if inside is None else inside[a.display.slices_in(canvas)]
        light = a.light(pair[0]), b.light(pair[1])
        shown = a.shown(light[0], options.exposure), b.shown(light[1], options.exposure)
        anywhere, outside = _bits(pair, canvas, inside) if a.kind == b.kind else (None, None)
        measures = measure(light if a.scene_linear and b.scene_linear else None, shown, region)
        row = FrameRow(number, measures, anywhere, outside, (_not_finite(pair[0]), _not_finite(pair[1])))
        self.rows.append(row)
        jump = self._flicker.push(number, shown, region)
        if jump is not None:
            self.rows[-2].flicker = jump
        return self._pictures(index, row, shown, region)

    def _pictures(
        self, index: int, row: FrameRow, shown: tuple[Colour, Colour], region: Mask | None
    ) -> dict[str, pictures.Bytes]:
        options, number = self._options, row.number
        left, right = (pictures.to_bytes(picture, self._size) for picture in shown)
        away = pictures.to_bytes(pictures.difference(*shown, options.gain, signed=options.signed), self._size)
        self.sheet.offer(row, (left, right, away), region)
        wiped = pictures.wipe(
            pictures.labelled(left, f"A {self._a.label}"),
            pictures.labelled(right, f"B {self._b.label}", right=True),
            pictures.wipe_at(index, self._sweep),
        )
        what = difference_words(options)
        return {
            WIPE: pictures.labelled(wiped, str(number), bottom=True),
            DIFFERENCE: pictures.labelled(pictures.labelled(away, what), str(number), bottom=True),
        }

    def notes(self) -> list[str]:
        found = []
        for side, name in enumerate("AB"):
            bad = [row.number for row in self.rows if row.not_finite[side]]
            if bad:
                found.append(f"{name} holds NaN or infinity in {format_frames(bad)}; they count as 0 in the measures.")
        return found


class _Sheet:
    """Small pictures of the ends, the middle and the worst frames so far: as many as are shown, and few more."""

    def __init__(self, numbers: tuple[int, ...], size: pictures.Size) -> None:
        self._fixed = {numbers[0], numbers[len(numbers) // 2], numbers[-1]}
        columns = min(len(numbers), len(self._fixed) + _WORST)
        wide = min(size[0], _CELL, (_PAGE - 6) // columns - 6)
        self._size = (wide, max(1, round(size[1] * wide / size[0])))
        self._kept: dict[int, pictures.Column] = {}
        self._worst: list[tuple[float, int]] = []  # a heap, the least bad first

    def offer(self, row: FrameRow, cells: tuple[pictures.Bytes, ...], region: Mask | None) -> None:
        if row.number not in self._fixed:
            heapq.heappush(self._worst, (row.score, -row.number))
            lost = -heapq.heappop(self._worst)[1] if len(self._worst) > _WORST else None
            if lost == row.number:
                return
            if lost is not None:
                del self._kept[lost]
        small = [pictures.shrunk(cell, self._size) for cell in cells]
        if region is not None:
            small[-1] = pictures.outlined(small[-1], region)
        title = f"{row.number}   mean {row.score:.2f}" if row.measures else str(row.number)
        self._kept[row.number] = pictures.Column(title, tuple(small))

    def page(self, options: CompareOptions) -> pictures.Bytes:
        rows = [f"A  {options.a}", f"B  {options.b}", difference_words(options)]
        return pictures.sheet(rows, [self._kept[number] for number in sorted(self._kept)])


def difference_words(options: CompareOptions) -> str:
    return f"0.5 + (B - A) x {options.gain:g}" if options.signed else f"|A - B| x {options.gain:g}"


def _bits(pair: tuple[Picture, Picture], canvas: Window, inside: Mask | None) -> tuple[int, int | None]:
    """Pixels that differ in a bit: on the whole canvas, and outside the matte. A pixel that one lacks differs."""
    a, b = (placed(picture.stored, picture.window, canvas) for picture in pair)
    everywhere = np.ones((canvas.height, canvas.width), np.bool_)
    there = everywhere
    lacking = np.zeros_like(everywhere)
    if pair[0].window != pair[1].window:
        has = [placed(np.ones(p.stored.shape[:2], np.float32), p.window, canvas) > 0 for p in pair]
        there, lacking = has[0] & has[1], has[0] ^ has[1]

    def count(where: Mask) -> int:
        return differing(a, b, where & there) + int(np.count_nonzero(lacking & where))

    return count(everywhere), None if inside is None else count(~inside)


def _not_finite(picture: Picture) -> int:
    finite = np.isfinite(picture.stored)
    return 0 if finite.all() else int(np.count_nonzero(~finite.all(axis=2)))


def _sweep(fps: Fraction, numbers: tuple[int, ...]) -> int:
    """Frames of one sweep of the line; a short clip sees a whole one."""
    return min(len(numbers), max(2, round(float(fps) * _SWEEP_S)))


def _open_movies(
    files: dict[str, Path], fps: Fraction, options: CompareOptions, open_things: ExitStack
) -> dict[str, MovieWriter]:
    folder = files["report"].parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    wanted = [what for what in (WIPE, DIFFERENCE) if what in files]
    return {w: open_things.enter_context(MovieWriter(files[w], fps, codec=options.codec)) for w in wanted}


def _check_outputs(files: dict[str, Path], *sides: Footage) -> None:
    """Somebody compares what an earlier comparison wrote."""
    for side in sides:
        given = Path(os.path.realpath(os.path.expanduser(side.text)))
        if given in [Path(os.path.realpath(path)) for path in files.values()]:
            raise InputError(f"{side.name} ({side.text}) would be overwritten.", hint="Choose another --out.")


def _find_matte(
    options: CompareOptions, a: Footage, b: Footage, numbers: tuple[int, ...]
) -> tuple[Mattes | None, list[str]]:
    """What the options name, else quadmask.####.exr or matte.####.exr beside the frames of B or A."""
    for kind, text in ((MATTE, options.matte), (QUADMASK, options.quadmask)):
        if text:
            return Mattes.open(kind, text, a.display), []
    notes: list[str] = []
    for side in (b, a):
        folder = Path(os.path.abspath(os.path.expanduser(side.text)))
        for text in (f"{kind}.{pad}.exr" for kind in (QUADMASK, MATTE) for pad in ("####", "#")):
            there = FramePattern.parse(str(folder / text)).frames_on_disk() if folder.is_dir() else ()
            if there and {*numbers} <= {*there}:
                found = Mattes.open(text.split(".")[0], str(folder / text), a.display)
                return found, [*notes, f"The {found.kind} is {side.name}'s own: {folder / text}."]
            if there:
                notes.append(f"{folder / text} lacks frames of the range, and was not used.")
    return None, notes


def _told(options: CompareOptions, a: Footage, b: Footage, mattes: Mattes | None, fps: Fraction) -> dict[str, Any]:
    """What was compared, and how."""
    sides = {
        side.name.lower(): {
            "path": side.text,
            "kind": side.kind,
            "frames": format_frames(side.numbers),
            "format": words(side.display),
            "scene_linear": side.scene_linear,
            "colour_space": side.space_name or None,
            "result": side.said.made(),
        }
        for side in (a, b)
    }
    region = {"kind": mattes.kind, "path": mattes.pattern.text} if mattes else {"kind": "whole frame", "path": None}
    return {
        "version": VERSION,
        **sides,
        "region": region,
        "view": {"from": a.space_name or None, "curve": "sRGB, cut at 1", "exposure": options.exposure},
        "movies": {"codec": options.codec, "fps": str(fps), "gain": options.gain} if options.movies else None,
        "options": asdict(options),
    }


def _write_png(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    done, data = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))
    if not done:
        raise InputError(f"{path.name} is too large for a PNG ({picture.shape[1]}x{picture.shape[0]}).")
    write_atomically(path, [data.tobytes()])
