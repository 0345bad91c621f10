"""Small physics scenes of known truth: each simulated with the object and without it, so what it caused is known.

Drawn flat on a textured ground, seen from the side, y down. The true affected region is where the two drawings differ
outside the object. Needs pymunk; deterministic for one version of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pymunk

HEIGHT, WIDTH = 180, 320
GROUND = 140  # y of the ground's surface
_DIFFERS = 10  # of 255
_STEPS = 20  # of the simulation, per frame
_RATE = 12.0


@dataclass(frozen=True)
class PhysicsShot:
    """``plates`` (T, H, W, 3) uint8, ``without`` the same with no object; both masks (T, H, W) bool."""

    name: str
    plates: np.ndarray
    without: np.ndarray
    primary: np.ndarray
    affected: np.ndarray


Frames = tuple[list[np.ndarray], list[np.ndarray]]  # pictures; the object's masks


def ball_hits_blocks(frames: int = 36) -> PhysicsShot:
    """The object, a ball, rolls in from the left and knocks a stack of blocks over."""

    def simulate(present: bool) -> Frames:
        space = _space()
        blocks = [_block(space, 190, GROUND - 11 - 22 * level, 22, 22) for level in range(3)]
        ball = _ball(space, 30, GROUND - 14, 14, 6.0, (240, 0)) if present else None
        return _film(space, blocks, ball, 14, frames)

    return _shot("ball_hits_blocks", simulate)


def ball_is_stopped(frames: int = 36) -> PhysicsShot:
    """The object, a post, stands in a ball's way: without it the ball rolls on."""

    def simulate(present: bool) -> Frames:
        space = _space()
        ball = _ball(space, 20, GROUND - 11, 11, 1.0, (170, 0))
        if present:
            post = pymunk.Segment(space.static_body, (200, GROUND), (200, GROUND - 40), 8)
            post.friction, post.elasticity = 0.8, 0.3
            space.add(post)
        pictures, masks = [], []
        for picture, mask in zip(*_film(space, [], ball, 11, frames, colour=(60, 160, 60)), strict=True):
            inside = np.zeros_like(mask)
            if present:
                cv2.rectangle(picture, (192, GROUND - 48), (208, GROUND), (200, 60, 50), -1)
                inside[GROUND - 48 : GROUND + 1, 192:209] = True
            pictures.append(picture)
            masks.append(inside)
        return pictures, masks

    return _shot("ball_is_stopped", simulate)


def hand_drops_box(frames: int = 36) -> PhysicsShot:
    """The object, a hand, carries a box in from the left and lets it go: without it the box falls at once."""

    def simulate(present: bool) -> Frames:
        space = _space()
        box = _block(space, 70, 60, 28, 24)
        pictures, masks = [], []
        for frame in range(frames):
            x = 70 + 5.0 * min(frame, 18)
            away = 4.0 * max(0, frame - 20)
            if present and frame <= 20:
                box.position, box.velocity, box.angle, box.angular_velocity = (x, 60), (0, 0), 0, 0
            else:
                _advance(space)
            picture = _drawn([box], None, 0)
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            if present:
                _hand(mask, (x, 60 - 12 - away))
                picture[mask > 0] = (205, 160, 130)
            pictures.append(picture)
            masks.append(mask > 0)
        return pictures, masks

    return _shot("hand_drops_box", simulate)


def shadow_crosses(frames: int = 30) -> PhysicsShot:
    """The object, a disc in the air, throws a soft shadow on the ground below as it crosses."""

    def simulate(present: bool) -> Frames:
        pictures, masks = [], []
        for frame in range(frames):
            picture = _ground()
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            if present:
                x = 30 + round(260 * frame / (frames - 1))
                cv2.circle(mask, (x, GROUND - 22), 15, 1, -1, cv2.LINE_8)
                shade = np.zeros((HEIGHT, WIDTH), np.float32)
                cv2.ellipse(shade, (x + 6, GROUND + 14), (20, 8), 0, 0, 360, 1.0, -1)
                dark = 1 - 0.5 * cv2.GaussianBlur(shade, (0, 0), 1.5)
                picture = (picture * dark[..., None]).astype(np.uint8)
                picture[mask > 0] = (210, 70, 60)
            pictures.append(picture)
            masks.append(mask > 0)
        return pictures, masks

    return _shot("shadow_crosses", simulate)


