"""Putting a server together: folder, lock, keys, socket, journal, workers; and taking it apart again."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import secrets
import signal
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq
from void_client.errors import SettingsError
from void_client.keys import KeyPair, allow, make_pair
from void_client.provenance import read_keys
from void_client.settings import CONNECTION_FILE

from .access import ZAP_DOMAIN, AllowList, start_authenticator
from .handlers import Office
from .journal import Journal
from .results import Results
from .router import Router
from .scheduler import Scheduler
from .settings import ServerSettings
from .signing import key_path
from .signing import start as start_signing
from .store import FrameStore
from .supervisor import Worker

log = logging.getLogger(__name__)

_MAX_MESSAGE = 16 << 20


def keys_folder(data: Path) -> Path:
    return data / "keys"


def clients_folder(data: Path) -> Path:
    """The allow-list."""
    return data / "keys" / "clients"


def serve(settings: ServerSettings, on_ready: Callable[[str, str, Router], None]) -> None:
    """Run a server in this thread until its router is stopped.

    ``on_ready(endpoint, public key, router)`` is called once clients may connect. Raises ``SettingsError`` where
    the folder is in use, the address is taken or the journal cannot be read.
    """
    if settings.shared_cache_keys:
        read_keys(settings.shared_cache_keys)  # a list that cannot be read is told now, not in a worker's log
    settings.root.mkdir(parents=True, exist_ok=True)
    with _lock(settings.root), contextlib.ExitStack() as closing:
        keys = make_keys(settings.root)
        start_signing(key_path(settings.root, settings.signing_key))
        journal = _open_journal(settings.root)
        closing.callback(journal.close)
        executor = ThreadPoolExecutor(4, thread_name_prefix="void store")
        closing.callback(executor.shutdown)
        allow_list = AllowList(clients_folder(settings.root))
        socket, endpoint = _listen(settings, keys, allow_list, closing)
        office = _office(settings, journal, executor, allow_list)
        router = Router(office, socket)
        write_connection(settings.root, endpoint, keys.public)
        on_ready(endpoint, keys.public, router)
        router.run()


def stop_on_signals(router: Router) -> None:
    """SIGTERM and Ctrl-C end the server in order. Main thread only."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: router.stop())


def make_keys(data: Path) -> KeyPair:
    """The server's key pair, and an allowed one for this user on this machine; both made where they lack."""
    pair = make_pair(keys_folder(data), "server")
    first = not (keys_folder(data) / "local.key_secret").exists()
    local = make_pair(keys_folder(data), "local")
    if first:  # only then: a revoked local key stays revoked
        allow(clients_folder(data), "local", local.public)
    return pair


def write_connection(data: Path, endpoint: str, public: str) -> Path:
    """The file that tells a client of this machine all it needs."""
    path = data / CONNECTION_FILE
    temporary = path.with_suffix(".tmp")
    values = {
        "endpoint": endpoint,
        "server_key": public,
        "key_file": str((keys_folder(data) / "local.key_secret").resolve()),
    }
    # JSON is YAML, and quotes keys: a Z85 key may begin with any of YAML's signs.
    temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


@contextmanager
def _lock(data: Path) -> Iterator[None]:
    with (data / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SettingsError(
                f"Another server uses {data}.", hint="Stop it, or give this one its own folder (--data)."
            ) from None
        yield


def collect_offline(settings: ServerSettings, *, dry_run: bool) -> dict[str, Any]:
    """What `void gc` does where no server runs in the folder. Raises ``SettingsError`` where one does."""
    with _lock(settings.root), contextlib.ExitStack() as closing:
        journal = _open_journal(settings.root)
        closing.callback(journal.close)
        executor = ThreadPoolExecutor(1)
        closing.callback(executor.shutdown)
        office = _office(settings, journal, executor, AllowList(clients_folder(settings.root)))
        freed = office.collect(dry_run).future.result()
    return dict(freed)


def _open_journal(data: Path) -> Journal:
    try:
        return Journal(data / "journal.sqlite")
    except sqlite3.DatabaseError as problem:
        raise SettingsError(
            f"The journal in {data} cannot be used: {problem}.",
            hint="Move journal.sqlite away; frames and results on disk are kept.",
        ) from problem


def _listen(
    settings: ServerSettings, keys: KeyPair, allow_list: AllowList, closing: contextlib.ExitStack
) -> tuple[zmq.Socket[bytes], str]:
    context = zmq.Context()
    closing.callback(context.term)
    authenticator = start_authenticator(context, allow_list)
    closing.callback(authenticator.stop)
    socket = context.socket(zmq.ROUTER)
    closing.callback(socket.close, 1000)
    socket.curve_server = True
    socket.curve_publickey = keys.public.encode()
    socket.curve_secretkey = keys.secret.encode()
    socket.zap_domain = ZAP_DOMAIN.encode()
    socket.set(zmq.ROUTER_MANDATORY, 1)
    socket.set(zmq.MAXMSGSIZE, _MAX_MESSAGE)
    socket.set(zmq.SNDHWM, 256)
    socket.set(zmq.RCVHWM, 64)
    socket.set(zmq.HEARTBEAT_IVL, 2000)
    socket.set(zmq.HEARTBEAT_TIMEOUT, 8000)
    socket.set(zmq.HANDSHAKE_IVL, 2000)
    socket.set(zmq.TCP_KEEPALIVE, 1)
    try:
        socket.bind(settings.bind)
    except zmq.ZMQError as problem:
        raise SettingsError(f"Cannot listen at {settings.bind}: {problem}.", hint="Choose another --bind.") from problem
    bound = bytes(socket.get(zmq.LAST_ENDPOINT)).decode().rstrip("\0")
    return socket, settings.endpoint or bound.replace("//0.0.0.0:", "//127.0.0.1:")


def _office(settings: ServerSettings, journal: Journal, executor: ThreadPoolExecutor, allow_list: AllowList) -> Office:
    root = settings.root
    store = FrameStore(
        root / "store",
        journal,
        executor,
        max_bytes=settings.store_max_bytes,
        max_frame_bytes=settings.max_frame_bytes,
        reserve_bytes=settings.disk_reserve_bytes,
        share_roots=settings.share_roots,
    )
    workers = [Worker(device, root, settings.disk_reserve_bytes, settings.host) for device in settings.devices]
    return Office(
        settings=settings,
        server_id=secrets.token_hex(8),
        journal=journal,
        store=store,
        scheduler=Scheduler(journal, workers, settings),
        results=Results(root / "results"),
        executor=executor,
        allow_list=allow_list,
    )
