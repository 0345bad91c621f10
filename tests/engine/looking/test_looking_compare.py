"""Whole comparisons: folders, sequences and movies in; a sheet, movies, a plot and numbers out."""

from __future__ import annotations

import csv
import json
import math
import tracemalloc
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import OpenEXR
import pytest
from void_client.errors import Cancelled, FrameError, InputError, JobError

from void_engine.colour import config as configs
from void_engine.looking.compare import CompareOptions, compare
from void_engine.looking.movie import write_movie
from void_engine.looking.report import COLUMNS

WIDTH, HEIGHT, FIRST = 96, 54, 1001


def exr(path: Path, rgb: np.ndarray, **header: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    given = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    channels = {"RGB": rgb} if rgb.ndim == 3 else {"R": rgb}
    OpenEXR.File(given, {name: np.ascontiguousarray(plane) for name, plane in channels.items()}).write(str(path))
    return path


def light(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Something with edges, grain and a highlight, that moves a little."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    base = 0.25 + 0.2 * np.sin((columns + 2 * (number - FIRST)) / 9) + 0.1 * (rows // 8 % 2)
    grain = np.random.default_rng(number).normal(0, 0.01, (height, width, 3))
    picture = base[..., None] * [1.0, 0.8, 0.6] + grain
    picture[2:5, 2:5] = 20.0
    return picture.astype(np.float16).astype(np.float32)


def inside() -> np.ndarray:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.hypot(columns - 50, rows - 28) < 12


def clip(
    folder: Path,
    numbers: Sequence[int] = range(FIRST, FIRST + 6),
    change: Callable[[int, np.ndarray], np.ndarray] | None = None,
    **header: Any,
) -> Path:
    for number in numbers:
        picture = light(number)
        picture = picture if change is None else change(number, picture)
        exr(folder / f"plate.{number}.exr", picture.astype(np.float16), **header)
    return folder


def quadmasks(folder: Path, numbers: Sequence[int] = range(FIRST, FIRST + 6)) -> Path:
    levels = np.where(inside(), 127, 255) / np.float32(255)
    for number in numbers:
        exr(folder / f"quadmask.{number}.exr", levels.astype(np.float16))
    return folder


def run(a: Path | str, b: Path | str, out: Path, **options: Any) -> dict[str, Any]:
    return compare(CompareOptions(str(a), str(b), str(out), **options), lambda *_: None, lambda: None)


def strict(path: Path) -> dict[str, Any]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} in JSON")

    return dict(json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse))


def view(picture: np.ndarray) -> np.ndarray:
    """A second sRGB, in float64."""
    held = np.clip(picture.astype(np.float64), 0, 1)
    return np.where(held <= 0.0031308, 12.92 * held, 1.055 * held ** (1 / 2.4) - 0.055)


def test_identical_clips_differ_nowhere(tmp_path: Path) -> None:
    report = run(clip(tmp_path / "a"), clip(tmp_path / "b"), tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "sheet.png", "wipe.mp4", "difference.mp4", "flicker.png", "flicker.csv", "report.json",
    }  # fmt: skip
    told = strict(tmp_path / "out" / "report.json")
    assert {key: value for key, value in told.items() if key != "frames"} == report
    for frame in told["frames"]:
        assert set(frame) == set(COLUMNS)
        assert [frame[f"display_{k}"] for k in ("mean", "median", "max")] == [0, 0, 0]
        assert [frame[f"light_{k}"] for k in ("mean", "median", "max")] == [0, 0, 0]
        assert (frame["psnr"], frame["ssim"], frame["differing"], frame["differing_outside"]) == (None, 1, 0, None)
        assert frame["flicker_a"] == frame["flicker_b"]
    assert [frame["frame"] for frame in told["frames"]] == [*range(1001, 1007)]
    assert told["summary"]["psnr"] is None
    assert (told["range"], told["region"]["kind"], told["notes"]) == ("1001-1006", "whole frame", [])


