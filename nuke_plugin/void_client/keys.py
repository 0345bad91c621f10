"""CURVE keys on disk: pairs, one public key per allowed client. Files are ZeroMQ's certificate format.

Promises: secret files are readable by their owner only; a key that exists is never overwritten.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

import zmq
import zmq.auth
from zmq.utils import z85

from .errors import NotAuthorised, SettingsError

_NAME = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@dataclass(frozen=True)
class KeyPair:
    """Z85 text, 40 characters each."""

    public: str
    secret: str

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public!r}, secret=…)"


def spelled(public: str) -> str:
    """A public key in letters and digits alone, for people to hand on: Z85 has brackets, dollars, quotes of a shell and
    what a dialog takes for HTML. `check_public` reads both."""
    return f"hex:{z85.decode(public.encode('ascii')).hex()}"


def check_public(text: str) -> str:
    """A public key as 40 characters of Z85; ``hex:`` and 64 hex digits mean the same. Raises ``SettingsError``."""
    try:
        if text.startswith("hex:") and len(text) == 68:
            return str(z85.encode(bytes.fromhex(text[4:])).decode("ascii"))
        if len(text) == 40 and len(z85.decode(text.encode("ascii"))) == 32:
            return text
    except (ValueError, KeyError, UnicodeEncodeError):
        pass
    raise SettingsError(
        f"{text[:60]!r} is not a public key.", hint="A key is 40 characters as `void keys` prints it, or `hex:` and 64."
    )


def check_name(text: str) -> str:
    if not _NAME.match(text):
        raise SettingsError(f"{text[:60]!r} is not a key's name.", hint="Use letters, digits, '.', '_' and '-'.")
    return text


def make_pair(folder: Path, name: str) -> KeyPair:
    """Create ``name.key`` and ``name.key_secret`` (mode 0600) unless they exist; returns the pair."""
    secret = folder / f"{check_name(name)}.key_secret"
    if not secret.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        before = os.umask(0o077)  # the secret must not be readable for an instant either
        try:
            zmq.auth.create_certificates(str(folder), name)
            while read_public(folder / f"{name}.key").startswith("-"):  # a command line would take it for an option
                zmq.auth.create_certificates(str(folder), name)
        finally:
            os.umask(before)
    return read_pair(secret)


def read_pair(path: Path, *, shared: bool = False) -> KeyPair:
    """``shared``: a studio's key, which its file's group may read (mode 0640).

    Raises ``NotAuthorised`` where the file is missing, unreadable, open to others or not a key.
    """
    if not path.is_file():
        raise NotAuthorised(f"There is no key at {path}.", hint="Make one with `void keys new`.")
    forbidden = stat.S_IRWXO | (stat.S_IWGRP | stat.S_IXGRP if shared else stat.S_IRWXG)
    if os.name == "posix" and path.stat().st_mode & forbidden:
        mode = "640" if shared else "600"
        raise NotAuthorised(f"The secret key {path} can be read by others.", hint=f"Run: chmod {mode} {path}")
    try:
        public, secret = zmq.auth.load_certificate(str(path))
    except (OSError, ValueError) as problem:
        raise NotAuthorised(f"The key {path} cannot be read: {problem}.") from problem
    if secret is None:
        raise NotAuthorised(f"{path} holds no secret key.", hint="Name the .key_secret file.")
    return KeyPair(public.decode(), secret.decode())


def allow(folder: Path, name: str, public: str) -> Path:
    """Write a client's public key into an allow-list folder. Raises ``SettingsError`` where the name is taken."""
    path = folder / f"{check_name(name)}.key"
    if path.exists() and read_public(path) != check_public(public):
        raise SettingsError(f"The name {name!r} has another key already.", hint=f"Run first: void keys revoke {name}")
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(f'metadata\ncurve\n    public-key = "{check_public(public)}"\n', encoding="ascii")
    temporary.replace(path)
    return path


def revoke(folder: Path, name: str) -> None:
    """Raises ``SettingsError`` where there is no such name."""
    path = folder / f"{check_name(name)}.key"
    if not path.exists():
        raise SettingsError(f"No client is called {name!r}.", hint="`void keys list` shows them.")
    path.unlink()


def allowed(folder: Path) -> dict[str, str]:
    """Public key → name for every file of an allow-list folder."""
    if not folder.is_dir():
        return {}
    return {read_public(path): path.stem for path in sorted(folder.glob("*.key"))}


def read_public(path: Path) -> str:
    """Raises ``SettingsError`` naming the file."""
    try:
        public, _ = zmq.auth.load_certificate(str(path))
    except (OSError, ValueError) as problem:
        raise SettingsError(f"The key {path} cannot be read: {problem}.") from problem
    return str(public.decode())
