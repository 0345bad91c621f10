"""Measures a plate's grain, from what it keeps.

Promises strength against level per channel, correlation in space and between channels, robust against texture,
edges, clipping and a moving camera; next to nothing for a plate without grain. Must not hold more than two frames.

Two neighbouring frames are better than one (`void_engine.grain.fields` says why); single frames stand in where there
is one frame only, or where the change from frame to frame is no grain; what their channels share is then held to be
texture as far as it can be (`void_engine.grain.texture`). The tiles are chosen by how little had to be
taken out of them, which does not depend on their grain, as block-based noise estimation does by the low
frequencies (Ponomarenko and others, 2007; Colom and Buades, "Analysis and extension of the percentile method",
IPOL 2013); of their variances the median counts, put right for being one of few samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from void_engine.grain import fields, spectrum
from void_engine.grain.fields import Encoded, Fields, Mask
from void_engine.grain.model import KNOTS, Floats, GrainModel
from void_engine.grain.texture import without_texture

Read = Callable[[int], tuple[Encoded, Mask]]

_PAIRS = 5
_LARGE = 4_000_000  # pixels from which three pairs have more than enough tiles
_FURTHEST = 3  # frames: a plate may hold each picture for that long
_CELL = 8  # side of the parts of a tile whose level and variance are taken together
_CLEANER = 0.6  # of the samples, by what was taken out of them
_FEW = 8  # cells
_EFFECTIVE = 32.0  # of a cell's 64 pixels, as many as are about independent
_DOUBT = 1.5  # standard errors
_STIFF = 20.0  # of the curve
_MOTION = 1.35  # pairs that say so much more than single frames show motion
_TEXTURE = 1.15  # planes that leave so much more than surfaces leave texture
_OUTLIER = 1.6  # a pair that differs from the others by that: a cut, a flash, a held frame


@dataclass(frozen=True)
class _Cells:
    """Cells of a channel: ``level``, ``variance``, ``taken`` out of their tile; all (n,)."""

    level: Floats
    variance: Floats
    taken: Floats


def measure(read: Read, count: int) -> GrainModel:
    """The grain of a clip of ``count`` frames; ``read`` gives a frame's encoded light and which pixels are usable."""
    pairs, ends, still = _pairs(read, count)
    if still:
        return GrainModel.none()  # frames that are alike to the bit: what seems to be grain is picture
    pairs, alone = _usual(pairs), _alone(read, count, 1 if pairs else 3, ends)
    by_pairs, by_single = (_curves(pairs) if pairs else None), (_curves(alone) if alone else None)
    # With its texture a single frame says how strong the grain is at most.
    if by_pairs is not None and (by_single is None or not _much_stronger(by_pairs, by_single, pairs, _MOTION)):
        return _model(pairs, by_pairs, _ends(ends))
    alone = [without_texture(tiles) for tiles in alone]
    by_single = _curves(alone) if alone else None
    return _model(alone, by_single, _ends(ends)) if by_single is not None else GrainModel.none()


def _pairs(read: Read, count: int) -> tuple[list[Fields], list[Floats], bool]:
    """Fields of pairs over the clip, the ends seen on the way, and whether all frames compared are the same bits."""
    found: list[Fields] = []
    ends: list[Floats] = []
    changes = False
    wanted = _PAIRS
    for position in _spread(count - 1, _PAIRS):
        if len(found) >= wanted:
            break
        one = fields.examine(*read(position))
        wanted = 3 if one.usable.size > _LARGE else _PAIRS
        ends.append(one.ends)
        for later in range(position + 1, min(count, position + 1 + _FURTHEST)):
            pair = fields.pair(one, fields.examine(*read(later)))
            if pair is None or not pair.still:
                changes = True
                found += [pair] if pair is not None else []
                break
    return found, ends, count > 1 and not changes


def _alone(read: Read, count: int, wanted: int, ends: list[Floats]) -> list[Fields]:
    """Fields of single frames. ``ends`` grows."""
    planes, surfaces = [], []
    for position in _spread(count, wanted):
        frame = fields.examine(*read(position))
        ends.append(frame.ends)
        planes += [found for found in [fields.single(frame, 3)] if found is not None]
        surfaces += [found for found in [fields.single(frame, 6)] if found is not None]
    # A surface takes coarse grain along, a plane leaves texture: only a plane much stronger than that has texture.
    stronger, usual = (_curves(found) if found else None for found in (planes, surfaces))
    worse = stronger is not None and usual is not None and _much_stronger(stronger, usual, planes, _TEXTURE)
    return surfaces if worse else planes


def _spread(count: int, wanted: int) -> list[int]:
    """Up to ``wanted`` of ``count`` positions: the middle one first, then evenly."""
    number = min(count, wanted)
    even = [int((k + 0.5) * count / number) for k in range(number)]
    return sorted(even, key=lambda position: abs(position - (count - 1) / 2))


