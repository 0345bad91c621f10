"""The desk of this Nuke, and the way from a job's thread to the main thread. Main thread, but for `_post`."""

from __future__ import annotations

import threading
from typing import Optional

import nuke

from .sessions import Desk, Job, Report

_AGAIN_S = 0.5
_desk: Optional[Desk] = None
_lock = threading.Lock()
_newest: dict[Job, Report] = {}
followed: set[str] = set()
"""The ids of the jobs that the script at hand has followed: they are its own, whatever it was called then."""


def desk() -> Desk:
    """The one of this process, made when first needed."""
    global _desk
    if _desk is None:
        _desk = Desk(_post)
    return _desk


def running(uuid: str) -> Optional[Job]:
    return _desk.jobs.get(uuid) if _desk is not None else None


def close() -> None:
    """The script closes: jobs go on at their servers, and are on record."""
    if _desk is not None:
        _desk.forget_all()
    with _lock:
        _newest.clear()
    followed.clear()


def _post(job: Job, report: Report) -> None:
    """In the job's thread. A main thread that is busy finds the newest report of each job, and no backlog."""
    with _lock:
        waits = job in _newest
        _newest[job] = report
    if not waits:
        _deliver(job)


def take(job: Job) -> Optional[Report]:
    """The newest report of a job, which waits no more. Main thread."""
    with _lock:
        return _newest.pop(job, None)


def put_off(job: Job, report: Report) -> None:
    """Nuke renders, and a knob that changes now may spoil what it renders: a little later, what is newest then."""
    with _lock:
        _newest.setdefault(job, report)
    later = threading.Timer(_AGAIN_S, _deliver, (job,))
    later.daemon = True
    later.start()


def _deliver(job: Job) -> None:
    from . import updates

    nuke.executeInMainThread(updates.deliver, args=(job,))