def test_a_change_inside_the_matte_is_measured_exactly(tmp_path: Path) -> None:
    region = inside()

    def brighter(number: int, picture: np.ndarray) -> np.ndarray:
        return np.where(region[..., None], picture * np.float32(1.25) + 0.01 * (number - FIRST), picture)

    a, b = clip(tmp_path / "a"), quadmasks(clip(tmp_path / "b", change=brighter))
    report = run(a, b, tmp_path / "out", movies=False)
    told = strict(tmp_path / "out" / "report.json")
    lines = list(csv.DictReader((tmp_path / "out" / "flicker.csv").read_text().splitlines()))
    for frame, line in zip(told["frames"], lines, strict=True):
        number = frame["frame"]
        first = light(number)
        second = brighter(number, first).astype(np.float16).astype(np.float64)
        away = np.abs(first - second)[region]
        codes = 255 * np.abs(view(first) - view(second))[region]
        assert frame["pixels"] == region.sum()
        for name, values in (("light", away), ("display", codes)):
            assert frame[f"{name}_mean"] == pytest.approx(values.mean(), rel=1e-4)
            assert frame[f"{name}_median"] == pytest.approx(np.median(values), rel=1e-4)
            assert frame[f"{name}_max"] == pytest.approx(values.max(), rel=1e-4)
        assert frame["psnr"] == pytest.approx(10 * math.log10(255**2 / np.mean(codes**2)), abs=1e-3)
        assert 0 < frame["ssim"] < 1
        assert (frame["differing"], frame["differing_outside"]) == (region.sum(), 0)
        assert {key: float(value) if value else None for key, value in line.items()} == pytest.approx(frame)
    assert report["summary"]["identical_outside"] is True
    assert report["summary"]["worst_frame"] == 1006
    assert report["region"] == {"kind": "quadmask", "path": str(b / "quadmask.####.exr")}
    assert [told["frames"][place]["flicker_a"] for place in (0, -1)] == [None, None]
    shown = [[view(p) for p in (light(n), brighter(n, light(n)).astype(np.float16))] for n in (1001, 1002, 1003)]
    for side, name in enumerate("ab"):
        jump = 255 * np.abs(shown[1][side] - (shown[0][side] + shown[2][side]) / 2)
        assert told["frames"][1][f"flicker_{name}"] == pytest.approx(jump[region].mean(), rel=1e-4)
        assert told["frames"][1]["flicker_ring_a"] == told["frames"][1]["flicker_ring_b"] > 0


def test_a_fill_that_alternates_is_seen_against_one_that_stands_still(tmp_path: Path) -> None:
    region = inside()

    def filled(step: float) -> Callable[[int, np.ndarray], np.ndarray]:
        def fill(number: int, _: np.ndarray) -> np.ndarray:
            picture = np.full((HEIGHT, WIDTH, 3), 0.2, np.float32)
            picture[region] = 0.3 + step * (-1) ** number
            return picture

        return fill

    a, b = clip(tmp_path / "a", change=filled(0.0)), quadmasks(clip(tmp_path / "b", change=filled(0.05)))
    total = run(a, b, tmp_path / "out", movies=False)["summary"]
    low, high = (view(np.float16(0.3 + sign * 0.05)) for sign in (-1, 1))
    assert total["flicker_a"] == 0
    assert total["flicker_b"] == pytest.approx(255 * float(high - low), rel=1e-4)
    assert (total["flicker_ring_a"], total["flicker_ring_b"]) == (0, 0)


def test_one_changed_bit_outside_the_matte_is_found(tmp_path: Path) -> None:
    def touched(number: int, picture: np.ndarray) -> np.ndarray:
        picture = picture.copy()
        if number == 1003:
            picture[5, 7, 2] = np.nextafter(np.float16(picture[5, 7, 2]), np.float16(100))
        return picture

    a, b = quadmasks(clip(tmp_path / "a")), clip(tmp_path / "b", change=touched)
    report = run(a, b, tmp_path / "out", movies=False)
    assert (report["summary"]["differing_outside"], report["summary"]["identical_outside"]) == (1, False)
    frames = strict(tmp_path / "out" / "report.json")["frames"]
    assert [frame["differing_outside"] for frame in frames] == [0, 0, 1, 0, 0, 0]
    assert all(frame["display_max"] == 0 for frame in frames), "outside the matte nothing else is measured"


