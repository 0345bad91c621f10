"""A shot on disk as an engine sees it, and the folder that its frames go into."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest
from exr_samples import bits, box, noise, rgba, write_exr
from void_client.errors import FrameError, JobFailed, MaskError

from void_engine.compositing import composite, generated_matte
from void_engine.interface import CleanFrames, Clip, Window
from void_engine.plates import FrameFolder, read_frame, write_frame
from void_engine.plates.clip import ArrayCache, FileClip

FIRST = 1001
HEIGHT, WIDTH = 12, 20


def _mask(path: Path, height: int = HEIGHT, width: int = WIDTH, level: float = 0.0) -> Path:
    values = np.ones((height, width), np.float16)
    values[3:7, 5:11] = level
    return write_exr(path, {"R": values})


def _shot(
    folder: Path, count: int = 3, windows: list[Any] | None = None, level: float = 0.0
) -> tuple[list[tuple[int, Path]], list[tuple[int, Path]]]:
    plate, masks = [], []
    for index in range(count):
        header: dict[str, Any] = {}
        size = (HEIGHT, WIDTH)
        if windows:
            x0, y0, x1, y1 = windows[index]
            size = (y1 - y0 + 1, x1 - x0 + 1)
            header = {"dataWindow": box(*windows[index]), "displayWindow": box(0, 0, WIDTH - 1, HEIGHT - 1)}
        channels = {name: noise(*size, seed=10 * index + k) for k, name in enumerate("RGBA")}
        plate.append((FIRST + index, write_exr(folder / f"plate.{FIRST + index}.exr", channels, **header)))
        masks.append((FIRST + index, _mask(folder / f"mask.{FIRST + index}.exr", level=level)))
    return plate, masks


def test_a_clip_gives_frames_in_order_whatever_the_order_of_the_files(tmp_path: Path) -> None:
    plate, masks = _shot(tmp_path)
    clip: Clip = FileClip(plate[::-1], masks)
    assert clip.numbers == (1001, 1002, 1003)
    assert clip.canvas == Window(0, 0, WIDTH - 1, HEIGHT - 1)
    for position, (number, path) in enumerate(plate):
        np.testing.assert_array_equal(clip.plate(position), read_frame(path, frame=number).rgb())
        assert clip.valid(position).all()
    assert (clip.quadmask(1)[3:7, 5:11] == 0).all()
    assert (clip.quadmask(1) == 0).sum() == 4 * 6


def test_data_windows_that_differ_line_up_on_the_canvas(tmp_path: Path) -> None:
    windows = [(-3, 2, 9, 8), (4, 0, 25, 11), (0, 0, 0, 0)]
    plate, masks = _shot(tmp_path, windows=windows)
    clip = FileClip(plate, masks)
    assert clip.canvas == Window(-3, 0, 25, 11)
    for position, window in enumerate(windows):
        x0, y0, x1, y1 = window
        inside = np.zeros((12, 29), bool)
        inside[y0 : y1 + 1, x0 + 3 : x1 + 4] = True
        np.testing.assert_array_equal(clip.valid(position), inside)
        colour = clip.plate(position)
        assert not colour[~inside].any()
        expected = read_frame(plate[position][1], frame=1).rgb()
        np.testing.assert_array_equal(colour[y0 : y1 + 1, x0 + 3 : x1 + 4], expected)
        assert (clip.quadmask(position) == 0).nonzero()[1].min() == 5 + 3


def test_a_png_mask_lies_on_the_display_window(tmp_path: Path) -> None:
    plate, _ = _shot(tmp_path, count=1, windows=[(-3, -2, WIDTH, HEIGHT)])
    codes = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    codes[0, 0] = 0
    spec = oiio.ImageSpec(WIDTH, HEIGHT, 1, oiio.UINT8)
    file = oiio.ImageOutput.create("m.png")
    assert file.open(str(tmp_path / "m.png"), spec)
    assert file.write_image(codes)
    file.close()
    clip = FileClip(plate, [(FIRST, tmp_path / "m.png")])
    assert np.argwhere(clip.quadmask(0) == 0).tolist() == [[2, 3]]


def test_arrays_are_read_only_because_they_are_shared(tmp_path: Path) -> None:
    clip = FileClip(*_shot(tmp_path, count=1))
    for array in (clip.plate(0), clip.valid(0), clip.quadmask(0)):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 0
    assert clip.plate(0) is clip.plate(0)


def test_memory_is_bounded_and_not_by_the_length_of_the_clip(tmp_path: Path) -> None:
    plate, masks = _shot(tmp_path, count=6)
    one = HEIGHT * WIDTH * 12
    clip = FileClip(plate, masks, cache_bytes=2 * one)
    frames = [clip.plate(position) for position in range(6)]
    assert clip._cache.held_bytes <= 2 * one
    assert clip.plate(5) is frames[5]
    np.testing.assert_array_equal(clip.plate(0), frames[0])
    assert clip.plate(0) is not frames[0]
    tiny = FileClip(plate, masks, cache_bytes=0)
    np.testing.assert_array_equal(tiny.plate(3), frames[3])
    assert tiny._cache.held_bytes == 0


def test_the_cache_drops_what_was_used_longest_ago() -> None:
    cache = ArrayCache(3 * 8)
    for key in "abc":
        cache.get(key, lambda: np.zeros(1))
    kept = cache.get("a", lambda: np.ones(1))
    cache.get("d", lambda: np.zeros(1))
    assert cache.get("a", lambda: np.ones(1)) is kept
    assert cache.get("b", lambda: np.ones(1))[0] == 1
    assert cache.held_bytes == 24


def test_a_clip_may_be_shared_between_threads(tmp_path: Path) -> None:
    clip = FileClip(*_shot(tmp_path, count=4), cache_bytes=2 * HEIGHT * WIDTH * 12)
    wanted = [clip.plate(position).copy() for position in range(4)]
    wrong: list[int] = []

    def work() -> None:
        for turn in range(40):
            if not np.array_equal(clip.plate(turn % 4), wanted[turn % 4]):
                wrong.append(turn)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_bad_shots_are_refused_when_the_clip_is_made(tmp_path: Path) -> None:
    plate, masks = _shot(tmp_path)
    with pytest.raises(ValueError, match="one frame"):
        FileClip([], masks)
    with pytest.raises(FrameError, match=r"quadmask's frame 1003 is missing"):
        FileClip(plate, masks[:2])
    with pytest.raises(FrameError, match=r"plate's frame 1002 is there twice"):
        FileClip([*plate, plate[1]], masks)
    with pytest.raises(FrameError, match="no layer"):
        FileClip(plate, masks, layer="beauty")
    _mask(masks[2][1], HEIGHT + 1, WIDTH)
    with pytest.raises(FrameError, match="display window is 20x13, the plate's is 20x12") as caught:
        FileClip(plate, masks)
    assert caught.value.details["frame"] == 1003
    write_exr(plate[1][1], rgba(HEIGHT, WIDTH + 2))
    with pytest.raises(FrameError, match="22x12, where the other frames have 20x12") as caught:
        FileClip(plate, masks)
    assert caught.value.details["frame"] == 1002
    plate[0][1].unlink()
    with pytest.raises(FrameError, match="missing"):
        FileClip(plate, masks)


def test_windows_far_apart_make_a_canvas_that_is_refused(tmp_path: Path) -> None:
    far = 1 << 20
    plate, masks = _shot(tmp_path, windows=[(0, 0, 3, 3), (far, far, far + 1, far + 1), (0, 0, 3, 3)])
    with pytest.raises(FrameError, match="union"):
        FileClip(plate, masks)


def test_a_plate_that_is_not_finite_or_changed_is_found_when_it_is_read(tmp_path: Path) -> None:
    plate, masks = _shot(tmp_path)
    clip = FileClip(plate, masks)
    channels = rgba(HEIGHT, WIDTH)
    channels["B"][0, 0] = np.nan
    write_exr(plate[1][1], channels)
    with pytest.raises(FrameError, match="channel B holds 1 values"):
        clip.plate(1)
    write_exr(plate[2][1], rgba(HEIGHT, WIDTH, np.float32))
    with pytest.raises(FrameError, match="changed while the job ran"):
        clip.plate(2)


def test_a_quadmask_that_removes_nothing(tmp_path: Path) -> None:
    FileClip(*_shot(tmp_path)).check_quadmask()
    with pytest.raises(MaskError, match="only affected"):
        FileClip(*_shot(tmp_path, level=127 / 255)).check_quadmask()


def _folder(tmp_path: Path) -> tuple[FrameFolder, Any, Any]:
    quadmask = np.full((9, 13), 255, np.uint8)
    quadmask[2:5, 3:9] = 127
    quadmask[3, 4] = 255
    rgb = np.random.default_rng(0).random((9, 13, 3), np.float32)
    return FrameFolder(tmp_path / "clean", Window(-2, 0, 10, 8), lambda position: quadmask), quadmask, rgb


def test_a_folder_stores_what_the_quadmask_does_not_keep(tmp_path: Path) -> None:
    folder, quadmask, rgb = _folder(tmp_path)
    out: CleanFrames = folder
    assert not out.has(7)
    with pytest.raises(JobFailed, match="position 7"):
        out.read(7)
    kept = rgb.copy()
    kept[quadmask == 255] = np.nan
    out.write(7, kept)
    assert out.has(7)
    assert not out.has(6)
    np.testing.assert_array_equal(out.read(7), np.where((quadmask != 255)[..., None], rgb, 0))
    (path,) = folder.folder.iterdir()
    assert np.load(path, allow_pickle=False).shape == (3, 6, 3)


def test_a_frame_that_keeps_everything_is_stored_too(tmp_path: Path) -> None:
    folder = FrameFolder(tmp_path, Window(0, 0, 3, 1), lambda position: np.full((2, 4), 255, np.uint8))
    folder.write(0, np.ones((2, 4, 3), np.float32))
    assert folder.has(0)
    assert not folder.read(0).any()


def test_a_torn_file_is_not_there(tmp_path: Path) -> None:
    folder, _, rgb = _folder(tmp_path)
    folder.write(0, rgb)
    (path,) = folder.folder.iterdir()
    data = path.read_bytes()
    for cut in (0, 5, 60, 127, 128, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        assert not folder.has(0), cut
    path.write_bytes(data)
    assert folder.has(0)
    np.save(path, np.zeros((2, 3, 3), np.float64))
    assert not folder.has(0)


def test_frames_that_must_not_be_stored(tmp_path: Path) -> None:
    folder, _, rgb = _folder(tmp_path)
    with pytest.raises(ValueError, match="canvas"):
        folder.write(0, rgb[1:])
    rgb[2, 3, 1] = np.inf
    with pytest.raises(ValueError, match="infinite"):
        folder.write(0, rgb)
    assert not folder.has(0)


_KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
from void_engine.interface import Window
from void_engine.plates import FrameFolder
mask = np.zeros((300, 400), np.uint8)
folder = FrameFolder(Path(sys.argv[1]), Window(0, 0, 399, 299), lambda position: mask)
folder.write(0, np.full((300, 400, 3), 0.25, np.float32))
real = os.write
def half(descriptor, data):
    real(descriptor, data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
os.write = half
folder.write(1, np.ones((300, 400, 3), np.float32))
"""


