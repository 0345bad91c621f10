"""What the node's buttons, its onCreate and its knobChanged call: one function each, on the main thread.

Promises: a failure that a click caused is shown in one dialog and in the node; without the interface it is raised.
"""

from __future__ import annotations

import os
from typing import Any, Optional

import nuke
from void_client import schema
from void_client.errors import VoidError
from void_client.result_store import Version
from void_client.studio import client_settings, load_plugin_settings

from . import (
    bars,
    clicks,
    creating,
    deliveries,
    farm,
    office,
    ordering,
    overriding,
    plate,
    reattach,
    results,
    server_test,
    solving,
    staleness,
    states,
    sub_range,
    updates,
)
from .boundary import heard, told
from .messages import explain, failure
from .node import VoidNode, all_nodes, by_uuid, is_quiet, is_void, quiet, too_new
from .order import Order
from .sessions import Job, Line, cancel_on_server, in_background
from .states import State

# --- solving


def solve(node: Any) -> None:
    """The button Solve. Returns at once, but for an export."""
    if not nuke.GUI:
        solve_headless(node)
        return
    _solve(VoidNode(node))


def draft(node: Any) -> None:
    """As Solve, quick and smaller, with the final's seed."""
    if not nuke.GUI:
        solve_headless(node, draft=True)
        return
    _solve(VoidNode(node), draft=True)


def solve_headless(node: Any, frames: Optional[tuple[int, int]] = None, *, draft: Optional[bool] = None) -> Version:
    """Solve to the end, here and now: for `nuke -t`. ``frames``: first and last, instead of the node's range.

    Raises ``VoidError``. The node shows the result, as after Solve.
    """
    void = VoidNode(node)
    return _solve_here(void, ordering.order_of(void, frames=frames, draft=draft, review=False, patient=False))


def shot_file(node: Any) -> dict[str, Any]:
    """The node as a shot file's map, paths absolute: written as YAML or JSON, `void render` makes the same of it.

    Exports what has to be. Raises ``VoidError``.
    """
    written = schema.dump(ordering.shot_file(VoidNode(node)))
    return {
        key: value for key, value in written.items() if value not in (None, "", {}, 0) or key in ("seed", "overrides")
    }


def approve(node: Any) -> None:
    """The quadmask is right: make the clean frames."""
    void = VoidNode(node)
    with told(void, keep_state=True):
        pending = reattach.on_record(void) if void.state.name == states.MASKS_READY else None
        if pending is None:
            raise failure("no_review")
        reattach.follow(void, pending, approve=True)
        if nuke.GUI:
            void.show(State(states.QUEUED, "The quadmask was approved.", job_id=pending.job_id))


def cancel(node: Any) -> None:
    """Stop this node's job, in whatever state it is."""
    void = VoidNode(node)
    with told(void, keep_state=True):
        if office.desk().cancel(void.uuid) is None:
            _cancel_on_record(void)
        bars.end(void.uuid)
        updates.write(void, updates.gave_up())


def reload(node: Any) -> None:
    """Ask the server again where a job is on record, list the versions on disk, and read the shown one anew."""
    void = VoidNode(node)
    with told(void, keep_state=True):
        reattach.reattach(void)
        results.relist(void)
        results.reread(void)
        staleness.look_at_files(void)
        refresh(void)


def _solve(void: VoidNode, draft: Optional[bool] = None) -> None:
    running, kept = office.running(void.uuid), void.state
    goes_on = running is not None or kept.name == states.MASKS_READY
    with told(void, keep_state=goes_on):
        if too_new(void.node):
            raise failure("too_new")
        all_nodes()  # reports find their node by it: where Nuke refuses, it does so now
        if running is not None and staleness.is_of(void, running.looked):
            raise failure("still_under_way")
        void.show(State(states.EXPORTING, "Nuke waits while the plate is rendered."))
        try:
            order = ordering.order_of(void, draft=draft)
        except BaseException:
            if goes_on:
                void.show(kept)
            raise
        office.desk().cancel(void.uuid)  # only now that the new job is one that can be sent
        void.show(State(states.EXPORTING, "Reading the plate."))
        _start(void, order)


def _start(void: VoidNode, order: Order) -> None:
    void.settle(order.store.root)
    office.desk().start(void.uuid, order.server, lambda job, tell: solving.solve(order, job, tell), looked=order.looked)
    bars.begin(void.uuid, void.name)


def _solve_here(void: VoidNode, order: Order) -> Version:
    """On the main thread, to the end. Raises ``VoidError``."""
    void.settle(order.store.root)
    line = Line(order.server)
    try:
        report = solving.solve(order, Job(void.uuid, line, looked=order.looked), lambda report: None)
    except VoidError as error:
        void.show(explain(error).as_state())
        raise
    finally:
        line.close()
    updates.write(void, report)
    if report.version is None:
        raise failure("no_result")
    return report.version


def _cancel_on_record(void: VoidNode) -> None:
    """A job that no thread follows here: one that waits for its review, or another Nuke's."""
    pending = reattach.on_record(void)
    if pending is None:
        raise failure("no_job")
    line = office.desk().line(reattach.server_of(void, pending.endpoint))
    cancel_on_server(line, pending.job_id, ordering.store_of(void))


# --- clicks


def add_point(node: Any, positive: bool = True) -> None:
    """Where the knob ``point`` stands, on this frame."""
    void = VoidNode(node)
    with told(void, keep_state=True):
        width, height = _size(void)
        x, y = clicks.points_of(void.node["point"].value())[:2]
        void.keep_clicks(void.clicks.with_click(clicks.from_nuke(_frame(), x, y, positive, width, height)))
        refresh(void)


