"""Where failures end: a click's, and those of what the node hears by itself. Main thread.

Promises: whatever went wrong, the artist reads it and the node does not wait for ever. Without the interface a click's
failure is raised.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import nuke
from void_client.errors import VoidError

from .messages import explain, failure
from .node import VoidNode, quiet

log = logging.getLogger(__name__)


@contextmanager
def told(void: VoidNode, keep_state: bool = False) -> Iterator[None]:
    """The boundary of a click: a failure is shown once, in a dialog and in the node. ``keep_state``: what is being done
    does not concern the result."""
    try:
        with _indie_told():
            yield
    except Exception as error:  # the boundary of a click: whatever it is, the artist reads it
        _logged(void, error)
        said = explain(error)
        if not keep_state:
            with quiet():
                void.show(said.as_state(void.state.job_id, void.solved.shown))
        if not nuke.GUI:
            raise
        nuke.message(f"VOID: {said}")


@contextmanager
def heard(void: VoidNode, ends: bool = False) -> Iterator[None]:
    """The boundary of onCreate, knobChanged and reports: nobody pressed anything, so that there is no dialog.
    ``ends``: nothing is under way after this."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a callback's boundary: the script goes on, the node says it
        _logged(void, error)
        if ends or not void.state.under_way:
            void.show(explain(error).as_state(void.state.job_id, void.solved.shown))


def _logged(void: VoidNode, error: Exception) -> None:
    """A fault of the plugin goes to the log whole; what an artist can mend does not."""
    if not isinstance(error, VoidError):
        log.exception("VOID: %s", void.name)


@contextmanager
def _indie_told() -> Iterator[None]:
    """Nuke Indie refuses Python in any script of more than ten nodes, and a VOID node alone has more inside."""
    try:
        yield
    except RuntimeError as problem:
        if "Indie" not in str(problem):
            raise
        raise failure("indie") from problem
