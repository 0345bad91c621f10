"""Budgets: stages and results within their sizes on disk, the oldest leaving first.

Promises: a folder that leaves is renamed away first, so that nobody sees half of one. Plain functions on
folders; when they may run is the router's to say (never while a job runs).
"""

from __future__ import annotations

import shutil
from pathlib import Path

TRASH = ".trash"


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below; files that vanish meanwhile count nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def enforce(parent: Path, max_bytes: int, protected: frozenset[str] = frozenset(), *, dry_run: bool = False) -> int:
    """Delete sub-folders of ``parent``, the longest unused (folder's mtime) first, until they fit ``max_bytes``.

    Folders named in ``protected`` stay. Returns the bytes freed, or that would be.
    """
    if not parent.is_dir():
        return 0
    _empty_trash(parent)
    folders = [path for path in parent.iterdir() if path.is_dir() and path.name != TRASH]
    sizes = {path: folder_bytes(path) for path in folders}
    over = sum(sizes.values()) - max_bytes
    freed = 0
    for path in sorted(folders, key=lambda path: path.stat().st_mtime):
        if freed >= over:
            break
        if path.name in protected:
            continue
        if not dry_run:
            remove(path)
        freed += sizes[path]
    return freed


def remove(folder: Path) -> None:
    """Rename into the parent's trash, then delete."""
    trash = folder.parent / TRASH
    trash.mkdir(exist_ok=True)
    target = trash / folder.name
    shutil.rmtree(target, ignore_errors=True)
    folder.rename(target)
    shutil.rmtree(target, ignore_errors=True)


def _empty_trash(parent: Path) -> None:
    # What a killed server had renamed but not deleted.
    shutil.rmtree(parent / TRASH, ignore_errors=True)
