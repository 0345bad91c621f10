"""New and copied nodes: the name of a node's results, and the studio's settings for a new one. Main thread."""

from __future__ import annotations

import os
from dataclasses import replace

from void_client.errors import VoidError
from void_client.studio import load_plugin_settings

from . import office, states
from .node import VoidNode, all_nodes, quiet
from .states import State

_SETTINGS = ("engine", "segmenter", "reasoner", "quality", "review")


def created(node: VoidNode) -> None:
    if not node.uuid:
        node.new_uuid()
        _set_up(node)
    elif any(other.uuid == node.uuid and other.node is not node.node for other in all_nodes()):
        part(node)


def part(node: VoidNode) -> None:
    """A copy: it keeps the shown result, and solves for itself from here on."""
    state = node.state
    node.new_uuid()
    if state.under_way:
        shown = node.solved.shown
        state = State(states.READY, version=shown) if shown else State()
        with quiet():
            node.put("mask_file", "")
            if node.state.shown_before:
                node.put("output", node.state.shown_before)
    node.show(replace(state, job_id="", shown_before=""))


def settle_copies() -> None:
    """After a script was loaded: two nodes of one name were copied where the plugin was not. The later one parts."""
    seen: dict[str, VoidNode] = {}
    for node in reversed(all_nodes()):  # Nuke lists the newest first
        if node.uuid and node.uuid in seen and office.running(node.uuid) is None:
            part(node)
        elif node.uuid:
            seen[node.uuid] = node


def _set_up(node: VoidNode) -> None:
    try:
        studio = load_plugin_settings(os.environ)
    except VoidError:
        return  # a fault of the studio's file is told when the artist solves
    with quiet():
        for name in _SETTINGS:
            node.put(name, getattr(studio, name))
        node.put("chunk_size", studio.farm_chunk_size)
        node.put("missing_result", studio.farm_missing_result)
