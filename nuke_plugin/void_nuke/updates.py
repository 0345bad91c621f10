"""What a job's thread reported, written into its node. Main thread."""

from __future__ import annotations

from dataclasses import replace

import nuke
from void_client.result_store import Version

from . import bars, office, results, staleness, states
from .messages import explain, failure
from .node import VoidNode, by_uuid, quiet
from .sessions import Job, Report


def apply(job: Job, report: Report) -> None:
    """One report. A job that was given up, or whose node is gone, changes nothing: its result lies on disk."""
    desk = office.desk()
    if not desk.is_current(job):
        return
    if report.last:
        desk.finish(job)
        bars.end(job.uuid)
    elif bars.tell(job.uuid, report.state):
        desk.cancel(job.uuid)
        bars.end(job.uuid)
        report = gave_up()
    node = by_uuid(job.uuid)
    if node is not None:
        write(node, report)
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
    before = node.state
    state = report.state
    with quiet():
        if report.masks is not None:
            state = replace(state, shown_before=_show_masks(node, report.masks), looked=report.looked)
        elif report.version is not None:
            _end_review(node, before.shown_before)
            results.show(node, report.version, report.looked)
        elif report.error is not None:
            _end_review(node, before.shown_before)
        elif before.shown_before:
            state = replace(state, shown_before=before.shown_before)
        if report.warnings:
            state = replace(state, do=" ".join(filter(None, (state.do, *report.warnings[:3]))))
    node.show(state)


def _show_masks(node: VoidNode, masks: Version) -> str:
    """The quadmask in the viewer. Returns what the output was before."""
    before = node.state.shown_before or node.text("output")
    node.put("mask_file", masks.pattern)
    if not node.text("result_file"):
        node.put("result_first", masks.first)
        node.put("result_last", masks.last)
    node.put("output", "quadmask")
    return before


def _end_review(node: VoidNode, shown_before: str) -> None:
    node.put("mask_file", "")
    if shown_before:
        node.put("output", shown_before)
