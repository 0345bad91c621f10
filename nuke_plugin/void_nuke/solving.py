"""A solve's way from the ordered shot to the placed version, in the job's own thread. Pure: no nuke.

`solve` reads as it goes: hash the files → is it there already? → send → submit → follow → place. Promises: a job is on
record before it is submitted; a server that goes away is waited for; what was placed before is never made again.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional, TypeVar

from void_client import messages as m
from void_client import parts
from void_client.client import Client, raise_if_failed
from void_client.errors import (
    Busy,
    Cancelled,
    FramesMissing,
    InputError,
    NotAuthorised,
    ServerUnreachable,
    UnknownJob,
    VoidError,
)
from void_client.job import Resolved, name_the_file
from void_client.result_store import NodeStore, Pending, Version, from_files, job_hash
from void_client.sequence import FramePattern

from . import queue_model, states
from .artist_jobs import ArtistJob
from .messages import explain
from .order import Order
from .sessions import Job, Report, cancel_on_server
from .states import STAGES, State

T = TypeVar("T")
Tell = Callable[[Report], None]
_TOLD_EVERY_S = 0.2
_OFFLINE_AFTER_S = 4.0
_TRY_AGAIN_S = 2.0


def solve(order: Order, job: Job, tell: Tell) -> Report:
    """The whole way. Raises what goes wrong; a job that failed or was cancelled is off the record.

    Raises ``Left`` once the script was closed and the job is on record.
    """
    progress = Progress(tell, job)
    resolved = order.shot.resolve(order.settings.project, lambda done, of: progress.stage("hash", done, of))
    resolved = replace(resolved, spec=replace(resolved.spec, stop="review" if order.review else ""))
    content = job_hash(resolved.spec)
    there = None if order.base else order.store.with_job(content)
    if there is not None and _still_made_so(there, order, job):
        return _arrived(order.looked, there, job, resolved.warnings)
    pending = _under_way(order, content, job, progress) or _submitted(order, resolved, content, job, progress)
    return follow(Followed(pending, order.store, order.patient, resolved.names, resolved.warnings), job, progress)


@dataclass(frozen=True)
class Followed:
    """A job to be followed to its end. ``names``: the input files by (input, frame), where they are known."""

    pending: Pending
    store: NodeStore
    patient: bool = True
    names: Optional[Mapping[tuple[str, int], Path]] = None
    warnings: tuple[str, ...] = ()


def follow(followed: Followed, job: Job, progress: Progress) -> Report:
    """To the placed version, or to the quadmask that waits for review."""
    pending, store = followed.pending, followed.store
    job.store, job.job_id, job.submitted = store, pending.job_id, True
    try:
        if _watched(followed, job, progress) == "review":
            return _to_review(followed, job, progress)
        version = _placed(followed, job, progress)
    except (ServerUnreachable, NotAuthorised):
        raise  # it is still on record, and found again
    except Cancelled:
        store.forget(pending.job_id)
        job.check()  # it was the artist, here
        raise
    except VoidError as error:
        job.check()  # who cancelled it sees to its record
        if not error.retryable or error.code == "result_evicted":
            store.forget(pending.job_id)
        if isinstance(error, InputError) and followed.names is not None:
            name_the_file(error, followed.names)
        raise
    store.forget(pending.job_id)
    queue_model.note_result(pending.job_id, version.pattern)
    return _arrived(pending.solved, version, job, followed.warnings)


def approve(followed: Followed, job: Job, progress: Progress) -> Report:
    """The quadmask is good: go on, and follow."""
    job.store, job.job_id = followed.store, followed.pending.job_id
    progress.say(State(states.QUEUED, "The quadmask was approved."))
    _patiently(followed.patient, job, progress, lambda client: _approve(client, job.job_id))
    return follow(followed, job, progress)


# --- before the server works


def _still_made_so(there: Version, order: Order, job: Job) -> bool:
    """Whether the engine that made this version is still the server's. A server that is away changes nothing."""
    try:
        client = job.line.client()
        if not job.line.wait(_OFFLINE_AFTER_S / 4):
            return True
        engines = [worker.get("engines") or {} for worker in client.health().get("workers", ())]
    except VoidError:
        return True
    known = {str(found[order.settings.engine]) for found in engines if order.settings.engine in found}
    return not known or str(there.manifest.facts.get("engine_version", "")) in known