def test_a_matte_is_white_inside_and_may_be_a_png(tmp_path: Path) -> None:
    a, b = clip(tmp_path / "a"), clip(tmp_path / "b", change=lambda _, p: p * np.float32(0.5))
    for number in range(1001, 1007):
        cv2.imwrite(str(tmp_path / f"matte.{number}.png"), inside().astype(np.uint8) * 255)
    quadmasks(tmp_path / "masks")
    by_matte = run(a, b, tmp_path / "out", matte=str(tmp_path / "matte.####.png"), movies=False)
    by_mask = run(a, b, tmp_path / "out", quadmask=str(tmp_path / "masks" / "quadmask.%04d.exr"), movies=False)
    assert by_matte["summary"] == by_mask["summary"]
    assert by_matte["summary"]["differing_outside"] > 1000
    (tmp_path / "matte.1004.png").unlink()
    with pytest.raises(FrameError, match=r"1004.*matte.1004.png"):
        run(a, b, tmp_path / "out", matte=str(tmp_path / "matte.####.png"), movies=False)
    with pytest.raises(InputError, match="not both"):
        run(a, b, tmp_path / "out", matte="m.#.exr", quadmask="q.#.exr")


def test_a_matte_of_another_size_or_an_empty_one(tmp_path: Path) -> None:
    a, b = clip(tmp_path / "a", [1001]), clip(tmp_path / "b", [1001], lambda _, p: p * np.float32(0.5))
    cv2.imwrite(str(tmp_path / "small.1001.png"), np.zeros((10, 10), np.uint8))
    cv2.imwrite(str(tmp_path / "none.1001.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    with pytest.raises(FrameError, match="10x10, the clips are 96x54"):
        run(a, b, tmp_path / "out", matte=str(tmp_path / "small.#.png"))
    total = run(a, b, tmp_path / "out", matte=str(tmp_path / "none.#.png"))["summary"]
    assert (total["frames_measured"], total["display_mean"], total["worst_frame"]) == (0, None, None)
    assert total["differing_outside"] > 0


def test_overscan_counts_for_bits_and_the_format_for_measures(tmp_path: Path) -> None:
    window = {
        "dataWindow": (np.array([-8, -4], np.int32), np.array([WIDTH - 9, HEIGHT - 5], np.int32)),
        "displayWindow": (np.array([0, 0], np.int32), np.array([79, 44], np.int32)),
    }

    def touched(_: int, picture: np.ndarray) -> np.ndarray:
        picture = picture.copy()
        picture[0, 0] += 1  # at (-8, -4): overscan
        return picture

    a = clip(tmp_path / "a", [1001, 1002], **window)
    b = quadmasks(clip(tmp_path / "b", [1001, 1002], touched, **window), [1001, 1002])
    for path in b.glob("quadmask.*"):
        exr(path, np.zeros((2, 2), np.float16), displayWindow=window["displayWindow"])
    report = run(a, b, tmp_path / "out")
    assert report["a"]["format"] == "80x45"
    assert report["summary"]["differing_outside"] == 2
    assert (report["summary"]["frames_measured"], report["summary"]["display_max"]) == (2, 0)
    with av.open(str(tmp_path / "out" / "wipe.mp4")) as movie:
        assert (movie.streams.video[0].width, movie.streams.video[0].height) == (80, 46)
    cropped = clip(tmp_path / "c", [1001, 1002])
    with pytest.raises(InputError, match="A is 80x45, B is 96x54"):
        run(a, cropped, tmp_path / "out")


def test_pixels_that_only_one_has_differ(tmp_path: Path) -> None:
    size = (np.array([0, 0], np.int32), np.array([WIDTH - 1, HEIGHT - 1], np.int32))
    black = np.zeros((HEIGHT, WIDTH, 3), np.float16)
    exr(tmp_path / "a" / "plate.1.exr", black)
    small = (np.array([0, 0], np.int32), np.array([WIDTH - 1, HEIGHT - 2], np.int32))
    exr(tmp_path / "b" / "plate.1.exr", black[:-1], dataWindow=small, displayWindow=size)
    total = run(tmp_path / "a", tmp_path / "b", tmp_path / "out", movies=False)["summary"]
    assert (total["differing"], total["display_max"]) == (WIDTH, 0)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    a, b = clip(tmp_path / "a", [1001, 1002, 1003, 1005]), clip(tmp_path / "b", [1002, 1003, 1005, 1006, 1007])
    report = run(a, b, tmp_path / "out", movies=False)
    assert report["range"] == "1002-1003,1005"
    assert report["notes"] == [
        "A lacks 1006-1007, which B has.",
        "B lacks 1001, which A has.",
        "Neither has 1004.",
        "Compared over what both have: 1002-1003,1005.",
    ]
    with pytest.raises(FrameError, match=r"A .* has no frame 1006"):
        run(a, b, tmp_path / "out", frames="1002-1003,1006")
    assert run(a, b, tmp_path / "out", frames="1003", movies=False)["summary"]["frames"] == 1
    with pytest.raises(InputError, match="no frame in common"):
        run(a, clip(tmp_path / "c", [7]), tmp_path / "out")


def test_a_result_is_read_by_its_manifest(tmp_path: Path) -> None:
    a, b = clip(tmp_path / "a"), clip(tmp_path / "b", range(1001, 1010))
    frames = [{"number": n, "name": f"plate.{n}.exr", "sha256": "0", "size": 1} for n in range(1001, 1007)]
    (b / "manifest.json").write_text(json.dumps({"frames": frames}))
    (b / "plate.1006.exr").unlink()
    report = run(a, b, tmp_path / "out", movies=False)
    assert (report["range"], report["b"]["frames"]) == ("1001-1005", "1001-1005")
    assert report["notes"][0] == "B: plate.1006.exr is in the manifest and not in the folder."
    for text in ("{", "[]", '{"frames": [{"number": 1, "name": "../x"}]}', '{"frames": [{"name": "x"}]}'):
        (b / "manifest.json").write_text(text)
        with pytest.raises(InputError, match=r"B: .*manifest.json cannot be read"):
            run(a, b, tmp_path / "out")


def test_what_is_no_clip_is_told(tmp_path: Path) -> None:
    a, out = clip(tmp_path / "a", [1001]), tmp_path / "out"
    (tmp_path / "empty").mkdir()
    clip(tmp_path / "two" / "x", [1])
    for name in ("left.0001.exr", "right.0001.exr"):
        exr(tmp_path / "two" / name, light(1001).astype(np.float16))
    (tmp_path / "fake.mp4").write_bytes(b"not a movie at all")
    for given, kind, words in (
        (tmp_path / "empty", InputError, "holds no frames"),
        (tmp_path / "two", InputError, r"left.####.exr, right.####.exr"),
        (tmp_path / "nowhere", InputError, "is not there"),
        (tmp_path / "nowhere.mov", InputError, "is not there"),
        (tmp_path / "a" / "plate.1001.exr", JobError, "no frame number"),
        (tmp_path / "a" / "beauty.####.exr", InputError, "nothing matches"),
        (tmp_path / "fake.mp4", FrameError, "fake.mp4"),
    ):
        with pytest.raises(kind, match=words):
            run(a, given, out)
    assert not out.exists()


def test_a_damaged_frame_is_named_and_leaves_no_movie(tmp_path: Path) -> None:
    a, b = clip(tmp_path / "a"), clip(tmp_path / "b")
    path = b / "plate.1004.exr"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FrameError, match=r"B.*1004.*plate.1004.exr") as told:
        run(a, b, tmp_path / "out")
    assert (told.value.details["frame"], told.value.details["file"]) == (1004, str(path))
    assert list((tmp_path / "out").iterdir()) == []
    exr(path, light(1004, 40, 40).astype(np.float16))
    with pytest.raises(FrameError, match=r"1004.*it is 40x40, where frame 1001 is 96x54"):
        run(a, b, tmp_path / "out")


def test_a_movie_against_its_exrs(tmp_path: Path) -> None:
    a = clip(tmp_path / "a")
    pictures = [view(light(number)) for number in range(1001, 1007)]
    write_movie(tmp_path / "b.mov", pictures, 24, codec="prores4444")
    report = run(a, tmp_path / "b.mov", tmp_path / "out", codec="prores")
    assert report["notes"] == ["B is a movie: its first frame is taken for frame 1001."]
    assert (report["range"], report["movies"]["fps"]) == ("1001-1006", "24")
    total = report["summary"]
    assert total["psnr"] > 45
    assert total["ssim"] > 0.98
    assert (total["light_mean"], total["differing"]) == (None, None), "neither means anything here"
    # A pixel of grain may be off by a few codes; a wrong matrix or position would be off by tens.
    assert total["display_mean"] < 1
    write_movie(tmp_path / "c.mov", pictures[:4], 24, codec="prores4444")
    short = run(tmp_path / "b.mov", tmp_path / "c.mov", tmp_path / "out", movies=False)
    assert (short["range"], short["summary"]["differing"]) == ("1-4", 0)
    assert "B lacks 5-6, which A has." in short["notes"]


def test_picture_sequences_are_compared_by_their_codes(tmp_path: Path) -> None:
    codes = np.random.default_rng(4).integers(0, 250, (HEIGHT, WIDTH, 3), np.uint8)
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / f"a.{number:04d}.png"), codes)
        cv2.imwrite(str(tmp_path / f"b.{number:04d}.png"), (codes.astype(np.uint16) + 3) * 257)
        cv2.imwrite(str(tmp_path / f"c.{number:04d}.png"), codes.astype(np.uint16) * 257)
    total = run(tmp_path / "a.%04d.png", tmp_path / "b.%04d.png", tmp_path / "out", movies=False)["summary"]
    assert [total[f"display_{k}"] for k in ("mean", "median", "max")] == pytest.approx([3, 3, 3], abs=1e-4)
    assert (total["differing"], total["light_mean"]) == (2 * HEIGHT * WIDTH, None)
    assert run(tmp_path / "a.####.png", tmp_path / "c.####.png", tmp_path / "out")["summary"]["differing"] == 0


