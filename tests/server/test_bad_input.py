"""Bad input through ``void render``: exit code 2, the file and what to do in the message, no result."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from helpers.servers import RunningServer, run_void

from void_engine.plates.create import create_exr


@pytest.fixture
def broken(shot: Path, tmp_path: Path) -> Path:
    """A copy of the shot to break."""
    return Path(shutil.copytree(shot, tmp_path / "broken"))


def render(folder: Path, server: RunningServer, *more: str):
    out = folder.parent / "out"
    arguments = ["--plate", folder / "plate.%04d.exr", "--quadmask", folder / "quadmask.%04d.exr", "--out", out]
    done = run_void("render", "--connection", server.connection, *arguments, *more)
    assert not out.exists(), "a failed render left something behind"
    return done


def grey(folder: Path, number: int, value: float, size: tuple[int, int] = (96, 160)) -> None:
    create_exr(folder / f"quadmask.{number}.exr", {"R": np.full(size, value, np.float32)})


def plate(folder: Path, number: int, size: tuple[int, int] = (96, 160), value: float = 0.5) -> None:
    create_exr(folder / f"plate.{number}.exr", {"RGB": np.full((*size, 3), value, np.float32)})


def nan(folder: Path) -> None:
    path = folder / "plate.1003.exr"
    with OpenEXR.File(str(path), separate_channels=True) as file:
        channels = {name: channel.pixels.copy() for name, channel in file.channels().items()}
    channels["G"][5, 7] = np.nan
    with OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}, channels) as file:
        file.write(str(path))


def truncate(folder: Path) -> None:
    path = folder / "plate.1003.exr"
    os.truncate(path, path.stat().st_size // 2)


BROKEN = {
    "truncated": (truncate, "plate.1003.exr", "ends before its pixels do"),
    "nan": (nan, "plate.1003.exr", "finite|NaN"),
    "other size": (lambda f: plate(f, 1003, (48, 80)), "plate.1003.exr", "80"),
    "mask of another size": (lambda f: grey(f, 1002, 0.0, (48, 80)), "quadmask.1002.exr", "80"),
    "not an EXR": (lambda f: (f / "plate.1003.exr").write_bytes(b"JFIF"), "plate.1003.exr", "not an EXR"),
    "empty": (lambda f: (f / "plate.1003.exr").write_bytes(b""), "plate.1003.exr", "empty"),
    "missing": (lambda f: (f / "plate.1003.exr").unlink(), "plate.1003.exr", "missing"),
    "no mask": (lambda f: (f / "quadmask.1005.exr").unlink(), "quadmask.1005.exr", "missing"),
    "mask not an image": (lambda f: (f / "quadmask.1002.exr").write_bytes(b"text"), "quadmask.1002.exr", ""),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_frame_is_named(server, broken, case):
    break_it, name, words = BROKEN[case]
    break_it(broken)
    done = render(broken, server)
    assert done.returncode == 2, done.stderr
    assert name in done.stderr
    assert "/store/" not in done.stderr
    import re

    assert re.search(words, done.stderr, re.IGNORECASE), done.stderr
    assert "Traceback" not in done.stderr


def test_a_mask_that_removes_nothing_is_an_error(server, broken):
    for number in range(1001, 1006):
        grey(broken, number, 1.0 if number % 2 else 127 / 255)
    done = render(broken, server)
    assert done.returncode == 2
    assert "nothing to remove" in done.stderr


def test_no_frames_and_holes_in_the_range_are_errors(server, broken):
    done = render(broken, server, "--frames", "1003-1010")
    assert done.returncode == 2
    assert "plate.1006.exr" in done.stderr
    done = run_void("render", "--plate", broken / "nothing.%04d.exr", "--quadmask", "q.%04d.exr", "--out", "x")
    assert done.returncode == 2
    assert "nothing.%04d.exr" in done.stderr


def test_the_result_must_not_replace_the_plate(server, broken):
    done = run_void(
        "render", "--connection", server.connection, "--plate", broken / "plate.%04d.exr",
        "--quadmask", broken / "quadmask.%04d.exr", "--out", broken,
    )  # fmt: skip
    assert done.returncode == 2
    assert "shot's own frames" in done.stderr


def test_machines_get_the_error_as_json(server, broken):
    nan(broken)
    done = render(broken, server, "--json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["exit_code"] == done.returncode == 2
    assert last["error"]["code"] == "bad_frame"
    assert last["error"]["details"]["frame"] == 1003
    assert last["error"]["details"]["file"].endswith("plate.1003.exr")


def test_an_output_folder_that_cannot_be_written_is_named(server, shot, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = run_void(
        "render", "--connection", server.connection, "--plate", shot / "plate.%04d.exr",
        "--quadmask", shot / "quadmask.%04d.exr", "--out", tmp_path / "file" / "out",
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert str(tmp_path / "file") in done.stderr
