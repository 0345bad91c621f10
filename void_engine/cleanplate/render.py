"""Painting one frame at the plate's size from its plan.

Promises that a pixel taken from another frame is resampled at most once, not at all under a
standing camera or a whole-pixel shift, and that the plate of the frame itself comes back untouched
outside the hole. Must not decide where pixels come from, and holds one frame and crops of others.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from void_engine import grain
from void_engine.cleanplate import fill, pixels, relight, residual, rim, seam, shaper
from void_engine.cleanplate.backdrop import Backdrop
from void_engine.cleanplate.background import Background
from void_engine.cleanplate.fill import Layer
from void_engine.cleanplate.motion import apply
from void_engine.cleanplate.options import Options
from void_engine.cleanplate.pixels import Box, Mask, Matrix, moved_by
from void_engine.cleanplate.shaper import Encoded
from void_engine.cleanplate.sources import BASE, LAYER, RING, FramePlan, extend
from void_engine.interface import AFFECTED, KEEP, RGB, Clip

Weights = npt.NDArray[np.float32]

_WHOLE = 0.06  # plate pixels: a shift closer to a whole number is one
_DETAIL = 1.5  # working pixels: structures finer than this come live from each frame
_LIKE = 0.08  # encoded difference of the coarse picture at which detail is no longer taken
_STANDS, _MOVES = 0.05, 0.35  # plate pixels that another frame may be out of place, by the camera
_PAINTED = 0.05  # total weight from which a pixel counts as painted


@dataclass(frozen=True)
class Painted:
    """``picture`` encoded (h, w, 3) over the region; ``hole`` to be replaced; ``open`` of it not painted yet.

    ``seen`` (h, w): the share of a pixel that another frame shows, 0 to 1. ``edge``: `void_engine.cleanplate.rim`.
    """

    picture: Encoded
    hole: Mask
    open: Mask
    missing: Mask
    seen: Weights
    edge: rim.Counts


class Painter:
    """Paints frames of one clip; ``layers`` may grow between calls."""

    def __init__(self, clip: Clip, behind: Background, options: Options, seed: int) -> None:
        self.layers: list[Layer] = []
        self._clip, self._shot, self._camera, self._backdrop = clip, behind.shot, behind.camera, behind.backdrop
        self._model, self._options, self._seed = behind.grain, options, seed
        self.canvas = (clip.canvas.width, clip.canvas.height)
        # A mask is often tight: the object's soft rim lies outside of it, and is nobody's detail or fill.
        self.rim = options.margin * self.canvas[0] / self._shot.width  # plate pixels
        self._edge = 1.5 + 1.5 * self._shot.scale
        self._around = (2.5 * self._edge, (RING - 2) * self._shot.scale + 2)

    def finish(self, position: int, plan: FramePlan) -> tuple[RGB, Weights, rim.Counts]:
        """The frame with every hole pixel replaced, scene-linear; how far each pixel was seen (1) or invented (0); and
        what there is to tell whether the mask is tight.

        Its other pixels are the plate's.
        """
        region = fill.plate_box(plan.box, self._shot, self.canvas)
        painted = self.paint(position, plan, region)
        picture = painted.picture
        if painted.open.any():
            given = (~painted.open & ~painted.missing).astype(np.float32)
            smooth = seam.pull_push(picture, given) if given.any() else np.full_like(picture, self._usual_level())
            smooth += self._grain(smooth, position, region)
            picture = np.where(painted.open[..., None], smooth, picture)
        result = self._clip.plate(position).copy()
        inside = result[region[1] : region[3], region[0] : region[2]]
        inside[painted.hole] = shaper.decode(picture[painted.hole], self._shot.exposure)
        seen = np.ones(result.shape[:2], np.float32)
        seen[region[1] : region[3], region[0] : region[2]][painted.hole] = painted.seen[painted.hole]
        return result, seen, painted.edge

    def paint(self, position: int, plan: FramePlan, region: Box) -> Painted:
        """The plate pixels of ``region`` with everything in place that the plan and the layers know."""
        window = (slice(region[1], region[3]), slice(region[0], region[2]))
        plate = shaper.encode(self._clip.plate(position)[window], self._shot.exposure)
        quadmask = self._clip.quadmask(position)[window]
        hole = quadmask != KEEP
        missing = ~self._clip.valid(position)[window]
        labels = self._labels(position, plan)
        total = np.zeros_like(plate)
        weight, real = np.zeros(hole.shape, dtype=np.float32), np.zeros(hole.shape, dtype=np.float32)
        for label in np.unique(labels):
            share = self._share(labels == label, plan.box, region)
            at = _bounds(share)
            if at is None or label >= LAYER + len(self.layers):
                continue
            part = (region[0] + at[0], region[1] + at[1], region[0] + at[2], region[1] + at[3])
            inner = (slice(at[1], at[3]), slice(at[0], at[2]))
            much = share[inner]
            if label >= LAYER:
                piece = self._layer(position, int(label), part)
            elif self._backdrop is None:
                piece = self._source(plan, int(label), part)
            else:
                piece, there = self._standing(self._backdrop, position, plan, int(label), part)
                much = much * there
            total[inner] += piece * much[..., None]
            weight[inner] += much
            if label < LAYER:
                real[inner] += much
        done = weight > _PAINTED
        clean: Encoded = (total / np.maximum(weight, _PAINTED)[..., None]).astype(np.float32)
        away = pixels.away(hole)
        ring = self._ring(away, missing)
        if self._backdrop is not None:
            # An arm beside the hole says nothing about the light.
            ring &= self._backdrop.shows(self._shot, position, region)
        clean += self._level(plate - clean, ring & (weight > 0.9), weight, real)
        edge = rim.measure(plate, clean, away, (real > 0.9) & ~missing, round(2.0 * self._edge), self._around)
        seen = np.where(done, real / np.maximum(weight, _PAINTED), np.float32(0.0)).clip(0.0, 1.0).astype(np.float32)
        shade = (quadmask == AFFECTED) & done & ~missing
        shift = _STANDS if self._backdrop is not None else _MOVES
        relit = relight.relight(plate, clean, shade, seen, ring & (weight > 0.9), self._model, self.canvas[0], shift)
        picture = np.where((hole & done)[..., None], relit.picture, plate)
        return Painted(picture, hole, hole & ~done, missing & ~hole, np.maximum(seen, relit.trust), edge)

    def _usual_level(self) -> Encoded:
        """The mean of what the middle of the clip keeps: for a frame of which nothing at all is known."""
        known = [k for k in range(len(self._clip.numbers)) if (self._shot.get(k).state == 0).any()]
        proxy = self._shot.get(known[len(known) // 2])
        return np.asarray(shaper.from_bytes(proxy.rgb[proxy.state == 0]).mean(axis=0), dtype=np.float32)

    def _level(self, difference: Encoded, ring: Mask, weight: Weights, real: Weights) -> Encoded:
        """The seam's correction. What other frames showed is not bent to mend the seam of a fill beside it."""
        strength = self._options.match_levels
        fill_share = 1.0 - real / np.maximum(weight, _PAINTED)
        level = np.zeros_like(difference)
        if real.any():
            level = seam.level_correction(difference, (ring & (fill_share < 0.1)).astype(np.float32), strength)
        if (fill_share > 0.0).any():
            other = seam.level_correction(difference, ring.astype(np.float32), strength)
            level += (other - level) * fill_share[..., None]
        return level

    def _labels(self, position: int, plan: FramePlan) -> npt.NDArray[np.uint8]:
        box = plan.box
        inside = (slice(box[1], box[3]), slice(box[0], box[2]))
        kept = (self._shot.get(position).state[inside] == 0) & ~plan.hole
        shown: dict[int, Mask] = {}
        for index, source in enumerate(plan.sources):
            shown[index] = residual.shown(self._shot.trusted(source, 2), plan.matrices[index], box, plan.fields[index])
        if self._backdrop is not None:
            shown[BASE] = pixels.within(self._backdrop.agreement.covered, self._backdrop.agreement.box, box)
        for index, layer in enumerate(self.layers):
            mask = layer.known | layer.filled
            shown[LAYER + index] = fill.cover(self._shot, self._camera, layer, position, mask, box)
        return extend(plan.labels, plan.hole, kept, shown)

    def _share(self, mask: Mask, box: Box, region: Box) -> Weights:
        """A label's soft mask on the region's plate pixels."""
        soft = pixels.blurred(mask.astype(np.float32), 0.7)
        matrix = moved_by(-box[0], -box[1]) @ self._shot.to_proxy
        share = np.asarray(pixels.warp(soft, matrix, region, cv2.INTER_LINEAR, clamp=True), dtype=np.float32)
        share[share < 0.02] = 0.0
        return share

    def _source(self, plan: FramePlan, label: int, region: Box) -> Encoded:
        shot, plate, field = self._shot, self._clip.plate(plan.sources[label]), plan.fields[label]
        onward = shot.to_plate @ plan.matrices[label]
        if field.size:
            places = residual.places(shot.to_proxy, region, onward, plan.box, field)
            picture = sample_bent(plate, *places, shot.exposure)
        else:
            picture = sample(plate, onward @ shot.to_proxy, region, shot.exposure)
        return np.asarray(picture + plan.levels[label], dtype=np.float32)

    def _standing(
        self, backdrop: Backdrop, position: int, plan: FramePlan, label: int, part: Box
    ) -> tuple[Encoded, Weights]:
        """What a standing camera sees, and where that is known."""
        piece = backdrop.grained(position, part, self._model, self._seed, self._options.grain)
        # Who wants no grain wants the mean alone.
        if label != BASE and self._options.grain > 0.0:
            source = plan.sources[label]
            live, trust = backdrop.live(self._shot, self._clip.plate(source), source, position, part)
            piece = piece + (live - piece) * trust[..., None]
        return piece, backdrop.seen(part)

    def _ring(self, away: Weights, missing: Mask) -> Mask:
        """Kept pixels near the hole, but not so near that the object's soft edge lies on them."""
        return np.asarray((away > self._edge) & (away < self._around[1]) & ~missing)

    def _layer(self, position: int, label: int, region: Box) -> Encoded:
        layer = self.layers[label - LAYER]
        moved = self._shot.to_plate @ self._camera.to_source(position, layer.position) @ self._shot.to_proxy
        matrix = layer.to_layer @ moved
        picture = pixels.warp(layer.picture, matrix, region, cv2.INTER_CUBIC, clamp=True)
        grained = picture + self._grain(picture, position, region)
        base = pixels.warp(pixels.blurred(layer.picture, _DETAIL), matrix, region, cv2.INTER_CUBIC, clamp=True)
        live, trust = self._detail(position, layer, matrix, region, base)
        mixed = grained + (base + live - grained) * trust[..., None]
        filled = pixels.shown(layer.filled, matrix, region)
        return np.where(filled[..., None], mixed, picture).astype(np.float32)

    def _detail(
        self, position: int, layer: Layer, matrix: Matrix, region: Box, base: Encoded
    ) -> tuple[Encoded, Weights]:
        """Fine detail for the layer's pixels from where this very frame shows the like, and where that is so."""
        size = (region[2] - region[0], region[3] - region[1])
        x, y = np.meshgrid(np.arange(size[0]) + region[0], np.arange(size[1]) + region[1])
        spots = apply(matrix, np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64))
        near = np.rint(spots).astype(int)
        inside = (near >= 0).all(axis=1) & (near[:, 0] < layer.filled.shape[1]) & (near[:, 1] < layer.filled.shape[0])
        index = np.where(inside[:, None], near, 0)
        matched = inside & layer.matched[index[:, 1], index[:, 0]]
        there = apply(
            np.asarray(np.linalg.inv(matrix), dtype=np.float64), spots + layer.offsets[index[:, 1], index[:, 0]]
        )
        part = _around(there[matched], self.canvas)
        if part is None:
            return np.zeros_like(base), np.zeros(base.shape[:2], dtype=np.float32)
        sigma = _DETAIL / float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
        coarse, fine, usable = self._split(position, part, sigma)
        across, down = ((there[:, k] - part[k]).astype(np.float32).reshape(size[1], size[0]) for k in (0, 1))
        live = _at(fine, across, down, cv2.INTER_CUBIC)
        trust = _at(usable, across, down, cv2.INTER_LINEAR) * matched.reshape(size[1], size[0])
        # Something may stand there on this frame: detail serves only where the coarse picture is the like, too.
        unlike = np.abs(_at(coarse, across, down, cv2.INTER_LINEAR) - base).max(axis=2)
        trust *= np.exp(-((unlike / _LIKE) ** 2))
        return live, trust.astype(np.float32)

    def _split(self, position: int, part: Box, sigma: float) -> tuple[Encoded, Encoded, Weights]:
        """The frame's coarse picture and fine detail over ``part``, and where both are the plate's own."""
        window = (slice(part[1], part[3]), slice(part[0], part[2]))
        plate = shaper.encode(self._clip.plate(position)[window], self._shot.exposure)
        unusable = (self._clip.quadmask(position)[window] != KEEP) | ~self._clip.valid(position)[window]
        coarse = pixels.blurred(plate, sigma)
        closed = pixels.grown(unusable, max(1, round(2.0 * sigma), round(self.rim)))
        return coarse, plate - coarse, pixels.blurred(1.0 - closed.astype(np.float32), max(0.5, sigma / 2))

    def _grain(self, level: Encoded, position: int, region: Box) -> Encoded:
        noise = grain.synthesise(self._model, level, (self._seed, position), region[:2])
        noise *= np.float32(self._options.grain)
        return noise


