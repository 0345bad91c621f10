"""``void doctor``: what is installed, does the server answer, is a result whole, and a bundle for support."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sqlite3
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

from void_client import __version__
from void_client.errors import NotAuthorised, RetryableError, SettingsError, VoidError
from void_client.manifest import ResultManifest
from void_client.settings import data_dir

from .output import Output
from .shot import add_server_arguments, client_settings, open_client

_PACKAGES = (
    "pyzmq", "msgpack", "ruamel-yaml", "numpy", "OpenEXR", "OpenImageIO", "opencv-python-headless", "PyPatchMatch",
    "cryptography", "c2pa-python", "torch", "diffusers", "transformers",
)  # fmt: skip
_LOG_TAIL = 200_000
_EVENTS = 2000


def add_commands(commands: Any) -> None:
    doctor = commands.add_parser("doctor", help="check the installation, a server or a result")
    doctor.add_argument("--verify", type=Path, metavar="FOLDER", help="compare a result's files with its manifest")
    doctor.add_argument("--bundle", type=Path, metavar="ZIP", help="collect what support needs (no pixels, no secrets)")
    doctor.add_argument("--data", type=Path, help="the server's folder, for the bundle")
    add_server_arguments(doctor)
    doctor.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace, output: Output) -> int:
    if options.verify is not None:
        manifest = ResultManifest.read(options.verify)
        manifest.verify(options.verify)
        output.say(f"{len(manifest.frames)} frames are as delivered.", verified=len(manifest.frames))
        return 0
    versions = _versions()
    for name, version in versions.items():
        output.say(f"{name:<24} {version}", name=name, version=version)
    problem = _ask_server(options, output)
    if options.bundle is not None:
        _write_bundle(options, versions)
        output.say(f"wrote {options.bundle}", bundle=str(options.bundle))
        return 0
    return problem


def _versions() -> dict[str, str]:
    versions = {"void-nuke": __version__, "python": sys.version.split()[0], "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _ask_server(options: argparse.Namespace, output: Output) -> int:
    try:
        with open_client(options) as client:
            health = client.health()
    except (RetryableError, NotAuthorised, SettingsError) as error:
        output.say(f"server: {error}", server=None, reason=error.to_wire())
        return error.exit_code if options.server or options.connection else 0
    output.say(f"server: {health['server']}, {health['running']} running, {health['queued']} queued", server=health)
    return 0


def _write_bundle(options: argparse.Namespace, versions: dict[str, str]) -> None:
    data = options.data or data_dir(os.environ)
    with zipfile.ZipFile(options.bundle, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("versions.json", json.dumps(versions, indent=2))
        bundle.writestr("settings.json", json.dumps(_settings(options), indent=2))
        bundle.writestr("journal.json", json.dumps(_journal(data / "journal.sqlite"), indent=2))
        for log in sorted(data.glob("*.log")):
            bundle.writestr(log.name, log.read_bytes()[-_LOG_TAIL:])


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Where the client would go, and which settings the environment carries. No secret is read."""
    try:
        settings = client_settings(options)
        client: dict[str, Any] = {"endpoint": settings.endpoint, "server_key": settings.server_key}
    except VoidError as error:
        client = {"error": str(error)}
    return {
        "client": client,
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith("VOID_") and "KEY" not in k},
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _journal(path: Path) -> dict[str, Any]:
    """The newest jobs and events, without the specifications' digests. Reads beside a running server."""
    if not path.is_file():
        return {"error": f"no journal at {path}"}
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    db.row_factory = sqlite3.Row
    try:
        columns = "job_id, shot, engine, priority, state, stage, crashes, last_seq, submitted, finished, error"
        jobs = db.execute(f"SELECT {columns} FROM jobs ORDER BY number DESC LIMIT 200")  # noqa: S608 - constants
        events = db.execute("SELECT * FROM events ORDER BY time DESC LIMIT ?", (_EVENTS,))
        counters = db.execute("SELECT * FROM counters")
        return {
            "jobs": [dict(row) for row in jobs],
            "events": [dict(row) for row in events],
            "counters": {row["name"]: row["value"] for row in counters},
        }
    except sqlite3.DatabaseError as problem:
        return {"error": str(problem)}
    finally:
        db.close()
