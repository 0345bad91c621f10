"""How much a model's picture was enlarged, place by place: each region of a clip has a scale of its own.

Promises: the same cells as the regions' (`void_engine.restore.regions`), so that a pixel has its own region's scale; it
survives a manifest. Must not: look at pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from void_engine.interface import Mask
from void_engine.restore.regions import Region, cell_of

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scales:
    """``cells`` (rows, columns): plate pixels to one of the model's, in each cell of the grid; 0 in no region."""

    cells: Floats

    @classmethod
    def of(cls, regions: Sequence[Region]) -> Scales:
        """Of the regions of one clip, which share a grid; one cell where there are none."""
        cells = np.zeros(regions[0].cells.shape if regions else (1, 1), np.float32)
        for region in regions:
            cells[region.cells] = region.scale
        return cls(cells)

    @classmethod
    def even(cls, scale: float) -> Scales:
        """The same everywhere."""
        return cls(np.full((1, 1), scale, np.float32))

    def parts(self, hole: Mask) -> Iterator[tuple[float, Mask]]:
        """The hole (H, W) of a frame by its regions' scales, largest first. A pixel in no region has the largest."""
        rows, columns = (cell_of(length, cells) for length, cells in zip(hole.shape, self.cells.shape, strict=True))
        scales = np.unique(self.cells[self.cells > 0])[::-1]
        if scales.size == 0:
            scales = np.ones(1, np.float32)
        for scale in scales:
            here = self.cells == scale
            if scale == scales[0]:
                here |= self.cells == 0
            part = hole & here[np.ix_(rows, columns)]
            if part.any():
                yield float(scale), part

    def to_facts(self) -> dict[str, Any]:
        """``grid``: columns and rows; ``cells``: [scale, column, row, columns, rows] of rectangles."""
        found: list[list[float]] = []
        open_runs: dict[tuple[int, int, float], list[float]] = {}  # one that the last row had, too, grows
        for row, values in enumerate(self.cells):
            runs = {run: open_runs.get(run) for run in _runs(values)}
            open_runs = {}
            for (start, stop, scale), rectangle in runs.items():
                if rectangle is None:
                    rectangle = [scale, start, row, stop - start, 0]
                    found.append(rectangle)
                rectangle[4] += 1
                open_runs[start, stop, scale] = rectangle
        return {"grid": [self.cells.shape[1], self.cells.shape[0]], "cells": found}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Scales:
        cells = np.zeros((int(facts["grid"][1]), int(facts["grid"][0])), np.float32)
        for scale, column, row, columns, rows in facts["cells"]:
            cells[int(row) : int(row + rows), int(column) : int(column + columns)] = scale
        return cls(cells)


def _runs(values: Floats) -> list[tuple[int, int, float]]:
    """(start, stop, scale) of the stretches of a row that are in a region."""
    ends = np.flatnonzero(np.diff(values, prepend=np.float32(-1), append=np.float32(-1)))
    pairs = zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    return [(start, stop, float(values[start])) for start, stop in pairs if values[start] > 0]
