"""Threads of the stand-in: the main thread, the pump that stands for Nuke's event loop, progress bars."""

from __future__ import annotations

import threading
from typing import Any

import pytest


def test_a_thread_reaches_the_main_thread_through_the_pump(nuke: Any, standin: Any) -> None:
    node, got = nuke.createNode("Blur"), []

    def work() -> None:
        got.append(nuke.executeInMainThreadWithResult(lambda a, b: node["size"].setValue(a + b), (1, 2)))
        got.append(nuke.executeInMainThreadWithResult(node.name))
        nuke.executeInMainThread(got.append, "posted")

    thread = threading.Thread(target=work)
    thread.start()
    standin.pump(lambda: "posted" in got)
    thread.join(5)
    assert got == [True, "Blur1", "posted"]
    assert node["size"].value() == [3, 3]


def test_without_a_pump_nothing_runs_on_the_main_thread(nuke: Any, standin: Any) -> None:
    got: list = []
    thread = threading.Thread(target=lambda: nuke.executeInMainThread(got.append, 1))
    thread.start()
    thread.join(5)
    assert got == []
    standin.pump()
    assert got == [1]


def test_the_pump_gives_up_in_time(nuke: Any, standin: Any) -> None:
    with pytest.raises(TimeoutError, match="within"):
        standin.pump(lambda: False, timeout=0.1)


def test_an_exception_of_a_call_with_result_is_swallowed(nuke: Any, standin: Any, capsys: Any) -> None:
    got: list = []
    thread = threading.Thread(target=lambda: got.append(nuke.executeInMainThreadWithResult(lambda: 1 / 0)))
    thread.start()
    standin.pump(lambda: got)
    thread.join(5)
    assert got == [None]
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert [type(error) for _, error in standin.swallowed()] == [ZeroDivisionError]


def test_a_progress_task_is_driven_from_a_thread_cancelled_and_closed(nuke: Any, standin: Any) -> None:
    said = threading.Event()

    def work() -> None:
        task = nuke.ProgressTask("VOID1: generating")
        task.setProgress(40)
        task.setMessage("frame 4 of 10")
        said.set()
        while not task.isCancelled():
            pass

    thread = threading.Thread(target=work)
    thread.start()
    assert said.wait(5)
    (bar,) = standin.progress()
    assert (bar.title, bar.percent, bar.message, bar.open) == ("VOID1: generating", 40, "frame 4 of 10", True)
    assert standin.cancel_progress("VOID1") == 1
    thread.join(5)
    assert not bar.open
    assert standin.cancel_progress() == 0


@pytest.mark.parametrize("percent", [101, -1])
def test_a_progress_bar_takes_a_hundred_at_most(nuke: Any, percent: int) -> None:
    with pytest.raises(ValueError, match="0 to 100"):
        nuke.ProgressTask("x").setProgress(percent)
