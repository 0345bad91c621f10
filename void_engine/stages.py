"""Stages that are done once: each stage's result lies in a folder named by the hash of its inputs.

Promises: a folder with ``done.json`` is whole; a stage that was killed finds its scratch folder again; the
same inputs never run twice, also when two workers come to them at once. Must not: know what a stage computes.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from void_client.digest import sha256_data
from void_client.errors import DiskFull, is_no_room

from void_engine.atomic import write_atomically

DONE = "done.json"
_LOCKS = ".locks"
_TURN_S = 0.1


class Observer(Protocol):
    """Who watches a job. ``state``: running, done, cached, shared (taken from another machine's work)."""

    def stage(self, name: str, state: str, key: str) -> None: ...

    def progress(self, stage: str, step: int, of: int, note: str) -> None: ...

    def check(self) -> None:
        """Raises ``Cancelled`` where the job was cancelled."""


class Shared(Protocol):
    """Stages of other machines, by the same keys. Both take ``check``, which raises where the job was cancelled."""

    def fetch(self, name: str, key: str, folder: Path, check: Callable[[], None]) -> bool:
        """The stage's files into ``folder``, `DONE` last, each checked; False where nobody has it."""

    def publish(self, name: str, key: str, folder: Path, check: Callable[[], None]) -> None:
        """The finished stage in ``folder`` for others. Raises nothing but what ``check`` does."""


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
    def __init__(self, parent: Path, observer: Observer, reserve_bytes: int = 0, shared: Shared | None = None) -> None:
        """``reserve_bytes``: what stays free on the disk; a stage that would go below ends in ``DiskFull``."""
        self._parent = parent
        self._observer = observer
        self._reserve_bytes = reserve_bytes
        self._shared = shared

    def run(self, name: str, inputs: Any, work: Callable[[Context], dict[str, Any]]) -> StageResult:
        """The result of ``work`` for these inputs (plain data), from the cache or made now.

        ``work`` writes into its context's folder and returns JSON-able facts. Raises what it raises, and ``DiskFull``.
        """
        self._observer.check()
        key = sha256_data([name, inputs])
        folder = self._parent / f"{name}-{key[:32]}"
        try:
            with self._alone(key):
                state, facts = self._known(name, key, folder)
                if facts is None:
                    state, facts = "done", self._make(name, key, folder, work)
        except OSError as problem:
            if not is_no_room(problem):
                raise
            raise _disk_full(name) from problem
        self._observer.stage(name, state, key)
        if state == "done" and self._shared is not None:
            self._shared.publish(name, key, folder, self._observer.check)
        return StageResult(key, folder, facts)

    def _known(self, name: str, key: str, folder: Path) -> tuple[str, dict[str, Any] | None]:
        """The facts of what was done before, here or on another machine."""
        known = _read_facts(folder)
        if known is not None:
            os.utime(folder)  # the budget drops the longest unused
            return "cached", known
        if self._shared is None:
            return "", None
        folder.mkdir(parents=True, exist_ok=True)
        if not self._shared.fetch(name, key, folder, self._observer.check):
            return "", None
        shutil.rmtree(folder / "scratch", ignore_errors=True)
        return "shared", _read_facts(folder)

    def _make(self, name: str, key: str, folder: Path, work: Callable[[Context], dict[str, Any]]) -> dict[str, Any]:
        self._observer.stage(name, "running", key)
        folder.mkdir(parents=True, exist_ok=True)
        facts = work(Context(name, folder, self._observer, self._reserve_bytes))
        shutil.rmtree(folder / "scratch", ignore_errors=True)
        write_atomically(folder / DONE, [json.dumps(facts, sort_keys=True).encode()])
        return facts

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Wait for another worker of this server that is at the same stage: it will be done then. A killed one holds
        nobody up. A few thousand files serve all keys; two that share one only wait for each other."""
        folder = self._parent / _LOCKS
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / key[:3]).open("a") as stream:
            while True:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    self._observer.check()
                    time.sleep(_TURN_S)
            yield


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
