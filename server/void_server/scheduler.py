"""Which job runs where, and what becomes of it.

Promises: every job ends in done, failed or cancelled, once; a job whose worker died is tried again, up to
``max_attempts`` times; every change is in the journal before anybody hears of it. Runs in the router's thread.
"""

from __future__ import annotations

import json
import logging
import socket
from typing import Any

from void_client.errors import Busy, EngineUnavailable, FramesMissing, JobConflict, JobError, UnknownJob, WorkerDied
from void_client.job import JobSpec
from void_client.messages import JobInfo

from .journal import Journal
from .needs import CUDA, WANTS, best, is_large, kinds_for, wanted
from .settings import ServerSettings
from .supervisor import Worker

log = logging.getLogger(__name__)

_COUNTED = ("shared_published", "shared_bad")  # what a worker may count besides its stages


class Scheduler:
    def __init__(self, journal: Journal, workers: list[Worker], settings: ServerSettings) -> None:
        self.workers = workers
        self.changed: set[str] = set()  # jobs with new events; the router empties it
        self.held = False  # nothing new is started while housekeeping runs
        self.ended = False  # a job has ended since the router last looked
        self._journal = journal
        self._settings = settings
        for job_id in journal.unsorted():
            journal.set_wants(job_id, wanted(self._spec(job_id), journal.is_approved(job_id)))
        for job_id in journal.live_jobs("running"):
            if journal.is_cancelling(job_id):
                self._finish(job_id, "cancelled", {})
            else:
                journal.requeue(job_id, "the server was started again", crashed=False)

    # --- what clients ask

    def submit(self, job_id: str, spec_map: dict[str, Any], priority: int, client: str) -> tuple[JobInfo, bool]:
        """(the job, whether it is new). Raises ``JobError``, ``JobConflict``, ``FramesMissing``, ``Busy``."""
        spec = JobSpec.from_wire(spec_map)
        known = self._journal.job(job_id)
        if known is not None:
            if self._journal.content_hash(job_id) != spec.content_hash():
                raise JobConflict(f"The job id {job_id} belongs to another job.", hint="Submit under a new id.")
            return known, False
        self._check_limits(spec)
        missing = sorted(self._missing_frames(spec))
        if missing:
            raise FramesMissing(
                f"{len(missing)} frames of the job are not in the server's store.",
                hint="They are sent again.",
                details={"digests": missing[:1000]},
            )
        self._journal.add_job(job_id, spec, priority, client, wanted(spec, approved=False))
        self.changed.add(job_id)
        return self.info(job_id), True

    def cancel(self, job_id: str) -> JobInfo:
        """Ends a queued job now, a running one within a step; an ended one is left as it is."""
        job = self.info(job_id)
        if job.state in ("queued", "review"):
            self._finish(job_id, "cancelled", {})
        elif job.state == "running":
            self._journal.set_cancelling(job_id)
            for worker in self.workers:
                if worker.job_id == job_id:
                    worker.cancel(self._settings.cancel_grace_s)
        return self.info(job_id)

    def approve(self, job_id: str) -> JobInfo:
        """A job in review goes on; approving twice has one effect. Raises ``JobError`` where it does not wait."""
        job = self.info(job_id)
        if job.state == "review":
            self._journal.approve(job_id, wanted(self._spec(job_id), approved=True))
            self.changed.add(job_id)
        elif not self._journal.is_approved(job_id):
            raise JobError(
                f"The job {job_id} is {job.state}: it does not wait for its quadmask to be approved.",
                hint="Submit it with --review to look at the quadmask first.",
            )
        return self.info(job_id)

    def info(self, job_id: str) -> JobInfo:
        job = self._journal.job(job_id)
        if job is None:
            raise UnknownJob(f"The server knows no job {job_id[:80]!r}.", hint="`void status` lists its jobs.")
        return job

    # --- what the router calls

    def dispatch(self) -> None:
        """Give the best queued jobs to the workers that are free, each to the device that suits it.

        Highest priority first, then the oldest. One that finds no device of its kind is passed by: those behind it
        that need another kind go on. A job that only prefers the CPU takes no GPU that one behind it is waiting for.
        """
        while not self.held and any(worker.state in ("ready", "lent") for worker in self.workers):
            queued = self._journal.first_queued(WANTS)
            if not any(self._place(job_id, wants) for job_id, wants in queued):
                self._reclaim(queued)
                return

    def _place(self, job_id: str, wants: str) -> bool:
        kinds = self._choice(wants)
        if wants != CUDA and kinds[0] != CUDA and any(w == CUDA for _, w in self._journal.first_queued((CUDA,))):
            kinds = tuple(kind for kind in kinds if kind != CUDA)
        free = [each for each in self.workers if each.state == "ready" and each.kind in kinds]
        spec_map = json.loads(self._journal.spec_text(job_id)) if free else {}
        worker = best(free, kinds, bool(free) and is_large(JobSpec.from_wire(spec_map)))
        if worker is None:
            return False
        self._journal.set_running(job_id, worker.device)
        self.changed.add(job_id)
        worker.run(job_id, spec_map, self._journal.is_approved(job_id))
        return True

    def _lend(self, worker: Worker, engine: str, count: int) -> None:
        """``count`` devices in all for a job that could share its work: idle ones that no queued job could use.

        Only those whose name is that of the job's own device: another card may give other last bits.
        """
        if self._settings.spread == "off":
            return
        wanted_kinds = {kind for _, wants in self._journal.first_queued(WANTS) for kind in self._choice(wants)}
        count -= sum(each.lent_to == worker.job_id for each in self.workers)
        idle = [each for each in self.workers if each.state == "ready" and each.is_like(worker, engine)]
        for each in [each for each in idle if each.kind not in wanted_kinds][: max(0, count)]:
            ours, theirs = socket.socketpair()
            with ours, theirs:  # the workers have their own by then
                each.lend(engine, worker.job_id or "", theirs)
                worker.lent(each.device, ours)
            log.info("worker %s helps %s with the job %s", each.device, worker.device, worker.job_id)

    def _reclaim(self, queued: list[tuple[str, str]]) -> None:
        """A job that waits comes before one that is only made quicker: one helper for each kind of want."""
        for _, wants in queued:
            kind = self._choice(wants)[0]
            lent = [each for each in self.workers if each.state == "lent" and each.kind == kind]
            if lent and not any(each.reclaimed for each in lent):
                lent[-1].reclaim()

    def _choice(self, wants: str) -> tuple[str, ...]:
        return kinds_for(wants, self._kinds())

    def _kinds(self) -> set[str]:
        """Of the devices that work: one whose process dies again and again does not keep a job from another kind.

        But a GPU stays one, down or not: the model on a CPU would take days, and give other last bits.
        """
        working = {worker.kind for worker in self.workers if worker.kind == CUDA or not worker.failing}
        return working or {worker.kind for worker in self.workers}

    def hear(self, worker: Worker, message: dict[str, Any]) -> None:
        """A worker's word about its job, or that its help has ended."""
        if message["kind"] == "free" and worker.state == "lent":
            worker.idle()
            return
        job_id = message.get("job_id")
        if job_id != worker.job_id or job_id is None:
            return
        kind = message["kind"]
        if kind == "stage":
            self._stage(job_id, message["stage"], message["state"], message["key"])
        elif kind == "progress":
            values = {name: message[name] for name in ("stage", "step", "of", "note")}
            self._journal.add_event(job_id, "progress", values)
            self.changed.add(job_id)
        elif kind == "borrow":
            self._lend(worker, message["engine"], message["count"])
        elif kind == "count" and message["name"] in _COUNTED:
            self._journal.count_up(message["name"])
        elif kind == "review":
            if self._journal.is_cancelling(job_id):  # the quadmask was done before the worker heard of it
                self._finish(job_id, "cancelled", {})
            else:
                self._journal.set_review(job_id, message["data"])
                self.changed.add(job_id)
            worker.idle()
        elif kind in ("done", "failed", "cancelled"):
            self._finish(job_id, kind, message["data"], message["data"] if kind == "failed" else None)
            worker.idle()

    def bury(self, worker: Worker, reason: str) -> None:
        """A worker has died or must die: its job goes back into the queue, or fails after too many tries.

        May be called again for the same death, where the journal could not be written the first time.
        """
        if worker.up:
            status = worker.bury()
            log.warning("worker %s is gone (%s, status %d)", worker.device, reason, status)
        with self._journal.transaction():
            self._journal.count_up("workers_died")
            if worker.job_id is not None:
                self._after_death(worker.job_id, reason, worker.last_status)
        worker.forget_job()

    def _after_death(self, job_id: str, reason: str, status: int) -> None:
        if self._journal.is_cancelling(job_id):
            self._finish(job_id, "cancelled", {})
            return
        crashes = self._journal.requeue(job_id, f"the worker ended: {reason}", crashed=True)
        self.changed.add(job_id)
        if crashes >= self._settings.max_attempts:
            error = WorkerDied(
                f"The worker process ended {crashes} times under this job ({reason}, status {status}).",
                hint="Its memory may be too small for the shot; `void doctor --bundle` collects what is known.",
            )
            self._finish(job_id, "failed", error.to_wire(), error.to_wire())

    def busy(self) -> bool:
        return any(worker.job_id is not None for worker in self.workers)

    # --- inside

    def _spec(self, job_id: str) -> JobSpec:
        return JobSpec.from_wire(json.loads(self._journal.spec_text(job_id)))

    def _stage(self, job_id: str, stage: str, state: str, key: str) -> None:
        with self._journal.transaction():
            self._journal.set_stage(job_id, stage)
            self._journal.add_event(job_id, "stage", {"stage": stage, "state": state, "key": key})
            self._journal.count_up(f"stages_{state}.{stage}")
        self.changed.add(job_id)

    def _finish(self, job_id: str, state: str, data: dict[str, Any], error: dict[str, Any] | None = None) -> None:
        with self._journal.transaction():
            self._journal.finish(job_id, state, data, error)
            self._journal.count_up(f"jobs_{state}")
        self.changed.add(job_id)
        self.ended = True

    def _check_limits(self, spec: JobSpec) -> None:
        frames = len(spec.plate.frames)
        if frames > self._settings.max_frames:
            raise JobError(
                f"The job has {frames} frames; the server takes {self._settings.max_frames}.",
                hint="Split the shot, or raise max_frames on the server.",
            )
        engines = {name for worker in self.workers for name in worker.engines}
        if engines and spec.engine.name not in engines:
            raise EngineUnavailable(
                f"The server has no engine {spec.engine.name!r}.", hint=f"It has: {', '.join(sorted(engines))}."
            )
        self._check_reasoner(spec)
        if self._journal.count("queued") >= self._settings.max_queued:
            raise Busy(
                f"The server's queue is full ({self._settings.max_queued} jobs).",
                hint="Nothing is lost: submit again later.",
                details={"retry_after": 5.0},
            )

    def _check_reasoner(self, spec: JobSpec) -> None:
        """Told at submit, not hours later. A job with a fallback goes on, and says so in its result."""
        asked = [worker.reasoners for worker in self.workers if worker.reasoners]  # none, before one is ready
        if spec.masks is None or spec.masks.fallback or spec.masks.analysis or not asked:
            return
        unknown = f"There is no reasoner {spec.masks.reasoner!r}."
        problems = [reasoners.get(spec.masks.reasoner, unknown) for reasoners in asked]
        if all(problems):  # one worker that can is enough
            raise EngineUnavailable(
                problems[0],
                hint="Or name another in the shot's masks: `fallback: motion` goes on without it.",
                details={"key": "reasoner"},
            )

    def _missing_frames(self, spec: JobSpec) -> set[str]:
        digests = {ref.sha256 for ref in spec.frame_refs()}
        return digests - set(self._journal.frame_sizes(sorted(digests)))
