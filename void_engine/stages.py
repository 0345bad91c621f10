"""Stages that are done once: each stage's result lies in a folder named by the hash of its inputs.

Promises: a folder with ``done.json`` is whole; a stage that was killed finds its scratch folder again; the
same inputs never run twice. Must not: know what a stage computes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from void_client.digest import sha256_data
from void_client.errors import DiskFull, is_no_room

from void_engine.atomic import write_atomically

DONE = "done.json"


class Observer(Protocol):
    """Who watches a job. ``state``: running, done, cached."""

    def stage(self, name: str, state: str, key: str) -> None: ...

    def progress(self, stage: str, step: int, of: int, note: str) -> None: ...

    def check(self) -> None:
        """Raises ``Cancelled`` where the job was cancelled."""


@dataclass(frozen=True)
class Context:
    """``void_engine.interface.StageContext`` for one run of one stage. ``folder`` takes the stage's result."""

    name: str
    folder: Path
    observer: Observer
    reserve_bytes: int = 0

    @property
    def scratch(self) -> Path:
        path = self.folder / "scratch"
        path.mkdir(exist_ok=True)
        return path

    def progress(self, step: int, of: int, note: str = "") -> None:
        self.observer.check()
        if shutil.disk_usage(self.folder).free < self.reserve_bytes:
            raise _disk_full(self.name)
        self.observer.progress(self.name, step, of, note)

    def check(self) -> None:
        self.observer.check()


@dataclass(frozen=True)
class StageResult:
    key: str
    folder: Path
    facts: dict[str, Any]


class StageCache:
    def __init__(self, parent: Path, observer: Observer, reserve_bytes: int = 0) -> None:
        """``reserve_bytes``: what stays free on the disk; a stage that would go below ends in ``DiskFull``."""
        self._parent = parent
        self._observer = observer
        self._reserve_bytes = reserve_bytes

    def run(self, name: str, inputs: Any, work: Callable[[Context], dict[str, Any]]) -> StageResult:
        """The result of ``work`` for these inputs (plain data), from the cache or made now.

        ``work`` writes into its context's folder and returns JSON-able facts. Raises what it raises, and ``DiskFull``.
        """
        self._observer.check()
        key = sha256_data([name, inputs])
        folder = self._parent / f"{name}-{key[:32]}"
        known = _read_facts(folder)
        if known is not None:
            os.utime(folder)  # the budget drops the longest unused
            self._observer.stage(name, "cached", key)
            return StageResult(key, folder, known)
        self._observer.stage(name, "running", key)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            facts = work(Context(name, folder, self._observer, self._reserve_bytes))
            shutil.rmtree(folder / "scratch", ignore_errors=True)
            write_atomically(folder / DONE, [json.dumps(facts, sort_keys=True).encode()])
        except OSError as problem:
            if not is_no_room(problem):
                raise
            raise _disk_full(name) from problem
        self._observer.stage(name, "done", key)
        return StageResult(key, folder, facts)


def _disk_full(stage: str) -> DiskFull:
    return DiskFull(
        f"The server's disk is full: the stage {stage!r} could not be stored.",
        hint="Make room on the server, or run `void gc`; finished stages are kept.",
    )


def _read_facts(folder: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads((folder / DONE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None
