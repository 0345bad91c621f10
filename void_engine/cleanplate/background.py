"""What other frames show of what lies behind the holes: the first half of this engine's work, for others to use.

Promises: `plate`-exact pixels where some frame reveals them, and where that is. Must not: invent anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from void_engine.cleanplate import backdrop, fill, scratch
from void_engine.cleanplate.backdrop import Backdrop
from void_engine.cleanplate.motion import Camera, track_camera
from void_engine.cleanplate.options import Options
from void_engine.cleanplate.proxies import ProxyShot, read_shot
from void_engine.cleanplate.sources import FramePlan, plan_frame, plan_standing
from void_engine.grain import GrainModel
from void_engine.interface import Clip

Plans = dict[int, FramePlan]
Tick = Callable[[str], None]

TICKS = 4  # a frame


@dataclass(frozen=True)
class Background:
    """``plans``: for each frame with a hole, which other frames show what lies behind it.

    ``backdrop``: what a standing camera shows, whole; None for a moving one.
    """

    shot: ProxyShot
    camera: Camera
    grain: GrainModel
    plans: Plans
    backdrop: Backdrop | None = None


def find_background(clip: Clip, folder: Path, options: Options, tick: Tick) -> Background:
    """Reads, tracks and plans; ``tick`` is called `TICKS` times a frame. ``folder`` is found again after a kill."""
    count = len(clip.numbers)
    shot, grain = read_shot(clip, folder, tick)
    camera = track_camera(shot, count, folder, tick)
    behind = _backdrop(clip, shot, camera, folder, options, tick)
    return Background(shot, camera, grain, _plans(clip, shot, camera, behind, folder, options, tick), behind)


def grain_alone(clip: Clip, folder: Path, tick: Tick) -> Background:
    """As `find_background`, for who wants nothing of other frames: nothing is tracked or planned."""
    shot, grain = read_shot(clip, folder, tick)
    for number in clip.numbers * (TICKS - 1):
        tick(f"frame {number}")
    return Background(shot, Camera(shot, [np.eye(3)] * len(clip.numbers), True), grain, {})


def _backdrop(
    clip: Clip, shot: ProxyShot, camera: Camera, folder: Path, options: Options, tick: Tick
) -> Backdrop | None:
    if camera.locked and options.search_frames:
        canvas = (clip.canvas.width, clip.canvas.height)
        return backdrop.make(clip, shot, folder, options.margin, lambda box: fill.plate_box(box, shot, canvas), tick)
    for number in clip.numbers:
        tick(f"frame {number}")
    return None


def _plans(
    clip: Clip,
    shot: ProxyShot,
    camera: Camera,
    behind: Backdrop | None,
    folder: Path,
    options: Options,
    tick: Tick,
) -> Plans:
    plans: Plans = {}
    before: list[int] = []
    away: list[int] = []
    count = len(clip.numbers)
    for position, number in enumerate(clip.numbers):
        if shot.get(position).hole.any():
            path = folder / f"plan.{position:06d}.npz"
            arrays = scratch.load_arrays(path)
            plan = FramePlan.from_arrays(arrays) if arrays is not None else None
            if plan is None:
                if behind is not None:
                    plan = plan_standing(shot, behind.agreement, position, count, options, away)
                else:
                    plan = plan_frame(shot, camera, position, count, options, before)
                if plan is not None:
                    scratch.save_arrays(path, plan.to_arrays())
            if plan is not None:
                plans[position] = plan
                before = plan.sources
                away = [source - position for source in plan.sources]
        tick(f"finding the background of frame {number}")
    return plans
