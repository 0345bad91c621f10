"""The engine's options: what a job may say, its defaults and its limits.

Promises that an unknown key or a value out of range is refused by name. Must not look at pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from void_engine import options


@dataclass(frozen=True)
class Options:
    """What a job may set for the ``cleanplate`` engine.

    ``search_frames``: how many other frames are searched for the background of one frame (0 to 200;
    0 takes nothing from other frames). ``margin``: pixels of the tracking proxy (its long side is at
    most 960) around a source's own quadmask that are not trusted. ``patch_size``: PatchMatch's patch
    radius in pixels. ``fill_size``: long side in pixels of the picture that PatchMatch works on.
    ``match_levels``: 0 lays the background in as it is, 1 corrects its level at the seam fully.
    ``grain``: strength of the grain on synthesised pixels, 1 is the plate's own. ``affected``: "remove" replaces what
    the quadmask marks as affected (127), "keep" leaves it; "auto" does as the analysis says: shadows and reflections
    go, physical things stay, because this engine invents no motion. Without an analysis all goes.
    """

    search_frames: int = 32
    margin: int = 5
    patch_size: int = 5
    fill_size: int = 672
    match_levels: float = 1.0
    grain: float = 1.0
    affected: str = "auto"


_LIMITS: options.Limits = {
    "search_frames": (0, 200),
    "margin": (1, 32),
    "patch_size": (2, 15),
    "fill_size": (64, 2048),
    "match_levels": (0.0, 1.0),
    "grain": (0.0, 4.0),
    "affected": ("auto", "remove", "keep"),
}


def read_options(given: Mapping[str, Any]) -> Options:
    """The options with defaults filled in; raises `JobError` naming an unknown key or a bad value."""
    return options.read(Options, given, _LIMITS, "cleanplate")


def options_dict(read: Options) -> dict[str, Any]:
    """The options as a plain map, for the job's hash and the manifest."""
    return asdict(read)
