"""The ``cleanplate`` engine: removes what the quadmask marks with the clip's own background.

Promises a finite picture for every frame that has a pixel to replace, the same bits for the same
clip and request however often it was interrupted, and memory that does not grow with the clip.
Must not need weights or a GPU, and does not invent motion: what the removed object had caused
elsewhere stays as it was filmed.

The order of the work is `CleanplateEngine.generate`: read, track, plan, fill, paint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from void_client.errors import MaskError

from void_engine.cleanplate import fill, scratch
from void_engine.cleanplate.background import TICKS, Plans, find_background
from void_engine.cleanplate.fill import Layer
from void_engine.cleanplate.motion import Camera
from void_engine.cleanplate.options import options_dict, read_options
from void_engine.cleanplate.proxies import ProxyShot
from void_engine.cleanplate.render import Painter
from void_engine.cleanplate.rim import Tight, tight
from void_engine.cleanplate.sources import FILL, LAYER, NONE
from void_engine.interface import CleanFrames, Clip, GenerateRequest, StageContext


class CleanplateEngine:
    """Implements `void_engine.interface.Engine`; see the module's docstring."""

    name = "cleanplate"
    version = "7"

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options with defaults filled in (`void_engine.cleanplate.options.Options`); raises `JobError`."""
        return options_dict(read_options(options))

    def identity(self, options: Mapping[str, Any]) -> dict[str, str]:
        """Nothing: there are no weights."""
        return {}

    def warm_up(self) -> None:
        """Nothing is slow once."""

    def affected(self, options: Mapping[str, Any]) -> str:
        """The job's choice, see `void_engine.cleanplate.options.Options`."""
        return str(options["affected"])

    def detail_options(self, options: Mapping[str, Any]) -> dict[str, Any] | None:
        """None: these frames are the plate's own pixels already."""
        return None

    def generate(self, clip: Clip, request: GenerateRequest, out: CleanFrames, context: StageContext) -> dict[str, Any]:
        """Writes every frame that has a hole; returns what was done, for the manifest.

        Raises `MaskError` where the quadmask leaves no pixel of any frame, `Cancelled` through ``context``.
        """
        count = len(clip.numbers)
        steps = _Steps(context, (TICKS + 1) * count + fill.MOST_LAYERS)
        options = read_options(request.options)
        behind = find_background(clip, context.scratch, options, steps.tick)
        _require_plate(behind.shot, count)
        work = _Work(clip, behind.shot, behind.camera, request, context, steps)
        painter = Painter(clip, behind, options, request.seed)
        work.fill(behind.plans, painter)
        work.paint(behind.plans, painter, out, count)
        return _facts(clip, behind.plans, painter.layers, behind.camera, work.tight(behind.plans))


class _Steps:
    """Counts the steps of all passes for `StageContext.progress`."""

    def __init__(self, context: StageContext, of: int) -> None:
        self._context, self._of, self._done = context, of, 0

    def tick(self, note: str) -> None:
        self._done += 1
        self._context.progress(self._done, self._of, note)


class _Work:
    """The passes that share a clip, its proxies and its camera."""

    def __init__(
        self,
        clip: Clip,
        shot: ProxyShot,
        camera: Camera,
        request: GenerateRequest,
        context: StageContext,
        steps: _Steps,
    ) -> None:
        self._clip, self._shot, self._camera = clip, shot, camera
        self._request, self._context, self._steps = request, context, steps
        self._options = read_options(request.options)

    def fill(self, plans: Plans, painter: Painter) -> None:
        """Synthesises what no frame shows, where most is needed first, and carries it to the others."""
        for index in range(fill.MOST_LAYERS):
            self._context.check()
            wanted = {position: fill.wanted(plan) for position, plan in plans.items()}
            position = max(wanted, key=lambda key: (wanted[key], -key), default=-1)
            if position >= 0 and wanted[position] >= fill.SMALLEST:
                self._add_layer(index, position, plans, painter)
            self._steps.tick("filling what no frame shows")

    def _add_layer(self, index: int, position: int, plans: Plans, painter: Painter) -> None:
        path = self._context.scratch / f"layer.{index:02d}.npz"
        arrays = scratch.load_arrays(path)
        layer = Layer.from_arrays(arrays) if arrays is not None else None
        if layer is None:
            plan = plans[position]
            region = fill.region_for(plan, self._shot, painter.canvas)
            painted = painter.paint(position, plan, region)
            hidden = fill.ever_hidden(self._shot, self._camera, position, region, sorted(plans), self._options)
            layer = fill.make_layer(
                position,
                region,
                painted.picture,
                painted.open,
                painted.missing,
                hidden,
                painter.rim,
                self._options,
                self._request.seed,
            )
            if layer is None:
                # Nothing is known around this hole: other frames' layers or neighbours have to do.
                plan.labels[plan.labels == FILL] = NONE
                return
            scratch.save_arrays(path, layer.to_arrays())
        number = len(painter.layers)
        painter.layers.append(layer)
        for other, plan in plans.items():
            fill.carry(self._shot, self._camera, layer, number, other, plan)

    def paint(self, plans: Plans, painter: Painter, out: CleanFrames, count: int) -> None:
        """Writes the frames that are not there yet."""
        for position in range(count):
            if position in plans and not out.has(position):
                picture, seen, edge = painter.finish(position, plans[position])
                scratch.save_arrays(self._edge(position), {"counts": edge})
                out.write(position, picture, seen)
            self._steps.tick(f"painting frame {self._clip.numbers[position]}")

    def tight(self, plans: Plans) -> Tight | None:
        """Whether the mask is, by what was seen while painting."""
        stored = (scratch.load_arrays(self._edge(position)) for position in sorted(plans))
        return tight([arrays["counts"] for arrays in stored if arrays is not None])

    def _edge(self, position: int) -> Path:
        return self._context.scratch / f"edge.{position:06d}.npz"


def _require_plate(shot: ProxyShot, count: int) -> None:
    if any((shot.get(position).state == 0).any() for position in range(count)):
        return
    raise MaskError(
        "The quadmask leaves nothing of the plate on any frame.",
        hint="Mark only what must go: black and grey are replaced, white is kept. Is the mask inverted?",
    )


def _facts(clip: Clip, plans: Plans, layers: list[Layer], camera: Camera, edge: Tight | None) -> dict[str, Any]:
    frames: list[dict[str, Any]] = []
    for position, plan in sorted(plans.items()):
        total = max(1, int(np.count_nonzero(plan.hole)))
        revealed = int(np.count_nonzero(plan.hole & (plan.labels < LAYER)))
        frames.append(
            {
                "frame": clip.numbers[position],
                "revealed": round(revealed / total, 4),
                "filled": round(1.0 - revealed / total, 4),
                "sources": [clip.numbers[source] for source in dict.fromkeys(plan.sources)],
            }
        )
    used = Counter(source for plan in plans.values() for source in plan.sources)
    return {
        "camera": "locked" if camera.locked else "moving",
        "frames": frames,
        "revealed": round(float(np.mean([frame["revealed"] for frame in frames])), 4) if frames else 1.0,
        "fills": [clip.numbers[layer.position] for layer in layers],
        "most_used_source": clip.numbers[used.most_common(1)[0][0]] if used else None,
        "edge": vars(edge) if edge is not None else None,
        "warnings": [edge.told()] if edge is not None else [],
    }
