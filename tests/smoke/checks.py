"""What the smoke test judges: pure functions of pixels, names and events, so that each can be shown to fail.

Limits on the picture are guesses until somebody has run them on the real weights: the numbers stand beside them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from void_engine.contact_sheet import display, psnr
from void_engine.interface import KEEP

CODE = 1 / 255  # one step of an 8-bit display
TOP = 60.0  # light; the model's display ends at 64
CLIPPED, FLICKER, SEAM, SEAM_CODES, INPAINT_DB = 0.1, 2.0, 2.0, 4.0, -3.0
"""Limits: share above the plate's own (the known clean plate of our shot has 2% more: dark joints in its floor); times
the plate's own; times the plate's own plus codes; decibels against per-frame inpainting (texture that is right in kind
but lies elsewhere doubles the squared error of a blur: 3 dB)."""
SHARED_DB, FP8_DB = 50.0, 20.0  # memory modes against full: those that compute the same, and rounded weights


@dataclass(frozen=True)
class Check:
    """``verdict``: PASS, FAIL or NOT JUDGED. ``number``: what was measured, None where it is infinite or not known."""

    run: str
    name: str
    verdict: str
    number: float | None
    text: str


@dataclass(frozen=True)
class Frame:
    """Raw pixels (H, W, C) as in the files; ``quadmask`` (H, W) on them; ``truth`` and ``inpaint_db`` where known."""

    plate: np.ndarray
    result: np.ndarray
    quadmask: np.ndarray
    truth: np.ndarray | None = None
    inpaint_db: float | None = None


def judge_picture(run: str, frames: Iterable[Frame], *, tiny: bool = False) -> list[Check]:
    """Everything that is read off the pixels. Frames come in order and only the last one is kept in memory."""
    sums: dict[str, list[float]] = {}
    last: Frame | None = None
    for frame in frames:
        for name, value in _measure(frame, last).items():
            sums.setdefault(name, []).append(value)
        last = frame

    def mean(name: str) -> float:
        return float(np.mean(sums.get(name, [math.nan])))

    def art(name: str, good: bool, number: float, text: str) -> Check:
        if math.isnan(number):
            return check(run, name, None, None, "nothing to measure")
        if tiny:
            return check(run, name, None, number, f"tiny random weights; {text}")
        return check(run, name, good, number, text)

    changed, wild = sum(sums["changed"]), sum(sums["wild"])
    differs, spread, own_clip = min(sums.get("differs", [0.0])), min(sums.get("spread", [math.nan])), mean("own_clip")
    ratio = mean("flicker") / (mean("own_flicker") + CODE)
    seam, seam_limit = mean("seam"), SEAM * mean("own_seam") + SEAM_CODES
    clipped, gain = mean("clip"), mean("psnr") - mean("inpaint")
    return [
        check(run, "kept pixels bit for bit", changed == 0, changed, f"{changed:.0f} values changed"),
        check(run, "all finite", wild == 0, wild, f"{wild:.0f} values are not"),
        check(run, "replaced pixels differ", differs > 0.5, differs, f"{differs:.1%} in the frame with the fewest"),
        art("not constant", spread > CODE / 4, spread, f"spread {spread / CODE:.1f} codes in the flattest frame"),
        art(
            "not clipped",
            clipped <= own_clip + CLIPPED,
            clipped,
            f"{clipped:.2%} at an end; plate {own_clip:.2%}",
        ),
        art("flicker", ratio <= FLICKER, ratio, f"{ratio:.2f} x the plate's own outside (limit {FLICKER})"),
        art("seam", seam <= seam_limit, seam, f"{seam:.1f} codes across the edge (limit {seam_limit:.1f})"),
        art("truth", gain >= INPAINT_DB, gain, f"{mean('psnr'):.1f} dB; per-frame inpainting {mean('inpaint'):.1f} dB"),
    ]


def _measure(frame: Frame, last: Frame | None) -> dict[str, float]:
    keep, hole = frame.quadmask == KEEP, frame.quadmask != KEEP
    if frame.result.shape != frame.plate.shape or frame.result.dtype != frame.plate.dtype:
        return {"changed": float(frame.plate.size), "wild": 0.0}
    changed = frame.plate[keep].view(_bits(frame.plate)) != frame.result[keep].view(_bits(frame.plate))
    values = {"changed": float(changed.sum()), "wild": float((~np.isfinite(frame.result)).sum())}
    if not hole.any():
        return values
    values["differs"] = float((frame.plate[hole] != frame.result[hole])[:, :3].mean())
    if values["wild"]:
        return values
    plate, result = (display(pixels[..., :3].astype(np.float32)) for pixels in (frame.plate, frame.result))
    radius = max(2, hole.shape[1] // 160)
    values["spread"] = float(result[hole].std(axis=0).mean())
    values["clip"], values["own_clip"] = clipped_share(frame.result[hole]), clipped_share(frame.plate[keep])
    values["seam"] = seam_codes(result, hole, radius)
    wide = cv2.dilate(hole.astype(np.uint8), np.ones((4 * radius + 3,) * 2, np.uint8)).astype(bool)
    values["own_seam"] = seam_codes(plate, wide, radius)
    if frame.truth is not None and frame.inpaint_db is not None:
        light = frame.result[..., :3].astype(np.float32)
        values["psnr"], values["inpaint"] = min(99.0, psnr(light, frame.truth, hole)), frame.inpaint_db
    if last is not None and last.result.shape == frame.result.shape:
        before, both = display(last.result[..., :3].astype(np.float32)), hole & (last.quadmask != KEEP)
        still = keep & (last.quadmask == KEEP)  # there the result is the plate
        values |= {n: float(np.abs(result - before)[m].mean()) for n, m in _named(flicker=both, own_flicker=still)}
    return values


def _named(**masks: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [(name, mask) for name, mask in masks.items() if mask.any()]


def _bits(pixels: np.ndarray) -> str:
    return f"u{pixels.dtype.itemsize}"


def clipped_share(pixels: np.ndarray) -> float:
    """Of values (N, C) in light: how many are at 0 or at the model's top."""
    light = pixels[:, :3].astype(np.float32)
    return float(((light <= 0) | (light >= TOP)).mean()) if light.size else 0.0