def test_the_wipe_and_the_difference_show_what_they_say(tmp_path: Path) -> None:
    def grey(value: float) -> Callable[[int, np.ndarray], np.ndarray]:
        return lambda _, picture: np.full_like(picture, value)

    a, b = clip(tmp_path / "a", change=grey(0.1)), clip(tmp_path / "b", change=grey(0.12))
    run(a, b, tmp_path / "out", signed=True, gain=4)
    left, right = (255 * view(np.float16(value)) for value in (0.1, 0.12))

    def row(name: str, line: int = 27) -> np.ndarray:
        with av.open(str(tmp_path / "out" / name)) as movie:
            frames = [frame.to_ndarray(format="rgb24")[line].astype(float) for frame in movie.decode(video=0)]
        assert len(frames) == 6
        return frames[0]

    wipe = row("wipe.mp4")
    assert wipe[10:40].mean() == pytest.approx(left, abs=2)
    assert wipe[56:86].mean() == pytest.approx(right, abs=2)
    assert np.ptp(wipe[44:52], axis=0).max() > 60, "the line"
    assert row("difference.mp4")[20:80].mean() == pytest.approx(127.5 + 4 * (right - left), abs=2)
    run(a, b, tmp_path / "out", gain=4)
    assert row("difference.mp4")[20:80].mean() == pytest.approx(4 * (right - left), abs=2)


