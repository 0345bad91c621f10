"""A comparison's numbers: per frame, over the range, as JSON, as CSV and as a plot.

Promises: strict JSON: what has no finite value is null. Every mean says over how many frames by what is null.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from void_engine.looking.flicker import Flicker
from void_engine.looking.measure import Measures, Spread
from void_engine.looking.plot import Panel, Series, plot

_A, _B, _AWAY, _GREY = (40, 110, 200), (225, 120, 20), (60, 140, 80), (160, 160, 160)
_SPREADS: Final = ("mean", "median", "max")
COLUMNS: Final = (
    "frame", "pixels", "display_mean", "display_median", "display_max", "light_mean", "light_median", "light_max",
    "psnr", "ssim", "flicker_a", "flicker_b", "flicker_ring_a", "flicker_ring_b", "differing", "differing_outside",
    "not_finite_a", "not_finite_b",
)  # fmt: skip


@dataclass
class FrameRow:
    """One frame. ``differing``: pixels whose bits differ, anywhere; ``outside``: of those, outside the matte.

    Both are None where the two clips do not store the same kind of values.
    """

    number: int
    measures: Measures | None
    differing: int | None
    outside: int | None
    not_finite: tuple[int, int] = (0, 0)
    flicker: Flicker | None = None

    @property
    def score(self) -> float:
        """How bad, for choosing the worst."""
        return self.measures.display.mean if self.measures else 0.0

    def values(self) -> dict[str, Any]:
        """By `COLUMNS`; None is null."""
        measures, flicker = self.measures, self.flicker
        found: dict[str, Any] = {
            "frame": self.number,
            "pixels": measures.pixels if measures else 0,
            **_spread("display", measures.display if measures else None),
            **_spread("light", measures.light if measures else None),
            "psnr": measures.psnr if measures else None,
            "ssim": measures.ssim if measures else None,
            "differing": self.differing,
            "differing_outside": self.outside,
            "not_finite_a": self.not_finite[0],
            "not_finite_b": self.not_finite[1],
        }
        for side, place in (("a", 0), ("b", 1)):
            found[f"flicker_{side}"] = flicker.inside[place] if flicker else None
            found[f"flicker_ring_{side}"] = flicker.ring[place] if flicker else None
        return {name: _finite(found[name]) for name in COLUMNS}


def _spread(name: str, spread: Spread | None) -> dict[str, float | None]:
    values = (None, None, None) if spread is None else (spread.mean, spread.median, spread.maximum)
    return {f"{name}_{what}": value for what, value in zip(_SPREADS, values, strict=True)}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def summary(rows: Sequence[FrameRow]) -> dict[str, Any]:
    """Means over the frames that have the value; the largest of the maxima; counts are sums."""
    values = [row.values() for row in rows]
    means = (
        "display_mean", "display_median", "light_mean", "light_median", "psnr", "ssim",
        "flicker_a", "flicker_b", "flicker_ring_a", "flicker_ring_b",
    )  # fmt: skip
    told: dict[str, Any] = {name: _mean(row[name] for row in values) for name in means}
    for name in ("display_max", "light_max"):
        told[name] = max((row[name] for row in values if row[name] is not None), default=None)
    for name in ("differing", "differing_outside"):
        told[name] = None if values[0][name] is None else sum(row[name] for row in values)
    measured = [row for row in rows if row.measures is not None]
    told["worst_frame"] = max(measured, key=lambda row: row.score).number if measured else None
    told["frames"], told["frames_measured"] = len(rows), len(measured)
    told["identical_outside"] = None if told["differing_outside"] is None else told["differing_outside"] == 0
    return told


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def as_json(report: dict[str, Any]) -> bytes:
    return (json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def as_csv(rows: Sequence[FrameRow]) -> bytes:
    """A header and a line a frame; an empty field is null."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.values() for row in rows)
    return text.getvalue().encode()


def as_plot(rows: Sequence[FrameRow], where: str) -> npt.NDArray[np.uint8]:
    """Flicker above, the difference below. ``where``: the region in words."""
    values = [row.values() for row in rows]

    def series(name: str, column: str, colour: tuple[int, int, int], dashed: bool = False) -> Series:
        return Series(name, colour, [row[column] for row in values], dashed)

    inside = [series(f"A, {where}", "flicker_a", _A), series(f"B, {where}", "flicker_b", _B)]
    ring = [
        series("A, ring around it", "flicker_ring_a", _A, True),
        series("B, ring around it", "flicker_ring_b", _B, True),
    ]
    if all(row["flicker_ring_a"] == row["flicker_ring_b"] for row in values):  # one line over the other misleads
        ring = [series("A and B, ring around it", "flicker_ring_a", _GREY, True)]
    has_ring = any(row["flicker_ring_a"] is not None for row in values)
    return plot(
        [row.number for row in rows],
        [
            Panel("flicker: mean |x(t) - (x(t-1) + x(t+1)) / 2|, codes of 255", inside + (ring if has_ring else [])),
            Panel(f"mean difference |A - B| of display values, {where}, codes of 255", [
                series("mean", "display_mean", _AWAY), series("median", "display_median", _GREY, True),
            ]),
        ],
    )  # fmt: skip
