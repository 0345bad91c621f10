"""Pairing once for all: `void keys pair` on the server, `void nuke install --pair` where the plugin lies."""

from __future__ import annotations

import argparse
import os
import shutil
from io import StringIO
from pathlib import Path
from typing import Any, Optional

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString
from void_client import keys, pairing, schema
from void_client.errors import InputError, SettingsError
from void_client.pairing import Pairing
from void_client.settings import CONNECTION_FILE, data_dir, read_file
from void_client.studio import STUDIO_FILE, PluginSettings

from .nuke_place import write_whole
from .output import Output

KEYS = "keys"


def add_action(actions: Any) -> None:
    """`void keys pair`."""
    pair = actions.add_parser("pair", help="write a pairing file, which connects every artist's plugin at once")
    pair.add_argument("file", type=Path, help="the file to write")
    pair.add_argument("--endpoint", help="the server's address as artists see it; default: what it says of itself")
    pair.add_argument(
        "--shared", metavar="NAME", help="make a key NAME for the whole studio, allow it, and put it into the file"
    )
    pair.add_argument("--data", type=Path, help="the server's folder")
    pair.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="for machines")
    pair.set_defaults(run=_pair)


def _pair(options: argparse.Namespace, output: Output) -> int:
    data = options.data or data_dir(os.environ)
    folder = data / KEYS
    if not (folder / "server.key").exists():
        raise SettingsError(f"There is no server in {data}.", hint="`void serve` makes its keys.")
    endpoint = options.endpoint or _endpoint(data)
    made = Pairing(endpoint, keys.read_public(folder / "server.key"))
    if options.shared:
        name = keys.check_name(options.shared)
        shared = keys.make_pair(folder / "shared", name)
        keys.allow(folder / "clients", name, shared.public)
        made = Pairing(made.endpoint, made.server_key, 1, name, shared.public, shared.secret)
    pairing.write(options.file, made)
    text = f"wrote {options.file} for {endpoint}. Where the plugin is installed: void nuke install --pair FILE"
    if made.shared:
        text += f"\nIt holds the secret key {options.shared!r}: carry it like a password, and delete it afterwards."
    output.say(text, pairing=str(options.file), endpoint=endpoint, shared=options.shared)
    return 0


def _endpoint(data: Path) -> str:
    """What the server tells its clients, where another machine can use that. Raises ``SettingsError``."""
    try:
        endpoint = str(read_file(data / CONNECTION_FILE).get("endpoint", ""))
    except SettingsError:
        endpoint = ""
    if not endpoint or "://127." in endpoint or "://localhost" in endpoint:
        raise SettingsError(
            f"The server in {data} says no address that another machine can use ({endpoint or 'none'}).",
            hint="Give it: --endpoint tcp://HOST:7411",
        )
    return endpoint


def apply(dest: Path, pair: Pairing, group: Optional[str]) -> list[str]:
    """Write the connection into ``dest/studio.yaml``, other settings and comments kept; under the place's lock.

    ``group``: who may read a shared key. Returns what there is to say. Raises ``InputError``, or ``OSError``.
    """
    path = dest / STUDIO_FILE
    document = YAML()
    document.preserve_quotes = True
    try:
        values = document.load(path.read_text(encoding="utf-8")) if path.exists() else None
    except (YAMLError, UnicodeDecodeError) as problem:
        raise SettingsError(f"The settings file {path} cannot be read: {problem}.") from problem
    values = {} if values is None else values
    schema.load(PluginSettings, values, where=f"settings {path}", error=SettingsError)
    values["endpoint"] = DoubleQuotedScalarString(pair.endpoint)
    values["server_key"] = DoubleQuotedScalarString(
        pair.server_key
    )  # a key holds characters that YAML reads as its own
    said = [f"{path} names the server {pair.endpoint}"]
    if pair.shared:
        values["key_file"], values["shared_key"] = f"{KEYS}/{pair.client_name}.key_secret", True
        said.append(_write_key(dest, pair, group))
    elif values.get("shared_key"):
        values.pop("key_file", None)
        values.pop("shared_key", None)
        said.append("the shared key is not used any more; delete it from the folder keys")
    text = StringIO()
    document.dump(values, text)
    write_whole(path, text.getvalue().encode())
    return said


def _write_key(dest: Path, pair: Pairing, group: Optional[str]) -> str:
    """The folder stays open to all, so that `check` can tell; the secret is the group's."""
    folder = dest / KEYS
    folder.mkdir(exist_ok=True)
    path = folder / f"{keys.check_name(pair.client_name or '')}.key_secret"
    text = (
        "# Secret key that this studio shares. Its group may use the server.\n"
        f'metadata\ncurve\n    public-key = "{pair.client_public}"\n    secret-key = "{pair.client_secret}"\n'
    )
    pairing.write_file(path, text.encode(), 0o640)
    if os.name == "posix":
        folder.chmod(0o755)
    if group is not None:
        try:
            shutil.chown(path, group=group)
        except (LookupError, PermissionError) as problem:
            raise InputError(
                f"{path} cannot be given to the group {group!r}: {problem}.", hint="You must be in it, or be root."
            ) from problem
    owner = f"the group {group!r}" if group else "its group"
    return f"{path} holds the shared key: {owner} may read it"
