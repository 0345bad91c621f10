"""The smoke test's shots: synthetic with a known clean plate, one of ../shared/shots, or a user's own; read back.

Files are read with OpenImageIO, not with our own reader.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
from smoke.checks import Frame
from void_client.job import ShotFile

from void_engine.contact_sheet import per_frame_inpaint, psnr
from void_engine.interface import KEEP
from void_engine.plates.create import create_exr
from void_engine.synthetic import render_shot

FIRST = 1001
ROOM = "An empty room with a brick wall, pictures on it, lamps and a wooden floor."


@dataclass(frozen=True)
class Shot:
    """``frames``: (number, plate, quadmask, truth or None)."""

    plate: str
    quadmask: str
    prompt: str
    frames: list[tuple[int, Path, Path, Path | None]]
    inpaint_db: dict[int, float]


def read(path: Path, kind: str = "") -> tuple[np.ndarray, tuple[str, ...], tuple[int, int]]:
    """Pixels with R, G, B first and in the file's own type (or ``kind``), channel names, first pixel (x, y)."""
    file = oiio.ImageInput.open(str(path))
    if file is None:
        raise OSError(f"{path}: {oiio.geterror()}")
    spec = file.spec()
    pixels = np.asarray(file.read_image(format=kind or spec.format))
    file.close()
    names = tuple(spec.channelnames)
    order = [names.index(name) for name in "RGB" if name in names]
    order += [index for index in range(len(names)) if index not in order]
    return pixels[..., order], tuple(names[index] for index in order), (spec.x, spec.y)


def read_quadmask(path: Path, size: tuple[int, int], corner: tuple[int, int]) -> np.ndarray:
    """The four levels on a plate of ``size`` (H, W) from ``corner`` (x, y); where the mask has no pixels, keep."""
    pixels, _, (x, y) = read(path, "float")
    codes = np.rint(np.clip(pixels[..., 0], 0, 1) * 255)
    levels = np.array([0, 63, 127, KEEP], np.uint8)[np.digitize(codes, [31, 95, 191], right=True)]
    whole = np.full(size, KEEP, np.uint8)
    dx, dy = x - corner[0], y - corner[1]
    part = levels[max(0, -dy) :, max(0, -dx) :][: size[0] - max(0, dy), : size[1] - max(0, dx)]
    whole[max(0, dy) : max(0, dy) + part.shape[0], max(0, dx) : max(0, dx) + part.shape[1]] = part
    return whole


def read_frames(shot: Shot, out: Path) -> Iterator[Frame]:
    for number, plate_path, mask_path, truth_path in shot.frames:
        plate, names, corner = read(plate_path)
        result, found, _ = read(out / f"plate.{number:04d}.exr")
        # The plate's own channels: the result has VOID's layers, too. One that is missing makes the shapes differ.
        result = result[..., [index for index, name in enumerate(found) if name in names]]
        quadmask = read_quadmask(mask_path, plate.shape[:2], corner)
        truth = read(truth_path, "float")[0] if truth_path else None
        yield Frame(plate, result, quadmask, truth, shot.inpaint_db.get(number))


def make_shot(options: argparse.Namespace, folder: Path) -> Shot:
    prompt, truths, scores = options.prompt, {}, {}
    plate, mask = str(folder / "plate.%04d.exr"), str(folder / "quadmask.%04d.exr")
    if options.plate:
        plate, mask = options.plate, options.quadmask
    elif options.shot:
        from helpers.shots import shots_folder, write_sequences

        write_sequences(options.shot, folder, frames=int(options.frames) if options.frames else None)
        prompt = prompt or json.loads((shots_folder() / options.shot / "prompt.json").read_text())["bg"]
    else:
        prompt = prompt or ROOM
        width, height = (int(part) for part in options.size.split("x"))
        folder.mkdir(parents=True)
        for number, frame in enumerate(render_shot(width, height, int(options.frames or 72), seed=7), FIRST):
            truths[number] = folder / f"truth.{number}.exr"
            create_exr(folder / f"plate.{number}.exr", {"RGB": frame.plate})
            create_exr(folder / f"quadmask.{number}.exr", {"R": frame.quadmask.astype(np.float32) / np.float32(255)})
            create_exr(truths[number], {"RGB": frame.truth})
            hole = frame.quadmask != KEEP
            if hole.any():
                scores[number] = psnr(per_frame_inpaint(frame.plate, hole), frame.truth, hole)
    resolved = ShotFile(plate, mask, frames=options.frames if options.plate else None).resolve(Path.cwd())
    pairs = zip(resolved.spec.plate.frames, resolved.spec.quadmask.frames, strict=True)
    frames = [(p.number, resolved.files[p.sha256], resolved.files[q.sha256], truths.get(p.number)) for p, q in pairs]
    return Shot(plate, mask, prompt or "", frames, scores)
