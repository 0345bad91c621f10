"""How a result takes its folder: where its files arrive before they get their names, and what gives way to it.

Promises: a folder never looks ready while it is being changed (the manifest goes first and comes last); a file that is
no result is never replaced; what still arrives, on this machine or another, is never swept away. One that was
interrupted while it took its folder is finished by the next: a record names all files until the manifest is back.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from .digest import sha256_file
from .errors import InputError, VoidError
from .manifest import MANIFEST, ResultManifest, as_disk_full, fsync_folder, write_durably

_PREFIX = ".void-incoming-"
_RECORD = ".void-replacing.json"
_Digests = dict[str, set[str]]  # of results' files, by their names
_STALE_S = 86400.0


def replace_result(folder: Path, manifest: ResultManifest, bring: Callable[[Path], Iterable[Path]]) -> None:
    """The manifest's files into ``folder``, in place of an earlier result. ``bring(incoming)`` puts those that are not
    there yet into a folder of their own and returns them.

    Raises ``InputError`` where a file that is no result would be replaced, ``DiskFull``, and what ``bring`` raises.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before, broken_off = _of_manifest(folder), _of_record(folder)
        stale = _replaced(folder, manifest, before, broken_off)
        incoming = incoming_folder(folder)
        try:
            arrived = bring(incoming)
            # From here on the old result, if any, is being replaced: it must not look ready.
            _write_record(folder, before, broken_off, _files(manifest))
            (folder / MANIFEST).unlink(missing_ok=True)
            for path in arrived:
                path.replace(folder / path.name)
            for path in stale:
                path.unlink(missing_ok=True)
            fsync_folder(folder)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        manifest.write(folder)
        (folder / _RECORD).unlink(missing_ok=True)
    except OSError as problem:
        raise folder_problem(problem, folder) from problem


def folder_problem(problem: OSError, folder: Path) -> VoidError:
    """Why a result cannot be written there: ``DiskFull``, or ``InputError``."""
    error = as_disk_full(problem, folder)
    if isinstance(error, VoidError):
        return error
    return InputError(
        f"The result cannot be written to {folder}: {problem.strerror or problem}.",
        hint="Check the folder and its permissions.",
        details={"file": str(folder)},
    )


def _replaced(folder: Path, manifest: ResultManifest, before: _Digests, broken_off: _Digests) -> list[Path]:
    """What earlier results left that this one does not have.

    Raises ``InputError`` where a file that is no result of ours would be overwritten: it may be a plate.
    """
    for file in manifest.all_files:
        path = folder / file.name
        if file.name in before or not path.exists():
            continue
        if sha256_file(path) not in broken_off.get(file.name, set()) | {file.sha256}:
            raise InputError(
                f"{path} is there already and is no result of VOID.",
                hint="Choose another folder: a result must not replace a plate.",
                details={"file": str(path)},
            )
    now = {file.name for file in manifest.all_files}
    left = {name for name in broken_off.keys() - before.keys() - now if _is_one_of(folder / name, broken_off[name])}
    return [folder / name for name in sorted((before.keys() - now) | left)]


def _is_one_of(path: Path, digests: set[str]) -> bool:
    return path.is_file() and sha256_file(path) in digests


def _files(manifest: ResultManifest) -> _Digests:
    return {file.name: {file.sha256} for file in manifest.all_files}


def _of_manifest(folder: Path) -> _Digests:
    return _files(ResultManifest.read(folder)) if (folder / MANIFEST).is_file() else {}


def _of_record(folder: Path) -> _Digests:
    """The files of results that were interrupted while they took the folder. What cannot be read names none."""
    try:
        value = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        return {Path(name).name: set(map(str, digests)) for name, digests in value.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _write_record(folder: Path, *all_files: _Digests) -> None:
    names: _Digests = {}
    for files in all_files:
        for name, digests in files.items():
            names.setdefault(name, set()).update(digests)
    text = json.dumps({name: sorted(digests) for name, digests in sorted(names.items())}, indent=1)
    write_durably(folder / _RECORD, text.encode())


def incoming_folder(folder: Path) -> Path:
    """A new folder inside ``folder``, in which the stale ones are removed first. Raises ``OSError``."""
    _sweep(folder)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{socket.gethostname()}-{os.getpid()}-", dir=folder))


def _sweep(folder: Path) -> None:
    """Those of this machine's ended processes, and those a day old."""
    for half in folder.glob(f"{_PREFIX}*"):
        host, _, pid = half.name[len(_PREFIX) :].rpartition("-")[0].rpartition("-")
        try:
            ended = host == socket.gethostname() and _has_ended(int(pid))
            if ended or half.stat().st_mtime < time.time() - _STALE_S:
                shutil.rmtree(half, ignore_errors=True)
        except (OSError, ValueError):
            continue


def _has_ended(pid: int) -> bool:
    if os.name != "posix":
        return False  # asking would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
