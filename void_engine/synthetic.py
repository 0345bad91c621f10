"""A small shot of known truth: a ball rolls through a brick room, and the same room without it.

Promises that plate and truth are the same bits wherever the quadmask keeps, that they share their
grain, and that the same arguments give the same pixels. For tests, the demo and the doctor command.
Must not read files, and is not meant to look like any real shot.

The room is drawn once, larger than the frame, from random bricks and boards (so nothing repeats);
a camera pans, zooms and turns over it. Light is scene-linear: lamps reach 30, the darkest gaps go
slightly below zero as a camera's noise floor does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.interface import AFFECTED, KEEP, OVERLAP, REMOVE, RGB, Quadmask

Plane = npt.NDArray[np.float32]  # (H, W)

_WORLD = 1.5  # size of the drawn room in frames
_FLOOR = 0.62  # where the floor begins, in heights of the frame
_RADIUS = 0.12  # of the ball, in heights of the frame


@dataclass(frozen=True)
class SyntheticFrame:
    """``plate`` and ``truth`` (H, W, 3) scene-linear with the same grain; ``quadmask`` (H, W)."""

    plate: RGB
    truth: RGB
    quadmask: Quadmask


def render_shot(
    width: int, height: int, frames: int, seed: int = 0, *, moving: bool = True, grain: float = 1.0
) -> Iterator[SyntheticFrame]:
    """Yields ``frames`` frames of ``width`` by ``height`` pixels (from 16 by 16 on).

    ``moving`` False locks the camera off; ``grain`` scales the noise, 0 leaves it out. The ball travels
    a little less far than its hole is wide, so that a sliver of the room is seen on no frame.
    """
    if width < 16 or height < 16 or frames < 1:
        raise ValueError("a synthetic shot has at least 16 by 16 pixels and one frame")
    over = 2 if max(width, height) <= 1200 else 1  # supersampling: the camera's resampling must not alias
    room = _room(round(width * _WORLD * over), round(height * _WORLD * over), seed)
    for index in range(frames):
        time = index / max(1, frames - 1)
        clean = _seen(room, width, height, over, time if moving else 0.5)
        noise = np.random.default_rng([seed, index]).standard_normal(clean.shape, dtype=np.float32)
        noise = _resampled_grain(noise) * np.float32(grain)
        ball, cover, shadow = _ball(width, height, time)
        dark = clean * (1.0 - 0.72 * shadow)[..., None]
        full = dark + (ball - dark) * cover[..., None]
        quadmask = _quadmask(cover, shadow)
        truth = _exposed(clean, noise)
        plate = np.where((quadmask == KEEP)[..., None], truth, _exposed(full, noise))
        yield SyntheticFrame(plate.astype(np.float32), truth, quadmask)


def _resampled_grain(noise: RGB) -> RGB:
    soft = cv2.GaussianBlur(noise, (0, 0), 0.6)
    return np.asarray(soft / max(float(soft.std()), 1e-6), dtype=np.float32)


def _exposed(light: RGB, noise: RGB) -> RGB:
    """Adds the camera's grain: shot noise grows with the root of light, on a small floor."""
    sigma = np.sqrt(np.maximum(light, 0.0) * 0.0004 + 0.000004)
    return np.asarray(light - 0.002 + noise * np.minimum(sigma, 0.06), dtype=np.float32)


