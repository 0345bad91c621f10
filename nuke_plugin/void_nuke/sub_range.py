"""Bad frames solved again by themselves: finished frames around them go in as a plate that the quadmask keeps.

Main thread: it ends with an `Order`. Promises: outside of the bad frames the new version has the old one's very files.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Optional

from void_client.digest import sha256_data
from void_client.errors import InputError
from void_client.job import JobSpec, ShotFile
from void_client.keep_mask import write_keep
from void_client.result_store import Version
from void_client.sequence import FramePattern, format_frames, parse_frames
from void_client.studio import client_settings, load_plugin_settings

from . import exports, plate, results
from .messages import failure
from .node import VoidNode
from .order import Order
from .ordering import settings_of, store_of

CONTEXT = 16
"""Finished frames at either side, at most."""


def order_of(node: VoidNode, text: str, *, patient: bool = True, seed: Optional[int] = None) -> Order:
    """``text``: "1013-1020". Renders the quadmask of those frames: that blocks. Raises ``InputError``."""
    plate.check_session()
    version = results.shown(node)
    wanted, around = chosen(version, text)
    studio = load_plugin_settings(os.environ)
    settings, store = settings_of(node), store_of(node, studio)
    if store.root != version.folder.parent:
        raise failure("version_gone", version=node.solved.shown or "the result")
    spec = JobSpec.from_wire(version.manifest.job)
    again = seed if seed is not None else spec.seed + len(version.manifest.facts.get("parts") or (1,))
    name = sha256_data([version.hash12, list(wanted), again])[:16]
    folder = store.exports / f"again_{name}"
    pattern, masks = _inputs(node, wanted, around, folder, studio.export_pixels)
    shot = ShotFile(
        plate=pattern,
        quadmask=masks,
        frames=format_frames((*wanted, *around)),
        deliver=format_frames(wanted),
        engine=spec.engine.name,
        options=dict(spec.engine.options),
        layer=spec.plate.layer,
        colour_space=plate.colour().space,
        ocio=plate.colour().ocio,
        prompt=spec.prompt or str(version.manifest.facts.get("void/prompt", "")),
        seed=again,
        shot=settings.shot,
        overrides="",
    )
    shown = node.solved
    return Order(
        replace(settings, seed=again),
        shot,
        store,
        client_settings(studio, os.environ, settings.endpoint),
        looked=shown.prints.get(shown.shown, ""),
        patient=patient,
        base=version.folder.name,
        masks=masks,
    )


def chosen(version: Version, text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(the frames to solve, the finished ones around them). Raises ``InputError``."""
    there = version.frames
    wanted = parse_frames(text)
    lacking = sorted(set(wanted) - set(there))
    if lacking:
        raise failure("bad_frames", text=format_frames(lacking), there=format_frames(there))
    near = {
        there[at]
        for number in wanted
        for at in range(max(0, there.index(number) - CONTEXT), min(len(there), there.index(number) + CONTEXT + 1))
    }
    around = tuple(sorted(near - set(wanted)))
    if not around:
        raise failure("whole_result")
    return wanted, around


def _inputs(
    node: VoidNode, wanted: tuple[int, ...], around: tuple[int, ...], folder: Path, pixels: str
) -> tuple[str, str]:
    """The patterns of plate and quadmask. All frames through one Write: a plate has the same channels on each."""
    half = exports.half_is_enough(plate.plate_of(node), pixels)
    exports.export_inner(node, exports.PLATE, "PlateIn", wanted, folder, half)
    pattern = exports.export_inner(node, exports.PLATE, "Generated", around, folder, half)
    masks = exports.export_inner(node, exports.QUADMASK, "GreyQuadmask", wanted, folder)
    written, drawn = FramePattern.parse(pattern), FramePattern.parse(masks)
    try:
        for number in around:
            write_keep(drawn.path(number), written.path(number))
    except OSError as problem:
        raise InputError(f"{folder} cannot be written: {problem}.", hint="Check the folder.") from problem
    return pattern, masks
