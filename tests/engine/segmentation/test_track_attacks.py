"""The weightless segmenter on what makes trackers fail, drawn so that the truth is known.

A scene is a sprite that is warped over a ground, frame by frame. Each has a least overlap for the frames in which the
object is seen, and its matte must be empty, with little confidence, where it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from helpers.memory_clip import MemoryClip
from helpers.memory_pictures import MemoryMattes, MemoryPictures, overlap

from void_engine.segmentation import Box, Click, Prompt
from void_engine.segmentation.interface import Picture
from void_engine.segmentation.pictures import ClipPictures
from void_engine.segmentation.track import TrackSegmenter

Light = npt.NDArray[np.float32]  # (H, W, 3), 0 to 255
Cover = npt.NDArray[np.float32]  # (H, W), how much of each pixel the object covers
HEIGHT, WIDTH = 180, 320
ORANGE, GREEN = (215.0, 120.0, 40.0), (70.0, 160.0, 60.0)


@dataclass
class Scene:
    """``cover``: per frame what is seen of the object; ``place`` is its middle."""

    pictures: list[Picture] = field(default_factory=list)
    cover: list[Cover] = field(default_factory=list)
    place: list[tuple[float, float]] = field(default_factory=list)

    def add(self, light: Light, cover: Cover, place: tuple[float, float]) -> None:
        self.pictures.append(np.clip(light + 0.5, 0, 255).astype(np.uint8))
        self.cover.append(cover)
        self.place.append(place)

    def click(self, position: int, dx: float = 0.0, dy: float = 0.0, positive: bool = True) -> Click:
        x, y = self.place[position]
        return Click(position, x + dx, y + dy, positive)


@dataclass(frozen=True)
class Tracked:
    overlaps: list[float]  # of the frames where more than an eighth of the object is seen
    invented: list[float]  # where nothing is seen: the share of the picture that the matte covers
    sure: list[float]
    unsure: list[float]  # confidence where nothing is seen
    covered: float  # share of all mixed and whole pixels, from 10 % cover on, that the mattes hold


def tracked(scene: Scene, *clicks: Click, boxes: tuple[Box, ...] = ()) -> Tracked:
    mattes = MemoryMattes()
    TrackSegmenter().segment(
        MemoryPictures(scene.pictures), (Prompt("it", clicks, boxes),), mattes, lambda done, of, note: None
    )
    whole = max(float(cover.sum()) for cover in scene.cover)
    result = Tracked([], [], [], [], _covered(scene, mattes))
    for position, cover in enumerate(scene.cover):
        matte, sure = mattes.read("it", position), mattes.confidence("it", position)
        if cover.sum() > 0.125 * whole:
            result.overlaps.append(overlap(matte, cover > 0.5))
            result.sure.append(sure)
        elif not (cover > 0.1).any():
            result.invented.append(float((matte > 0.5).mean()))
            result.unsure.append(sure)
    return result


def _covered(scene: Scene, mattes: MemoryMattes) -> float:
    touched = [cover > 0.1 for cover in scene.cover]
    held = sum(int((mattes.read("it", i) > 0.5)[each].sum()) for i, each in enumerate(touched))
    return held / max(1, sum(int(each.sum()) for each in touched))


def ground(height: int = HEIGHT, width: int = WIDTH, seed: int = 1, tone: tuple[float, ...] = (80, 95, 120)) -> Light:
    """Clouds at three scales: nowhere flat."""
    random = np.random.default_rng(seed)
    light = np.empty((height, width, 3), np.float32)
    light[:] = tone
    for cells, strength in ((4, 40), (16, 25), (48, 15)):
        cloud = random.random((cells, round(cells * width / height) + 1, 1), dtype=np.float32) - 0.5
        light += strength * cv2.resize(cloud, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    return light + random.normal(0, 1.5, light.shape).astype(np.float32)


def sprite(shape: str = "disc", colour: tuple[float, ...] = ORANGE, seed: int = 2) -> tuple[Light, Cover]:
    """Of 128 pixels a side, with marks that show how it is turned."""
    light = ground(128, 128, seed, colour)
    cover = np.zeros((128, 128), np.float32)
    if shape == "disc":
        cv2.circle(cover, (64, 64), 58, 1.0, -1)
    else:  # a bar of two tones
        cv2.rectangle(cover, (4, 42), (123, 85), 1.0, -1)
        light[:, 64:] *= 0.7
    cv2.line(light, (64, 64), (100, 64), tuple(0.6 * np.array(colour)), 8)
    return light, cover


def laid(
    under: Light, thing: tuple[Light, Cover], x: float, y: float, size: float, turn: float = 0.0
) -> tuple[Light, Cover]:
    """``size`` is the sprite's side in pixels; edges are soft by antialiasing."""
    way = cv2.getRotationMatrix2D((63.5, 63.5), turn, size / 128)
    way[:, 2] += (x - 63.5, y - 63.5)
    shape = under.shape[1], under.shape[0]
    # Warped at four times the size and shrunk: true coverage.
    fine = way * 4.0
    fine[:, 2] += 1.5
    wide = (shape[0] * 4, shape[1] * 4)
    cover = cv2.warpAffine(thing[1], fine, wide, flags=cv2.INTER_LINEAR)
    cover = np.asarray(cv2.resize(cover, shape, interpolation=cv2.INTER_AREA), np.float32)
    over = cv2.warpAffine(thing[0], way, shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return under + (over - under) * cover[..., None], cover


Way = Callable[[int], tuple[float, float]]


def moved(
    count: int,
    way: Way,
    *,
    size: float = 48.0,
    thing: tuple[Light, Cover] | None = None,
    turn: float = 0.0,
    scale: float = 1.0,
    shift: float = 0.0,
    shutter: int = 1,
    board: tuple[int, int] | None = None,
    light: Callable[[int], float] = lambda position: 1.0,
    tone: tuple[float, ...] = (80, 95, 120),
) -> Scene:
    """``turn`` degrees and ``shift`` pixels of the camera a frame; ``scale`` by the last frame; ``shutter``: how many
    moments of half a frame are averaged; ``board``: columns that are in front of it."""
    thing, scene = thing or sprite(), Scene()
    wide = ground(HEIGHT, WIDTH + round(abs(shift) * count), tone=tone)
    front = ground(seed=9, tone=(60, 60, 65))
    for position in range(count):
        left = round(shift * position) if shift >= 0 else wide.shape[1] - WIDTH + round(shift * position)
        under = wide[:, left : left + WIDTH]
        grown = size * scale ** (position / max(1, count - 1))
        seen, total = np.zeros_like(under), np.zeros(under.shape[:2], np.float32)
        for moment in range(shutter):
            part = 0.5 * (moment / shutter)
            x0, y0 = way(position)
            x1, y1 = way(position + 1)
            x, y = x0 + (x1 - x0) * part, y0 + (y1 - y0) * part
            drawn, cover = laid(under, thing, x, y, grown, turn * position)
            seen += drawn / shutter
            total += cover / np.float32(shutter)
        if board is not None:
            seen[:, board[0] : board[1]], total[:, board[0] : board[1]] = front[:, board[0] : board[1]], 0.0
        scene.add(seen * np.float32(light(position)), total, way(position))
    return scene


def across(speed: float, start: float = 50.0) -> Way:
    return lambda position: (start + speed * position, 90 + 10 * np.sin(position))


def bounced(speed: float) -> Way:
    """To and fro between the sides."""

    def way(position: int) -> tuple[float, float]:
        at = (speed * position) % 480
        return 40 + (at if at < 240 else 480 - at), 60 + 4.0 * position

    return way


def still(position: int) -> tuple[float, float]:
    return 160.0, 90.0


def fast() -> Tracked:
    scene = moved(14, bounced(38), size=24)
    return tracked(scene, scene.click(6))


def turning() -> Tracked:
    scene = moved(14, across(5, 110), size=80, thing=sprite("bar"), turn=20)
    return tracked(scene, scene.click(0, 0, 0), scene.click(0, 25, 0), scene.click(0, -25, 0))


def growing() -> Tracked:
    scene = moved(14, still, size=40, scale=2.5)
    return tracked(scene, scene.click(0))


def shrinking() -> Tracked:
    scene = moved(14, across(6, 110), size=90, scale=0.4)
    return tracked(scene, scene.click(0))


def behind_a_post() -> Tracked:
    scene = moved(16, across(10, 80), board=(150, 170))
    return tracked(scene, scene.click(0))


def behind_a_wall() -> Tracked:
    scene = moved(20, across(12, 50), board=(120, 200))
    return tracked(scene, scene.click(0))


def out_and_in() -> Tracked:
    scene = moved(16, lambda position: (abs(position - 8) * 20.0 - 50, 90))
    return tracked(scene, scene.click(1))


def blurred() -> Tracked:
    scene = moved(12, across(18, 50), shutter=12)
    return tracked(scene, scene.click(5))


def camouflaged() -> Tracked:
    scene = moved(12, across(6, 90), thing=sprite(colour=(100, 105, 115)), size=56)
    return tracked(scene, scene.click(4))


def panned() -> Tracked:
    scene = moved(14, across(-7, 200), shift=7)
    return tracked(scene, scene.click(7))


def panned_past() -> Tracked:
    """The camera follows it."""
    scene = moved(14, still, shift=11)
    return tracked(scene, scene.click(7))


def dimmed() -> Tracked:
    scene = moved(14, across(6, 90), light=lambda position: 1.0 - 0.05 * position)
    return tracked(scene, scene.click(0))


def flashed() -> Tracked:
    scene = moved(12, across(6, 90), light=lambda position: 1.8 if position == 5 else 1.0)
    return tracked(scene, scene.click(0))


def boxed() -> Tracked:
    scene = moved(12, across(8, 90))
    x, y = scene.place[6]
    return tracked(scene, boxes=(Box(6, x - 26, y - 26, x + 26, y + 26),))


def black_between() -> Tracked:
    scene = moved(12, across(6, 90), light=lambda position: 0.0 if 4 <= position < 7 else 1.0)
    for position in range(4, 7):
        scene.cover[position][:] = 0
    return tracked(scene, scene.click(0))


def cut_to_another_shot() -> Tracked:
    scene = moved(6, across(6, 90))
    other = moved(6, across(6, 90), thing=sprite(colour=GREEN), tone=(130, 120, 90))
    for picture in other.pictures:
        scene.add(picture.astype(np.float32), np.zeros((HEIGHT, WIDTH), np.float32), (0, 0))
    return tracked(scene, scene.click(0))


def huge() -> Tracked:
    scene = moved(8, lambda position: (150 + 3.0 * position, 90), size=240, thing=sprite())
    return tracked(scene, scene.click(0), scene.click(0, -60, 20), scene.click(0, 60, -20))


def tiny() -> Tracked:
    """Eight pixels in 2K."""
    scene, thing, under = Scene(), sprite(), ground(1152, 2048)
    for position in range(3):
        x, y = 900.0 + 9 * position, 600.0 + 4 * position
        scene.add(*laid(under, thing, x, y, 8.8), (x, y))
    return tracked(scene, scene.click(1))


def into_a_shadow() -> Tracked:
    """It goes into a shadow that lies on it and on the ground: half of the light."""
    scene = moved(16, across(9, 70))
    for position, picture in enumerate(scene.pictures):
        shade = np.clip((np.arange(WIDTH) - 130) / 60.0, 0, 1)[None, :, None]
        scene.pictures[position] = (picture * (1 - 0.4 * shade)).astype(np.uint8)
    return tracked(scene, scene.click(0))


def beside_its_like() -> Tracked:
    """Touches another that moves with it: a negative click keeps that one out."""
    scene, one, other = Scene(), sprite(), sprite(colour=(190, 110, 60), seed=5)
    for position in range(10):
        x = 90.0 + 7 * position
        light, _ = laid(ground(), other, x + 42, 90, 48)
        scene.add(*laid(light, one, x, 90, 48), (x, 90))
    return tracked(scene, scene.click(0), scene.click(0, 44, 0, positive=False))


def look_alike() -> Tracked:
    """It leaves while a thing of its own colours stands there, and comes back."""
    scene, one, other = Scene(), sprite(), sprite("bar", seed=5)
    for position in range(16):
        x = abs(position - 8) * 20.0 - 50
        light, _ = laid(ground(), other, 265, 60, 40)
        scene.add(*laid(light, one, x, 90, 48), (x, 90))
    return tracked(scene, scene.click(1))


def cluttered() -> Tracked:
    """The ground is of many colours, its own among them."""
    random, one, scene = np.random.default_rng(7), sprite(), Scene()
    wide = ground(HEIGHT, WIDTH + 80)
    for _ in range(160):
        x, y, r = random.integers(0, WIDTH + 80), random.integers(0, HEIGHT), random.integers(4, 14)
        cv2.circle(wide, (int(x), int(y)), int(r), tuple(float(v) for v in random.integers(30, 220, 3)), -1)
    for position in range(14):
        under = np.ascontiguousarray(wide[:, 5 * position : 5 * position + WIDTH])
        scene.add(*laid(under, one, 80 + 9 * position, 90, 56), (80 + 9 * position, 90))
    x, y = scene.place[5]
    return tracked(scene, boxes=(Box(5, x - 28, y - 28, x + 28, y + 28),))


def corrected_later() -> Tracked:
    """The first click names one half of it; two clicks on a later frame say the rest and what is beside it."""
    scene, one, half, other = Scene(), sprite(), sprite(colour=GREEN), sprite(colour=(60, 90, 190))
    for position in range(12):
        x = 100.0 + 6 * position
        light, _ = laid(ground(), other, x + 80, 90, 40)
        light, left = laid(light, one, x, 90, 48)
        light, right = laid(light, half, x + 36, 90, 48)
        scene.add(light, np.maximum(left, right), (x, 90))
    clicks = scene.click(0, -8), scene.click(8, 40), scene.click(8, 82, positive=False)
    return tracked(scene, *clicks)


# Least overlap on average and in the worst frame: what is reached today, less a little.
QUICK: dict[Callable[[], Tracked], tuple[float, float]] = {
    fast: (0.95, 0.92),
    boxed: (0.95, 0.9),
}
LONG: dict[Callable[[], Tracked], tuple[float, float]] = {
    turning: (0.93, 0.88),
    dimmed: (0.95, 0.9),
    behind_a_wall: (0.95, 0.9),
    growing: (0.95, 0.92),
    shrinking: (0.95, 0.92),
    behind_a_post: (0.95, 0.9),
    out_and_in: (0.95, 0.9),
    blurred: (0.82, 0.75),  # of the true half: it errs outward, to take the blur along
    camouflaged: (0.92, 0.85),
    panned: (0.95, 0.92),
    panned_past: (0.95, 0.92),
    flashed: (0.95, 0.9),
    into_a_shadow: (0.95, 0.9),
    black_between: (0.95, 0.9),
    cut_to_another_shot: (0.95, 0.9),
    huge: (0.95, 0.95),
    tiny: (0.7, 0.6),
    beside_its_like: (0.95, 0.92),
    look_alike: (0.95, 0.9),
    cluttered: (0.87, 0.75),
    corrected_later: (0.95, 0.92),
}


def judged(scene: Callable[[], Tracked], mean: float, worst: float) -> None:
    found = scene()
    assert float(np.mean(found.overlaps)) > mean
    assert min(found.overlaps) > worst
    assert max(found.invented, default=0.0) == 0.0
    assert max(found.unsure, default=0.0) < 0.2


@pytest.mark.parametrize("scene", QUICK, ids=lambda scene: scene.__name__)
def test_it_is_followed_where_seen_and_nothing_is_invented_where_not(scene: Callable[[], Tracked]) -> None:
    judged(scene, *QUICK[scene])


@pytest.mark.slow
@pytest.mark.parametrize("scene", LONG, ids=lambda scene: scene.__name__)
def test_it_is_followed_through_what_makes_trackers_fail(scene: Callable[[], Tracked]) -> None:
    judged(scene, *LONG[scene])


@pytest.mark.slow
def test_what_blur_mixes_with_it_is_taken_along() -> None:
    assert blurred().covered > 0.92


def test_behind_a_wall_it_is_gone_and_confidence_falls_and_comes_back_with_it() -> None:
    found = behind_a_wall()
    assert max(found.invented) == 0.0
    assert min(found.overlaps) > 0.9
    hidden = int(np.argmin(found.sure))
    assert found.sure[hidden] < 0.6 < found.sure[0]
    assert found.sure[-1] > 0.8


@pytest.mark.parametrize("count", [1, 2])
def test_clips_of_one_and_two_frames(count: int) -> None:
    scene = moved(count, across(6, 120))
    assert min(tracked(scene, scene.click(count - 1)).overlaps) > 0.95


@pytest.mark.parametrize("level", [0, 128, 255])
def test_pictures_without_anything_in_them_are_no_error(level: int) -> None:
    pictures = [np.full((45, 81, 3), level, np.uint8)] * 3
    mattes = MemoryMattes()
    prompt = Prompt("it", (Click(1, 40, 20),))
    TrackSegmenter().segment(MemoryPictures(pictures), (prompt,), mattes, lambda done, of, note: None)
    assert mattes.read("it", 1)[20, 40] == 1.0
    assert all(float((matte > 0.5).mean()) < 0.7 for matte in mattes.mattes.values())


def test_light_far_beyond_white_below_black_and_infinite(tmp_path: Path) -> None:
    # The pictures are display-referred, so what a plate may hold is clipped before it is looked at.
    scene, plates = moved(4, across(6, 90)), []
    for position, picture in enumerate(scene.pictures):
        light = (picture.astype(np.float32) / 255) ** 2.2
        light[20:24, 30 + 7 * position : 36 + 7 * position] = 1000.0
        light[150:154, 200:230] = -0.5
        light[160, 10 + position] = np.inf
        plates.append(light)
    keep = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mattes = MemoryMattes()
    pictures = ClipPictures(MemoryClip(plates, [keep] * len(plates)), tmp_path)
    TrackSegmenter().segment(pictures, (Prompt("it", (scene.click(0),)),), mattes, lambda done, of, note: None)
    assert min(overlap(mattes.read("it", i), cover > 0.5) for i, cover in enumerate(scene.cover)) > 0.95
