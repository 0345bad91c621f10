"""How grain hangs together: its autocorrelation from tiles, and the filter that gives white noise the same.

Must not know where the tiles come from.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from void_engine.grain.model import RADIUS, Floats

Tiles = npt.NDArray[np.float32]

_PERIOD = 32  # samples of the spectrum along an axis
_SURE = 3.0  # standard errors from which a correlation is one


def autocorrelation(groups: list[Tiles], weights: Floats, smooth: int) -> tuple[Floats, float]:
    """(13, 13) by lag, 1 in the middle, of tiles (n, side, side) with NaN gaps; and the share of variance kept.

    The groups' covariances are added up with ``weights``. Fitting ``smooth`` shapes, such as a constant, has taken
    about the same little from every lag. It is added back: coarse grain would seem finer than it is, and weaker (the
    second number, at most 1).
    """
    side = groups[0].shape[-1]
    parts = [_covariance(tiles) for tiles in groups]
    covariance = sum(weight * part[0] for weight, part in zip(weights, parts, strict=True))
    spread = sum(weight**2 / np.maximum(part[1], 1.0) for weight, part in zip(weights, parts, strict=True))
    variance = float(covariance[RADIUS, RADIUS])
    if variance <= 0.0:
        return _white(), 1.0
    near = covariance / variance
    error = np.sqrt((near**2).sum() * spread)
    near = np.where(np.abs(near) > _SURE * error, near, 0.0)
    near[RADIUS, RADIUS] = 1.0
    free = max(0.5, 1.0 - smooth * np.count_nonzero(near) / side**2)
    lost = min(0.3, smooth * max(0.0, float(near.sum())) / side**2 / free)
    return np.where(near != 0.0, near + lost, 0.0) / (1.0 + lost), 1.0 / (1.0 + lost)


def _covariance(tiles: Tiles) -> tuple[Floats, Floats]:
    """(13, 13) by lag, and the number of pairs of pixels that it comes from."""
    side = tiles.shape[-1]
    given = np.isfinite(tiles)
    size = (2 * side, 2 * side)
    spectrum = np.fft.rfft2(np.where(given, tiles, 0.0), size)
    covered = np.fft.rfft2(given.astype(np.float64), size)
    products = np.fft.irfft2((np.abs(spectrum) ** 2).sum(axis=0), size)
    pairs = np.fft.irfft2((np.abs(covered) ** 2).sum(axis=0), size)
    lags = np.arange(-RADIUS, RADIUS + 1)
    at = np.ix_(lags, lags)
    return products[at] / np.maximum(pairs[at], 1.0), pairs[at]


def _white() -> Floats:
    white = np.zeros((2 * RADIUS + 1, 2 * RADIUS + 1))
    white[RADIUS, RADIUS] = 1.0
    return white


def kernel(correlation: Floats) -> Floats:
    """The symmetric filter (13, 13) after which white noise of variance 1 has this autocorrelation."""
    periodic = np.zeros((_PERIOD, _PERIOD))
    lags = np.arange(-RADIUS, RADIUS + 1)
    periodic[np.ix_(lags, lags)] = correlation
    # Lags that were cut off leave a spectrum with small negative parts, which none has.
    power = np.maximum(np.fft.fft2(periodic).real, 0.0)
    response = np.fft.ifft2(np.sqrt(power)).real[np.ix_(lags, lags)]
    size = np.sqrt((response**2).sum())
    return np.asarray(response / size, dtype=np.float64) if size > 1e-6 else _white()


def mixing(correlation: Floats, kernels: Floats) -> Floats:
    """Lower triangle (3, 3) that gives independent noises, each then filtered by its kernel, this correlation."""
    # Two different filters make the noises less alike than they went in.
    alike = np.einsum("cyx,dyx->cd", kernels, kernels)
    wanted = np.clip(correlation / np.maximum(alike, 0.1), -0.999, 0.999)
    np.fill_diagonal(wanted, 1.0)
    values, vectors = np.linalg.eigh(wanted)
    sound = (vectors * np.maximum(values, 1e-4)) @ vectors.T
    scale = np.sqrt(np.diag(sound))
    return np.asarray(np.linalg.cholesky(sound / np.outer(scale, scale)), dtype=np.float64)
