"""Shots of known truth for the benchmark of clean plates: cameras, layers of depth, drifting light.

Promises that plate and truth are the same bits wherever the quadmask keeps, and the same pixels for the
same `Scene`. A room with lamps above 100 (`void_engine.synthetic` draws it) is seen by a camera that
stands, pans, zooms, is held by hand or tracks past posts; a ball with a contact shadow and a
reflection rolls through, and where asked an arm that the quadmask keeps swings in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from void_engine import synthetic
from void_engine.interface import AFFECTED, KEEP, OVERLAP, REMOVE, RGB, Quadmask

Plane = npt.NDArray[np.float32]  # (H, W)
Matrix = npt.NDArray[np.float64]  # (3, 3)

_WORLD = 1.5  # size of the drawn room in frames
_FLOOR = 0.62  # where the floor begins, in heights of the frame
_LAMPS = 4.5  # the room's lamps reach 30: times this, 135


@dataclass(frozen=True)
class Scene:
    """``camera``: static, pan, zoom, handheld or track (past posts, with parallax). ``drift``: how far exposure and
    white balance wander, 1 is a third of a stop. ``travel``: the ball's way in shares of the frame's width.
    ``arm``: a large arm, kept by the quadmask, swings through. ``grain`` 1 is an ordinary plate's. ``shade``: how dark
    a soft shadow on the wall is, that sways with the ball's time (all of it affected); ``sway``: its way in shares of
    the frame's width, of which 0.3 is as wide as itself.
    """

    name: str
    camera: str = "static"
    width: int = 1024
    height: int = 576
    frames: int = 12
    drift: float = 0.0
    travel: float = 0.7
    radius: float = 0.12
    arm: bool = False
    grain: float = 1.0
    shade: float = 0.0
    sway: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class Frame:
    """``plate`` and ``truth`` (H, W, 3) scene-linear with the same grain.

    ``again``: the truth with another grain; ``bare``: without any.
    """

    plate: RGB
    truth: RGB
    again: RGB
    bare: RGB
    quadmask: Quadmask


def render(scene: Scene) -> Iterator[Frame]:
    """The frames of a scene, drawn one by one."""
    room = synthetic._room(round(scene.width * _WORLD), round(scene.height * _WORLD), scene.seed)
    room = np.where(room > 5.0, room * np.float32(_LAMPS), room).astype(np.float32)
    for place in (0.36, 0.5, 0.62):  # lamps in the ball's way, too
        middle = round(place * room.shape[1]), round(room.shape[0] * 0.5 + 0.08 * scene.height)
        cv2.circle(room, middle, max(2, scene.height // 60), (150.0, 130.0, 110.0), -1, cv2.LINE_AA)
    ways = _ways(scene)
    for index in range(scene.frames):
        time = index / max(1, scene.frames - 1)
        clean = _seen(scene, room, ways[index])
        ball, cover, shadow, mirror = _ball(scene, clean, time)
        shade = _shade(scene, time)
        full = clean * (1.0 - 0.7 * shadow)[..., None] * (1.0 - shade)
        full += (ball - full) * (0.35 * mirror)[..., None]
        full += (ball - full) * cover[..., None]
        quadmask = _quadmask(cover, np.maximum(np.maximum(shadow, mirror), (shade[..., 0] > 0.004).astype(np.float32)))
        if scene.arm:
            arm, there = _arm(scene, time)
            clean, full = (np.where(there[..., None], arm, light) for light in (clean, full))
            quadmask[there] = KEEP
        gain = _gain(scene, time)
        noise, other = (_noise(scene, index, kind) for kind in (0, 1))
        truth, again, bare = (synthetic._exposed(clean * gain, grain) for grain in (noise, other, 0.0 * noise))
        plate = np.where((quadmask == KEEP)[..., None], truth, synthetic._exposed(full * gain, noise))
        yield Frame(plate.astype(np.float32), truth, again, bare, quadmask)


def _noise(scene: Scene, index: int, kind: int) -> RGB:
    random = np.random.default_rng([scene.seed, index, kind])
    noise = random.standard_normal((scene.height, scene.width, 3), dtype=np.float32)
    return synthetic._resampled_grain(noise) * np.float32(scene.grain)


def _gain(scene: Scene, time: float) -> npt.NDArray[np.float32]:
    """Exposure and white balance of a moment: smooth, with a little pumping."""
    stops = scene.drift * (0.33 * np.sin(4.0 * time) + 0.05 * np.sin(23.0 * time))
    colour = scene.drift * 0.12 * np.array([time - 0.5, 0.0, 0.5 - time])
    return np.exp2(stops + colour).astype(np.float32)


def _ways(scene: Scene) -> list[Matrix]:
    """For every frame the map from frame pixels (its middle is the origin) to the room's (likewise)."""
    random = np.random.default_rng([scene.seed, 5])
    shake = random.standard_normal((scene.frames + 8, 4))
    shake = np.stack([np.convolve(shake[:, k], np.hanning(7) / 1.9, "valid")[: scene.frames] for k in range(4)], axis=1)
    ways = []
    for index in range(scene.frames):
        time = index / max(1, scene.frames - 1) - 0.5
        x = y = roll = bend = 0.0
        size = 1.0
        if scene.camera in ("pan", "track"):
            x, y, roll = 0.25 * time * scene.width, 0.03 * time * scene.height, 0.01 * time
        elif scene.camera == "zoom":
            x, size = 0.05 * time * scene.width, float(1.28 ** (-time))
        elif scene.camera == "handheld":
            x, y = 0.012 * scene.width * shake[index, 0], 0.014 * scene.height * shake[index, 1]
            roll, bend = 0.006 * shake[index, 2], 0.03 * shake[index, 3] / scene.width
        cos, sin = size * np.cos(roll), size * np.sin(roll)
        ways.append(np.array([[cos, -sin, x], [sin, cos, y], [bend, 0.3 * bend, 1.0]]))
    return ways


