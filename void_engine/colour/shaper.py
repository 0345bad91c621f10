"""A shot's own invertible way from scene-linear light to the display-referred [0, 1] that models know, and back.

Promises: strictly rising and smooth; the middle, black to white, is the sRGB curve and the same for every shot, so that
models see the contrast that they learned; highlights and negative light of any size get a logarithmic end each, as
long as the shot needs; light beyond these ends, which the shot has not, is held there. Computed in float32, it brings
each half of at least 2^-14 home within half of its last bit. Must not know a colour space, or read pixels: `fit`
takes `Levels`. docs/colour.md has the reasons for the numbers.

With u = light * exposure, C the sRGB curve, and k the curve's slope at the joint times (white - black):

    u > 1        white + (k / b) * ln(1 + b * (u - 1)),  b such that u = peak * exposure gives 1
    0 ≤ u ≤ 1    black + (white - black) * C(u)
    u < 0        black - (k / b) * ln(1 + b * -u),       b such that u = floor * exposure gives 0
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from void_engine.colour.levels import Levels

Light = npt.NDArray[np.float32]  # scene-linear
Display = npt.NDArray[np.float32]  # [0, 1]

# The sRGB curve with its two constants taken to the digits that make it smooth: the standard's rounded 0.0031308 and
# 12.92 leave a kink of 2 %. It differs from the standard by 2e-5 at most.
_OFFSET: Final = 0.055
_GAMMA: Final = 2.4
_KNEE_CODE: Final = _OFFSET / (_GAMMA - 1.0)
_KNEE: Final = ((_KNEE_CODE + _OFFSET) / (1.0 + _OFFSET)) ** _GAMMA
_SLOPE_0: Final = _KNEE_CODE / _KNEE  # 12.92
_SLOPE_1: Final = (1.0 + _OFFSET) / _GAMMA

_WHITE: Final = 0.875  # leaves an eighth of the codes for highlights; middle grey is at 0.41
# Each end in steps of eight, so that two shots of a scene rarely differ: (reach, black's code).
_PEAKS: Final = tuple(2.0**power for power in range(3, 37, 3))
_FLOORS: Final = ((2.0**-6, 1 / 64), (2.0**-3, 1 / 32), *((2.0**power, 1 / 16) for power in range(0, 37, 3)))
_SANE: Final = (2.0**-7, 1.0)  # where a shot's median may lie with its exposure left alone
_EXPOSURES: Final = (2.0**-6, 2.0**14)  # a smaller one would take float32's precision from the dark end
_RARE: Final = 1e-6  # of a shot's samples: broken pixels, which must not take the codes of the others
_CHUNK: Final = 1 << 16  # samples at once, so that they stay in the processor's cache


@dataclass(frozen=True)
class Shaper:
    """``floor`` and ``peak``: light that gives 0 and 1. ``black`` and ``white``: the codes of light 0 and 1 / exposure.

    The defaults are what ordinary plates get. Raises `ValueError` for numbers that make no such curve.
    """

    exposure: float = 1.0
    black: float = 1 / 64
    white: float = _WHITE
    floor: float = -(2.0**-6)
    peak: float = 8.0

    def __post_init__(self) -> None:
        numbers = [getattr(self, field.name) for field in fields(self)]
        if not all(type(number) is float and math.isfinite(number) for number in numbers):
            raise ValueError(f"a shaper takes finite floats: {self}")
        if self.exposure <= 0.0 or math.frexp(self.exposure)[0] != 0.5:
            raise ValueError(f"the exposure must be a power of two, which rounds nothing: {self}")
        if not (0.0 < self.black < self.white < 1.0 and self.floor < 0.0 and self.peak * self.exposure > 1.0):
            raise ValueError(f"a shaper's parts must follow one another: {self}")
        _bend(self._toe_slope, -self.floor * self.exposure, self.black)
        _bend(self._shoulder_slope, self.peak * self.exposure - 1.0, 1.0 - self.white)

    def to_display(self, light: Light) -> Display:
        """Any shape, a new array; light beyond ``floor`` and ``peak`` is held there."""
        return _by_chunks(self._show, light)

    def to_light(self, display: Display) -> Light:
        """The inverse of `to_display`; codes beyond 0 and 1 are held there."""
        return _by_chunks(self._undo, display)

    def params(self) -> dict[str, float]:
        """For JSON, which keeps them to the last bit."""
        return asdict(self)

    @classmethod
    def from_params(cls, params: Mapping[str, float]) -> Shaper:
        """Raises `ValueError` unless these are exactly the parameters of a shaper."""
        known = {field.name for field in fields(cls)}
        if set(params) != known:
            raise ValueError(f"a shaper has {', '.join(sorted(known))}; not {', '.join(sorted(params))}")
        return cls(**params)

    def __str__(self) -> str:
        """For metadata: exact, and the same for equal shapers."""
        return "srgb-log 1: " + ", ".join(f"{name}={value!r}" for name, value in self.params().items())

    @property
    def _toe_slope(self) -> float:
        return (self.white - self.black) * _SLOPE_0

    @property
    def _shoulder_slope(self) -> float:
        return (self.white - self.black) * _SLOPE_1

    def _show(self, light: Light) -> Display:
        held = np.clip(light, np.float32(self.floor), np.float32(self.peak)) * np.float32(self.exposure)
        shown = _curve(np.clip(held, np.float32(0.0), np.float32(1.0)))
        shown *= np.float32(self.white - self.black)
        shown += np.float32(self.black)
        above, below = held > 1.0, held < 0.0
        if above.any():
            bend = _bend(self._shoulder_slope, self.peak * self.exposure - 1.0, 1.0 - self.white)
            shown[above] = np.float32(self.white) + _log(held[above] - np.float32(1.0), self._shoulder_slope, bend)
        if below.any():
            bend = _bend(self._toe_slope, -self.floor * self.exposure, self.black)
            shown[below] = np.float32(self.black) - _log(-held[below], self._toe_slope, bend)
        return np.clip(shown, np.float32(0.0), np.float32(1.0))

    def _undo(self, display: Display) -> Light:
        held = np.clip(display, np.float32(0.0), np.float32(1.0))
        code = (held - np.float32(self.black)) * np.float32(1.0 / (self.white - self.black))
        light = _uncurve(np.clip(code, np.float32(0.0), np.float32(1.0)))
        above, below = held > np.float32(self.white), held < np.float32(self.black)
        if above.any():
            bend = _bend(self._shoulder_slope, self.peak * self.exposure - 1.0, 1.0 - self.white)
            light[above] = np.float32(1.0) + _exp(held[above] - np.float32(self.white), self._shoulder_slope, bend)
        if below.any():
            bend = _bend(self._toe_slope, -self.floor * self.exposure, self.black)
            light[below] = -_exp(np.float32(self.black) - held[below], self._toe_slope, bend)
        light *= np.float32(1.0 / self.exposure)
        return np.clip(light, np.float32(self.floor), np.float32(self.peak))


def fit(levels: Levels) -> Shaper:
    """The shaper of a shot. All but one sample in a million lie between its ends; ordinary plates get the default."""
    exposure = _exposure(levels.median())
    rare = int(levels.samples * _RARE)
    bright, dark = levels.brightest(rare) * exposure, -levels.darkest(rare) * exposure
    peak = next((reach for reach in _PEAKS if reach >= bright), _PEAKS[-1])
    floor, black = next((end for end in _FLOORS if end[0] >= dark), _FLOORS[-1])
    return Shaper(exposure=exposure, black=black, floor=-floor / exposure, peak=peak / exposure)


def fit_frames(frames: Iterable[Light]) -> Shaper:
    """`fit` for frames one after the other; none of them is kept."""
    levels = Levels()
    for frame in frames:
        levels.add(frame)
    return fit(levels)


def _exposure(median: float) -> float:
    """The power of two nearest to 1 that brings the median into `_SANE`: shots near its ends change little."""
    low, high = _SANE
    if median <= 0.0 or low <= median <= high:
        return 1.0
    stops = math.ceil(math.log2(low / median)) if median < low else math.floor(math.log2(high / median))
    return min(max(2.0**stops, _EXPOSURES[0]), _EXPOSURES[1])


@functools.lru_cache(maxsize=256)
def _bend(slope: float, reach: float, codes: float) -> float:
    """b > 0 with (slope / b) * ln(1 + b * reach) = codes: leaves with ``slope``, is ``codes`` further at ``reach``."""
    if not slope * reach > codes * 1.0001:
        raise ValueError(f"an end that reaches {reach:g} takes less than {slope * reach:g} of the codes, not {codes:g}")
    low, high = 1e-6 / reach, 1.0 / reach
    while slope / high * math.log1p(high * reach) > codes:
        high *= 2.0
    for _ in range(200):  # halvings: more than a float64 has bits
        middle = 0.5 * (low + high)
        if slope / middle * math.log1p(middle * reach) > codes:
            low = middle
        else:
            high = middle
    return high


def _log(beyond: Light, slope: float, bend: float) -> Display:
    shown: Display = np.log1p(beyond * np.float32(bend)) * np.float32(slope / bend)
    return shown


def _exp(codes: Display, slope: float, bend: float) -> Light:
    light: Light = np.expm1(codes * np.float32(bend / slope)) * np.float32(1.0 / bend)
    return light


def _curve(unit: Light) -> Display:
    """The sRGB curve on [0, 1]."""
    bright = np.power(unit, np.float32(1.0 / _GAMMA)) * np.float32(1.0 + _OFFSET) - np.float32(_OFFSET)
    return np.where(unit <= np.float32(_KNEE), unit * np.float32(_SLOPE_0), bright)


def _uncurve(code: Display) -> Light:
    bright = np.power((code + np.float32(_OFFSET)) * np.float32(1.0 / (1.0 + _OFFSET)), np.float32(_GAMMA))
    return np.where(code <= np.float32(_KNEE_CODE), code * np.float32(1.0 / _SLOPE_0), bright)


def _by_chunks(curve: Callable[[Light], Light], values: Light) -> Light:
    whole = np.array(values, dtype=np.float32, order="C")
    flat = whole.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        flat[start : start + _CHUNK] = curve(flat[start : start + _CHUNK])
    return whole
