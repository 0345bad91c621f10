"""What moves by itself, frame by frame: the measures that the ``motion`` reasoner decides on.

Promises: one small file per frame in the scratch folder, whole or absent; memory holds three frames. Camera motion is a
robust global model of what lies outside the object; what is left over is a thing's own motion. Must not decide.

All is in pixels of the proxy, (H, W) = (height, width) of `proxy_size`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from void_engine.cleanplate import pixels, scratch
from void_engine.cleanplate.motion import apply, measure_pair, movement
from void_engine.cleanplate.pixels import Mask, Matrix
from void_engine.cleanplate.proxies import Proxy
from void_engine.reasoning.interface import PRIMARY, ReasonRequest
from void_engine.segmentation.interface import Picture, Tick
from void_engine.segmentation.pictures import proxy_size

LONG_SIDE = 384
Flow = npt.NDArray[np.float32]  # (H, W, 2)

_CHANGE = 14.0  # of 255: a colour that differs by more from what camera motion explains has moved
_FAINT = 2.0  # of 255, over a few pixels: less is noise
_DRIFT = 0.45  # pixels a frame: slower is jitter
_FAST = 3.0  # pixels a frame
_FAR = 6  # frames
_TIE = 0.5  # of 255: plain colours fit any motion
_STILL = 0.3  # pixels: a camera that moves less stands
_TRACKABLE = 0.2  # of the frame's pixels must be outside the object for the camera to be measured at all
_BETTER = 0.8  # of the difference that a standing camera leaves: a model that leaves more is a thing's motion


@dataclass(frozen=True)
class Measure:
    """``camera`` maps this frame's pixels to the frame before's; ``flow`` is a thing's own motion since then."""

    rgb: Picture
    primary: Mask
    moving: Mask
    flow: Flow
    camera: Matrix


class Measures:
    """The measures of a clip by position, made on demand and kept in ``folder``."""

    def __init__(self, request: ReasonRequest) -> None:
        self.size = proxy_size(request.pictures.size, LONG_SIDE)
        self.count = len(request.numbers)
        self._request = request
        self._folder = request.scratch / "motion"
        self._held: dict[int, Measure] = {}
        self._primaries: dict[int, Mask] = {}
        self._steps: dict[int, Matrix] = {}

    def make(self, tick: Tick, steps: int) -> None:
        """``tick`` once a frame, of ``steps``. What is on disk already is not measured again."""
        for position in range(self.count):
            tick(position, steps, f"motion at frame {self._request.numbers[position]}")
            if not _path(self._folder, position).is_file():
                self._store(position)

    def get(self, position: int) -> Measure:
        if position not in self._held:
            while len(self._held) >= 3:
                self._held.pop(next(iter(self._held)))
            self._held[position] = self._load(position)
        return self._held[position]

    def rgb(self, position: int) -> Picture:
        return self._request.pictures.proxy(position, LONG_SIDE)

    def primary(self, position: int) -> Mask:
        if position not in self._primaries:
            while len(self._primaries) > 2 * _FAR + 2:
                self._primaries.pop(next(iter(self._primaries)))
            matte = self._request.mattes.read(PRIMARY, position)
            self._primaries[position] = np.asarray(pixels.resized(matte, (self.size[1], self.size[0])) > 0.5)
        return self._primaries[position]

    def _step(self, position: int) -> Matrix:
        """This frame's pixels to the frame before's."""
        if position not in self._steps:
            while len(self._steps) > 2 * _FAR + 2:
                self._steps.pop(next(iter(self._steps)))
            frames = (self.rgb(position), self.rgb(position - 1))
            self._steps[position] = _camera(*frames, self.primary(position), self.primary(position - 1))
        return self._steps[position]

    def _camera_to(self, position: int, other: int) -> Matrix:
        """Through the frames between."""
        matrix = np.eye(3)
        for between in range(max(position, other), min(position, other), -1):
            matrix = self._step(between) @ matrix
        return matrix if other <= position else np.asarray(np.linalg.inv(matrix), np.float64)

    def _load(self, position: int) -> Measure:
        stored = scratch.load_arrays(_path(self._folder, position))
        if stored is None:
            raise LookupError(f"position {position} has not been measured")
        masks = [np.unpackbits(stored[key], count=self.size[0] * self.size[1]) for key in ("primary", "moving")]
        primary, moving = (mask.reshape(self.size).astype(np.bool_) for mask in masks)
        flow = stored["flow"].astype(np.float32) / np.float32(64)
        return Measure(self.rgb(position), primary, moving, flow, stored["camera"])

    def _store(self, position: int) -> None:
        primary = self.primary(position)
        camera, flow = np.eye(3), np.zeros((*self.size, 2), np.float32)
        moving = np.zeros(self.size, np.bool_)
        if position > 0:
            before = self.primary(position - 1)
            camera = self._step(position)
            flow = own_flow(self.rgb(position), self.rgb(position - 1), camera)
            moving = changed(self.rgb(position), self.rgb(position - 1), camera)
            if position + 1 < self.count:
                moving = self._passing(position, 1) | self._passing(position, _FAR)
            # Dense flow is smooth: it moves what lies around a thing too, where no colour changes.
            colours = _faintlychanged(self.rgb(position), self.rgb(position - 1), camera)
            speed = np.linalg.norm(flow, axis=2)
            unit = max(self.size) / LONG_SIDE
            # What is fast leaves its colours where it was: only what differs from both neighbours counts then.
            here = (speed <= _FAST * unit) | (pixels.grown(moving, 3) if moving.any() else moving)
            was = warped(before.astype(np.uint8), camera) > 0
            uncovered = (pixels.grown(np.asarray(was), 2) if was.any() else was) & ~primary
            fits = _explained(self.rgb(position), self.rgb(position - 1), camera, flow, uncovered)
            moving |= (speed > _DRIFT * unit) & colours & here & fits
        arrays: dict[str, npt.NDArray[Any]] = {
            "primary": np.packbits(primary),
            "moving": np.packbits(moving),
            "flow": np.clip(np.rint(flow * 64), -32768, 32767).astype(np.int16),
            "camera": camera,
        }
        scratch.save_arrays(_path(self._folder, position), arrays)

    def _passing(self, position: int, frames: int) -> Mask:
        """What differs from the frames before and after: it is here now. From one only: was uncovered, or is covered.

        A few frames off shows plain things whole, of which only the edges change from frame to frame.
        """
        here = self.rgb(position)
        found = np.ones(self.size, np.bool_)
        for other in (max(0, position - frames), min(self.count - 1, position + frames)):
            found &= changed(here, self.rgb(other), self._camera_to(position, other))
        return found


