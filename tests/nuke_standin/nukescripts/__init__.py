"""The part of `nukescripts` that the plugin may need."""

from __future__ import annotations

from standin.guard import main_only as _main_only
from standin.state import S as _S

from . import panels
from .panels import PythonPanel

__all__ = ["PythonPanel", "panels", "start"]


@_main_only
def start(url: str) -> None:
    """Open a URL or a file with the system's program: `standin.opened()` tells which."""
    _S.printed.append(("start", url))
