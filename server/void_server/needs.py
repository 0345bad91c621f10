"""What a job needs of a device, and which of the free devices it gets. Pure; knows no process and no queue.

A job wants `CUDA` (a diffusion model: it waits for a GPU wherever there is one), `EITHER` (a network that is quicker on
a GPU) or `CPU` (all others: they leave the GPUs alone while others want them). Only `CUDA` is hard: the rest is order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar

from void_client.job import JobSpec

CUDA: Final = "cuda"
CPU: Final = "cpu"
EITHER: Final = "either"
WANTS: Final = (CUDA, EITHER, CPU)
_GPU_ENGINES: Final = ("void",)
_GPU_SEGMENTERS: Final = ("sam2", "sam2-meta")
_LEARNED: Final = {"area": 1.0, "window_frames": 85, "batch_windows": 1, "height": 384, "width": 672}


class Device(Protocol):
    """A worker, as it is looked at here. ``memory``: the device's, in bytes; 0 where nobody knows."""

    @property
    def kind(self) -> str: ...

    @property
    def memory(self) -> int: ...


D = TypeVar("D", bound=Device)


def wanted(spec: JobSpec, approved: bool) -> str:
    """``approved``: its quadmask was looked at, and the engine is what is left to do."""
    masks_only = spec.stop == "masks" or (spec.stop == "review" and not approved)
    if spec.engine.name in _GPU_ENGINES and not masks_only:
        return CUDA
    if spec.masks is not None and spec.masks.segmenter in _GPU_SEGMENTERS:
        return EITHER
    return CPU


def is_large(spec: JobSpec) -> bool:
    """Whether it takes more memory than the model's own size and windows do: then the largest device is best."""
    given = spec.engine.options

    def number(key: str) -> float:
        value: Any = given.get(key)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value else 0.0

    if number("height") * number("width") > _LEARNED["height"] * _LEARNED["width"]:
        return True
    return any(number(key) > _LEARNED[key] for key in ("area", "window_frames", "batch_windows"))


def kinds_for(wants: str, there: Iterable[str]) -> tuple[str, ...]:
    """The kinds of device that a job may take, best first. ``there``: the kinds that the server has."""
    has = set(there)
    if wants == CUDA:
        return (CUDA,) if CUDA in has else (CPU,)
    order = (CUDA, CPU) if wants == EITHER else (CPU, CUDA)
    return tuple(kind for kind in order if kind in has)


def best(free: Sequence[D], kinds: Sequence[str], large: bool) -> D | None:
    """Of the best kind that is free: the device with most memory for a large job, with least for others, so that the
    large ones stay free. Equal ones in the order of the settings."""
    for kind in kinds:
        of_kind = [device for device in free if device.kind == kind]
        if of_kind:
            return min(of_kind, key=lambda device: -device.memory if large else device.memory)
    return None
