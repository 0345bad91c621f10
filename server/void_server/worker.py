"""The worker process: one device, one job at a time; the server's only importer of void_engine.

Started by the supervisor as ``python -m void_server.worker FD OPTIONS``, OPTIONS being JSON. Promises: it ends with its
server (end of file on the line); results get their names whole, the manifest last; every failure is told in
terms of the error tree.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from void_client import wire
from void_client.errors import Cancelled, JobFailed, VoidError
from void_client.job import JobSpec
from void_client.manifest import MANIFEST, ResultFile, ResultFrame, ResultManifest
from void_client.provenance import read_keys

from void_engine.ability import unable
from void_engine.interface import Helper
from void_engine.masking import check_reasoners
from void_engine.pipeline import Delivered, Folders, Host, describe_device, make_engines, prepare_process, run_job

from .lines import Borrowed, Line
from .link import Link, LinkClosed
from .logs import log_to_file
from .settings import GB
from .shared_cache import SharedCache
from .signing import Notary, check, key_path
from .store import frame_path

log = logging.getLogger(__name__)

_ALIVE_S = 2.0
_PROGRESS_S = 0.2


class Observer:
    """``void_engine.pipeline.Observer`` over the line; progress is thinned to a few messages a second."""

    def __init__(self, link: Link, job_id: str) -> None:
        self._link = link
        self._job_id = job_id
        self._next = 0.0
        self.cancelled = threading.Event()

    def stage(self, name: str, state: str, key: str) -> None:
        self._next = 0.0
        self._link.send("stage", job_id=self._job_id, stage=name, state=state, key=key)

    def progress(self, stage: str, step: int, of: int, note: str) -> None:
        now = time.monotonic()
        if now >= self._next or step == of:
            self._next = now + _PROGRESS_S
            self._link.send("progress", job_id=self._job_id, stage=stage, step=step, of=of, note=note)

    def check(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled(f"The job {self._job_id} was cancelled.")


class Process:
    def __init__(
        self,
        link: Link,
        data: Path,
        host: Host,
        reserve_bytes: int,
        notary: Notary,
        shared: SharedCache | None = None,
        *,
        spread: bool = False,
    ) -> None:
        """``spread``: whether its jobs may ask for the help of idle devices."""
        self._link = link
        self._shared = shared
        self._data = data
        self._borrowed = Borrowed(self._ask_for_help)
        self._host = replace(host, helpers=self._borrowed) if spread else host
        self._engines = make_engines(self._host)
        self._reserve_bytes = reserve_bytes
        self._notary = notary
        self._helping: Line | None = None
        self._observer: Observer | None = None
        self._jobs: list[dict[str, Any]] = []
        self._wanted = threading.Condition()

    def run(self) -> None:
        """Until the server closes the line."""
        threading.Thread(target=self._listen, name="void link", daemon=True).start()
        threading.Thread(target=self._say_alive, name="void alive", daemon=True).start()
        self._warm_up()
        card, memory = describe_device(self._host.device)
        self._link.send(
            "ready",
            card=card,
            memory=memory,
            engines={name: engine.version for name, engine in self._engines.items()},
            unable=unable(self._host),
            reasoners=check_reasoners(self._host),
            signing=check(self._notary.key),
        )
        while True:
            with self._wanted:
                self._wanted.wait_for(lambda: bool(self._jobs))
                message = self._jobs.pop()
            if message["kind"] == "lend":
                self._help(message["engine"], message["line"])
            else:
                self._run_job(message["job_id"], message["spec"], message["approved"])

    def _warm_up(self) -> None:
        """An engine that cannot is told by its first job: the others work."""
        for engine in self._engines.values():
            try:
                engine.warm_up()
            except VoidError as error:
                log.warning("the engine %s could not be made ready: %s", engine.name, error)

    def _ask_for_help(self, job_id: str, count: int) -> None:
        self._link.send("borrow", job_id=job_id, engine="void", count=count)

    def _help(self, engine: str, line: Line) -> None:
        """Do a part of another worker's job, until it lets go or the server wants this device back."""
        helper = self._engines[engine]
        try:
            if isinstance(helper, Helper):
                helper.help(line)
        except ConnectionError:
            log.info("the help has ended")
        except Exception:  # the other worker goes on without it, and this one must not die of another's job
            log.exception("helping failed")
        self._helping = None
        line.close()
        self._link.send("free")

    def _run_job(self, job_id: str, spec_map: dict[str, Any], approved: bool) -> None:
        try:
            spec = JobSpec.from_wire(spec_map)
            waits = spec.stop == "review" and not approved
            data = self._render(job_id, spec, "masks" if waits or spec.stop == "masks" else "")
            kind = "review" if waits else "done"
        except Cancelled as error:
            kind, data = "cancelled", error.to_wire()
        except VoidError as error:
            log.warning("job %s: %s", job_id, error)
            kind, data = "failed", error.to_wire()
        except LinkClosed:
            raise
        except Exception as problem:
            log.exception("job %s failed", job_id)
            failure = JobFailed(
                f"The job failed inside the engine: {type(problem).__name__}: {problem}",
                hint="This is a fault of VOID: please report it with `void doctor --bundle`.",
            )
            kind, data = "failed", failure.to_wire()
        self._observer = None
        self._borrowed.end()
        self._link.send(kind, job_id=job_id, data=data)

    def _render(self, job_id: str, spec: JobSpec, stop: str) -> dict[str, Any]:
        observer = Observer(self._link, job_id)
        self._observer = observer
        self._borrowed.begin(job_id)
        result = self._data / "results" / job_id
        # The mark of a finished result goes first and comes last.
        (result / MANIFEST).unlink(missing_ok=True)
        if self._shared is not None:
            self._shared.count = lambda name: self._link.send("count", job_id=job_id, name=name)
        folders = Folders(self._data / "stages", result, self._reserve_bytes, self._shared)
        store = self._data / "store"
        delivered = run_job(
            replace(spec, stop=stop),
            lambda digest: frame_path(store, digest),
            folders,
            observer,
            self._engines,
            self._host,
        )
        facts = {**delivered.facts, "device": self._host.device}
        manifest = self._notary.vouch(_manifest(job_id, spec, delivered, facts), result)
        _drop_others(result, manifest)
        manifest.write(result)
        signed = manifest.provenance is not None and manifest.provenance.signed
        return {"frames": len(delivered.frames), "engine": spec.engine.name, "signed": signed}

    def _listen(self) -> None:
        try:
            while True:
                for message in self._link.receive():
                    self._hear(message)
        except LinkClosed:
            os._exit(0)  # the server has ended: nobody waits for this work, and another worker may begin it

    def _hear(self, message: dict[str, Any]) -> None:
        if message["kind"] == "lend":
            message["line"] = self._helping = Line(message["line"])
        if message["kind"] in ("run", "lend"):
            with self._wanted:
                self._jobs.append(message)
                self._wanted.notify()
        elif message["kind"] == "lent":
            self._borrowed.put(message["job_id"], Line(message["line"]))
        elif message["kind"] == "reclaim" and self._helping is not None:
            self._helping.leave()
        elif message["kind"] == "cancel" and self._observer is not None:
            self._observer.cancelled.set()

    def _say_alive(self) -> None:
        while True:
            time.sleep(_ALIVE_S)
            try:
                self._link.send("alive")
            except LinkClosed:
                os._exit(0)


