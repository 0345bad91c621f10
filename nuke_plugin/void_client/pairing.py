"""Bringing a client and a server together: the pairing file and the artist's own key.

A pairing file is what `void keys pair` writes on the server and `void nuke install --pair` reads: endpoint, the
server's public key and, where the TD chose so, a key that the whole studio shares. Promises: a secret key is never
shown.
"""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from . import keys, schema
from .errors import DiskFull, NotAuthorised, SettingsError, is_no_room
from .settings import ClientSettings, default_key_file, read_file

VERSION = 1


@dataclass(frozen=True)
class Pairing:
    """``client_…``: the shared key; all three or none."""

    endpoint: str
    server_key: str
    void_pairing: int = VERSION
    client_name: Optional[str] = None
    client_public: Optional[str] = None
    client_secret: Optional[str] = None

    def __post_init__(self) -> None:
        if self.void_pairing != VERSION:
            raise ValueError(f"it is of version {self.void_pairing}, and this VOID reads version {VERSION}: update it")
        if not self.endpoint.startswith("tcp://"):
            raise ValueError(f"the endpoint {self.endpoint!r} does not begin with tcp://")
        given = [value is not None for value in (self.client_name, self.client_public, self.client_secret)]
        if any(given) and not all(given):
            raise ValueError("client_name, client_public and client_secret belong together")
        for text in (self.server_key, self.client_public, self.client_secret):
            if text is not None and not re.fullmatch(r"[!-~]{40}", text):
                raise ValueError("a key in it is not a key: 40 characters, as `void keys` writes them")

    def __repr__(self) -> str:
        return f"Pairing({self.endpoint!r}, {self.server_key!r}, client_name={self.client_name!r}, …)"

    @property
    def shared(self) -> bool:
        return self.client_secret is not None


def read(path: Path) -> Pairing:
    """Raises ``SettingsError`` that names the file."""
    return schema.load(Pairing, read_file(path), where=f"pairing file {path}", error=SettingsError)


def write(path: Path, pairing: Pairing) -> None:
    """With mode 0600 from its first byte where it holds a secret. Raises ``SettingsError``, ``DiskFull``."""
    holds = "It holds a secret key: whoever reads it may use the server." if pairing.shared else "It holds no secret."
    lines = [f"# Pairing file of a VOID server, for `void nuke install --pair`. {holds}"]
    # Always quoted: keys hold every character that means something in YAML.
    lines += [f"{key}: {json.dumps(value)}" for key, value in dataclasses.asdict(pairing).items() if value is not None]
    write_file(path, "".join(line + "\n" for line in lines).encode(), 0o600 if pairing.shared else 0o644)


def write_file(path: Path, data: bytes, mode: int) -> None:
    """The whole file or nothing, and open to nobody else until it has its ``mode``. Raises ``SettingsError``,
    ``DiskFull``."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if os.name == "posix":
            temporary.chmod(mode)
        temporary.replace(path)
    except OSError as problem:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if is_no_room(problem):
            raise DiskFull(f"The disk is full: {path} was not written.") from problem
        raise SettingsError(f"{path} cannot be written: {problem.strerror}.") from problem


# --- an artist's own key


def own_public_key(settings: ClientSettings, environment: Mapping[str, str]) -> str:
    """This user's public key. The key is made at first use where the settings name no other file.

    Raises ``NotAuthorised`` where the key's file cannot be used.
    """
    path = Path(settings.key_file or default_key_file(environment))
    if path == default_key_file(environment) and not path.exists():
        try:
            return keys.make_pair(path.parent, path.name[: -len(".key_secret")]).public
        except OSError as problem:
            raise NotAuthorised(f"Your key cannot be made in {path.parent}: {problem.strerror}.") from problem
    return keys.read_pair(path, shared=settings.shared_key).public


def allow_command(public: str, name: str = "") -> str:
    """What the TD types on the server's machine to let this key in."""
    return f"void keys allow {name or user_name()} {keys.spelled(public)}"


def user_name() -> str:
    """The login name as a key's name."""
    try:
        login = getpass.getuser()
    except (OSError, KeyError, ImportError):
        login = ""
    return re.sub(r"[^A-Za-z0-9._-]", "_", login).lstrip("._-")[:64] or "artist"


def refused(error: NotAuthorised, settings: ClientSettings, environment: Mapping[str, str]) -> str:
    """What to do when a key is not let in: the very line that the TD must type."""
    if not settings.server_key:
        return "For your TD: the server's key is not known here. `void nuke install --pair` sets it for everybody."
    try:
        public = own_public_key(settings, environment)
    except NotAuthorised as own:
        return str(own)
    if settings.shared_key:
        return "For your TD: it is the studio's shared key that is refused; see `void keys list` on the server."
    return f"For your TD, to be typed on the server:\n{allow_command(public)}"