def _seen(scene: Scene, room: RGB, way: Matrix) -> RGB:
    over = 2 if scene.width <= 1200 else 1  # the camera's resampling must not alias
    size = (scene.width * over, scene.height * over)
    to_middle = np.array(
        [[1 / over, 0, 0.5 / over - scene.width / 2], [0, 1 / over, 0.5 / over - scene.height / 2], [0, 0, 1]]
    )
    to_room = np.array([[1, 0, room.shape[1] / 2 - 0.5], [0, 1, room.shape[0] / 2 - 0.5], [0, 0, 1]])

    def look(picture: npt.NDArray[np.float32], matrix: Matrix) -> npt.NDArray[np.float32]:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        wide = cv2.warpPerspective(
            picture, to_room @ matrix @ to_middle, size, flags=flags, borderMode=cv2.BORDER_REFLECT
        )
        small = cv2.resize(wide, (scene.width, scene.height), interpolation=cv2.INTER_AREA)
        return np.asarray(small, dtype=np.float32)

    if scene.camera != "track":
        return look(room, way)
    # The floor lies: it moves by 1 at the wall and by more towards the camera; the posts stand before the wall.
    line = (_FLOOR - 0.5) * scene.height
    lean = 0.8 * way[0, 2] / scene.height
    floor = way.copy()
    floor[0, 1] += lean
    floor[0, 2] -= lean * line
    rows = np.arange(scene.height) - scene.height / 2
    below = np.clip(rows - line + way[1, 2] + 0.5, 0.0, 1.0).astype(np.float32)[:, None, None]
    light = look(room, way) * (1.0 - below) + look(room, floor) * below
    posts, cover = _posts(scene, room)
    near = way.copy()
    near[0, 2] *= 1.35
    return light + (look(posts, near) - light) * look(cover, near)[..., None]


