"""Digests of files of many gigabytes, with news on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

_BLOCK = 8 << 20


def sha256(path: Path, on_bytes: Callable[[int], None] = lambda count: None) -> str:
    """``on_bytes`` hears how many bytes were read, block by block. Raises ``OSError``."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            on_bytes(len(block))
    return digest.hexdigest()


def git_blob(path: Path) -> str:
    """The id under which git, and so the hub, knows a small file that is not in large-file storage."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
