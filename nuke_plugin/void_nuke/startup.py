"""What init.py and menu.py do once Python can read them: packages, menu, toolbar, favourites, callbacks.

Promises: a few milliseconds; imports nothing that needs a package until an artist asks for something; each part that
fails leaves the others alone; twice is once. Called by init.py and menu.py only.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable
from typing import Any, Optional

from void_client import __version__, vendor

MENU = "VOID"
FAVOURITE = "VOID results"
QUEUE, QUEUE_ID = "VOID Queue", "uk.void.queue"
QUEUE_WIDGET = "__import__('void_nuke.queue_panel', fromlist=['QueuePanel']).QueuePanel"
"""Nuke evaluates it in ``__main__`` when the panel opens: only then is Qt imported."""

_plugin = ""
_problem = ""
_in_menu = False
_registered = False
_favourites: set[str] = set()


def init(plugin: str) -> list[str]:
    """For every kind of Nuke session. ``plugin``: the folder that Nuke sees. Returns lines for the terminal."""
    global _plugin, _problem
    if _plugin:
        return []
    _plugin, _problem = plugin, vendor.activate(plugin)
    return [f"VOID: {_problem}"] if _problem else []


def menu() -> None:
    """For the GUI: the menu, the toolbar and the callbacks of the session."""
    global _in_menu
    if _in_menu:
        return
    _in_menu = True
    import nuke

    icon = _icon()
    top = nuke.menu("Nuke").addMenu(MENU, icon=icon)
    if _problem:
        top.addCommand("VOID cannot solve: why?", why)
    top.addCommand("Create a VOID node", create_node, icon=icon)
    top.addCommand("Queue", show_queue)
    top.addCommand("Submit all VOID nodes to the farm", submit_all)
    top.addSeparator()
    top.addCommand("Test the server", test_server)
    top.addCommand("Settings in use", show_settings)
    top.addCommand("Help", show_help)
    _offer_queue()
    nuke.menu("Nodes").addMenu(MENU, icon=icon).addCommand("VOID", create_node, icon=icon)
    if os.environ.get("VOID_NUKE_RESULTS"):
        favourite(os.path.expandvars(os.environ["VOID_NUKE_RESULTS"]))
    _register()


def favourite(folder: Optional[str]) -> None:
    """The folder of results as a favourite of the file browser, once it is known."""
    if not folder or folder in _favourites or not os.path.isdir(folder):
        return
    import nuke

    nuke.addFavoriteDir(FAVOURITE, folder.replace("\\", "/"), tooltip="What VOID nodes made")
    _favourites.add(folder)


def _offer_queue() -> None:
    """Nuke knows the queue by its id from the start, so that a saved workspace brings it back."""
    try:
        from nukescripts import panels

        panels.registerWidgetAsPanel(QUEUE_WIDGET, QUEUE, QUEUE_ID)
    except Exception as problem:  # noqa: BLE001 - the menu goes on without it
        import nuke

        nuke.tprint(f"VOID has no queue panel ({type(problem).__name__}, {problem}).")


# --- what the menu's entries do


def create_node() -> None:
    """On the selected node, as any entry of the Nodes menu."""
    import nuke

    nuke.createNode("VOID")


def why() -> None:
    import nuke

    nuke.message(_problem)


def show_queue() -> None:
    _guarded(lambda: _part("queue_panel").show())


def submit_all() -> None:
    _guarded(lambda: _part("actions").submit_all())


def _part(name: str) -> Any:
    """A part of the plugin that is loaded when it is asked for."""
    return importlib.import_module(f"void_nuke.{name}")


def test_server() -> None:
    """Does the first server of the settings answer, and does it know this artist's key."""

    def test() -> None:
        import nuke
        from void_client import studio

        from . import server_test

        settings = studio.load_plugin_settings(os.environ)
        connection = studio.client_settings(settings, os.environ)

        def ask() -> None:
            nuke.executeInMainThread(nuke.message, args=(server_test.ask(connection),))

        threading.Thread(target=ask, name="void test", daemon=True).start()

    _guarded(test)


def show_settings() -> None:
    def show() -> None:
        import nuke
        from void_client import studio

        settings = studio.load_plugin_settings(os.environ)
        favourite(settings.results)
        files = [str(path) for path in studio.settings_files(os.environ)] or ["none: the defaults hold"]
        connection = studio.client_settings(settings, os.environ)
        lines = [f"VOID {__version__} in {_plugin or vendor.plugin_folder()}", ""]
        lines += ["Settings files, the last counts most:", *(f"  {name}" for name in files), ""]
        lines += [f"Server: {connection.endpoint}", f"Results: {settings.results or 'void/ in the project'}"]
        nuke.message("\n".join(lines))

    _guarded(show)


def show_help() -> None:
    import nuke

    nuke.message(
        f"VOID {__version__}\n\n"
        "1. Connect a VOID node to the plate.\n"
        "2. Say what must go: put the point on it and press '+ object', draw a box, "
        "or connect a matte to input 1.\n"
        "3. Write in 'prompt' what the scene looks like without it.\n"
        "4. Press 'Solve'. Look at the quadmask when it comes, then press 'Approve'.\n\n"
        "Every knob has a tooltip. The manual is docs/artist.md of VOID for Nuke."
    )


def _guarded(action: Callable[[], None]) -> None:
    """Run an entry of the menu; what an artist can do something about comes as one message."""
    import nuke
    from void_client.errors import VoidError

    try:
        vendor.require(_plugin or None)
        action()
    except VoidError as error:
        nuke.message(str(error))
    except ImportError as problem:
        nuke.message(f"This part of VOID is not installed: {problem}. Your TD can run `void nuke check`.")


def _register() -> None:
    """The session's callbacks need the packages: they wait for the first VOID node, made, pasted or loaded."""
    import nuke

    nuke.addOnCreate(_group_created, nodeClass="Group")


def _group_created() -> None:
    global _registered
    import nuke

    if _registered or nuke.thisNode().knob("void_node") is None:
        return
    _registered = True
    try:
        from void_nuke import callbacks

        callbacks.register()
        from void_client import studio

        favourite(studio.load_plugin_settings(os.environ).results)
    except Exception as problem:  # noqa: BLE001 - the node and its script go on
        nuke.tprint(f"VOID does not follow this session ({type(problem).__name__}, {problem}).")


def _icon() -> str:
    path = os.path.join(_plugin or vendor.plugin_folder(), "icons", "VOID.png")
    return path.replace("\\", "/") if os.path.isfile(path) else ""
