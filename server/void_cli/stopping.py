"""SIGTERM, as farms send it before they kill: the same way out as Ctrl-C, cancelling what runs on a server.

Promises: handlers are set only while a command waits for jobs, and only in the main thread.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from void_client.client import Client
from void_client.errors import VoidError

_ASK_S = 5.0  # a server that does not answer: farms kill after 30 s or so
_END_S = 15.0  # the server's own grace is 10 s, then it kills its worker


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Meanwhile SIGTERM raises ``KeyboardInterrupt``, once: a second one does not disturb the cleaning up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _interrupt(*_: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def cancel_and_wait(client: Client, job_id: str) -> None:
    """Ask for the job's end and see it end, as long as there is time. Whoever calls is ending: nothing is raised."""
    give_up = time.monotonic() + _END_S
    with contextlib.suppress(VoidError):
        job = client.cancel(job_id, _ASK_S)
        while not job.ended and time.monotonic() < give_up:
            time.sleep(0.05)
            job = client.cancel(job_id, _ASK_S)  # asking twice has one effect, and tells the state
