"""The queue's rows: this artist's jobs, with what their servers say of them. Pure: no nuke, no Qt.

`look` blocks on the network: the panel calls it in a thread of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from void_client.client import Client
from void_client.errors import SettingsError, UnknownJob, VoidError
from void_client.messages import JobInfo
from void_client.result_store import NodeStore
from void_client.settings import ClientSettings
from void_client.studio import client_settings, load_plugin_settings

from . import artist_jobs, states
from .artist_jobs import ArtistJob
from .messages import explain
from .states import STAGES, State

COLUMNS = ("node", "shot", "script", "state", "server")
_ASK_S = 6.0


@dataclass(frozen=True)
class Row:
    """One job as the queue shows it."""

    job: ArtistJob
    state: State

    @property
    def job_id(self) -> str:
        return self.job.job_id

    @property
    def can_cancel(self) -> bool:
        return self.state.under_way

    @property
    def result(self) -> str:
        return self.job.result

    def cells(self) -> tuple[str, ...]:
        """One text for each of ``COLUMNS``."""
        script = Path(self.job.script).name if self.job.script else ""
        return (self.job.node, self.job.shot, script, self.state.text(), self.job.endpoint)


def look(environment: Mapping[str, str] = os.environ) -> tuple[Row, ...]:
    """All rows, the newest first. A server that is away is a state of its jobs, no failure."""
    folder = artist_jobs.folder_of(environment)
    jobs = artist_jobs.noted(folder)
    told: dict[str, State] = {}
    for endpoint in dict.fromkeys(job.endpoint for job in jobs if not job.result):
        mine = [job for job in jobs if job.endpoint == endpoint and not job.result]
        told.update(_ask(endpoint, [job.job_id for job in mine], environment))
    return tuple(_row(job, told, folder) for job in jobs)


def cancel(row: Row, environment: Mapping[str, str] = os.environ) -> None:
    """Ask its server to end the job. Raises ``VoidError``."""
    with Client(_settings(row.job.endpoint, environment)) as client:
        client.cancel(row.job_id)


def note_submitted(job: ArtistJob, environment: Mapping[str, str] = os.environ) -> None:
    artist_jobs.note(job, artist_jobs.folder_of(environment))


def note_result(job_id: str, pattern: str, environment: Mapping[str, str] = os.environ) -> None:
    """The result is on this artist's disk."""
    folder = artist_jobs.folder_of(environment)
    for job in artist_jobs.noted(folder):
        if job.job_id == job_id:
            artist_jobs.note(replace(job, result=pattern), folder)


def summary(rows: Iterable[Row]) -> str:
    """One line above the table."""
    names = [row.state.name for row in rows]
    under_way = sum(name in states.UNDER_WAY and name != states.MASKS_READY for name in names)
    waiting = names.count(states.MASKS_READY)
    parts = [f"{under_way} under way", f"{waiting} waiting for your review", f"{names.count(states.READY)} ready"]
    return ", ".join(parts)


# --- parts


def _row(job: ArtistJob, told: Mapping[str, State], folder: Path) -> Row:
    if job.result:
        return Row(job, State(states.READY, version=_version_name(job.result), job_id=job.job_id))
    found = told.get(job.job_id, State(states.FAILED, "The server does not know it any more.", job_id=job.job_id))
    if found.name == states.READY:
        pattern = _on_disk(job)
        if pattern:
            job = replace(job, result=pattern)
            artist_jobs.note(job, folder)
            found = State(states.READY, version=_version_name(pattern), job_id=job.job_id)
        else:
            found = replace(found, what="Open its script: the result is fetched then.")
    return Row(job, found)


def _ask(endpoint: str, job_ids: list[str], environment: Mapping[str, str]) -> dict[str, State]:
    try:
        settings = _settings(endpoint, environment)
        with Client(replace(settings, timeout_s=min(_ASK_S, settings.timeout_s))) as client:
            known = {info.job_id: info for info in client.status()}
            return {job_id: _state(job_id, known.get(job_id), client.status) for job_id in job_ids}
    except VoidError as error:
        told = explain(error)
        return {job_id: told.as_state(job_id) for job_id in job_ids}


def _state(job_id: str, info: JobInfo | None, ask: Callable[[str], tuple[JobInfo, ...]]) -> State:
    if info is None:  # not among the newest
        try:
            info = ask(job_id)[0]
        except UnknownJob as error:
            return explain(error).as_state(job_id)
    if info.state == "queued":
        return State(states.QUEUED, before=info.place, job_id=job_id)
    if info.state == "running":
        name, words = STAGES.get(info.stage, (states.GENERATING, info.stage))
        return State(name, f"{words[:1].upper()}{words[1:]}." if words else "", job_id=job_id)
    if info.state == "review":
        return State(states.MASKS_READY, "Look at the quadmask in its node.", job_id=job_id)
    if info.state == "done":
        return State(states.READY, job_id=job_id)
    if info.state == "cancelled":
        return State(states.CANCELLED, job_id=job_id)
    told = info.error or {}
    return State(states.FAILED, str(told.get("message", "")), str(told.get("hint", "")), job_id=job_id)


def _on_disk(job: ArtistJob) -> str:
    """A version that this very job made, or that another Nuke placed."""
    if not job.root:
        return ""
    found = [each for each in NodeStore(Path(job.root)).versions() if each.manifest.job_id == job.job_id]
    return found[-1].pattern if found else ""


def _version_name(pattern: str) -> str:
    return Path(pattern).parent.name.partition("_")[0]


def _settings(endpoint: str, environment: Mapping[str, str]) -> ClientSettings:
    studio = load_plugin_settings(environment)
    try:
        return client_settings(studio, environment, endpoint)
    except SettingsError:
        return client_settings(studio, environment)
