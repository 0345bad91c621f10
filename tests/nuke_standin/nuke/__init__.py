"""A strict stand-in for Nuke's Python module, for tests only. ../README.md says what is real and what is not.

Every public name here is one of Nuke's. What a test needs beside them is in the module `standin`.
"""

from __future__ import annotations

import sys as _sys
from typing import Any as _Any

from standin import app as _app
from standin import asking as _asking
from standin import create as _create
from standin import events as _events
from standin import execute as _execute
from standin import facts as _facts
from standin import files as _files
from standin import formats as _formats
from standin import group as _group
from standin import knob_base as _knob_base
from standin import layers as _layers
from standin import menu as _menu
from standin import node as _node
from standin import ranges as _ranges
from standin import threads as _threads
from standin import ui as _ui
from standin import undo as _undo
from standin import views as _views
from standin.guard import main_only as _main_only
from standin.state import S as _S

EXE_PATH = _sys.executable
GUI = INTERACTIVE = True
NUKE_VERSION_MAJOR, NUKE_VERSION_MINOR, NUKE_VERSION_RELEASE = 16, 0, 3
NUKE_VERSION_STRING, NUKE_VERSION_PHASE = "16.0v3", ""
PLUGIN_EXT = "so"
THREADS = NUM_CPUS = 1
rawArgs: list = []
env: dict = {}

# -- classes
Node, Group, Root = _node.Node, _group.Group, _group.Root
Knob = _knob_base.Knob
for _name, _class in _facts.KNOBS.items():
    if _name != "Opaque_Knob":
        globals()[_name] = _class
Format, Layer, Undo = _formats.Format, _layers.Layer, _undo.Undo
FrameRange, FrameRanges = _ranges.FrameRange, _ranges.FrameRanges
ProgressTask, Menu, MenuItem = _threads.ProgressTask, _menu.Menu, _menu.MenuItem
CancelledError = _execute.Cancelled
nodes = _create.Nodes()

# -- flags
for _name in (
    "DISABLED",
    "NO_ANIMATION",
    "DO_NOT_WRITE",
    "INVISIBLE",
    "STARTLINE",
    "ENDLINE",
    "NO_CHECKMARKS",
    "EXPAND_TO_WIDTH",
    "ALWAYS_SAVE",
    "NO_UNDO",
    "KNOB_CHANGED_RECURSIVE",
    "READ_ONLY",
    "NO_MULTIVIEW",
    "SAVE_MENU",
):
    globals()[_name] = getattr(_knob_base, _name)
EXPRESSIONS, INPUTS, HIDDEN_INPUTS, LINKINPUTS = 1, 2, 4, 8
WRITE_ALL, WRITE_NON_DEFAULT_ONLY, WRITE_USER_KNOB_DEFS, TO_SCRIPT, TO_VALUE = 1, 2, 4, 8, 16
TABBEGINGROUP, TABBEGINCLOSEDGROUP, TABENDGROUP, TABKNOB = 1, 2, -1, 0
REPLACE, IMAGE, SCRIPT, FONT, GEO, PYTHON, PREPEND, NODIR = 1, 1, 2, 4, 8, 16, 8, 2

# -- scripts, nodes, the frame at hand
createNode = _main_only(_create.create_node)
root = _main_only(lambda: _S.root)
toNode, allNodes, exists = _main_only(_app.to_node), _main_only(_app.all_nodes), _main_only(_app.exists)
selectedNode, selectedNodes = _main_only(_app.selected_node), _main_only(_app.selected_nodes)
thisNode, thisKnob = _main_only(_app.this_node), _main_only(_app.this_knob)
thisGroup, thisParent = _main_only(_app.this_group), _main_only(_app.this_parent)
thisRoot, thisView = _main_only(lambda: _S.root), _main_only(lambda: _S.view)
thisClass = _main_only(lambda: _app.this_node().Class())
delete, frame = _main_only(_app.delete), _main_only(_app.frame)
nodeCopy, nodePaste = _main_only(_files.node_copy), _main_only(_files.node_paste)
scriptOpen, scriptReadFile = _main_only(_files.script_open), _main_only(_files.script_read_file)
scriptSource, scriptReadText = _main_only(_files.script_read_file), _main_only(_files.script_read_text)
scriptSave, scriptSaveAs = _main_only(_files.script_save), _main_only(_files.script_save_as)
scriptClear, scriptNew = _main_only(_files.script_clear), _main_only(_files.script_new)
scriptClose, scriptExit = _main_only(_files.script_close), _main_only(_files.script_exit)
scriptName, script_directory = _main_only(_files.script_name), _main_only(_files.script_directory)
modified = _main_only(lambda state=None: _S.modified if state is None else _S.root.setModified(state))
undo, redo = _main_only(_undo.undo), _main_only(_undo.redo)

