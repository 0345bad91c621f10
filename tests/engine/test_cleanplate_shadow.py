"""Shadows are taken off: the plate keeps its own texture there. What is no shadow is replaced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from helpers.camera_shots import Frame, Scene, render
from helpers.memory_clip import MemoryClip, MemoryContext, MemoryFrames, request

from void_engine.cleanplate import CleanplateEngine
from void_engine.contact_sheet import per_frame_inpaint, psnr
from void_engine.interface import AFFECTED, KEEP, RGB


def run(clip: MemoryClip, folder: Path) -> MemoryFrames:
    engine, out = CleanplateEngine(), MemoryFrames(clip)
    engine.generate(clip, request(0, engine.check_options({})), out, MemoryContext(folder))
    return out


def shot(scene: Scene) -> tuple[list[Frame], MemoryClip]:
    frames = list(render(scene))
    return frames, MemoryClip([frame.plate for frame in frames], [frame.quadmask for frame in frames])


def quality(results: list[RGB], frames: list[Frame]) -> float:
    pairs = zip(results, frames, strict=True)
    return float(np.mean([psnr(made, frame.truth, frame.quadmask == AFFECTED) for made, frame in pairs]))


def test_a_shadow_taken_off_is_closer_than_another_take_pasted_over(tmp_path: Path) -> None:
    frames, clip = shot(Scene("shadow", "static", 320, 180, 8, shade=0.6))
    out = run(clip, tmp_path)
    pasted = [np.where((f.quadmask == KEEP)[..., None], f.plate, f.again) for f in frames]
    # Its own grain is the truth's: no other frame's is.
    assert quality([out.result(k) for k in range(8)], frames) > quality(pasted, frames) + 3.0
    for position, frame in enumerate(frames):
        kept = frame.quadmask == KEEP
        assert np.array_equal(out.result(position)[kept], frame.plate[kept])


def test_the_texture_under_the_part_of_a_shadow_that_no_frame_shows_stays(tmp_path: Path) -> None:
    frames, clip = shot(Scene("rests", "static", 320, 180, 8, shade=0.6, sway=0.08))
    out = run(clip, tmp_path)
    plain = [per_frame_inpaint(frame.plate, frame.quadmask != KEEP) for frame in frames]
    assert quality([out.result(k) for k in range(8)], frames) > quality(plain, frames) + 4.5


def test_a_thing_that_is_marked_as_affected_is_no_shadow(tmp_path: Path) -> None:
    """A dark patterned card instead of a shadow: nothing of its pattern may be left."""
    frames, _ = shot(Scene("card", "static", 320, 180, 8))
    y, x = np.mgrid[0:180, 0:320]
    pattern = (0.25 + 0.2 * np.sign(np.sin(x / 3.0) * np.sin(y / 4.0)))[..., None].astype(np.float32)
    plates, quadmasks = [], []
    for index, frame in enumerate(frames):
        left = 20 + 30 * index
        quadmask = np.full((180, 320), KEEP, np.uint8)
        quadmask[40:90, left : left + 50] = AFFECTED
        quadmasks.append(quadmask)
        plates.append(np.where((quadmask == KEEP)[..., None], frame.truth, frame.truth * pattern))
    out = run(MemoryClip(plates, quadmasks), tmp_path)
    for position, frame in enumerate(frames):
        hole = quadmasks[position] != KEEP
        again = psnr(frame.again, frame.truth, hole)
        assert psnr(out.result(position), frame.truth, hole) > again - 1.0


def test_a_faint_reflection_is_replaced(tmp_path: Path) -> None:
    """Bands of a reflection are hardly stronger than grain; along their edges an eye sees them."""
    frames, _ = shot(Scene("mirror", "static", 320, 180, 8))
    x = np.arange(320)[None]
    plates, quadmasks = [], []
    for index, frame in enumerate(frames):
        left = 20 + 30 * index
        quadmask = np.full((180, 320), KEEP, np.uint8)
        quadmask[40:90, left : left + 50] = AFFECTED
        quadmasks.append(quadmask)
        bands = (1.0 - 0.3 * (np.sin((x - left) / 3.0) > 0))[..., None].astype(np.float32)
        plates.append(np.where((quadmask == KEEP)[..., None], frame.truth, frame.truth * bands))
    out = run(MemoryClip(plates, quadmasks), tmp_path)
    for position, frame in enumerate(frames):
        left = 20 + 30 * position
        part = (slice(45, 85), slice(left + 5, left + 45))
        bands = np.where(np.sin(np.arange(5, 45) / 3.0) > 0, 1.0, -1.0)
        columns = (out.result(position)[part] / np.maximum(frame.truth[part], 0.02)).clip(0.5, 2.0).mean(axis=(0, 2))
        assert abs(float((columns * (bands - bands.mean())).mean())) < 0.012
