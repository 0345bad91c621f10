"""The stages between an engine and the plate's files: detail and grain, then the composite.

Promises: every kept pixel of the chosen layer, and everything else of the file, bit for bit; a fill that is no brighter
and no darker than the plate ever is. Must not: generate, or decide what is removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from void_engine import plates
from void_engine.colour.levels import Levels
from void_engine.colour.shaper import Shaper, fit
from void_engine.colour.working import WorkingSpace
from void_engine.compositing import composite, generated_matte, result_layers
from void_engine.deliver import RESULT_NAME
from void_engine.interface import Engine, GenerateRequest
from void_engine.plates import FrameFolder
from void_engine.plates.clip import FileClip
from void_engine.restore.detail import VERSION, DetailOptions, add_detail
from void_engine.restore.scales import Scales
from void_engine.stages import Context, StageCache, StageResult


@dataclass(frozen=True)
class Plate:
    """A job's plate, read: its working ``space``, the RGB ``layer`` to clean, and what ``levels`` its light has."""

    space: WorkingSpace
    layer: str
    levels: Levels

    @property
    def shaper(self) -> Shaper:
        return fit(self.levels)


def clean_frames(folder: Path, clip: FileClip) -> FrameFolder:
    """An engine's frames in a stage's folder."""
    return FrameFolder(folder / "clean", clip.canvas, clip.quadmask)


def detailed(
    engine: Engine,
    request: GenerateRequest,
    clip: FileClip,
    plate_key: Any,
    generate: StageResult,
    cache: StageCache,
) -> StageResult:
    """The plate's detail and grain on what a model made; an engine whose frames have them is done already."""
    options = engine.detail_options(request.options)
    if options is None:
        return generate

    def work(context: Context) -> dict[str, Any]:
        made, out = clean_frames(generate.folder, clip), clean_frames(context.folder, clip)
        scales = Scales.from_facts(generate.facts["scales"])
        return add_detail(clip, made, scales, DetailOptions(**options), request.seed, out, context)

    return cache.run("detail", [VERSION, generate.key, plate_key, request.seed, options], work)


def restore(
    clip: FileClip,
    plate: Plate,
    wanted: Sequence[int],
    generated: Path,
    attributes: dict[str, str],
    context: Context,
) -> dict[str, Any]:
    """A stage: the clean frames laid into the plate's own files, with the layers that tell where.

    ``wanted``: the numbers of the frames that come back.
    """
    clean = clean_frames(generated, clip)
    soft = _soft_edge_px(clip)
    for done, number in enumerate(wanted, 1):
        position = clip.numbers.index(number)
        path = context.folder / RESULT_NAME.format(number)
        if not path.is_file():  # a killed worker had written it
            frame, rgb = clip.frame(position), None
            mask = clip.quadmask(position)
            inside = clip.window(position).slices_in(clip.canvas)
            matte = generated_matte(mask, soft)[inside]
            if matte.any():
                rgb = composite(frame.native_rgb(plate.layer), _fill(plate, clean.read(position)[inside]), matte)
            layers = result_layers(mask[inside], matte, clean.confidence(position)[inside])
            plates.write_frame(path, frame, rgb=rgb, layer=plate.layer, mattes=layers, attributes=attributes)
        context.progress(done, len(wanted), f"frame {number}")
    return {}


def _fill(plate: Plate, light: Any) -> Any:
    """In the plate's working space, and within its range: resampling and grain reach beyond its ends."""
    return plate.space.from_linear(np.clip(light, plate.levels.darkest(), plate.levels.brightest()))


def _soft_edge_px(clip: FileClip) -> float:
    """Width of the soft edge inside affected: 3 pixels at HD's 1920, in proportion for others, 1 at least."""
    return max(1.0, clip.canvas.width / 640)