def _posts(scene: Scene, room: RGB) -> tuple[RGB, Plane]:
    random = np.random.default_rng([scene.seed, 6])
    posts, cover = np.zeros_like(room), np.zeros(room.shape[:2], dtype=np.float32)
    wide, foot = max(4, round(0.035 * scene.width)), round(room.shape[0] * 0.5 + 0.16 * scene.height)
    for place in (0.3, 0.44, 0.57, 0.71):
        x = round(place * room.shape[1])
        streaks = random.uniform(0.6, 1.4, (max(2, foot // 5), 4, 1)).astype(np.float32)
        wood = cv2.resize(streaks, (wide, foot), interpolation=cv2.INTER_CUBIC)[..., None]
        posts[:foot, x : x + wide] = wood * np.array([0.34, 0.25, 0.13], dtype=np.float32)
        cover[:foot, x : x + wide] = 1.0
    return posts, cover


def _ball(scene: Scene, clean: RGB, time: float) -> tuple[RGB, Plane, Plane, Plane]:
    """The ball's light, its cover, its shadow and its reflection in the floor, over the frame."""
    height, width = clean.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    radius = scene.radius * height
    middle = (width * (0.5 + (time - 0.5) * scene.travel), height * 0.62)
    u, v = (x - middle[0]) / radius, (y - middle[1]) / radius
    away = np.hypot(u, v)
    cover = np.clip((1.0 - away) * radius + 0.5, 0.0, 1.0)
    lit = 0.12 + 0.6 * np.clip(0.5 - 0.4 * u - 0.5 * v, 0.0, 1.0)
    band = 0.5 + 0.5 * np.tanh(6.0 * np.sin(3.0 * (u + 0.4 * v) + 9.0 * time))
    light = (np.array([0.05, 0.25, 0.5]) + band[..., None] * np.array([0.6, 0.2, -0.35])) * lit[..., None]
    fall = np.hypot(u - 0.35, (v - 1.0) / 0.4) / 1.3
    edge = np.clip(1.0 - fall, 0.0, 1.0)
    shadow = edge * edge * (3.0 - 2.0 * edge)
    sunk = np.hypot(u, (v - 1.75) / 0.8)
    mirror = np.clip((1.0 - sunk) * 4.0, 0.0, 1.0) * (v > 0.95)
    planes = (plane.astype(np.float32) for plane in (cover, shadow, mirror))
    return (light.astype(np.float32), *planes)  # type: ignore[return-value]


def _shade(scene: Scene, time: float) -> RGB:
    """How much a soft shadow on the wall takes of the light, bluish as in the open; (H, W, 3)."""
    if scene.shade == 0.0:
        return np.zeros((scene.height, scene.width, 3), dtype=np.float32)
    y, x = np.mgrid[0 : scene.height, 0 : scene.width].astype(np.float32)
    middle = scene.width * (0.5 + scene.sway * (time - 0.5)), scene.height * (0.3 + 0.03 * np.sin(6.0 * time))
    away = np.hypot((x - middle[0]) / (0.15 * scene.width), (y - middle[1]) / (0.22 * scene.height))
    edge = np.clip((1.0 - away) / 0.5, 0.0, 1.0)
    soft = scene.shade * edge * edge * (3.0 - 2.0 * edge)
    return np.asarray(soft[..., None] * np.array([1.0, 0.95, 0.85]), dtype=np.float32)


def _arm(scene: Scene, time: float) -> tuple[RGB, npt.NDArray[np.bool_]]:
    """A sleeve over a good part of the frame's upper side, that sways and moves in and out."""
    size = (scene.width, scene.height)
    random = np.random.default_rng([scene.seed, 8])
    cloth = random.uniform(0.04, 0.5, (20, 30, 3)).astype(np.float32)
    cloth = np.asarray(cv2.resize(cloth, size, interpolation=cv2.INTER_CUBIC))
    across, down = scene.width * 0.06 * np.sin(5.0 * time), scene.height * (-0.5 + 0.12 * np.sin(7.0 * time))
    matrix = np.array([[1.0, 0.1, across], [0.0, 1.0, down]])
    moved = cv2.warpAffine(cloth, matrix, size, borderMode=cv2.BORDER_CONSTANT, borderValue=(-9.0,) * 3)
    return np.asarray(moved, dtype=np.float32), np.asarray(moved.min(axis=2) > -1.0)


def _quadmask(cover: Plane, touched: Plane) -> Quadmask:
    kernel = np.ones((3, 3), dtype=np.uint8)
    thing, dark = (np.asarray(cv2.dilate((plane > 0.0).astype(np.uint8), kernel)) > 0 for plane in (cover, touched))
    quadmask = np.full(cover.shape, KEEP, dtype=np.uint8)
    quadmask[dark] = AFFECTED
    quadmask[thing] = REMOVE
    quadmask[thing & dark] = OVERLAP
    return quadmask
