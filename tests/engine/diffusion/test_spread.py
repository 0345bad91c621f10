"""Windows that other processes compute: the same bits as alone, whoever comes, goes, dies or hangs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny_void import TinyModel
from void_client.errors import Cancelled
from void_server.lines import Line

from void_engine.diffusion import Progress, Resume, VoidPipeline
from void_engine.diffusion.engine import VoidEngine
from void_engine.diffusion.helping import serve
from void_engine.diffusion.options import read_options
from void_engine.diffusion.request import Request
from void_engine.diffusion.run import Extras
from void_engine.diffusion.speed import Speed
from void_engine.diffusion.spread import Hands, pack
from void_engine.interface import Host

STEPS = 4
REQUEST = Request("an empty table", "a ball", 16, 32, STEPS, 3.0, 1, window_frames=13, overlap_frames=8)
WINDOWS = 5
fork = multiprocessing.get_context("fork")  # real processes, without importing torch again


def shot(frames: int = 42) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    quadmask = np.full((frames, 32, 64), 255, np.uint8)
    quadmask[:, 8:20, 8:30] = 0
    return rng.integers(0, 256, (frames, 32, 64, 3), dtype=np.uint8), quadmask


CLIP = shot()


def load(tiny: TinyModel, cache: Path, **options: Any) -> VoidPipeline:
    return VoidPipeline.from_pretrained(
        tiny.base, tiny.pass1, dtype=torch.float32, device="cpu", cache_dir=cache, **options
    )


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def pipe(tiny: TinyModel, cached: Path) -> VoidPipeline:
    return load(tiny, cached)


@pytest.fixture(scope="module")
def alone(pipe: VoidPipeline) -> torch.Tensor:
    latents = pipe.generate(*CLIP, REQUEST).latents
    assert len(REQUEST.windows(latents.shape[1])) == WINDOWS
    return latents


def helping(pipe: VoidPipeline, line: Line) -> None:
    with suppress(ConnectionError):
        header, data = line.receive()
        serve(pipe, header, data, line)


@dataclass
class Crew:
    """Processes that help, in `Helpers`' terms. ``late``: how often is asked before they come."""

    work: Callable[[Line], None]
    count: int = 1
    late: int = 0
    asked: list[int] = field(default_factory=list)
    processes: list[Any] = field(default_factory=list)
    waiting: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        for _ in range(self.count):
            ours, theirs = socket.socketpair()
            process = fork.Process(target=self._run, args=(ours, theirs))
            process.start()
            theirs.close()
            self.processes.append(process)
            self.waiting.append(Line(ours))

    def _run(self, ours: socket.socket, theirs: socket.socket) -> None:
        ours.close()
        self.work(Line(theirs))

    def ask(self, count: int) -> None:
        self.asked.append(count)

    def arrived(self) -> Sequence[Line]:
        if len(self.asked) < self.late:
            return []
        found, self.waiting = self.waiting, []
        return found

    def ended(self) -> list[int | None]:
        for process in self.processes:
            process.join(30)
        return [process.exitcode for process in self.processes]


@pytest.fixture
def crews() -> Iterator[Callable[..., Crew]]:
    made: list[Crew] = []

    def make(work: Callable[[Line], None], **settings: Any) -> Crew:
        made.append(Crew(work, **settings))
        return made[-1]

    yield make
    for crew in made:
        for line in crew.waiting:
            line.close()
        for process in crew.processes:
            if process.is_alive():
                process.kill()
            process.join()


def joined(progress: Progress) -> None:
    """Waits at the end of each step until whoever was asked has joined: tiny models are done before anybody comes."""
    if progress.stage == "denoise" and progress.window == 0:
        for thread in threading.enumerate():
            if thread.name == "void joining":
                thread.join(60)


def spread_run(
    pipe: VoidPipeline, crew: Crew, request: Request = REQUEST, callback: Any = None, **more: Any
) -> tuple[torch.Tensor, int, Hands]:
    """The latents, how often the transformer was called here, and who helped."""
    hands = Hands(crew, {}, least_patience_s=more.pop("patience", 60.0))
    calls: list[int] = []
    handle = pipe.residency.transformer.register_forward_hook(lambda *_: calls.append(1))
    try:
        extras = Extras(hands=hands, callback=callback or joined, **more)
        return pipe.generate(*CLIP, request, extras).latents, len(calls), hands
    finally:
        handle.remove()


