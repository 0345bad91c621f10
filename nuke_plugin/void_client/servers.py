"""Several servers: which of them gets a job, and which has it.

Promises: a server is chosen by what it says of itself now; a job that one of them has already stays there; where a job
went is remembered, so that `fetch` and `cancel` find it. Failing over ends with the submit: a submitted job belongs to
its server. Must not: send frames.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

from .client import Client
from .digest import sha256_data
from .errors import EngineUnavailable, ResultEvicted, ServerUnreachable, UnknownJob, VoidError
from .job import JobSpec, check_job_id
from .manifest import write_durably
from .messages import JobInfo
from .settings import CLIENT_PREFIX, ClientSettings, load_client_settings

_PROBE_S = 5.0  # a server that does not answer by then is not asked for this job
_JOB_S = 300.0  # what a waiting job is taken to cost: only the order of the servers comes from it
_BYTES_PER_S = 100e6
_REMEMBERED_S = 90 * 86400.0
_MOST_TRIES = 1000


def load_servers(
    environment: Mapping[str, str], overrides: Mapping[str, Any], connections: Sequence[Path] = ()
) -> tuple[ClientSettings, ...]:
    """All servers that the settings name: those of several connection files, or of ``servers`` in client.yaml, or the
    one. An endpoint on the command line or in the environment is the only one. Raises ``SettingsError``."""
    if len(connections) > 1:
        return tuple(load_client_settings(environment, overrides, path) for path in connections)
    settings = load_client_settings(environment, overrides, connections[0] if connections else None)
    chosen = overrides.get("endpoint") is not None or CLIENT_PREFIX + "ENDPOINT" in environment
    if chosen or not settings.servers:
        return (settings,)
    return tuple(
        replace(
            settings,
            endpoint=entry.endpoint,
            server_key=entry.server_key or settings.server_key,
            key_file=entry.key_file or settings.key_file,
            shared_key=entry.shared_key or settings.shared_key,
            servers=(),
        )
        for entry in settings.servers
    )


# --- job ids that a second try finds again


def job_key(spec: JobSpec, target: str) -> str:
    """For a job and the place that its result goes to: trying again finds the first try's job by it."""
    return f"render-{sha256_data([spec.content_hash(), target])[:24]}"


def job_id_for(client: Client, key: str) -> tuple[str, bool]:
    """(the id of the try that this server has under way or done, else that of the next try; whether it has it)."""
    for number in range(1, _MOST_TRIES):
        job_id = f"{key}-{number}"
        try:
            job = client.status(job_id)[0]
        except UnknownJob:
            return job_id, False
        if not job.ended or (job.state == "done" and _has_result(client, job_id)):
            return job_id, True
    raise ServerUnreachable(f"The server has ended {_MOST_TRIES} tries of {key}.", hint="See `void status`.")


def _has_result(client: Client, job_id: str) -> bool:
    try:
        client.manifest(job_id)
    except ResultEvicted:
        return False
    return True


# --- choosing


@dataclass(frozen=True)
class Candidate:
    """A server and what it said. ``problem``: why it cannot have the job. ``has_job``: it has it already.

    lacks: bytes of the job's frames that would have to be sent. waiting: jobs queued and running, for each worker.
    """

    settings: ClientSettings
    problem: Optional[VoidError] = None
    lacks: int = 0
    waiting: float = 0.0
    has_job: bool = False

    def order(self, tie: str) -> tuple[Any, ...]:
        """Least time first; equal ones by the job, so that many clients do not all take the first, and a job that
        comes again goes where its stages are."""
        seconds = self.waiting * _JOB_S + self.lacks / _BYTES_PER_S
        return (not self.has_job, round(seconds), sha256_data([tie, self.settings.endpoint]))

    def why(self) -> str:
        if self.problem is not None:
            return f"{self.settings.endpoint}: {self.problem.message}"
        had = "has the job" if self.has_job else f"{self.waiting:.1f} jobs a worker, {self.lacks / 1e6:.1f} MB to send"
        return f"{self.settings.endpoint}: {had}"


def choose(servers: Sequence[ClientSettings], spec: JobSpec, key: str) -> tuple[Candidate, ...]:
    """Those that can have the job, the best first; all are asked at once.

    Raises ``EngineUnavailable`` where those that answer lack the engine, else ``ServerUnreachable`` with every reason.
    """
    with ThreadPoolExecutor(max_workers=min(16, len(servers))) as pool:
        found = list(pool.map(lambda settings: _probe(settings, spec, key), servers))
    able = sorted((each for each in found if each.problem is None), key=lambda each: each.order(key))
    if able:
        return tuple(able)
    reasons = [each.why() for each in found]
    for each in found:
        if isinstance(each.problem, EngineUnavailable):
            raise EngineUnavailable(each.problem.message, hint=each.problem.hint, details={"servers": reasons})
    raise ServerUnreachable(
        f"None of the {len(found)} servers can take the job: {'; '.join(reasons)}",
        hint="Nothing is lost: try again.",
        details={"servers": reasons},
    )


