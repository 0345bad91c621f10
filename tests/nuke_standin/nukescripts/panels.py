"""Panels: registering a Qt widget, and PythonPanel without a window."""

from __future__ import annotations

from typing import Any, Callable, Optional

from standin.guard import guarded, main_only
from standin.state import S


class _Registered:
    """What registerWidgetAsPanel gives back with create=True."""

    def __init__(self, name: str, identifier: str) -> None:
        self.name, self.id = name, identifier

    def addToPane(self, pane: Any = None) -> Any:
        """Opening it evaluates the widget's text in `__main__`: whatever that does not know is an error here."""
        import __main__

        text = "__import__('nukescripts').panels.WidgetKnob(" + S.panels[self.id]["widget"] + ")"
        S.panels[self.id]["knob"] = eval(text, __main__.__dict__)
        S.panels[self.id]["shown"] = True
        return self


class WidgetKnob:
    """What Nuke makes of the widget's text: `makeUI` makes the widget."""

    def __init__(self, widget: Callable[[], Any]) -> None:
        self.widgetClass = widget

    def makeUI(self) -> Any:
        self.widget = self.widgetClass()
        return self.widget


@main_only
def registerPanel(id: str, command: Callable[[], Any]) -> None:
    """A panel by its id, which layouts find it by."""
    S.panels[id] = {"name": id, "widget": command, "shown": False}


@main_only
def registerWidgetAsPanel(widget: str, name: str, id: str, create: bool = False) -> Optional[_Registered]:
    """A Qt widget, named by the Python text that finds it, as a panel that can be docked."""
    if not isinstance(widget, str):
        raise TypeError("the widget is named by a string, which is evaluated when the panel opens")
    S.panels[id] = {"name": name, "widget": widget, "shown": False}
    return _Registered(name, id) if create else None


@guarded
class PythonPanel:
    """A panel of knobs. showModalDialog gives the test's answer."""

    def __init__(self, title: str = "", id: str = "", scrollable: bool = True) -> None:
        self._title, self._id, self._knobs = title, id, {}

    def addKnob(self, knob: Any) -> Any:
        self._knobs[knob.name()] = knob
        return knob

    def knobs(self) -> dict:
        return dict(self._knobs)

    def setMinimumSize(self, width: int, height: int) -> None:
        pass

    def showModalDialog(self) -> bool:
        from standin import ui

        return bool(ui._answer("panel", self._title))
