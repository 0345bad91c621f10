"""What the object sets in motion, carries and lets fall; and quiet scenes, in which it affects nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pymunk")

from helpers import physics_shots as physics
from helpers.physics_shots import PhysicsShot

from void_engine.reasoning.analysis import Analysis
from void_engine.reasoning.interface import PRIMARY, ReasonRequest
from void_engine.reasoning.motion import MotionReasoner
from void_engine.segmentation import MatteStore
from void_engine.segmentation.pictures import shrink


class Frames:
    def __init__(self, frames: np.ndarray) -> None:
        self.frames = frames
        self.kept: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        return self.frames.shape[1:3]

    def rgb(self, position: int) -> np.ndarray:
        return self.frames[position]

    def proxy(self, position: int, long_side: int) -> np.ndarray:
        if position not in self.kept:
            self.kept[position] = shrink(self.frames[position], long_side)
        return self.kept[position]


def reasoned(shot: PhysicsShot, folder: Path, frame_rate: float = 0.0) -> tuple[Analysis, np.ndarray]:
    """The analysis, and all its affected mattes together (T, H, W)."""
    mattes = MatteStore(folder / "mattes", shot.plates.shape[1:3])
    for position, mask in enumerate(shot.primary):
        mattes.write(PRIMARY, position, mask.astype(np.float32))
    numbers = tuple(range(len(shot.plates)))
    request = ReasonRequest(Frames(shot.plates), numbers, mattes, folder / "scratch", frame_rate=frame_rate)
    analysis = MotionReasoner().reason(request, lambda *_: None)
    found = np.zeros_like(shot.primary)
    for thing in analysis.affected:
        for position in numbers:
            if mattes.has(thing.matte, position):
                found[position] |= mattes.read(thing.matte, position) > 0.5
    return analysis, found & ~shot.primary


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def same(shot: PhysicsShot) -> PhysicsShot:
    return shot


@pytest.mark.parametrize(
    ("change", "least"),
    [
        pytest.param(same, 0.6, id="as it is"),
        pytest.param(physics.turned, 0.6, id="from the right", marks=pytest.mark.slow),
        pytest.param(physics.recoloured, 0.6, id="other colours", marks=pytest.mark.slow),
        pytest.param(physics.panned, 0.5, id="the camera pans", marks=pytest.mark.slow),
        pytest.param(lambda shot: physics.enlarged(shot, 2.0), 0.6, id="twice as large", marks=pytest.mark.slow),
    ],
)
def test_what_a_ball_knocks_over_is_affected_with_the_place_where_it_stood(
    tmp_path: Path, change: Callable[[PhysicsShot], PhysicsShot], least: float
) -> None:
    shot = change(physics.ball_hits_blocks(15))
    analysis, found = reasoned(shot, tmp_path)
    nouns = [each.noun for each in analysis.affected]
    assert "thing that the object sets in motion" in nouns
    assert "place where that thing stood" in nouns
    assert analysis.belongings == ()
    assert all(each.first_frame >= 6 and each.why and each.confidence < 0.9 for each in analysis.affected)
    assert overlap(found, shot.affected) > least


def test_a_block_that_a_pushed_block_hits_is_affected_and_less_surely(tmp_path: Path) -> None:
    shot = physics.blocks_in_a_row(15)
    analysis, found = reasoned(shot, tmp_path)
    pushed = [each for each in analysis.affected if each.noun == "thing that the object sets in motion"]
    assert [each.first_frame for each in pushed] == [4, 7]
    assert "a thing that the object had set in motion touched it" in pushed[1].why
    assert pushed[1].confidence < pushed[0].confidence
    assert analysis.belongings == ()
    assert overlap(found, shot.affected) > 0.5


@pytest.mark.parametrize("scene", [physics.passes_in_front, physics.pans_with_parallax])
def test_what_moves_by_itself_behind_the_object_is_not_its_doing(
    tmp_path: Path, scene: Callable[[int], PhysicsShot]
) -> None:
    analysis, _ = reasoned(scene(22), tmp_path)
    assert analysis.affected == ()
    assert analysis.belongings == ()


def test_a_thing_that_the_object_carries_and_drops_would_have_fallen_where_it_was_held(tmp_path: Path) -> None:
    shot = physics.hand_drops_box(34)
    analysis, found = reasoned(shot, tmp_path)
    (box,) = analysis.affected
    assert box.noun == "thing that the object carries"
    assert abs(box.path[-1].x - 70 / 320) < 0.06
    assert abs(box.path[-1].y - 128 / 180) < 0.06
    carried = (shot.plates != shot.without).any(axis=-1)
    assert (found & carried)[3:].sum() > 0.5 * found[3:].sum()


def test_the_same_shot_twice_gives_the_same_answer_at_any_frame_rate(tmp_path: Path) -> None:
    shot = physics.blocks_in_a_row(9)
    one, first = reasoned(shot, tmp_path / "a")
    other, second = reasoned(shot, tmp_path / "b", frame_rate=60.0)
    assert one == other
    assert np.array_equal(first, second)


def test_what_a_matte_of_half_the_object_misses_goes_with_the_object(tmp_path: Path) -> None:
    shot = physics.shadow_crosses(12)
    upper = np.arange(shot.primary.shape[1])[:, None] < physics.GROUND - 22
    half = PhysicsShot(shot.name, shot.plates, shot.without, shot.primary & ~upper, shot.affected)
    analysis, _ = reasoned(half, tmp_path)
    (rest,) = analysis.belongings
    assert "cannot be told from motion" in " ".join(analysis.warnings)
    mattes = MatteStore(tmp_path / "mattes", shot.plates.shape[1:3])
    found = np.stack([mattes.read(rest.matte, position) > 0.5 for position in range(3, 12)])
    missing = (shot.primary & upper)[3:]
    assert (found & missing).sum() > 0.5 * missing.sum()
