"""The part of `nukescripts` that the plugin may need."""

from __future__ import annotations

from . import panels
from .panels import PythonPanel

__all__ = ["PythonPanel", "panels"]