def tower_mirrored(frames: int = 20) -> PhysicsShot:
    """The object, a tower, stands at still water that mirrors it; small waves shift the rows."""

    def simulate(present: bool) -> Frames:
        rng = np.random.default_rng(5)
        line, pictures, masks = 95, [], []
        for _ in range(frames):
            picture = _sky()
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            if present:
                cv2.rectangle(mask, (200, 30), (224, line - 1), 1, -1)
                picture[mask > 0] = (190, 140, 60)
                picture[40:60, 206:218] = (250, 240, 200)
            for row in range(line, HEIGHT):
                shift = int(rng.integers(-2, 3))
                up = max(0, 2 * line - 1 - row)
                picture[row] = (0.55 * np.roll(picture[up], shift, axis=0) + (10, 20, 40)).astype(np.uint8)
            pictures.append(picture)
            masks.append(mask > 0)
        return pictures, masks

    return _shot("tower_mirrored", simulate)


def blocks_in_a_row(frames: int = 30) -> PhysicsShot:
    """The object, a ball, hits one block, which slides on and hits another: the ball never touches that one."""

    def simulate(present: bool) -> Frames:
        space = _space()
        blocks = [_block(space, x, GROUND - 12, 24, 24) for x in (130, 195)]
        ball = _ball(space, 30, GROUND - 14, 14, 3.0, (230, 0)) if present else None
        return _film(space, blocks, ball, 14, frames)

    return _shot("blocks_in_a_row", simulate)


def passes_in_front(frames: int = 30) -> PhysicsShot:
    """The object, a disc, crosses in front of a box that goes its own way and one that stands: it affects nothing."""

    def simulate(present: bool) -> Frames:
        pictures, masks = [], []
        for frame in range(frames):
            picture = _ground()
            x = 240 - 4 * frame
            cv2.rectangle(picture, (x, 70), (x + 26, 96), (60, 90, 200), -1)
            cv2.rectangle(picture, (x + 6, 76), (x + 14, 90), (220, 220, 90), -1)
            cv2.rectangle(picture, (230, 84), (250, 110), (90, 180, 110), -1)
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            if present:
                cv2.circle(mask, (40 + 8 * frame, 88), 24, 1, -1, cv2.LINE_8)
                picture[mask > 0] = (210, 70, 60)
            pictures.append(picture)
            masks.append(mask > 0)
        return pictures, masks

    return _shot("passes_in_front", simulate)


def pans_with_parallax(frames: int = 24) -> PhysicsShot:
    """The camera pans past near posts before a far wall while the object, a disc, crosses: it affects nothing."""

    def simulate(present: bool) -> Frames:
        rng = np.random.default_rng(11)
        far = cv2.GaussianBlur(rng.integers(0, 255, (HEIGHT, 2 * WIDTH, 3)).astype(np.uint8), (0, 0), 2.5)
        near = cv2.GaussianBlur(rng.integers(0, 120, (HEIGHT, 2 * WIDTH, 3)).astype(np.uint8), (0, 0), 1.5)
        pictures, masks = [], []
        for frame in range(frames):
            picture = far[:, 2 * frame : 2 * frame + WIDTH].copy()
            for post in (60, 200, 340):
                left = max(0, post - 4 * frame)
                right = max(0, min(WIDTH, post - 4 * frame + 18))
                picture[60:, left:right] = near[60:, left + 4 * frame : right + 4 * frame]
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            if present:
                cv2.circle(mask, (40 + 9 * frame, 70), 20, 1, -1, cv2.LINE_8)
                picture[mask > 0] = (210, 70, 60)
            pictures.append(picture)
            masks.append(mask > 0)
        return pictures, masks

    return _shot("pans_with_parallax", simulate)


