"""What tests use beside `nuke` itself: starting, pumping the main thread, being the artist, reading what was shown."""

from __future__ import annotations

from typing import Any

from .errors import OffMainThread, StandinError, Violation, WouldHang
from .state import S

__all__ = [
    "OffMainThread",
    "StandinError",
    "Violation",
    "WouldHang",
    "answer",
    "cancel_progress",
    "dialogs",
    "favourites",
    "idle",
    "missing_icons",
    "opened",
    "press",
    "printed",
    "progress",
    "pump",
    "rendered",
    "reset",
    "set_roto",
    "shown_texts",
    "start",
    "swallowed",
    "violations",
]


def reset(**options: Any) -> None:
    """A Nuke just started: gui=True, indie=False, version=(16, 0, 3), plugin_path=(), knob_changed="always"."""
    from . import app

    app.reset(**options)


def start(*folders: Any) -> None:
    """Run the start-up of these folders of NUKE_PATH: init.py everywhere, menu.py in the GUI."""
    from . import app

    app.start(folders)


def pump(until: Any = None, timeout: float = 20.0) -> None:
    """Be Nuke's event loop until `until()` is true (without it: once). TimeoutError after `timeout` seconds."""
    from . import threads

    threads.pump(until, timeout)


def idle() -> None:
    """What Nuke does between events: updateUI."""
    from . import app

    app.idle()


def press(knob: Any) -> None:
    """The artist clicks a button. Exceptions become a dialog, as in Nuke."""
    from . import events

    events.press(knob)


def answer(*answers: Any) -> None:
    """What the artist will answer to ask, getInput, getFilename and choice, in this order."""
    S.answers.extend(answers)


def dialogs() -> list:
    """Every window that Nuke showed: objects with kind, text and answer."""
    return list(S.dialogs)


def shown_texts() -> list:
    """The texts of those windows."""
    return [d.text for d in S.dialogs]


def progress() -> list:
    """Every ProgressTask so far: title, percent, message, messages, open, cancelled."""
    return list(S.progress)


def cancel_progress(title: str = "") -> int:
    """The artist clicks Cancel on the open bars whose title contains this; how many those were."""
    found = [r for r in S.progress if r.open and title in r.title]
    for record in found:
        record.cancelled = True
    return len(found)


def swallowed() -> list:
    """(where, exception) of everything that Nuke would only have printed."""
    return list(S.swallowed)


def violations() -> list:
    """Breaches of the thread rules, also those whose exception somebody caught."""
    return list(S.violations)


def printed() -> list:
    """(kind, text) of error, warning, debug and tprint."""
    return list(S.printed)


def missing_icons() -> list:
    """Icons of menus that are nowhere on the plugin path."""
    return [text for kind, text in S.printed if kind == "missing icon"]


def opened() -> list:
    """URLs and files that were opened with the system's program."""
    return [text for kind, text in S.printed if kind == "start"]


def rendered() -> list:
    """(Write, frame, view, path) of every frame that was written."""
    return list(S.rendered)


def favourites() -> dict:
    """The file browser's favourites: name to folder."""
    return dict(S.favourites)


def set_roto(node: Any, box: Any) -> None:
    """A Roto's shape: a box (x, y, r, t) from the lower left, or a function of the frame that gives one."""
    node._roto_box = box
