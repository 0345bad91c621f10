"""Settings: defaults < file < environment < command line, for every program of the project; and the client's own.

A program's settings are one frozen dataclass. Unknown keys in the file and unknown variables under
the program's prefix are errors.
"""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from . import schema
from .errors import SettingsError

T = TypeVar("T")


def load_settings(
    cls: type[T],
    *,
    file: Path | None,
    prefix: str,
    environment: Mapping[str, str],
    overrides: Mapping[str, Any],
) -> T:
    """Build ``cls``. ``file`` (YAML) may be absent where it is None. ``overrides`` that are None count as not given.

    ``prefix`` begins the environment's names: ``VOID_SERVER_`` + the key in capitals. Raises ``SettingsError``.
    """
    values: dict[str, Any] = dict(read_file(file)) if file is not None else {}
    values.update(from_environment(cls, prefix, environment))
    values.update({key: value for key, value in overrides.items() if value is not None})
    where = f"settings {file}" if file is not None else "settings"
    return schema.load(cls, values, where=where, error=SettingsError)


def read_file(file: Path) -> Mapping[str, Any]:
    """A settings file's map of keys, unchecked. Raises ``SettingsError``."""
    try:
        value = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as problem:
        raise SettingsError(f"The settings file {file} cannot be read: {problem}.") from problem
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SettingsError(f"The settings file {file} is not a map of keys.")
    return value


def from_environment(cls: type, prefix: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """The keys of ``cls`` that the environment sets. Raises ``SettingsError`` for a variable that is none of them."""
    hints = typing.get_type_hints(cls)
    names = {prefix + f.name.upper(): f.name for f in dataclasses.fields(cls)}
    values = {}
    for variable, text in environment.items():
        if not variable.startswith(prefix):
            continue
        if variable not in names:
            raise SettingsError(
                f"The environment variable {variable} is not a setting.", hint=f"Known: {', '.join(sorted(names))}."
            )
        values[names[variable]] = _from_text(hints[names[variable]], text, variable)
    return values


def _from_text(hint: Any, text: str, variable: str) -> Any:
    if typing.get_origin(hint) is typing.Union:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        if hint is bool:
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]
        return hint(text) if hint in (int, float) else text
    except (ValueError, KeyError):
        raise SettingsError(f"The environment variable {variable}={text!r} is not {hint.__name__}.") from None


@dataclass(frozen=True)
class ServerEntry:
    """One of several servers. What it does not say, `ClientSettings` says for all."""

    endpoint: str
    server_key: Optional[str] = None
    key_file: Optional[str] = None
    shared_key: bool = False

    def __post_init__(self) -> None:
        _check_endpoint(self.endpoint)


@dataclass(frozen=True)
class ClientSettings:
    """How a client finds its server.

    endpoint: ``tcp://host:port``. server_key: the server's public key. key_file: this user's secret key.
    timeout_s: how long a request may wait for an answer, offline times included. shared_key: the secret key is the
    studio's, and its file's group may read it. servers: several, of which each job gets one (`void_client.servers`);
    ``endpoint`` does not count then.
    """

    endpoint: str = "tcp://127.0.0.1:7411"
    server_key: Optional[str] = None
    key_file: Optional[str] = None
    timeout_s: float = 30.0
    shared_key: bool = False
    servers: tuple[ServerEntry, ...] = ()

    def __post_init__(self) -> None:
        _check_endpoint(self.endpoint)
        if self.timeout_s <= 0:
            raise ValueError("timeout_s must be above 0")


def _check_endpoint(text: str) -> None:
    if not text.startswith("tcp://"):
        raise ValueError(f"the endpoint {text!r} does not begin with tcp://")


CLIENT_PREFIX = "VOID_CLIENT_"
CONNECTION_FILE = "connection.yaml"


def config_dir(environment: Mapping[str, str]) -> Path:
    """Where a user's key and client.yaml live: ``VOID_CONFIG_DIR``, or the platform's usual place."""
    if environment.get("VOID_CONFIG_DIR"):
        return Path(environment["VOID_CONFIG_DIR"])
    if sys.platform == "win32":
        return Path(environment.get("APPDATA", str(Path.home()))) / "void"
    return Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "void"


def default_key_file(environment: Mapping[str, str]) -> Path:
    """This user's own secret key, as ``void keys new`` makes it."""
    return config_dir(environment) / "keys" / "client.key_secret"


def data_dir(environment: Mapping[str, str]) -> Path:
    """Where a server keeps its data by default: ``VOID_SERVER_DATA``, or the platform's usual place."""
    if environment.get("VOID_SERVER_DATA"):
        return Path(environment["VOID_SERVER_DATA"])
    return Path(environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "void"


def load_client_settings(
    environment: Mapping[str, str], overrides: Mapping[str, Any], connection: Path | None = None
) -> ClientSettings:
    """The client's settings. The file is ``connection``, else the user's client.yaml, else the connection
    file that a server of this user on this machine leaves in its data folder. Raises ``SettingsError``."""
    candidates = [config_dir(environment) / "client.yaml", data_dir(environment) / CONNECTION_FILE]
    file = connection or next((path for path in candidates if path.is_file()), None)
    settings = load_settings(
        ClientSettings, file=file, prefix=CLIENT_PREFIX, environment=environment, overrides=overrides
    )
    if settings.key_file is None:
        settings = dataclasses.replace(settings, key_file=str(default_key_file(environment)))
    return settings