def _explained(here: Picture, there: Picture, camera: Matrix, flow: Flow, uncovered: Mask) -> Mask:
    """Where own motion explains the picture no worse than standing still: dense flow smears over what lies around.

    What the object covered in the frame before has no past to compare with, and is not moving for being uncovered.
    """
    height, width = uncovered.shape
    still = warped(there, camera)
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    moved = cv2.remap(still, xs + flow[..., 0], ys + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    errors = [np.abs(here.astype(np.float32) - other.astype(np.float32)).mean(axis=2) for other in (moved, still)]
    moved_error, still_error = (cv2.GaussianBlur(error, (0, 0), 1.5) for error in errors)
    return np.asarray((moved_error <= still_error + _TIE) & ~uncovered)


def own_flow(here: Picture, there: Picture, camera: Matrix) -> Flow:
    """(H, W, 2): where each pixel of ``here`` lies in ``there``, less the camera's share of it."""
    height, width = here.shape[:2]
    grey_here, grey_there = (np.asarray(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY), np.uint8) for p in (here, there))
    if min(height, width) < 24:
        return np.zeros((height, width, 2), np.float32)
    # Aligned first, so that the dense flow only has to find what the camera did not do.
    aligned = warped(grey_there, camera)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(dis.calc(grey_here, aligned, np.zeros((height, width, 2), np.float32)), np.float32)


def warped(picture: npt.NDArray[np.uint8], camera: Matrix) -> npt.NDArray[np.uint8]:
    """``picture`` seen from the frame that ``camera`` maps to it; the edge repeats."""
    height, width = picture.shape[:2]
    if np.array_equal(camera, np.eye(3)):
        return picture
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpPerspective(picture, camera, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def warped_mask(mask: Mask, flow: Flow, camera: Matrix) -> Mask:
    """A mask of the frame before, carried to this one by the camera and the thing's own motion."""
    height, width = mask.shape
    moved = warped(mask.astype(np.uint8) * np.uint8(255), camera)
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    there = cv2.remap(moved, xs + flow[..., 0], ys + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(there > 127)


def mapped(point: tuple[float, float], matrix: Matrix) -> tuple[float, float]:
    x, y = apply(matrix, np.array([point], np.float64))[0]
    return float(x), float(y)


def _camera(here: Picture, there: Picture, inside: Mask, inside_there: Mask) -> Matrix:
    """Here's pixels to there's; exactly the identity for a camera that stands."""
    states = [pixels.grown(mask, 3).astype(np.uint8) if mask.any() else mask.astype(np.uint8)
              for mask in (inside, inside_there)]  # fmt: skip
    if min(state.size - int(state.sum()) for state in states) < _TRACKABLE * inside.size:
        return np.eye(3)
    matrix = measure_pair(Proxy(here, states[0]), Proxy(there, states[1]), np.eye(3)).matrix
    if movement(matrix, (inside.shape[1], inside.shape[0])) <= _STILL:
        return np.eye(3)
    # Corners on something large that moves by itself can outvote a plain background: the pixels have the last word.
    open_ = (states[0] == 0) & (states[1] == 0)
    moved, still = (_difference(here, warped(there, model), open_) for model in (matrix, np.eye(3)))
    return matrix if moved < _BETTER * still else np.eye(3)


def _difference(one: Picture, other: Picture, where: Mask) -> float:
    """The mean difference of colour where there is texture to tell by; what changes much counts no more than some."""
    off = np.abs(one.astype(np.int16) - other.astype(np.int16)).max(axis=2)
    return float(np.minimum(off, 20)[where].mean())


def changed(here: Picture, there: Picture, camera: Matrix) -> Mask:
    """Where no pixel within one of ``there`` has the colour of ``here``: an edge's jitter is no change."""
    aligned = warped(there, camera)
    ones = np.ones((3, 3), np.uint8)
    low, high = (np.asarray(f(aligned, ones), np.int16) for f in (cv2.erode, cv2.dilate))
    now = cv2.GaussianBlur(here, (3, 3), 0).astype(np.int16)
    off = np.maximum(np.maximum(low - now, now - high), 0).max(axis=2)
    return np.asarray(off > _CHANGE)


def _faintlychanged(here: Picture, there: Picture, camera: Matrix) -> Mask:
    now, then = (cv2.GaussianBlur(picture, (0, 0), 1.5).astype(np.int16) for picture in (here, warped(there, camera)))
    return pixels.grown(np.asarray(np.abs(now - then).max(axis=2) > _FAINT), 3)


def _path(folder: Path, position: int) -> Path:
    return folder / f"measure.{position:06d}.npz"
