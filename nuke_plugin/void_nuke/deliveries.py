"""What is made of a result in the graph and on disk: a Read, a published copy, a wipe, a contact sheet. Main thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import nuke
from void_client.result_store import Version, publish

from . import results
from .messages import explain, failure
from .node import VoidNode, undo_step
from .sessions import in_background

_SHEET_COLUMNS = 6
_SHEET_WIDTH = 2048


def create_read(node: VoidNode) -> Any:
    """A Read of the shown version beside the node. ``raw``: its bits are the plate's own working space."""
    version = results.shown(node)
    with undo_step("VOID: create Read"), _beside(node):
        read = nuke.nodes.Read(
            file=version.pattern,
            first=version.first,
            last=version.last,
            origfirst=version.first,
            origlast=version.last,
            raw=True,
        )
        read.setName(f"{node.node.name()}_{version.name}")
        read.setXYpos(node.node.xpos() + 110, node.node.ypos())
    return read


def publish_to(node: VoidNode, folder: Optional[str] = None) -> None:
    """A copy of the shown version in a folder that the artist chooses. Copies in the background."""
    version = results.shown(node)
    if folder is None:
        folder = nuke.getFilename("Publish the result into which folder?", "*/", version.folder.parent.as_posix() + "/")
        if not folder:
            return
    target, name = Path(folder), f"{node.node.name()}_{version.name}"
    if not nuke.GUI:
        _published(node.uuid, publish(version, target, name))
        return
    uuid = node.uuid

    def work() -> None:
        nuke.executeInMainThread(_published, args=(uuid, publish(version, target, name)))

    in_background("publish", work, lambda error: nuke.executeInMainThread(_not_published, args=(uuid, error)))


def wipe(node: VoidNode) -> Any:
    """The viewer with the node as its input 1 and the plate as its input 2: W in the viewer wipes between them."""
    results.shown(node)
    plate = node.node.input(0)
    if plate is None:
        raise failure("no_plate")
    with undo_step("VOID: wipe"), _beside(node):
        viewers = [each for each in nuke.allNodes("Viewer") if each.parent() == node.node.parent()]
        viewer = viewers[0] if viewers else nuke.nodes.Viewer()
        viewer.setInput(0, node.node)
        viewer.setInput(1, plate)
    return viewer


def contact_sheet(node: VoidNode) -> Any:
    """Some frames of the plate above the same frames of the node, spread over the range."""
    version = results.shown(node)
    plate = node.node.input(0)
    if plate is None:
        raise failure("no_plate")
    frames = spread(version, _SHEET_COLUMNS)
    x, y = node.node.xpos() + 220, node.node.ypos()
    with undo_step("VOID: contact sheet"), _beside(node):
        holds = []
        for row, source in enumerate((plate, node.node)):
            for column, frame in enumerate(frames):
                hold = nuke.nodes.FrameHold(inputs=[source])
                _held(hold).setValue(frame)
                hold.setXYpos(x + 110 * column, y + 60 * row)
                holds.append(hold)
        sheet = nuke.nodes.ContactSheet(inputs=holds)
        shape = plate.format()
        tall = round(_SHEET_WIDTH / len(frames) * shape.height() / max(1, shape.width()) * 2)
        for name, value in (("rows", 2), ("columns", len(frames)), ("width", _SHEET_WIDTH), ("height", max(2, tall))):
            sheet[name].setValue(value)
        sheet["roworder"].setValue("TopBottom")
        sheet.setName(f"{node.node.name()}_{version.name}_sheet")
        sheet.setXYpos(x, y + 160)
    return sheet


def _held(hold: Any) -> Any:
    """The knob of a FrameHold that says which frame: its name differs between versions of Nuke."""
    found = hold.knob("firstFrame")
    return hold["first_frame"] if found is None else found


def spread(version: Version, count: int) -> list[int]:
    """``count`` frames of the version at most, the first and the last among them."""
    frames = version.frames
    if len(frames) <= count:
        return list(frames)
    return sorted({frames[round(index * (len(frames) - 1) / (count - 1))] for index in range(count)})


def _beside(node: VoidNode) -> Any:
    """New nodes go where the node is, not into it."""
    return node.node.parent() or nuke.root()


def _published(uuid: str, target: Path) -> None:
    from .node import by_uuid

    node = by_uuid(uuid)
    if node is not None:
        _say(node, f"Published as {target}.")


def _not_published(uuid: str, error: Exception) -> None:
    nuke.message(f"VOID: {explain(error)}")


def _say(node: VoidNode, text: str) -> None:
    from dataclasses import replace

    node.show(replace(node.state, what=text, do=""))