def test_the_sheet_shows_the_ends_the_middle_and_the_worst(tmp_path: Path) -> None:
    def worse(number: int, picture: np.ndarray) -> np.ndarray:
        return picture + np.float32({1007: 0.5, 1010: 0.3, 1003: 0.2, 1001: 0.9}.get(number, 0.0))

    numbers = range(1001, 1013)
    a, b = clip(tmp_path / "a", numbers), clip(tmp_path / "b", numbers, worse)
    run(a, b, tmp_path / "out", movies=False, gain=1)
    sheet = cv2.imread(str(tmp_path / "out" / "sheet.png")).astype(float)
    assert sheet.shape[1] == 6 + 6 * (WIDTH + 6)
    top = 24 + 2 * (22 + HEIGHT + 6) + 22
    cells = [sheet[top + 10 : top + HEIGHT - 4, 10 + c * (WIDTH + 6) : 90 + c * (WIDTH + 6)].mean() for c in range(6)]
    # 1001, 1003, 1007 (also the middle), 1010, 1012, and one more of the equal ones.
    bright = [round(cell) > 20 for cell in cells]
    assert bright == [True, False, True, True, True, False]
    assert cells[0] > cells[3] > cells[4] > cells[2]


def test_odd_sizes_a_single_frame_and_wide_pixels(tmp_path: Path) -> None:
    exr(tmp_path / "a" / "plate.7.exr", light(7, 33, 17).astype(np.float16), pixelAspectRatio=2.0)
    exr(tmp_path / "b" / "plate.7.exr", light(7, 33, 17).astype(np.float16), pixelAspectRatio=2.0)
    report = run(tmp_path / "a", tmp_path / "b", tmp_path / "out")
    assert report["summary"]["flicker_a"] is None
    with av.open(str(tmp_path / "out" / "wipe.mp4")) as movie:
        assert (movie.streams.video[0].width, movie.streams.video[0].height) == (66, 18)
        assert len(list(movie.decode(video=0))) == 1


