"""Runs that are killed and go on in another process: the same bits, fewer steps."""

from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from helpers.tiny_void import TinyModel
from safetensors.torch import load_file, save_file
from void_client.errors import Cancelled, DiskFull, InputError

from void_engine import atomic
from void_engine.diffusion import Progress, Resume, VoidPipeline
from void_engine.diffusion import run as run_module

STEPS = 6
EVERY = 2
ONE_WINDOW: dict[str, Any] = {
    "height": 16, "width": 32, "num_inference_steps": STEPS, "window_frames": 13, "overlap_frames": 8,
}  # fmt: skip
fork = multiprocessing.get_context("fork")  # a real process, without importing torch again


def shot(frames: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    quadmask = np.full((frames, 32, 64), 255, np.uint8)
    quadmask[:, 8:20, 8:30] = 0
    return rng.integers(0, 256, (frames, 32, 64, 3), dtype=np.uint8), quadmask


SHORT, LONG = shot(9), shot(27)
THREE_WINDOWS = {**ONE_WINDOW, "guidance_scale": 3.0, "negative_prompt": "a ball"}


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "prompts"


def load(tiny: TinyModel, prompts: Path, **options: Any) -> VoidPipeline:
    options = {"checkpoint": tiny.pass1, **options}
    return VoidPipeline.from_pretrained(tiny.base, dtype=torch.float32, device="cpu", cache_dir=prompts, **options)


@pytest.fixture(scope="module")
def pipe(tiny: TinyModel, prompts: Path) -> VoidPipeline:
    return load(tiny, prompts)


def counted(pipe: VoidPipeline, clip: tuple[np.ndarray, np.ndarray], **settings: Any) -> tuple[np.ndarray, int]:
    """The frames, and how often the transformer was called."""
    calls = []
    handle = pipe.residency.transformer.register_forward_hook(lambda *_: calls.append(1))
    try:
        return pipe(*clip, "an empty table", **settings).frames, len(calls)
    finally:
        handle.remove()


def in_a_process(work: Callable[[], None]) -> int:
    """Its exit code: negative for the signal that killed it."""
    child = fork.Process(target=work)
    child.start()
    child.join(120)
    assert child.exitcode is not None
    return child.exitcode


def kill_at(step: int, window: int) -> Callable[[Progress], None]:
    def callback(progress: Progress) -> None:
        if progress.stage == "denoise" and (progress.step, progress.window) == (step, window):
            os.kill(os.getpid(), signal.SIGKILL)

    return callback


class Stop(Exception):
    pass


def stopped_after(pipe: VoidPipeline, folder: Path, step: int, **settings: Any) -> None:
    """Leaves the state that was last saved before ``step`` began."""

    def callback(progress: Progress) -> None:
        if progress.stage == "denoise" and progress.step == step:
            raise Stop

    settings = {**ONE_WINDOW, "resume": Resume(folder, EVERY), **settings}
    with pytest.raises(Stop):
        pipe(*SHORT, "an empty table", callback=callback, **settings)
    assert [path.name for path in folder.iterdir()] == ["denoising.safetensors"]


@pytest.mark.parametrize(
    ("clip", "settings", "windows", "step", "window"),
    [
        (SHORT, ONE_WINDOW, 1, 3, 0),
        (SHORT, ONE_WINDOW, 1, 6, 0),
        (LONG, THREE_WINDOWS, 3, 4, 1),
        (LONG, THREE_WINDOWS, 3, 5, 2),
    ],
)
def test_a_killed_run_goes_on_in_another_process_with_the_same_bits(
    pipe, tmp_path, clip, settings, windows, step, window
):
    whole, calls = counted(pipe, clip, **settings)
    assert calls == STEPS * windows
    state, frames = Resume(tmp_path, EVERY), tmp_path / "frames.npy"

    def first() -> None:
        pipe(*clip, "an empty table", resume=state, callback=kill_at(step, window), **settings)

    def second() -> None:
        found, calls = counted(pipe, clip, resume=state, **settings)
        np.save(frames, found)
        (tmp_path / "calls").write_text(str(calls))

    assert in_a_process(first) == -signal.SIGKILL
    assert (tmp_path / "denoising.safetensors").is_file()
    assert in_a_process(second) == 0
    assert np.array_equal(np.load(frames), whole)
    saved = (step - 1) // EVERY * EVERY
    assert int((tmp_path / "calls").read_text()) == (STEPS - saved) * windows
    assert not (tmp_path / "denoising.safetensors").exists()  # a finished run needs it no more


def test_a_run_killed_again_and_again_ends_with_the_same_bits(pipe, tmp_path):
    """At random moments, one after the other; each goes on from what the one before had saved."""
    state, frames = Resume(tmp_path, 1), tmp_path / "frames.npy"
    rng = np.random.default_rng(7)
    for step in sorted(rng.integers(2, STEPS + 1, 3)):
        callback = kill_at(int(step), int(rng.integers(0, 3)))
        work = lambda callback=callback: pipe(*LONG, "a ball", resume=state, callback=callback, **ONE_WINDOW)  # noqa: E731
        assert in_a_process(work) in (-signal.SIGKILL, 0)
    assert in_a_process(lambda: np.save(frames, pipe(*LONG, "a ball", resume=state, **ONE_WINDOW).frames)) == 0
    assert np.array_equal(np.load(frames), pipe(*LONG, "a ball", **ONE_WINDOW).frames)


def test_a_run_killed_while_it_saves_has_the_state_before(pipe, tmp_path, monkeypatch):
    """Half the file is written when the process dies."""
    state = Resume(tmp_path, EVERY)
    whole = pipe(*SHORT, "an empty table", **ONE_WINDOW).frames

    def dying() -> None:
        real, files = os.write, []

        def write(descriptor: int, data: Any) -> int:
            files.append(descriptor)
            if len(files) == 2:
                real(descriptor, bytes(data)[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(descriptor, data)

        atomic.os.write = write  # in the child alone
        pipe(*SHORT, "an empty table", resume=state, **ONE_WINDOW)

    assert in_a_process(dying) == -signal.SIGKILL
    found, calls = counted(pipe, SHORT, resume=state, **ONE_WINDOW)
    assert np.array_equal(found, whole)
    assert calls == STEPS - EVERY


@pytest.mark.slow
def test_a_fresh_interpreter_goes_on_too(pipe, tiny, prompts, tmp_path):
    """Nothing in a run's key depends on the process, such as the hashes of strings."""
    stopped_after(pipe, tmp_path, 5)
    clip = tmp_path / "clip.npz"
    np.savez(clip, video=SHORT[0], quadmask=SHORT[1])
    code = f"""
import json, numpy as np, torch
from pathlib import Path
from void_engine.diffusion import Resume, VoidPipeline
torch.set_num_threads(1)
pipe = VoidPipeline.from_pretrained({str(tiny.base)!r}, {str(tiny.pass1)!r}, torch.float32, "cpu",
                                    cache_dir={str(prompts)!r})
clip = np.load({str(clip)!r})
steps = []
settings = json.loads({json.dumps(ONE_WINDOW)!r})
result = pipe(clip["video"], clip["quadmask"], "an empty table", resume=Resume(Path({str(tmp_path)!r}), {EVERY}),
              callback=lambda p: steps.append(p.step) if p.stage == "denoise" else None, **settings)
np.save({str(tmp_path / "frames.npy")!r}, result.frames)
assert steps[0] == 5, steps
"""
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(tmp_path / "frames.npy"), pipe(*SHORT, "an empty table", **ONE_WINDOW).frames)


@pytest.fixture(scope="module")
def expected(pipe: VoidPipeline) -> np.ndarray:
    """The short clip, uninterrupted."""
    return pipe(*SHORT, "an empty table", **ONE_WINDOW).frames


@pytest.fixture(scope="module")
def state(pipe: VoidPipeline, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a run that stopped before its step 5 had saved."""
    folder = tmp_path_factory.mktemp("stopped")
    stopped_after(pipe, folder, 5)
    return (folder / "denoising.safetensors").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 43},
        {"num_inference_steps": STEPS + 2},
        {"mode": "upstream"},
        {"guidance_scale": 2.0},
        {"window_frames": 21},
        {"height": 32},
        {"prompt": "a ball"},
        {"clip": shot(9, seed=2)},
        {"clip": (SHORT[0], 255 - SHORT[1])},
        {"clip": (SHORT[0][:8], SHORT[1][:8])},
        {"init_latents": np.zeros((1, 4, 16, 2, 4), np.float32)},
        {"inpaint_noise": np.zeros((1, 3, 13, 16, 32), np.float32)},
    ],
    ids=lambda change: "-".join(change),
)
def test_a_state_of_another_run_is_not_used(pipe, state, tmp_path, change):
    (tmp_path / "denoising.safetensors").write_bytes(state)
    change = dict(change)
    clip, prompt = change.pop("clip", SHORT), change.pop("prompt", "an empty table")
    settings = {**ONE_WINDOW, **change}
    steps = []
    callback = lambda p: steps.append(p.step) if p.stage == "denoise" else None  # noqa: E731
    with_state = pipe(*clip, prompt, resume=Resume(tmp_path, EVERY), callback=callback, **settings).frames
    assert steps[0] == 1
    assert np.array_equal(with_state, pipe(*clip, prompt, **settings).frames)


def test_a_state_of_other_weights_or_another_number_format_is_not_used(tiny, state, prompts, tmp_path):
    others = {
        "checkpoint": load(tiny, prompts, checkpoint=tiny.pass2),
        "identity": load(tiny, prompts, identity="another base"),
        "fp8": load(tiny, prompts, memory="fp8"),
    }
    for name, other in others.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "denoising.safetensors").write_bytes(state)
        _, calls = counted(other, SHORT, resume=Resume(folder, EVERY), **ONE_WINDOW)
        assert calls == STEPS, name


def test_a_run_goes_on_where_the_weights_are_held_in_another_way(pipe, tiny, state, prompts, tmp_path):
    """After a restart more or less memory may be free; the picture is the same."""
    (tmp_path / "denoising.safetensors").write_bytes(state)
    found, calls = counted(load(tiny, prompts, memory="full"), SHORT, resume=Resume(tmp_path, EVERY), **ONE_WINDOW)
    assert calls == 2
    assert np.array_equal(found, pipe(*SHORT, "an empty table", **ONE_WINDOW).frames)


def without_tensor(path: Path, name: str) -> None:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file({key: value for key, value in load_file(path).items() if key != name}, path, metadata)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(path.read_bytes()[:20]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(os.urandom(5000)),
        lambda path: without_tensor(path, "latents"),
        lambda path: without_tensor(path, "generator"),
    ],
    ids=["cut", "cut in the header", "empty", "rubbish", "no latents", "no generator"],
)
def test_a_spoiled_state_starts_the_run_again_and_says_so(pipe, state, expected, tmp_path, caplog, spoil):
    (tmp_path / "denoising.safetensors").write_bytes(state)
    spoil(tmp_path / "denoising.safetensors")
    with caplog.at_level(logging.WARNING):
        found, calls = counted(pipe, SHORT, resume=Resume(tmp_path, EVERY), **ONE_WINDOW)
    assert calls == STEPS
    assert "starts again" in caplog.text
    assert np.array_equal(found, expected)


def test_a_folder_is_made_where_only_its_name_is_given(pipe, tmp_path):
    pipe(*SHORT, "an empty table", resume=str(tmp_path / "a" / "b"), **ONE_WINDOW)
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused_by_name(pipe, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made") as caught:
        pipe(*SHORT, "an empty table", resume=tmp_path / "file" / "folder", **ONE_WINDOW)
    assert caught.value.details["key"] == "resume"


def test_a_folder_that_is_not_there_is_told_when_the_state_is_saved(pipe, tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        pipe(*SHORT, "an empty table", resume=Resume(tmp_path / "gone", EVERY), **ONE_WINDOW)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """64 KiB, where we may mount; the error code alone elsewhere."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        with pytest.MonkeyPatch.context() as patch:
            real = os.write

            def write(descriptor: int, data: Any) -> int:
                real(descriptor, bytes(data)[:100])
                raise OSError(errno.ENOSPC, "No space left on device")

            patch.setattr(atomic.os, "write", write)
            yield
        return
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_leaves_the_state_before_whole(pipe, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk):
        state = Resume(disk, EVERY)

        def fill(progress: Progress) -> None:
            if progress.stage == "denoise" and progress.step == 4:  # once the first state lies there
                with open(disk / "other", "wb", buffering=0) as file, suppress(OSError):
                    for _ in range(64):  # pages of 4 KiB
                        file.write(b"x" * 4096)

        with pytest.raises(DiskFull) as caught:
            pipe(*SHORT, "an empty table", resume=state, callback=fill, **ONE_WINDOW)
        assert caught.value.retryable
        assert not [path for path in disk.iterdir() if path.name.endswith(".tmp")]
        if (disk / "other").exists():
            (disk / "other").unlink()
            found, calls = counted(pipe, SHORT, resume=state, **ONE_WINDOW)
            assert calls == STEPS - EVERY
            assert np.array_equal(found, pipe(*SHORT, "an empty table", **ONE_WINDOW).frames)


def test_a_state_that_cannot_be_deleted_does_not_cost_the_result(pipe, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError("read-only")))
    assert len(pipe(*SHORT, "an empty table", resume=Resume(tmp_path, EVERY), **ONE_WINDOW).frames) == 9
    assert "could not be deleted" in caplog.text


def test_a_cancelled_run_keeps_its_state(pipe, tmp_path):
    def cancel(progress: Progress) -> None:
        if progress.stage == "decode":
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        pipe(*SHORT, "an empty table", resume=Resume(tmp_path, EVERY), callback=cancel, **ONE_WINDOW)
    _, calls = counted(pipe, SHORT, resume=Resume(tmp_path, EVERY), **ONE_WINDOW)
    assert calls == 2


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers with numpy 2
@pytest.mark.parametrize("stop", [3, 5])
def test_solvers_with_memory_keep_it_for_each_window(pipe, tmp_path, monkeypatch, stop):
    """A second-order solver: a step depends on the outputs of the one before."""

    def load_solver(base: Path, pass_number: int) -> DPMSolverMultistepScheduler:
        return DPMSolverMultistepScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
            timestep_spacing="trailing", rescale_betas_zero_snr=True, solver_order=2,
        )  # fmt: skip

    monkeypatch.setattr(run_module, "load_scheduler", load_solver)
    whole = pipe(*LONG, "an empty table", **ONE_WINDOW).frames

    def callback(progress: Progress) -> None:
        if progress.stage == "denoise" and (progress.step, progress.window) == (stop, 1):
            raise Stop

    with pytest.raises(Stop):
        pipe(*LONG, "an empty table", resume=Resume(tmp_path, EVERY), callback=callback, **ONE_WINDOW)
    found, calls = counted(pipe, LONG, resume=Resume(tmp_path, EVERY), **ONE_WINDOW)
    assert calls == 3 * (STEPS - (stop - 1))
    assert np.array_equal(found, whole)
    # Without the memory it would have come out differently: the test can fail.
    with pytest.raises(Stop):
        pipe(*LONG, "an empty table", resume=Resume(tmp_path, EVERY), callback=callback, **ONE_WINDOW)
    path = tmp_path / "denoising.safetensors"
    for name in [name for name in load_file(path) if "model_outputs" in name or "lower_order" in name]:
        without_tensor(path, name)
    assert not np.array_equal(counted(pipe, LONG, resume=Resume(tmp_path, EVERY), **ONE_WINDOW)[0], whole)
