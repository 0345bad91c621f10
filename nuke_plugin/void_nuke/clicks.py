"""Points and boxes on the plate's frames, as the knob ``void_clicks`` keeps them. Pure: no nuke.

Promises: frames are the plate's numbers; coordinates are pixels of the display window, origin top left, as
`void_client.job.ClickSpec` has them. Nuke counts y from the bottom: `from_nuke` and `box_from_nuke` turn it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from void_client import schema
from void_client.errors import JobError
from void_client.job import BoxSpec, ClickSpec
from void_client.sequence import format_frames

from .messages import failure


@dataclass(frozen=True)
class Clicks:
    """All of a node's, in the order in which they were set."""

    clicks: tuple[ClickSpec, ...] = ()
    boxes: tuple[BoxSpec, ...] = ()
    version: int = 1

    @classmethod
    def from_json(cls, text: str) -> Clicks:
        """Raises ``JobError`` where somebody wrote something else into the knob."""
        if not text.strip():
            return cls()
        try:
            value = json.loads(text)
        except ValueError as problem:
            raise JobError(f"The node's clicks cannot be read: {problem}.", hint="Clear the clicks.") from problem
        return schema.load(cls, value, where="the node's clicks", error=JobError)

    def to_json(self) -> str:
        return json.dumps(schema.dump(self), sort_keys=True) if self else ""

    def __bool__(self) -> bool:
        return bool(self.clicks or self.boxes)

    def with_click(self, click: ClickSpec) -> Clicks:
        """A second click at the same place replaces the first."""
        others = tuple(c for c in self.clicks if (c.frame, c.x, c.y) != (click.frame, click.x, click.y))
        return replace(self, clicks=(*others, click))

    def with_box(self, box: BoxSpec) -> Clicks:
        """One box a frame: a new one replaces it."""
        return replace(self, boxes=(*(b for b in self.boxes if b.frame != box.frame), box))

    def without_last(self, frame: int) -> Clicks:
        """Without the click set last on this frame; without its box where there is no click."""
        here = [click for click in self.clicks if click.frame == frame]
        if here:
            return replace(self, clicks=tuple(click for click in self.clicks if click is not here[-1]))
        return replace(self, boxes=tuple(box for box in self.boxes if box.frame != frame))

    def on(self, frames: set[int]) -> Clicks:
        """Those on these frames: the others wait until the range has them again."""
        return Clicks(
            tuple(click for click in self.clicks if click.frame in frames),
            tuple(box for box in self.boxes if box.frame in frames),
        )

    def text(self, frame: int) -> str:
        """What the panel shows: what is on this frame, and which frames have any."""
        if not self:
            return "no points, no boxes"
        here = [f"{'+' if click.positive else '−'} {click.x:g}, {click.y:g}" for click in self.clicks
                if click.frame == frame]  # fmt: skip
        here += [f"box {b.x0:g}, {b.y0:g} – {b.x1:g}, {b.y1:g}" for b in self.boxes if b.frame == frame]
        frames = format_frames({click.frame for click in self.clicks} | {box.frame for box in self.boxes})
        return f"frame {frame}: {'; '.join(here) or 'none'}   (on frames {frames}; y from the top)"


def from_nuke(frame: int, x: float, y: float, positive: bool, width: int, height: int) -> ClickSpec:
    """A click where the knob ``point`` stands. Raises ``InputError`` outside of the plate."""
    if not (0 <= x <= width and 0 <= y <= height):
        raise failure("point_outside", x=f"{x:g}", y=f"{y:g}", width=width, height=height)
    return ClickSpec(frame, _tidy(min(x, width - 0.5)), _tidy(min(height - y, height - 0.5)), positive)


def box_from_nuke(frame: int, box: tuple[float, float, float, float], width: int, height: int) -> BoxSpec:
    """The knob ``box`` (left, bottom, right, top), cut to the plate. Raises ``InputError`` where nothing is left."""
    left, right = sorted((box[0], box[2]))
    bottom, top = sorted((box[1], box[3]))
    left, right = max(0.0, left), min(float(width), right)
    bottom, top = max(0.0, bottom), min(float(height), top)
    if not (left < right and bottom < top):
        raise failure("box_empty", width=width, height=height)
    return BoxSpec(frame, _tidy(left), _tidy(height - top), _tidy(right), _tidy(height - bottom))


def _tidy(value: float) -> float:
    """Hundredths of a pixel: knobs hold doubles with a tail that means nothing."""
    return round(float(value), 2)


def points_of(value: Any) -> tuple[float, ...]:
    """A knob's value as plain numbers."""
    return tuple(float(number) for number in value)
