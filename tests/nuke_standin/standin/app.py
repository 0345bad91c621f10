"""The program: start, scripts, the current frame, looking nodes up, copy and paste."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any, Optional

from . import create, events, formats, layers, undo
from .errors import StandinError
from .group import Root, check_indie, walk
from .node import Node
from .state import S, State


def reset(
    gui: bool = True,
    indie: bool = False,
    version: tuple = (16, 0, 3),
    plugin_path: Any = (),
    knob_changed: str = "",
) -> None:
    """A Nuke that was just started, with an empty script. The calling thread is its main thread."""
    knob_changed = knob_changed or os.environ.get("FAKE_NUKE_KNOB_CHANGED", "always")
    if knob_changed not in ("always", "open panel"):
        raise ValueError(f"knob_changed is always or open panel, not {knob_changed!r}")
    fresh = State(gui=gui, indie=indie, version=version, knob_changed=knob_changed, main_thread=threading.get_ident())
    S.__dict__.clear()
    S.__dict__.update(fresh.__dict__)
    S.plugin_path = [str(p) for p in plugin_path]
    formats.reset()
    empty_script()
    S.undo = undo.History()
    S.modified = False
    _constants()


def _constants() -> None:
    import nuke

    major, minor, release = S.version
    nuke.GUI, nuke.INTERACTIVE = S.gui, S.gui
    nuke.NUKE_VERSION_MAJOR, nuke.NUKE_VERSION_MINOR, nuke.NUKE_VERSION_RELEASE = major, minor, release
    nuke.NUKE_VERSION_STRING = f"{major}.{minor}v{release}"
    nuke.rawArgs = list(S.raw_args)
    nuke.env.clear()
    nuke.env.update(
        {
            "gui": S.gui,
            "interactive": S.gui,
            "indie": S.indie,
            "nc": False,
            "studio": False,
            "nukex": False,
            "ple": False,
            "NukeVersionMajor": major,
            "NukeVersionMinor": minor,
            "NukeVersionRelease": release,
            "NukeVersionString": nuke.NUKE_VERSION_STRING,
            "ExecutablePath": nuke.EXE_PATH,
            "PluginExtension": "so",
            "WIN32": False,
            "MACOS": False,
            "LINUX": True,
            "threads": 1,
            "numCPUs": 1,
            "64bit": True,
            "assist": False,
        }
    )


def empty_script() -> None:
    """A new Root; nothing of the old script stays."""
    old, S.root = S.root, None
    S.group_stack, S.this_stack, S.updated = [], [], {}
    if old is not None:
        for node in walk(old):
            node._deleted = True
        old._deleted = True
    layers.reset()
    S.root = Root._make_root()
    S.frame, S.view = 1, "main"


# -- start
def start(folders: Any) -> None:
    """Run init.py of each folder, the last one first, then, in the GUI, menu.py: as Nuke does with NUKE_PATH."""
    for folder in folders:
        if str(folder) not in S.plugin_path:
            S.plugin_path.append(str(folder))
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    done: list = []
    while True:
        waiting = [f for f in S.plugin_path if f not in done]
        if not waiting:
            break
        done.append(waiting[-1])
        _run_file(os.path.join(waiting[-1], "init.py"))
    if S.gui:
        for folder in reversed(list(S.plugin_path)):
            _run_file(os.path.join(folder, "menu.py"))


def _run_file(path: str) -> None:
    """An error in init.py or menu.py stops a real Nuke's start: so it is raised."""
    if not os.path.isfile(path):
        return
    import nuke

    with open(path, encoding="utf-8") as file:
        code = compile(file.read(), path, "exec")
    exec(code, {"__name__": "__main__" if path.endswith("init.py") else "menu", "__file__": path, "nuke": nuke})


def plugin_add_path(path: Any, addToSysPath: bool = True) -> None:
    """`nuke.pluginAddPath`: in front; relative ones count from the file that calls."""
    for one in [path] if isinstance(path, (str, os.PathLike)) else path:
        _add_plugin_path(str(one), True, addToSysPath)


def plugin_append_path(path: Any, addToSysPath: bool = True) -> None:
    for one in [path] if isinstance(path, (str, os.PathLike)) else path:
        _add_plugin_path(str(one), False, addToSysPath)


def _add_plugin_path(path: str, front: bool, to_sys_path: bool) -> None:
    if not os.path.isabs(path):
        frame = sys._getframe()
        while frame is not None and os.path.dirname(frame.f_code.co_filename) == os.path.dirname(__file__):
            frame = frame.f_back  # type: ignore[assignment]
        path = os.path.normpath(os.path.join(os.path.dirname(frame.f_code.co_filename), path))
    if path in S.plugin_path:
        return
    S.plugin_path.insert(0 if front else len(S.plugin_path), path)
    if to_sys_path and path not in sys.path:
        sys.path.insert(0 if front else len(sys.path), path)


