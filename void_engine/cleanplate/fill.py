"""Filling what no frame shows: one PatchMatch picture, carried along the camera's motion.

Promises that a place is invented once and looks the same on every frame that needs it, and the
same again for the same seed. Must not replace what some frame reveals, and must not be asked for
full-size pictures: PatchMatch works on a crop around the hole at a working size.

PyPatchMatch keeps its random seed (and a verbose flag, off) for the whole process; every call
starts from that seed, so it is set right before each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import patchmatch

from void_engine.cleanplate import nnf, pixels, seam
from void_engine.cleanplate.motion import Camera
from void_engine.cleanplate.options import Options
from void_engine.cleanplate.pixels import Box, Mask, Matrix
from void_engine.cleanplate.proxies import ProxyShot
from void_engine.cleanplate.scratch import Arrays
from void_engine.cleanplate.shaper import Encoded
from void_engine.cleanplate.sources import FILL, LAYER, NONE, FramePlan

MOST_LAYERS = 8
SMALLEST = 24  # proxy pixels: less than this is continued from its neighbours instead
_GROW = 4  # working pixels by which PatchMatch's hole is grown at least: the object's soft edge pulls colours in
_CONTEXT = 0.8  # of the hole's longer side, on each side
_LOOKED_AT = 24  # frames whose holes are looked at
_ENOUGH_OPEN = 0.3  # share of the known pixels that must never be hidden
_LEAST_CONTEXT = 96  # proxy pixels


@dataclass(frozen=True)
class Layer:
    """One synthesised picture.

    Made on frame ``position``, whose plate pixels ``to_layer`` maps to it. ``picture`` (h, w, 3) is
    encoded; ``filled`` where it is synthesised, ``known`` where it shows the plate's background;
    ``offsets`` lead from filled pixels to known ones that look alike, where ``matched``.
    """

    position: int
    to_layer: Matrix
    picture: Encoded
    known: Mask
    filled: Mask
    offsets: nnf.Offsets
    matched: Mask

    def to_arrays(self) -> Arrays:
        return {
            "position": np.array(self.position),
            "to_layer": self.to_layer,
            "picture": self.picture,
            "known": self.known,
            "filled": self.filled,
            "offsets": self.offsets,
            "matched": self.matched,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Layer:
        rest = {name: value for name, value in arrays.items() if name != "position"}
        return cls(int(arrays["position"]), **rest)


def region_for(plan: FramePlan, shot: ProxyShot, canvas: tuple[int, int]) -> Box:
    """The plate pixels, hole and context, on which a frame's undecided pixels are filled; canvas is (width, height)."""
    rows, columns = np.nonzero(plan.labels == FILL)
    x0, x1 = int(columns.min()) + plan.box[0], int(columns.max()) + plan.box[0] + 1
    y0, y1 = int(rows.min()) + plan.box[1], int(rows.max()) + plan.box[1] + 1
    pad = max(_LEAST_CONTEXT, round(_CONTEXT * max(x1 - x0, y1 - y0)))
    return plate_box((x0 - pad, y0 - pad, x1 + pad, y1 + pad), shot, canvas)


def plate_box(box: Box, shot: ProxyShot, canvas: tuple[int, int]) -> Box:
    """The plate pixels under a box of proxy pixels, clipped to the canvas."""
    sx, sy = canvas[0] / shot.width, canvas[1] / shot.height
    return (
        max(0, int(np.floor(box[0] * sx))),
        max(0, int(np.floor(box[1] * sy))),
        min(canvas[0], int(np.ceil(box[2] * sx))),
        min(canvas[1], int(np.ceil(box[3] * sy))),
    )


def geometry(region: Box, options: Options) -> tuple[tuple[int, int], Matrix]:
    """(width, height) of the layer for a region of the plate, and the matrix from plate pixels to it."""
    width, height = region[2] - region[0], region[3] - region[1]
    ratio = min(1.0, options.fill_size / max(height, width))
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    sx, sy = size[0] / width, size[1] / height
    return size, np.array([[sx, 0, (0.5 - region[0]) * sx - 0.5], [0, sy, (0.5 - region[1]) * sy - 0.5], [0, 0, 1]])


