"""Before a standing camera: what most frames show of each place, and which frames show just that.

Promises a decision over the whole clip and not over a frame's neighbours: the background is what comes back most
often, even where an arm covers it more than half of the time, because the arm never looks the same twice. The same
answer every time. Must not decode plates: it decides on proxies, and holds few of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import judge, pixels, scratch, shaper
from void_engine.cleanplate.pixels import Box, Bytes, Floats, Mask
from void_engine.cleanplate.proxies import ProxyShot

_RING = 16  # proxy pixels around all holes that are looked at, too
_EVEN, _MORE = 24, 16  # frames compared: spread evenly, and for places that those hardly show
_SHOWN = 4  # times that a place should be shown in the frames compared
_ALIKE = 0.03  # encoded difference at which two observations hardly support each other
_SUPPORT, _SHARE = 2.2, 0.25  # observations, and share of them, that must agree for a place to be known
_PASSING = 0.05  # encoded difference from the background, on top of its own liveliness, of what passes by
_RARE = 0.1  # share of the frames: what fewer show, and cannot be told, is not believed
_LIVELY = 0.012  # encoded change with time that is no grain, and
_OVER_USUAL = 3.0  # times the usual change
_CHUNK = 16384  # pixels compared at once
_EVEN_LIGHT = 0.006  # natural logarithm of light: less is no drift


@dataclass(frozen=True)
class Agreement:
    """Over ``box`` of the proxy.

    ``compared``: the frames that were. ``gains`` (frames, 3): a frame's light over that of the clip. ``covered``: some
    frame compared shows the background; ``known``: enough do to be sure. ``lively``: 1 where the background moves by
    itself, such as water; 0 where only grain does.
    """

    box: Box
    compared: list[int]
    gains: npt.NDArray[np.float32]
    covered: Mask
    known: Mask
    lively: Floats
    folder: Path

    def shows(self, position: int) -> Mask:
        """Where over the box a frame shows the background."""
        arrays = scratch.load_arrays(_path(self.folder, position))
        if arrays is None:
            raise LookupError(f"nothing is known of position {position}")
        bits = np.unpackbits(arrays["shows"], count=self.covered.size)
        return np.asarray(bits.reshape(self.covered.shape).astype(np.bool_))


def _path(folder: Path, position: int) -> Path:
    return folder / f"shows.{position:06d}.npz"


def agree(shot: ProxyShot, count: int, folder: Path, margin: int) -> Agreement | None:
    """Compares the frames; None where there is no hole or nothing to compare. Found again after a kill."""
    stored = scratch.load_arrays(folder / "agreement.npz")
    if stored is None:
        box = _box(shot, count)
        if box is None or count < 2:
            return None
        stored = _compare(shot, count, folder, margin, box)
        scratch.save_arrays(folder / "agreement.npz", stored)
    x0, y0, x1, y1 = (int(value) for value in stored["box"])
    compared = [int(position) for position in stored["compared"]]
    return Agreement(
        (x0, y0, x1, y1), compared, stored["gains"], stored["covered"], stored["known"], stored["lively"], folder
    )


def _box(shot: ProxyShot, count: int) -> Box | None:
    hidden = np.zeros((shot.height, shot.width), dtype=bool)
    for position in range(count):
        hidden |= shot.get(position).hole
    rows, columns = np.flatnonzero(hidden.any(axis=1)), np.flatnonzero(hidden.any(axis=0))
    if rows.size == 0:
        return None
    return (
        max(0, int(columns[0]) - _RING),
        max(0, int(rows[0]) - _RING),
        min(shot.width, int(columns[-1]) + 1 + _RING),
        min(shot.height, int(rows[-1]) + 1 + _RING),
    )


def _compare(shot: ProxyShot, count: int, folder: Path, margin: int, box: Box) -> scratch.Arrays:
    inside = (slice(box[1], box[3]), slice(box[0], box[2]))
    gains = _gains(shot, count)
    often = np.zeros((box[3] - box[1], box[2] - box[0]), dtype=np.int32)
    for position in range(count):
        often += shot.trusted(position, margin)[inside]
    compared = _frames(shot, count, margin, inside, often)
    background, spread, known = _background(shot, compared, gains, margin, inside)
    rare = ~known & (often < _RARE * count)
    covered = np.zeros(often.shape, dtype=bool)
    for position in range(count):
        seen = shot.trusted(position, margin)[inside]
        away = np.sqrt(((_picture(shot, position, inside, gains) - background) ** 2).mean(axis=2))
        passing = pixels.grown(seen & known & (away > _PASSING + 2.5 * spread), 2) & seen
        shows = seen & ~judge.hanging_together(passing, seen, known) & ~rare
        scratch.save_arrays(_path(folder, position), {"shows": np.packbits(shows)})
        if position in compared:
            covered |= shows
    lively = np.where(known, spread, np.float32(0.0))
    usual = float(np.median(spread[known])) if known.any() else 0.0
    least = max(_LIVELY, _OVER_USUAL * usual)
    return {
        "box": np.array(box),
        "compared": np.array(compared),
        "gains": gains,
        "covered": covered,
        "known": known,
        "lively": np.clip(pixels.blurred(lively.astype(np.float32), 2.0) / least - 1.0, 0.0, 1.0),
    }


def _gains(shot: ProxyShot, count: int) -> npt.NDArray[np.float32]:
    """Each frame's light over the middle one's, by channel: what most of what both keep agrees on."""
    middle = shot.get(count // 2)
    reference = shaper.decode(shaper.from_bytes(middle.rgb))
    gains = np.ones((count, 3), dtype=np.float32)
    bins = np.linspace(-1.5, 1.5, 151)
    for position in range(count):
        proxy = shot.get(position)
        light = shaper.decode(shaper.from_bytes(proxy.rgb))
        both = (proxy.state == 0) & (middle.state == 0)
        for channel in range(3):
            one, other = light[..., channel][both], reference[..., channel][both]
            usable = (np.minimum(one, other) > 0.03) & (np.maximum(one, other) < 4.0)
            if np.count_nonzero(usable) < 256:
                continue
            ratio = np.log(one[usable] / other[usable])
            drift = _usual(ratio, bins)
            gains[position, channel] = np.exp(drift) if abs(drift) > _EVEN_LIGHT else 1.0
    return gains


def _usual(ratio: npt.NDArray[np.float32], bins: npt.NDArray[np.float64]) -> float:
    """The mean of a peak and not the median of all: what passes by may cover half of the frame."""
    heights = np.convolve(np.histogram(ratio, bins)[0], np.ones(5), "same")
    middle = float((bins[:-1] + bins[1:])[int(heights.argmax())] / 2)
    for _ in range(4):
        near = ratio[np.abs(ratio - middle) < 0.15]
        middle = float(near.mean()) if near.size else 0.0
    return middle


def _frames(
    shot: ProxyShot, count: int, margin: int, inside: tuple[slice, slice], often: npt.NDArray[np.int32]
) -> list[int]:
    """The frames to compare: spread evenly, and those that show most of what these hardly do."""
    chosen = dict.fromkeys(int(k) for k in np.linspace(0, count - 1, min(count, _EVEN)).round())
    wanted = np.minimum(often, _SHOWN)
    for position in chosen:
        wanted = wanted - shot.trusted(position, margin)[inside]
    rest = [position for position in range(count) if position not in chosen]
    rest = rest[:: max(1, len(rest) // 128)]
    for _ in range(_MORE):
        gains = [int(np.count_nonzero(shot.trusted(k, margin)[inside] & (wanted > 0))) for k in rest]
        if not gains or max(gains) < 16:
            break
        best = rest.pop(int(np.argmax(gains)))
        wanted = wanted - shot.trusted(best, margin)[inside]
        chosen[best] = None
    return sorted(chosen)


def _picture(shot: ProxyShot, position: int, inside: tuple[slice, slice], gains: npt.NDArray[np.float32]) -> Floats:
    """A frame's proxy, its edge taken off, at the clip's light."""
    code = np.asarray(pixels.blurred(shot.get(position).rgb[inside], 1.0))
    return at_light(shaper.from_bytes(code.astype(np.uint8)), 1.0 / gains[position])


def at_light(encoded: Floats, gain: npt.NDArray[np.float32]) -> Floats:
    """Encoded pixels (..., 3) as they would be with ``gain`` times the light; the same bits for 1."""
    if np.all(gain == 1.0):
        return encoded
    return shaper.encode(np.asarray(shaper.decode(encoded) * gain, dtype=np.float32))


def _background(
    shot: ProxyShot,
    compared: list[int],
    gains: npt.NDArray[np.float32],
    margin: int,
    inside: tuple[slice, slice],
) -> tuple[Floats, Floats, Mask]:
    """What comes back most often (h, w, 3), how lively that is, and where enough agree to say so."""
    height, width = (part.stop - part.start for part in inside)
    seen = np.array([shot.trusted(position, margin)[inside].ravel() for position in compared])
    codes: Bytes = np.empty((len(compared), height * width, 3), dtype=np.uint8)
    for index, position in enumerate(compared):
        codes[index] = shaper.to_bytes(_picture(shot, position, inside, gains)).reshape(-1, 3)
    found = np.zeros((height * width, 3), dtype=np.float32)
    spread, known = np.zeros(height * width, np.float32), np.zeros(height * width, dtype=bool)
    for start in range(0, height * width, _CHUNK):
        part = slice(start, start + _CHUNK)
        found[part], spread[part], known[part] = _mode(shaper.from_bytes(codes[:, part]), seen[:, part])
    return found.reshape(height, width, 3), spread.reshape(height, width), known.reshape(height, width)


def _mode(values: Floats, seen: Mask) -> tuple[Floats, Floats, Mask]:
    """Of observations (n, m, 3) where ``seen`` (n, m): the densest, the spread around it, whether enough support it."""
    count = seen.sum(axis=0)
    best = np.zeros(seen.shape[1], dtype=np.float32)
    middle = values[0].copy()
    for index in range(len(values)):
        if not seen[index].any():
            continue
        density = (_likeness(values, values[index]) * seen).sum(axis=0) * seen[index]
        better = density > best
        middle[better], best[better] = values[index][better], density[better]
    likeness = _likeness(values, middle) * seen
    mean = (likeness[..., None] * values).sum(axis=0) / np.maximum(likeness.sum(axis=0), 1e-6)[:, None]
    away = np.sqrt(((values - mean) ** 2).mean(axis=2))
    order = np.sort(np.where(seen, away, np.inf), axis=0)
    # Of those that support it: what passes by may be before the place more often than not.
    middle_one = np.minimum(np.maximum(np.rint(best / 2.0).astype(np.intp), 1), len(values) - 1)
    spread = np.take_along_axis(order, middle_one[None], axis=0)[0]
    known = best >= np.maximum(_SUPPORT, _SHARE * count)
    return mean.astype(np.float32), np.where(known, spread, 0.0).astype(np.float32), known


def _likeness(values: Floats, one: Floats) -> Floats:
    return np.asarray(np.exp(((values - one) ** 2).mean(axis=2) / np.float32(-2.0 * _ALIKE**2)), dtype=np.float32)
