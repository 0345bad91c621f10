"""New and copied nodes: the name of a node's results, and the studio's settings for a new one. Main thread."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import nuke
from void_client.errors import VoidError
from void_client.studio import load_plugin_settings

from . import reattach, states
from .node import VoidNode, all_nodes, quiet
from .states import State

_first: dict[str, Any] = {}
"""A node's name for its results → the node that had it first in this session."""
_SETTINGS = ("engine", "segmenter", "reasoner", "quality", "review")


def created(node: VoidNode) -> None:
    """onCreate: also while a script is loaded, pasted, or a deletion undone."""
    if not node.uuid:
        node.new_uuid()
        _set_up(node)
    elif _is_copy(node) or (node.state.under_way and reattach.is_pasted(node)):
        part(node)
    elif nuke.GUI and node.state.under_way:  # a deletion was undone, or the node was cut and pasted
        reattach.reattach(node)
    _first[node.uuid] = node.node


def _is_copy(node: VoidNode) -> bool:
    """Whether another node that was here before has its name. In which order Nuke lists nodes is nowhere said."""
    first = _first.get(node.uuid)
    twins = [other.node for other in all_nodes() if other.uuid == node.uuid and other.node != node.node]
    return first is not None and first in twins


def part(node: VoidNode) -> None:
    """A copy: it keeps the shown result, and solves for itself from here on."""
    state = node.state
    node.new_uuid()
    if state.under_way:
        shown = node.solved.shown
        state = State(states.READY, version=shown) if shown else State()
        with quiet():
            node.put("mask_file", "")
    node.show(replace(state, job_id=""))


def settle_copies() -> None:
    """After a script was loaded: of two nodes of one name, copied where the plugin was not, the later one parts."""
    seen: dict[str, VoidNode] = {}
    for node in all_nodes():
        if node.uuid and node.uuid in seen:
            first = _first.get(node.uuid)
            later = seen[node.uuid] if first == node.node else node
            seen[node.uuid] = node if first == node.node else seen[node.uuid]
            part(later)
        elif node.uuid:
            seen[node.uuid] = node
    _first.clear()
    _first.update({node.uuid: node.node for node in all_nodes()})


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
