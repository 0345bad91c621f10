"""The server that a command works on: one that options or a farm session name, or a private one; and a job on it.

Promises: a job has one id for its content and its target, so that trying again goes on with what the first try began;
a submit goes to the next server where the best does not take it, a submitted job stays where it is.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from void_client import servers
from void_client.client import Client
from void_client.errors import Busy, DiskFull, InputError, ServerUnreachable, StoreFull, VoidError
from void_client.job import Resolved, name_the_file
from void_client.manifest import ResultManifest
from void_client.messages import Event
from void_client.settings import ClientSettings

from . import places
from .farm_session import SESSION, renewed_session
from .output import Output
from .private import private_server
from .shot import all_servers
from .stopping import cancel_and_wait
from .turns import work_folder

HOST = ("devices", "models", "memory")
Warm = Callable[[], ClientSettings]
_NEXT = (ServerUnreachable, Busy, StoreFull, DiskFull)  # another server may take it


def is_remote(options: argparse.Namespace) -> bool:
    """Whether a server is named, and no private one is needed."""
    if options.local:
        return False
    return bool(options.server or options.connection or options.remote or os.environ.get(SESSION))


@contextmanager
def session(options: argparse.Namespace, files: Iterable[Path], out: Path) -> Iterator[Client]:
    """A client of the server that the options name, or of a private one, which may read where ``files`` lie.

    ``out``: what the private server's work is kept for, until it has succeeded. Of several servers the first that
    answers.
    """
    with _settings(options, files, out) as found, _first(found) as client:
        yield client


@contextmanager
def _settings(options: argparse.Namespace, files: Iterable[Path], out: Path) -> Iterator[Sequence[ClientSettings]]:
    if options.local or not is_remote(options):
        with work_folder(options.data, out) as data:
            with private_server(data, roots_of(files), host_arguments(options)) as settings:
                yield (settings,)
    elif options.server or options.connection or options.remote:
        yield all_servers(options)
    else:
        with renewed_session(Path(os.environ[SESSION])) as settings:
            yield (settings,)


@contextmanager
def _first(found: Sequence[ClientSettings]) -> Iterator[Client]:
    for settings in found[:-1]:
        client = Client(settings)
        try:
            client.hello()
        except VoidError:
            client.close()
            continue
        with client:
            yield client
        return
    with Client(found[-1]) as client:
        yield client


def roots_of(files: Iterable[Path]) -> list[str]:
    return sorted({str(path.resolve().parent) for path in files})


def host_arguments(options: argparse.Namespace) -> list[str]:
    """The arguments of `void serve` that say how this machine runs engines."""
    arguments = [part for device in options.devices or () for part in ("--device", device)]
    if options.models:
        arguments += ["--models", os.path.abspath(options.models)]
    if options.memory:
        arguments += ["--memory", options.memory]
    return arguments


# --- a job that trying again finds


@contextmanager
def submitted(
    options: argparse.Namespace,
    resolved: Resolved,
    target: Path,
    output: Output,
    *,
    before: Optional[Callable[[str, str], None]] = None,
    warm: Optional[Warm] = None,
) -> Iterator[tuple[Client, str]]:
    """A server that has taken the job, and the job's id there.

    ``before(job id, endpoint)`` is called before it is sent. ``warm``: gives the private server that several shots
    share.
    """
    with contextlib.ExitStack() as stack:
        if warm is not None:
            found: Sequence[ClientSettings] = (warm(),)
        else:
            found = stack.enter_context(_settings(options, resolved.files.values(), target))
        key = "" if options.anew else servers.job_key(resolved.spec, str(target.resolve()))
        if len(found) > 1:
            candidates = servers.choose(found, resolved.spec, key)
            output.note("; ".join(each.why() for each in candidates))
            found = [each.settings for each in candidates]
        for place, settings in enumerate(found):
            last = place == len(found) - 1
            client = Client(settings)
            try:
                job_id = _send(client, options, resolved, key, output, before, patient=last)
            except _NEXT as error:
                client.close()
                if last:
                    raise
                output.note(f"{settings.endpoint} does not take the job: {error.message}")
                continue
            except BaseException:
                client.close()
                raise
            with client:
                if len(found) > 1:
                    servers.remember(servers.state_dir(os.environ), job_id, settings.endpoint)
                yield client, job_id
            return


def _send(
    client: Client,
    options: argparse.Namespace,
    resolved: Resolved,
    key: str,
    output: Output,
    before: Optional[Callable[[str, str], None]],
    *,
    patient: bool,
) -> str:
    job_id = options.job_id or (servers.job_id_for(client, key)[0] if key else str(uuid.uuid4()))
    if before is not None:
        before(job_id, client.settings.endpoint)
    try:
        wait = {} if patient else {"busy_wait_s": 0.0}
        client.deliver(job_id, resolved, priority=options.priority, on_progress=output.transfer, **wait)
    except InputError as error:
        name_the_file(error, resolved.names)
        raise
    except KeyboardInterrupt:
        cancel_and_wait(client, job_id)
        raise
    return job_id


def ended(client: Client, job_id: str, resolved: Resolved, on_event: Callable[[Event], None]) -> None:
    """Wait for the job's end. Raises its error; Ctrl-C and SIGTERM cancel it."""
    try:
        client.wait(job_id, on_event)
    except InputError as error:
        name_the_file(error, resolved.names)
        raise
    except KeyboardInterrupt:
        cancel_and_wait(client, job_id)
        raise


def follow(
    client: Client,
    options: argparse.Namespace,
    resolved: Resolved,
    out: Path | None,
    output: Output,
    *,
    job_id: str = "",
    on_event: Callable[[Event], None] | None = None,
) -> ResultManifest:
    """One job to its end and into ``out``, or nowhere: the manifest is brought at least. Ctrl-C cancels it."""
    job_id = job_id or options.job_id or str(uuid.uuid4())
    try:
        client.deliver(job_id, resolved, priority=options.priority, on_progress=output.transfer)
    except InputError as error:
        name_the_file(error, resolved.names)
        raise
    except KeyboardInterrupt:
        cancel_and_wait(client, job_id)
        raise
    ended(client, job_id, resolved, on_event or output.event)
    if out is None:
        return client.manifest(job_id)
    manifest = client.download(job_id, out, output.transfer)
    places.note(out, resolved.names)
    return manifest
