"""What choosing needs of pictures: a sheet of one shot's seeds, and the inputs with which a sub-range is solved again.

Promises: results are read, never written; equal inputs give equal files, so that a solve can be repeated. Must not:
know where results lie, or talk to servers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from void_client.errors import FrameError

from void_engine import plates
from void_engine.contact_sheet import Row, contact_sheet, display
from void_engine.deliver import write_mask
from void_engine.interface import AFFECTED, KEEP, OVERLAP, REMOVE, RGB, Quadmask
from void_engine.plates import PlateFrame

_COLUMNS = 5
_AROUND = 1.4  # size of a cut-out by the mask's
_LEAST = 48  # pixels of a cut-out's sides
_SHOWN = 300  # pixels that a small cut-out is enlarged to, about
_CLEAR = 0.25  # of display values: the differences are brightened until the largest is as clear as this

Progress = Callable[[str, int, int], None]
"""(what, done, of). Raises to stop."""


@dataclass(frozen=True)
class Seeds:
    """One shot, solved with several seeds. ``folders``: seed → result; ``names``: frame number → a result's file there;
    ``plate``: frame number → file. ``light``: from the plate's working space."""

    folders: Mapping[int, Path]
    names: Mapping[int, str]
    plate: Mapping[int, Path]
    layer: str
    light: Callable[[RGB], RGB]

    def result(self, seed: int, number: int) -> PlateFrame:
        return plates.read_frame(self.folders[seed] / self.names[number], frame=number)


@dataclass(frozen=True)
class _Cut:
    """A cut-out of a frame: from ``x``, ``y`` of its data window."""

    number: int
    x: int
    y: int


# --- the sheet


def seed_sheet(seeds: Seeds, path: Path, progress: Progress) -> bool:
    """Writes a PNG: a row for each seed, a column for some frames, cut out around the mask; the last row shows where
    the seeds differ. Returns whether any do, on any frame. Raises ``FrameError``, ``DiskFull``."""
    boxes = _boxes(seeds, progress)
    differ = _differ(seeds, boxes, progress)
    cuts, size = _cuts(boxes, seeds)
    files = [plates.read_frame(seeds.plate[cut.number], frame=cut.number) for cut in cuts]
    shown = f"plate, frames {', '.join(str(cut.number) for cut in cuts)}"
    rows: list[Row] = [(shown, [_cut(file, cut, size, seeds) for file, cut in zip(files, cuts, strict=True)])]
    pictures = {
        seed: [_cut(seeds.result(seed, cut.number), cut, size, seeds) for cut in cuts] for seed in seeds.folders
    }
    rows += [(f"seed {seed}", pictures[seed]) for seed in pictures]
    if differ:
        rows.append(("where the seeds differ (brightened)", _differences(list(pictures.values()))))
    temporary = path.with_name(f".{path.name}.tmp")
    contact_sheet(rows, temporary)
    temporary.replace(path)
    return differ


def _boxes(seeds: Seeds, progress: Progress) -> dict[int, tuple[int, int, int, int]]:
    """Frame number → x0, y0, x1, y1 of what was replaced there, in the data window; only frames that have any."""
    first, found = next(iter(seeds.folders)), {}
    for done, number in enumerate(seeds.names, 1):
        ys, xs = np.nonzero(quadmask_of(seeds.result(first, number), seeds.layer) != KEEP)
        if len(xs):
            found[number] = (int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max()))
        progress("look", done, len(seeds.names))
    return found


def _differ(seeds: Seeds, marked: Sequence[int] | Mapping[int, object], progress: Progress) -> bool:
    """Whether two seeds have another picture on any frame: the files always differ, for they name their seeds."""
    first, *others = seeds.folders
    for done, number in enumerate(marked, 1):
        one = seeds.result(first, number).native_rgb(seeds.layer)
        for other in others:
            two = seeds.result(other, number).native_rgb(seeds.layer)
            if any(a.tobytes() != b.tobytes() for a, b in zip(one, two, strict=True)):
                return True
        progress("compare", done, len(marked))
    return False


