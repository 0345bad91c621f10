"""Each region of a clip has the scale that its crop was enlarged by, pixel by pixel."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
from helpers.memory_clip import MemoryClip, MemoryContext, MemoryFrames

from void_engine.cleanplate import shaper
from void_engine.interface import KEEP
from void_engine.restore.detail import DetailOptions, add_detail
from void_engine.restore.regions import find_regions
from void_engine.restore.scales import Scales

HEIGHT, WIDTH, FRAMES = 160, 480, 5
LEFT, RIGHT = (slice(50, 110), slice(30, 120)), (slice(66, 94), slice(400, 440))
SMALL = (slice(76, 82), slice(414, 420))  # what only a sharp model draws


def two_things() -> MemoryClip:
    masks = np.full((FRAMES, HEIGHT, WIDTH), KEEP, np.uint8)
    for hole in (LEFT, RIGHT):
        masks[1][hole] = 0
    rng = np.random.default_rng(1)
    scene = cv2.resize(rng.random((20, 60, 3)).astype(np.float32), (WIDTH, HEIGHT)) * 0.5 + 0.1
    return MemoryClip([scene.copy() for _ in range(FRAMES)], list(masks))


def test_scales_are_the_regions_own_and_survive_a_manifest() -> None:
    clip = two_things()
    found = find_regions(clip, lambda *_: (48, 80), lambda _: None)
    assert len(found) == 2
    regions = (replace(found[0], model_size=(16, 32)), found[1])
    scales = Scales.of(regions)
    again = Scales.from_facts(json.loads(json.dumps(scales.to_facts())))
    assert np.array_equal(again.cells, scales.cells)
    assert len(scales.to_facts()["cells"]) < 6
    hole = clip.quadmask(1) != KEEP
    parts = dict(again.parts(hole))
    assert set(parts) == {np.float32(region.scale) for region in regions}
    for region in regions:
        assert np.array_equal(
            parts[np.float32(region.scale)][region.window(1)], (hole[region.window(1)]) & region.owned(1, hole.shape)
        )
    assert np.array_equal(sum(part.astype(int) for part in parts.values()), hole)


def test_odd_shapes_and_nothing_at_all_survive_a_manifest() -> None:
    cells = np.random.default_rng(3).choice(np.array([0, 0, 1.5, 1.5, 3.25], np.float32), (17, 31))
    assert np.array_equal(Scales.from_facts(Scales(cells).to_facts()).cells, cells)
    nothing = Scales.of(())
    assert np.array_equal(Scales.from_facts(nothing.to_facts()).cells, nothing.cells)
    assert [scale for scale, _ in nothing.parts(np.ones((4, 4), bool))] == [1.0]


def test_a_sharp_region_keeps_its_small_things_beside_a_coarse_one(tmp_path) -> None:
    """A patch that only the model has: at the coarse region's scale it would pass for what other frames show."""
    clip = two_things()
    made = MemoryFrames(clip)
    picture = clip.plate(1).copy()
    picture[SMALL] = shaper.decode(shaper.encode(picture[SMALL]) + np.float32(0.3))
    made.write(1, picture)
    cells = np.zeros((1, 2), np.float32)
    cells[0] = 12.0, 1.0

    def kept(scales: Scales, name: str) -> float:
        out = MemoryFrames(clip)
        (tmp_path / name).mkdir()
        add_detail(clip, made, scales, DetailOptions(grain=0.0), 1, out, MemoryContext(tmp_path / name))
        added = shaper.encode(out.frames[1][SMALL]) - shaper.encode(clip.plate(1)[SMALL])
        return float(added[1:-1, 1:-1].mean())

    assert kept(Scales(cells), "own") > 0.28
    assert kept(Scales.even(12.0), "one") < 0.15
