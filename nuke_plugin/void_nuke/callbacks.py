"""What the plugin hears of the session: scripts that load, save and close, and what changed. Main thread.

`register` is called once by menu.py. The node's own onCreate and knobChanged are in the node itself. Promises: an
exception here is logged and never reaches Nuke.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import nuke

from . import actions, bars, creating, office, reattach, staleness, watch
from .node import VoidNode, all_nodes, is_void

log = logging.getLogger(__name__)
_registered = False


def register() -> None:
    """Twice is once."""
    global _registered
    if _registered:
        return
    _registered = True
    nuke.addOnScriptLoad(loaded)
    nuke.addOnScriptSave(saved)
    nuke.addOnScriptClose(closed)
    nuke.addOnDestroy(destroyed, nodeClass="Group")
    nuke.addUpdateUI(updated, nodeClass="Group")


def unregister() -> None:
    """For tests, and for reloading the plugin."""
    global _registered
    if _registered:
        _registered = False
        nuke.removeOnScriptLoad(loaded)
        nuke.removeOnScriptSave(saved)
        nuke.removeOnScriptClose(closed)
        nuke.removeOnDestroy(destroyed, nodeClass="Group")
        nuke.removeUpdateUI(updated, nodeClass="Group")


def _harmless(function: Callable[[], None]) -> Callable[[], None]:
    @functools.wraps(function)
    def guarded(*_: Any) -> None:
        try:
            function()
        except Exception:  # the boundary: a fault of ours must not disturb the artist's script
            log.exception("VOID: %s", function.__name__)

    return guarded


@_harmless
def loaded() -> None:
    """A script was opened: jobs of its nodes are followed again. A render has nothing to follow."""
    creating.settle_copies()
    if not nuke.GUI:
        return
    for node in all_nodes():
        reattach.reattach(node)
        staleness.look_at_files(node)
        actions.refresh(node)


@_harmless
def saved() -> None:
    """Saving under another name changes nothing for the nodes: their results stay where they are."""
    for node in all_nodes():
        if not node.uuid:
            creating.created(node)
        reattach.goes_along(node)


@_harmless
def closed() -> None:
    office.close()
    bars.forget()
    watch.forget()


@_harmless
def destroyed() -> None:
    """The node is gone; its job goes on at the server, and undoing the deletion finds it on record."""
    node = nuke.thisNode()
    if is_void(node):
        watch.forget(node.fullName())
        job = office.running(VoidNode(node).uuid)
        if job is not None:
            job.leave.set()
            office.desk().finish(job)
            bars.end(job.uuid)


@_harmless
def updated() -> None:
    node = nuke.thisNode()
    if is_void(node):
        watch.touched(node)
