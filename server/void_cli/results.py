"""Results on disk: taken from one folder into another, put together, removed. No pixels, no network; Python 3.9.

Promises: a file is linked where the file system can, so that a result costs no space twice; a folder never looks ready
while it is being changed (the manifest goes first and comes last); what is no result of VOID is never touched.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from void_client.incoming import replace_result
from void_client.manifest import MANIFEST, ResultManifest
from void_client.result_store import link_or_copy

from .places import INPUTS


def install(manifest: ResultManifest, sources: Mapping[str, Path], folder: Path) -> None:
    """The manifest's files into ``folder``, in place of an earlier result. ``sources``: name → file.

    Raises ``InputError`` where a file that is no result would be replaced, ``DiskFull``.
    """

    def bring(incoming: Path) -> list[Path]:
        for file in manifest.all_files:
            link_or_copy(sources[file.name], incoming / file.name)
        return [incoming / file.name for file in manifest.all_files]

    replace_result(folder, manifest, bring)


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
