"""The jobs that this artist submitted from any Nuke and script, in the user's own folder. Pure: no nuke.

One small file a job, so that several Nukes write at once. Promises: it never stops a solve; what is old is swept away.
Must not: be needed for a job to be found again: that is the record beside the results.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from void_client import schema
from void_client.errors import VoidError
from void_client.job import check_job_id
from void_client.manifest import write_durably
from void_client.settings import config_dir

_KEPT = 300
_KEPT_S = 60 * 86400.0


@dataclass(frozen=True)
class ArtistJob:
    """``root``: the folder of the node's results. ``result``: the frames' pattern once they are there."""

    job_id: str
    endpoint: str
    node: str = ""
    script: str = ""
    shot: str = ""
    root: str = ""
    submitted: float = 0.0
    result: str = ""
    version: int = 1


def folder_of(environment: Mapping[str, str]) -> Path:
    return config_dir(environment) / "jobs"


def note(job: ArtistJob, folder: Path) -> None:
    """Write it down; where that cannot be, the queue does not list it, and nothing else happens."""
    with contextlib.suppress(OSError, VoidError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{check_job_id(job.job_id)}.json"
        write_durably(path, json.dumps(schema.dump(job), sort_keys=True).encode())
        _sweep(folder)


def noted(folder: Path) -> tuple[ArtistJob, ...]:
    """The newest first. What cannot be read is left out."""
    found = []
    for path in _files(folder):
        with contextlib.suppress(OSError, ValueError, VoidError):
            found.append(schema.load(ArtistJob, json.loads(path.read_text(encoding="utf-8")), where=str(path)))
    return tuple(sorted(found, key=lambda job: job.submitted, reverse=True))


def forget(job_id: str, folder: Path) -> None:
    """Take it off the list; the job and its result stay."""
    with contextlib.suppress(OSError, VoidError):
        os.unlink(folder / f"{check_job_id(job_id)}.json")


def _sweep(folder: Path) -> None:
    files = sorted(_files(folder), key=lambda path: path.stat().st_mtime, reverse=True)
    for index, path in enumerate(files):
        if index >= _KEPT or path.stat().st_mtime < time.time() - _KEPT_S:
            path.unlink()


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.suffix == ".json" and not path.name.startswith(".")]
    except OSError:
        return []
