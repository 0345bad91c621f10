"""``void models``: fetch, verify and list what the engine ``void`` runs on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import Output

if TYPE_CHECKING:
    from void_engine.models.catalogue import Model


def add_commands(commands: Any) -> None:
    command = commands.add_parser("models", help="the models of the engine `void`: fetch, verify, list")
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    fetch = actions.add_parser("fetch", help="bring the models from the hub into a folder; goes on where it stopped")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="which (base and void): see `void models list`")
    fetch.add_argument("--accept-licences", action="store_true", help="you have read the licences and accept them")
    fetch.add_argument("--all", action="store_true", help="optional files, too: the base's own transformer (11 GB)")
    fetch.set_defaults(run=_fetch)
    verify = actions.add_parser("verify", help="compare a folder with what was fetched; needs no network")
    verify.set_defaults(run=_verify)
    listing = actions.add_parser("list", help="what VOID uses: size, licence, revision, and what a folder has of it")
    listing.set_defaults(run=_list)
    for action in (fetch, verify, listing):
        action.add_argument("--models", type=Path, required=action is not listing, help="the models' folder")
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="for machines")


def _fetch(options: argparse.Namespace, output: Output) -> int:
    from void_engine.models.catalogue import choose
    from void_engine.models.fetch import fetch
    from void_engine.models.hub import Hub

    models = choose(options.names)
    hub = Hub()
    accepted = _licences(models, options, output)
    root = options.models.absolute()
    fresh = size = 0
    try:
        for file in fetch(root, models, hub, accepted, output.transfer, everything=options.all):
            fresh, size = fresh + file.fresh, size + file.size
            word = "fetched" if file.fresh else "was there"
            values = {"file": file.place, "size": file.size, "sha256": file.sha256, "fresh": file.fresh}
            output.say(f"{word:<9}  {file.place}", **values)
    finally:
        hub.close()
    total = {"models": str(root), "size": size, "fetched": fresh}
    output.say(f"{root}: {_amount(size)} of models, {fresh} files came now.", **total)
    return 0


def _licences(models: Sequence[Model], options: argparse.Namespace, output: Output) -> list[str]:
    """Shows every licence; the names of those that are accepted: by the flag, or by an answer on a terminal."""
    from void_engine.models.fetch import unaccepted

    for model in models:
        licence, size = model.licence, model.size(options.all)
        output.say(
            f"{model.repository}, {_amount(size)}\n  {licence.name}: {licence.url}\n  {licence.says}",
            model=model.name,
            repository=model.repository,
            size=size,
            licence=licence.name,
            url=licence.url,
        )
    names = [model.licence.name for model in models]
    if options.accept_licences:
        return names
    if not unaccepted(models, []) or options.json or not sys.stdin.isatty():
        return []
    output.say("Type `yes` if you have read the licences and accept them:")
    return names if sys.stdin.readline().strip().lower() == "yes" else []


def _verify(options: argparse.Namespace, output: Output) -> int:
    from void_engine.models.verify import failure, verify

    root = options.models.absolute()
    findings = []
    for finding in verify(root, progress=output.transfer):
        findings.append(finding)
        output.say(
            f"{finding.state:<8}  {finding.file}: {finding.text}",
            file=finding.file,
            state=finding.state,
            finding=finding.text,
            size=finding.size,
            sha256=finding.sha256 or None,
        )
    error = failure(findings, root)
    if error is not None:
        raise error
    return 0


def _list(options: argparse.Namespace, output: Output) -> int:
    from void_engine.models.catalogue import CATALOGUE
    from void_engine.models.lock import read_lock

    root = options.models.absolute() if options.models else None
    locked = read_lock(root) if root else {}
    for model in CATALOGUE:
        recorded = locked[model.name].revision if model.name in locked else ""
        revision = model.revision or recorded
        size = _amount(model.size())
        if model.size(everything=True) > model.size():
            size += f" ({_amount(model.size(everything=True))} with what is optional)"
        lines = [
            f"{model.name}: {model.purpose}",
            f"  {model.repository}, {size}, {model.licence.name}: {model.licence.url}",
            f"  revision {revision or 'not pinned: the first fetch records it'}",
        ]
        present = None
        if root is not None:
            present = [file.name for file in model.files if (root / model.place(file.name)).is_file()]
            lines.append(f"  {len(present)} of {len(model.files)} files are in {root}")
        output.say(
            "\n".join(lines),
            model=model.name,
            repository=model.repository,
            revision=revision or None,
            size=model.size(),
            size_with_optional=model.size(everything=True),
            licence=model.licence.name,
            url=model.licence.url,
            files=[file.name for file in model.files],
            present=present,
        )
    return 0


def _amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 10**8 else f"{size / 1e6:.1f} MB"
