"""Real plates with their quadmasks through ``void render``: nothing that was kept has changed, nothing else is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import OpenEXR
import OpenImageIO as oiio
import pytest
from helpers.servers import run_void
from helpers.shots import read_shot, shots_folder, write_sequences
from void_client.manifest import ResultManifest

SHOTS = {"BigBen": 1.0, "lime": 0.125, "moving_ball": 0.125}


def read(path: Path) -> tuple[oiio.ImageSpec, np.ndarray]:
    """By OpenImageIO: independent of the reader and the writer under test."""
    image = oiio.ImageInput.open(str(path))
    assert image is not None, oiio.geterror()
    pixels = image.read_image(format="half")
    spec = image.spec()
    image.close()
    return spec, np.asarray(pixels)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "BigBen" else pytest.mark.slow) for name in SHOTS]
)
def test_a_real_shot_comes_back_with_every_kept_bit(name, tmp_path):
    if shots_folder() is None:
        pytest.skip("the sample shots are not beside this checkout")
    plate, quadmask = write_sequences(name, tmp_path / "shot", scale=SHOTS[name], frames=8)
    done = run_void(
        "render", "--plate", plate, "--quadmask", quadmask, "--frames", "1001-1008", "--engine", "cleanplate",
        "--out", tmp_path / "out", XDG_CACHE_HOME=str(tmp_path / "cache"), VOID_CONFIG_DIR=str(tmp_path / "config"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = ResultManifest.read(tmp_path / "out")
    manifest.verify(tmp_path / "out")
    assert [frame.number for frame in manifest.frames] == list(range(1001, 1009))
    for number in range(1001, 1009):
        before_spec, before = read(tmp_path / "shot" / f"plate.{number}.exr")
        after_spec, after = read(tmp_path / "out" / f"plate.{number}.exr")
        _, mask = read(tmp_path / "shot" / f"quadmask.{number}.exr")
        keep = mask[..., 0].astype(np.float32) * 255 > 191
        assert after_spec.channelnames[:3] == before_spec.channelnames == ("R", "G", "B")
        layers = dict(zip(after_spec.channelnames[3:], np.moveaxis(after[..., 3:], -1, 0), strict=True))
        after = after[..., :3]
        assert np.array_equal(layers["void_quadmask.keep"] == 1, keep)
        assert (layers["void_matte.generated"][keep] == 0).all()
        assert (layers["void_matte.generated"][layers["void_quadmask.primary"] == 1] == 1).all()
        assert (layers["void_conf.confidence"][keep] == 1).all()
        assert layers["void_conf.confidence"][~keep].mean() < 1  # not all of it is shown by another frame
        assert np.array_equal(before[keep].view(np.uint16), after[keep].view(np.uint16))
        assert not np.array_equal(before, after)
        assert np.isfinite(after.astype(np.float32)).all()
        for attribute in ("smpte:TimeCode", "cameraModel", "reelName", "isoSpeed", "compression"):
            assert before_spec.getattribute(attribute) == after_spec.getattribute(attribute), attribute
        assert after_spec.getattribute("void/engine") == "cleanplate"


def write_whole(folder: Path, number: int, plate: np.ndarray, quadmask: np.ndarray) -> None:
    """A frame as a renderer and a roto leave it: half colour, a float depth, 32-bit ids, a matte; overscan."""
    height, width = quadmask.shape
    rng = np.random.default_rng(number)
    channels = {name: plate[..., index].astype(np.float16) for index, name in enumerate("RGB")}
    channels["A"] = rng.random((height, width), np.float32).astype(np.float16)
    channels["depth.Z"] = rng.random((height, width), np.float32) * np.float32(1e4)
    channels["id"] = rng.integers(0, 2**32, (height, width), np.uint32)
    mask = {"R": (quadmask.astype(np.float32) / 255).astype(np.float16)}
    window = (np.array([-8, -4], np.int32), np.array([width - 9, height - 5], np.int32))
    shown = (np.array([0, 0], np.int32), np.array([width - 17, height - 9], np.int32))
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, "dataWindow": window,
              "displayWindow": shown, "reelName": "A001"}  # fmt: skip
    for name, planes in (("plate", channels), ("quadmask", mask)):
        planes = {key: np.ascontiguousarray(plane) for key, plane in planes.items()}
        OpenEXR.File(header, planes).write(str(folder / f"{name}.{number}.exr"))


def planes(path: Path) -> tuple[dict[str, np.ndarray], tuple[int, ...]]:
    """Every channel in its own type, and the data window."""
    with OpenEXR.File(str(path), separate_channels=True) as file:
        low, high = file.header()["dataWindow"]
        return {name: channel.pixels for name, channel in file.channels().items()}, (*low, *high)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOTS)
def test_a_real_shot_at_its_full_size_keeps_every_bit_of_every_channel(name, tmp_path):
    """4K, but for BigBen: its own size, on every frame and channel, by the format's own library."""
    if shots_folder() is None:
        pytest.skip("the sample shots are not beside this checkout")
    shot, numbers = tmp_path / "shot", range(1001, 1004)
    shot.mkdir()
    for number, (plate, quadmask) in zip(numbers, read_shot(name, frames=len(numbers)), strict=True):
        write_whole(shot, number, plate, quadmask)
    done = run_void(
        "render", "--plate", shot / "plate.####.exr", "--quadmask", shot / "quadmask.####.exr",
        "--out", tmp_path / "out",
        XDG_CACHE_HOME=str(tmp_path / "cache"), VOID_CONFIG_DIR=str(tmp_path / "config"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    replaced = 0
    for number in numbers:
        before, window = planes(shot / f"plate.{number}.exr")
        after, same = planes(tmp_path / "out" / f"plate.{number}.exr")
        keep = np.rint(planes(shot / f"quadmask.{number}.exr")[0]["R"].astype(np.float32) * 255) == 255
        assert same == window
        for channel, plane in before.items():
            assert after[channel].dtype == plane.dtype
            where = keep if channel in "RGB" else np.ones_like(keep)
            assert after[channel][where].tobytes() == plane[where].tobytes(), (number, channel)
        assert (after["void_matte.generated"][keep] == 0).all()
        replaced += int(np.count_nonzero(after["R"][~keep] != before["R"][~keep]))
    assert replaced > 1000