def _under_way(order: Order, content: str, job: Job, progress: Progress) -> Optional[Pending]:
    """The same job, where this node or a copy of it has submitted it already and it has not ended badly."""
    for pending in order.store.pending():
        if pending.cancelled or pending.endpoint != order.server.endpoint:
            continue
        if pending.job_hash != content:
            _give_up_review(order, pending, job)
            continue
        try:
            found = _patiently(order.patient, job, progress, lambda c, j=pending.job_id: c.status(j)[0])  # type: ignore[misc]
        except UnknownJob:
            order.store.forget(pending.job_id)
            continue
        if found.state in ("failed", "cancelled"):
            order.store.forget(pending.job_id)
            continue
        if found.state == "review" and not order.review:
            _patiently(order.patient, job, progress, lambda c, j=pending.job_id: _approve(c, j))  # type: ignore[misc]
        return replace(pending, solved=order.looked)
    return None


def _give_up_review(order: Order, pending: Pending, job: Job) -> None:
    """A quadmask that waits for review while the artist solves anew has been corrected: nobody will approve it."""
    try:
        client = job.line.client()
        if client.status(pending.job_id)[0].state == "review":
            client.cancel(pending.job_id)
            order.store.forget(pending.job_id)
    except UnknownJob:
        order.store.forget(pending.job_id)
    except VoidError:
        return  # another time


def _submitted(order: Order, resolved: Resolved, content: str, job: Job, progress: Progress) -> Pending:
    pending = Pending(
        job_id=str(uuid.uuid4()),
        endpoint=order.server.endpoint,
        job_hash=content,
        node=order.settings.name,
        script=order.settings.script,
        shot=resolved.spec.shot,
        submitted=time.time(),
        solved=order.looked,
        base=order.base,
        masks=order.masks,
    )
    job.store, job.job_id = order.store, pending.job_id

    def send(client: Client) -> None:
        client.upload(resolved.spec, resolved.files, lambda what, done, of: progress.stage(what, done, of))
        job.check()
        order.store.remember(pending)
        client.submit(pending.job_id, resolved.spec, order.settings.priority)
        queue_model.note_submitted(_for_the_queue(pending, order.store))

    try:
        _patiently(order.patient, job, progress, send)
        job.check()  # cancelled while it was on its way
    except VoidError as error:
        if job.stop.is_set():  # the cancel of that moment may have been quicker than the job
            cancel_on_server(job.line, job.job_id, order.store)
            raise
        order.store.forget(pending.job_id)
        if isinstance(error, InputError):
            name_the_file(error, resolved.names)
        raise
    progress.say(State(states.QUEUED))
    return pending


def _for_the_queue(pending: Pending, store: NodeStore) -> ArtistJob:
    return ArtistJob(
        pending.job_id, pending.endpoint, pending.node, pending.script, pending.shot, str(store.root), pending.submitted
    )


def _approve(client: Client, job_id: str) -> None:
    """Twice is as good as once: the first may have been heard before the line broke."""
    if client.status(job_id)[0].state == "review":
        client.approve(job_id)


def _patiently(patient: bool, job: Job, progress: Progress, ask: Callable[[Client], T]) -> T:
    """Ask, and where the server is away or full, ask again until it answers or the artist gives up."""
    while True:
        job.check()
        try:
            client = job.line.client()
            if not job.line.wait(_OFFLINE_AFTER_S) and patient:
                progress.offline(job.line.settings.endpoint)
            return ask(client)
        except ServerUnreachable as error:
            if not patient:
                raise
            progress.away(error)
            job.check_here()
            pause = _TRY_AGAIN_S
        except (Busy, FramesMissing) as error:
            pause = min(float(error.details.get("retry_after", 1.0)), 30.0)
            progress.say(State(states.QUEUED, error.message, "VOID tries again by itself."))
        job.stop.wait(pause)


# --- while it works


def _watched(followed: Followed, job: Job, progress: Progress) -> str:
    """ "review" or "done". Raises the job's own error, or ``Cancelled``."""
    job_id = followed.pending.job_id
    after = 0
    job.line.listen(job, progress.on_line)
    try:
        while True:
            try:
                client = job.line.client()
                for event in client.events(job_id, after, progress.on_idle):
                    job.check_here()
                    after = event.seq
                    if event.kind == "review" and client.status(job_id)[0].state == "review":
                        return "review"
                    progress.on_event(event)
                raise_if_failed(client.status(job_id)[0])
                return "done"
            except ServerUnreachable as error:
                if not followed.patient:
                    raise
                progress.away(error)
                job.stop.wait(_TRY_AGAIN_S)
                job.check_here()
    finally:
        job.line.unlisten(job)


def _placed(followed: Followed, job: Job, progress: Progress) -> Version:
    if followed.pending.base:
        return _patiently(followed.patient, job, progress, lambda client: _joined(client, followed, job, progress))

    def bring(client: Client) -> Version:
        manifest = client.manifest(job.job_id)
        return followed.store.place(
            manifest,
            lambda folder: client.download(job.job_id, folder, lambda what, done, of: progress.stage(what, done, of)),
        )

    return _patiently(followed.patient, job, progress, bring)


