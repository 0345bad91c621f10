"""The script for the first owner of the real weights: each of its checks can fail, and all of it runs on tiny ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from smoke.checks import Frame, count_check, judge_picture, timings

from void_engine.contact_sheet import per_frame_inpaint, psnr
from void_engine.interface import KEEP
from void_engine.synthetic import render_shot

SCRIPT = Path(__file__).parent / "smoke" / "weights.py"
ALL = {
    "kept pixels bit for bit", "all finite", "replaced pixels differ", "not constant", "not clipped", "flicker", "seam",
    "truth",
}  # fmt: skip


@pytest.fixture(scope="module")
def perfect() -> list[Frame]:
    """A result that is the truth."""
    frames = []
    for made in render_shot(320, 180, 4, seed=7):
        hole = made.quadmask != KEEP
        score = psnr(per_frame_inpaint(made.plate, hole), made.truth, hole)
        plate, truth = made.plate.astype(np.float16), made.truth.astype(np.float16)
        frames.append(Frame(plate, truth, made.quadmask, truth.astype(np.float32), score))
    return frames


def failed(frames: list[Frame], change: Callable[[np.ndarray, np.ndarray, int], None], **options: bool) -> set[str]:
    """Names of the checks that FAIL once ``change(result, hole, index)`` was at work."""
    spoiled = []
    for index, frame in enumerate(frames):
        result = frame.result.copy()
        change(result, frame.quadmask != KEEP, index)
        spoiled.append(replace(frame, result=result))
    return {each.name for each in judge_picture("run", spoiled, **options) if each.verdict == "FAIL"}


def test_the_truth_passes_every_check(perfect):
    verdicts = {each.name: each.verdict for each in judge_picture("run", perfect)}
    assert verdicts == dict.fromkeys(ALL, "PASS")


def test_one_changed_bit_of_a_kept_pixel_fails(perfect):
    def change(result, hole, index):
        if index == 2:
            y, x = np.argwhere(~hole)[0]
            result[y, x, 1:2].view(np.uint16)[...] ^= 1

    assert failed(perfect, change) == {"kept pixels bit for bit"}


@pytest.mark.parametrize("wild", [np.nan, np.inf])
def test_a_value_that_is_not_finite_fails(perfect, wild):
    def change(result, hole, index):
        y, x = np.argwhere(hole)[0]
        if index == 0:
            result[y, x] = wild

    assert failed(perfect, change) == {"all finite"}


def test_a_result_that_is_the_plate_fails(perfect):
    assert "replaced pixels differ" in failed([replace(f, result=f.plate) for f in perfect], lambda *_: None)


def test_a_constant_fill_fails(perfect):
    assert "not constant" in failed(perfect, lambda result, hole, _: result.__setitem__(hole, 0.1))


@pytest.mark.parametrize("light", [0.0, -1.0, 64.0])
def test_a_clipped_fill_fails(perfect, light):
    assert "not clipped" in failed(perfect, lambda result, hole, _: result.__setitem__(hole, light))


def test_a_fill_that_changes_from_frame_to_frame_fails(perfect):
    def change(result, hole, index):
        result[hole] *= (1.0, 2.5)[index % 2]

    assert "flicker" in failed(perfect, change)


def test_another_level_inside_the_matte_fails_at_the_seam(perfect):
    found = failed(perfect, lambda result, hole, _: result.__setitem__(hole, result[hole] * 2 + 0.05))
    assert "seam" in found


def test_a_fill_that_is_worse_than_inpainting_fails_against_the_truth(perfect):
    def change(result, hole, index):
        noise = np.random.default_rng(index).random((int(hole.sum()), 3))
        result[hole] = noise

    assert "truth" in failed(perfect, change)


def test_another_size_or_type_fails(perfect):
    wider = [replace(frame, result=frame.result.astype(np.float32)) for frame in perfect]
    assert "kept pixels bit for bit" in failed(wider, lambda *_: None)
    cut = [replace(frame, result=frame.result[1:]) for frame in perfect]
    assert "kept pixels bit for bit" in {c.name for c in judge_picture("run", cut) if c.verdict == "FAIL"}


def test_tiny_weights_are_judged_on_everything_but_the_picture(perfect):
    def change(result, hole, index):
        result[hole] = 64.0
        result[0, 0] = np.nan

    assert failed(perfect, change, tiny=True) == {"kept pixels bit for bit", "all finite"}
    verdicts = {each.verdict for each in judge_picture("run", perfect, tiny=True)}
    assert verdicts == {"PASS", "NOT JUDGED"}


def test_a_missing_frame_and_one_too_many_fail(tmp_path):
    for number in (1001, 1002):
        (tmp_path / f"plate.{number}.exr").touch()
    assert count_check("run", (1001, 1002), tmp_path).verdict == "PASS"
    assert count_check("run", (1001, 1002, 1003), tmp_path).verdict == "FAIL"
    assert count_check("run", (1001,), tmp_path).verdict == "FAIL"


def test_times_come_from_the_events():
    def progress(time: float, note: str) -> dict[str, object]:
        return {"event": "progress", "stage": "generate", "time": time, "note": note}

    events = [
        {"event": "stage", "stage": "generate", "state": "running", "time": 10.0},
        progress(11.0, "pass 1: loading the model"),
        progress(14.0, "pass 1: step 1 of 9"),
        progress(20.0, "pass 1: step 4 of 9, window 1 of 2"),
        progress(25.0, "pass 1: decoding the frames"),
        {"event": "done", "time": 26.0},
    ]
    stages, pace = timings(events)
    assert stages["generate: pass 1: loading the model"] == 3.0
    assert stages["generate: pass 1: denoising"] == 11.0
    assert stages["generate: pass 1: decoding the frames"] == 1.0
    assert pace == {"pass 1": 2.0}


@pytest.mark.slow
def test_all_of_it_on_tiny_weights(tmp_path):
    pytest.importorskip("torch")
    from helpers.tiny_void import write_tiny_model

    out = tmp_path / "out"
    options = ("height=48", "width=80", "window_frames=13", "overlap_frames=8")
    given = [part for option in options for part in ("--option", option)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--models", str(write_tiny_model(tmp_path / "models").root), "--device", "cpu",
         "--size", "160x96", "--frames", "17", "--steps", "3", "--check-steps", "150", *given, "--all-memory",
         "--out", str(out)],
        capture_output=True, text=True, timeout=900, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    report = json.loads((out / "report.json").read_text())
    verdicts = {(each["run"], each["name"]): each["verdict"] for each in report["checks"]}
    assert "FAIL" not in verdicts.values()
    for run in ("draft", "pass1", "both"):
        for name in ("exit code 0", "manifest verifies", "frame count", "kept pixels bit for bit", "all finite"):
            assert verdicts[run, name] == "PASS"
        assert verdicts[run, "seam"] == "NOT JUDGED"
    for judged in (
        ("again", "same seed, same digests"),
        ("killed", "killed while denoising"),
        ("killed", "resumed, same digests"),
        ("seed", "another seed differs"),
        ("cancel", "stops within a step"),
        ("memory_offload", "as the other modes"),
        ("memory_group", "as the other modes"),
    ):
        assert verdicts[judged] == "PASS"
    text = (out / "report.txt").read_text()
    for words in ("torch", "generate: pass 2: decoding the frames", "0 FAIL", '"memory": "group"'):
        assert words in text
    assert (out / "contact_sheet.png").stat().st_size > 10_000
    assert list((out / "logs").glob("worker-cpu.log"))
    assert not (out / "work").exists()
    assert len(list((out / "both").glob("plate.*.exr"))) == 17


def test_a_folder_without_weights_fails_and_says_so(tmp_path):
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--models", str(tmp_path), "--device", "cpu", "--out", str(out)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "FAIL        models         verify" in (out / "report.txt").read_text()
