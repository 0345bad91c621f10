"""The ``void`` engine's options: what a job may say, its defaults and its limits. No torch here.

How the model is held and run (memory, attention kernel, compiling) is the server's: `void_engine.interface.Host`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from void_client.errors import JobError

from void_engine import options
from void_engine.diffusion import geometry

AREA: Final = 384 * 672  # pixels that VOID learned with
_DRAFT_STEPS: Final = 8
PROFILES: Final = ("final", "draft")


@dataclass(frozen=True)
class Options:
    """What a job may set for the ``void`` engine.

    ``profile``: final, or draft: pass 1 only, 8 steps, half the size. ``passes``: 2 repeats the work from noise that
    follows pass 1's motion, for steadier long shots. ``steps``, ``guidance`` and ``steps_2``, ``guidance_2``: denoising
    steps and guidance scale (1 is off) of each pass. ``negative_prompt``: what guidance steers away from.
    ``height``, ``width``: the model's size in pixels, multiples of 16; 0 takes the area of 384 x 672 at the plate's
    aspect. ``crop``: work on crops around what must change, which keep their pixels; else on the whole picture.
    ``area``: how many times its area a crop that would be squeezed may take instead; 0 is as many as the device's
    memory allows, up to 4 (`void_engine.diffusion.room`), and 1 for a draft. ``window_frames``, ``overlap_frames``:
    windows of longer clips. ``first_block_cache``: 0 is off; steps whose first block changed less than this are not
    computed anew: faster, a little different. ``batch_windows``: windows that go through the model together, where
    memory allows. ``detail``: take pixels from other frames where those show what was generated. ``grain``: its
    strength on generated pixels, 1 is the plate's own.
    """

    profile: str = "final"
    passes: int = 1
    steps: int = 30
    guidance: float = 1.0
    steps_2: int = 50
    guidance_2: float = 6.0
    negative_prompt: str = ""
    height: int = 0
    width: int = 0
    crop: bool = True
    area: float = 0.0
    window_frames: int = 85
    overlap_frames: int = 16
    first_block_cache: float = 0.0
    batch_windows: int = 1
    detail: bool = True
    grain: float = 1.0

    @property
    def copies(self) -> int:
        """Windows that go through the model together, at most."""
        guided = self.guidance > 1.0 or (self.passes == 2 and self.guidance_2 > 1.0)
        return self.batch_windows * (2 if guided else 1)

    def enlarged(self, model: tuple[int, int], squeezed: float) -> tuple[int, int]:
        """The model's size for a crop that is ``squeezed`` times its length: larger, as far as ``area`` lets it."""
        scale = min(math.sqrt(max(1.0, self.area)), squeezed)
        if scale <= 1.0 or self.height:
            return model
        return _stepped(model[0] * scale), _stepped(model[1] * scale)

    def size_for(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that the model works at, for a plate of this size."""
        if self.height and self.width:
            return self.height, self.width
        scale = math.sqrt(AREA / (height * width)) * (0.5 if self.profile == "draft" else 1.0)
        return _stepped(height * scale), _stepped(width * scale)


_LIMITS: options.Limits = {
    "profile": PROFILES,
    "passes": (1, 2),
    "steps": (1, 200),
    "guidance": (1.0, 20.0),
    "steps_2": (1, 200),
    "guidance_2": (1.0, 20.0),
    "height": (0, 4096),
    "width": (0, 4096),
    "area": (0.0, 16.0),
    "window_frames": (5, 1005),
    "overlap_frames": (4, 1000),
    "first_block_cache": (0.0, 1.0),
    "batch_windows": (1, 64),
    "grain": (0.0, 4.0),
}


def read_options(given: Mapping[str, Any]) -> Options:
    """The options with defaults filled in; raises `JobError` naming an unknown key or a bad value.

    A draft's steps and passes are put in here, so that the manifest tells what was done.
    """
    read = options.read(Options, given, _LIMITS, "void")
    if read.profile == "draft":
        draft = {"passes": 1, "steps": min(_DRAFT_STEPS, read.steps)}
        read = Options(**{**asdict(read), **draft})
    if bool(read.height) != bool(read.width):
        raise JobError(
            "The void options 'height' and 'width' go together.",
            hint="Set both, or leave both out for the plate's aspect.",
            details={"key": "height" if read.width else "width"},
        )
    if read.height:
        geometry.check_size(read.height, read.width)
    if 0.0 < read.area < 1.0:
        raise JobError(
            f"The void option 'area' must be 0 (by the device's memory) or from 1 to 16, not {read.area:g}.",
            hint="Correct it in the shot's engine options, or leave it out for the default.",
            details={"key": "area"},
        )
    geometry.check_windows(read.window_frames, read.overlap_frames)
    geometry.check_overlap(read.window_frames, read.overlap_frames)
    return read


def _stepped(length: float) -> int:
    return max(2, round(length / geometry.SIZE_STEP)) * geometry.SIZE_STEP
