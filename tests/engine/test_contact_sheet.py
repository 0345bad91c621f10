"""Contact sheets and the measures beside them."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from void_engine.contact_sheet import COLOURS, contact_sheet, display, per_frame_inpaint, psnr, quadmask_picture
from void_engine.interface import KEEP
from void_engine.synthetic import render_shot


def test_a_sheet_is_a_png_of_a_sane_size(tmp_path: Path) -> None:
    frames = list(render_shot(320, 180, 6, seed=3))
    rows = [
        ("plate", [frame.plate for frame in frames]),
        ("quadmask", [frame.quadmask for frame in frames]),
        ("truth", [frame.truth for frame in frames]),
    ]
    path = contact_sheet(rows, tmp_path / "deep" / "sheet.png")
    picture = cv2.imread(str(path))
    assert picture is not None
    assert picture.shape[1] <= 1600
    assert picture.shape[0] > 3 * 100


def test_the_four_regions_have_their_own_named_colours(tmp_path: Path) -> None:
    quadmask = np.array([[0, 63], [127, 255]], dtype=np.uint8)
    picture = quadmask_picture(quadmask)
    assert [tuple(int(v) for v in picture[y, x]) for y in (0, 1) for x in (0, 1)] == [c for _, c in COLOURS.values()]
    assert len({name for name, _ in COLOURS.values()}) == 4


def test_a_sheet_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        contact_sheet([("plate", [])], tmp_path / "sheet.png")


def test_display_is_monotone_and_rolls_highlights_off() -> None:
    light = np.array([-1.0, 0.0, 0.18, 0.8, 1.0, 4.0, 1e4], dtype=np.float32)
    shown = display(light)
    assert shown[0] == 0.0
    assert np.all(np.diff(shown[1:]) > 0)
    assert shown[4] < 1.0
    assert shown[-1] <= 1.0
    assert shown[2] == pytest.approx(0.461, abs=0.01)


def test_psnr_is_measured_inside_the_mask_only() -> None:
    a = np.full((4, 4, 3), 0.18, dtype=np.float32)
    b = a.copy()
    b[0] = 5.0
    mask = np.zeros((4, 4), dtype=bool)
    mask[2] = True
    assert psnr(a, b, mask) == math.inf
    mask[0] = True
    error = float((display(a[:1]) - display(b[:1])).astype(np.float64)[0, 0, 0]) ** 2 / 2
    assert psnr(a, b, mask) == pytest.approx(-10 * math.log10(error), abs=1e-3)
    with pytest.raises(ValueError, match="at least one pixel"):
        psnr(a, b, np.zeros((4, 4), dtype=bool))


def test_the_baseline_keeps_the_plate_and_fills_the_hole() -> None:
    frame = next(render_shot(160, 90, 1, seed=1))
    hole = frame.quadmask != KEEP
    filled = per_frame_inpaint(frame.plate, hole)
    assert np.array_equal(filled[~hole], frame.plate[~hole])
    assert np.isfinite(filled).all()
    assert psnr(filled, frame.truth, hole) > psnr(frame.plate, frame.truth, hole)
