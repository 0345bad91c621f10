"""One run's settings, checked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from void_client.errors import JobError

from void_engine.diffusion import geometry
from void_engine.diffusion.frames import Mode


@dataclass(frozen=True)
class Request:
    """See ``VoidPipeline.__call__`` for each. Raises ``JobError`` naming what cannot be."""

    prompt: str
    negative_prompt: str = ""
    height: int = 384
    width: int = 672
    steps: int = 30
    guidance: float = 1.0
    pass_number: int = 1
    mode: Mode = "production"
    window_frames: int = 85
    overlap_frames: int = 16
    max_frames: int | None = None
    seed: int = 42

    def __post_init__(self) -> None:
        geometry.check_size(self.height, self.width)
        geometry.check_windows(self.window_frames, self.overlap_frames)
        self._check("num_inference_steps", 1 <= self.steps <= 1000, self.steps, "1 to 1000")
        self._check("guidance_scale", 1.0 <= self.guidance <= 50.0, self.guidance, "1 (off) to 50")
        self._check("pass_number", self.pass_number in (1, 2), self.pass_number, "1 or 2")
        self._check("mode", self.mode in ("production", "upstream"), self.mode, "production or upstream")
        self._check("seed", 0 <= self.seed < 2**63, self.seed, "0 to 2^63 - 1")
        self._check("max_frames", self.max_frames is None or self.max_frames >= 1, self.max_frames, "1 or more")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def shot_length(self, frames: int) -> tuple[int, int]:
        """How many of ``frames`` frames are used, and how many the model sees. Raises ``JobError``.

        Upstream drops what is over 197 frames; production uses all, or refuses.
        """
        if self.mode == "upstream":
            most = self.max_frames or geometry.UPSTREAM_MAX_FRAMES
            padded = geometry.padded_length(min(frames, most), self.window_frames, most)
            if padded % 8 != 5:
                raise JobError(
                    f"Upstream mode cannot cut a clip to {padded} frames.",
                    hint="max_frames must be 8k + 5, as 197 is.",
                    details={"key": "max_frames"},
                )
            return min(frames, padded), padded
        if self.max_frames is not None and frames > self.max_frames:
            raise JobError(
                f"The clip has {frames} frames, and at most {self.max_frames} are allowed.",
                hint="Raise max_frames, or leave it out.",
                details={"key": "max_frames"},
            )
        return frames, geometry.padded_length(frames, self.window_frames)

    def windows(self, latents: int) -> tuple[geometry.Window, ...]:
        window = geometry.latent_frames(self.window_frames)
        overlap = self.overlap_frames // geometry.TEMPORAL
        if latents > window:
            geometry.check_overlap(self.window_frames, self.overlap_frames)
        if self.mode == "production":
            return geometry.even_windows(latents, window, overlap)
        windows = geometry.upstream_windows(latents, window, overlap)
        if windows[-1].length % geometry.PATCH:
            raise JobError(
                f"Upstream's windows would end in an odd number of latents ({windows[-1].length}).",
                hint="In upstream mode overlap_frames must be a multiple of 8, as 16 is.",
                details={"key": "overlap_frames"},
            )
        return windows

    def _check(self, key: str, good: bool, value: object, allowed: str) -> None:
        if not good:
            raise JobError(f"{key} is {value!r}; it must be {allowed}.", details={"key": key})
