"""Which weights these are: their digests for a job's key, and a word where they are for tests only."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from void_client.digest import sha256_data
from void_client.errors import VoidError

from void_engine.models.folder import ModelFolder
from void_engine.models.hashing import sha256
from void_engine.models.lock import write_json
from void_engine.models.weights import parameters

_log = logging.getLogger(__name__)
_REAL = 100_000_000  # parameters; VOID's transformer has 5.6 billion
TINY = "tiny random weights, for tests only: the picture means nothing"


def fingerprint(models: ModelFolder, cache: Path) -> dict[str, str]:
    """SHA-256 of ``pass1``, of ``pass2`` where it is there, and of ``base``: its used files' names and digests.

    32 GB take minutes to read: digests stay in the file ``cache`` for as long as a file's path, size, time of change
    and inode are the same. Raises ``OSError`` where a file cannot be read; a cache that cannot is done without.
    """
    known = _read(cache)
    before = dict(known)
    result = {"pass1": _digest(models.pass1, known)}
    if models.pass2 is not None:
        result["pass2"] = _digest(models.pass2, known)
    files = models.base_files()
    result["base"] = sha256_data([[path.relative_to(models.base).as_posix(), _digest(path, known)] for path in files])
    if known != before:
        _write(cache, known)
    return result


def describe_weights(models: ModelFolder) -> str:
    """Empty for real weights; else a sentence for the log and the manifest. Reads headers only."""
    passes = [path for path in (models.pass1, models.pass2) if path is not None]
    return TINY if min(parameters(path) for path in passes) < _REAL else ""


def _identity(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]


def _digest(path: Path, known: dict[str, Any]) -> str:
    path = path.resolve()
    identity = _identity(path)
    entry = known.get(str(path))
    if isinstance(entry, dict) and entry.get("identity") == identity and isinstance(entry.get("sha256"), str):
        return str(entry["sha256"])
    digest = sha256(path)
    if _identity(path) == identity:  # else it changed under our eyes: the digest is of neither file
        known[str(path)] = {"identity": identity, "sha256": digest}
    return digest


def _read(cache: Path) -> dict[str, Any]:
    try:
        data = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _write(cache: Path, known: dict[str, Any]) -> None:
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_json(cache, known)
    except (OSError, VoidError) as error:
        _log.warning("the models' digests are not kept, and will be computed again: %s", error)
