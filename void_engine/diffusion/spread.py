"""One step's windows over several devices: this process's own, and those of processes that help.

Promises: the same bits as without help: each group of windows goes through the same call, whoever makes it, and the
blend is this process's, in the windows' order. A helper that dies, leaves or hangs costs the group it was at, which is
done again; one that comes late joins at the next step. Must not: know the loop, or where helpers come from.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from void_engine.diffusion.geometry import Window
from void_engine.interface import Helpers, Line

log = logging.getLogger(__name__)

_LOOK_S: Final = 0.1  # between looks at a cancel while helpers are at work
_PATIENCE: Final = 10.0  # how many times as long as this process a helper may take for a group
_LEAST_PATIENCE_S: Final = 60.0

Outputs = list[torch.Tensor]


@dataclass
class Hands:
    """Who may help with a pass, and what they must know to load the same model (plain values).

    ``names``: the devices that did help, for the manifest.
    """

    helpers: Helpers
    model: Mapping[str, Any]
    least_patience_s: float = _LEAST_PATIENCE_S
    names: list[str] = field(default_factory=list)


@dataclass(eq=False)
class _Helper:
    """``state``: joining (it loads the model), ready, gone. ``since``: when it began what it is at; 0 where nothing."""

    line: Line
    name: str = ""
    state: str = "joining"
    since: float = 0.0
    thread: threading.Thread | None = None


class Spread:
    """The helpers of one denoising. Close it: they are others' devices."""

    def __init__(self, hands: Hands, begin: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """``begin`` and ``tensors``: what every window needs: `void_engine.diffusion.helping` reads them."""
        self._hands = hands
        self._begin = {"kind": "begin", "model": dict(hands.model), **begin}
        self._tensors = pack(tensors)
        self._helpers: list[_Helper] = []
        self._lock = threading.Condition()
        self._longest = 0.0  # seconds that a group took here

    def step(
        self,
        groups: Sequence[Sequence[int]],
        windows: Sequence[Window],
        latents: torch.Tensor,
        timestep: torch.Tensor,
        local: Callable[[Sequence[int], int], Outputs],
        look: Callable[[int], None],
    ) -> dict[int, torch.Tensor]:
        """Each window's prediction, helpers' on the CPU. ``latents`` (1, F, 16, h, w) are on the CPU.

        ``local(group, done)`` works here, after ``done`` windows; ``look(done)`` is called while others work. What
        either raises ends it all.
        """
        self._recruit(len(groups) - 1)
        work = _Step(deque(groups), windows, latents, timestep)
        own: Sequence[int] | None = work.groups.popleft()  # the first is never a helper's
        ready = [each for each in self._helpers if each.state == "ready"]
        for helper in ready:
            with self._lock:
                first = work.take_last(helper) if work.groups else None  # each gets one, however quick this device is
            if first is not None:
                arguments = (helper, work, first)
                helper.thread = threading.Thread(target=self._serve, args=arguments, name="void helper", daemon=True)
                helper.thread.start()
        while own is not None:
            started = time.monotonic()
            self._keep(work, own, local(own, len(work.outputs)))
            self._longest = max(self._longest, time.monotonic() - started)
            own = self._next(work, lambda: look(len(work.outputs)))
        for helper in ready:
            if helper.thread is not None:
                helper.thread.join()
        return work.outputs

    def close(self) -> None:
        """Let the helpers go, whatever they are at."""
        for helper in self._helpers:
            helper.line.break_off()
        for helper in self._helpers:
            if helper.thread is not None:
                helper.thread.join()
            helper.line.close()
        self._helpers.clear()

    # --- helpers

    def _recruit(self, count: int) -> None:
        """Take up those that came, and ask where more could be used."""
        self._helpers = [each for each in self._helpers if not self._let_go(each)]
        for line in self._hands.helpers.arrived():
            helper = _Helper(line)
            helper.thread = threading.Thread(target=self._join, args=(helper,), name="void joining", daemon=True)
            self._helpers.append(helper)
            helper.thread.start()
        if len(self._helpers) < count:
            self._hands.helpers.ask(count)

    def _let_go(self, helper: _Helper) -> bool:
        if helper.state == "gone":
            helper.line.close()
        return helper.state == "gone"

    def _join(self, helper: _Helper) -> None:
        """Its own thread: the helper loads the model, which takes what it takes."""
        try:
            helper.line.send(self._begin, self._tensors)
            header, _ = helper.line.receive()
        except (ConnectionError, OSError):
            header = {"kind": "gone"}
        if header.get("kind") == "ready":
            helper.name, helper.state = str(header.get("device", "")), "ready"
            return
        if header.get("kind") != "gone":
            log.warning("a device cannot help: %s", header.get("why"))
        helper.state = "gone"

    def _serve(self, helper: _Helper, work: _Step, first: Sequence[int]) -> None:
        """Its own thread: one group after the other through the helper, from the end, until none is left."""
        group: Sequence[int] | None = first
        while group is not None:
            try:
                outputs: Outputs | None = _asked(helper.line, work, group)
            except ConnectionError:
                outputs = None
            except Exception:  # whatever it is: the group must come back, or this process waits for ever
                log.exception("asking %s failed", helper.name)
                outputs = None
            with self._lock:
                helper.since = 0.0
                work.out -= 1
                if outputs is None:
                    helper.state = "gone"
                    work.groups.append(group)
                    log.warning("the help of %s was lost; its windows are done again", helper.name)
                else:
                    work.outputs.update(zip(group, outputs, strict=True))
                    if helper.name not in self._hands.names:
                        self._hands.names.append(helper.name)
                group = work.take_last(helper) if outputs is not None and work.groups else None
                self._lock.notify_all()

    # --- this process

    def _keep(self, work: _Step, group: Sequence[int], outputs: Outputs) -> None:
        with self._lock:
            work.outputs.update(zip(group, outputs, strict=True))

    def _next(self, work: _Step, look: Callable[[], None]) -> Sequence[int] | None:
        """The next group for this process, once there is one; None where all are done."""
        while True:
            with self._lock:
                if work.groups:
                    return work.groups.popleft()
                if not work.out:
                    return None
                self._lock.wait(_LOOK_S)
                if work.groups:
                    continue
            look()
            self._drop_the_hung()

    def _drop_the_hung(self) -> None:
        patience = max(self._hands.least_patience_s, _PATIENCE * self._longest)
        for helper in self._helpers:
            if helper.since and time.monotonic() - helper.since > patience:
                log.warning("%s has said nothing for %.0f s", helper.name, patience)
                helper.line.break_off()


@dataclass
class _Step:
    """``groups``: not begun yet. ``out``: how many are with helpers."""

    groups: deque[Sequence[int]]
    windows: Sequence[Window]
    latents: torch.Tensor
    timestep: torch.Tensor
    out: int = 0
    outputs: dict[int, torch.Tensor] = field(default_factory=dict)

    def take_last(self, helper: _Helper) -> Sequence[int]:
        """The last group, for a helper."""
        self.out += 1
        helper.since = time.monotonic()
        return self.groups.pop()


def _asked(line: Line, work: _Step, group: Sequence[int]) -> Outputs:
    """A group's outputs, by a helper. Raises ``ConnectionError``, for an answer that is none, too."""
    windows = [work.windows[index] for index in group]
    parts = [work.latents[:, window.start : window.stop] for window in windows]
    header = {"kind": "windows", "windows": [[window.start, window.stop] for window in windows]}
    line.send(header, pack({"timestep": work.timestep, **{str(i): part for i, part in enumerate(parts)}}))
    answer, data = line.receive()
    if answer.get("kind") != "outputs":
        raise ConnectionError(str(answer.get("why", "it answered nothing that was asked")))
    found = unpack(data)
    outputs = [found.get(str(i)) for i in range(len(group))]
    for part, output in zip(parts, outputs, strict=True):
        if output is None or output.shape != part.shape or output.dtype != torch.float32:
            raise ConnectionError("it answered something of another shape")
    return [output for output in outputs if output is not None]


def pack(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """In the safetensors format, which wants each tensor in memory of its own: windows overlap."""
    return save(
        {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    )


def unpack(data: bytes) -> dict[str, torch.Tensor]:
    """Raises ``ConnectionError`` for bytes that are none."""
    try:
        # A copy: where bytes lie in memory changes the last bits of what is computed.
        return {name: tensor.clone() for name, tensor in load(data).items()}
    except SafetensorError as problem:
        raise ConnectionError(f"what came are no tensors: {problem}") from problem