def _ends(seen: list[Floats]) -> Floats:
    """Where all the frames looked at agree that a channel is clipped; a highlight's end alone is no clip."""
    stacked = np.stack(seen)
    agree = (stacked == stacked[0]).all(axis=0)
    return np.where(agree, stacked[0], [-np.inf, np.inf])


def _cells(tiles: Fields, channel: int) -> _Cells:
    rest, level = _split(tiles.rest[:, channel]), _split(tiles.level[:, channel])
    taken = np.repeat(tiles.taken[:, channel], rest.shape[1])
    rest, level = rest.reshape(-1, _CELL**2), level.reshape(-1, _CELL**2)
    whole = np.isfinite(rest).all(axis=1)
    return _Cells(
        level[whole].mean(axis=1, dtype=np.float64),
        (rest[whole] ** 2).mean(axis=1, dtype=np.float64),
        taken[whole].astype(np.float64),
    )


def _split(planes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n, side, side) as (n, cells, 64)."""
    count, parts = len(planes), planes.shape[-1] // _CELL
    return planes.reshape(count, parts, _CELL, parts, _CELL).swapaxes(2, 3).reshape(count, parts**2, _CELL**2)


def _usual(pairs: list[Fields]) -> list[Fields]:
    """The pairs whose grain is about as strong as most pairs'."""
    if len(pairs) < 3:
        return pairs
    strength = np.array([np.sqrt(np.nanmedian(pair.rest**2)) for pair in pairs])
    ratio = strength / max(float(np.median(strength)), 1e-9)
    return [pair for pair, one in zip(pairs, ratio, strict=True) if 1 / _OUTLIER <= one <= _OUTLIER] or pairs


def _much_stronger(one: list[Floats], other: list[Floats], found: list[Fields], factor: float) -> bool:
    """Whether the first curves lie far above the others, at the levels that the tiles have."""
    ratio = []
    for channel in range(3):
        level = np.concatenate([tiles.level[:, channel].mean(axis=(1, 2)) for tiles in found])
        first, second = (np.interp(level, KNOTS, curves[channel]) for curves in (one, other))
        ratio.append(first / np.maximum(second, 1e-9))
    return bool(np.median(np.concatenate(ratio)) > factor)


def _curves(found: list[Fields]) -> list[Floats] | None:
    """Strength at `KNOTS` of each channel; None where there is nothing to measure."""
    curves = []
    for channel in range(3):
        cells = [_cells(tiles, channel) for tiles in found]
        parts = (np.concatenate([getattr(c, name) for c in cells]) for name in ("level", "variance", "taken"))
        curves.append(_curve(_Cells(*parts)))
    known = [curve for curve in curves if curve is not None]
    if not known:
        return None
    usual = np.mean(known, axis=0)  # a channel that is clipped everywhere takes after the others
    return [curve if curve is not None else usual for curve in curves]


def _curve(cells: _Cells) -> Floats | None:
    """A smooth curve through the medians of the cleanest cells of each level, held beyond the last ones."""
    bins = np.rint((cells.level - KNOTS[0]) / (KNOTS[1] - KNOTS[0])).astype(int).clip(0, KNOTS.size - 1)
    weights, values = np.zeros(KNOTS.size), np.zeros(KNOTS.size)
    for k in np.unique(bins):
        taken, variance = cells.taken[bins == k], cells.variance[bins == k]
        if taken.size >= _FEW or bins.size < 4 * _FEW:
            values[k], weights[k] = _at_nothing_taken(taken, variance)
    known = np.flatnonzero(weights)
    if known.size == 0:
        return None
    usual = float(np.average(values[known], weights=weights[known]))
    if usual < 1e-9:
        return np.zeros(KNOTS.size)
    # Weighted least squares with a penalty on the second difference (Whittaker's smoother).
    bend = np.diff(np.eye(KNOTS.size), n=2, axis=0)
    weights *= usual**2
    matrix = np.diag(weights) + _STIFF * bend.T @ bend + 1e-6 * np.eye(KNOTS.size)
    smooth = np.linalg.solve(matrix, weights * values)
    smooth = smooth[np.clip(np.arange(KNOTS.size), known[0], known[-1])]
    return np.asarray(np.clip(smooth, 0.0, values[known].max()), dtype=np.float64)


