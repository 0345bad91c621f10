"""Which other frame shows what lies behind the hole: the plan of one frame.

Promises one source for every pixel that some frame reveals, few sources a frame in large pieces,
and the same ones on neighbouring frames where they serve. Must not decode plates: it decides on
proxies. Sources are judged where they can be: by the ring of kept pixels around the hole (parallax,
wrong alignment) and, inside, by what most sources agree on (something passing by).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import judge, pixels, planes, residual, shaper
from void_engine.cleanplate.agreement import Agreement
from void_engine.cleanplate.motion import Camera, apply
from void_engine.cleanplate.options import Options
from void_engine.cleanplate.pixels import Box, Mask, Matrix
from void_engine.cleanplate.proxies import ProxyShot
from void_engine.cleanplate.scratch import Arrays
from void_engine.cleanplate.shaper import Encoded

BASE, LAYER, FILL, NONE = 63, 64, 254, 255  # labels: below BASE a source, from LAYER a fill layer
RING = 12  # proxy pixels of kept plate around the hole that are looked at
_MOST = 6  # sources for one frame
_LIVE = 3  # frames that lend their detail to one frame, before a standing camera
_STEADY = 4.0  # how much more the last frame's distance in time counts there
_ECHO, _AT_ONCE = 2, 0.1  # frames so near show the same grain at once, or nearly: how much less they count
_FROZEN = 0.3  # how much less a frame counts that lent the last one its detail: grain must not stand
_MEASURED = 14  # candidates of a frame whose motion is measured directly
_WITNESSES = 8
_WORTH = 0.1  # a pixel's quality under which PatchMatch is the better guess
_STICKY = 1.5  # how much more the last frame's sources count
_RARE = 0.1  # share of the frames searched: what fewer show is not believed
_SMALLEST = 16  # proxy pixels: a smaller piece is not worth a source


@dataclass
class FramePlan:
    """Where a frame's hole pixels come from.

    ``labels`` (h, w) over ``box`` of the proxy: index into ``sources``, `BASE` the mean of what a standing camera
    shows, `LAYER` + fill layer, `FILL` not decided, `NONE` nothing.
    ``matrices`` map proxy pixels to the source's, after ``fields`` over ``box``
    (`void_engine.cleanplate.residual`) have bent them; ``levels`` (n, 3) are added to the source's encoded values.
    """

    box: Box
    hole: Mask
    labels: npt.NDArray[np.uint8]
    sources: list[int]
    matrices: list[Matrix]
    levels: npt.NDArray[np.float32]
    fields: list[residual.Field]

    def to_arrays(self) -> Arrays:
        return {
            **{f"field{index}": field for index, field in enumerate(self.fields)},
            "box": np.array(self.box, dtype=np.int64),
            "hole": self.hole,
            "labels": self.labels,
            "sources": np.array(self.sources, dtype=np.int64),
            "matrices": np.array(self.matrices, dtype=np.float64).reshape(-1, 3, 3),
            "levels": self.levels,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> FramePlan:
        x0, y0, x1, y1 = (int(value) for value in arrays["box"])
        return cls(
            (x0, y0, x1, y1),
            arrays["hole"],
            arrays["labels"],
            [int(value) for value in arrays["sources"]],
            list(arrays["matrices"]),
            arrays["levels"],
            [arrays[f"field{index}"] for index in range(len(arrays["sources"]))],
        )


@dataclass(frozen=True)
class _Candidate:
    position: int
    matrix: Matrix
    revealed: Mask  # the source shows this pixel and its own hole is not near
    picture: Encoded  # the source over the box, level matched
    level: npt.NDArray[np.float32]
    field: residual.Field


def plan_frame(
    shot: ProxyShot, camera: Camera, position: int, count: int, options: Options, before: list[int]
) -> FramePlan | None:
    """The plan of one frame; None where it has no hole. ``before``: the sources of the frame before."""
    proxy = shot.get(position)
    if not proxy.hole.any():
        return None
    hole = pixels.grown(proxy.hole, 1)
    box = _box_around(hole, RING + 2)
    inside = (slice(box[1], box[3]), slice(box[0], box[2]))
    hole_box = hole[inside].copy()  # a view would keep the whole
    kept = (proxy.state == 0)[inside] & ~hole_box
    target = _soften(shaper.from_bytes(proxy.rgb[inside]))
    wanted, rare = _candidates(shot, camera, position, count, options, before, hole, box)
    found = [
        _look(shot, plane, camera.locked, position, other, target, hole, kept, box, options.margin)
        for other in wanted
        for plane in camera.planes(position, other)
    ]
    pictures, revealed = [item.picture for item in found], [item.revealed for item in found]
    several = len(found) > len(wanted)
    share = planes.shares(target.mean(axis=2), kept, [_offer(item, box) for item in found]) if several else None
    quality = judge.qualities(target, kept, pictures, revealed, rare, share)
    labels, chosen = _assign(hole_box, position, found, quality, before)
    return FramePlan(
        box,
        hole_box,
        labels,
        [found[k].position for k in chosen],
        [found[k].matrix for k in chosen],
        np.array([found[k].level for k in chosen], dtype=np.float32).reshape(-1, 3),
        [found[k].field for k in chosen],
    )


def plan_standing(
    shot: ProxyShot, agreement: Agreement, position: int, count: int, options: Options, before: list[int]
) -> FramePlan | None:
    """As `plan_frame`, before a standing camera: the mean of the clip everywhere, alive by a few frames' detail.

    ``before``: how far off in time the last frame's sources were. The same way off is preferred: grain and what moves
    by itself then go on as they were filmed.
    """
    proxy = shot.get(position)
    if not proxy.hole.any():
        return None
    hole = pixels.grown(proxy.hole, 1)
    box = _box_around(hole, RING + 2)
    inside = hole[box[1] : box[3], box[0] : box[2]].copy()  # a view would keep the whole
    covered = pixels.within(agreement.covered, agreement.box, box)
    labels = np.where(inside & covered, BASE, np.where(inside, FILL, NONE)).astype(np.uint8)
    pool = _pool(position, count, options.search_frames)
    shown = {other: pixels.within(agreement.shows(other), agreement.box, box) & (labels == BASE) for other in pool}
    chosen: list[int] = []
    smallest = min(_SMALLEST, int(np.count_nonzero(inside)))
    while len(chosen) < _LIVE:
        left = labels == BASE
        gains = {
            other: np.count_nonzero(seen & left)
            * _nearness(position, other)
            * (_STEADY if other - position in before else 1.0)
            * (_FROZEN if other - position + 1 in before else 1.0)
            * (_AT_ONCE if abs(other - position) <= _ECHO else 1.0)
            for other, seen in shown.items()
            if other not in chosen
        }
        best = max(gains, key=lambda other: (gains[other], -other), default=-1)
        taken = _without_crumbs(shown[best] & left, smallest) if best >= 0 else left
        if best < 0 or not taken.any():
            break
        labels[taken] = len(chosen)
        chosen.append(best)
    return FramePlan(
        box,
        inside,
        labels,
        chosen,
        [np.eye(3)] * len(chosen),
        np.zeros((len(chosen), 3), dtype=np.float32),
        [residual.none()] * len(chosen),
    )


def _offer(item: _Candidate, box: Box) -> planes.Offer:
    middle = np.array([[(box[0] + box[2]) / 2.0, (box[1] + box[3]) / 2.0]])
    return planes.Offer(item.picture.mean(axis=2), item.revealed, item.position, apply(item.matrix, middle)[0])


def _box_around(mask: Mask, grow: int) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        max(0, int(columns[0]) - grow),
        max(0, int(rows[0]) - grow),
        min(mask.shape[1], int(columns[-1]) + 1 + grow),
        min(mask.shape[0], int(rows[-1]) + 1 + grow),
    )


def _soften(picture: Encoded) -> Encoded:
    """Takes the edge off grain and off misalignments too small to see."""
    return pixels.blurred(picture, 1.0)


def _candidates(
    shot: ProxyShot,
    camera: Camera,
    position: int,
    count: int,
    options: Options,
    before: list[int],
    hole: Mask,
    box: Box,
) -> tuple[list[int], Mask]:
    """The frames worth a closer look: nearest first, then further and further apart; and what hardly any shows.

    A place behind a still object that is free for an instant is free because something is before the object.
    """
    pool = _pool(position, count, options.search_frames)
    pool += [other for other in before if other not in pool and other != position]
    inside = hole[box[1] : box[3], box[0] : box[2]]
    scores: list[tuple[float, int]] = []
    left, shows = inside.copy(), np.zeros(inside.shape, dtype=np.int32)
    for other in pool:
        seen = _revealed(shot, camera.chained(position, other), other, box, options.margin) & inside
        # What nearer frames have shown already counts less: the list should cover the hole, not repeat itself.
        gain = float(np.count_nonzero(seen & left)) + 0.25 * float(np.count_nonzero(seen))
        if gain >= 1.0:
            scores.append((gain * _nearness(position, other) * (_STICKY if other in before else 1.0), other))
        left &= ~seen
        shows += seen
    scores.sort(key=lambda item: (-item[0], abs(item[1] - position), item[1]))
    chosen = {other for _, other in scores[:_MEASURED]}
    if chosen:
        # Witnesses: frames that reveal little, but tell on the ring what usually is there.
        chosen.update(pool[k] for k in np.linspace(0, len(pool) - 1, min(len(pool), _WITNESSES)).round().astype(int))
    return sorted(chosen), inside & (shows < _RARE * len(pool))


def _pool(position: int, count: int, most: int) -> list[int]:
    near = sorted(
        (other for other in range(count) if other != position), key=lambda other: (abs(other - position), other)
    )
    if len(near) <= most:
        return near
    # Half of the search goes to the nearest frames, the rest is spread evenly over the others.
    first, rest = near[: most // 2], near[most // 2 :]
    spread = np.linspace(0, len(rest) - 1, most - len(first)).round()
    return first + [rest[k] for k in dict.fromkeys(int(k) for k in spread)]


def _nearness(position: int, other: int) -> float:
    return 1.0 / (1.0 + abs(position - other) / 16.0)


def _revealed(shot: ProxyShot, matrix: Matrix, other: int, box: Box, margin: int) -> Mask:
    return pixels.shown(shot.trusted(other, margin), matrix, box)


def _look(
    shot: ProxyShot,
    matrix: Matrix,
    locked: bool,
    position: int,
    other: int,
    target: Encoded,
    hole: Mask,
    kept: Mask,
    box: Box,
    margin: int,
) -> _Candidate:
    field = residual.none() if locked else _field(shot, position, other, matrix, hole, box)
    revealed = residual.shown(shot.trusted(other, margin), matrix, box, field)
    code = residual.warp(shot.get(other).rgb, matrix, box, cv2.INTER_LINEAR, field)
    picture = _soften(shaper.from_bytes(np.asarray(code, dtype=np.uint8)))
    ring = kept & revealed
    level = np.zeros(3, dtype=np.float32)
    if np.count_nonzero(ring) >= 32:
        level = np.median((target - picture)[ring], axis=0).astype(np.float32)
        level[np.abs(level) < 0.004] = 0.0  # under an eight-bit step: the proxies cannot tell
        level = np.clip(level, -0.3, 0.3)
    return _Candidate(other, matrix, revealed, picture + level, level, field)


def _field(shot: ProxyShot, position: int, other: int, matrix: Matrix, hole: Mask, box: Box) -> residual.Field:
    """What the camera's motion leaves over around the box."""
    wide = residual.wide(box, (shot.width, shot.height))
    inside = (slice(wide[1], wide[3]), slice(wide[0], wide[2]))
    proxy, source = shot.get(position), shot.get(other)
    open_ = (proxy.state == 0)[inside] & ~hole[inside] & pixels.shown(source.state == 0, matrix, wide)
    aligned = pixels.warp(source.rgb, matrix, wide, cv2.INTER_LINEAR)
    inner = (box[0] - wide[0], box[1] - wide[1], box[2] - wide[0], box[3] - wide[1])
    return residual.measure(proxy.rgb[inside], aligned, open_, hole[inside], inner)


