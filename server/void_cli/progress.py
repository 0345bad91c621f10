"""How far a job is, as one number: for JSON lines and for the words that farm managers read from stdout.

Promises: the number never falls; a stage that a job does not have costs nothing. Must not: print.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Optional

_SHARES = {
    "hash": 2, "upload": 3, "ingest": 5, "segment": 10, "reason": 5, "detect": 2, "hint": 1, "quadmask": 3,
    "generate": 52, "detail": 8, "restore": 5, "deliver": 1, "download": 3,
}  # fmt: skip
"""Percent of the whole, roughly. Where a job has no such stage the number jumps."""
STYLES = ("openjd", "deadline", "tractor")
_PAUSE_S = 1.0


class Tracker:
    """Of one job. ``clock``: seconds, for tests."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage = ""
        self._began = 0.0
        self._first = 0
        self.percent = 0.0
        self.eta: Optional[float] = None
        """Seconds that the stage still takes at the speed it has had; None before two steps."""

    def step(self, stage: str, step: int, of: int) -> None:
        now = self._clock()
        if stage != self._stage:
            self._stage, self._began, self._first = stage, now, step
        gained = step - self._first
        self.eta = round((now - self._began) / gained * (of - step), 1) if gained > 0 else None
        before = sum(share for name, share in zip(_SHARES, _shares_before()) if name == stage)
        done = before + _SHARES.get(stage, 0) * min(1.0, step / of if of else 1.0)
        self.percent = round(max(self.percent, min(done, 100.0)), 1)

    def end(self) -> None:
        self.percent, self.eta = 100.0, None


def _shares_before() -> list[int]:
    total, before = 0, []
    for share in _SHARES.values():
        before.append(total)
        total += share
    return before


class FarmVoice:
    """The lines that a farm manager reads. ``style``: one of ``STYLES``. A line at most each second."""

    def __init__(self, style: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._style = style
        self._clock = clock
        self._next = 0.0
        self._said = ""

    def progress(self, tracker: Tracker, stage: str, step: int, of: int) -> list[str]:
        now = self._clock()
        text = f"{stage} {step}/{of}"
        if tracker.percent < 100.0 and now < self._next:
            return []
        self._next = now + _PAUSE_S
        lines = [self._percent(tracker.percent)]
        if self._style == "openjd" and text != self._said:
            lines.append(f"openjd_status: {text}")
        self._said = text
        return lines

    def failed(self, message: str) -> list[str]:
        """Deadline's adaptors take any line with "Error:" for a failure: it stands nowhere else."""
        one_line = " ".join(message.split())
        if self._style == "openjd":
            return [f"openjd_fail: {one_line}"]
        return [f"Error: {one_line}"] if self._style == "deadline" else []

    def _percent(self, percent: float) -> str:
        if self._style == "openjd":
            return f"openjd_progress: {percent}"
        if self._style == "deadline":
            return f"Progress: {int(percent)}%"
        return f"TR_PROGRESS {int(percent):03d}%"
