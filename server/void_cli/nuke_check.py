"""`void nuke check`: what is wrong with an installation, and what to do about each fault.

Promises: changes nothing, but that a server is asked who it is; every fault comes with what to do.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from void_client import keys, pairing, vendor
from void_client.client import Client
from void_client.errors import InputError, NotAuthorised, RetryableError, VersionMismatch, VoidError
from void_client.messages import PROTOCOL
from void_client.settings import ClientSettings, default_key_file
from void_client.studio import PluginSettings, client_settings, load_plugin_settings, settings_files

from .nuke_place import MARK, Place, Version

_PYTHON_S = 60
_SERVER_S = 5.0
_PROGRAMS = ("python", "python3", "python.exe", "Contents/MacOS/python")
# Runs in another Python, with a version's packages first and nothing of this process. What it asks of `vendor` is this
# VOID's: the version that is looked at may be older. Prints one JSON object.
_PROBE = """
import importlib, json, os, runpy, sys
plugin, vendor = sys.argv[1], runpy.run_path(sys.argv[2])
own = [name for name in vendor["PACKAGES"] if vendor["is_importable"](name)]
said = {"target": vendor["target_name"](), "version": sys.version.split()[0], "own": own, "problem": ""}
folder = os.path.join(plugin, vendor["FOLDER"], said["target"])
sys.path.insert(0, folder)
try:
    if not os.path.isdir(folder):
        raise ImportError(vendor["missing"](plugin))
    zmq, msgpack, _ = [importlib.import_module(name) for name in vendor["PACKAGES"]]
    said["packages"] = "pyzmq " + zmq.__version__ + ", msgpack " + ".".join(map(str, msgpack.version))
except Exception as problem:
    said["problem"] = vendor["explain"](problem, plugin)
print(json.dumps(said))
"""


@dataclass(frozen=True)
class Finding:
    """``level``: ok, note (worth knowing), fault. ``what`` is found; ``do``: what helps."""

    level: str
    subject: str
    what: str
    do: str = ""


def check(place: Place, environment: Mapping[str, str], pythons: Sequence[Path]) -> list[Finding]:
    """Everything that can be known from here. ``pythons``: interpreters that the packages are tried with."""
    version, found = _version(place)
    found += nuke_path(place, environment)
    if version is None:
        return found
    found += _files(place, version)
    found += [_python(version, python) for python in pythons] or [_this_python(version)]
    found += python_path(environment)
    found += _connection(version, environment)
    return found


def interpreters(given: Iterable[Path], nukes: Iterable[Path]) -> list[Path]:
    """Which Pythons to try: those that are named, those that lie in a Nuke. Raises ``InputError``."""
    found = list(given)
    for nuke in nukes:
        folder = nuke if nuke.is_dir() else nuke.parent
        program = next((folder / name for name in _PROGRAMS if (folder / name).is_file()), None)
        if program is None:
            raise InputError(f"{folder} has no Python program of its own.", hint="Name one with --with PYTHON.")
        found.append(program)
    return found


def _version(place: Place) -> tuple[Optional[Version], list[Finding]]:
    name = place.current()
    if name is None:
        what = f"{place.dest} holds no installation of VOID"
        return None, [Finding("fault", "installation", what, "void nuke install --dest DIR, or name another folder.")]
    try:
        return place.version(name), [Finding("ok", "installation", f"{place.dest} uses {name}")]
    except InputError as error:
        do = error.hint + " Choose one: void nuke switch VERSION; or install again."
        return None, [Finding("fault", "installation", f"{place.dest / name} is missing or not whole", do)]


def _files(place: Place, version: Version) -> Iterator[Finding]:
    damaged = version.damaged()
    for name in ("init.py", "menu.py"):
        try:
            ours = MARK in (place.dest / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            ours = False
        if not ours:
            damaged.append(f"the launcher {name} is missing or another's")
    if damaged:
        more = f", and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        yield Finding("fault", "files", f"{version.folder.name}: {damaged[0]}{more}", "Run void nuke install again.")
    else:
        yield Finding("ok", "files", f"{len(version.files)} files are as installed")


def nuke_path(place: Place, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether NUKE_PATH leads to this installation, and to no other."""
    entries = [Path(text) for text in environment.get("NUKE_PATH", "").split(os.pathsep) if text]
    void = [entry for entry in entries if is_void(entry)]
    here = [e for e in void if _same(e, place.dest) or _same(e.parent, place.dest)]
    if len(void) > 1:
        names = ", ".join(map(str, void))
        yield Finding("fault", "NUKE_PATH", f"VOID is on it {len(void)} times: {names}", "Leave one of them.")
    elif here:
        yield Finding("ok", "NUKE_PATH", f"names {here[0]}")
    elif void:
        yield Finding("fault", "NUKE_PATH", f"leads to another VOID: {void[0]}", f"Replace it by {place.dest}.")
    else:
        do = f'Set it where Nuke is started, or put nuke.pluginAddPath("{place.dest.as_posix()}") into ~/.nuke/init.py.'
        yield Finding("note", "NUKE_PATH", f"of this shell does not name {place.dest}", do)


