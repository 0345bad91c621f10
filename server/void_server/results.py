"""Finished results on the server's disk: one folder per job, ready once its manifest is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from void_client.errors import InputError, ResultEvicted
from void_client.manifest import MANIFEST, ResultManifest
from void_client.messages import JobInfo


class Results:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._cache: tuple[str, int, ResultManifest] | None = None  # a job in review gets another manifest later

    def manifest(self, job: JobInfo) -> dict[str, Any]:
        """Raises ``ResultEvicted`` where the result has left."""
        return self._read(job.job_id).to_plain()

    def read(self, job_id: str, name: str, offset: int, length: int) -> tuple[bytes, int]:
        """A piece of a file that the manifest names, and the whole file's size.

        Raises ``ResultEvicted``, ``InputError`` for a name or a range that is not in the result.
        """
        frame = next((f for f in self._read(job_id).all_files if f.name == name), None)
        if frame is None or not 0 <= offset < frame.size or length < 1:
            raise InputError(f"The result of {job_id} has no such piece of {name[:80]!r}.")
        try:
            with (self.folder / job_id / frame.name).open("rb") as stream:
                stream.seek(offset)
                return stream.read(min(length, frame.size - offset)), frame.size
        except OSError as problem:
            raise _evicted(job_id) from problem

    def _read(self, job_id: str) -> ResultManifest:
        folder = self.folder / job_id
        if not (folder / MANIFEST).is_file():
            self._cache = None
            raise _evicted(job_id)
        written = (folder / MANIFEST).stat().st_mtime_ns
        if self._cache is None or self._cache[:2] != (job_id, written):
            self._cache = (job_id, written, ResultManifest.read(folder))
        return self._cache[2]


def _evicted(job_id: str) -> ResultEvicted:
    return ResultEvicted(
        f"The result of {job_id} has left the server to make room.",
        hint="Submit the shot again: what is still cached is not computed twice.",
    )
