"""What a model made comes back to where it was cut out, at the plate's level."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.memory_clip import MemoryClip, MemoryFrames

from void_engine.colour.shaper import Shaper
from void_engine.diffusion import shot
from void_engine.diffusion.options import read_options
from void_engine.quadmask import resized
from void_engine.restore.place import Made, place, ring_around
from void_engine.restore.regions import RegionClip, find_regions

display = Shaper()
OPTIONS = read_options({"height": 48, "width": 80})


def smooth(height: int, width: int, frames: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    picture = np.stack([0.3 + 0.2 * np.sin(x / 37), 0.3 + 0.1 * np.cos(y / 23), 0.2 + x / (4 * width)], -1)
    return np.stack([picture] * frames).astype(np.float32)


def holed(truth: np.ndarray) -> MemoryClip:
    """A green box, and its hole, on the truth."""
    plates, masks = truth.copy(), np.full(truth.shape[:3], 255, np.uint8)
    plates[:, 150:190, 300:350] = [0.0, 1.0, 0.0]
    masks[:, 148:192, 298:352] = 0
    return MemoryClip(list(plates), list(masks))


def ideal(clip: MemoryClip, truth: np.ndarray, bias: float | np.ndarray = 0.0) -> list[Made]:
    """What a model that knows the truth would make, off by ``bias`` in display values (a number a frame)."""
    made = []
    for region in find_regions(clip, OPTIONS.size_for, lambda _: None):
        crop, size = RegionClip(clip, region), region.model_size
        shown = [shot.resize(display.to_display(t[region.window(i)]), size) for i, t in enumerate(truth)]
        offsets = np.broadcast_to(bias, len(truth))
        frames = [(frame + offset).astype(np.float32) for frame, offset in zip(shown, offsets, strict=True)]
        plates = [shot.resize(display.to_display(crop.plate(i)), size) for i in range(len(truth))]
        masks = [resized(crop.quadmask(i), size) for i in range(len(truth))]
        made.append(Made(region, frames, plates, masks))
    return made


def placed(clip: MemoryClip, made: list[Made]) -> MemoryFrames:
    out = MemoryFrames(clip)
    place(clip, made, display.to_light, out, lambda _: None)
    return out


@pytest.mark.parametrize("bias", [0.0, 0.03, -0.05])
def test_a_model_that_is_off_in_level_is_brought_to_the_plates(bias: float) -> None:
    truth = smooth(360, 640, 4)
    clip = holed(truth)
    out = placed(clip, ideal(clip, truth, bias))
    for position, frame in out.frames.items():
        hole = clip.quadmask(position) == 0
        assert np.abs(frame - truth[position])[hole].max() < 0.012


def test_a_level_that_flickers_is_steadied() -> None:
    truth = smooth(360, 640, 9)
    clip = holed(truth)
    bias = 0.02 + 0.01 * np.array([0, 1, -1, 1, 0, -1, 1, -1, 0], np.float32)
    out = placed(clip, ideal(clip, truth, bias))
    means = np.array([out.frames[i][170, 320].mean() for i in range(9)])
    assert np.abs(means - truth[:, 170, 320].mean(axis=-1)).max() < 0.005  # 0.02 to 0.06 as it was made


def test_what_passes_by_in_the_ring_does_not_bend_the_fill() -> None:
    truth = smooth(360, 640, 3)
    clip = holed(truth)
    made = ideal(clip, truth)
    for plate in made[0].plates:
        ring = ring_around(made[0].masks[0])
        columns = np.flatnonzero(ring.any(axis=0))
        plate[:, columns[0] : columns[0] + 4] = 1.0  # a white pole beside the hole
    out = placed(clip, made)
    hole = clip.quadmask(1) == 0
    assert np.abs(out.frames[1] - truth[1])[hole].max() < 0.03


def test_a_hole_over_the_whole_crop_has_no_ring_and_stays_as_it_was_made() -> None:
    truth = smooth(48, 80, 2)
    clip = MemoryClip(list(truth), [np.zeros((48, 80), np.uint8)] * 2)
    out = placed(clip, ideal(clip, truth, 0.02))
    assert np.isfinite(out.frames[0]).all()
    assert np.abs(display.to_display(out.frames[0]) - display.to_display(truth[0]) - 0.02).max() < 1e-4


def test_frames_that_are_there_are_not_made_again() -> None:
    truth = smooth(360, 640, 3)
    clip = holed(truth)
    made = ideal(clip, truth)
    out = placed(clip, made)
    before = out.frames[1]
    place(clip, made, display.to_light, out, lambda _: None)
    assert out.frames[1] is before