def test_movies_are_scaled_and_take_the_plates_rate(tmp_path: Path) -> None:
    a, b = clip(tmp_path / "a", [1001, 1002], framesPerSecond=Fraction(24000, 1001)), clip(tmp_path / "b", [1001, 1002])
    run(a, b, tmp_path / "out", width=64, codec="prores")
    with av.open(str(tmp_path / "out" / "wipe.mov")) as movie:
        stream = movie.streams.video[0]
        assert (stream.width, stream.height) == (64, 36)
        assert stream.average_rate == Fraction(24000, 1001)
    assert run(a, b, tmp_path / "out", fps="30000/1001")["movies"]["fps"] == "30000/1001"


def test_values_that_are_not_finite_are_told_and_do_not_spread(tmp_path: Path) -> None:
    def broken(number: int, picture: np.ndarray) -> np.ndarray:
        picture = picture.copy()
        if number == 1002:
            picture[9, 9] = [np.nan, np.inf, 1]
        return picture

    report = run(clip(tmp_path / "a"), clip(tmp_path / "b", change=broken), tmp_path / "out")
    assert report["notes"] == ["B holds NaN or infinity in 1002; they count as 0 in the measures."]
    frames = strict(tmp_path / "out" / "report.json")["frames"]
    assert (frames[1]["not_finite_b"], frames[1]["differing"], frames[0]["differing"]) == (1, 1, 0)


def test_cancelling_leaves_no_half_file(tmp_path: Path) -> None:
    a, b = clip(tmp_path / "a"), clip(tmp_path / "b")
    seen: list[int] = []

    def check() -> None:
        if len(seen) == 3:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        compare(CompareOptions(str(a), str(b), str(tmp_path / "out")), lambda step, *_: seen.append(step), check)
    assert seen == [1, 2, 3]
    assert list((tmp_path / "out").iterdir()) == []


def test_an_input_is_never_written_over(tmp_path: Path) -> None:
    a, b = clip(tmp_path / "a"), clip(tmp_path / "b")
    run(a, b, tmp_path / "out")
    before = (tmp_path / "out" / "wipe.mp4").read_bytes()
    with pytest.raises(InputError, match="overwritten"):
        run(tmp_path / "out" / "wipe.mp4", tmp_path / "out" / "difference.mp4", tmp_path / "out")
    assert (tmp_path / "out" / "wipe.mp4").read_bytes() == before


# ACEScg by its published matrix (AP1, Bradford to D65), not by OCIO.
ACESCG = np.array([
    [0.613097, 0.339523, 0.047379], [0.070194, 0.916354, 0.013452], [0.020616, 0.109570, 0.869815],
])  # fmt: skip


def to_acescg(_: int, picture: np.ndarray) -> np.ndarray:
    return np.clip(picture, 0, 4) @ ACESCG.T.astype(np.float32)


def test_another_working_space_is_seen_as_what_it_means(tmp_path: Path) -> None:
    numbers = [1001, 1002, 1003]
    a = clip(tmp_path / "a", numbers, to_acescg)
    pictures = [view(np.clip(light(number), 0, 4)) for number in numbers]
    write_movie(tmp_path / "b.mov", pictures, 24, codec="prores4444")
    right = run(a, tmp_path / "b.mov", tmp_path / "out", colour_space="ACEScg", movies=False)
    plain = run(a, tmp_path / "b.mov", tmp_path / "out", movies=False)
    assert right["summary"]["display_mean"] < 1
    assert plain["summary"]["display_mean"] > 2
    with pytest.raises(JobError, match="ACEScq"):
        run(a, a, tmp_path / "out", colour_space="ACEScq")


def manifest(folder: Path, numbers: Sequence[int], **facts: str) -> None:
    frames = [{"number": n, "name": f"plate.{n}.exr", "sha256": "0" * 64, "size": 1} for n in numbers]
    value = {"frames": frames, "content_hash": "c" * 64, "facts": {f"void/{k}": v for k, v in facts.items()}}
    (folder / "manifest.json").write_text(json.dumps(value))