def ever_hidden(
    shot: ProxyShot, camera: Camera, position: int, region: Box, positions: list[int], options: Options
) -> Mask:
    """Layer pixels that are in the hole of any of some of the ``positions``: no good place to take live detail from."""
    size, to_layer = geometry(region, options)
    hidden = np.zeros((size[1], size[0]), dtype=bool)
    some = positions[:: max(1, len(positions) // _LOOKED_AT)]
    for other in some:
        matrix = camera.to_source(position, other) @ shot.to_proxy @ np.linalg.inv(to_layer)
        hidden |= pixels.shown(shot.get(other).hole, matrix, (0, 0, *size))
    return hidden


def make_layer(
    position: int,
    region: Box,
    picture: Encoded,
    hole: Mask,
    missing: Mask,
    hidden: Mask,
    rim: float,
    options: Options,
    seed: int,
) -> Layer | None:
    """Fills ``hole`` of ``picture`` (plate pixels of ``region``); None where nothing around it is known.

    ``rim``: plate pixels around the hole that may still show the object. ``hidden`` is `ever_hidden`: the layer's fine
    detail comes from elsewhere where there is enough else.
    """
    size, to_layer = geometry(region, options)
    small = pixels.resized(picture, size)
    core, unseen = pixels.any_in(hole, size), pixels.any_in(missing, size)
    grown = pixels.grown(core, max(_GROW, round(rim * float(to_layer[0, 0])))) & ~(unseen & ~core)
    known = ~grown & ~unseen
    if not known.any():
        return None
    # The band that was grown lies over plate which the frame keeps: there a fill can be compared with the truth.
    band = grown & ~pixels.grown(core, 1)
    filled = _synthesise(small, grown, unseen & ~grown, known, options, seed)
    # Its level is matched once for all frames: a frame's own correction sees mostly the layer's context.
    level = seam.level_correction(small - filled, band.astype(np.float32), options.match_levels)
    open_ = known & ~hidden
    if np.count_nonzero(open_) < _ENOUGH_OPEN * np.count_nonzero(known):
        open_ = known
    offsets, matched = nnf.nearest_known(filled, grown, open_, seed)
    levelled = np.where(grown[..., None], filled + level, filled).astype(np.float32)
    return Layer(position, to_layer, levelled, known, grown, offsets, matched)


def _synthesise(picture: Encoded, hole: Mask, unusable: Mask, known: Mask, options: Options, seed: int) -> Encoded:
    smooth = seam.pull_push(picture, known.astype(np.float32))
    enough = 4 * (2 * options.patch_size + 1)
    if min(hole.shape) < enough or np.count_nonzero(known) < enough * enough:
        return np.where(hole[..., None], smooth, picture).astype(np.float32)
    # Eight bits over the range that the surroundings use: an even plate would band otherwise.
    low, high = (float(value) for value in np.quantile(picture[known], [0.0005, 0.9995]))
    span = max(high - low, 0.05)
    given = np.where(hole[..., None], smooth, picture)
    code = np.clip((given - low) / span * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)
    patchmatch.set_random_seed(seed % 2**32)
    made = patchmatch.inpaint(
        code, hole.astype(np.uint8), global_mask=unusable.astype(np.uint8), patch_size=options.patch_size
    )
    light = made.astype(np.float32) * np.float32(span / 255.0) + np.float32(low)
    return np.where(hole[..., None], light, picture).astype(np.float32)


def cover(shot: ProxyShot, camera: Camera, layer: Layer, position: int, mask: Mask, box: Box) -> Mask:
    """Where a frame's proxy pixels of ``box`` fall on ``mask``, which has the layer's size."""
    matrix = layer.to_layer @ shot.to_plate @ camera.to_source(position, layer.position)
    return pixels.shown(mask, matrix, box)


def carry(shot: ProxyShot, camera: Camera, layer: Layer, index: int, position: int, plan: FramePlan) -> None:
    """Marks the undecided pixels of a frame's plan that layer number ``index`` covers."""
    open_ = plan.labels == FILL
    if open_.any():
        plan.labels[open_ & cover(shot, camera, layer, position, layer.filled, plan.box)] = LAYER + index
    if position == layer.position:
        # What is left here are slivers under the seams of other pieces: asking again would not change that.
        plan.labels[plan.labels == FILL] = NONE


def wanted(plan: FramePlan) -> int:
    """Proxy pixels of a frame that still wait for a fill, slivers left out."""
    open_ = plan.labels == FILL
    return int(np.count_nonzero(pixels.grown(pixels.shrunk(open_, 1), 1) & open_)) if open_.any() else 0
