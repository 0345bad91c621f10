"""The engine ``void`` through the whole product, on tiny random weights: it proves the way, not the picture."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest
from helpers.reference import reference_folder
from helpers.servers import RunningServer, digests, resolve, run_void, wait_until, worker_pid
from helpers.shots import shots_folder, write_sequences
from helpers.tiny_void import TinyModel, write_tiny_model
from void_client.errors import EngineUnavailable, JobError
from void_client.manifest import ResultManifest

OPTIONS = {"height": 48, "width": 80, "steps": 4, "steps_2": 3, "window_frames": 13, "overlap_frames": 8}
LONG = {"passes": 2, "steps": 60, "steps_2": 40}  # seconds in each pass
# One thread: tiny models are slowed down, not sped up, by threads that wait for each other.
CALM = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    return write_tiny_model(tmp_path_factory.mktemp("tiny-void"))


@pytest.fixture(autouse=True, scope="module")
def calm() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CALM.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def running(calm: None, tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One that stays: a worker needs seconds to load torch. No test kills anything of it."""
    with server(tiny, tmp_path_factory.mktemp("server") / "data") as server_:
        yield server_


def server(tiny: TinyModel, data: Path) -> RunningServer:
    return RunningServer(data, models=tiny.root, device_memory_gb=24.0)


def counted(client, before: dict[str, int]) -> dict[str, int]:
    """The server's counters since ``before``."""
    return {name: value - before.get(name, 0) for name, value in client.metrics().items()}


def job(shot: Path, **changes: object):
    return resolve(shot, engine="void", options={**OPTIONS, **changes}, prompt="an empty table")


def kill_while(client, job_id: str, moment: str) -> None:
    """Kill the worker once the job's progress says ``moment``, a regular expression."""
    for event in client.events(job_id):
        assert event.kind != "done", f"the job was done before it said {moment!r}"
        if event.kind == "progress" and re.search(moment, str(event.data.get("note", ""))):
            break
    os.kill(worker_pid(client), signal.SIGKILL)


@pytest.mark.slow  # four workers load torch
def test_both_passes_killed_at_several_moments_end_with_the_same_digests(tiny, running, shot, tmp_path):
    with server(tiny, tmp_path / "data") as killed_at, killed_at.client() as client:
        client.deliver("job", job(shot, **LONG))
        for moment in (r"pass 1: step [1-4]\d ", r"pass 2: step [12]\d "):
            kill_while(client, "job", moment)
        client.wait("job")
        killed = digests(client.download("job", tmp_path / "killed"))
        assert client.metrics()["workers_died"] == 2
    with running.client() as client:
        whole = client.run("whole", job(shot, **LONG), tmp_path / "whole")
    assert killed == digests(whole)


def test_another_seed_denoises_again_and_another_job_of_the_same_seed_does_not(running, shot, tmp_path):
    with running.client() as client:
        before = client.metrics()
        first = digests(client.run("first", job(shot, steps=2), tmp_path / "first"))
        same = digests(client.run("same", job(shot, steps=2), tmp_path / "same"))
        changed = resolve(shot, engine="void", options={**OPTIONS, "steps": 2}, prompt="an empty table", seed=7)
        other = digests(client.run("other", changed, tmp_path / "other"))
        counters = counted(client, before)
    assert first == same
    assert first != other
    assert counters["stages_done.generate"] == 2
    assert counters["stages_cached.generate"] == 1


def test_the_files_say_which_weights_made_them_and_that_they_mean_nothing(running, shot, tmp_path):
    with running.client() as client:
        manifest = client.run("files", job(shot, steps=1), tmp_path / "out")
    assert manifest.facts["generate"]["regions"][0]["memory"]
    assert manifest.facts["generate"]["area"] == 4.0  # by what the server says that its device has
    image = oiio.ImageInput.open(str(tmp_path / "out" / manifest.frames[0].name))
    attributes = {each.name: each.value for each in image.spec().extra_attribs}
    image.close()
    assert attributes["void/engine"] == "void"
    assert "area=4.0" in attributes["void/options"]
    assert "tiny random weights" in attributes["void/model.note"]
    assert len(attributes["void/model.pass1"]) == len(attributes["void/model.base"]) == 64


