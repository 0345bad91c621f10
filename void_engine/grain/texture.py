"""Texture taken out of what single frames leave: with one frame alone, nothing moves that could tell it from grain.

What is known of grain, and of no texture: it is about as strong on every tile of a level, and its channels are never
quite alike. A picture's texture is shading of one colour, or of two: it lies along one direction of the three channels,
or in a plane of them. So the weakest direction of the channels shows grain alone, at every frequency, and with it the
grain's spectrum. The other directions can hold no more, by that spectrum, than at the frequency where they hold least.

Grain whose channels *are* alike (black and white film, chroma that a codec has thinned out) fails that test. It is
believed where many of a level's tiles agree on a low power, and it is no stronger than grain is; where no flat patches
are it is taken for texture: too little grain on a fill is a smaller fault than texture laid over it.

Must not decide where tiles are, nor how strong the grain is at a level.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from void_engine.grain.fields import Fields, Tiles

Floats = npt.NDArray[np.float64]

_BANDS = 8  # of the spectrum, by distance from the frequency 0
_GROUP = 24  # tiles of about one level that are judged together, at least
_ALIKE = 10.0  # the strongest direction's power by the weakest's: three channels whose correlation is 0.75
_DOUBT = 1.2  # standard errors
_COARSER = 2.0
_NOTHING = 1e-12  # power
_FLAT = 1.35  # the quarter of the tiles with the least power is as even as that, by its ends
_USUAL, _HEAVY = 0.03, 0.06  # encoded strength up to which such grain is believed, and from which it is not
_LOW = 0.9  # of the mean power of even tiles, that their weakest quarter has


def without_texture(tiles: Fields) -> Fields:
    """The tiles of one frame, with the power that grain may have."""
    whole = np.nan_to_num(tiles.rest)
    level = tiles.level.mean(axis=(1, 2, 3))
    bands = _bands(whole.shape[-1])
    spectra = np.fft.fft2(whole)
    for group in np.array_split(np.argsort(level, kind="stable"), max(1, len(whole) // _GROUP)):
        power = _power(whole[group], bands)
        filters = _filters(power, np.bincount(bands.ravel(), minlength=_BANDS))
        spectra[group] = np.einsum("yxcd,ndyx->ncyx", filters[bands], spectra[group])
    kept = np.fft.ifft2(spectra).real.astype(np.float32)
    return replace(tiles, rest=np.where(np.isnan(tiles.rest), np.float32(np.nan), kept))


def _bands(side: int) -> npt.NDArray[np.intp]:
    along = np.fft.fftfreq(side)
    away = np.hypot(along[:, None], along[None, :])
    return np.asarray(np.minimum(away * 2 * (_BANDS - 2), _BANDS - 1), dtype=np.intp)


def _power(tiles: Tiles, bands: npt.NDArray[np.intp]) -> Floats:
    """(n, bands, 3, 3): mean product of the channels' coefficients; summed over all of these it is the variance."""
    side = tiles.shape[-1]
    window = np.hanning(side + 2)[1:-1]
    shape = np.outer(window, window)
    spectra = np.fft.fft2(tiles * (shape / np.sqrt((shape**2).mean()))) / side**2
    found = np.empty((len(tiles), _BANDS, 3, 3))
    for band in range(_BANDS):
        part = spectra[:, :, bands == band]
        found[:, band] = np.einsum("ncm,ndm->ncd", part, part.conj()).real / part.shape[2]
    return found


def _filters(power: Floats, count: npt.NDArray[np.intp]) -> Floats:
    """(bands, 3, 3): what the tiles' spectra are multiplied with. ``count``: coefficients of each band."""
    total = np.einsum("nkcc,k->n", power, count) / 3
    order = np.argsort(total, kind="stable")
    clean = order[: max(1, len(order) // 2)]
    values, directions = np.linalg.eigh(power[clean].mean(axis=0))  # ascending
    values = np.maximum(values, 0.0)
    weakest = values[:, :1]
    known = (weakest > _NOTHING).all(axis=1) & (count > 0)
    ratio, error = values[known] / weakest[known], np.sqrt(8.0 / (len(clean) * count[known]))[:, None]
    # The least of several is too little by chance: by as much as each may be off.
    least = (ratio * (1.0 + _DOUBT * error)).min(axis=0) if known.any() else np.zeros(3)
    allowed = np.minimum(values, weakest * np.minimum(least, _ALIKE))
    if not _falls_faster(ratio[:, 2]):
        usual = float(values.sum(axis=1) @ count) / 3
        sure = known.any() and float(np.median(ratio[:, 2])) <= _ALIKE
        allowed = np.maximum(allowed, values * _believed(total[order], usual, sure=sure))
    gain = np.sqrt(allowed / np.maximum(values, 1e-30))
    return np.asarray(np.einsum("kci,ki,kdi->kcd", directions, gain, directions), dtype=np.float64)


def _falls_faster(ratio: Floats) -> bool:
    """Whether the channels' common part is coarser than the rest of them, as texture is. Grain's is as fine; where a
    codec has thinned out the chroma, it is finer."""
    third = len(ratio) // 3
    return third > 0 and float(np.median(ratio[:third])) > _COARSER * float(np.median(ratio[-third:]))


def _believed(total: Floats, usual: float, *, sure: bool) -> float:
    """How much of the power is believed to be grain because flat tiles show it. ``total``: of each tile, ascending;
    ``usual``: of the cleaner half. ``sure``: the channels say so, too, however strong it is."""
    quarter = total[: max(2, len(total) // 4)]
    low = float(np.median(quarter))
    if len(total) < 4 or low <= 0.0 or quarter[-1] > _FLAT * quarter[len(quarter) // 5]:
        return 0.0
    share = 1.0 if sure else np.clip((_HEAVY - np.sqrt(low)) / (_HEAVY - _USUAL), 0.0, 1.0)
    return float(share * min(1.0, low / _LOW / usual))
