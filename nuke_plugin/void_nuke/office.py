"""The desk of this Nuke, and the way from a job's thread to the main thread. Main thread, but for `_post`."""

from __future__ import annotations

from typing import Optional

import nuke

from .sessions import Desk, Job, Report

_desk: Optional[Desk] = None


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


def _post(job: Job, report: Report) -> None:
    """In the job's thread."""
    from . import updates

    nuke.executeInMainThread(updates.apply, args=(job, report))