def _at_nothing_taken(taken: Floats, variance: Floats) -> tuple[float, float]:
    """The deviation that cells would have that nothing had to be taken out of, and its weight (1 / error squared)."""
    usual = max(float(np.quantile(variance, 0.3)), 1e-12)
    groups = _groups(taken, _FEW)
    middle = np.array([np.median(variance[group]) for group in groups]) / usual
    share = np.array([np.median(taken[group]) for group in groups]) / usual
    error = np.array([1.6 / np.sqrt(_EFFECTIVE / 2.0 * group.size) for group in groups])
    weights, doubt = _extrapolation(share, error)
    found = float(weights @ middle)
    # What may as well be nothing is taken as nothing: a rendered plate has no grain.
    found *= max(0.0, 1.0 - (_DOUBT * doubt / found) ** 2) if found > 0.0 else 0.0
    deviation = np.sqrt(max(found, 0.0))
    spread = max(0.5 * doubt / max(deviation, 0.5), 0.02)
    return float(deviation * np.sqrt(usual)), float(1.0 / (spread**2 * usual))


def _groups(taken: Floats, least: int) -> list[npt.NDArray[np.intp]]:
    """The cleaner part of the samples in up to six groups of ``least`` or more, by what was taken."""
    order = np.argsort(taken, kind="stable")[: max(least, int(_CLEANER * taken.size))]
    return np.array_split(order, max(1, min(6, order.size // least)))


def _extrapolation(share: Floats, error: Floats) -> tuple[Floats, float]:
    """Weights of groups, their sum 1, that say what a group with nothing taken would show; and its standard error.

    ``share``: what was taken from each, by its grain's variance; ``error``: standard error of what it shows, likewise.
    What is left of the picture goes about with what was taken: a line of unknown slope, of which is known beforehand
    that it is seldom beyond 0.5. Where little was taken this is the weighted mean, not a wild guess.
    """
    covariance = 0.25 * np.outer(share, share) + np.diag(error**2 + (0.2 * share) ** 2)
    weights = np.linalg.solve(covariance, np.ones(share.size))
    return np.asarray(weights / weights.sum(), dtype=np.float64), float(1.0 / np.sqrt(weights.sum()))


def _model(found: list[Fields], curves: list[Floats], ends: Floats) -> GrainModel:
    """How the cleanest tiles hang together, and the whole model."""
    shape = GrainModel(np.stack(curves), GrainModel.none().kernel, np.eye(3), ends)
    if shape.sigma.max() <= 1e-7:
        return GrainModel.none()
    unit, taken = _unit(found, shape)
    sigma, kernels = [], []
    for channel in range(3):
        groups = _groups(taken[:, channel], 4)
        share = np.array([np.median(taken[group, channel]) for group in groups])
        error = np.array([np.sqrt(_EFFECTIVE / 32.0 / (group.size * unit.shape[-1] ** 2)) for group in groups])
        correlation, kept = spectrum.autocorrelation(
            [unit[group, channel] for group in groups], _extrapolation(share, error)[0], found[0].smooth
        )
        # The median of a mean of few independent squares lies below the mean (Wilson and Hilferty).
        independent = _CELL**2 / float((correlation**2).sum())
        low = max(0.5, 1.0 - 2.0 / (9.0 * max(independent, 1.0))) ** 3
        sigma.append(curves[channel] / np.sqrt(low * kept))
        kernels.append(spectrum.kernel(correlation))
    clean = _groups(taken.max(axis=1), 4)[0]
    mixing = spectrum.mixing(_between(unit[clean]), np.stack(kernels))
    model = GrainModel(np.stack(sigma), np.stack(kernels), mixing, ends)
    return GrainModel.from_json(model.to_json())


def _unit(found: list[Fields], shape: GrainModel) -> tuple[npt.NDArray[np.float32], Floats]:
    """All tiles (n, 3, side, side) divided by the strength at their levels, and what was taken out of them (n, 3)."""
    side = min(tiles.rest.shape[-1] for tiles in found)
    unit, taken = [], []
    for tiles in found:
        rest, level = tiles.rest[..., :side, :side], tiles.level[..., :side, :side]
        strength = np.stack([np.interp(level[:, c], KNOTS, shape.sigma[c]) for c in range(3)], axis=1)
        strength = np.maximum(strength, 0.05 * shape.sigma.max())
        unit.append((rest / strength).astype(np.float32))
        taken.append(tiles.taken / (strength**2).mean(axis=(2, 3)))
    return np.concatenate(unit), np.concatenate(taken)


def _between(unit: npt.NDArray[np.float32]) -> Floats:
    """The correlation (3, 3) of the channels at the same pixel."""
    whole = np.moveaxis(unit, 1, -1).reshape(-1, 3)
    whole = whole[np.isfinite(whole).all(axis=1)].astype(np.float64)
    if len(whole) < 2:
        return np.eye(3)
    products = whole.T @ whole
    size = np.sqrt(np.maximum(np.diag(products), 1e-12))
    return np.asarray(products / np.outer(size, size), dtype=np.float64)
