"""Movies as plates and quadmasks: unpacked into EXR sequences once, before the shot is resolved."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from void_client.job import ShotFile

from .child import in_a_child, require_pixels
from .output import Output

_MOVIES = (".mp4", ".mov", ".m4v", ".mkv", ".avi", ".mxf", ".webm")
_DISPLAY = "sRGB - Display"
"""What a movie's codes are taken for where the shot names no working space."""


def unpacked(shot: ShotFile, base: Path, output: Output) -> ShotFile:
    """The same shot with sequences in place of movies; frames count from 1.

    They lie under this user's cache folder by the movie's content, so that a movie is unpacked once. Raises what the
    child raises: ``FrameError``, ``EngineUnavailable``, ``DiskFull``.
    """
    for kind in ("plate", "quadmask"):
        said = getattr(shot, kind)
        if said is None or Path(said).suffix.lower() not in _MOVIES:
            continue
        require_pixels("A movie cannot be unpacked here")
        movie = base / Path(said).expanduser()
        told = in_a_child("unpack", {"movie": str(movie), "folder": str(_folder()), "kind": kind}, output)
        for note in told["notes"]:
            output.say(f"note: {note}", note=note)
        shot = replace(shot, **{kind: told["pattern"]})
        if kind == "plate" and not shot.colour_space:
            shot = replace(shot, colour_space=_DISPLAY)
            output.say(
                f"note: the movie is taken as {_DISPLAY}; --colour-space says otherwise", note="display-referred"
            )
    return shot


def _folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "void" / "movies"
