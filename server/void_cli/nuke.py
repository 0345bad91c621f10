"""``void nuke``: install the plugin for Nuke, check it, change its version, remove it.

Promises: needs the base install only. Whatever fails leaves the version that artists use as it was.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from void_client import pairing
from void_client.errors import InputError, VoidError
from void_client.path_map import PLATFORMS, this_platform
from void_client.studio import load_plugin_settings

from . import nuke_check, nuke_pair, nuke_source, nuke_targets, nuke_wheels
from .nuke_place import Place, Version, as_plain_errors
from .output import Output

DEFAULT = Path("~/.nuke/void")


def add_commands(commands: Any) -> None:
    command = commands.add_parser("nuke", help="the plugin for Nuke: install, check, switch, uninstall")
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    install = actions.add_parser("install", help="lay this version of the plugin and use it")
    _add_targets(install)
    install.add_argument("--wheels", type=Path, help="take the packages from this folder: no index is asked")
    install.add_argument("--pair", type=Path, metavar="FILE", help="a pairing file: connects every artist")
    install.add_argument("--group", help="with --pair: the group that may read a shared key")
    install.set_defaults(run=_install)
    wheels = actions.add_parser("wheels", help="fetch the packages into a folder, for machines without an index")
    wheels.add_argument("folder", type=Path)
    _add_targets(wheels)
    wheels.set_defaults(run=_wheels)
    check = actions.add_parser("check", help="say what is wrong with an installation; exit code 2 where anything is")
    check.add_argument("place", nargs="?", type=Path, metavar="DEST", help="as --dest")
    check.add_argument(
        "--nuke", action="append", default=[], type=Path, help="a Nuke: its own Python tries the packages"
    )
    check.add_argument(
        "--with", dest="pythons", action="append", default=[], type=Path, metavar="PYTHON", help="a Python"
    )
    check.set_defaults(run=_check)
    listing = actions.add_parser("list", help="the versions that are installed")
    listing.set_defaults(run=_list)
    switch = actions.add_parser("switch", help="use another version that is installed: roll back")
    switch.add_argument("version")
    switch.set_defaults(run=_switch)
    uninstall = actions.add_parser("uninstall", help="remove a version, or all of it")
    uninstall.add_argument("version", nargs="?", help="only this one")
    uninstall.add_argument("--settings", action="store_true", help="studio.yaml and its keys, too")
    uninstall.set_defaults(run=_uninstall)
    for action in (install, check, listing, switch, uninstall):
        action.add_argument("--dest", type=Path, default=DEFAULT, help=f"the installation's folder ({DEFAULT})")
    for action in (install, wheels, check, listing, switch, uninstall):
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="for machines")


def _add_targets(action: argparse.ArgumentParser) -> None:
    many = {"action": "append", "default": []}
    action.add_argument("--nuke", type=Path, metavar="PATH", help="a Nuke's folder or program: its Python", **many)  # type: ignore[arg-type]
    action.add_argument("--python", choices=nuke_targets.PYTHONS, help="a Python version; all without", **many)  # type: ignore[arg-type]
    action.add_argument("--platform", choices=PLATFORMS, help="all without", **many)  # type: ignore[arg-type]
    action.add_argument("--this-platform", action="store_true", help="this one only")
    action.add_argument("--glibc", choices=("2.17",), default="", help="for Linux hosts as old as CentOS 7")
    action.add_argument("--pins", type=Path, help="another list of wheels and their hashes: a studio's own builds")


def _targets(options: argparse.Namespace) -> tuple[nuke_targets.Target, ...]:
    return nuke_targets.chosen(options.python, options.nuke, options.platform, options.this_platform, options.glibc)


def _install(options: argparse.Namespace, output: Output) -> int:
    place, targets, pins = Place(options.dest), _targets(options), nuke_wheels.load_pins(options.pins)
    files = nuke_source.files()
    pair = pairing.read(options.pair) if options.pair else None
    launcher = {Path(name).name: files.pop(name) for name in nuke_source.LAUNCHER}
    with tempfile.TemporaryDirectory(prefix="void-wheels-") as temporary:
        wheels = options.wheels or Path(temporary)
        nuke_wheels.collect(targets, pins, wheels, fetch=options.wheels is None, tell=output.say)
        with place.locked():
            before = place.current()
            version, new = place.add(files, targets, pins, wheels)
            said = nuke_pair.apply(place.dest, pair, options.group) if pair is not None else []
            place.use(version, launcher)
    what = f"VOID {version.name} is {'installed' if new else 'there already'} in {place.dest}"
    if before not in (None, version.folder.name):
        what += f" and used from the next start of Nuke on; void nuke switch brings {before} back"
    output.say(f"{what}.", installed=str(version.folder), version=version.name, new=new, targets=list(version.targets))
    for line in said:
        output.say(line)
    _say_lines(place, version, output)
    return 0


def _say_lines(place: Place, version: Version, output: Output) -> None:
    """The one line that each platform needs; by the studio's path map where it knows this folder."""
    dest = place.dest.as_posix()
    try:
        rules = load_plugin_settings(os.environ, version.folder).path_map
    except VoidError:
        rules = ()
    names = nuke_targets.names_of(dest, rules)
    lines = {
        platform: nuke_targets.nuke_path_line(platform, names[platform])
        for platform in PLATFORMS
        if any(f"-{platform}-" in target for target in version.targets)
    }
    output.say("Set this where Nuke is started:")
    for platform, line in lines.items():
        output.say(f"  {platform:<8} {line}")
    output.say(f'or write into ~/.nuke/init.py: nuke.pluginAddPath("{dest}")', nuke_path=lines, this=this_platform())


