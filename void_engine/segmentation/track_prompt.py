"""What the artist said of one object on one frame, in proxy pixels; refuses what names no pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from void_client.errors import JobError

from void_engine.segmentation.interface import Matte, Prompt

Mask = npt.NDArray[np.bool_]
Point = tuple[float, float]  # x, y in pixels whose centre lies at half


@dataclass(frozen=True)
class Seeds:
    """``shape`` is the proxy's; ``box`` x0, y0, x1, y1, all boxes of the frame together."""

    shape: tuple[int, int]
    positive: tuple[Point, ...] = ()
    negative: tuple[Point, ...] = ()
    box: tuple[float, float, float, float] | None = None
    matte: Matte | None = None

    @property
    def names_the_object(self) -> bool:
        return bool(self.positive) or self.box is not None or self.matte is not None


def check(prompt: Prompt, count: int, size: tuple[int, int]) -> None:
    """Raises ``JobError`` that names the prompt and the frame."""
    name = repr(prompt.name)
    if not (prompt.boxes or prompt.mattes or any(click.positive for click in prompt.clicks)):
        raise JobError(f"The object {name} has no click on it, no box and no matte.", hint="Click once on the object.")
    height, width = size
    for position in sorted(_positions(prompt)):
        if not 0 <= position < count:
            raise JobError(f"The object {name} is prompted on frame {position}; the clip's are 0 to {count - 1}.")
    for click in prompt.clicks:
        if not (0 <= click.x < width and 0 <= click.y < height):
            raise JobError(
                f"A click of the object {name} on frame {click.position} lies outside the canvas: "
                f"({click.x:g}, {click.y:g}) of {width} x {height}."
            )
    for box in prompt.boxes:
        x0, y0, x1, y1 = max(0.0, box.x0), max(0.0, box.y0), min(float(width), box.x1), min(float(height), box.y1)
        if not (x1 > x0 and y1 > y0):
            raise JobError(f"The box of the object {name} on frame {box.position} holds no pixel of the canvas.")
    for position, matte in sorted(prompt.mattes.items()):
        if matte.shape != size or not np.isfinite(matte).all():
            raise JobError(f"The matte of the object {name} on frame {position} must be {width} x {height} and finite.")


def _positions(prompt: Prompt) -> set[int]:
    return {c.position for c in prompt.clicks} | {b.position for b in prompt.boxes} | set(prompt.mattes)


def seeds_of(prompt: Prompt, size: tuple[int, int], shape: tuple[int, int]) -> dict[int, Seeds]:
    """By position; ``size`` is the canvas's (height, width), ``shape`` the proxy's."""
    sx, sy = shape[1] / size[1], shape[0] / size[0]
    found: dict[int, Seeds] = {}
    for position in sorted(_positions(prompt)):
        clicks = [click for click in prompt.clicks if click.position == position]
        boxes = [box for box in prompt.boxes if box.position == position]
        edges = None
        if boxes:
            edges = (
                max(0.0, min(b.x0 for b in boxes)) * sx,
                max(0.0, min(b.y0 for b in boxes)) * sy,
                min(float(size[1]), max(b.x1 for b in boxes)) * sx,
                min(float(size[0]), max(b.y1 for b in boxes)) * sy,
            )
        found[position] = Seeds(
            shape,
            tuple((c.x * sx, c.y * sy) for c in clicks if c.positive),
            tuple((c.x * sx, c.y * sy) for c in clicks if not c.positive),
            edges,
            _small(prompt.mattes[position], shape) if position in prompt.mattes else None,
        )
    return found


def _small(matte: Matte, shape: tuple[int, int]) -> Matte:
    if matte.shape == shape:
        return np.clip(matte, 0.0, 1.0).astype(np.float32)
    small = cv2.resize(matte.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
    return np.clip(small, 0.0, 1.0).astype(np.float32)


def pixel(point: Point, shape: tuple[int, int]) -> tuple[int, int]:
    """Row and column."""
    return min(shape[0] - 1, max(0, int(point[1]))), min(shape[1] - 1, max(0, int(point[0])))


def distance(points: tuple[Point, ...], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Of every pixel to the nearest point; infinite where there is none."""
    if not points:
        return np.full(shape, np.inf, np.float32)
    marks = np.ones(shape, np.uint8)
    for point in points:
        marks[pixel(point, shape)] = 0
    return np.asarray(cv2.distanceTransform(marks, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)
