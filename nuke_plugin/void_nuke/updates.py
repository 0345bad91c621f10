"""What a job's thread reported, written into its node. Main thread."""

from __future__ import annotations

import time
from dataclasses import replace

import nuke
from void_client.result_store import Version

from . import bars, office, reattach, results, staleness, states
from .boundary import heard
from .messages import explain, failure
from .node import VoidNode, by_uuid, quiet
from .sessions import Job, Report

_WRITTEN_EVERY_S = 1.0
_written: dict[str, tuple[str, float]] = {}
"""A node's uuid → the state that its knobs say, and since when."""


def deliver(job: Job) -> None:
    """The newest report of a job, once Nuke renders nothing."""
    report = office.take(job)
    if report is None or not office.desk().is_current(job):
        return
    if nuke.executing():
        office.put_off(job, report)
    else:
        apply(job, report)


def apply(job: Job, report: Report) -> None:
    """One report. A job that was given up, or whose node is gone, changes nothing: its result lies on disk."""
    desk = office.desk()
    if not desk.is_current(job):
        return
    if job.job_id:
        office.followed.add(job.job_id)
    if report.last:
        desk.finish(job)
        bars.end(job.uuid)
    elif bars.tell(job.uuid, report.state):
        desk.cancel(job.uuid)
        bars.end(job.uuid)
        report = gave_up()
    if not _is_due(job.uuid, report):
        return
    node = by_uuid(job.uuid)
    if node is not None:
        _write_here(node, job, report)


def _is_due(uuid: str, report: Report) -> bool:
    """The bar moves with every report; knobs, which mark the script as changed, once a second and with each state."""
    name, since = _written.get(uuid, ("", 0.0))
    now = time.monotonic()
    if report.last:
        _written.pop(uuid, None)
    elif name == report.state.name and now - since < _WRITTEN_EVERY_S:
        return False
    else:
        _written[uuid] = (report.state.name, now)
    return True


def _write_here(node: VoidNode, job: Job, report: Report) -> None:
    with heard(node, ends=report.last):
        write(node, report)
        if report.masks is not None:
            reattach.goes_along(node)  # the script was saved elsewhere while the job was on its way
        later = staleness.refreshed(node, not report.last)
        if later is not None:  # the artist went on working meanwhile
            node.show(later)
        if report.error is not None and report.error.state == states.FAILED and not job.submitted and nuke.GUI:
            nuke.message(f"VOID: {report.error}")


def gave_up() -> Report:
    """The artist cancelled: the news of it, as a job's thread would have told it."""
    told = explain(failure("cancelled_here"))
    return Report(told.as_state(), error=told)


def write(node: VoidNode, report: Report) -> None:
    """The report in the node's knobs."""
    state = report.state
    with quiet():
        if report.masks is not None:
            state = replace(state, looked=report.looked)
            _show_masks(node, report.masks)
        elif report.version is not None:
            end_review(node)
            results.show(node, report.version, report.looked)
        elif report.error is not None:
            end_review(node)
        if report.warnings:
            state = replace(state, do=" ".join(filter(None, (state.do, *report.warnings[:3]))))
    node.show(state)


def _show_masks(node: VoidNode, masks: Version) -> None:
    """The quadmask in the viewer. ``output`` is the artist's: it stays."""
    node.put("mask_first", masks.first)
    node.put("mask_last", masks.last)
    node.put("mask_file", masks.pattern)
    results.reread(node)


def end_review(node: VoidNode) -> None:
    """The node shows what ``output`` says again."""
    node.put("mask_file", "")
