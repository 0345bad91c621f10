"""Who may connect: the allow-list of client keys, asked by ZeroMQ's authenticator and again per message.

Promises: only CURVE clients with a listed key reach the router; a revoked key is refused from the next
message on, also on lines that are open already; refusals are logged and counted.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import zmq
from void_client.errors import SettingsError
from void_client.keys import allowed
from zmq.auth.thread import ThreadAuthenticator

log = logging.getLogger(__name__)

ZAP_DOMAIN = "void"


class AllowList:
    """Public keys in a folder, read again whenever the folder changes. Safe to ask from any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refused = 0
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._names: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def name_of(self, public_key: str) -> str | None:
        """The client's name, or None for a stranger."""
        with self._lock:
            try:
                status = self.folder.stat()
                stamp = (status.st_mtime_ns, status.st_ino)
                if stamp != self._stamp:
                    self._names = allowed(self.folder)
                    self._stamp = stamp
            except (OSError, SettingsError) as problem:
                log.error("the allow-list cannot be read, everybody is refused: %s", problem)
                self._names, self._stamp = {}, None
            return self._names.get(public_key)

    def callback(self, domain: str, key: bytes) -> bool:
        """For ``ThreadAuthenticator.configure_curve_callback``."""
        name = self.name_of(key.decode("ascii", "replace"))
        if name is None or domain != ZAP_DOMAIN:
            self.refused += 1
            log.warning("refused a client with the key %s", key.decode("ascii", "replace"))
            return False
        return True


def start_authenticator(context: zmq.Context[zmq.Socket[bytes]], allow_list: AllowList) -> ThreadAuthenticator:
    """Must run before the router's socket is bound; ``stop()`` it at the end."""
    authenticator = ThreadAuthenticator(context, log=logging.getLogger("void_server.zap"))
    authenticator.start()
    # The domain is named: "*" is no wildcard once a socket has one.
    authenticator.configure_curve_callback(domain=ZAP_DOMAIN, credentials_provider=allow_list)
    return authenticator
