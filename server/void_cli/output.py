"""What the command line shows: lines and a bar for people, JSON lines for machines."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, TextIO

from void_client.errors import VoidError
from void_client.messages import Event

from .progress import FarmVoice, Tracker

_BAR = 24
_turn = threading.Lock()  # a batch's shots speak from threads of their own


class Output:
    def __init__(self, *, as_json: bool, farm: str = "") -> None:
        """``farm``: a style of `void_cli.progress`, whose lines go to stdout, too."""
        self.as_json = as_json
        self._voice = FarmVoice(farm) if farm else None
        self._tracker = Tracker()
        self._bar_shown = False
        self._live = sys.stderr.isatty()
        self._stage = ""
        self._stage_began = 0.0
        self._first_step = 0
        self._last_line = ""
        self._record_at = 0.0
        self.tells_steps = False  # as JSON: what is done on this side of the line, too

    def say(self, text: str, **values: Any) -> None:
        """A line for people; for machines the values (where there are any)."""
        if self.as_json:
            if values:
                _write(_json(values))
            return
        self._clear()
        _write(text)

    def note(self, text: str) -> None:
        """What is good to know and no result: on stderr for people."""
        if self.as_json:
            self.say(text, note=text)
        else:
            self._line(text)

    def warnings(self, facts: Mapping[str, Any]) -> list[str]:
        """What a result's ``facts`` warn of: for people a line each; returned, for a machine's record."""
        found = [str(warning) for warning in facts.get("warnings") or ()]
        for warning in found if not self.as_json else ():
            self.note(f"warning: {warning}")
        return found

    def error(self, error: VoidError) -> None:
        if self._voice is not None:
            self._print(self._voice.failed(str(error)))
        if self.as_json:
            _write(_json({"error": error.to_wire(), "exit_code": error.exit_code}))
            return
        self._clear()
        hint = f"\n      {error.hint}" if error.hint else ""
        _write(f"void: {error.message}{hint}", sys.stderr)

    def event(self, event: Event) -> None:
        """A job's event: its stage, step and how long it may still take."""
        if self.as_json:
            record = {"event": event.kind, "job": event.job_id, "seq": event.seq, "time": event.time, **event.data}
            if event.kind == "progress":
                self._track(event.data["stage"], event.data["step"], event.data["of"])
                record.update(eta=self._tracker.eta, percent=self._tracker.percent)
            _write(_json(record))
        elif event.kind == "progress":
            self.bar(event.data["stage"], event.data["step"], event.data["of"], event.data.get("note", ""))
        elif event.kind == "stage" and event.data["state"] == "cached":
            self._line(f"{event.data['stage']}: done before, reused")
        elif event.kind == "stage" and event.data["state"] == "shared":
            self._line(f"{event.data['stage']}: done before on another machine, reused")
        elif event.kind in ("queued", "running") and event.data.get("reason"):
            self._line(f"queued again: {event.data['reason']}")

    def bar(self, stage: str, step: int, of: int, note: str = "") -> None:
        """``stage`` [#####     ] 12/46  ETA 0:31. On a terminal only; else a line when a stage is complete."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._stage_began, self._first_step = stage, now, step
        self._track(stage, step, of)
        if self.as_json:
            if self.tells_steps:
                self._record(stage, step, of, now)
            return
        if not self._live:
            if step == of:
                self._line(f"{stage}: {of}/{of}")
            return
        done = min(1.0, step / of) if of else 1.0
        gained = step - self._first_step
        eta = (now - self._stage_began) / gained * (of - step) if gained > 0 else 0.0
        filled = int(done * _BAR)
        left = f"ETA {int(eta) // 60}:{int(eta) % 60:02d}" if gained > 0 and step < of else ""
        text = f"\r{stage:>9} [{'#' * filled}{' ' * (_BAR - filled)}] {_amount(stage, step, of)}  {left} {note[:30]}"
        _write(f"{text:<79}", sys.stderr, end="")
        self._bar_shown = True
        if step == of:
            self._clear(keep=True)

    def transfer(self, what: str, done: int, of: int) -> None:
        """Bytes going up or coming down."""
        if of:
            self.bar(what, done, of)

    def new_job(self) -> None:
        """What is told from here on is of another job."""
        self._tracker = Tracker()

    def _record(self, stage: str, step: int, of: int, now: float) -> None:
        """What is done on this side of the line: hashing, sending, fetching; a line each second."""
        if now >= self._record_at:
            self._record_at = now + 1.0
            told = {"stage": stage, "step": step, "of": of, "eta": self._tracker.eta, "percent": self._tracker.percent}
            _write(_json(told))

    def _track(self, stage: str, step: int, of: int) -> None:
        self._tracker.step(stage, step, of)
        if self._voice is not None:
            self._print(self._voice.progress(self._tracker, stage, step, of))

    def _print(self, lines: list[str]) -> None:
        for line in lines:
            _write(line)

    def _line(self, text: str) -> None:
        self._clear()
        if text != self._last_line:
            _write(text, sys.stderr)
        self._last_line = text

    def _clear(self, keep: bool = False) -> None:
        if self._bar_shown:
            _write("" if keep else "\r" + " " * 79 + "\r", sys.stderr, end="\n" if keep else "")
        self._bar_shown = False


def _json(record: dict[str, Any]) -> str:
    return json.dumps(record, default=str)


def _write(text: str, stream: TextIO | None = None, *, end: str = "\n") -> None:
    """In one piece, on stdout unless ``stream``: `print` writes a line and its end apart where nothing is buffered."""
    stream = stream or sys.stdout
    with _turn:
        stream.write(text + end)
        stream.flush()


def _amount(stage: str, step: int, of: int) -> str:
    if stage in ("upload", "download"):
        return f"{step / 1e6:.1f}/{of / 1e6:.1f} MB"
    return f"{step}/{of}"
