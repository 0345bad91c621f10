"""A part of another process's denoising: its windows through this process's transformer, until it lets go.

Promises: the same call for a group of windows as `Sampler` makes where it works alone; a step down in memory of its own
where it needs one. Must not: know the loop: it is given latents and gives predictions.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from void_client.errors import JobFailed

from void_engine.diffusion.sampling import Sampler
from void_engine.diffusion.spread import pack, unpack
from void_engine.interface import Line

if TYPE_CHECKING:
    from void_engine.diffusion.loading import Transformer
    from void_engine.diffusion.pipeline import VoidPipeline

log = logging.getLogger(__name__)

Message = tuple[dict[str, Any], bytes]


def serve(pipeline: VoidPipeline, begin: Mapping[str, Any], data: bytes, line: Line) -> None:
    """``begin`` and ``data``: the first message, as `Run` writes it. Raises ``ConnectionError`` at the end."""
    residency = pipeline.residency
    residency.settle(pipeline.memory, int(begin["tokens"]), 0)
    same_speed = {**pipeline.speed.as_dict(), "batch_windows": 0} == {**begin["speed"], "batch_windows": 0}
    if residency.mode.startswith("fp8") != begin["fp8"] or not same_speed:
        line.send({"kind": "refused", "why": "it holds the model in another way"})
        return
    line.send({"kind": "ready", "device": str(residency.device)})
    session = _Session(pipeline, begin, unpack(data), line)
    try:
        residency.stepping_down("helping another device", session.run)
    except JobFailed as problem:
        with suppress(ConnectionError):
            line.send({"kind": "failed", "why": str(problem)})


class _Session:
    """``message``: what is being answered; it stays through a step down, and is answered then."""

    def __init__(
        self, pipeline: VoidPipeline, begin: Mapping[str, Any], tensors: dict[str, torch.Tensor], line: Line
    ) -> None:
        self._pipeline, self._begin, self._tensors, self._line = pipeline, begin, tensors, line
        self._message: Message | None = None

    def run(self) -> None:
        residency = self._pipeline.residency
        with residency.using_transformer() as transformer, torch.no_grad():
            sampler = Sampler(transformer, (), residency.device, residency.dtype, self._pipeline.speed)
            self._pipeline.speed.start(transformer, residency.device, residency.dtype)
            condition = self._tensors["condition"].to(residency.device)
            embeds = self._tensors["embeds"].to(residency.device, residency.dtype)
            while True:
                self._message = self._message or self._line.receive()
                outputs = self._outputs(sampler, transformer, condition, embeds, *self._message)
                self._line.send({"kind": "outputs"}, outputs)
                self._message = None

    def _outputs(
        self,
        sampler: Sampler,
        transformer: Transformer,
        condition: torch.Tensor,
        embeds: torch.Tensor,
        header: Mapping[str, Any],
        data: bytes,
    ) -> bytes:
        tensors = unpack(data)
        windows = header["windows"]
        parts = [tensors[str(i)].to(sampler.device) for i in range(len(windows))]
        given = [condition[:, start:stop] for start, stop in windows]
        outputs = sampler.call(parts, given, embeds, float(self._begin["guidance"]), tensors["timestep"])
        return pack({str(i): output for i, output in enumerate(outputs)})