def is_void(folder: Path) -> bool:
    """Whether Nuke would load a VOID from this entry of NUKE_PATH."""
    try:
        return "VOID for Nuke" in (folder / "init.py").read_text(encoding="utf-8", errors="replace")[:200]
    except OSError:
        return False


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def python_path(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Packages of the same names that Nuke would take before ours."""
    for entry in environment.get("PYTHONPATH", "").split(os.pathsep):
        for name in ("zmq", "msgpack", "ruamel/yaml"):
            if entry and (Path(entry) / name).is_dir():
                do = "If VOID cannot solve in Nuke, take it off PYTHONPATH for Nuke."
                yield Finding("note", "PYTHONPATH", f"{Path(entry) / name} is used in place of VOID's own", do)


def _this_python(version: Version) -> Finding:
    """Nobody named a Python: this one, where it is of a version that a Nuke has."""
    if any(target.startswith(vendor.target_name()) for target in version.targets):
        return _python(version, Path(sys.executable))
    do = "Name the Python of your Nuke: --nuke PATH or --with PYTHON."
    return Finding("note", "packages", f"not tried: this Python is none of {', '.join(version.targets) or 'none'}", do)


def _python(version: Version, python: Path) -> Finding:
    """Import the packages there, as the plugin does."""
    again = "Install again for that Python and platform: void nuke install."
    command = [str(python), "-I", "-c", _PROBE, str(version.folder), vendor.__file__]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PYTHON_S, check=False)
        said = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return Finding("fault", "packages", f"{python} cannot be run: {problem}", "Name another: --with PYTHON.")
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return Finding("fault", "packages", f"{python} could not be asked: {last}", "Name another: --with PYTHON.")
    if said["problem"]:
        return Finding("fault", "packages", f"Python {said['version']} ({python}): {said['problem']}", again)
    what = f"Python {said['version']} loads {said['target']}: {said['packages']}"
    if said["own"]:
        do = "If VOID cannot solve there, compare the versions."
        return Finding("note", "packages", f"{what}; but {python} has its own {', '.join(said['own'])}, used first", do)
    return Finding("ok", "packages", what)


# --- settings, key, server


def _connection(version: Version, environment: Mapping[str, str]) -> Iterator[Finding]:
    try:
        settings = load_plugin_settings(environment, version.folder)
        files = settings_files(environment, version.folder)
    except VoidError as error:
        yield Finding("fault", "settings", error.message, error.hint or "Correct that file.")
        return
    yield Finding("ok", "settings", ", ".join(map(str, files)) or "no file: the defaults hold")
    yield from _server(settings, environment, version)


def _server(settings: PluginSettings, environment: Mapping[str, str], version: Version) -> Iterator[Finding]:
    try:
        connection = client_settings(settings, environment)
    except VoidError as error:
        yield Finding("fault", "server", error.message, error.hint)
        return
    if not connection.server_key:
        do = "On the server: void keys pair FILE. Here: void nuke install --pair FILE."
        yield Finding("note", "server", "none is configured", do)
        return
    key = _key(connection, environment)
    yield key
    if key.level == "ok":
        yield _answer(connection, environment, version)


def _key(connection: ClientSettings, environment: Mapping[str, str]) -> Finding:
    path = Path(connection.key_file or "")
    if path == default_key_file(environment) and not path.exists():
        what = f"you have no key yet ({path})"
        return Finding("note", "key", what, "The plugin makes it when it is first used; or: void keys new.")
    try:
        public = keys.read_pair(path, shared=connection.shared_key).public
    except VoidError as error:
        return Finding("fault", "key", error.message, error.hint)
    return Finding("ok", "key", f"{path} ({public[:8]}…{', shared' if connection.shared_key else ''})")


def _answer(connection: ClientSettings, environment: Mapping[str, str], version: Version) -> Finding:
    quick = dataclasses.replace(connection, timeout_s=min(connection.timeout_s, _SERVER_S))
    try:
        with Client(quick) as client:
            welcome = client.hello()
    except NotAuthorised as error:
        return Finding("fault", "server", error.message, pairing.refused(error, connection, environment))
    except VersionMismatch as error:
        return Finding("fault", "server", error.message, error.hint or "Update the older of the two.")
    except RetryableError as error:
        return Finding("note", "server", error.message, error.hint)
    except VoidError as error:
        return Finding("fault", "server", error.message, error.hint)
    if version.protocol != welcome.protocol:
        older = "plugin" if version.protocol < welcome.protocol else "server"
        what = f"{connection.endpoint} speaks protocol {welcome.protocol}, the installed plugin {version.protocol}"
        return Finding("fault", "server", what, f"Update the {older}.")
    return Finding("ok", "server", f"{connection.endpoint} answers: {welcome.server}, protocol {PROTOCOL}")