def _manifest(job_id: str, spec: JobSpec, delivered: Delivered, facts: dict[str, Any]) -> ResultManifest:
    frames = tuple(ResultFrame(f.number, f.path.name, f.sha256, f.size) for f in delivered.frames)
    wire.pack(facts)  # facts travel: what cannot is a fault of the engine, found here and not at the client
    files = tuple(ResultFile(f.path.name, f.sha256, f.size) for f in delivered.files)
    return ResultManifest(job_id, spec.content_hash(), frames, spec.to_wire(), facts, files)


def _drop_others(result: Path, manifest: ResultManifest) -> None:
    """What an approved review or a killed attempt left: no manifest names it, so nobody can fetch it."""
    named = {each.name for each in manifest.all_files}
    for path in result.iterdir():
        if path.name not in named and path.is_file():
            path.unlink()


def _shared_cache(options: dict[str, Any], key: Path, reserve_bytes: int) -> SharedCache | None:
    """Without keys that can be read nothing of others is used: a list of pins must not be lost by a typing error."""
    if not options.get("shared_cache"):
        return None
    named = options.get("shared_cache_keys", "")
    try:
        keys = read_keys(named) if named else {}
    except VoidError as problem:
        log.error("the shared cache is not used: %s", problem)
        return None
    return SharedCache(Path(options["shared_cache"]), key, keys, reserve_bytes=reserve_bytes)


def main() -> None:
    fd, text = sys.argv[1:]
    options = json.loads(text)
    data, device = Path(options["data"]), options["device"]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s worker " + device + ": %(message)s")
    log_to_file(data / f"worker-{device.replace(':', '')}.log")
    prepare_process()
    host = Host(
        device="cpu" if device.startswith("cpu") else device,  # torch knows one CPU
        models=Path(options["models"]) if options.get("models") else None,
        memory=options.get("memory", "auto"),
        memory_bytes=round(options.get("device_memory_gb", 0.0) * GB),
        attention=options.get("attention", ""),
        compile_blocks=options.get("compile_blocks", False),
        cache=data / "engines",
        allow_cloud=options.get("allow_cloud", True),
        gemini_model=options.get("gemini_model", ""),
        reasoner_url=options.get("reasoner_url", ""),
        reasoner_model=options.get("reasoner_model", ""),
        reasoner_in_house=options.get("reasoner_in_house", False),
        ocio=options.get("ocio", ""),
    )
    key = key_path(data, options.get("signing_key", ""))
    notary = Notary(key, options.get("c2pa_cert", ""), options.get("c2pa_key", ""))
    reserve = int(options["reserve_bytes"])
    shared, spread = _shared_cache(options, key, reserve), options.get("spread") == "auto"
    Process(Link(socket.socket(fileno=int(fd))), data, host, reserve, notary, shared, spread=spread).run()


if __name__ == "__main__":
    main()
