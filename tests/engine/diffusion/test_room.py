"""The model's size where the job does not say: by the device's memory, the same on equal hosts, told in the result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from helpers.tiny_void import TinyModel
from void_client.job import ShotFile

from void_engine.diffusion import engine as engines
from void_engine.diffusion import options as void_options
from void_engine.diffusion.engine import VoidEngine
from void_engine.diffusion.room import area_for
from void_engine.interface import Host
from void_engine.pipeline import Delivered, Folders, run_job
from void_engine.plates import read_header

GB = 1_000_000_000
LEARNED = 384 * 672


@pytest.mark.parametrize(("gigabytes", "area"), [(8, 1.0), (16, 1.0), (17.2, 2.0), (18, 3.0), (24, 4.0), (80, 4.0)])
def test_the_area_is_the_most_that_fits_beside_the_weights(gigabytes: float, area: float) -> None:
    assert area_for(round(gigabytes * GB), "auto", 85, 1, LEARNED) == area


def test_longer_windows_guidance_and_weights_that_stay_leave_less_room() -> None:
    usual = area_for(24 * GB, "auto", 85, 1, LEARNED)
    assert area_for(24 * GB, "auto", 85, 4, LEARNED) < usual
    assert area_for(24 * GB, "auto", 197, 2, LEARNED) < usual
    assert area_for(24 * GB, "full", 85, 1, LEARNED) == 1.0
    assert area_for(13 * GB, "group", 85, 1, LEARNED) > area_for(13 * GB, "auto", 85, 1, LEARNED)
    assert area_for(0, "auto", 85, 1, LEARNED) == 1.0


@pytest.mark.parametrize(
    ("gigabytes", "given", "area"),
    [(0, {}, 1.0), (24, {}, 4.0), (24, {"area": 2}, 2.0), (8, {"area": 9.0}, 9.0), (24, {"profile": "draft"}, 1.0),
     (24, {"batch_windows": 8}, 1.0)],
)  # fmt: skip
def test_the_job_counts_before_the_memory_and_a_draft_stays_small(gigabytes, given, area) -> None:
    assert VoidEngine(Host(memory_bytes=gigabytes * GB)).check_options(given)["area"] == area


def write_exr(path: Path, channels: dict[str, np.ndarray]) -> None:
    OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}, channels).write(str(path))


class Watcher:
    """An observer that keeps the stages' keys and states."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.states: dict[str, str] = {}

    def stage(self, name: str, state: str, key: str) -> None:
        self.keys[name], self.states[name] = key, state

    def progress(self, stage: str, step: int, of: int, note: str) -> None: ...
    def check(self) -> None: ...


def test_the_choice_is_in_the_key_the_files_and_the_manifest(tiny: TinyModel, tmp_path: Path, monkeypatch) -> None:
    """A hole over most of a plate that is squeezed twice over; the learned area is a tiny one."""
    monkeypatch.setattr(void_options, "AREA", 32 * 48)
    rng = np.random.default_rng(1)
    for number in (1, 2, 3):
        picture = rng.random((128, 192, 3)).astype(np.float16)
        write_exr(tmp_path / f"plate.{number}.exr", {name: picture[..., i].copy() for i, name in enumerate("RGB")})
        mask = np.ones((128, 192), np.float16)
        mask[10:110, 10:180] = 0
        write_exr(tmp_path / f"mask.{number}.exr", {"R": mask})
    resolved = ShotFile(
        "plate.#.exr", "mask.#.exr", engine="void",
        options={"steps": 1, "window_frames": 13, "overlap_frames": 4, "detail": False},
    ).resolve(tmp_path)  # fmt: skip

    def made(host: Host, name: str) -> tuple[Watcher, Delivered]:
        watcher, folders = Watcher(), Folders(tmp_path / "stages", tmp_path / name)
        given = {"void": VoidEngine(replace(host, models=tiny.root))}
        return watcher, run_job(resolved.spec, lambda digest: resolved.files[digest], folders, watcher, given, host)

    small, first = made(Host(), "small")
    large, second = made(Host(memory_bytes=24 * GB), "large")
    same, _ = made(Host(memory_bytes=30 * GB), "same")
    assert small.keys["generate"] != large.keys["generate"] == same.keys["generate"]
    assert (large.states["generate"], same.states["generate"], same.states["restore"]) == ("done", "cached", "cached")
    assert [each.facts["generate"]["regions"][0]["model_size"] for each in (first, second)] == [[48, 32], [96, 64]]
    assert [each.facts["generate"]["area"] for each in (first, second)] == [1.0, 4.0]
    said = [read_header(each.frames[0].path, frame=1).parts[0].attribute("void/options") for each in (first, second)]
    assert [f"area={area}," in str(each and each.value()) for each, area in zip(said, (1.0, 4.0), strict=True)]


def test_a_device_that_is_not_there_costs_no_error_before_the_job_does() -> None:
    assert engines._device_memory("cuda:7") == 0
