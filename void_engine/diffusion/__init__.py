"""The VOID model: frames and quadmask → frames without the object, on stock `diffusers` classes.

`VoidPipeline` and its companions are imported when they are asked for: torch and diffusers take seconds to load, and
whoever wants the engine's name or options must not pay for them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from void_engine.diffusion.pipeline import VoidPipeline, VoidResult
    from void_engine.diffusion.progress import Progress
    from void_engine.diffusion.resume import Resume
    from void_engine.diffusion.speed import Speed

__all__ = ["Progress", "Resume", "Speed", "VoidPipeline", "VoidResult"]

_HOMES = {
    "VoidPipeline": "pipeline",
    "VoidResult": "pipeline",
    "Progress": "progress",
    "Resume": "resume",
    "Speed": "speed",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
