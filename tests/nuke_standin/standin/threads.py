"""The main thread and the others: `executeInMainThread*`, and the pump that stands for Nuke's event loop."""

from __future__ import annotations

import threading
import time
import traceback
import weakref
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from .errors import StandinError, WouldHang
from .state import S, check_thread


@dataclass
class Call:
    function: Callable
    args: tuple
    kwargs: dict
    done: threading.Event = field(default_factory=threading.Event)
    result: Any = None


def _not_on_main(what: str) -> None:
    if threading.get_ident() == S.main_thread:
        error = WouldHang(f"nuke.{what} was called on the main thread: a real Nuke hangs here")
        S.violations.append(error)
        raise error


def _request(call: Any, args: Any, kwargs: Any) -> Call:
    if not callable(call):
        raise TypeError("call must be a callable")
    waiting = Call(call, args if isinstance(args, tuple) else (args,), dict(kwargs or {}))
    with S.calls_changed:
        S.calls.append(waiting)
        S.calls_changed.notify_all()
    return waiting


def execute_in_main_thread(call: Any, args: Any = (), kwargs: Any = None) -> None:
    """Returns at once; the main thread calls it when it is idle."""
    _not_on_main("executeInMainThread")
    _request(call, args, kwargs)


def execute_in_main_thread_with_result(call: Any, args: Any = (), kwargs: Any = None) -> Any:
    """Waits for the main thread. An exception of the call is printed, and None comes back."""
    _not_on_main("executeInMainThreadWithResult")
    waiting = _request(call, args, kwargs)
    waiting.done.wait()
    return waiting.result


def _run(waiting: Call) -> None:
    try:
        waiting.result = waiting.function(*waiting.args, **waiting.kwargs)
    except StandinError:
        raise
    except Exception as error:  # noqa: BLE001 - Nuke prints it and returns None
        S.swallowed.append((f"main thread call {getattr(waiting.function, '__name__', waiting.function)}", error))
        traceback.print_exc()
    finally:
        waiting.done.set()


def run_waiting() -> int:
    """Run what waits for the main thread now; how many calls that were."""
    check_thread("pump")
    count = 0
    while True:
        with S.calls_changed:
            if not S.calls:
                return count
            waiting = S.calls.popleft()
        _run(waiting)
        count += 1


def pump(until: Optional[Callable[[], Any]] = None, timeout: float = 20.0) -> None:
    """Be Nuke's idle event loop until `until()` is true; without it, once. TimeoutError after `timeout`."""
    from . import app

    end = time.monotonic() + timeout
    while True:
        run_waiting()
        app.idle()
        if until is None or until():
            return
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"pump: the condition did not come true within {timeout:g} s")
        with S.calls_changed:
            if not S.calls:
                S.calls_changed.wait(min(left, 0.05))


@dataclass
class ProgressRecord:
    """What the artist saw of a ProgressTask."""

    title: str
    percent: int = 0
    message: str = ""
    messages: list = field(default_factory=list)
    open: bool = True
    cancelled: bool = False


class ProgressTask:
    """A bar with a cancel button; it closes when it is deleted. May be driven from any thread."""

    def __init__(self, title: str = "") -> None:
        self._record = ProgressRecord(title)
        S.progress.append(self._record)
        weakref.finalize(self, _close, self._record)

    def setProgress(self, percent: int) -> None:
        if not isinstance(percent, int):
            raise TypeError("setProgress takes an integer")
        if not 0 <= percent <= 100:
            raise ValueError(f"setProgress takes 0 to 100, not {percent}")
        self._record.percent = percent

    def setMessage(self, message: str) -> None:
        if not isinstance(message, str):
            raise TypeError("setMessage takes a string")
        self._record.message = message
        self._record.messages.append(message)

    def isCancelled(self) -> bool:
        return self._record.cancelled


def _close(record: ProgressRecord) -> None:
    record.open = False