def _cuts(boxes: Mapping[int, tuple[int, int, int, int]], seeds: Seeds) -> tuple[list[_Cut], tuple[int, int]]:
    """Some frames, spread over the shot; and the size (width, height) of all cut-outs."""
    numbers = list(boxes) or list(seeds.names)
    spread = np.linspace(0, len(numbers) - 1, min(_COLUMNS, len(numbers))).round().astype(int)
    chosen = [numbers[i] for i in spread]
    frame = seeds.result(next(iter(seeds.folders)), chosen[0])
    tall, wide = frame.native_rgb(seeds.layer)[0].shape
    inside = {number: boxes.get(number, (0, 0, wide - 1, tall - 1)) for number in chosen}
    width = max(_LEAST, round(_AROUND * max(x1 - x0 + 1 for x0, _, x1, _ in inside.values())))
    height = max(_LEAST, round(_AROUND * max(y1 - y0 + 1 for _, y0, _, y1 in inside.values())))
    size = (min(wide, width), min(tall, height))
    cuts = [
        _Cut(n, (x0 + x1 + 1 - size[0]) // 2, (y0 + y1 + 1 - size[1]) // 2) for n, (x0, y0, x1, y1) in inside.items()
    ]
    return cuts, size


def _cut(frame: PlateFrame, cut: _Cut, size: tuple[int, int], seeds: Seeds) -> RGB:
    colour = seeds.light(frame.rgb(seeds.layer))
    x = max(0, min(cut.x, colour.shape[1] - size[0]))
    y = max(0, min(cut.y, colour.shape[0] - size[1]))
    piece = colour[y : y + size[1], x : x + size[0]]
    times = max(1, _SHOWN // size[0])
    return np.ascontiguousarray(piece.repeat(times, 0).repeat(times, 1))


def _differences(pictures: Sequence[Sequence[RGB]]) -> list[RGB]:
    """Per column the widest spread of display values, as light that is shown as grey."""
    spreads = []
    for column in zip(*pictures, strict=True):
        shown = np.stack([display(_fitting(picture, column[0])) for picture in column])
        spreads.append((shown.max(0) - shown.min(0)).max(-1))
    gain = _CLEAR / max(1e-6, max(float(spread.max()) for spread in spreads))
    return [
        cv2.cvtColor((spread * np.float32(max(1.0, gain))).astype(np.float32), cv2.COLOR_GRAY2RGB) for spread in spreads
    ]


def _fitting(picture: RGB, like: RGB) -> RGB:
    """Data windows may differ from seed to seed no more than from frame to frame: but cut-outs must be of one size."""
    return picture if picture.shape == like.shape else cv2.resize(picture, like.shape[1::-1]).astype(np.float32)


# --- a sub-range


def quadmask_of(frame: PlateFrame, layer: str) -> Quadmask:
    """The resolved quadmask that a result's frame carries, over its data window. Raises ``FrameError``: it has none."""
    planes = frame.channels[frame.header.select(layer).part]
    try:
        primary, overlap, affected = (
            planes[f"void_quadmask.{name}"] > 0.5 for name in ("primary", "overlap", "affected")
        )
    except KeyError:
        raise frame.header.source.error(
            "it carries no layers void_quadmask.*, as results of earlier versions do not",
            "Render the shot again, or give the quadmask with --quadmask.",
        ) from None
    mask = np.full(primary.shape, KEEP, np.uint8)
    mask[affected] = AFFECTED
    mask[primary] = REMOVE
    mask[overlap] = OVERLAP
    return mask


def write_quadmask_of(result: Path, number: int, layer: str, path: Path, *, keep: bool = False) -> bool:
    """The quadmask of a result's frame as a file; ``keep``: one that keeps it all. Returns whether it removes any."""
    frame = plates.read_frame(result, frame=number)
    part = frame.header.parts[frame.header.select(layer).part]
    mask = quadmask_of(frame, layer)
    if keep:
        mask[:] = KEEP
    write_mask(path, mask, part.data_window, part.display_window)
    return bool((mask <= OVERLAP).any())


def write_finished_plate(plate: Path, result: Path, number: int, layer: str, path: Path) -> None:
    """The plate's file with the finished frame's colour: a plate among plates, whose pixels are the result's.

    Raises ``FrameError`` where the two do not fit together.
    """
    frame, finished = plates.read_frame(plate, frame=number), plates.read_frame(result, frame=number)
    colour = finished.native_rgb(layer)
    mine = frame.native_rgb(layer)
    if any(a.shape != b.shape or a.dtype != b.dtype for a, b in zip(colour, mine, strict=True)):
        raise FrameError(
            f"The finished frame {number} has not the size or the type of its plate.",
            hint="Is the plate the one that was cleaned?",
            details={"input": "plate", "frame": number, "file": str(result)},
        )
    plates.write_frame(path, frame, rgb=colour, layer=layer)
