"""What the model is shown: frames and quadmask at its size, padded in time.

Promises: frames are taken one by one as they are needed and are never changed; what cannot be used is refused by
its position. Values: video (3, H, W) in [0, 1]; mask (H, W) in [0, 1], where 1 is to be removed, 192/255 overlap,
128/255 affected, 0 kept. Must not know windows or latents.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from void_client.errors import JobError

from void_engine.diffusion.geometry import mirrored
from void_engine.interface import AFFECTED, KEEP, OVERLAP, REMOVE, Quadmask
from void_engine.quadmask import quantise, resized

Mode = Literal["production", "upstream"]
_UPSTREAM_EDGES = torch.tensor([31.0, 95.0, 191.0])
_LEVELS = torch.tensor([REMOVE, OVERLAP, AFFECTED, KEEP], dtype=torch.float32)
_MIDDLE = 127.0 / 255.0


class Frames(Protocol):
    """Frames by position: an array (T, H, W, …), or anything that gives one frame at a time."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int, /) -> npt.NDArray[Any]: ...


@dataclass(frozen=True)
class ModelClip:
    """The shot at the model's size. ``frames`` are the shot's own, ``padded`` what the model sees of them."""

    video: Frames
    quadmask: Frames
    height: int
    width: int
    frames: int
    padded: int
    pass_number: int
    mode: Mode

    def rgb(self, index: int) -> torch.Tensor:
        """(3, H, W) in [0, 1], at ``index`` of the padded clip. Raises ``JobError``."""
        position = mirrored(index, self.frames)
        frame = torch.from_numpy(_video_frame(self.video[position], position)).permute(2, 0, 1)
        size = (self.height, self.width)
        smaller = self.height <= frame.shape[1] and self.width <= frame.shape[2]
        if smaller or self.mode == "upstream":
            return F.interpolate(frame[None], size, mode="area")[0]
        return F.interpolate(frame[None], size, mode="bicubic", antialias=True)[0].clamp(0.0, 1.0)

    def mask(self, index: int) -> torch.Tensor:
        """(H, W) in [0, 1], in four levels, at ``index`` of the padded clip. Raises ``JobError``."""
        position = mirrored(index, self.frames)
        frame = _mask_frame(self.quadmask[position], position)
        size = (self.height, self.width)
        levels = _area_levels(frame, size) if self.mode == "upstream" else _region_levels(frame, size)
        return (255.0 - levels) / 255.0

    def condition(self, mask: torch.Tensor) -> torch.Tensor:
        """The levels that the model learned: remove and overlap 1, affected 127/255, keep 0.

        Upstream's pass 2 cuts at one half instead, so that affected becomes remove.
        """
        if self.mode == "upstream" and self.pass_number == 2:
            return (mask > 0.5).to(torch.float32)
        middle = torch.where(mask >= 0.25, _MIDDLE, 0.0)
        return torch.where(mask > 0.75, 1.0, middle)

    def digest(self) -> str:
        """SHA-256 of all pixels and of how they are prepared."""
        total = hashlib.sha256(repr((self.height, self.width, self.padded, self.pass_number, self.mode)).encode())
        for position in range(self.frames):
            for frame in (np.ascontiguousarray(self.video[position]), np.ascontiguousarray(self.quadmask[position])):
                total.update(f"{frame.shape} {frame.dtype}".encode())
                total.update(frame.data)
        return total.hexdigest()


def check_clip(video: Frames, quadmask: Frames) -> None:
    """Raises ``JobError`` where the two cannot be of one shot. Pixels are judged as they are read."""
    if len(video) == 0:
        raise JobError("The clip has no frames.", details={"key": "video"})
    if len(video) != len(quadmask):
        raise JobError(
            f"The clip has {len(video)} frames and its quadmask {len(quadmask)}.",
            hint="Give the quadmask of every frame; 255 keeps all.",
            details={"key": "quadmask"},
        )
    plate, matte = np.shape(video[0]), np.shape(quadmask[0])
    if plate[:2] != matte[:2]:
        raise JobError(
            f"A frame is {_size(plate)} and its quadmask {_size(matte)}.",
            hint="The quadmask must have the plate's size.",
            details={"key": "quadmask"},
        )


def check_motion(motion: Frames, frames: int) -> None:
    """Raises ``JobError`` where ``motion`` is not of this clip."""
    if len(motion) != frames:
        raise JobError(
            f"Pass 1 gave {len(motion)} frames, and the clip has {frames}.",
            hint="Pass 2 follows the motion of pass 1's frames of the same clip.",
            details={"key": "motion"},
        )


def sized(frame: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[np.uint8]:
    """A frame (H, W, 3), uint8 or [0, 1], as uint8 at this size, for optical flow."""
    if frame.dtype != np.uint8:
        frame = (frame.clip(0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    if frame.shape[:2] != (height, width):
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return frame


def _video_frame(frame: npt.NDArray[Any], position: int) -> npt.NDArray[np.float32]:
    if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise _bad("video", position, f"has the shape {frame.shape}", "Frames are (height, width, 3).")
    if frame.dtype == np.uint8:
        return frame.astype(np.float32) / np.float32(255.0)
    if frame.dtype.kind != "f":
        raise _bad("video", position, f"holds {frame.dtype}", "Frames are uint8, or floats from 0 to 1.")
    values: npt.NDArray[np.float32] = np.ascontiguousarray(frame, dtype=np.float32)
    if not np.isfinite(values).all() or values.min() < 0.0 or values.max() > 1.0:
        raise _bad(
            "video",
            position,
            "has values that are not finite or not from 0 to 1",
            "The model works on display-referred pictures: bring scene-linear light into 0 to 1 first.",
        )
    return values.copy() if not values.flags.writeable else values


def _mask_frame(frame: npt.NDArray[Any], position: int) -> Quadmask:
    if frame.ndim != 2 or frame.dtype != np.uint8 or 0 in frame.shape:
        raise _bad(
            "quadmask",
            position,
            f"is {frame.dtype} of shape {frame.shape}",
            "Quadmasks are uint8 (height, width): 0 remove, 63 overlap, 127 affected, 255 keep.",
        )
    return frame


def _bad(what: str, position: int, fault: str, hint: str) -> JobError:
    return JobError(
        f"The {what}'s frame at position {position} {fault}.", hint=hint, details={"key": what, "position": position}
    )


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape[:2])


def _area_levels(mask: Quadmask, size: tuple[int, int]) -> torch.Tensor:
    """Upstream's: averages are cut at 31, 95 and 191, so that an edge from 0 to 255 grows rings of 63 and 127."""
    mean = F.interpolate(torch.from_numpy(mask.astype(np.float32))[None, None], size, mode="area")[0, 0]
    return _LEVELS[torch.bucketize(mean, _UPSTREAM_EDGES)]


def _region_levels(mask: Quadmask, size: tuple[int, int]) -> torch.Tensor:
    return torch.from_numpy(resized(quantise(mask), size).astype(np.float32))
