"""The artist's own affected region: on frames where a matte of it exists, it stands instead of the reasoner's.

Promises: it is part of the quadmask stage's key alone, so that drawing another keeps segment and reason; it is taken as
it is drawn, by the pixel; without one nothing changes, keys included. Must not: change what is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from void_client.job import AFFECTED_INPUT, FrameRef

from void_engine.interface import Mask
from void_engine.plates.clip import FileClip
from void_engine.segmentation.read_matte import read_matte

_HALF = 0.5  # the matte's value from which a pixel is affected


class DrawnAffected:
    """``locate``: a matte's digest → its file."""

    def __init__(self, refs: tuple[FrameRef, ...], clip: FileClip, locate: Callable[[str], Path]) -> None:
        self._refs, self._clip, self._locate = {ref.number: ref for ref in refs}, clip, locate
        self._white = False

    @property
    def key(self) -> list[Any]:
        """For a stage's inputs: empty where nothing is drawn."""
        refs = [[number, ref.sha256] for number, ref in self._refs.items()]
        return [[AFFECTED_INPUT, refs]] if refs else []

    @property
    def black(self) -> bool:
        """Whether all that was read is black: then nothing is affected, which is rarely meant."""
        return bool(self._refs) and not self._white

    def applied(self, position: int, regions: Mapping[str, Mask]) -> dict[str, Mask]:
        """`QuadmaskPolicy.regions` with "affected" for every "affected-0"…, where the artist drew it.

        Raises ``FrameError`` with input "affected".
        """
        ref = self._refs.get(self._clip.numbers[position])
        if ref is None:
            return dict(regions)
        display, canvas = self._clip.header(position).display_window, self._clip.canvas
        path = self._locate(ref.sha256)
        matte = read_matte(path, frame=ref.number, display=display, canvas=canvas, kind=AFFECTED_INPUT)
        inside = np.asarray(matte >= _HALF)
        self._white = self._white or bool(inside.any())
        kept = {name: mask for name, mask in regions.items() if not name.startswith("affected")}
        return {**kept, "affected": inside}


def warning(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """For the artist, from the quadmask stage's facts."""
    if not facts.get("affected_black"):
        return ()
    return (
        "The affected matte is black on every frame it has: nothing counts as affected there. Is it inverted, or in "
        "another channel than alpha and R?",
    )
