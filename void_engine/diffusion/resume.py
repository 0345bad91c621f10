"""A run's state on disk, so that a killed run goes on from the last saved step and ends with the same bits.

Promises: a state is whole or not there, and belongs to exactly one run: another key starts afresh. Float32 latents are
stored as they are. Must not decide when to save.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from void_engine.atomic import write_atomically
from void_engine.diffusion.sampling import Denoising

log = logging.getLogger(__name__)

_FILE = "denoising.safetensors"
_REMEMBERED = ("lower_order_nums", "_step_index", "this_order")  # numbers that solvers with memory carry
_REMEMBERED_TENSORS = ("model_outputs", "timestep_list", "last_sample", "sample")


@dataclass(frozen=True)
class Resume:
    """``folder`` is this run's own and must be there; the state is saved after every ``every`` steps."""

    folder: Path
    every: int = 1

    def due(self, step: int, steps: int) -> bool:
        return step % self.every == 0 and step < steps

    def save(self, key: str, state: Denoising, generator: torch.Generator) -> None:
        """Raises ``DiskFull`` or ``InputError`` where it cannot be written."""
        tensors = {"latents": state.latents.cpu().contiguous(), "generator": generator.get_state()}
        for i, scheduler in enumerate(state.schedulers):
            tensors.update({f"scheduler.{i}.{name}": value for name, value in _remembered(scheduler).items()})
        metadata = {"key": key, "step": str(state.step)}
        write_atomically(self.folder / _FILE, [save(tensors, metadata)])

    def load(self, key: str, state: Denoising, generator: torch.Generator) -> bool:
        """Bring ``state`` (before its first step) to where the saved run was; False where there is none of this key."""
        path = self.folder / _FILE
        if not path.is_file():
            return False
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("key") != key:
                    log.info("%s is of another run and is not used", path)
                    return False
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            step, latents, random = int(metadata["step"]), tensors.pop("latents"), tensors.pop("generator")
        except (OSError, SafetensorError, KeyError, ValueError) as problem:
            log.warning("%s cannot be read, the run starts again: %s", path, problem)
            return False
        state.latents, state.step = latents.to(state.latents.device), step
        generator.set_state(random)
        for name, value in tensors.items():
            _, index, attribute = name.split(".", 2)
            _restore(state.schedulers[int(index)], attribute, value, state.latents.device)
        return True

    def discard(self) -> None:
        """Never fails: the run is done, and a state that stays is of no other run."""
        try:
            (self.folder / _FILE).unlink(missing_ok=True)
        except OSError as problem:
            log.warning("%s could not be deleted: %s", self.folder / _FILE, problem)


def _remembered(scheduler: Any) -> dict[str, torch.Tensor]:
    """What a scheduler knows of earlier steps. DDIM knows nothing; multistep solvers keep outputs and counters."""
    found: dict[str, torch.Tensor] = {}
    for name in _REMEMBERED:
        value = getattr(scheduler, name, None)
        if isinstance(value, int):
            found[name] = torch.tensor(value)
    for name in _REMEMBERED_TENSORS:
        value = getattr(scheduler, name, None)
        for i, item in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(item, torch.Tensor):
                found[f"{name}.{i}" if isinstance(value, list) else name] = item.detach().cpu().contiguous()
    return found


def _restore(scheduler: Any, attribute: str, value: torch.Tensor, device: torch.device) -> None:
    name, _, index = attribute.partition(".")
    if name in _REMEMBERED:
        setattr(scheduler, name, int(value))
    elif index:
        getattr(scheduler, name)[int(index)] = value.to(device)
    else:
        setattr(scheduler, name, value.to(device))
