"""From an analysis and its mattes to each frame's coded quadmask: what production does instead of upstream's rules.

Promises: belongings join the primary; predicted paths and final places join the affected region, each at its time; the
same answer in any order of asking; memory of a few frames, whatever the clip's length. `QuadmaskPolicy.regions` says
where each pixel came from. Must not: decide what is affected (`void_engine.reasoning`), or read files but the mattes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np

from void_engine.interface import AFFECTED, KEEP, OVERLAP, REMOVE, Mask, Quadmask
from void_engine.quadmask.policy_options import PolicyOptions
from void_engine.quadmask.policy_regions import cells_of, filled, held_mask, near_object, predicted
from void_engine.reasoning.analysis import Affected, Analysis, Belonging
from void_engine.reasoning.interface import PRIMARY
from void_engine.segmentation.interface import Mattes

_HALF = 0.5  # a matte's value from which a pixel belongs to it


@dataclass(frozen=True)
class _Raw:
    """A region at one frame before smoothing, packed: cells, or pixels eight to a byte."""

    bits: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
    shape: tuple[int, int]

    def mask(self) -> Mask:
        count = self.shape[0] * self.shape[1]
        return np.unpackbits(self.bits, count=count).reshape(self.shape).astype(np.bool_)


class QuadmaskPolicy:
    """Call it with a position for that frame's quadmask."""

    def __init__(
        self,
        analysis: Analysis,
        mattes: Mattes,
        numbers: tuple[int, ...],
        size: tuple[int, int],
        options: PolicyOptions | None = None,
    ) -> None:
        """``numbers``: the plate's frame numbers, by position. ``size``: (height, width) of the canvas."""
        self._analysis = analysis
        self._mattes = mattes
        self._numbers = numbers
        self._size = size
        self._options = options or PolicyOptions()
        self._raw: OrderedDict[tuple[int, int], _Raw] = OrderedDict()
        sure = self._options.least_confidence
        self._affected = {f"affected-{i}": each for i, each in enumerate(analysis.affected) if each.confidence >= sure}
        things: list[Belonging | Affected] = [*analysis.belongings, *analysis.affected]
        self._matted = {
            each.matte: any(mattes.has(each.matte, position) for position in range(len(numbers)))
            for each in things
            if each.matte
        }

    def __call__(self, position: int) -> Quadmask:
        return combined(self.regions(position), self._options, first=position == 0)

    def regions(self, position: int) -> dict[str, Mask]:
        """The frame's regions: "primary", "belonging-0"..., "affected-0"..., by their order in the analysis.

        All but the first are empty where the object is away. The primary is grown already.
        """
        primary = self._primary(position)
        regions = {PRIMARY: _grown(primary, self._options.grow) if primary.any() else primary}
        away = not primary.any()
        none = np.zeros(self._size, np.bool_)
        for index, belonging in enumerate(self._analysis.belongings):
            regions[f"belonging-{index}"] = none if away else self._place(belonging, position)
        for name, affected in self._affected.items():
            gone = away and (self._options.absent == "keep" or affected.category == "artifact")
            regions[name] = none if gone else self._smoothed(int(name.split("-")[1]), affected, position)
        return regions

    def _primary(self, position: int) -> Mask:
        return np.asarray(self._mattes.read(PRIMARY, position) >= _HALF)

    def _place(self, thing: Belonging | Affected, position: int) -> Mask:
        """Where it is: by its matte where there is one, else by its boxes."""
        if self._matted.get(thing.matte, False):
            return np.asarray(self._mattes.read(thing.matte, position) >= _HALF)
        return held_mask(thing.regions, self._numbers[position], self._size)

    def _smoothed(self, index: int, affected: Affected, position: int) -> Mask:
        """The majority over the frames around, of those at which the thing is affected at all."""
        if not affected.first_frame <= self._numbers[position] <= affected.last_frame:
            return np.zeros(self._size, np.bool_)
        reach = self._options.smooth // 2
        around = [
            other
            for other in range(max(0, position - reach), min(len(self._numbers), position + reach + 1))
            if affected.first_frame <= self._numbers[other] <= affected.last_frame
        ]
        votes = sum(self._unsmoothed(index, affected, other).mask().astype(np.int16) for other in around)
        state = np.asarray(2 * votes > len(around))
        if len(around) % 2 == 0:
            # A tie is decided by the frame itself.
            state |= (2 * votes == len(around)) & self._unsmoothed(index, affected, position).mask()
        return filled(state, self._size) if self._options.shape == "cells" else state

    def _unsmoothed(self, index: int, affected: Affected, position: int) -> _Raw:
        key = (index, position)
        if key not in self._raw:
            mask = self._region(affected, position)
            self._raw[key] = _Raw(np.packbits(mask), (mask.shape[0], mask.shape[1]))
            while len(self._raw) > (self._options.smooth + 1) * max(1, len(self._affected)):
                self._raw.popitem(last=False)
        self._raw.move_to_end(key)
        return self._raw[key]

    def _region(self, affected: Affected, position: int) -> Mask:
        options = self._options
        mask = self._place(affected, position)
        if affected.category == "artifact" and options.near > 0 and mask.any():
            # Light stays with the object; what the object moved may be anywhere by now.
            mask = near_object(mask, self._primary(position), options.near * max(self._size))
        parts = [mask]
        if options.paths and affected.path:
            parts.append(predicted(affected, self._path_box(affected), self._numbers[position], options, self._size))
        if options.shape == "cells":
            grids = [cells_of(part, options.cells, options.cell_share) for part in parts]
            return np.asarray(np.logical_or.reduce(grids))
        return _grown(np.asarray(np.logical_or.reduce(parts)), round(options.spread * max(self._size)))

    def _path_box(self, affected: Affected) -> tuple[float, float]:
        """(width, height), as shares, of the thing on its path: as large as it usually is, not as cut off at first."""
        if not affected.regions:
            return 1 / 14, 1 / 8  # a cell: nothing tells how large the thing is
        boxes = np.array([[each.x1 - each.x0, each.y1 - each.y0] for each in affected.regions])
        wide, high = np.median(boxes, axis=0)
        return float(wide), float(high)


