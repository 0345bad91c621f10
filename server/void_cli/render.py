"""``void render`` and ``void quadmask``: one shot, from its file to its frames in a folder.

Promises: a farm's unit of work. What is finished is not done again and no file of it is written again; what was killed
goes on where it was; SIGTERM and Ctrl-C cancel what runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from void_client.client import Client
from void_client.errors import InputError, JobError, VoidError
from void_client.job import JobSpec, Resolved, ShotFile
from void_client.manifest import ResultManifest
from void_client.provenance import describe
from void_client.result_store import NodeStore, Pending, Version, job_hash

from . import places, results
from .output import Output
from .serving import HOST, Warm, ended, is_remote, submitted
from .shot import resolve
from .stopping import sigterm_interrupts
from .turns import AlreadyDone


@dataclass(frozen=True)
class Done:
    """A finished shot: the folder of its frames, and whether it was finished before."""

    folder: Path
    manifest: ResultManifest
    before: bool = False
    version: str = ""  # "v003", where a store has it


@dataclass(frozen=True)
class Target:
    """Where a shot's frames go: a folder of their own, or a new version in a node's store. ``link`` shows them, too."""

    folder: Path
    store: Optional[NodeStore] = None
    link: Optional[Path] = None

    def finished(self, spec: JobSpec) -> Optional[Done]:
        """The result of this very job, where it is there and whole, byte for byte."""
        if self.store is not None:
            version = self.store.with_job(job_hash(spec))
            return self._sound(version) if version is not None else None
        try:
            manifest = ResultManifest.read(self.folder)
            if manifest.content_hash != spec.content_hash():
                return None
            manifest.verify(self.folder)
        except VoidError:
            return None
        return Done(self.folder, manifest, before=True)

    def _sound(self, version: Version) -> Optional[Done]:
        try:
            version.manifest.verify(version.folder)
        except VoidError:  # its files changed on disk: it makes room, and is not lost
            version.folder.rename(version.folder.with_name(f".damaged-{version.folder.name}-{time.time_ns()}"))
            return None
        return Done(version.folder, version.manifest, True, version.name)

    def shown(self, done: Done) -> Done:
        """The same files at ``link``, where they are not there yet. Raises ``InputError``, ``DiskFull``."""
        if self.link is None:
            return done
        try:
            there = ResultManifest.read(self.link)
            if there == done.manifest:
                there.verify(self.link)
                return done
        except VoidError:
            pass  # nothing there, or not all of it
        files = {file.name: done.folder / file.name for file in done.manifest.all_files}
        results.install(done.manifest, files, self.link)
        return done

    def begin(self, job_id: str, endpoint: str, spec: JobSpec) -> None:
        """Before the job is sent, so that the node finds it though we are killed."""
        if self.store is not None:
            self.store.remember(Pending(job_id, endpoint, job_hash(spec), shot=spec.shot, submitted=time.time()))

    def give_up(self, job_id: str) -> None:
        if self.store is not None:
            self.store.forget(job_id)

    def receive(self, client: Client, job_id: str, resolved: Resolved, output: Output) -> Done:
        def fetch(folder: Path) -> ResultManifest:
            manifest = client.download(job_id, folder, output.transfer)
            places.note(folder, resolved.names)
            return manifest

        if self.store is None:
            return Done(self.folder, fetch(self.folder))
        version = self.store.place(client.manifest(job_id), fetch)
        self.store.forget(job_id)
        return Done(version.folder, version.manifest, False, version.name)


@sigterm_interrupts()
def run(options: argparse.Namespace, output: Output) -> int:
    from .local import need_server

    output.tells_steps = True
    if not is_remote(options):
        need_server()
    elif any(getattr(options, key) for key in HOST):
        raise InputError(
            "--device, --models and --memory are the server's to say.",
            hint="Leave them out, or render with --local on this machine.",
        )
    if options.again is not None:
        from . import again

        return again.run(options, output)
    if options.check or options.context is not None:
        raise JobError("--check and --context go with --again OUT.")
    resolved, target = prepared(options, output)
    if options.seeds:
        from . import seeds

        return seeds.solve(options, resolved, target.folder, output)
    _tell(solve(options, resolved, target, output), output)
    return 0


def prepared(options: argparse.Namespace, output: Output) -> tuple[Resolved, Target]:
    """The shot, its files hashed, and where its frames go. Raises ``JobError``, ``FrameError``."""
    resolved, written, base = resolve(options, output)
    resolved = dataclasses.replace(resolved, spec=dataclasses.replace(resolved.spec, stop=options.stop))
    target = target_of(options, written, base, resolved.spec)
    check_out(target.folder, resolved)
    return resolved, target


def solve(
    options: argparse.Namespace,
    resolved: Resolved,
    target: Target,
    output: Output,
    *,
    warm: Optional[Warm] = None,
    on_sent: Optional[Callable[[Client, str], None]] = None,
) -> Done:
    """The shot's result at its target. Raises what the job raises; Ctrl-C and SIGTERM cancel it.

    ``warm``: gives the private server that several shots share. ``on_sent(client, job id)`` is called once a server
    has the job.
    """

    def known() -> Optional[Done]:
        return None if options.anew else target.finished(resolved.spec)

    def before(job_id: str, endpoint: str) -> None:
        done = known()  # another render of this folder may have ended while we waited for our turn
        if done is not None:
            raise AlreadyDone
        if options.server or options.connection or options.remote:  # one that others reach, too
            target.begin(job_id, endpoint, resolved.spec)

    done = known()
    if done is not None:
        return target.shown(done)
    try:
        with submitted(options, resolved, target.folder, output, before=before, warm=warm) as (client, job_id):
            if on_sent is not None:
                on_sent(client, job_id)
            try:
                ended(client, job_id, resolved, output.event)
            except (VoidError, KeyboardInterrupt) as error:
                if not (isinstance(error, VoidError) and error.retryable):  # else the job may go on without us
                    target.give_up(job_id)
                raise
            return target.shown(target.receive(client, job_id, resolved, output))
    except AlreadyDone:
        done = known()
        assert done is not None
        return target.shown(done)


def target_of(options: argparse.Namespace, written: ShotFile, base: Path, spec: JobSpec) -> Target:
    """Where the command line, or the shot file, wants the frames. Raises ``JobError`` where neither says it."""
    project = options.store or (base / written.store if written.store else None)
    studio = base / written.results if written.results and not options.store else None
    link = base / written.link if written.link else None
    if options.out is not None:
        return Target(options.out, link=link)
    if options.stop == "masks" and (project is not None or studio is not None):
        raise JobError("A quadmask alone is no version of a result.", hint="Say where it goes: --out FOLDER.")
    if project is None and studio is None and written.out:
        return Target(base / written.out, link=link)
    if project is None and studio is None:
        raise JobError(
            "Where should the frames go?",
            hint="Give --out FOLDER, or --store PROJECT --node UUID; or `out:` in the shot file.",
        )
    node = options.node or written.node
    if not node:
        raise JobError("Whose result is it?", hint="Give --node UUID, or `node:` in the shot file, with the store.")
    if options.seeds:
        raise JobError("--seeds makes several results.", hint="Give --out FOLDER, and `void choose` one of them.")
    store = NodeStore.of(Path(project or ""), spec.shot, node, studio)
    return Target(store.root, store, link)


def check_out(out: Path, resolved: Resolved) -> None:
    for path in resolved.files.values():
        if path.resolve().parent == out.resolve():
            raise JobError(
                f"{out} holds the shot's own frames.", hint="Choose another --out: results must not replace plates."
            )


def _tell(done: Done, output: Output) -> None:
    signed, values = describe(done.manifest)
    count = len(done.manifest.frames)
    was = ": done before, nothing was done again" if done.before else ""
    output.say(
        f"{count} frames in {done.folder}{was}; {signed}",
        out=str(done.folder),
        job=done.manifest.job_id,
        frames=count,
        provenance=values,
        warnings=output.warnings(done.manifest.facts),
        finished_before=done.before,
        **({"version": done.version} if done.version else {}),
    )