def _around(points: npt.NDArray[np.float64], canvas: tuple[int, int]) -> Box | None:
    """The plate pixels around ``points`` (n, 2) with room for blurs; None where there are none."""
    if len(points) == 0:
        return None
    low, high = np.floor(points.min(axis=0)).astype(int) - 16, np.ceil(points.max(axis=0)).astype(int) + 17
    box = (max(0, int(low[0])), max(0, int(low[1])), min(canvas[0], int(high[0])), min(canvas[1], int(high[1])))
    return box if box[0] < box[2] and box[1] < box[3] else None


def _at(picture: Encoded | Weights, across: Weights, down: Weights, how: int) -> npt.NDArray[np.float32]:
    border = cv2.BORDER_REFLECT if picture.ndim == 3 else cv2.BORDER_CONSTANT
    return np.asarray(cv2.remap(picture, across, down, how, borderMode=border), dtype=np.float32)


def _bounds(share: Weights) -> Box | None:
    rows, columns = np.flatnonzero(share.any(axis=1)), np.flatnonzero(share.any(axis=0))
    if rows.size == 0:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def sample(plate: RGB, matrix: Matrix, region: Box, exposure: float) -> Encoded:
    """The encoded ``plate`` at ``matrix`` times the pixels of ``region``; copied where that is a whole-pixel shift."""
    x0, y0, x1, y1 = region
    corners = np.array([[x0, y0], [x1 - 1, y0], [x0, y1 - 1], [x1 - 1, y1 - 1]], dtype=np.float64)
    moved = apply(matrix, corners)
    shift = np.rint((moved - corners).mean(axis=0))
    whole = float(np.abs(moved - corners - shift).max()) < _WHOLE
    if whole:
        moved = corners + shift
    height, width = plate.shape[:2]
    low = np.clip(np.floor(moved.min(axis=0)).astype(int) - 6, 0, [width - 1, height - 1])
    high = np.clip(np.ceil(moved.max(axis=0)).astype(int) + 7, low + 1, [width, height])
    crop = shaper.encode(plate[low[1] : high[1], low[0] : high[0]], exposure)
    if whole:
        matrix = moved_by(shift[0], shift[1])
    how = cv2.INTER_NEAREST if whole else cv2.INTER_LANCZOS4
    return pixels.warp(crop, moved_by(-low[0], -low[1]) @ matrix, region, how, clamp=True)


def sample_bent(plate: RGB, across: Weights, down: Weights, exposure: float) -> Encoded:
    """The encoded ``plate`` at the places (h, w)."""
    height, width = plate.shape[:2]
    low = [
        int(np.clip(np.floor(float(places.min())) - 6, 0, most - 1))
        for places, most in ((across, width), (down, height))
    ]
    high = [
        int(np.clip(np.ceil(float(places.max())) + 7, at + 1, most))
        for places, at, most in ((across, low[0], width), (down, low[1], height))
    ]
    crop = shaper.encode(plate[low[1] : high[1], low[0] : high[0]], exposure)
    moved = (across - np.float32(low[0]), down - np.float32(low[1]))
    return np.asarray(cv2.remap(crop, *moved, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE), dtype=np.float32)