# -- looking up
def to_node(name: str) -> Any:
    """`nuke.toNode`: seen from the group at hand, then from the root."""
    if not isinstance(name, str):
        raise TypeError("toNode takes a string")
    if name in ("root", "Root"):
        return S.root
    if name == "preferences":
        raise StandinError('toNode("preferences")')
    check_indie()
    words = name[5:].split(".") if name.startswith("root.") else name.split(".")
    for start in (create.here(), S.root):
        here = start
        for word in words:
            here = next((c for c in here._children or () if c._name == word), None)
            if here is None:
                break
        if here is not None:
            return here
    return None


def all_nodes(filter: Optional[str] = None, group: Any = None, recurseGroups: bool = False) -> list:
    """`nuke.allNodes`: of the group at hand."""
    check_indie()
    if isinstance(filter, Node):
        raise TypeError("allNodes(filter, group)")
    holder = create.here() if group is None else group
    found = list(walk(holder)) if recurseGroups else list(reversed(holder._children))
    return [n for n in found if filter is None or n._class == filter]


def selected_nodes(filter: Optional[str] = None) -> list:
    return [n for n in all_nodes(filter) if n.isSelected()]


def selected_node() -> Any:
    found = selected_nodes()
    if not found:
        raise ValueError("no node selected")
    return found[0]


def this_node() -> Any:
    """`nuke.thisNode`: the node of the callback; outside of one, the group at hand."""
    return S.this_stack[-1][0] if S.this_stack else create.here()


def this_knob() -> Any:
    if not S.this_stack or S.this_stack[-1][1] is None:
        raise ValueError("no knob: thisKnob() is for knobChanged and buttons")
    return S.this_stack[-1][1]


def this_group() -> Any:
    return create.here()


def this_parent() -> Any:
    node = this_node()
    return node._parent if node is not None else None


def delete(node: Any) -> None:
    if node is not None:
        create.remove(node)


def exists(name: str) -> bool:
    from . import resolve

    return resolve.exists(create.here(), name)


# -- the frame at hand
def frame(number: Optional[float] = None) -> int:
    """`nuke.frame`: the current frame; with a number, go there."""
    if number is not None:
        set_frame(number)
    return int(S.frame)


def set_frame(number: float) -> None:
    S.frame = int(number)
    S.root._knobs["frame"]._parts = (float(int(number)),)


# -- idle
def idle() -> None:
    """What Nuke does between events: updateUI of every node where anything changed, be it the frame."""
    if not S.gui or not S.callbacks.get("UpdateUI"):
        if not any(n._knobs["updateUI"]._text for n in S.root._children):
            return
    nodes = [S.root, *list(walk(S.root))]
    now = {id(n): (tuple(k._state() for k in n._knobs.values()), tuple(id(i) for i in n._inputs)) for n in nodes}
    if S.updated == {0: S.frame, **now}:
        return
    S.updated = {0: S.frame, **now}
    for node in nodes:
        if not node._deleted:
            events.fire("UpdateUI", node)


# -- viewers
def connect_viewer(number: int, node: Any) -> None:
    """`nuke.connectViewer`: a Viewer is made when there is none."""
    if not S.gui:
        raise RuntimeError("Invalid function call in non-gui mode: nuke.connectViewer")
    viewer = next((c for c in create.here()._children if c._class == "Viewer"), None) or create.make(
        "Viewer", create.here()
    )
    viewer.setInput(number, node)
    viewer._active_input = number


class ViewerWindow:
    """`nuke.activeViewer()`"""

    def __init__(self, node: Any) -> None:
        self._node = node

    def node(self) -> Any:
        return self._node

    def activeInput(self, secondary: bool = False) -> Optional[int]:
        return getattr(self._node, "_active_input", None) if not secondary else None

    def activateInput(self, number: int, secondary: bool = False) -> None:
        self._node._active_input = number

    def view(self) -> str:
        return S.view

    def setView(self, view: str) -> None:
        S.view = view

    def frameControl(self, number: int) -> bool:
        set_frame(S.frame + number)
        return True


def active_viewer() -> Any:
    """None without a GUI or a Viewer."""
    if not S.gui:
        return None
    found = next((c for c in S.root._children if c._class == "Viewer"), None)
    return ViewerWindow(found) if found is not None else None
