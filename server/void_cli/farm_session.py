"""A warm server for the tasks of one farm session on one worker: ``void farm start`` and ``void farm stop``.

The server belongs to nobody; it holds a lease, which every render of the session renews. Farm managers may kill a
session without any grace: then nobody renews, and the server ends by itself. Promises: a session whose server was
killed gets another, over the same folder. Must not: listen but on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from void_client import schema
from void_client.errors import InputError, JobError
from void_client.manifest import write_durably
from void_client.settings import CONNECTION_FILE, ClientSettings, load_client_settings

from . import farm_bundle
from .output import Output
from .private import folder_in_use, leased_server
from .progress import STYLES
from .turns import turn

SESSION = "VOID_FARM_SESSION"
"""The environment variable that tells `void render` of its session's folder."""
_FILE = "session.json"
_LEASE = "lease"
_WATCH_S = 0.25
_END_S = 30.0
_KILL_S = 5.0


@dataclass(frozen=True)
class FarmSession:
    """What a session's server is started with. ``data``: its folder. ``arguments``: of `void serve`."""

    data: str
    lease_s: float
    share_roots: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    pid: int = 0
    version: int = 1


def add_commands(commands: Any, add_host: Callable[[argparse.ArgumentParser], None]) -> None:
    farm = commands.add_parser("farm", help="jobs for a farm manager, and the warm server of a farm session")
    actions = farm.add_subparsers(dest="action", required=True, metavar="ACTION")
    start = actions.add_parser("start", help="start it; it ends by itself when nobody renews its lease")
    start.add_argument("--session", type=Path, required=True, help="the session's own folder, on a local disk")
    start.add_argument("--data", type=Path, help="the server's folder, which stays; without it one in the session's")
    start.add_argument(
        "--lease", type=float, default=300.0, metavar="SECONDS", help="without a render for so long, it ends (300)"
    )
    start.add_argument("--share-root", dest="share_roots", action="append", default=[], help="a folder of plates")
    start.add_argument("--progress", choices=STYLES, help="tell the farm manager, too")
    add_host(start)
    start.set_defaults(run=_start)
    stop = actions.add_parser("stop", help="end it")
    stop.add_argument("--session", type=Path, required=True, help="as given to `start`")
    stop.add_argument("--keep", action="store_true", help="keep the server's folder inside the session's")
    stop.set_defaults(run=_stop)
    bundle = farm_bundle.add_action(actions)
    for action in (start, stop, bundle):
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="for machines")


def _start(options: argparse.Namespace, output: Output) -> int:
    from .local import need_server
    from .serving import host_arguments

    need_server()
    if options.lease < 1:
        raise JobError(f"A lease of {options.lease} seconds is too short.", hint="Give --lease 300.")
    folder: Path = options.session.resolve()
    data = options.data.resolve() if options.data is not None else folder / "server"
    if folder_in_use(data) and options.data is not None:  # another session of this machine has it
        data = folder / "server"
    roots = tuple(os.path.abspath(root) for root in options.share_roots)
    session = FarmSession(str(data), options.lease, roots, tuple(host_arguments(options)))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with turn(folder / "start"):
        session = _started(folder, session)
    connection = data / CONNECTION_FILE
    if options.progress == "openjd":
        output.say(f"openjd_env: {SESSION}={folder}")
    text = f"A VOID server is up for this session: {connection}\nexport {SESSION}={folder}"
    output.say(text, session=str(folder), connection=str(connection), pid=session.pid, lease_s=session.lease_s)
    return 0


def _started(folder: Path, session: FarmSession) -> FarmSession:
    """The session, running; as it is where it runs already. Call it in the session's turn."""
    if (folder / _FILE).is_file() and _runs(read_session(folder)):
        return read_session(folder)
    (folder / _LEASE).touch()
    arguments = list(session.arguments)
    pid = leased_server(Path(session.data), folder / _LEASE, session.lease_s, session.share_roots, arguments)
    session = replace(session, pid=pid)
    write_durably(folder / _FILE, json.dumps(schema.dump(session), indent=1).encode())
    return session


def _stop(options: argparse.Namespace, output: Output) -> int:
    folder: Path = options.session.resolve()
    if not (folder / _FILE).is_file():
        output.say(f"There is no session in {folder}.", session=str(folder), stopped=False)
        return 0
    session = read_session(folder)
    data = Path(session.data)
    with turn(folder / "start"):
        (folder / _LEASE).unlink(missing_ok=True)
        _wait_for_end(session, folder / _LEASE)
        (folder / _FILE).unlink(missing_ok=True)
        if data.parent == folder and not options.keep:
            shutil.rmtree(data, ignore_errors=True)
    output.say("The session's server has ended.", session=str(folder), stopped=True)
    return 0


def _wait_for_end(session: FarmSession, lease: Path) -> None:
    """Until the server has let go of its folder, and its process, which holds the GPU, is gone; killed if need be."""

    def gone(patience_s: float) -> bool:
        give_up = time.monotonic() + patience_s
        while folder_in_use(Path(session.data)) or _process_runs(session.pid, lease):
            if time.monotonic() > give_up:
                return False
            time.sleep(0.05)
        return True

    if not gone(_END_S) and _process_runs(session.pid, lease):
        with contextlib.suppress(ProcessLookupError):
            os.kill(session.pid, signal.SIGKILL)
        gone(_KILL_S)


def _process_runs(pid: int, lease: Path) -> bool:
    """Whether the process is still the one that was started: its number may be another's by now, or wait to be
    collected. Only where the system has /proc; elsewhere the folder's lock alone tells."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return os.fsencode(lease) in words


def read_session(folder: Path) -> FarmSession:
    """Raises ``InputError`` where there is none, or it cannot be read."""
    path = folder / _FILE
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise InputError(
            f"There is no farm session in {folder}.", hint=f"Run `void farm start --session {folder}` first."
        ) from problem
    return schema.load(FarmSession, value, where=str(path))


def _runs(session: FarmSession) -> bool:
    data = Path(session.data)
    return folder_in_use(data) and (data / CONNECTION_FILE).is_file()


@contextmanager
def renewed_session(folder: Path) -> Iterator[ClientSettings]:
    """How to reach the session's server, started again where it has gone; its lease is renewed meanwhile."""
    session = read_session(folder)
    lease = folder / _LEASE
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(min(session.lease_s / 4, 15.0)):
            _touch(lease)

    _touch(lease)
    with turn(folder / "start"):
        if not _runs(session):
            session = _started(folder, session)
    thread = threading.Thread(target=renew, name="void lease", daemon=True)
    thread.start()
    try:
        yield load_client_settings({}, {}, Path(session.data) / CONNECTION_FILE)
    finally:
        stop.set()
        thread.join()
        _touch(lease)


def _touch(lease: Path) -> None:
    """Not where it was taken away: the session has been stopped."""
    try:
        os.utime(lease)
    except OSError:
        return


def end_with_lease(lease: Path, lease_s: float, stop: Callable[[], None]) -> None:
    """For the server: call ``stop`` once the lease has not changed for ``lease_s`` seconds, or is gone. Counts by its
    own clock: a wall clock that jumps ends nothing."""

    def watch() -> None:
        seen, since = 0, time.monotonic()
        while time.monotonic() - since < lease_s:
            try:
                stamp = lease.stat().st_mtime_ns
            except OSError:
                break
            if stamp != seen:
                seen, since = stamp, time.monotonic()
            time.sleep(_WATCH_S)
        stop()

    threading.Thread(target=watch, name="void lease", daemon=True).start()