@pytest.mark.parametrize("count", [1, 2])
def test_with_help_the_bits_are_those_of_one_device_alone(pipe, alone, crews, count):
    crew = crews(lambda line: helping(pipe, line), count=count)
    latents, calls, hands = spread_run(pipe, crew)
    assert torch.equal(latents, alone)
    assert calls < STEPS * WINDOWS
    assert hands.names == ["cpu"]
    assert crew.asked[0] == WINDOWS - 1
    assert crew.ended() == [0] * count


@pytest.mark.parametrize(
    "request_",
    [
        replace(REQUEST, guidance=1.0, seed=7, overlap_frames=4),
        pytest.param(replace(REQUEST, pass_number=2), marks=pytest.mark.slow),
        pytest.param(replace(REQUEST, mode="upstream"), marks=pytest.mark.slow),
    ],
    ids=["other windows", "pass 2", "upstream"],
)  # fmt: skip
def test_that_holds_for_other_requests(pipe, crews, request_):
    whole = pipe.generate(*CLIP, request_).latents
    latents, calls, hands = spread_run(pipe, crews(lambda line: helping(pipe, line)), request_)
    assert torch.equal(latents, whole)
    assert hands.names == ["cpu"]
    assert calls < STEPS * len(request_.windows(whole.shape[1]))


def test_windows_that_go_together_stay_together(tiny, cached, crews):
    """A batch rounds in another way than its windows one by one: a helper is given the batch."""
    pipe = load(tiny, cached, speed=Speed(batch_windows=2))
    whole = pipe.generate(*CLIP, REQUEST).latents
    latents, calls, hands = spread_run(pipe, crews(lambda line: helping(pipe, line)))
    assert torch.equal(latents, whole)
    assert hands.names == ["cpu"]
    assert calls < STEPS * 3


def test_who_comes_late_joins_at_the_next_step(pipe, alone, crews):
    crew = crews(lambda line: helping(pipe, line), late=1)
    seen = []

    def callback(progress: Progress) -> None:
        if progress.stage == "denoise" and progress.window == 0:
            seen.append((progress.step, len(crew.waiting)))
            joined(progress)

    latents, calls, _ = spread_run(pipe, crew, callback=callback)
    assert torch.equal(latents, alone)
    assert dict(seen)[1] == 1
    assert 2 * WINDOWS < calls < STEPS * WINDOWS


class Dying:
    """A helper that kills itself in its ``at``-th window."""

    def __init__(self, pipe: VoidPipeline, at: int) -> None:
        self._pipe, self._at = pipe, at

    def __call__(self, line: Line) -> None:
        calls = []

        def hook(*_: Any) -> None:
            calls.append(1)
            if len(calls) == self._at:
                os.kill(os.getpid(), signal.SIGKILL)

        self._pipe.residency.transformer.register_forward_pre_hook(hook)
        helping(self._pipe, line)


