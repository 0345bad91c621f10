"""Menus and toolbars. There are none without a GUI."""

from __future__ import annotations

from typing import Any, Callable, Optional, Union

from . import create, events
from .errors import StandinError
from .guard import guarded
from .state import S

NAMES = ("Nuke", "Nodes", "Node Graph", "Viewer", "Properties", "Animation", "Axis", "Pane")


@guarded
class MenuItem:
    def __init__(self, name: str, script: Any = None, icon: str = "", shortcut: str = "", tooltip: str = "") -> None:
        self._name, self._script, self._icon = name.replace("&", ""), script, icon or ""
        self._shortcut, self._tooltip = shortcut or "", tooltip or ""
        self._enabled = self._visible = True
        if self._icon and create.find_plugin(self._icon) is None:
            S.printed.append(("missing icon", self._icon))

    def name(self) -> str:
        return self._name

    def icon(self) -> str:
        return self._icon

    def script(self) -> Any:
        return self._script

    def shortcut(self) -> str:
        return self._shortcut

    def setEnabled(self, enabled: bool, recursive: bool = False) -> None:
        self._enabled = enabled

    def setVisible(self, visible: bool) -> None:
        self._visible = visible

    def setIcon(self, icon: str) -> None:
        self._icon = icon

    def setScript(self, script: Any) -> None:
        self._script = script

    def setShortcut(self, shortcut: str) -> None:
        self._shortcut = shortcut

    def invoke(self) -> None:
        """What a click does: exceptions are shown."""
        if self._script is None:
            return
        try:
            if callable(self._script):
                self._script()
            else:
                import nuke

                import __main__

                __main__.__dict__.setdefault("nuke", nuke)
                exec(compile(self._script, f"<menu {self._name}>", "exec"), __main__.__dict__)
        except StandinError:
            raise
        except Exception as error:  # noqa: BLE001 - Nuke shows it
            S.swallowed.append((f"menu {self._name}", error))
            events.alert("error", f"{type(error).__name__}: {error}")


@guarded
class Menu(MenuItem):
    def __init__(self, name: str, icon: str = "", tooltip: str = "") -> None:
        MenuItem.__init__(self, name, None, icon, "", tooltip)
        self._items: list = []

    def _walk(self, path: str, make: bool) -> Any:
        here: Any = self
        for word in [w for w in path.split("/") if w]:
            found = next((i for i in here._items if i._name == word.replace("&", "")), None)
            if found is None and make:
                found = Menu(word)
                here._items.append(found)
            if found is None:
                return None
            here = found
        return here

    def _place(self, item: Any, folder: Any, index: int) -> Any:
        folder._items = [i for i in folder._items if i._name != item._name or i._name == ""]
        folder._items.insert(len(folder._items) if index < 0 else index, item)
        return item

    def addCommand(
        self,
        name: str,
        command: Union[str, Callable, None] = None,
        shortcut: Optional[str] = None,
        icon: Optional[str] = None,
        tooltip: Optional[str] = None,
        index: int = -1,
        readonly: bool = False,
        shortcutContext: int = 0,
    ) -> MenuItem:
        if command is not None and not callable(command) and not isinstance(command, str):
            raise TypeError("a menu's command is a string or a callable")
        folder, _, last = name.rpartition("/")
        item = MenuItem(last, command, icon or "", shortcut or "", tooltip or "")
        found: MenuItem = self._place(item, self._walk(folder, True), index)
        return found

    def addMenu(self, name: str, icon: Optional[str] = None, tooltip: Optional[str] = None, index: int = -1) -> Any:
        found = self._walk(name, False)
        if isinstance(found, Menu):
            return found
        folder, _, last = name.rpartition("/")
        return self._place(Menu(last, icon or "", tooltip or ""), self._walk(folder, True), index)

    def addSeparator(self, index: int = -1) -> MenuItem:
        item = MenuItem("")
        self._items.insert(len(self._items) if index < 0 else index, item)
        return item

    def addAction(self, action: Any) -> bool:
        self._items.append(action)
        return True

    def findItem(self, name: str) -> Any:
        return self._walk(name, False)

    def menu(self, name: str) -> Any:
        found = self._walk(name, False)
        return found if isinstance(found, Menu) else None

    def items(self) -> list:
        return list(self._items)

    def removeItem(self, name: str) -> None:
        folder, _, last = name.rpartition("/")
        holder = self._walk(folder, False)
        holder._items = [i for i in holder._items if i._name != last]

    def clearMenu(self) -> None:
        self._items.clear()

    def updateMenuItems(self) -> None:
        pass


def menu(name: str) -> Any:
    """`nuke.menu("Nuke")`; None without a GUI, and for a name that is none."""
    if not S.gui or name not in NAMES:
        return None
    return S.menus.setdefault(name, Menu(name))


def toolbar(name: str, create: bool = True) -> Any:
    """`nuke.toolbar("Nodes")`"""
    if not S.gui:
        return None
    return S.menus.setdefault(name, Menu(name))


class Dock:
    """A pane of the window, into which panels go."""

    def __init__(self, name: str) -> None:
        self._name = name


def get_pane_for(name: str) -> Any:
    """`nuke.getPaneFor`: the pane of a panel; None while it is in none."""
    if not S.gui:
        raise RuntimeError("Invalid function call in non-gui mode: nuke.getPaneFor")
    if name.startswith(("Properties", "DAG", "Viewer")):
        return Dock(name)
    return Dock(name) if S.panels.get(name, {}).get("shown") else None


def add_favorite_dir(
    name: str,
    directory: str,
    type: Any = 0,
    icon: Optional[str] = None,
    tooltip: Optional[str] = None,
    key: Optional[str] = None,
) -> None:
    """`nuke.addFavoriteDir`: a folder in the file browser."""
    if not S.gui:
        raise RuntimeError("Invalid function call in non-gui mode: nuke.addFavoriteDir")
    S.favourites[name] = directory


def remove_favorite_dir(name: str, type: Any = 0) -> None:
    S.favourites.pop(name, None)
