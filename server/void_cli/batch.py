"""``void batch``: many shots, one after the other or some at once, over one warm server or several.

Promises: a shot that fails stops no other; what is finished is not done again; Ctrl-C and SIGTERM cancel all, in
order; the table tells every shot's fate. Each shot is what `void_cli.render` makes of it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from void_client.client import Client
from void_client.errors import Cancelled, JobError, VoidError
from void_client.job import ShotFile
from void_client.messages import Event
from void_client.path_rules import load_rules, paths_of
from void_client.settings import ClientSettings

from . import render
from .output import Output
from .private import private_server
from .serving import Warm, host_arguments, is_remote
from .shot import add_server_arguments, add_shot_arguments, all_servers
from .stopping import cancel_and_wait, sigterm_interrupts
from .turns import work_folder

_SUFFIXES = (".yaml", ".yml", ".json")
_SIDECARS = ("void.yaml", "void.yml", "void.json")
_WORST = (0, 3, 2, 4)  # exit codes, the worst last: what trying again mends comes before what it does not
_STATES = {0: "done", 2: "bad input", 3: "try again", 4: "failed", 5: "cancelled"}
_FOR_ALL = (
    "engine", "option", "priority", "server", "server_key", "key_file", "connection", "timeout", "local", "remote",
    "data", "devices", "models", "memory", "node", "store", "path_mapping", "anew",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of a shot. ``code``: the exit code that `void render` would have had."""

    shot: str
    file: Path
    code: int
    state: str
    seconds: float = 0.0
    frames: int = 0
    where: str = ""
    why: str = ""
    warnings: tuple[str, ...] = ()


def add_commands(commands: Any) -> None:
    from .local import add_farm_arguments

    batch = commands.add_parser("batch", help="clean many shots, and tell in a table what became of each")
    batch.add_argument("shots", nargs="+", type=Path, help="shot files (YAML or JSON), or folders of them")
    batch.add_argument("--out", type=Path, help="each shot's frames into OUT/NAME, NAME being its file's")
    batch.add_argument("--jobs", type=int, help="shots at once (one for each device or server)")
    batch.add_argument("--engine", help="for every shot, instead of what its file says")
    batch.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the engine")
    batch.add_argument("--priority", type=int, default=50, help="0 to 100, higher first (50)")
    add_server_arguments(batch)
    add_farm_arguments(batch, many=True)
    batch.set_defaults(run=run)


@sigterm_interrupts()
def run(options: argparse.Namespace, output: Output) -> int:
    output.tells_steps = True
    files = shot_files(options.shots)
    if options.jobs is not None and options.jobs < 1:
        raise JobError("--jobs must be 1 or more.")
    if not is_remote(options):
        from .local import need_server

        need_server()
    outcomes: list[Outcome] = []
    try:
        with _Private(options, files) as private:
            outcomes = _Batch(options, files, output, None if is_remote(options) else private.settings).run()
            if any(outcome.code for outcome in outcomes):
                raise _Unfinished
    except _Unfinished:
        pass
    _table(outcomes, output)
    return worst(outcomes)


class _Unfinished(Exception):
    """Some shots are left: what the private server has done of them is kept."""