def _assign(
    hole: Mask, position: int, found: list[_Candidate], quality: npt.NDArray[np.float32], before: list[int]
) -> tuple[npt.NDArray[np.uint8], list[int]]:
    labels = np.where(hole, FILL, NONE).astype(np.uint8)
    chosen: list[int] = []
    if not found:
        return labels, chosen
    weights = quality * np.array([_nearness(position, item.position) for item in found], np.float32)[:, None, None]
    weights[quality < _WORTH] = 0.0
    best = weights.max(axis=0)
    sticky = [_STICKY if item.position in before else 1.0 for item in found]
    left = hole & (best > 0.0)
    smallest = min(_SMALLEST, int(np.count_nonzero(hole)))
    while len(chosen) < _MOST and np.count_nonzero(left) >= smallest:
        gains = [0.0 if k in chosen else float(weights[k][left].sum()) * sticky[k] for k in range(len(found))]
        pick = int(np.argmax(gains))
        # A source takes all that it shows nearly as well as any: large pieces, few seams.
        taken = _without_crumbs(left & (weights[pick] > 0.3 * best) & (weights[pick] > 0.0), smallest)
        if gains[pick] <= 0.0:
            break
        labels[taken] = len(chosen)
        chosen.append(pick)
        left &= ~taken
    return labels, chosen


def _without_crumbs(mask: Mask, smallest: int) -> Mask:
    number, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= smallest
    large[0] = False
    return np.asarray(large[pieces]) if number > 1 else np.zeros_like(mask)


def extend(labels: npt.NDArray[np.uint8], hole: Mask, kept: Mask, shown: dict[int, Mask]) -> npt.NDArray[np.uint8]:
    """The labels, continued onto the ring: a kept pixel gets the label of the nearest hole pixel.

    Only where what the label stands for shows that pixel (``shown``, by label); `NONE` elsewhere.
    """
    ring = pixels.carried(hole, labels, NONE)
    for label, seen in shown.items():
        ring[(ring == label) & ~seen] = NONE
    return np.where(hole, labels, np.where(kept, ring, NONE)).astype(np.uint8)
