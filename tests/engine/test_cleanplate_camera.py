"""The camera where something else moves, and what is left of the motion when it is taken out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.camera_shots import Scene, render
from helpers.memory_clip import MemoryClip, MemoryContext, MemoryFrames, request

from void_engine.cleanplate import CleanplateEngine, residual
from void_engine.cleanplate.motion import track_camera
from void_engine.cleanplate.proxies import read_shot
from void_engine.contact_sheet import per_frame_inpaint, psnr
from void_engine.interface import KEEP


def clip_of(scene: Scene) -> MemoryClip:
    frames = list(render(scene))
    return MemoryClip([frame.plate for frame in frames], [frame.quadmask for frame in frames])


def locked(scene: Scene, folder: Path) -> bool:
    clip = clip_of(scene)
    shot, _ = read_shot(clip, folder, lambda _: None)
    return track_camera(shot, scene.frames, folder, lambda _: None).locked


def test_an_arm_over_a_large_part_of_the_frame_does_not_move_a_standing_camera(tmp_path: Path) -> None:
    assert locked(Scene("arm", "static", 384, 216, 8, arm=True), tmp_path)


@pytest.mark.parametrize("camera", ["pan", "zoom", "handheld", "track"])
def test_a_moving_camera_moves_before_an_arm_too(camera: str, tmp_path: Path) -> None:
    assert not locked(Scene("arm", camera, 384, 216, 5, arm=True), tmp_path)


def test_parallax_is_measured_and_continued_under_the_hole() -> None:
    random = np.random.default_rng(1)
    coarse = random.integers(30, 220, (60, 90, 3)).astype(np.float32)
    source = cv2.resize(coarse, (360, 240), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    x, y = np.meshgrid(np.arange(360, dtype=np.float32), np.arange(240, dtype=np.float32))
    across = 0.03 * (y - 100)
    target = cv2.remap(source, x + across, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT).clip(0, 255)
    hole = np.zeros((240, 360), dtype=bool)
    hole[90:150, 150:210] = True
    inner = (140, 80, 220, 160)
    field = residual.measure(target.astype(np.uint8), source.astype(np.uint8), ~hole, hole, inner)
    assert field.size
    wanted = across[84:160:8, 144].reshape(-1, 1)
    assert np.abs(field[..., 0] - wanted).max() < 0.35
    assert np.abs(field[..., 1]).max() < 0.2
    same = residual.measure(source.astype(np.uint8), source.astype(np.uint8), ~hole, hole, inner)
    assert same.size == 0


def test_light_that_drifts_is_matched(tmp_path: Path) -> None:
    scene = Scene("drift", "handheld", 384, 216, 8, drift=1.0)
    frames = list(render(scene))
    clip = MemoryClip([frame.plate for frame in frames], [frame.quadmask for frame in frames])
    engine, out = CleanplateEngine(), MemoryFrames(clip)
    engine.generate(clip, request(0, engine.check_options({})), out, MemoryContext(tmp_path))
    gains = []
    for position, frame in enumerate(frames):
        hole = frame.quadmask != KEEP
        plain = psnr(per_frame_inpaint(frame.plate, hole), frame.truth, hole)
        gains.append(psnr(out.result(position), frame.truth, hole) - plain)
    assert np.mean(gains) > 9.0


def test_the_grain_behind_a_standing_camera_stays_alive(tmp_path: Path) -> None:
    frames = list(render(Scene("still", "static", 320, 180, 10)))
    clip = MemoryClip([frame.plate for frame in frames], [frame.quadmask for frame in frames])
    engine, out = CleanplateEngine(), MemoryFrames(clip)
    engine.generate(clip, request(0, engine.check_options({})), out, MemoryContext(tmp_path))
    moved, wanted = [], []
    for k in range(3, 7):
        both = (frames[k].quadmask != KEEP) & (frames[k + 1].quadmask != KEEP)
        moved.append(np.median(np.abs(out.result(k + 1) - out.result(k))[both]))
        wanted.append(np.median(np.abs(frames[k + 1].truth - frames[k].truth)[both]))
    assert np.mean(moved) > 0.6 * np.mean(wanted)
