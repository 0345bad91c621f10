"""Jobs that a Nuke before this one submitted: found by their records, and followed again. Main thread."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Optional

import nuke
from void_client.errors import SettingsError, VoidError
from void_client.result_store import NodeStore, Pending
from void_client.settings import ClientSettings
from void_client.studio import client_settings, load_plugin_settings

from . import bars, office, plate, results, solving, states, updates
from .messages import explain
from .node import VoidNode
from .ordering import store_of
from .sessions import Job, Line, cancel_on_server
from .states import State


def reattach(node: VoidNode) -> bool:
    """Follow the node's newest job that is on record; whether there is one. A state that nothing stands behind ends."""
    if not node.uuid or office.running(node.uuid) is not None:
        return False
    _send_cancels(node)
    pending = on_record(node)
    if pending is not None:
        follow(node, pending)
        if nuke.GUI and not node.state.under_way:
            node.show(State(states.QUEUED, "Asking the server for its job.", job_id=pending.job_id))
        return True
    state = node.state
    if state.under_way and not _placed_meanwhile(node, state):
        node.show(_without_job(node, state))
    return False


def follow(node: VoidNode, pending: Pending, approve: bool = False) -> None:
    """In a thread; without the interface here, to the end, which raises what goes wrong. ``approve``: the quadmask
    first. Raises ``SettingsError`` where nobody knows the server."""
    work = solving.approve if approve else solving.follow
    followed = solving.Followed(pending, store_of(node), patient=bool(nuke.GUI))
    if not nuke.GUI:
        line = Line(server_of(node, pending.endpoint))
        job = Job(node.uuid, line, pending.job_id, looked=pending.solved)
        try:
            report = work(followed, job, solving.Progress(lambda report: None, job))
        except VoidError as error:
            node.show(explain(error).as_state(pending.job_id))
            raise
        finally:
            line.close()
        updates.write(node, report)
        return
    office.desk().start(
        node.uuid,
        server_of(node, pending.endpoint),
        lambda job, tell: work(followed, job, solving.Progress(tell, job)),
        pending.job_id,
        pending.solved,
    )
    bars.begin(node.uuid, node.name)


def on_record(node: VoidNode) -> Optional[Pending]:
    """The newest record that is this node's: of this script, or the job that the node itself names."""
    store = _store(node)
    if store is None:
        return None
    named, script = node.state.job_id, plate.script_path()
    mine = [
        record
        for record in store.pending()
        if not record.cancelled
        and ((script and record.script == script) or (record.job_id == named and not _is_of_another(record)))
    ]
    return mine[-1] if mine else None


def _send_cancels(node: VoidNode) -> None:
    """Jobs that were cancelled while their server was away."""
    store = _store(node)
    if store is None:
        return
    for record in store.pending():
        if record.cancelled:
            with contextlib.suppress(SettingsError):
                line = office.desk().line(server_of(node, record.endpoint))
                cancel_on_server(line, record.job_id, store)


def is_pasted(node: VoidNode) -> bool:
    """Whether the job that the node names is of another script, which is still there: that one waits for it."""
    store, named = _store(node), node.state.job_id
    records = store.pending() if store is not None and named else ()
    return any(record.job_id == named and _is_of_another(record) for record in records)


def goes_along(node: VoidNode) -> None:
    """The script is being saved, perhaps under another name: the node's job is that script's from now on."""
    store, script = _store(node), plate.script_path()
    named = node.state.job_id if node.state.under_way else ""
    if store is None or not named or not script:
        return
    for record in store.pending():
        if record.job_id == named and record.script != script:
            store.remember(replace(record, script=script))


def _is_of_another(record: Pending) -> bool:
    """Versions of one script are one script here: each may go on with the job."""
    mine = plate.script_path()
    if not record.script or record.script == mine or record.job_id in office.followed:
        return False
    same = mine and Path(record.script).parent == Path(mine).parent and plate.same_shot(record.script, mine)
    return not same and os.path.isfile(record.script)


def server_of(node: VoidNode, endpoint: str) -> ClientSettings:
    """The server of a record, else the node's."""
    studio = load_plugin_settings(os.environ)
    try:
        return client_settings(studio, os.environ, endpoint)
    except SettingsError:
        return client_settings(studio, os.environ, node.text("endpoint").strip())


def _store(node: VoidNode) -> Optional[NodeStore]:
    try:
        return store_of(node)
    except VoidError:
        return None


def _placed_meanwhile(node: VoidNode, state: State) -> bool:
    """Another Nuke, or a thread of this one that outlived the node, may have placed the result of the node's job."""
    store = _store(node)
    versions = store.versions() if store is not None and state.job_id else ()
    for version in reversed(versions):
        if version.manifest.job_id == state.job_id:
            results.show(node, version, state.looked)
            node.show(State(states.READY, version=version.name, job_id=state.job_id))
            return True
    return False


def _without_job(node: VoidNode, state: State) -> State:
    """Nothing is on its way: what the node has is what it shows."""
    shown = node.solved.shown
    if shown and node.text("result_file"):
        return State(states.READY, version=shown, job_id=state.job_id)
    return State(
        states.NOT_SOLVED, "The job that this node waited for is not on record any more.", "Solve again.",
        job_id=state.job_id,
    )  # fmt: skip