def test_a_bad_option_ends_the_job_before_work_is_done(running, shot, tmp_path):
    with running.client() as client:
        before = client.metrics()
        with pytest.raises(JobError, match="steps"):
            client.run("bad", job(shot, steps=0), tmp_path / "out")
        assert not any(name.startswith("stages") and number for name, number in counted(client, before).items())


def test_a_cancel_stops_within_a_step(running, shot):
    with running.client() as client:
        client.deliver("cancelled", job(shot, steps=200))
        for event in client.events("cancelled"):
            if "step" in str(event.data.get("note", "")):
                break
        client.cancel("cancelled")
        wait_until(lambda: client.status("cancelled")[0].state == "cancelled", "the cancel", patience_s=10)
        assert client.metrics().get("workers_died", 0) == 0  # it stopped by itself


def test_without_models_the_error_says_what_to_run(shot, tmp_path):
    with RunningServer(tmp_path / "data") as running, running.client() as client:
        with pytest.raises(EngineUnavailable, match="void models fetch"):
            client.run("job", job(shot), tmp_path / "out")


def test_a_torn_checkpoint_is_told_by_its_name(tiny, shot, tmp_path):
    root = tmp_path / "models"
    root.mkdir()
    (root / "base").symlink_to(tiny.base)
    (root / "void_pass1.safetensors").write_bytes(tiny.pass1.read_bytes()[:-1000])
    with RunningServer(tmp_path / "data", models=root) as running, running.client() as client:
        with pytest.raises(EngineUnavailable, match=r"void_pass1\.safetensors"):
            client.run("job", job(shot), tmp_path / "out")
        (root / "void_pass1.safetensors").write_bytes(tiny.pass1.read_bytes())
        client.run("again", job(shot, steps=1), tmp_path / "out")  # mended, without a restart


def test_the_servers_own_settings_are_not_taken_for_another_server(shot, tmp_path):
    done = run_void(
        "render", "--plate", shot / "plate.%04d.exr", "--quadmask", shot / "quadmask.%04d.exr", "--server",
        "tcp://127.0.0.1:9", "--models", tmp_path, "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 2
    assert "server's to say" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shots_folder() is None or reference_folder() is None, reason="../shared is not here")
def test_void_render_takes_a_real_shot_through_both_passes(tmp_path):
    """An eighth of the real plate, upstream's own tiny checkpoints, from the command line."""
    plate, quadmask = write_sequences("lime", tmp_path / "shot", scale=0.125, frames=10)
    done = run_void(
        "render", "--plate", plate, "--quadmask", quadmask, "--engine", "void", "--models", reference_folder(),
        "--out", tmp_path / "out", "--option", "passes=2", "--option", "steps=2", "--option", "steps_2=2",
        "--option", "height=96", "--option", "width=176", "--option", "window_frames=13", "--option",
        "overlap_frames=8", "--prompt", "A lime falls on the table.",
        XDG_CACHE_HOME=str(tmp_path / "cache"), VOID_CONFIG_DIR=str(tmp_path / "config"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = ResultManifest.read(tmp_path / "out")
    manifest.verify(tmp_path / "out")
    assert len(manifest.frames) == 10
    for number in (1001, 1010):
        before, after = (read(tmp_path / folder / f"plate.{number}.exr") for folder in ("shot", "out"))
        after = after[..., :3]  # then void_quadmask, void_matte, void_conf
        keep = read(tmp_path / "shot" / f"quadmask.{number}.exr")[..., 0].astype(np.float32) * 255 > 191
        assert np.array_equal(before[keep].view(np.uint16), after[keep].view(np.uint16))
        assert not np.array_equal(before[~keep], after[~keep])
        assert np.isfinite(after.astype(np.float32)).all()


def read(path: Path) -> np.ndarray:
    image = oiio.ImageInput.open(str(path))
    pixels = image.read_image(format="half")
    image.close()
    return np.asarray(pixels)
