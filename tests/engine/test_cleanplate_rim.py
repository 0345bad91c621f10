"""A tight quadmask is told to the artist, with how much wider it should be; a wide one is left in peace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from helpers.camera_shots import Scene, render
from helpers.memory_clip import MemoryClip, MemoryContext, MemoryFrames, request

from void_engine.cleanplate import CleanplateEngine, pixels
from void_engine.cleanplate.rim import depth, measure, tight
from void_engine.interface import KEEP, Quadmask

REACH, AROUND = 4, (5.0, 10.0)


def tightened(quadmask: Quadmask, by: int) -> Quadmask:
    round_ = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
    left = cv2.erode((quadmask != KEEP).astype(np.uint8), round_) > 0
    return np.where(left, quadmask, np.uint8(KEEP))


def solve(clip: MemoryClip, out: MemoryFrames, folder: Path) -> dict[str, Any]:
    engine = CleanplateEngine()
    return engine.generate(clip, request(0, engine.check_options({})), out, MemoryContext(folder))


@pytest.mark.parametrize("scene", [Scene("arm", "static", arm=True), Scene("hand", "handheld", drift=1.0)])
def test_a_tight_mask_is_told_and_a_wide_one_is_not(scene, tmp_path):
    frames = list(render(replace(scene, width=320, height=180, frames=6)))
    plates = [frame.plate for frame in frames]
    clip = MemoryClip(plates, [frame.quadmask for frame in frames])
    wide = solve(clip, MemoryFrames(clip), tmp_path / "wide")
    assert wide["warnings"] == []
    assert wide["edge"] is None
    clip = MemoryClip(plates, [tightened(frame.quadmask, 3) for frame in frames])
    out = MemoryFrames(clip)
    facts = solve(clip, out, tmp_path / "narrow")
    assert facts["edge"]["pixels"] in (2, 3)
    assert facts["edge"]["frames"] >= 3
    (warning,) = facts["warnings"]
    assert "tight" in warning
    assert f"grow {facts['edge']['pixels'] + 1}" in warning
    # Gone on with after a kill: frames that are there are not painted again.
    assert solve(clip, out, tmp_path / "narrow") == facts


def picture(level: float) -> npt.NDArray[np.float32]:
    return np.full((60, 80, 3), level, np.float32)


@pytest.fixture
def hole() -> npt.NDArray[np.bool_]:
    hole = np.zeros((60, 80), dtype=bool)
    hole[20:40, 30:50] = True
    return hole


def test_an_edge_is_as_wide_as_it_shows(hole):
    away = pixels.away(hole)
    for wide in (1, 2, 3):
        plate = np.where((away <= wide)[..., None], picture(0.9), picture(0.4))
        assert depth(measure(plate, picture(0.4), away, ~hole, REACH, AROUND)) in (wide, wide + 1)
    assert depth(measure(picture(0.4), picture(0.4), away, ~hole, REACH, AROUND)) == 0


def test_a_difference_that_goes_on_is_no_edge(hole):
    """A shadow beside the hole, or light that is not matched."""
    away = pixels.away(hole)
    plate = np.where((away <= 20.0)[..., None], picture(0.2), picture(0.4))
    assert depth(measure(plate, picture(0.4), away, ~hole, REACH, AROUND)) == 0


def test_what_no_frame_shows_tells_nothing(hole):
    away = pixels.away(hole)
    plate = np.where((away <= 2.0)[..., None], picture(0.9), picture(0.4))
    counts = measure(plate, picture(0.4), away, hole, REACH, AROUND)
    assert depth(counts) is None
    assert tight([counts] * 5) is None
    assert tight([]) is None


def test_a_few_frames_make_no_mask_tight(hole):
    away = pixels.away(hole)
    fine = measure(picture(0.4), picture(0.4), away, ~hole, REACH, AROUND)
    plate = np.where((away <= 2.0)[..., None], picture(0.9), picture(0.4))
    off = measure(plate, picture(0.4), away, ~hole, REACH, AROUND)
    assert tight([fine] * 9 + [off]) is None
    found = tight([fine] * 6 + [off] * 4)
    assert found is not None
    assert (found.frames, found.looked) == (4, 10)