def shot_files(given: Sequence[Path]) -> list[Path]:
    """The shots' files, folders unfolded, sidecars of overrides left out. Raises ``JobError`` where there is none, or
    two have one name."""
    found: list[Path] = []
    for path in given:
        inside = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES) if path.is_dir() else [path]
        found += [p for p in inside if p.name not in _SIDECARS and ".void." not in p.name]
    found = list(dict.fromkeys(path.resolve() for path in found))
    if not found:
        raise JobError("There are no shots.", hint="Name shot files, or a folder that holds some.")
    names = [path.stem for path in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise JobError(f"Two shots are called {twice!r}.", hint="Rename a file: results and table go by its name.")
    return found


class _Private:
    """One private server for all shots, started when the first one needs it. Use as a context manager."""

    def __init__(self, options: argparse.Namespace, files: Sequence[Path]) -> None:
        self._options, self._files = options, files
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._settings: Optional[ClientSettings] = None

    def __enter__(self) -> _Private:
        return self

    def __exit__(self, *problem: Any) -> None:
        self._stack.__exit__(*problem)

    def settings(self) -> ClientSettings:
        """Raises ``ServerUnreachable``, or ``Busy`` where another batch of these shots works."""
        with self._lock:
            if self._settings is None:
                options, roots = self._options, _roots(self._options, self._files)
                data = self._stack.enter_context(work_folder(options.data, self._files[0].parent / "-batch"))
                self._settings = self._stack.enter_context(private_server(data, roots, host_arguments(options)))
            return self._settings


def _roots(options: argparse.Namespace, files: Sequence[Path]) -> list[str]:
    """The folders that the server may read. One that lacks here costs a copy, and no more."""
    rules = load_rules(options.path_mapping, os.environ)
    roots: set[str] = set()
    for file in files:
        with contextlib.suppress(VoidError):  # told when its turn comes
            paths = paths_of(rules.shot(ShotFile.read(file)))
            given = [paths[key] for key in ("plate", "quadmask", "masks.matte", "masks.affected") if key in paths]
            roots |= {str((file.parent / os.path.expanduser(path)).resolve().parent) for path in given}
    return sorted(roots)


class _Batch:
    """``warm``: gives the private server, else each shot chooses among those that the options name."""

    def __init__(
        self, options: argparse.Namespace, files: Sequence[Path], output: Output, warm: Optional[Warm]
    ) -> None:
        self._options, self._files, self._output, self._warm = options, files, output, warm
        at_once = len(options.devices or "1") if warm is not None else len(all_servers(options))
        self._at_once = min(options.jobs or at_once, len(files))
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._running: dict[Path, tuple[Client, str]] = {}
        self._places: dict[str, str] = {}

    def run(self) -> list[Outcome]:
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="void shot") as pool:
            futures = {file: pool.submit(self._one, file) for file in self._files}
            try:
                wait(futures.values())
            except KeyboardInterrupt:
                self._cancel(futures)
        return [self._outcome(file, future) for file, future in futures.items()]

    def _cancel(self, futures: dict[Path, Future[Outcome]]) -> None:
        self._stop.set()
        for future in futures.values():
            future.cancel()
        with self._lock:
            running = [self._running[file] for file in self._files if file in self._running]
        for client, job_id in running:
            cancel_and_wait(client, job_id)
        wait(futures.values())

    def _outcome(self, file: Path, future: Future[Outcome]) -> Outcome:
        if future.cancelled():
            return Outcome(file.stem, file, Cancelled.exit_code, "not begun")
        return future.result()

    def _one(self, file: Path) -> Outcome:
        began = time.monotonic()
        output = _ShotOutput(self._output, file.stem, self._stop, alone=self._at_once == 1)
        try:
            done = self._solve(file, output)
        except VoidError as error:
            outcome = Outcome(file.stem, file, error.exit_code, _STATES.get(error.exit_code, "failed"), why=str(error))
        except Exception as problem:  # noqa: BLE001 - a shot's boundary: a fault of VOID must not stop the others
            outcome = Outcome(file.stem, file, 4, "failed", why=f"{type(problem).__name__}: {problem}")
        else:
            state = "done before" if done.before else "done"
            warnings = tuple(output.warnings(done.manifest.facts))
            outcome = Outcome(
                file.stem, file, 0, state, 0.0, len(done.manifest.frames), str(done.folder), warnings=warnings
            )
        finally:
            with self._lock:
                self._running.pop(file, None)
        outcome = Outcome(**{**vars(outcome), "seconds": round(time.monotonic() - began, 2)})
        self._tell(outcome)
        return outcome

    def _solve(self, file: Path, output: Output) -> render.Done:
        def sent(client: Client, job_id: str) -> None:
            with self._lock:
                self._running[file] = (client, job_id)
                stopped = self._stop.is_set()
            if stopped:  # between the flag and this line nobody knew of the job
                cancel_and_wait(client, job_id)

        if self._stop.is_set():
            raise Cancelled("Interrupted.")
        options = shot_options(self._options, file)
        resolved, target = render.prepared(options, output)
        with self._lock:
            other = self._places.setdefault(str(target.folder.resolve()), file.stem)
        if other != file.stem and target.store is None:
            raise JobError(f"{target.folder} is where {other} goes.", hint="Give each shot its own `out:`, or --out.")
        return render.solve(options, resolved, target, output, warm=self._warm, on_sent=sent)

    def _tell(self, outcome: Outcome) -> None:
        more = f": {outcome.why}" if outcome.why else f", {outcome.frames} frames in {outcome.where}"
        if not self._output.as_json:  # machines get the table's records
            self._output.note(f"{outcome.shot}: {outcome.state}{more}")


def shot_options(options: argparse.Namespace, file: Path) -> argparse.Namespace:
    """What `void render FILE` would have, with what the batch says for all."""
    parser = argparse.ArgumentParser()
    add_shot_arguments(parser)
    own = parser.parse_args([str(file)])
    vars(own).update({name: getattr(options, name) for name in _FOR_ALL})
    own.stop, own.seeds, own.again, own.job_id = "", None, None, None
    own.out = options.out / file.stem if options.out is not None else None
    return own


class _ShotOutput(Output):
    """A shot's own voice inside the batch's; and where it hears that all is to end."""

    def __init__(self, batch: Output, shot: str, stop: threading.Event, *, alone: bool) -> None:
        super().__init__(as_json=batch.as_json)
        self._batch, self._shot, self._stop, self._alone = batch, shot, stop, alone

    def say(self, text: str, **values: Any) -> None:
        if self.as_json and values:
            super().say(text, shot=self._shot, **values)
        elif not self.as_json:
            self._batch.note(f"{self._shot}: {text}")

    def note(self, text: str) -> None:
        self.say(text, note=text)

    def event(self, event: Event) -> None:
        if self.as_json:
            super().event(Event(event.job_id, event.seq, event.time, event.kind, {**event.data, "shot": self._shot}))
        elif self._alone:
            self._batch.event(event)

    def bar(self, stage: str, step: int, of: int, note: str = "") -> None:
        if self._stop.is_set():
            raise Cancelled("Interrupted.")
        if self._alone and not self.as_json:
            self._batch.bar(stage, step, of, note)


# --- the table


def worst(outcomes: Sequence[Outcome]) -> int:
    """The batch's exit code: 5 where it was stopped, else the worst of all: 4, 2, 3, 0."""
    codes = [outcome.code for outcome in outcomes]
    return 5 if 5 in codes else max(codes, key=_WORST.index, default=0)


def _table(outcomes: Sequence[Outcome], output: Output) -> None:
    if output.as_json:
        for each in outcomes:
            output.say("", **{**vars(each), "file": str(each.file)})
        counts = {state: sum(o.state == state for o in outcomes) for state in dict.fromkeys(o.state for o in outcomes)}
        output.say("", shots=len(outcomes), counts=counts, exit_code=worst(outcomes))
        return
    wide = max([4, *(len(each.shot) for each in outcomes)])
    output.say(f"{'shot':<{wide}}  {'state':<11}  frames      time  result, or why not")
    for each in outcomes:
        frames = str(each.frames) if each.frames else "-"
        text = each.where or each.why
        output.say(f"{each.shot:<{wide}}  {each.state:<11}  {frames:>6}  {each.seconds:>6.1f} s  {text}")