def test_a_result_is_shown_from_the_space_that_its_manifest_names_and_its_plate_too(tmp_path: Path) -> None:
    numbers = [1001, 1002, 1003]
    plain = clip(tmp_path / "plain", numbers, lambda _, picture: np.clip(picture, 0, 4))
    plate, result = (clip(tmp_path / name, numbers, to_acescg) for name in ("plate", "result"))
    facts = {"engine": "void", "engineVersion": "2", "model.base": "b" * 64, "workingSpace": "ACEScg"}
    manifest(result, numbers, **facts, ocio=configs.DEFAULT)
    told = run(plate, result, tmp_path / "out", colour_space="ACEScg")
    alone = run(plate, result, tmp_path / "out")
    assert alone["summary"] == told["summary"]
    assert [alone[side]["colour_space"] for side in "ab"] == ["ACEScg", "ACEScg"]
    assert "A is shown from ACEScg, as B says of itself." in alone["notes"]
    assert alone["a"]["result"] is None
    assert alone["b"]["result"] == {
        "engine": "void", "engine_version": "2", "job": "c" * 64, "models": {"base": "b" * 64}, "space": "ACEScg",
    }  # fmt: skip
    # Two results, each in a space of its own: the same light in both.
    manifest(plain, numbers, engine="cleanplate")
    both = run(plain, result / "plate.####.exr", tmp_path / "out", movies=False)
    assert [both[side]["colour_space"] for side in "ab"] == [None, "ACEScg"]
    assert both["summary"]["display_mean"] < 0.1
    assert run(plain, result, tmp_path / "out", movies=False, colour_space="ACEScg")["summary"]["display_mean"] > 2


def test_frames_that_lost_their_manifest_say_their_space_themselves(tmp_path: Path) -> None:
    numbers = [1001, 1002]
    said = {"void/engine": "cleanplate", "void/workingSpace": "ACEScg", "void/ocio": configs.DEFAULT}
    alone = clip(tmp_path / "a", numbers, to_acescg, **said)
    plain = clip(tmp_path / "b", numbers, lambda _, picture: np.clip(picture, 0, 4), **{"void/engine": "cleanplate"})
    report = run(alone, plain, tmp_path / "out", movies=False)
    assert report["summary"]["display_mean"] < 0.1
    assert (report["a"]["colour_space"], report["a"]["result"]["engine"]) == ("ACEScg", "cleanplate")


def test_a_configuration_that_is_not_at_hand_or_another_one_is_told(tmp_path: Path) -> None:
    numbers = [1001]
    a = clip(tmp_path / "a", numbers, to_acescg)
    own = tmp_path / "studio.ocio"
    own.write_text(configs.load().handle.serialize())
    digest, name = configs.load(str(own)).digest, configs.load(str(own)).name
    manifest(a, numbers, engine="void", workingSpace="ACEScg", ocio=name, ocioDigest=digest)
    b = clip(tmp_path / "b", numbers, lambda _, picture: np.clip(picture, 0, 4))
    manifest(b, numbers, engine="void")
    lost = run(a, b, tmp_path / "out", movies=False)
    assert lost["a"]["colour_space"] is None
    assert any("A is ACEScg and is shown as if it were linear Rec.709" in note for note in lost["notes"])
    for found in ({"recorded": {"A": str(own)}}, {"ocio": str(own)}):
        report = run(a, b, tmp_path / "out", movies=False, **found)
        assert report["a"]["colour_space"] == "ACEScg"
        assert report["summary"]["display_mean"] < 0.1
    own.write_text(own.read_text() + "\n# changed\n")
    changed = run(a, b, tmp_path / "out", movies=False, recorded={"A": str(own)})
    assert any("has changed since" in note for note in changed["notes"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gain": 0.0}, "gain"),
        ({"gain": float("nan")}, "gain"),
        ({"width": 10}, "width"),
        ({"exposure": 99.0}, "exposure"),
        ({"codec": "gif"}, "codec"),
        ({"fps": "fast"}, "frame rate"),
        ({"frames": "10-1"}, "backwards"),
        ({"layer": "diffuse"}, "diffuse"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        run(clip(tmp_path / "a", [1001]), clip(tmp_path / "b", [1001]), tmp_path / "out", **options)


def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    a, b = clip(tmp_path / "a", range(1, 31)), quadmasks(clip(tmp_path / "b", range(1, 31)), range(1, 31))
    run(a, b, tmp_path / "out", frames="1-2")  # what is allocated once
    peaks = []
    for frames in ("1-8", "1-30"):
        tracemalloc.start()
        run(a, b, tmp_path / "out", frames=frames)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.25