def _probe(settings: ClientSettings, spec: JobSpec, key: str) -> Candidate:
    try:
        with Client(replace(settings, timeout_s=min(_PROBE_S, settings.timeout_s))) as client:
            client.hello()
            health = client.health()
            workers = health.get("workers", [])
            _check_engine(workers, spec.engine.name, settings.endpoint)
            waiting = (health.get("queued", 0) + health.get("running", 0)) / max(1, len(workers))
            has_job = bool(key) and job_id_for(client, key)[1]
            return Candidate(settings, None, 0 if has_job else client.lacking(spec), waiting, has_job)
    except VoidError as problem:
        return Candidate(settings, problem)


def _check_engine(workers: Sequence[Mapping[str, Any]], engine: str, endpoint: str) -> None:
    """Workers that are still starting have not said yet what they can."""
    told = [worker for worker in workers if worker.get("engines")]
    if not told or any(engine in each["engines"] and not each.get("unable", {}).get(engine) for each in told):
        return
    reason = next((each["unable"][engine] for each in told if each.get("unable", {}).get(engine)), "")
    raise EngineUnavailable(f"{endpoint} cannot run the engine {engine!r}. {reason}".strip(), hint="Choose another.")


# --- where a job is


def state_dir(environment: Mapping[str, str]) -> Path:
    """Where a client keeps what it must find again: ``VOID_STATE_DIR``, or the platform's usual place."""
    if environment.get("VOID_STATE_DIR"):
        return Path(environment["VOID_STATE_DIR"])
    if sys.platform == "win32":
        return Path(environment.get("LOCALAPPDATA", str(Path.home()))) / "void"
    return Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "void"


def remember(folder: Path, job_id: str, endpoint: str) -> None:
    """``folder``: the state folder. Where it takes no more, all servers are asked later: no failure."""
    path = folder / "jobs" / f"{check_job_id(job_id)}.json"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(path, json.dumps({"endpoint": endpoint, "time": time.time()}).encode())
        _forget_old(path.parent)
    except (OSError, VoidError):
        return


def remembered(folder: Path, job_id: str) -> str:
    """The endpoint, or ""."""
    try:
        value = json.loads((folder / "jobs" / f"{check_job_id(job_id)}.json").read_text(encoding="utf-8"))
        return str(value["endpoint"])
    except (OSError, ValueError, KeyError, TypeError, VoidError):
        return ""


def _forget_old(folder: Path) -> None:
    mark = folder / ".swept"
    now = time.time()
    if mark.exists() and mark.stat().st_mtime > now - 86400.0:
        return
    mark.touch()
    os.utime(mark, (now, now))
    for path in folder.glob("*.json"):
        if path.stat().st_mtime < now - _REMEMBERED_S:
            path.unlink(missing_ok=True)


def find(servers: Sequence[ClientSettings], job_id: str, folder: Path) -> ClientSettings:
    """The server that has the job: the one remembered, else all are asked. Raises ``UnknownJob``, or, where some do
    not answer, ``ServerUnreachable``: it may be there."""
    if len(servers) == 1:
        return servers[0]
    known = remembered(folder, job_id)
    for settings in servers:
        if settings.endpoint == known:
            return settings
    with ThreadPoolExecutor(max_workers=min(16, len(servers))) as pool:
        answers = list(pool.map(lambda settings: _status(settings, job_id), servers))
    for settings, answer in zip(servers, answers):
        if isinstance(answer, JobInfo):
            return settings
    silent = [answer.message for answer in answers if isinstance(answer, VoidError) and answer.code != UnknownJob.code]
    if silent:
        raise ServerUnreachable(
            f"No server that answers knows the job {job_id[:80]}. {' '.join(silent)}", hint="Try again."
        )
    raise UnknownJob(f"None of the servers knows a job {job_id[:80]!r}.", hint="`void status` lists their jobs.")


def _status(settings: ClientSettings, job_id: str) -> JobInfo | VoidError:
    try:
        with Client(replace(settings, timeout_s=min(_PROBE_S, settings.timeout_s))) as client:
            return client.status(job_id)[0]
    except VoidError as problem:
        return problem
