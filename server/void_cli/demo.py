"""``void demo``: a synthetic shot of known truth, through a real server over CURVE, measured against the truth."""

from __future__ import annotations

import shutil
import time
import uuid
from pathlib import Path

import numpy as np
from void_client.client import Client
from void_client.errors import InputError, JobFailed
from void_client.job import ShotFile

from void_engine import plates
from void_engine.contact_sheet import contact_sheet, per_frame_inpaint, psnr
from void_engine.interface import KEEP, RGB
from void_engine.plates.create import create_exr
from void_engine.synthetic import SyntheticFrame, render_shot

from .local import private_server
from .output import Output

_FIRST = 1001
_MARK = ".void-demo"
_SHEET_COLUMNS = 4


def run(out: Path, width: int, height: int, length: int, output: Output) -> int:
    """Render, clean, measure; returns the exit code. Raises ``JobFailed`` where a kept pixel has changed."""
    if not (64 <= width <= 4096 and 64 <= height <= 4096 and 2 <= length <= 240):
        raise InputError("The demo wants 64x64 to 4096x4096 pixels and 2 to 240 frames.")
    began = time.monotonic()
    _make_room(out)
    frames = list(render_shot(width, height, length, seed=7))
    shot = out / "shot"
    shot.mkdir(parents=True)
    output.say(f"1. a shot of {length} frames, {width}x{height}, scene-linear half EXR: {shot}")
    for number, frame in enumerate(frames, _FIRST):
        create_exr(shot / f"plate.{number}.exr", {"RGB": frame.plate})
        create_exr(shot / f"quadmask.{number}.exr", {"R": frame.quadmask.astype(np.float32) / np.float32(255)})
    output.say("2. a server of its own on a free port, CURVE keys made for it; frames travel as messages")
    resolved = ShotFile(str(shot / "plate.%04d.exr"), str(shot / "quadmask.%04d.exr")).resolve(Path.cwd())
    with private_server(out / "server", (), sign_as_user=False) as settings, Client(settings) as client:
        client.run(
            f"demo-{uuid.uuid4().hex[:8]}",
            resolved,
            out / "result",
            on_event=output.event,
            on_progress=output.transfer,
        )
        received = client.metrics().get("frame_bytes_received", 0)
    output.say(f"   {received / 1e6:.1f} MB up over tcp with CURVE, {length} clean plates down: {out / 'result'}")
    return _measure(out, frames, began, output)


def _make_room(out: Path) -> None:
    """An earlier demo's folders go; anybody else's stay, and the demo does not start."""
    mark, folders = out / _MARK, [out / name for name in ("shot", "result", "server")]
    if not mark.exists() and any(folder.exists() for folder in folders):
        raise InputError(f"{out} holds folders that no demo has made.", hint="Choose another --out.")
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    mark.write_text("`void demo` made this folder and may empty it.\n", encoding="utf-8")


def _measure(out: Path, frames: list[SyntheticFrame], began: float, output: Output) -> int:
    results, changed = [], 0
    scores: dict[str, list[float]] = {"void": [], "inpaint": []}
    for number, frame in enumerate(frames, _FIRST):
        plate = plates.read_frame(out / "shot" / f"plate.{number}.exr", frame=number).rgb()
        result = plates.read_frame(out / "result" / f"plate.{number}.exr", frame=number).rgb()
        keep, hole = frame.quadmask == KEEP, frame.quadmask != KEEP
        changed += int(np.count_nonzero(plate[keep].view(np.uint32) != result[keep].view(np.uint32)))
        if hole.any():
            scores["void"].append(psnr(result, frame.truth, hole))
            scores["inpaint"].append(psnr(per_frame_inpaint(plate, hole), frame.truth, hole))
        results.append(result)
    _sheet(out / "contact_sheet.png", frames, results)
    void, inpaint = float(np.mean(scores["void"])), float(np.mean(scores["inpaint"]))
    output.say(
        f"3. against the truth, inside the quadmask (PSNR, higher is better):\n"
        f"   VOID cleanplate      {void:5.1f} dB\n"
        f"   per-frame inpainting {inpaint:5.1f} dB\n"
        f"4. outside the quadmask: {'every value is the plate’s own, bit for bit' if not changed else 'CHANGED'}\n"
        f"5. look at {out / 'contact_sheet.png'}  ({time.monotonic() - began:.0f} s)",
        psnr_void=void,
        psnr_inpaint=inpaint,
        changed_values=changed,
        contact_sheet=str(out / "contact_sheet.png"),
    )
    if changed:
        raise JobFailed(f"{changed} values outside the quadmask have changed.", hint="This is a fault of VOID.")
    return 0


def _sheet(path: Path, frames: list[SyntheticFrame], results: list[RGB]) -> None:
    columns = np.linspace(0, len(frames) - 1, min(_SHEET_COLUMNS, len(frames))).round().astype(int)
    contact_sheet(
        [
            ("plate", [frames[i].plate for i in columns]),
            ("quadmask", [frames[i].quadmask for i in columns]),
            ("result", [results[i] for i in columns]),
            ("truth", [frames[i].truth for i in columns]),
        ],
        path,
    )