def _joined(client: Client, followed: Followed, job: Job, progress: Progress) -> Version:
    """The base version with the frames that were solved again, as a version of its own."""
    pending, store = followed.pending, followed.store
    with tempfile.TemporaryDirectory(prefix=".part-", dir=store.root) as work:
        folder, kept = Path(work) / "part", Path(work) / "kept"
        kept.mkdir()
        part = client.download(job.job_id, folder, lambda what, done, of: progress.stage(what, done, of))
        pattern = FramePattern.parse(pending.masks)
        masks = {frame.number: pattern.path(frame.number) for frame in part.frames}
        manifest, sources = parts.join(parts.State.read(store.root / pending.base), part, folder, masks, kept)
        return store.place(manifest, from_files(manifest, sources))


def _to_review(followed: Followed, job: Job, progress: Progress) -> Report:
    def bring(client: Client) -> Version:
        manifest = client.manifest(job.job_id)
        return followed.store.place_masks(
            manifest,
            lambda folder: client.download(job.job_id, folder, lambda what, done, of: progress.stage(what, done, of)),
        )

    masks = _patiently(followed.patient, job, progress, bring)
    state = State(
        states.MASKS_READY, "The quadmask is shown.", "Look at it, correct it or press Approve.", job_id=job.job_id
    )
    said = masks.manifest.facts.get("warnings") or ()
    return Report(state, masks=masks, looked=followed.pending.solved, warnings=(*followed.warnings, *map(str, said)))


def _arrived(looked: str, version: Version, job: Job, warnings: tuple[str, ...]) -> Report:
    said = version.manifest.facts.get("warnings") or ()
    state = State(states.READY, version=version.name, job_id=version.manifest.job_id)
    return Report(state, version, looked=looked, job_hash=version.job_hash, warnings=(*warnings, *map(str, said)))


class Progress:
    """Turns a job's news into states, a few a second. Also called in the connection's thread."""

    def __init__(self, tell: Tell, job: Job) -> None:
        self._tell = tell
        self._job = job
        self._last = State()
        self._told_at = 0.0
        self._stage = ""
        self._began: tuple[float, int] = (0.0, 0)

    def say(self, state: State) -> None:
        """At once where it is another state, else when it is due."""
        now = time.monotonic()
        state = replace(state, job_id=self._job.job_id, looked=self._job.looked)
        due = now - self._told_at > _TOLD_EVERY_S or (state.of > 0 and state.step == state.of)
        if state.name != self._last.name or (due and state != self._last):
            self._last, self._told_at = state, now
            if not self._job.stop.is_set():
                self._tell(Report(state))

    def stage(self, name: str, step: int, of: int) -> None:
        """Raises where the artist gave up: files that are hashed or sent stop there."""
        self._job.check()
        state, words = STAGES.get(name, (states.GENERATING, name))
        if name != self._stage:
            self._stage, self._began = name, (time.monotonic(), step)
        shown = (round(100 * step / of), 100) if name in ("upload", "download") and of else (step, of)
        self.say(
            State(state, f"{words[0].upper()}{words[1:]}.", step=shown[0], of=shown[1], eta_s=self._left(step, of))
        )

    def on_event(self, event: m.Event) -> None:
        if event.kind == "progress":
            self.stage(str(event.data.get("stage", "")), int(event.data.get("step", 0)), int(event.data.get("of", 0)))
        elif event.kind == "stage" and event.data.get("state") == "running":
            self.stage(str(event.data.get("stage", "")), 0, 0)
        elif event.kind == "queued":
            reason = str(event.data.get("reason", ""))
            self.say(State(states.QUEUED, f"{reason[0].upper()}{reason[1:]}." if reason else ""))

    def on_idle(self, found: m.JobInfo) -> None:
        """A sign of life each second, so that whoever listens can say "cancel"."""
        self._job.check_here()
        if found.state == "queued":
            self.say(State(states.QUEUED, before=found.place))
        if time.monotonic() - self._told_at > _TOLD_EVERY_S and not self._job.stop.is_set():
            self._tell(Report(self._last))

    def on_line(self, state: str) -> None:
        if state == "offline":
            self.offline(self._job.line.settings.endpoint)
        elif state == "connected" and self._last.name == states.OFFLINE:
            self.say(State(states.QUEUED, "The server is back."))

    def offline(self, endpoint: str) -> None:
        self.away(ServerUnreachable(f"The server {endpoint} does not answer."))

    def away(self, error: VoidError) -> None:
        self.say(explain(error).as_state())

    def _left(self, step: int, of: int) -> Optional[float]:
        """From what this stage took so far; nothing in its first moments, when that says little."""
        began, first = self._began
        spent, done = time.monotonic() - began, step - first
        return spent / done * (of - step) if done > 0 and spent > 3.0 and step < of else None