def _wheels(options: argparse.Namespace, output: Output) -> int:
    targets = _targets(options)
    with as_plain_errors(options.folder):
        options.folder.mkdir(parents=True, exist_ok=True)
    nuke_wheels.collect(targets, nuke_wheels.load_pins(options.pins), options.folder, fetch=True, tell=output.say)
    output.say(
        f"{options.folder} holds the packages. There: void nuke install --wheels {options.folder}",
        wheels=str(options.folder),
    )
    return 0


def _check(options: argparse.Namespace, output: Output) -> int:
    place = Place(options.place or options.dest)
    pythons = nuke_check.interpreters(options.pythons, options.nuke)
    findings = nuke_check.check(place, os.environ, pythons)
    for found in findings:
        mark = {"ok": "ok   ", "note": "note ", "fault": "FAULT"}[found.level]
        text = f"{mark} {found.subject}: {found.what}" + (f"\n      {found.do}" if found.do else "")
        output.say(text, level=found.level, subject=found.subject, what=found.what, do=found.do)
    return InputError.exit_code if any(found.level == "fault" for found in findings) else 0


def _list(options: argparse.Namespace, output: Output) -> int:
    place = Place(options.dest)
    current = place.current()
    for version in place.versions():
        used = version.folder.name == current
        text = f"{'*' if used else ' '} {version.name:<12} {', '.join(version.targets) or 'no packages'}"
        output.say(text, version=version.name, used=used, targets=list(version.targets), folder=str(version.folder))
    if not place.versions():
        output.say(f"{place.dest} holds no VOID.", versions=[])
    return 0


def _switch(options: argparse.Namespace, output: Output) -> int:
    place = Place(options.dest)
    version = place.version(options.version)
    faults = version.damaged()
    if faults:
        raise InputError(
            f"VOID {version.name} is not whole: {faults[0]}.", hint="Nothing was changed. Install that version again."
        )
    files = nuke_source.files()
    with place.locked():
        place.use(version, {Path(name).name: files[name] for name in nuke_source.LAUNCHER})
    output.say(f"From the next start of Nuke on, VOID {version.name} is used.", version=version.name)
    return 0


def _uninstall(options: argparse.Namespace, output: Output) -> int:
    place = Place(options.dest)
    if options.version is not None:
        version = place.version(options.version)
        with place.locked():
            place.remove(version)
        output.say(f"VOID {version.name} is gone.", removed=version.name)
        return 0
    if not place.versions() and place.current() is None:
        raise InputError(f"{place.dest} holds no VOID.", hint="Name its folder: --dest DIR.")
    with place.locked():
        left = place.remove_all(settings=options.settings)
    kept = f" Kept: {', '.join(left)}." if left else ""
    output.say(f"VOID is gone from {place.dest}.{kept} Take its line out of NUKE_PATH.", removed=True, left=left)
    return 0
