"""Results on disk: taken from one folder into another, put together, removed. No pixels, no network; Python 3.9.

Promises: a file is linked where the file system can, so that a result costs no space twice; a folder never looks ready
while it is being changed (the manifest goes first and comes last); what is no result of VOID is never touched.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from void_client.digest import sha256_file
from void_client.errors import InputError
from void_client.manifest import MANIFEST, ResultManifest, as_disk_full, fsync_folder

from .places import INPUTS


def install(manifest: ResultManifest, sources: Mapping[str, Path], folder: Path) -> None:
    """The manifest's files into ``folder``, in place of an earlier result. ``sources``: name → file.

    Raises ``InputError`` where a file that is no result would be replaced, ``DiskFull``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stale = _replaced(folder, manifest)
        incoming = Path(tempfile.mkdtemp(prefix=".void-incoming-", dir=folder))
        try:
            for file in manifest.all_files:
                _link_or_copy(sources[file.name], incoming / file.name)
            (folder / MANIFEST).unlink(missing_ok=True)
            for file in manifest.all_files:
                (incoming / file.name).replace(folder / file.name)
            for path in stale:
                path.unlink(missing_ok=True)
            fsync_folder(folder)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        manifest.write(folder)
    except OSError as problem:
        error = as_disk_full(problem, folder)
        if error is not problem:
            raise error from problem
        raise InputError(
            f"The result cannot be written to {folder}: {problem.strerror or problem}.",
            hint="Check the folder and its permissions.",
            details={"file": str(folder)},
        ) from problem


def remove(folder: Path) -> bool:
    """The result in ``folder``, and the folder where nothing else is in it. Returns whether it has gone."""
    named = {file.name for file in ResultManifest.read(folder).all_files} if (folder / MANIFEST).is_file() else set()
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in (*named, INPUTS):
        (folder / name).unlink(missing_ok=True)
    for half in folder.glob(".void-incoming-*"):
        shutil.rmtree(half, ignore_errors=True)
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def beside(folder: Path) -> Path:
    """A folder that is not there yet: ``OUT_again``, ``OUT_again2`` …"""
    whole = Path(os.path.abspath(folder))
    count, path = 1, whole.with_name(f"{whole.name}_again")
    while path.exists():
        count += 1
        path = whole.with_name(f"{whole.name}_again{count}")
    return path


def _replaced(folder: Path, manifest: ResultManifest) -> list[Path]:
    """What the result that is there has, and this one has not."""
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


def _link_or_copy(source: Path, path: Path) -> None:
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