# -- Tcl, values, files
tcl, expression, value = _main_only(_asking.tcl_run), _main_only(_asking.expression), _main_only(_asking.value)
numvalue, filename, knobDefault = (
    _main_only(_asking.numvalue),
    _main_only(_asking.filename),
    _main_only(_asking.knob_default),
)
filenameFilter = _main_only(_asking.filename_filter)

# -- formats, layers, views
formats = _main_only(lambda: list(_S.formats))
views = _main_only(_views.names)
layers = _main_only(
    lambda node=None: list(_S.layers) if node is None else list(dict.fromkeys(c.split(".")[0] for c in node.channels()))
)
channels = _main_only(
    lambda node=None: [f"{n}.{c}" for n, cs in _S.layers.items() for c in cs] if node is None else node.channels()
)


@_main_only
def addFormat(s: str) -> _Any:
    """A format from "W H aspect name"."""
    return _formats.find(s)


@_main_only
def addView(s: str) -> None:
    """A view of the script."""
    _views.add(s)


@_main_only
def deleteView(s: str) -> None:
    """A view goes."""
    _views.remove(s)


# -- rendering, threads, progress
execute, executeMultiple = _main_only(_execute.execute), _main_only(_execute.execute_multiple)
render = execute
executing = _main_only(lambda f=None: _S.executing is not None)
executeInMainThread = _threads.execute_in_main_thread
executeInMainThreadWithResult = _threads.execute_in_main_thread_with_result


@_main_only
def cancel() -> None:
    """Stop the render that runs."""
    _S.cancel_render = True


# -- plugins
pluginAddPath, pluginAppendPath = _main_only(_app.plugin_add_path), _main_only(_app.plugin_append_path)
pluginPath = _main_only(lambda: list(_S.plugin_path))

# -- GUI
message, ask, askWithCancel = _main_only(_ui.message), _main_only(_ui.ask), _main_only(_ui.ask_with_cancel)
getInput, getFilename, choice = _main_only(_ui.get_input), _main_only(_ui.get_filename), _main_only(_ui.choice)
error, warning, critical = _main_only(_ui.error), _main_only(_ui.warning), _main_only(_ui.critical)
debug, tprint = _main_only(_ui.debug), _ui.tprint
menu, toolbar = _main_only(_menu.menu), _main_only(_menu.toolbar)
getPaneFor = _main_only(_menu.get_pane_for)
addFavoriteDir, removeFavoriteDir = _main_only(_menu.add_favorite_dir), _main_only(_menu.remove_favorite_dir)
connectViewer, activeViewer = _main_only(_app.connect_viewer), _main_only(_app.active_viewer)


@_main_only
def show(n: Node, forceFloat: bool = False) -> None:
    """Open a node's panel."""
    n.showControlPanel()


@_main_only
def selectAll() -> None:
    """Select every node of the group at hand."""
    for node in _app.all_nodes():
        node.setSelected(True)


@_main_only
def autoplace(n: Node) -> None:
    """Put a node below its input."""
    n.autoplace()


@_main_only
def zoomToFitSelected() -> None:
    """Nothing to zoom."""


# -- callbacks
for _kind in _events.KINDS:
    globals()[f"add{_kind}"] = _main_only(
        (
            lambda kind: (
                lambda call, args=(), kwargs=None, nodeClass="*", node=None: _events.add(
                    kind, call, args, kwargs, nodeClass, node
                )
            )
        )(_kind)
    )
    globals()[f"remove{_kind}"] = _main_only(
        (
            lambda kind: (
                lambda call, args=(), kwargs=None, nodeClass="*", node=None: _events.remove(
                    kind, call, args, kwargs, nodeClass, node
                )
            )
        )(_kind)
    )

if _S.root is None:
    _app.reset()
del annotations