def test_a_killed_process_leaves_whole_frames_only(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path / "clean")], check=False)
    assert done.returncode == -9
    mask = np.zeros((300, 400), np.uint8)
    folder = FrameFolder(tmp_path / "clean", Window(0, 0, 399, 299), lambda position: mask)
    assert folder.has(0)
    assert not folder.has(1)
    assert (folder.read(0) == 0.25).all()
    folder.write(1, np.ones((300, 400, 3), np.float32))
    assert folder.has(1)


def test_a_shot_goes_through_and_what_is_kept_comes_back_bit_for_bit(tmp_path: Path) -> None:
    plate, masks = _shot(tmp_path, windows=[(-3, -2, 22, 13), (0, 0, 19, 11), (2, 1, 30, 30)])
    clip = FileClip(plate, masks)
    folder = FrameFolder(tmp_path / "clean", clip.canvas, clip.quadmask)
    for position in range(3):
        folder.write(position, clip.plate(position) + 1)
    for position in range(3):
        frame = clip.frame(position)
        inside = clip.window(position).slices_in(clip.canvas)
        quadmask = clip.quadmask(position)
        matte = generated_matte(quadmask, 2)[inside]
        rgb = composite(frame.native_rgb(), folder.read(position)[inside], matte)
        write_frame(tmp_path / "out.exr", frame, rgb=rgb, attributes={"void/engine": "test"})
        out = read_frame(tmp_path / "out.exr", frame=1)
        kept = quadmask[inside] == 255
        for name, plane in frame.channels[0].items():
            np.testing.assert_array_equal(bits(out.channels[0][name])[kept], bits(plane)[kept])
        np.testing.assert_array_equal(out.channels[0]["A"], frame.channels[0]["A"])
        assert (out.rgb() != frame.rgb()).any(axis=2).sum() == (~kept).sum()