def passes_by_chance(seed: int, frames: int = 24) -> PhysicsShot:
    """The object, a disc, passes in front of a thing that goes its own way; all else by chance: it affects nothing."""
    rng = np.random.default_rng(seed)
    wall = rng.integers(60, 200, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    wall = cv2.GaussianBlur(wall, (0, 0), float(rng.uniform(0.8, 4)))
    speed = rng.uniform(-6, 6, 2) * [1, 0.3]
    start = np.array([WIDTH / 2, 80]) - speed * frames / 2 + rng.uniform(-20, 20, 2)
    side = int(rng.integers(12, 34))
    look = cv2.GaussianBlur(rng.integers(0, 255, (side, side, 3)).astype(np.uint8), (0, 0), 1.5) // 2
    look = look + rng.integers(0, 120, 3).astype(np.uint8)
    across = rng.uniform(4, 11) * rng.choice([-1, 1])
    row, radius = 80 + rng.uniform(-15, 15), int(rng.integers(12, 30))
    colour = rng.integers(20, 250, 3)

    def simulate(present: bool) -> Frames:
        pictures, masks = [], []
        for frame in range(frames):
            room = np.pad(wall, ((side, side), (WIDTH, WIDTH), (0, 0)))
            x, y = np.rint(start + speed * frame + (WIDTH, side)).astype(int)
            room[y : y + side, x : x + side] = look
            picture, mask = room[side:-side, WIDTH:-WIDTH].copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
            if present:
                cv2.circle(mask, (round(WIDTH / 2 + across * (frame - frames / 2)), int(row)), radius, 1, -1)
                picture[mask > 0] = colour
            pictures.append(picture)
            masks.append(mask > 0)
        return pictures, masks

    return _shot(f"passes_by_chance {seed}", simulate)


def turned(shot: PhysicsShot) -> PhysicsShot:
    """Left for right."""
    return _each(shot, lambda frames, position: frames[position][:, ::-1])


def enlarged(shot: PhysicsShot, times: float) -> PhysicsShot:
    def larger(frames: np.ndarray, position: int) -> np.ndarray:
        how = cv2.INTER_LINEAR if frames.ndim == 4 else cv2.INTER_NEAREST
        return cv2.resize(frames[position], None, fx=times, fy=times, interpolation=how)

    return _each(shot, larger)


def recoloured(shot: PhysicsShot) -> PhysicsShot:
    """Darker, other hues, with the same grain in every frame over all."""
    grain = np.random.default_rng(9).integers(0, 24, (HEIGHT, WIDTH, 1))

    def other(frames: np.ndarray, position: int) -> np.ndarray:
        if frames.ndim == 3:
            return frames[position]
        return np.clip(frames[position][..., ::-1] * 0.7 + grain, 0, 255).astype(np.uint8)

    return _each(shot, other)


def panned(shot: PhysicsShot, speed: float = 1.5, width: int = 260) -> PhysicsShot:
    """As a camera sees it that turns right by ``speed`` pixels a frame."""

    def seen(frames: np.ndarray, position: int) -> np.ndarray:
        how = cv2.INTER_LINEAR if frames.ndim == 4 else cv2.INTER_NEAREST
        shift = np.array([[1, 0, -speed * position], [0, 1, 0]], np.float64)
        return cv2.warpAffine(frames[position], shift, (width, HEIGHT), flags=how)

    return _each(shot, seen)


def _each(shot: PhysicsShot, change: Callable[[np.ndarray, int], np.ndarray]) -> PhysicsShot:
    def changed(frames: np.ndarray) -> np.ndarray:
        frames = frames.astype(np.uint8)
        return np.stack([np.ascontiguousarray(change(frames, position)) for position in range(len(frames))])

    masks = (changed(shot.primary) > 0, changed(shot.affected) > 0)
    return PhysicsShot(shot.name, changed(shot.plates), changed(shot.without), *masks)


ALL: tuple[Callable[[], PhysicsShot], ...] = (
    ball_hits_blocks,
    ball_is_stopped,
    hand_drops_box,
    shadow_crosses,
    tower_mirrored,
    blocks_in_a_row,
    passes_in_front,
    pans_with_parallax,
)


def _shot(name: str, simulate: Callable[[bool], Frames]) -> PhysicsShot:
    pictures, masks = simulate(True)
    without, _ = simulate(False)
    plates, clean, primary = np.stack(pictures), np.stack(without), np.stack(masks)
    differs = np.abs(plates.astype(np.int16) - clean.astype(np.int16)).max(axis=-1) > _DIFFERS
    return PhysicsShot(name, plates, clean, primary, differs & ~primary)


def _space() -> pymunk.Space:
    space = pymunk.Space()
    space.gravity = (0, 300)
    ground = pymunk.Segment(space.static_body, (-500, GROUND + 10), (WIDTH + 500, GROUND + 10), 10)
    ground.friction, ground.elasticity = 0.7, 0.1
    space.add(ground)
    return space


def _block(space: pymunk.Space, x: float, y: float, wide: float, high: float) -> pymunk.Body:
    body = pymunk.Body(1.0, pymunk.moment_for_box(1.0, (wide, high)))
    body.position = (x, y)
    shape = pymunk.Poly.create_box(body, (wide, high))
    shape.friction, shape.elasticity = 0.6, 0.1
    space.add(body, shape)
    return body


def _ball(
    space: pymunk.Space, x: float, y: float, radius: float, mass: float, velocity: tuple[float, float]
) -> pymunk.Body:
    body = pymunk.Body(mass, pymunk.moment_for_circle(mass, 0, radius))
    body.position, body.velocity = (x, y), velocity
    body.angular_velocity = velocity[0] / radius
    shape = pymunk.Circle(body, radius)
    shape.friction, shape.elasticity = 0.6, 0.4
    space.add(body, shape)
    return body


def _advance(space: pymunk.Space) -> None:
    for _ in range(_STEPS):
        space.step(1.0 / _RATE / _STEPS)


def _film(
    space: pymunk.Space,
    blocks: list[pymunk.Body],
    ball: pymunk.Body | None,
    radius: int,
    frames: int,
    colour: tuple[int, int, int] = (210, 60, 50),
) -> Frames:
    pictures, masks = [], []
    for _ in range(frames):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        if ball is not None:
            cv2.circle(mask, _pixel(ball.position), radius, 1, -1, cv2.LINE_8)
        pictures.append(_drawn(blocks, ball, radius, colour))
        masks.append(mask > 0)
        _advance(space)
    return pictures, masks


def _drawn(
    blocks: list[pymunk.Body], ball: pymunk.Body | None, radius: int, colour: tuple[int, int, int] = (210, 60, 50)
) -> np.ndarray:
    picture = _ground()
    for index, block in enumerate(blocks):
        shape = next(iter(block.shapes))
        corners = [_pixel(block.local_to_world(corner)) for corner in shape.get_vertices()]
        cv2.fillConvexPoly(picture, np.array(corners), ((60, 90, 200), (200, 170, 60), (90, 180, 110))[index % 3])
        cv2.polylines(picture, [np.array(corners)], True, (30, 30, 40), 1)
    if ball is not None:
        middle = _pixel(ball.position)
        cv2.circle(picture, middle, radius, colour, -1, cv2.LINE_8)
        spoke = (middle[0] + radius * np.cos(ball.angle) * 0.7, middle[1] + radius * np.sin(ball.angle) * 0.7)
        cv2.line(picture, middle, _pixel(spoke), (40, 20, 20), 2)
    return picture


def _hand(mask: np.ndarray, foot: tuple[float, float]) -> None:
    """An arm from the top of the picture down to a fist whose lower edge is at ``foot``."""
    x, y = _pixel(foot)
    cv2.rectangle(mask, (x - 7, 0), (x + 7, max(0, y - 12)), 1, -1)
    if y > 0:
        cv2.ellipse(mask, (x, y - 9), (13, 10), 0, 0, 360, 1, -1)


def _pixel(point: tuple[float, float]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _ground() -> np.ndarray:
    """A wall over a floor, both finely textured."""
    picture = np.empty((HEIGHT, WIDTH, 3), np.float32)
    picture[:GROUND], picture[GROUND:] = (150, 155, 160), (165, 150, 130)
    return _textured(picture)


def _sky() -> np.ndarray:
    picture = np.empty((HEIGHT, WIDTH, 3), np.float32)
    picture[:] = np.linspace(90, 190, HEIGHT)[:, None, None] * np.array([0.7, 0.85, 1.1])
    picture[70:95] = (70, 60, 60)
    return _textured(picture)


def _textured(picture: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(3)
    grain = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 1.2)
    return np.clip(picture + 14 * grain[..., None], 0, 255).astype(np.uint8)
