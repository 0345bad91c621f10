"""The plate's detail and grain on a generated picture, against a shot whose clean plate is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from helpers.memory_clip import MemoryClip, MemoryContext, MemoryFrames

from void_engine.cleanplate import shaper
from void_engine.interface import KEEP
from void_engine.restore.detail import DetailOptions, add_detail
from void_engine.restore.scales import Scales
from void_engine.synthetic import render_shot

SCALE = Scales.even(4.0)
WIDTH, HEIGHT, FRAMES = 240, 136, 8


class Shot:
    """``made``: what a perfect model would generate at a quarter of the size, brought back up."""

    def __init__(self, frames: int = FRAMES, *, grain: float = 1.0) -> None:
        rendered = list(render_shot(WIDTH, HEIGHT, frames, 3, grain=grain))
        self.clip = MemoryClip([f.plate for f in rendered], [f.quadmask for f in rendered])
        self.truth = [f.truth for f in rendered]
        self.made = MemoryFrames(self.clip)
        for position, truth in enumerate(self.truth):
            small = cv2.resize(shaper.encode(truth), (WIDTH // 4, HEIGHT // 4), interpolation=cv2.INTER_AREA)
            soft = shaper.decode(cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
            if (self.clip.quadmask(position) != KEEP).any():
                self.made.write(position, soft)

    def error(self, frames: MemoryFrames, position: int) -> float:
        hole = self.clip.quadmask(position) != KEEP
        difference = shaper.encode(frames.frames[position]) - shaper.encode(self.truth[position])
        return float(np.sqrt(np.mean(difference[hole] ** 2)))


@pytest.fixture(scope="module")
def shot() -> Shot:
    return Shot()


def detailed(shot: Shot, folder, made=None, seed: int = 1, **options: object) -> MemoryFrames:
    out = MemoryFrames(shot.clip)
    add_detail(shot.clip, made or shot.made, SCALE, DetailOptions(**options), seed, out, MemoryContext(folder))
    return out


@pytest.fixture(scope="module")
def finished(shot, tmp_path_factory) -> MemoryFrames:
    return detailed(shot, tmp_path_factory.mktemp("detail"))


def test_detail_that_other_frames_show_comes_back(shot, finished):
    before = np.mean([shot.error(shot.made, p) for p in shot.made.frames])
    after = np.mean([shot.error(finished, p) for p in shot.made.frames])
    assert after < 0.6 * before
    assert np.mean([c[shot.clip.quadmask(p) != KEEP].mean() for p, c in finished.confidence.items()]) > 0.6


def test_what_the_removal_changed_stays_as_it_was_generated(shot, tmp_path):
    """A generated thing that no frame shows: it stays, whatever other frames have there."""
    made = MemoryFrames(shot.clip)
    for position, frame in shot.made.frames.items():
        hole = np.argwhere(shot.clip.quadmask(position) == 0)
        y, x = hole.mean(axis=0).astype(int)
        changed = frame.copy()
        changed[y - 10 : y + 10, x - 10 : x + 10] = [0.02, 0.5, 0.02]
        made.write(position, changed)
    out = detailed(shot, tmp_path, made, grain=0.0)
    for position in (2, 4, 6):
        y, x = np.argwhere(shot.clip.quadmask(position) == 0).mean(axis=0).astype(int)
        patch = out.frames[position][y - 4 : y + 4, x - 4 : x + 4]
        assert np.abs(patch - np.array([0.02, 0.5, 0.02], np.float32)).max() < 0.02
        assert out.confidence[position][y - 4 : y + 4, x - 4 : x + 4].max() < 0.05


def test_generated_pixels_get_the_plates_grain_and_it_lives(shot, tmp_path):
    bare = detailed(shot, tmp_path / "bare", detail=False, grain=0.0)
    grainy = detailed(shot, tmp_path / "grainy", detail=False)
    noise = {p: shaper.encode(grainy.frames[p]) - shaper.encode(bare.frames[p]) for p in (4, 5)}
    hole = (shot.clip.quadmask(4) == 0) & (shot.clip.quadmask(5) == 0)
    without = list(render_shot(WIDTH, HEIGHT, FRAMES, 3, grain=0.0))[4].truth
    plate = shaper.encode(shot.truth[4]) - shaper.encode(without)
    assert 0.8 < noise[4][hole].std() / plate[hole].std() < 1.25
    assert abs(np.corrcoef(noise[4][hole].ravel(), noise[5][hole].ravel())[0, 1]) < 0.1


def test_another_seed_gives_another_grain(shot, finished, tmp_path):
    """The same seed gives the same bits: so says the next test, too."""
    other = detailed(shot, tmp_path, seed=2)
    assert not np.array_equal(finished.frames[5], other.frames[5])


def test_a_stage_that_was_cancelled_goes_on_with_the_same_bits(shot, finished, tmp_path):
    from void_client.errors import Cancelled

    out = MemoryFrames(shot.clip)
    for cancel_at in (4, 17, 36):
        with pytest.raises(Cancelled):
            add_detail(
                shot.clip, shot.made, SCALE, DetailOptions(), 1, out, MemoryContext(tmp_path / "c", cancel_at=cancel_at)
            )
    add_detail(shot.clip, shot.made, SCALE, DetailOptions(), 1, out, MemoryContext(tmp_path / "c"))
    assert all(np.array_equal(frame, out.frames[p]) for p, frame in finished.frames.items())
