"""Whatever the plate is, its kept pixels, other channels, windows and numbers come back (hypothesis)."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exr_samples import bits, box, read_by_oiio, write_exr
from hypothesis import given, settings
from hypothesis import strategies as st
from void_client.job import Resolved, ShotFile

from void_engine.interface import Host
from void_engine.pipeline import Folders, make_engines, run_job
from void_engine.plates import read_frame

ENGINES = make_engines(Host())
SPACES = ["", "ACEScg", "ARRI LogC3 (EI800)"]


class Quiet:
    def stage(self, name: str, state: str, key: str) -> None: ...
    def progress(self, stage: str, step: int, of: int, note: str) -> None: ...
    def check(self) -> None: ...


@dataclass(frozen=True)
class Plate:
    """``origin``: of the data window in the display window, which is ``pad`` larger on each side (or smaller)."""

    width: int
    height: int
    frames: int
    origin: tuple[int, int]
    pad: int
    types: tuple[str, ...]  # of R, G, B
    others: tuple[tuple[str, str], ...]
    low: float
    high: float
    compression: str
    first: int
    space: str
    seed: int


plates = st.builds(
    Plate,
    width=st.integers(2, 70),
    height=st.integers(1, 50),
    frames=st.integers(1, 4),
    origin=st.tuples(st.integers(-40, 40), st.integers(-40, 40)),
    pad=st.integers(0, 9),
    types=st.sampled_from([("half",) * 3, ("float",) * 3, ("half", "float", "half")]),
    others=st.lists(
        st.sampled_from([("A", "half"), ("depth.Z", "float"), ("id", "uint"), ("mask.a", "half"), ("void_x", "half")]),
        unique=True,
        max_size=4,
    ).map(tuple),
    low=st.sampled_from([-5.0, -0.01, 0.0, 0.2]),
    high=st.sampled_from([0.3, 1.0, 120.0, 60000.0]),
    compression=st.sampled_from(["NO", "ZIP", "ZIPS", "PIZ", "RLE"]),
    first=st.sampled_from([0, 1, 1001, 99999]),
    space=st.sampled_from(SPACES),
    seed=st.integers(0, 1000),
)
TYPES: dict[str, Any] = {"half": np.float16, "float": np.float32, "uint": np.uint32}


def write(folder: Path, plate: Plate) -> Resolved:
    """With a box to remove, one to soften and, on each frame, at least a kept pixel wherever the plate has two."""
    rng = np.random.default_rng(plate.seed)
    x0, y0 = plate.origin
    data = box(x0, y0, x0 + plate.width - 1, y0 + plate.height - 1)
    shown = box(x0 - plate.pad, y0 - plate.pad, x0 + plate.width - 1 + plate.pad, y0 + plate.height - 1 + plate.pad)
    for number in range(plate.first, plate.first + plate.frames):
        names = [*zip("RGB", plate.types, strict=True), *plate.others]
        channels = {}
        for name, kind in names:
            values = rng.random((plate.height, plate.width)) ** 3 * (plate.high - plate.low) + plate.low
            if kind == "uint":
                values = rng.integers(0, 2**32, values.shape)
            channels[name] = values.astype(TYPES[kind])
        header = {"dataWindow": data, "displayWindow": shown}
        write_exr(folder / f"plate.{number:04d}.exr", channels, compression=plate.compression, shot="s", **header)
        levels = np.full((plate.height, plate.width), 255, np.uint8)
        across, down = rng.integers(0, plate.width), rng.integers(0, plate.height)
        levels[down : down + 12, across : across + 12] = 127
        levels[down : down + 7, across : across + 7] = 63
        levels[down : down + 5, across : across + 5] = 0
        levels[0, 0], levels[-1, -1] = 0, 255
        mask = {"R": (levels / np.float32(255)).astype(np.float16)}
        write_exr(folder / f"mask.{number:04d}.exr", mask, **header)
    return ShotFile("plate.####.exr", "mask.####.exr", colour_space=plate.space, seed=plate.seed).resolve(folder)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(plates)
def test_everything_that_was_not_replaced_comes_back(plate: Plate) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        resolved = write(folder, plate)
        folders = Folders(folder / "stages", folder / "result")
        done = run_job(resolved.spec, lambda digest: resolved.files[digest], folders, Quiet(), ENGINES, Host())
        assert [frame.number for frame in done.frames] == [*range(plate.first, plate.first + plate.frames)]
        for frame in done.frames:
            check(folder, frame.number, frame.path)


def check(folder: Path, number: int, path: Path) -> None:
    before, after = read_frame(folder / f"plate.{number:04d}.exr", frame=1), read_frame(path, frame=1)
    keep = np.rint(read_by_oiio(folder / f"mask.{number:04d}.exr")["R"] * 255) == 255
    assert before.header.display_window == after.header.display_window
    old, new = before.header.parts[0], after.header.parts[0]
    assert old.data_window == new.data_window
    assert {a.name: a.data for a in old.attributes if a.name != "channels"}.items() <= {
        a.name: a.data for a in new.attributes
    }.items()
    for name, plane in before.channels[0].items():
        found = after.channels[0][name]
        assert found.dtype == plane.dtype
        where = keep if name in "RGB" else np.ones_like(keep)
        assert np.array_equal(bits(found)[where], bits(plane)[where]), name
        if name in "RGB":
            assert np.isfinite(found).all()
    matte = after.channels[0]["void_matte.generated"]
    assert (matte[keep] == 0).all()
    levels = np.rint(read_by_oiio(folder / f"mask.{number:04d}.exr")["R"] * 255)
    assert (matte[levels <= 63] == 1).all()


def test_light_of_hundreds_behind_the_object_comes_back_where_another_frame_shows_it(tmp_path: Path) -> None:
    """A lamp of 400 behind a passing card, under a standing camera."""
    rng = np.random.default_rng(2)
    scene = (0.2 + 0.2 * rng.random((60, 100, 3))).astype(np.float16)
    scene[25:31, 48:56] = [400.0, 380.0, 300.0]
    for index in range(8):
        picture, levels = scene.copy(), np.full(scene.shape[:2], 255, np.uint8)
        left = 20 + 8 * index
        picture[15:45, left : left + 14] = 0.05
        levels[14:46, left - 1 : left + 15] = 0
        channels = {name: np.ascontiguousarray(picture[..., i]) for i, name in enumerate("RGB")}
        write_exr(tmp_path / f"plate.{index}.exr", channels)
        write_exr(tmp_path / f"mask.{index}.exr", {"R": (levels / np.float32(255)).astype(np.float16)})
    resolved = ShotFile("plate.#.exr", "mask.#.exr").resolve(tmp_path)
    folders = Folders(tmp_path / "stages", tmp_path / "result")
    done = run_job(resolved.spec, lambda digest: resolved.files[digest], folders, Quiet(), ENGINES, Host())
    hidden = 0
    for frame in done.frames:
        red = read_frame(frame.path, frame=1).channels[0]["R"].astype(np.float32)
        left = 20 + 8 * frame.number
        covered = [x for x in range(48, 56) if left <= x < left + 14]
        hidden += len(covered)
        if covered:
            assert red[28, covered] == pytest.approx(400.0, rel=0.02)
    assert hidden > 8
