"""Scripts as files: open, save, clear, copy and paste."""

from __future__ import annotations

import os
import sys
from typing import Any, Optional

from . import create, events, script, undo, views
from .app import empty_script, set_frame
from .errors import StandinError
from .group import walk
from .state import S


def _loaded() -> None:
    """onCreate of every node, then onScriptLoad."""
    for node in list(walk(S.root)):
        events.fire("OnCreate", node)
    events.fire("OnScriptLoad", S.root)
    S.modified = False


def script_open(filename: Optional[str] = None) -> None:
    """`nuke.scriptOpen`: in a real GUI into a new Nuke when this one is in use; here it takes this one's place."""
    if filename is None:
        raise StandinError("scriptOpen without a name asks the artist")
    if not os.path.isfile(filename):
        raise RuntimeError(f"{filename}: No such file or directory")
    script_clear()
    with open(filename, encoding="utf-8") as file:
        text = file.read()
    S.root._knobs["name"]._text = os.path.abspath(filename).replace(os.sep, "/")
    script.read_text(text, S.root, filename)
    S.root._knobs["name"]._text = os.path.abspath(filename).replace(os.sep, "/")
    views.from_root()
    set_frame(int(S.root._knobs["frame"]._number()))
    S.undo = undo.History()
    _loaded()


def script_read_file(filename: str) -> None:
    """`nuke.scriptReadFile`: into the script at hand. Also `scriptSource`."""
    with open(filename, encoding="utf-8") as file:
        script_read_text(file.read())


def script_read_text(text: str) -> None:
    script.read_text(text, create.here())
    for node in script.read_text.last:  # type: ignore[attr-defined]
        events.fire("OnCreate", node)


def script_save(filename: Optional[str] = None) -> bool:
    """`nuke.scriptSave`: to its own name, or as a copy under another."""
    target = filename or S.root._name
    if not target:
        raise RuntimeError("the script has no name: scriptSaveAs")
    return _save(target, filename is None)


def script_save_as(filename: Optional[str] = None, overwrite: Any = -1) -> bool:
    """`nuke.scriptSaveAs`: the script has this name from now on."""
    if filename is None:
        raise StandinError("scriptSaveAs without a name asks the artist")
    if os.path.exists(filename) and overwrite in (0, False):
        raise RuntimeError(f"{filename} already exists")
    if os.path.exists(filename) and overwrite == -1 and os.path.abspath(filename) != S.root._name:
        if not S.gui:
            raise RuntimeError(f"{filename} already exists")
        raise StandinError("scriptSaveAs asks whether to overwrite")
    S.root._knobs["name"]._text = os.path.abspath(filename).replace(os.sep, "/")
    return _save(S.root._name, True)


def _save(target: str, named: bool) -> bool:
    events.fire("OnScriptSave", S.root)
    with open(target, "w", encoding="utf-8", newline="\n") as file:
        file.write(f"#! {sys.executable} -nx\n" + script.write_script())
    if named:
        S.modified = False
    return True


def script_clear(*_: Any) -> None:
    """`nuke.scriptClear`: empty, without asking."""
    events.fire("OnScriptClose", S.root)
    for node in list(walk(S.root)):
        events.fire("OnDestroy", node)
    empty_script()
    S.undo = undo.History()
    S.modified = False


def script_new(*_: Any) -> None:
    script_clear()


def script_close(ignoreUnsavedChanges: bool = False) -> bool:
    if S.modified and not ignoreUnsavedChanges and S.gui:
        raise StandinError("scriptClose asks whether to save")
    script_clear()
    return True


def script_exit(force: bool = False) -> None:
    raise SystemExit(0)


def script_name() -> str:
    return str(S.root._name)


def script_directory() -> str:
    """`nuke.script_directory()`"""
    return os.path.dirname(S.root._name)


def node_copy(filename: str) -> None:
    """`nuke.nodeCopy`: the selected nodes, into a file or onto the clipboard ("%clipboard%")."""
    chosen = [n for n in create.here()._children if n.isSelected()]
    if not chosen:
        raise RuntimeError("no nodes selected")
    major, minor, release = S.version
    text = f"set cut_paste_input [stack 0]\nversion {major}.{minor} v{release}\npush $cut_paste_input\n"
    text += script.write_nodes(chosen)
    if filename in ("%clipboard%", "cut_paste"):
        S.clipboard = text
    else:
        with open(filename, "w", encoding="utf-8") as file:
            file.write(text)


def node_paste(filename: str) -> Any:
    """`nuke.nodePaste`: the last node that was made; what was pasted is selected."""
    if filename in ("%clipboard%", "cut_paste"):
        text = S.clipboard
    else:
        with open(filename, encoding="utf-8") as file:
            text = file.read()
    group = create.here()
    for node in group._children:
        node._knobs["selected"]._parts = (0.0,)
    made = script.read_text(text, group, filename)
    S.modified = True
    for node in script.read_text.last:  # type: ignore[attr-defined]
        events.fire("OnCreate", node)
    for node in made:
        node._knobs["selected"]._parts = (1.0,)
    return made[-1] if made else None