def add_box(node: Any) -> None:
    """The knob ``box``, on this frame."""
    void = VoidNode(node)
    with told(void, keep_state=True):
        width, height = _size(void)
        left, bottom, right, top = clicks.points_of(void.node["box"].value())[:4]
        void.keep_clicks(
            void.clicks.with_box(clicks.box_from_nuke(_frame(), (left, bottom, right, top), width, height))
        )
        refresh(void)


def remove_click(node: Any) -> None:
    """The newest of this frame."""
    void = VoidNode(node)
    with told(void, keep_state=True):
        void.keep_clicks(void.clicks.without_last(_frame()))
        refresh(void)


def clear_clicks(node: Any) -> None:
    void = VoidNode(node)
    with told(void, keep_state=True):
        void.keep_clicks(clicks.Clicks())
        refresh(void)


def _frame() -> int:
    return int(nuke.frame())


def _size(void: VoidNode) -> tuple[int, int]:
    shape = plate.plate_of(void).format()
    return int(shape.width()), int(shape.height())


# --- masks


def edit_override(node: Any) -> None:
    """Open the node's sidecar; make it, or the node's section in it, where there is none."""
    void = VoidNode(node)
    with told(void, keep_state=True):
        overriding.edit(void)


def show_resolved(node: Any) -> None:
    """Who had the last word about each region, frame by frame."""
    void = VoidNode(node)
    with told(void, keep_state=True):
        text = overriding.resolved_text(void)
        show_sources(void)
        if nuke.GUI:
            nuke.message(f"Where each region of {void.name} comes from\n\n{text}")


def show_sources(void: VoidNode) -> None:
    """Who had the last word at this frame: for an open panel, which follows the viewer."""
    with quiet():
        void.say("sources_shown", overriding.at_frame(void, _frame()))


# --- server


def test_server(node: Any) -> None:
    """Ask the node's server for its version, its key and what it can do. The answer comes when it comes."""
    void = VoidNode(node)
    with told(void, keep_state=True):
        settings = client_settings(load_plugin_settings(os.environ), os.environ, void.text("endpoint").strip())
        if not nuke.GUI:
            _server_said(void.uuid, server_test.ask(settings))
            return
        uuid = void.uuid

        def ask() -> None:
            nuke.executeInMainThread(_server_said, args=(uuid, server_test.ask(settings)))

        with quiet():
            void.say("server_said", "asking…")

        def failed(error: Exception) -> None:
            nuke.executeInMainThread(_server_said, args=(uuid, str(explain(error))))

        in_background("test", ask, failed)


def _server_said(uuid: str, text: str) -> None:
    void = by_uuid(uuid)
    if void is not None:
        with quiet():
            void.say("server_said", text)


# --- results


def create_read(node: Any) -> Any:
    """A Read of the shown version, beside the node."""
    void = VoidNode(node)
    with told(void, keep_state=True):
        return deliveries.create_read(void)


def publish(node: Any, folder: Optional[str] = None) -> None:
    """Copy the shown version into a folder; without one the artist is asked."""
    void = VoidNode(node)
    with told(void, keep_state=True):
        deliveries.publish_to(void, folder)


def wipe(node: Any) -> Any:
    """Result and plate on the viewer's inputs 1 and 2."""
    void = VoidNode(node)
    with told(void, keep_state=True):
        return deliveries.wipe(void)


def contact_sheet(node: Any) -> Any:
    """Frames of the plate above the same frames of the result."""
    void = VoidNode(node)
    with told(void, keep_state=True):
        return deliveries.contact_sheet(void)


def resolve_range(node: Any) -> None:
    """Solve the bad frames again by themselves, with another seed, their neighbours fixed: a new version."""
    void = VoidNode(node)
    with told(void, keep_state=True):
        if office.running(void.uuid) is not None or void.state.name == states.MASKS_READY:
            raise failure("still_under_way")
        order = sub_range.order_of(void, void.text("resolve_frames"), patient=bool(nuke.GUI))
        if nuke.GUI:
            void.show(State(states.EXPORTING, "Reading the frames."))
            _start(void, order)
        else:
            _solve_here(void, order)


def submit_farm(node: Any) -> None:
    """This node is solved on the farm, then the script rendered."""
    void = VoidNode(node)
    with told(void, keep_state=True):
        _tell_submitted(farm.submit([void]))


def submit_all() -> None:
    """Every VOID node of the script that is on. For the menu."""
    try:
        _tell_submitted(farm.submit())
    except VoidError as error:
        if not nuke.GUI:
            raise
        nuke.message(f"VOID: {explain(error)}")


def _tell_submitted(done: farm.Submission) -> None:
    if nuke.GUI:
        nuke.message(f"VOID: {done}")


# --- callbacks of the node itself


def created(node: Any) -> None:
    """onCreate: a new node gets its name for the results and the studio's settings; a copy gets a name of its own."""
    if is_void(node):
        void = VoidNode(node)
        with heard(void):
            creating.created(void)


def knob_changed(node: Any, knob: Any) -> None:
    """knobChanged: also called with dummy knobs, and by nothing that the plugin writes itself."""
    if is_quiet() or not is_void(node):
        return
    void = VoidNode(node)
    name = knob.name()
    with heard(void):
        if name == "version":
            with told(void, keep_state=True):
                results.switch(void)
        elif name == "showPanel":
            results.relist(void)
            void.show_clicks()
        refresh(void)


def refresh(void: VoidNode) -> None:
    """Ready or stale, as the node stands now."""
    state = staleness.refreshed(void, office.running(void.uuid) is not None)
    if state is not None:
        void.show(state)
