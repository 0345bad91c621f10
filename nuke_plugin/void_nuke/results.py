"""Versions in the node: which is shown, the list of them, and what else is made of a result. Main thread."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from void_client.errors import VoidError
from void_client.result_store import NodeStore, Version

from . import states
from .description import NO_VERSION
from .messages import failure
from .node import VoidNode, quiet
from .ordering import store_of
from .states import State


def show(node: VoidNode, version: Version, looked: str = "") -> None:
    """This version is the node's result. ``looked``: the fingerprint that it was made of, where that is news."""
    solved = node.solved
    solved.shown = version.name
    if looked:
        solved.prints[version.name] = looked
    names = list(NodeStore(version.folder.parent).names())
    with quiet():
        _list(node, names or [version.name], version.name)
        node.put("result_first", version.first)
        node.put("result_last", version.last)
        node.put("result_file", version.pattern)
        node.put("job_id", version.manifest.job_id)
        node.keep_solved(solved)
    reread(node)


def switch(node: VoidNode) -> None:
    """The artist chose another version: show it, with the state that it had. Raises ``InputError`` where it is gone."""
    chosen = node.text("version")
    if chosen in (NO_VERSION, node.solved.shown) or not chosen:
        return
    version = _by_name(shelf_of(node), chosen)
    if version is None or not version.is_whole():
        with quiet():
            node.put("version", node.solved.shown or NO_VERSION)
        raise failure("version_gone", version=chosen)
    show(node, version)
    if not node.state.under_way:
        node.show(State(states.READY, version=version.name, job_id=version.manifest.job_id))


def relist(node: VoidNode) -> None:
    """The versions that are on disk, also those that another machine made. Nothing where the script has no place."""
    try:
        names = list(shelf_of(node).names())
    except VoidError:
        return
    shown = node.solved.shown
    if shown and shown not in names:
        names.append(shown)
    if names:
        with quiet():
            _list(node, names, shown or NO_VERSION)


def shelf_of(node: VoidNode) -> NodeStore:
    """The versions that the node lists: those beside the one that it shows, which may be the node's it was copied from.
    Raises ``InputError`` where the script has no place."""
    shown = node.text("result_file")
    beside = Path(shown).parent.parent if shown else None
    return NodeStore(beside) if beside is not None and beside.is_dir() else store_of(node)


def reread(node: VoidNode) -> None:
    """Nuke keeps what it read: the inner Reads look at their files again."""
    for name in ("ResultRead", "MaskRead"):
        reader = node.node.node(name)
        if reader is not None:
            reader["reload"].execute()


def shown(node: VoidNode) -> Version:
    """The version that the node shows. Raises ``InputError`` where it has none, or its files are gone."""
    from void_client.result_store import of_pattern

    pattern = node.text("result_file")
    if not pattern:
        raise failure("no_result")
    version = of_pattern(pattern)
    if version is None:
        raise failure("version_gone", version=node.solved.shown or "the result")
    return version


def _by_name(store: NodeStore, name: str) -> Optional[Version]:
    return store.version(int(name[1:])) if name[1:].isdigit() else None


def _list(node: VoidNode, names: list[str], chosen: str) -> None:
    knob = node.node["version"]
    wanted = names if chosen in names else [chosen, *names]
    if list(knob.values()) != wanted:
        knob.setValues(wanted)
    node.put("version", chosen)
