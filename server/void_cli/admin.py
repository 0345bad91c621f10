"""Commands for whoever runs a server: keys, gc."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from void_client import keys
from void_client.errors import SettingsError
from void_client.provenance import key_id
from void_client.settings import config_dir, data_dir, load_settings

from . import nuke_pair
from .output import Output
from .shot import add_server_arguments, open_client, user_signing_key


def add_commands(commands: Any) -> None:
    command = commands.add_parser("keys", help="keys: this user's, and who may use a server")
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="make this user's key and print its public half")
    new.set_defaults(run=_new)
    show = actions.add_parser("show", help="print a server's public key")
    allow = actions.add_parser("allow", help="let a client in: NAME and its public key")
    allow.add_argument("name")
    allow.add_argument("public_key")
    revoke = actions.add_parser("revoke", help="shut a client out, from its next message on")
    revoke.add_argument("name")
    listing = actions.add_parser("list", help="who may use the server")
    signing = actions.add_parser("signing", help="print the public key that verifies results, making it where it lacks")
    signing.add_argument("--user", action="store_true", help="this user's, which `void render` signs with")
    signing.add_argument("--key-file", type=Path, help="the file of the setting signing_key")
    signing.add_argument("--rotate", action="store_true", help="make another; the old one verifies what it signed")
    for action, run in ((show, _show), (allow, _allow), (revoke, _revoke), (listing, _list), (signing, _signing)):
        action.add_argument("--data", type=Path, help="the server's folder")
        action.set_defaults(run=run)
    for action in (new, show, allow, revoke, listing, signing):
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="for machines")
    nuke_pair.add_action(actions)
    gc = commands.add_parser("gc", help="bring a server's store, stages and results within their budgets now")
    gc.add_argument("--dry-run", action="store_true", help="say what would go")
    gc.add_argument("--data", help="the folder of a server that does not run; without it a running one is asked")
    gc.add_argument("--config", type=Path, help="its settings file (with --data)")
    add_server_arguments(gc)
    gc.set_defaults(run=_gc)


def _data(options: argparse.Namespace) -> Path:
    return options.data or data_dir(os.environ)


def _clients(options: argparse.Namespace) -> Path:
    """The allow-list. Raises ``SettingsError`` where no server has ever run: a mistyped folder must not get one."""
    folder = _data(options) / "keys"
    if not (folder / "server.key").exists():
        raise SettingsError(f"There is no server in {_data(options)}.", hint="`void serve` makes its keys.")
    return folder / "clients"


def _new(options: argparse.Namespace, output: Output) -> int:
    folder = config_dir(os.environ) / "keys"
    pair = keys.make_pair(folder, "client")
    output.say(
        f"{pair.public}\nGive this public key to whoever runs the server: void keys allow NAME '{pair.public}'",
        public_key=pair.public,
        key_file=str(folder / "client.key_secret"),
    )
    return 0


def _show(options: argparse.Namespace, output: Output) -> int:
    public = keys.read_public(_clients(options).parent / "server.key")
    output.say(public, public_key=public)
    return 0


def _allow(options: argparse.Namespace, output: Output) -> int:
    keys.allow(_clients(options), options.name, options.public_key)
    output.say(f"{options.name} may use the server.", allowed=options.name)
    return 0


def _revoke(options: argparse.Namespace, output: Output) -> int:
    keys.revoke(_clients(options), options.name)
    output.say(f"{options.name} is shut out.", revoked=options.name)
    return 0


def _list(options: argparse.Namespace, output: Output) -> int:
    for public, name in sorted(keys.allowed(_clients(options)).items(), key=lambda item: item[1]):
        output.say(f"{name:<24} {public}", name=name, public_key=public)
    return 0


def _signing(options: argparse.Namespace, output: Output) -> int:
    from void_server import signing

    if options.key_file is None and not options.user:
        _clients(options)  # there is a server
    data = user_signing_key(os.environ) if options.user else signing.key_path(_data(options))
    path = options.key_file or data
    try:
        public = signing.rotate_key(path) if options.rotate else signing.make_key(path)
    except OSError as problem:
        raise SettingsError(f"The signing key {path} cannot be written: {problem.strerror}.") from problem
    output.say(public, public_key=public, key_id=key_id(public), key_file=str(path))
    return 0


def _gc(options: argparse.Namespace, output: Output) -> int:
    if options.data is not None:
        freed = _collect_offline(options)
    else:
        with open_client(options) as client:
            freed = client.collect(options.dry_run)
    verb = "would go" if options.dry_run else "gone"
    parts = ", ".join(
        f"{name} {freed.get(name, 0) / 1e6:.1f} MB" for name in ("store", "uploads", "stages", "results", "shared")
    )
    output.say(f"{verb}: {parts}; {freed.get('jobs', 0)} old jobs", dry_run=options.dry_run, freed=freed)
    return 0


def _collect_offline(options: argparse.Namespace) -> dict[str, Any]:
    from void_server.server import collect_offline
    from void_server.settings import PREFIX, ServerSettings

    settings = load_settings(
        ServerSettings, file=options.config, prefix=PREFIX, environment=os.environ, overrides={"data": options.data}
    )
    if not (settings.root / "journal.sqlite").is_file():
        raise SettingsError(f"There is no server's data in {settings.root}.", hint="Name the folder of `void serve`.")
    return collect_offline(settings, dry_run=options.dry_run)
