"""Optical flow between two frames: where each pixel of one lies in the other.

Promises float32 (H, W, 2), finite, in pixels: x first, then y; pixel (y, x) of ``one`` is seen in
``other`` at (x + flow[y, x, 0], y + flow[y, x, 1]). The same answer every time on one machine,
for any number of threads. Must not download anything, nor load torch for another method than RAFT.

DIS (Kroeger and others, 2016) comes with OpenCV and costs some 30 ms a frame. RAFT is better at
thin and textureless things, and needs torchvision and its weights as safetensors; that class
follows torchvision's documentation and was **never run by us**, since torchvision is not
installed where our tests run.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np
import numpy.typing as npt
from void_client.errors import EngineUnavailable

RGB8 = npt.NDArray[np.uint8]  # (H, W, 3)
Flow = npt.NDArray[np.float32]  # (H, W, 2), pixels, x then y

METHODS: Final = ("dis", "raft")
_BLUR = 1.0  # pixels
_RAFT_MULTIPLE = 8  # RAFT's features are an eighth of the frame
_RAFT_LEAST = 128  # and its pyramid halves them three times more


class FlowMethod(Protocol):
    def __call__(self, one: RGB8, other: RGB8) -> Flow:
        """The flow from ``one`` to ``other``."""


class DisFlow:
    """Dense inverse search on luma, blurred by a pixel, so that grain moves the flow of a still picture less.

    There is no dead zone: it would stop a slow pan too.
    """

    def __init__(self, preset: int = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM) -> None:
        self._search: Any = cv2.DISOpticalFlow.create(preset)

    def __call__(self, one: RGB8, other: RGB8) -> Flow:
        _check_pair(one, other)
        # No flow is passed in: given one, DIS starts from it, and the answer would depend on the call before.
        flow = np.asarray(self._search.calc(_luma(one), _luma(other), None), dtype=np.float32)
        return flow.reshape(*one.shape[:2], 2)


class RaftFlow:
    """torchvision's RAFT (large) with weights from a local safetensors file. Never run by us: see the module."""

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        _need_torchvision()
        if not weights.is_file():
            raise EngineUnavailable(
                f"RAFT's weights are not there: {weights}.",
                hint="Give the path of raft_large's weights as a .safetensors file, or use the method 'dis'.",
            )
        models: Any = importlib.import_module("torchvision.models.optical_flow")
        stored: Any = importlib.import_module("safetensors.torch")
        self._torch: Any = importlib.import_module("torch")
        self._model = models.raft_large(weights=None)
        self._model.load_state_dict(stored.load_file(str(weights)))
        self._model.eval().to(device)
        self._device = device

    def __call__(self, one: RGB8, other: RGB8) -> Flow:
        _check_pair(one, other)
        height, width = one.shape[:2]
        below, right = (_padding(size) for size in (height, width))
        with self._torch.inference_mode():
            flow = self._model(*(self._tensor(frame, below, right) for frame in (one, other)))[-1][0]
        found = np.asarray(flow.permute(1, 2, 0).float().cpu().numpy(), dtype=np.float32)
        return np.ascontiguousarray(found[:height, :width])

    def _tensor(self, frame: RGB8, below: int, right: int) -> Any:
        padded = np.pad(frame, ((0, below), (0, right), (0, 0)), mode="edge")
        values = np.ascontiguousarray(padded.transpose(2, 0, 1)[None]).astype(np.float32) / 127.5 - 1
        return self._torch.from_numpy(values).to(self._device)


def flow_method(name: str, *, weights: Path | None = None, device: str = "cpu") -> FlowMethod:
    """``dis`` or ``raft``; RAFT needs ``weights``. Raises ``EngineUnavailable`` where it cannot run here."""
    if name == "dis":
        return DisFlow()
    if name == "raft":
        _need_torchvision()
        if weights is None:
            raise EngineUnavailable(
                "The optical flow 'raft' was given no weights.",
                hint="Give the path of raft_large's weights as a .safetensors file, or use the method 'dis'.",
            )
        return RaftFlow(weights, device)
    raise EngineUnavailable(f"There is no optical flow {name!r}.", hint=f"There is: {', '.join(METHODS)}.")


def _need_torchvision() -> None:
    if importlib.util.find_spec("torchvision") is None:
        raise EngineUnavailable(
            "The optical flow 'raft' needs torchvision, which is not installed.",
            hint="Install the torchvision that belongs to this torch, or use the method 'dis', which needs nothing.",
        )


def _luma(frame: RGB8) -> npt.NDArray[np.uint8]:
    grey = cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (0, 0), _BLUR)
    return np.asarray(grey, dtype=np.uint8).reshape(frame.shape[:2])


def _check_pair(one: RGB8, other: RGB8) -> None:
    if (
        one.shape != other.shape
        or one.ndim != 3
        or one.shape[2] != 3
        or one.dtype != np.uint8
        or other.dtype != np.uint8
    ):
        raise ValueError(
            f"two RGB frames, uint8 and of one size, not {one.shape} {one.dtype} and {other.shape} {other.dtype}"
        )


def _padding(size: int) -> int:
    wanted = max(_RAFT_LEAST, -(-size // _RAFT_MULTIPLE) * _RAFT_MULTIPLE)
    return wanted - size