@pytest.mark.parametrize("at", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_helper_that_is_killed_costs_its_window_only(pipe, alone, crews, at):
    crew = crews(Dying(pipe, at))
    latents, _, _ = spread_run(pipe, crew)
    assert torch.equal(latents, alone)
    assert crew.ended() == [-signal.SIGKILL]


def test_one_of_two_that_dies_leaves_the_other_at_work(pipe, alone, crews):
    both = crews(lambda line: helping(pipe, line))
    dying = crews(Dying(pipe, 1))
    both.waiting += dying.waiting
    dying.waiting = []
    latents, calls, hands = spread_run(pipe, both)
    assert torch.equal(latents, alone)
    assert hands.names == ["cpu"]
    assert calls < STEPS * WINDOWS


def test_a_helper_that_hangs_is_let_go_and_its_window_done_here(pipe, alone, crews):
    def hang(line: Line) -> None:
        line.receive()
        line.send({"kind": "ready", "device": "cpu"})
        line.receive()
        with suppress(ConnectionError):
            line.receive()  # says nothing, until it is told that nobody waits for it

    crew = crews(hang)
    latents, calls, hands = spread_run(pipe, crew, patience=0.3)
    assert torch.equal(latents, alone)
    assert (calls, hands.names) == (STEPS * WINDOWS, [])
    assert crew.ended() == [0]


@pytest.mark.parametrize(
    "answer",
    [
        ({"kind": "outputs"}, b"\xff" * 100),
        ({"kind": "outputs"}, pack({"0": torch.zeros(1, 4, 16, 2, 5)})),
        ({"kind": "failed", "why": "no room"}, b""),
        pytest.param(({"kind": "outputs"}, b""), marks=pytest.mark.slow),
        pytest.param(({"kind": "outputs"}, pack({"1": torch.zeros(1)})), marks=pytest.mark.slow),
        pytest.param(
            ({"kind": "outputs"}, pack({"0": torch.zeros(1, 4, 16, 2, 4, dtype=torch.float64)})), marks=pytest.mark.slow
        ),
        pytest.param(({}, b""), marks=pytest.mark.slow),
    ],
    ids=["rubbish", "another shape", "failed", "nothing", "another name", "another type", "no kind"],
)
def test_an_answer_that_is_none_is_not_used(pipe, alone, crews, answer):
    def lie(line: Line) -> None:
        line.receive()
        line.send({"kind": "ready", "device": "cpu"})
        with suppress(ConnectionError):
            line.receive()
            line.send(*answer)
            line.receive()

    latents, calls, hands = spread_run(pipe, crews(lie))
    assert torch.equal(latents, alone)
    assert (calls, hands.names) == (STEPS * WINDOWS, [])


def test_a_helper_that_runs_out_of_memory_steps_down_and_answers(pipe, alone, crews, tiny, cached):
    other = load(tiny, cached, memory="auto")

    def short(line: Line) -> None:
        tries = []

        def hook(*_: Any) -> None:
            tries.append(1)
            if len(tries) == 2:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")

        other.residency.transformer.register_forward_pre_hook(hook)
        helping(other, line)
        assert other.residency.notes == ["out of memory while helping another device: went from offload to group"]

    crew = crews(short)
    latents, calls, _ = spread_run(pipe, crew)
    assert torch.equal(latents, alone)
    assert calls < STEPS * WINDOWS
    assert crew.ended() == [0]


def test_one_that_has_no_room_at_all_says_so_and_the_run_goes_on(pipe, alone, crews, tiny, cached):
    other = load(tiny, cached, memory="full")

    def none(line: Line) -> None:
        def hook(*_: Any) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")

        other.residency.transformer.register_forward_pre_hook(hook)
        helping(other, line)

    crew = crews(none)
    latents, calls, _ = spread_run(pipe, crew)
    assert torch.equal(latents, alone)
    assert calls == STEPS * WINDOWS
    assert crew.ended() == [0]


def test_where_this_device_runs_out_of_memory_it_steps_down_and_is_helped_again(tiny, cached, alone, crews, tmp_path):
    pipe = load(tiny, cached, memory="auto")
    crew = crews(lambda line: helping(pipe, line), count=2)
    second = [crew.waiting.pop()]
    calls = []

    def hook(*_: Any) -> None:
        calls.append(1)
        if len(calls) == 2 * WINDOWS - 2:
            crew.waiting += second
            second.clear()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")

    handle = pipe.residency.transformer.register_forward_pre_hook(hook)
    latents, _, _ = spread_run(pipe, crew, resume=Resume(tmp_path, 1))
    handle.remove()
    assert torch.equal(latents, alone)
    assert any("went from offload to group" in note for note in pipe.residency.notes)
    assert crew.ended() == [0, 0]


def in_the_third_step(work: Callable[[], None]) -> Callable[[Progress], None]:
    """Does it while the helpers are at work there."""
    seen: list[int] = []

    def callback(progress: Progress) -> None:
        joined(progress)
        if progress.stage == "denoise" and progress.step == 3:
            seen.append(progress.window)
            if len(seen) == 2:  # the first is the end of the step before
                work()

    return callback


def cancel() -> None:
    raise Cancelled("enough")


def test_a_cancel_ends_the_run_and_lets_the_helpers_go(pipe, crews):
    crew = crews(lambda line: helping(pipe, line), count=2)
    with pytest.raises(Cancelled):
        spread_run(pipe, crew, callback=in_the_third_step(cancel))
    assert crew.ended() == [0, 0]


def test_a_cancel_is_heard_while_a_helper_is_waited_for(pipe, crews):
    def slow(line: Line) -> None:
        line.receive()
        line.send({"kind": "ready", "device": "cpu"})
        line.receive()
        with suppress(ConnectionError):
            line.receive()

    looks = []

    def callback(progress: Progress) -> None:
        joined(progress)
        if progress.stage == "denoise" and progress.window == WINDOWS - 1:
            looks.append(1)
            if len(looks) == 3:
                raise Cancelled("enough")

    crew = crews(slow)
    with pytest.raises(Cancelled):
        spread_run(pipe, crew, callback=callback)
    assert crew.ended() == [0]


def test_progress_never_goes_back(pipe, crews):
    done = []

    def callback(progress: Progress) -> None:
        joined(progress)
        if progress.stage == "denoise":
            done.append(progress.done)

    spread_run(pipe, crews(lambda line: helping(pipe, line), count=2), callback=callback)
    assert done == sorted(done)
    assert done[-1] == STEPS * WINDOWS


def test_a_run_that_is_killed_goes_on_without_the_help_it_had(pipe, alone, crews, tmp_path):
    crew = crews(lambda line: helping(pipe, line))
    state = Resume(tmp_path, 1)

    def dying() -> None:
        spread_run(pipe, crew, callback=in_the_third_step(lambda: os.kill(os.getpid(), signal.SIGKILL)), resume=state)

    child = fork.Process(target=dying)
    child.start()
    for line in crew.waiting:  # the child has its own
        line._end.close()
    crew.waiting = []
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert crew.ended() == [0]  # the helper has seen it
    calls: list[int] = []
    handle = pipe.residency.transformer.register_forward_hook(lambda *_: calls.append(1))
    latents = pipe.generate(*CLIP, REQUEST, Extras(resume=state)).latents
    handle.remove()
    assert torch.equal(latents, alone)
    assert len(calls) == 2 * WINDOWS  # two steps were saved


def test_nobody_is_asked_for_a_single_window_or_with_a_cache(pipe, tiny, cached, crews):
    crew = crews(lambda line: helping(pipe, line), count=0)
    spread_run(pipe, crew, replace(REQUEST, window_frames=45))
    spread_run(load(tiny, cached, speed=Speed(first_block_cache=0.05)), crew)
    assert crew.asked == []


def test_one_that_holds_the_model_in_another_way_is_refused(pipe, alone, crews, tiny, cached):
    rounded = load(tiny, cached, memory="fp8")
    crew = crews(lambda line: helping(rounded, line))
    latents, calls, _ = spread_run(pipe, crew)
    assert torch.equal(latents, alone)
    assert calls == STEPS * WINDOWS
    assert crew.ended() == [0]


@pytest.mark.parametrize("identity", ["same", "other"])
def test_the_engine_helps_with_its_own_weights_only(pipe, alone, crews, tiny, cached, identity):
    """Through `VoidEngine.help`, as a worker calls it."""
    engine = VoidEngine(Host(models=tiny.root, cache=cached))
    options = read_options({"area": 1.0})
    known = engine.identity({"passes": 1})
    crew = crews(lambda line: _quietly(engine, line))
    model = {"pass": 1, "options": {"passes": 1}, "identity": known if identity == "same" else {**known, "x": "y"}}
    hands = Hands(crew, model)
    assert options.passes == 1
    latents = pipe.generate(*CLIP, REQUEST, Extras(hands=hands, callback=joined)).latents
    assert torch.equal(latents, alone)
    assert hands.names == (["cpu"] if identity == "same" else [])
    assert crew.ended() == [0]


def _quietly(engine: VoidEngine, line: Line) -> None:
    with suppress(ConnectionError):
        engine.help(line)
