"""How a result takes its folder: where its files arrive before they get their names, and what gives way to it.

Promises: a folder never looks ready while it is being changed (the manifest goes first and comes last); a file that is
no result is never replaced; what still arrives, on this machine or another, is never swept away.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from .digest import sha256_file
from .errors import InputError, VoidError
from .manifest import MANIFEST, ResultManifest, as_disk_full, fsync_folder

_PREFIX = ".void-incoming-"
_STALE_S = 86400.0


def replace_result(folder: Path, manifest: ResultManifest, bring: Callable[[Path], Iterable[Path]]) -> None:
    """The manifest's files into ``folder``, in place of an earlier result. ``bring(incoming)`` puts those that are not
    there yet into a folder of their own and returns them.

    Raises ``InputError`` where a file that is no result would be replaced, ``DiskFull``, and what ``bring`` raises.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stale = _replaced(folder, manifest)
        incoming = incoming_folder(folder)
        try:
            arrived = bring(incoming)
            # From here on the old result, if any, is being replaced: it must not look ready.
            (folder / MANIFEST).unlink(missing_ok=True)
            for path in arrived:
                path.replace(folder / path.name)
            for path in stale:
                path.unlink(missing_ok=True)
            fsync_folder(folder)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        manifest.write(folder)
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


def _replaced(folder: Path, manifest: ResultManifest) -> list[Path]:
    """What an earlier result left that this one does not have.

    Raises ``InputError`` where a file that is no result of ours would be overwritten: it may be a plate.
    """
    before = {file.name for file in ResultManifest.read(folder).all_files} if (folder / MANIFEST).is_file() else set()
    for file in manifest.all_files:
        path = folder / file.name
        if file.name not in before and path.exists() and sha256_file(path) != file.sha256:
            raise InputError(
                f"{path} is there already and is no result of VOID.",
                hint="Choose another folder: a result must not replace a plate.",
                details={"file": str(path)},
            )
    return [folder / name for name in sorted(before - {file.name for file in manifest.all_files})]


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
