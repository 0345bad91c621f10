"""Frames that are solved again between finished ones, before a standing camera, do not wear a neighbour's grain."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from helpers.memory_clip import MemoryClip, MemoryContext, MemoryFrames

from void_engine.cleanplate import CleanplateEngine, shaper
from void_engine.interface import KEEP, RGB, GenerateRequest

SIZE, FRAMES, AGAIN = (72, 128), 14, 6


def shot() -> tuple[MemoryClip, RGB]:
    """A card that passes before a wall with strong grain; and the wall's light, encoded."""
    rng = np.random.default_rng(4)
    wall = cv2.resize(rng.random((18, 32, 3)).astype(np.float32), SIZE[::-1], interpolation=cv2.INTER_CUBIC) * 0.5 + 0.2
    plates, masks = [], []
    for position in range(FRAMES):
        picture = wall + 0.02 * rng.standard_normal((*SIZE, 3)).astype(np.float32)
        mask = np.full(SIZE, KEEP, np.uint8)
        left = 4 + 7 * position
        picture[18:54, left : left + 22] = 0.8
        mask[16:56, left - 2 : left + 24] = 0
        plates.append(shaper.decode(picture))
        masks.append(mask)
    return MemoryClip(plates, masks), wall


def solved(clip: MemoryClip, folder: Path) -> MemoryFrames:
    folder.mkdir()
    engine, out = CleanplateEngine(), MemoryFrames(clip)
    request = GenerateRequest(seed=1, prompt="", options=engine.check_options({}))
    assert engine.generate(clip, request, out, MemoryContext(folder))["camera"] == "locked"
    return out


def test_a_frame_that_is_solved_again_has_grain_of_its_own(tmp_path: Path) -> None:
    clip, wall = shot()
    first = solved(clip, tmp_path / "first")
    finished = [first.result(position) for position in range(FRAMES)]
    plates = [clip.plate(p) if p == AGAIN else finished[p] for p in range(FRAMES)]
    kept = np.full(SIZE, KEEP, np.uint8)
    masks = [clip.quadmask(p) if p == AGAIN else kept for p in range(FRAMES)]
    again = solved(MemoryClip(plates, masks), tmp_path / "again").result(AGAIN)
    hole = clip.quadmask(AGAIN) != KEEP

    def grain(picture: RGB) -> np.ndarray:
        rest = shaper.encode(picture) - wall
        return (rest - cv2.GaussianBlur(rest, (0, 0), 3.0))[hole].ravel()

    own = grain(again)
    assert 0.8 < own.std() / 0.02 < 1.2
    for near in range(AGAIN - 2, AGAIN + 3):
        if near != AGAIN:
            assert abs(np.corrcoef(own, grain(finished[near]))[0, 1]) < 0.3, near
