"""The ``motion`` reasoner on scenes of known truth and on the real shots."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.shots import read_shot, shots_folder
from void_client.errors import Cancelled

from void_engine.reasoning.analysis import Analysis
from void_engine.reasoning.interface import PRIMARY, ReasonRequest
from void_engine.reasoning.motion import MotionReasoner
from void_engine.reasoning.motion_light import find_mirror, mirrored, shadow
from void_engine.segmentation import MatteStore
from void_engine.segmentation.pictures import shrink

pymunk = pytest.importorskip("pymunk")


class Frames:
    """`void_engine.segmentation.interface.Pictures` of an array; counts what is asked for."""

    def __init__(self, frames: np.ndarray) -> None:
        self.frames = frames
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        return self.frames.shape[1:3]

    def rgb(self, position: int) -> np.ndarray:
        return self.frames[position]

    def proxy(self, position: int, long_side: int) -> np.ndarray:
        self.asked.append(position)
        return shrink(self.frames[position], long_side)


def request_of(plates: np.ndarray, primary: np.ndarray, folder: Path) -> ReasonRequest:
    mattes = MatteStore(folder / "mattes", plates.shape[1:3])
    for position, mask in enumerate(primary):
        mattes.write(PRIMARY, position, mask.astype(np.float32))
    return ReasonRequest(
        Frames(plates), tuple(range(1001, 1001 + len(plates))), mattes, folder / "scratch", frame_rate=12.0
    )


def no_tick(done: int, of: int, note: str) -> None:
    assert 0 <= done <= of


def test_a_ball_that_a_post_stops_is_affected_from_the_touch_on_and_would_have_gone_on(tmp_path: Path) -> None:
    from helpers.physics_shots import ball_is_stopped

    shot = ball_is_stopped(28)
    request = request_of(shot.plates, shot.primary, tmp_path)
    analysis = MotionReasoner().reason(request, no_tick)
    ball = next(each for each in analysis.affected if each.category == "physical")
    assert 1010 <= ball.first_frame <= 1014
    assert ball.will_move
    assert ball.path[-1].x > ball.path[0].x + 0.3
    assert abs(ball.path[-1].y - ball.path[0].y) < 0.1
    assert ball.why
    assert any("straight" in warning for warning in analysis.warnings)
    last = request.mattes.read(ball.matte, 27) > 0.5
    truth = (shot.plates[27] != shot.without[27]).any(axis=-1) & ~shot.primary[27]
    assert (last & truth).sum() > 0.5 * last.sum()


def test_a_shadow_that_crosses_the_floor_goes_with_the_object(tmp_path: Path) -> None:
    from helpers.physics_shots import shadow_crosses

    shot = shadow_crosses(12)
    request = request_of(shot.plates, shot.primary, tmp_path)
    analysis = MotionReasoner().reason(request, no_tick)
    found = next(each for each in analysis.affected if each.noun == "shadow of the object")
    assert found.category == "artifact"
    masks = np.stack([request.mattes.read(found.matte, position) > 0.5 for position in range(12)])
    assert (masks & shot.affected).sum() > 0.35 * (masks | shot.affected).sum()


def test_a_tower_at_the_water_has_its_reflection(tmp_path: Path) -> None:
    from helpers.physics_shots import tower_mirrored

    shot = tower_mirrored(8)
    request = request_of(shot.plates, shot.primary, tmp_path)
    analysis = MotionReasoner().reason(request, no_tick)
    assert [each.noun for each in analysis.affected] == ["reflection of the object"]
    mask = request.mattes.read("affected-0", 4) > 0.5
    assert (mask & shot.affected[4]).sum() > 0.6 * (mask | shot.affected[4]).sum()


def test_without_its_cue_nothing_is_found(tmp_path: Path) -> None:
    from helpers.physics_shots import tower_mirrored

    shot = tower_mirrored(6)
    request = request_of(shot.plates, shot.primary, tmp_path)
    analysis = MotionReasoner(frozenset({"collides"})).reason(request, no_tick)
    assert analysis.affected == ()
    assert any("only the object itself" in warning for warning in analysis.warnings)


def still(frames: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """A textured wall and an object of its own texture; nothing moves."""
    rng = np.random.default_rng(2)
    picture = cv2.GaussianBlur(rng.integers(0, 255, (90, 160, 3)).astype(np.uint8), (0, 0), 1.5)
    primary = np.zeros((90, 160), bool)
    primary[30:60, 70:90] = True
    return np.stack([picture] * frames), np.stack([primary] * frames)


def test_nothing_that_moves_is_nothing_affected_and_says_so(tmp_path: Path) -> None:
    plates, primary = still()
    analysis = MotionReasoner().reason(request_of(plates, primary, tmp_path), no_tick)
    assert analysis.affected == ()
    assert analysis.confidence < 0.5
    assert analysis.warnings


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_clips_are_analysed(tmp_path: Path, frames: int) -> None:
    plates, primary = still(frames)
    assert MotionReasoner().reason(request_of(plates, primary, tmp_path), no_tick).reasoner == "motion"


def test_an_object_that_is_never_there_is_a_warning(tmp_path: Path) -> None:
    plates, primary = still()
    analysis = MotionReasoner().reason(request_of(plates, primary & False, tmp_path), no_tick)
    assert analysis.affected == ()
    assert "empty in every frame" in analysis.warnings[0]


def test_a_tiny_picture_is_no_error(tmp_path: Path) -> None:
    plates = np.zeros((3, 8, 12, 3), np.uint8)
    primary = np.zeros((3, 8, 12), bool)
    primary[:, 3:5, 4:7] = True
    assert MotionReasoner().reason(request_of(plates, primary, tmp_path), no_tick).affected == ()


def test_the_same_answer_after_a_cancelled_run_and_no_second_measuring(tmp_path: Path) -> None:
    from helpers.physics_shots import ball_is_stopped

    shot = ball_is_stopped(8)
    fresh = MotionReasoner().reason(request_of(shot.plates, shot.primary, tmp_path / "a"), no_tick)

    def cancel(done: int, of: int, note: str) -> None:
        if done == 12:
            raise Cancelled("The job was cancelled.")

    request = request_of(shot.plates, shot.primary, tmp_path / "b")
    with pytest.raises(Cancelled):
        MotionReasoner().reason(request, cancel)
    measured = sorted((tmp_path / "b" / "scratch" / "motion").glob("measure.*"))
    stamps = [path.stat().st_mtime_ns for path in measured]
    assert MotionReasoner().reason(request, no_tick) == fresh
    assert [path.stat().st_mtime_ns for path in measured] == stamps
    assert len(measured) == 8


@pytest.mark.parametrize(
    "name",
    ["lime", "moving_ball", "BigBen"],
)
@pytest.mark.slow
def test_real_shots_have_what_people_see_in_them(tmp_path: Path, name: str) -> None:
    if shots_folder() is None:
        pytest.skip("the real shots are not here")
    plates, primary = [], []
    for linear, quadmask in read_shot(name, scale=0.5 if name == "BigBen" else 0.1, frames=28):
        plates.append((np.clip(linear, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8))
        primary.append(quadmask <= 95)
    analysis: Analysis = MotionReasoner().reason(request_of(np.stack(plates), np.stack(primary), tmp_path), no_tick)
    cause = {"lime": "thing inside the object", "moving_ball": "thing that runs into the object",
             "BigBen": "reflection of the object"}[name]  # fmt: skip
    assert analysis.affected[0].noun == cause
    assert analysis.belongings == ()


def test_a_mirror_needs_something_mirrored() -> None:
    plates, primary = still(1)
    assert find_mirror(plates[0], primary[0]) is None
    turned = plates[0].copy()
    turned[60:90, :] = plates[0][59:29:-1, :] // 2
    found = find_mirror(turned, primary[0])
    assert found is not None
    assert found.below <= 1
    assert mirrored(primary[0], found)[62:88, 75:85].all()


def test_shadow_is_what_is_darker_on_even_ground_only() -> None:
    ground = np.full((90, 160, 3), 180, np.uint8)
    ground[55:65, 90:120] = 110
    primary = np.zeros((90, 160), bool)
    primary[20:62, 70:92] = True
    found = shadow(ground, primary, np.zeros_like(primary))
    assert found[57:63, 96:110].all()
    assert found[:50].sum() == 0
    rng = np.random.default_rng(1)
    textured = rng.integers(20, 250, (90, 160, 3)).astype(np.uint8)
    assert not shadow(textured, primary, np.zeros_like(primary)).any()