def _seen(room: RGB, width: int, height: int, over: int, time: float) -> RGB:
    """The room through the camera: a slow pan with a little zoom and roll."""
    zoom, roll = 1.0 + 0.05 * time, 0.012 * (time - 0.5)
    x = room.shape[1] / 2 + (time - 0.5) * 0.22 * width * over
    y = room.shape[0] / 2 + (time - 0.5) * 0.04 * height * over
    cos, sin = np.cos(roll) / zoom, np.sin(roll) / zoom
    half_w, half_h = (width * over - 1) / 2, (height * over - 1) / 2
    matrix = np.array([[cos, -sin, x - cos * half_w + sin * half_h], [sin, cos, y - sin * half_w - cos * half_h]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    big = cv2.warpAffine(room, matrix, (width * over, height * over), flags=flags, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32)


def _room(width: int, height: int, seed: int) -> RGB:
    random = np.random.default_rng([seed, 1])
    room = np.zeros((height, width, 3), dtype=np.float32)
    # The frame shows the middle of the room: its floor line lies at _FLOOR of that part.
    floor = round(height * (0.5 + (_FLOOR - 0.5) / _WORLD))
    _bricks(room[:floor], random, height)
    _boards(room[floor:], random)
    _furnish(room, floor, random)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    room *= 1.15 - 0.35 * (x * 0.8 - 0.3) ** 2 - 0.25 * (y + 0.1) ** 2
    _lamps(room, floor, random)
    return room


def _cloud(random: np.random.Generator, height: int, width: int, cells: tuple[int, int]) -> Plane:
    coarse = random.standard_normal((cells[0], cells[1]), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _bricks(wall: RGB, random: np.random.Generator, scale: int) -> None:
    height, width = wall.shape[:2]
    wall[:] = (0.20, 0.18, 0.16)
    tall, long = max(3, scale // 30), max(6, scale // 11)
    joint = max(1, tall // 8)
    for row, y in enumerate(range(-(tall // 2), height, tall)):
        x = -random.integers(0, long) - (row % 2) * (long // 2)
        while x < width:
            wide = int(long * random.uniform(0.75, 1.2))
            tone = np.array([0.26, 0.105, 0.07]) * random.uniform(0.55, 1.5) + random.uniform(-0.01, 0.02, 3)
            wall[max(0, y) : max(0, y + tall - joint), max(0, x) : max(0, x + wide - joint)] = tone
            x += wide
    fine = _cloud(random, height, width, (max(2, height // 3), max(2, width // 3)))
    broad = _cloud(random, height, width, (6, 9))
    wall *= np.maximum(0.3, 1.0 + 0.10 * fine + 0.10 * broad)[..., None]


def _boards(floor: RGB, random: np.random.Generator) -> None:
    """Boards that run towards the camera: drawn flat, then laid down in perspective."""
    height, width = floor.shape[:2]
    flat = np.zeros((height * 2, width, 3), dtype=np.float32)
    x = 0
    while x < width:
        wide = max(4, int(width / 26 * random.uniform(0.8, 1.2)))
        y = -int(random.integers(0, height))
        while y < flat.shape[0]:
            long = int(height * random.uniform(0.7, 1.3))
            tone = np.array([0.30, 0.19, 0.105]) * random.uniform(0.65, 1.35)
            flat[max(0, y) : max(0, y + long - 2), x : x + wide - max(1, wide // 20)] = tone
            y += long
        x += wide
    streaks = _cloud(random, flat.shape[0], width, (max(2, height // 24), max(2, width // 2)))
    flat *= np.maximum(0.3, 1.0 + 0.16 * streaks)[..., None]
    corners = np.array([[0, 0], [width, 0], [width, flat.shape[0]], [0, flat.shape[0]]], dtype=np.float32)
    spread = 0.55 * width
    laid = np.array([[0, 0], [width, 0], [width + spread, height], [-spread, height]], dtype=np.float32)
    matrix = cv2.getPerspectiveTransform(corners, laid)
    floor[:] = cv2.warpPerspective(flat, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _furnish(room: RGB, floor: int, random: np.random.Generator) -> None:
    """A skirting board, and pictures on the wall: long edges that a fill must not break."""
    height, width = room.shape[:2]
    skirting = max(2, height // 32)
    room[floor - skirting : floor] = (0.42, 0.40, 0.36)
    room[floor - skirting : floor - skirting + max(1, skirting // 6)] = (0.62, 0.60, 0.55)
    room[floor : floor + max(1, skirting // 5)] = -0.002
    for place in (0.18, 0.36, 0.55, 0.77):
        wide, tall = int(width * random.uniform(0.05, 0.085)), int(height * random.uniform(0.12, 0.2))
        x, y = int(width * place), floor - skirting - tall - int(height * random.uniform(0.03, 0.12))
        frame = max(1, height // 120)
        room[y : y + tall, x : x + wide] = (0.025, 0.02, 0.018)
        inner = room[y + frame : y + tall - frame, x + frame : x + wide - frame]
        sky, land = random.uniform(0.1, 0.7, 3), random.uniform(0.02, 0.3, 3)
        ramp = np.linspace(0, 1, inner.shape[0])[:, None, None]
        inner[:] = sky * (1 - ramp) + land * ramp


def _lamps(room: RGB, floor: int, random: np.random.Generator) -> None:
    height, width = room.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    for place in (0.27, 0.47, 0.68):
        centre_x, centre_y = place * width / height, (floor / height) * random.uniform(0.42, 0.55)
        away = np.hypot(x - centre_x, y - centre_y)
        warm = np.array([1.0, 0.78, 0.5], dtype=np.float32)
        room += (0.30 * np.exp(-away / 0.10))[..., None] * warm * (room + 0.02)
        bulb = np.clip((0.012 - away) * height / 1.5, 0.0, 1.0)[..., None]
        room[:] = room * (1 - bulb) + bulb * warm * 30.0


def _ball(width: int, height: int, time: float) -> tuple[RGB, Plane, Plane]:
    """The ball's light, its coverage and the strength of its shadow, over the frame."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    radius = _RADIUS * height
    # The shadow reaches 1.5 radii to each side: 0.88 of that whole width leaves a sliver never seen.
    travel = 0.88 * 3.0 * radius
    centre_x = width * 0.5 + (time - 0.5) * travel
    centre_y = height * 0.70 + 0.01 * height * np.sin(time * 9.0)
    u, v = (x - centre_x) / radius, (y - centre_y) / radius
    away = np.hypot(u, v)
    cover = np.clip((1.0 - away) * radius + 0.5, 0.0, 1.0)
    depth = np.sqrt(np.maximum(0.0, 1.0 - np.minimum(away, 1.0) ** 2))
    lit = np.maximum(0.0, -0.45 * u - 0.65 * v + 0.61 * depth)
    band = 0.5 + 0.5 * np.tanh(8.0 * np.sin(3.0 * (u + 0.4 * v) + 7.0 * time))
    tone = np.array([0.05, 0.22, 0.42]) + band[..., None] * np.array([0.55, 0.25, -0.3])
    shine = np.exp(-((u + 0.36) ** 2 + (v + 0.46) ** 2) / 0.008)
    light = tone * (0.06 + lit)[..., None] + (14.0 * shine)[..., None]
    fall = np.hypot((x - centre_x - 0.25 * radius) / 1.25, (y - centre_y - 0.95 * radius) / 0.42) / radius
    edge = np.clip(1.0 - fall, 0.0, 1.0)
    # A smooth step with an end: outside of it plate and truth are exactly the same.
    shadow = edge * edge * (3.0 - 2.0 * edge)
    return light.astype(np.float32), cover.astype(np.float32), shadow.astype(np.float32)


def _quadmask(cover: Plane, shadow: Plane) -> Quadmask:
    kernel = np.ones((3, 3), dtype=np.uint8)

    def grown(mask: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel)).astype(np.bool_)

    thing, dark = grown(cover > 0.0), grown(shadow > 0.0)
    quadmask = np.full(cover.shape, KEEP, dtype=np.uint8)
    quadmask[dark] = AFFECTED
    quadmask[thing] = REMOVE
    quadmask[thing & dark] = OVERLAP
    return quadmask