def physical(analysis: Analysis, regions: dict[str, Mask]) -> Mask:
    """Where `QuadmaskPolicy.regions` has physical things, and no artifact (a shadow on a box goes, the box stays).

    What the artist drew ("affected") is neither: it is made anew.
    """
    stays, goes = (np.zeros_like(regions[PRIMARY]) for _ in range(2))
    for name, mask in regions.items():
        if name.startswith("affected-"):
            thing = analysis.affected[int(name.split("-")[1])]
            into = stays if thing.category == "physical" else goes
            into |= mask
    return np.asarray(stays & ~goes)


def combined(regions: dict[str, Mask], options: PolicyOptions, *, first: bool = False) -> Quadmask:
    """The coded quadmask of one frame's `QuadmaskPolicy.regions`."""
    primary = np.logical_or.reduce([mask for name, mask in regions.items() if not name.startswith("affected")])
    affected = np.zeros_like(primary)
    for name, mask in regions.items():
        if name.startswith("affected"):
            affected |= mask
    quadmask = np.full(primary.shape, KEEP, np.uint8)
    quadmask[affected] = AFFECTED
    quadmask[primary] = REMOVE
    quadmask[primary & affected] = OVERLAP
    if options.feather > 0 and primary.any():
        # The soft edge needs pixels that may change: kept ones never do.
        quadmask[_grown(primary, options.feather) & (quadmask == KEEP)] = AFFECTED
    if first and options.first_frame_clear:
        quadmask[quadmask == AFFECTED] = KEEP
    return quadmask


def _grown(mask: Mask, radius: int) -> Mask:
    """By a disc of ``radius`` pixels; shrunk where that is negative."""
    if radius == 0 or not mask.any():
        return mask
    # Distances, not a kernel: a disc of a hundred pixels costs no more than one of two.
    inverse = mask if radius < 0 else ~mask
    away = cv2.distanceTransform(inverse.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away > -radius) if radius < 0 else np.asarray(away <= radius)
