"""A server of our own: for one render, which it ends with, or for a farm session, whose lease it ends with.

Promises: nothing listens but on 127.0.0.1; a folder whose last server was just killed is waited for; no server outlives
who wanted it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from void_client.errors import Busy, ServerUnreachable
from void_client.settings import CONNECTION_FILE, ClientSettings, load_client_settings

from .shot import user_signing_key

_START_S = 60.0
_FOLDER_S = 30.0  # for the server of a killed render to end: it and its workers see that within a second


@contextmanager
def private_server(
    data: Path, share_roots: Sequence[str], host: Sequence[str] = (), *, sign_as_user: bool = True
) -> Iterator[ClientSettings]:
    """A server process of our own on a free local port, which ends with us. ``host``: arguments of `void serve`.
    ``sign_as_user``: with the user's own key, else with one of the data folder.

    Raises ``ServerUnreachable``, and ``Busy`` where another render works in the folder.
    """
    _wait_for_folder(data)
    command = [*serve_command(data, share_roots, host), "--until-stdin-closes"]
    log_path = data / "output.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment_of(sign_as_user=sign_as_user),
            start_new_session=True,
        )
    connection = data / CONNECTION_FILE
    try:
        wait_for(connection, process, log_path)
        yield load_client_settings({}, {}, connection)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def leased_server(data: Path, lease: Path, lease_s: float, share_roots: Sequence[str], host: Sequence[str]) -> int:
    """A server that nobody holds, and that ends by itself once ``lease`` was not touched for ``lease_s`` seconds, or
    is gone. Returns its process id.

    Raises ``ServerUnreachable``, and ``Busy`` where another server works in the folder.
    """
    _wait_for_folder(data, patience_s=0.0)
    command = [*serve_command(data, share_roots, host), "--lease", str(lease), "--lease-s", str(lease_s)]
    log_path = data / "output.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment_of(), start_new_session=True
        )
    try:
        wait_for(data / CONNECTION_FILE, process, log_path)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process.pid


def serve_command(data: Path, share_roots: Sequence[str], host: Sequence[str]) -> list[str]:
    command = [sys.executable, "-m", "void_cli.main", "serve", "--data", str(data), "--bind", "tcp://127.0.0.1:*"]
    for root in share_roots:
        command += ["--share-root", root]
    return [*command, *host]


def environment_of(*, sign_as_user: bool = True) -> dict[str, str]:
    """From the environment it takes how this machine runs engines, not where a server is."""
    from void_server.settings import HOST_KEYS, PREFIX

    kept = {PREFIX + key.upper() for key in ("devices", *HOST_KEYS)}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX) or k in kept}
    if sign_as_user:
        _sign_as_the_user(environment, PREFIX + "SIGNING_KEY")
    return environment


def _sign_as_the_user(environment: dict[str, str], variable: str) -> None:
    """Data folders of private servers come and go; results that one user makes should have one key to be pinned.

    Where the user's settings cannot be written, as on some farms, the data folder's own key has to do.
    """
    key = user_signing_key(environment)
    with contextlib.suppress(OSError):
        key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if key.exists() or os.access(key.parent, os.W_OK):
        environment.setdefault(variable, str(key))


def folder_in_use(data: Path) -> bool:
    """Whether a server works in the folder, as `void_server.server` locks it."""
    import fcntl

    try:
        with (data / "lock").open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _wait_for_folder(data: Path, patience_s: float = _FOLDER_S) -> None:
    data.mkdir(parents=True, exist_ok=True)
    give_up = time.monotonic() + patience_s
    while folder_in_use(data):
        if time.monotonic() > give_up:
            raise Busy(
                f"Another render works in {data}.",
                hint="The same shot is being rendered into the same folder: wait for it, or stop it.",
                details={"retry_after": 30.0},
            )
        time.sleep(0.05)
    (data / CONNECTION_FILE).unlink(missing_ok=True)


def wait_for(connection: Path, process: subprocess.Popen[bytes], log_path: Path) -> None:
    """Raises ``ServerUnreachable`` with the end of its log where the server does not come up."""
    give_up = time.monotonic() + _START_S
    while not connection.is_file():
        if process.poll() is not None or time.monotonic() > give_up:
            tail = log_path.read_text(errors="replace").strip().splitlines()[-3:]
            raise ServerUnreachable(f"The private server did not start: {' / '.join(tail)}", hint=f"Log: {log_path}")
        time.sleep(0.02)