def seam_codes(picture: np.ndarray, hole: np.ndarray, radius: int) -> float:
    """The level's jump at the hole's edge in 8-bit codes: median over the edge of |mean inside - mean outside|."""
    inside = hole.astype(np.float32)
    edge = hole & (cv2.erode(inside, np.ones((3, 3), np.uint8)) == 0)
    if not edge.any():
        return 0.0

    def level(weight: np.ndarray) -> np.ndarray:
        size = (2 * radius + 1,) * 2
        total = cv2.blur(weight, size)[edge][:, None]
        return np.asarray(cv2.blur(picture * weight[..., None], size)[edge] / np.maximum(total, 1e-6))

    return float(np.median(np.abs(level(inside) - level(1 - inside)))) / CODE


def check(run: str, name: str, good: bool | None, number: float | None, text: str) -> Check:
    verdict = "NOT JUDGED" if good is None else "PASS" if good else "FAIL"
    known = number is not None and math.isfinite(number)
    return Check(run, name, verdict, float(number) if known and number is not None else None, text)


def count_check(run: str, expected: Iterable[int], out: Path) -> Check:
    """Every frame's file under its name, and no other."""
    wanted = {f"plate.{number:04d}.exr" for number in expected}
    there = {path.name for path in out.glob("*.exr")}
    lacking, extra = len(wanted - there), len(there - wanted)
    return check(run, "frame count", wanted == there, len(there), f"{lacking} missing, {extra} too many")


def denoising_step(event: dict[str, Any]) -> int:
    """The step that a progress event speaks of, or 0."""
    found = re.search(r"step (\d+) of", str(event.get("note", "")))
    return int(found[1]) if found and event.get("event") == "progress" else 0


def timings(events: list[dict[str, Any]]) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds in each stage, and seconds of a denoising step by pass, from a run's events."""
    stages: dict[str, float] = {}
    steps: dict[str, list[tuple[int, float]]] = {}
    label, since = "", 0.0
    for event in (each for each in events if "time" in each):
        if event["event"] == "stage" and event["state"] == "running":
            now = str(event["stage"])
        elif event["event"] == "progress" and event["stage"] == "generate":
            now = "generate: " + re.sub(r"step .*", "denoising", event["note"])
            if step := denoising_step(event):
                seen = steps.setdefault("pass 2" if "pass 2" in now else "pass 1", [])
                if not seen or seen[-1][0] < step:
                    seen.append((step, event["time"]))
        else:
            now = label
        if label:
            stages[label] = stages.get(label, 0.0) + event["time"] - since
        label, since = now, event["time"]
    if sum(event.get("event") == "running" for event in events) > 1:
        return stages, {}  # killed: a restart lies between its steps
    pace = {n: (s[-1][1] - s[0][1]) / (s[-1][0] - s[0][0]) for n, s in steps.items() if len(s) > 1}
    return stages, pace
