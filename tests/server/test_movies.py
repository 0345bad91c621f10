"""A flat-coded movie as a plate, a movie of coded values as its quadmask."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import OpenEXR
import pytest
from helpers.servers import run_void
from helpers.shots import quantised, shots_folder
from void_client.manifest import ResultManifest

from void_engine.colour.shaper import Shaper
from void_engine.looking.movie import write_movie
from void_engine.synthetic import render_shot


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return {name: channel.pixels for name, channel in file.channels().items()}, dict(file.header())


@pytest.fixture(scope="module")
def movies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("movies")
    shown = [(Shaper().to_display(f.plate), f.quadmask) for f in render_shot(192, 108, 6, seed=4)]
    write_movie(folder / "plate.mov", [plate for plate, _ in shown], 24, codec="prores4444")
    masks = [np.repeat(mask[..., None], 3, axis=2) for _, mask in shown]
    write_movie(folder / "mask.mp4", masks, 24, codec="h264")
    return folder


def render(movies: Path, out: Path, home: Path, *more: object):
    return run_void(
        "render", "--plate", movies / "plate.mov", "--quadmask", movies / "mask.mp4", "--out", out, *more,
        XDG_CACHE_HOME=str(home / "cache"), VOID_CONFIG_DIR=str(home / "config"),
    )  # fmt: skip


def test_a_movie_is_a_plate_and_comes_back_as_exrs_with_every_kept_code(movies, tmp_path):
    done = render(movies, tmp_path / "out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "sRGB - Display" in done.stdout + done.stderr
    manifest = ResultManifest.read(tmp_path / "out")
    assert [frame.number for frame in manifest.frames] == [1, 2, 3, 4, 5, 6]
    (unpacked,) = (tmp_path / "cache" / "void" / "movies").glob("plate-*")
    for number in range(1, 7):
        before, _ = read(unpacked / f"plate.{number:04d}.exr")
        after, header = read(tmp_path / "out" / f"plate.{number:04d}.exr")
        keep = after["void_quadmask.keep"] == 1
        assert 0 < np.count_nonzero(~keep) < keep.size
        for name in "RGB":
            assert np.array_equal(before[name][keep].view(np.uint16), after[name][keep].view(np.uint16))
            assert -0.001 <= after[name].min() <= after[name].max() <= 1.001
        assert header["void/workingSpace"] == "sRGB - Display"
        assert header["framesPerSecond"] == 24
    stamps = {path: path.stat().st_mtime_ns for path in unpacked.iterdir()}
    assert render(movies, tmp_path / "again", tmp_path).returncode == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in unpacked.iterdir()}  # unpacked once


def test_a_damaged_movie_is_told_by_its_name(movies, tmp_path):
    for name in ("plate.mov", "mask.mp4"):
        shutil.copy(movies / name, tmp_path / name)
    whole = (tmp_path / "plate.mov").read_bytes()
    (tmp_path / "plate.mov").write_bytes(whole[: len(whole) // 2])
    done = render(tmp_path, tmp_path / "out", tmp_path)
    assert done.returncode == 2
    assert "plate.mov" in done.stderr


def test_a_movie_that_is_not_there_is_told(tmp_path):
    done = render(tmp_path, tmp_path / "out", tmp_path)
    assert done.returncode == 2
    assert "plate.mov" in done.stderr


def test_a_real_movies_quadmask_comes_out_in_four_values(tmp_path):
    folder = shots_folder()
    if folder is None:
        pytest.skip("the sample shots are not beside this checkout")
    from void_engine.looking.unpack import UnpackOptions, unpack

    options = UnpackOptions(str(folder / "BigBen" / "quadmask.mp4"), str(tmp_path), "quadmask")
    told = unpack(options, lambda *_: None, lambda: None)
    with av.open(options.movie) as movie:
        for number, frame in enumerate(movie.decode(video=0), 1):
            values = read(Path(told["pattern"].replace("####", f"{number:04d}")))[0]["R"].astype(np.float32) * 255
            given = quantised(frame.to_ndarray(format="gray"))
            # Video range is taken where it is said: levels near a threshold may fall to the other side.
            assert np.mean(np.abs(values - given) > 1) < 0.01
            if number == 5:
                break
    assert set(np.unique(np.rint(values))) <= {0, 63, 127, 255}
