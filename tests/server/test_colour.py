"""Working spaces through the whole path: named in the job, undone for the engine, recorded in the result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import OpenEXR
import PyOpenColorIO as ocio
import pytest
from helpers.servers import RunningServer
from void_client.errors import InputError, JobError
from void_client.job import JobSpec, ShotFile

from void_engine.colour import config as configs
from void_engine.colour.working import working_space
from void_engine.synthetic import render_shot

LOG = "ARRI LogC3 (EI800)"


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shot in a camera's log, half float; ``truth`` is its clean plate."""
    folder = tmp_path_factory.mktemp("log")
    space = working_space(configs.load(), LOG)
    for number, frame in enumerate(render_shot(192, 108, 8, seed=4), 1001):
        for name, light in (("plate", frame.plate), ("truth", frame.truth)):
            codes = space.from_linear(light).astype(np.float16)
            write(folder / f"{name}.{number}.exr", dict(zip("RGB", np.moveaxis(codes, -1, 0), strict=True)))
        write(folder / f"mask.{number}.exr", {"R": (frame.quadmask / np.float32(255)).astype(np.float16)})
    return folder


def write(path: Path, channels: dict[str, np.ndarray]) -> None:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {name: np.ascontiguousarray(plane) for name, plane in channels.items()}) as file:
        file.write(str(path))


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return {name: channel.pixels for name, channel in file.channels().items()}, dict(file.header())


def job(shot: Path, **said: str):
    return ShotFile(plate="plate.####.exr", quadmask="mask.####.exr", **said).resolve(shot)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory):
    with RunningServer(tmp_path_factory.mktemp("server")) as server:
        yield server


def test_a_log_plate_comes_back_in_its_log_with_every_kept_bit(running, shot, tmp_path):
    with running.client() as client:
        client.run("log", job(shot, colour_space=LOG), tmp_path / "out")
        client.run("plain", job(shot), tmp_path / "plain")
    errors, plain = [], []
    for number in range(1001, 1009):
        before, _ = read(shot / f"plate.{number}.exr")
        after, header = read(tmp_path / "out" / f"plate.{number}.exr")
        truth, _ = read(shot / f"truth.{number}.exr")
        other, _ = read(tmp_path / "plain" / f"plate.{number}.exr")
        keep = after["void_quadmask.keep"] == 1
        for name in "RGB":
            assert np.array_equal(before[name][keep].view(np.uint16), after[name][keep].view(np.uint16))
            errors.append(np.abs(after[name].astype(float) - truth[name])[~keep].mean())
            plain.append(np.abs(other[name].astype(float) - truth[name])[~keep].mean())
        assert header["void/workingSpace"] == LOG
        assert header["void/ocio"] == configs.DEFAULT
        assert len(header["void/ocioDigest"]) == 64
        assert header["void/shaper"].startswith("srgb-log")
    assert np.mean(errors) < 0.02  # of a code from 0 to 1
    assert np.mean(errors) < 1.5 * np.mean(plain)


def test_a_space_that_does_not_exist_is_told_by_name_with_close_ones(running, shot, tmp_path):
    with running.client() as client, pytest.raises(JobError) as caught:
        client.run("wrong", job(shot, colour_space="ACEScgg"), tmp_path / "out")
    assert caught.value.details["key"] == "colour_space"
    assert "ACEScg" in str(caught.value.details["close"])


def test_a_configuration_file_travels_with_the_job(running, shot, tmp_path):
    handle = ocio.Config.CreateFromBuiltinConfig(configs.DEFAULT.removeprefix(configs.BUILTIN))
    handle.setName("studio")
    made = ocio.ColorSpace(name="our log", family="", encoding="log")
    made.setTransform(
        ocio.ColorSpaceTransform(src=LOG, dst=handle.getColorSpace("aces_interchange").getName()),
        ocio.COLORSPACE_DIR_TO_REFERENCE,
    )
    handle.addColorSpace(made)
    (tmp_path / "studio.ocio").write_text(handle.serialize())
    with running.client() as client:
        client.run("own", job(shot, colour_space="our log", ocio=str(tmp_path / "studio.ocio")), tmp_path / "own")
        client.run("log", job(shot, colour_space=LOG), tmp_path / "log")
    own, header = read(tmp_path / "own" / "plate.1004.exr")
    log, _ = read(tmp_path / "log" / "plate.1004.exr")
    assert header["void/ocio"] == "studio"
    assert np.abs(own["R"].astype(float) - log["R"]).max() < 1e-3


def test_a_configuration_that_needs_files_beside_it_is_not_taken_from_a_client(running, shot, tmp_path):
    handle = ocio.Config.CreateFromBuiltinConfig(configs.DEFAULT.removeprefix(configs.BUILTIN))
    made = ocio.ColorSpace(name="by lut", family="")
    made.setTransform(ocio.FileTransform(src="/etc/passwd"), ocio.COLORSPACE_DIR_TO_REFERENCE)
    handle.addColorSpace(made)
    (tmp_path / "luts.ocio").write_text(handle.serialize())
    with running.client() as client, pytest.raises(JobError, match="cannot be sent alone"):
        client.run("luts", job(shot, colour_space="by lut", ocio=str(tmp_path / "luts.ocio")), tmp_path / "out")


def test_a_broken_configuration_is_called_as_the_artist_does(running, shot, tmp_path):
    (tmp_path / "broken.ocio").write_text("ocio_profile_version: [")
    with running.client() as client, pytest.raises(JobError, match=r"broken\.ocio cannot be read") as caught:
        client.run("broken", job(shot, colour_space="x", ocio=str(tmp_path / "broken.ocio")), tmp_path / "out")
    assert str(running.data) not in str(caught.value)
    (tmp_path / "empty.ocio").touch()
    with pytest.raises(InputError, match=r"^The OCIO configuration .*empty\.ocio is empty"):
        job(shot, colour_space="x", ocio=str(tmp_path / "empty.ocio"))


def test_jobs_without_a_configuration_are_written_as_before(shot):
    plain = job(shot, colour_space="ACEScg").spec
    assert set(plain.to_wire()["plate"]) == {"frames", "layer", "colour_space"}
    named = job(shot, colour_space="ACEScg", ocio="ocio://default").spec
    assert JobSpec.from_wire(named.to_wire()) == named
    assert named.content_hash() != plain.content_hash()


def test_a_configuration_that_is_not_there_is_refused_before_anything_is_sent(shot):
    with pytest.raises(InputError, match=r"nowhere\.ocio"):
        job(shot, colour_space="x", ocio="nowhere.ocio")
