"""Where the results of a node or a shot lie: versions, their numbers, and the jobs that are still under way.

::

    <project>/void/<shot>/<node>/
        v003_<hash12>/plate.####.exr … manifest.json       a version: ready where the manifest is
        masks/<hash12>/quadmask.####.exr … manifest.json   a quadmask for review
        exports/…                                          plates and mattes that the host rendered
        pending/<job id>.json                              a job whose result has not arrived yet
        .numbers/v003                                      whose the number 3 is: a hash12

Promises: a version appears whole or not at all; equal content is the same version, also when two machines fetch it
at once, and also after its folder was deleted by hand; a number is never given twice. Must not: know a server, or
delete a version.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from . import schema
from .digest import sha256_data
from .errors import InputError, JobError, VoidError
from .incoming import folder_problem
from .job import JobSpec, check_job_id
from .manifest import MANIFEST, ResultManifest, fsync_folder, write_durably
from .sequence import FramePattern

__all__ = [
    "NodeStore",
    "Pending",
    "Version",
    "from_files",
    "hash12",
    "job_hash",
    "link_or_copy",
    "of_pattern",
    "plain_name",
    "publish",
]

_VERSION = re.compile(r"\Av(\d{3,})_([0-9a-f]{12})\Z")
_NUMBER = re.compile(r"\Av(\d{3,})\Z")
_HASH = re.compile(r"\A[0-9a-f]{12}\Z")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NO_PIXELS = {"void/version"}
"""What a result tells of itself that does not change its pixels."""
_CLAIM_S = 2.0  # a number's file is written at once: one that stays empty longer is what a crash left

Fetch = Callable[[Path], ResultManifest]
"""Brings a result into an empty folder, its manifest last, and returns the manifest."""

_umask_lock = threading.Lock()
_own_umask: Optional[int] = None


def job_hash(spec: JobSpec) -> str:
    """The job's content hash, whether or not it stops for a review: the pixels are the same."""
    return replace(spec, stop="").content_hash()


def hash12(manifest: ResultManifest) -> str:
    """What a version is called after: the job, and all that the server says decided the pixels (engine, versions,
    models, the quadmask). Neither time nor place nor job id."""
    facts = manifest.facts
    if "parts" in facts:  # put together from several solves: its content hash covers them all
        content = manifest.content_hash
    else:
        try:
            content = job_hash(JobSpec.from_wire(manifest.job))
        except JobError:  # a newer server's job
            content = manifest.content_hash
    said = {key: value for key, value in facts.items() if key.startswith("void/") and key not in _NO_PIXELS}
    engine = [facts.get("engine", ""), facts.get("engine_version", ""), facts.get("quadmask", "")]
    return sha256_data([content, engine, said])[:12]


def plain_name(text: str) -> str:
    """``text`` as a folder's name on every system."""
    return _UNSAFE.sub("_", text).strip("._") or "shot"


@dataclass(frozen=True)
class Version:
    """A finished result on disk. ``number`` 0: a quadmask for review."""

    number: int
    hash12: str
    folder: Path
    manifest: ResultManifest

    @property
    def name(self) -> str:
        """ "v003", as the version's knob shows it."""
        return f"v{self.number:03d}"

    @property
    def frames(self) -> tuple[int, ...]:
        return tuple(sorted(frame.number for frame in self.manifest.frames))

    @property
    def first(self) -> int:
        return self.frames[0]

    @property
    def last(self) -> int:
        return self.frames[-1]

    @property
    def pattern(self) -> str:
        """The frames as Nuke writes them: forward slashes and ``%04d``."""
        name = self.manifest.frames[0].name
        number = re.search(r"-?\d+(?=\.[A-Za-z0-9]+\Z)", name)
        if number is None:
            raise InputError(f"{self.folder} holds {name!r}, which has no frame number.")
        return f"{self.folder.as_posix()}/{name[: number.start()]}%04d{name[number.end() :]}"

    @property
    def job_hash(self) -> str:
        """As ``job_hash`` has it; "" where this version of the program cannot read the job."""
        if "parts" in self.manifest.facts:
            return self.manifest.content_hash
        try:
            return job_hash(JobSpec.from_wire(self.manifest.job))
        except JobError:
            return ""

    def is_whole(self) -> bool:
        """Whether every file is there in its size. Says nothing of their bytes: `ResultManifest.verify` does."""
        try:
            return all((self.folder / file.name).stat().st_size == file.size for file in self.manifest.all_files)
        except OSError:
            return False


@dataclass(frozen=True)
class Pending:
    """A job that was submitted and whose result has not been placed: whoever finds this may go on with it.

    endpoint: the server's address. job_hash: as ``job_hash`` has it. node, script: for people. shot: the job's label.
    submitted: seconds since 1970. solved: what the host needs to know about the node's state at that time. base: the
    folder of the version whose frames this job solves again, "" for a whole result; masks: pattern of their quadmasks.
    cancelled: its artist gave it up, and the server is still to hear of it.
    """

    job_id: str
    endpoint: str
    job_hash: str = ""
    node: str = ""
    script: str = ""
    shot: str = ""
    submitted: float = 0.0
    solved: str = ""
    base: str = ""
    masks: str = ""
    cancelled: bool = False
    version: int = 1


@dataclass(frozen=True)
class NodeStore:
    """The folder of one node's, or one shot's, results. Any number of programs and machines may use it at once."""

    root: Path

    @classmethod
    def of(cls, project: Path, shot: str, node: str, results: Optional[Path] = None) -> NodeStore:
        """``<project>/void/<shot>/<node>``; ``results`` in place of ``<project>/void``. ``node``: its uuid."""
        base = results if results is not None else project / "void"
        return cls(base / plain_name(shot) / plain_name(node))

    @property
    def exports(self) -> Path:
        """Where a host puts the plates and mattes that it renders for the server. Made when needed."""
        return self.root / "exports"

    # --- versions

    def versions(self) -> tuple[Version, ...]:
        """All that are ready, the oldest first. What cannot be read is no version."""
        return tuple(sorted(self._found(), key=lambda version: version.number))

    def names(self) -> tuple[str, ...]:
        """ "v001", "v002" …: those that are ready, by their folders alone."""
        numbers = [
            int(match.group(1))
            for entry in _listed(self.root)
            for match in [_VERSION.match(entry.name)]
            if match and (entry / MANIFEST).is_file()
        ]
        return tuple(f"v{number:03d}" for number in sorted(numbers))

    def version(self, number: int) -> Optional[Version]:
        return next(self._found(number), None)

    def latest(self) -> Optional[Version]:
        found = self.versions()
        return found[-1] if found else None

    def with_job(self, job: str) -> Optional[Version]:
        """The newest whole version that was made of this job (``job_hash``)."""
        return next((v for v in reversed(self.versions()) if v.job_hash == job and v.is_whole()), None)

    def next_number(self) -> int:
        """The number that a new content would get now."""
        return max([0, *self._numbers_taken()]) + 1

    def place(self, manifest: ResultManifest, fetch: Fetch) -> Version:
        """The result as a version: the one that is there, where its content is there already and whole, else a new one.

        ``manifest``: what ``fetch`` will bring. Raises what ``fetch`` raises, ``DiskFull``, ``InputError``.
        """
        name = hash12(manifest)
        with self._making(self.root):
            number = self._claim(name)
            folder = self.root / f"v{number:03d}_{name}"
            return Version(number, name, folder, self._bring(folder, fetch))

    def place_masks(self, manifest: ResultManifest, fetch: Fetch) -> Version:
        """As ``place``, for the quadmask of a job that waits for its review. It takes no number."""
        name = hash12(manifest)
        folder = self.root / "masks" / name
        with self._making(folder.parent):
            return Version(0, name, folder, self._bring(folder, fetch))

    def _found(self, number: Optional[int] = None) -> Iterator[Version]:
        for entry in _listed(self.root):
            match = _VERSION.match(entry.name)
            wanted = match is not None and number in (None, int(match.group(1)))
            if match and wanted and (entry / MANIFEST).is_file():
                try:
                    yield Version(int(match.group(1)), match.group(2), entry, ResultManifest.read(entry))
                except InputError:
                    continue

    def _bring(self, folder: Path, fetch: Fetch) -> ResultManifest:
        there = _ready(folder)
        if there is not None:
            return there
        incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=folder.parent))
        try:
            incoming.chmod(0o777 & ~_umask())  # a temporary folder is its maker's alone; a version is the project's
            manifest = fetch(incoming)
            _install(incoming, folder)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        fsync_folder(folder.parent)
        return _ready(folder) or manifest

    @contextmanager
    def _making(self, folder: Path) -> Iterator[None]:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as problem:
            raise folder_problem(problem, folder) from problem

    # --- numbers

    def _numbers_taken(self) -> list[int]:
        shown = [_VERSION.match(entry.name) for entry in _listed(self.root)]
        claimed = [_NUMBER.match(entry.name) for entry in _listed(self._numbers)]
        return [int(match.group(1)) for match in (*shown, *claimed) if match]

    @property
    def _numbers(self) -> Path:
        return self.root / ".numbers"

    def _claim(self, name: str) -> int:
        """The number of this content for good: the one it has, or the next.

        Only who has seen that no lower number is this content's may make the next number's file, and only one can:
        so that two machines never give one content two numbers, or one number to two contents.
        """
        self._numbers.mkdir(exist_ok=True)
        number = 0
        while True:
            number += 1
            path = self._numbers / f"v{number:03d}"
            owner = _claimed_by(path)
            if owner is None:
                owner = self._shown_as(number)  # made before numbers were kept, or copied here
                if owner is None:
                    try:
                        with path.open("x", encoding="ascii") as stream:
                            stream.write(name)
                        return number
                    except FileExistsError:
                        owner = _claimed_by(path)
            if owner == name:
                return number

    def _shown_as(self, number: int) -> Optional[str]:
        for entry in _listed(self.root):
            match = _VERSION.match(entry.name)
            if match and int(match.group(1)) == number:
                return match.group(2)
        return None

    # --- jobs under way

    def remember(self, pending: Pending) -> None:
        """Before a job is submitted, so that it is found again. Raises ``DiskFull``, ``InputError``."""
        path = self._pending_file(pending.job_id)
        with self._making(path.parent):
            text = json.dumps(schema.dump(pending), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
            write_durably(path, text.encode())

    def call_off(self, job_id: str) -> None:
        """Nobody waits for it any more; the record stays until its server knows. Raises as ``remember``."""
        for record in self.pending():
            if record.job_id == job_id:
                self.remember(replace(record, cancelled=True))

    def forget(self, job_id: str) -> None:
        """Once its result is placed, or it ended without one."""
        try:
            self._pending_file(job_id).unlink()
        except OSError:
            return  # it was not there, or its folder takes no change: then nobody could remember it either

    def pending(self) -> tuple[Pending, ...]:
        """The oldest first. A record that cannot be read is left out."""
        found = []
        for path in _listed(self.root / "pending"):
            if path.suffix == ".json" and not path.name.startswith("."):
                try:
                    value = json.loads(path.read_text(encoding="utf-8"))
                    found.append(schema.load(Pending, value, where=str(path)))
                except (OSError, ValueError, VoidError):
                    continue
        return tuple(sorted(found, key=lambda record: (record.submitted, record.job_id)))

    def _pending_file(self, job_id: str) -> Path:
        return self.root / "pending" / f"{check_job_id(job_id)}.json"


def of_pattern(pattern: str) -> Optional[Version]:
    """The version that a path such as ``…/v003_<hash12>/plate.%04d.exr`` belongs to; None where there is none."""
    if not pattern:
        return None
    try:
        folder = FramePattern.parse(pattern).folder
    except JobError:
        return None
    match = _VERSION.match(folder.name)
    try:
        manifest = ResultManifest.read(folder)
    except InputError:
        return None
    if match:
        return Version(int(match.group(1)), match.group(2), folder, manifest)
    return Version(0, hash12(manifest), folder, manifest)


def from_files(manifest: ResultManifest, sources: Mapping[str, Path]) -> Fetch:
    """For ``place``: a result that is made of files on this machine, by their names in the manifest."""

    def fetch(folder: Path) -> ResultManifest:
        for file in manifest.all_files:
            link_or_copy(sources[file.name], folder / file.name)
        manifest.write(folder)
        return manifest

    return fetch


def link_or_copy(source: Path, path: Path) -> None:
    """A hard link costs no space; where the file system has none, a copy. Raises ``OSError``."""
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


def publish(version: Version, folder: Path, name: str) -> Path:
    """The version's frames and manifest as ``folder/name``, linked where the file system can, else copied.

    Whole or not at all; what is there already under the name is left alone. Raises ``DiskFull``, ``InputError``.
    """
    target = folder / plain_name(name)
    if _ready(target) is not None:
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=folder))
        try:
            incoming.chmod(0o777 & ~_umask())
            for file in version.manifest.all_files:
                link_or_copy(version.folder / file.name, incoming / file.name)
            version.manifest.write(incoming)
            _install(incoming, target)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        fsync_folder(folder)
    except OSError as problem:
        raise folder_problem(problem, folder) from problem
    return target


# --- parts


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _ready(folder: Path) -> Optional[ResultManifest]:
    """The manifest of a folder that holds a whole result."""
    try:
        manifest = ResultManifest.read(folder)
    except InputError:
        return None
    return manifest if Version(0, "", folder, manifest).is_whole() else None


def _install(incoming: Path, folder: Path) -> None:
    """Give the whole result its name. Another who was first has the same content: its folder stays."""
    for _ in range(3):
        try:
            incoming.rename(folder)
            return
        except OSError:
            if not folder.exists():
                raise
            if _ready(folder) is not None:
                return
            # What is there is damaged: files were deleted by hand. It makes room, and is not lost.
            folder.rename(folder.with_name(f".damaged-{folder.name}-{time.time_ns()}"))
    raise InputError(f"{folder} cannot be replaced.", hint="Is one of its files open? Close it, then reload.")


def _claimed_by(path: Path) -> Optional[str]:
    """The hash12 in a number's file; None where there is no such file, "" where a crash left it empty."""
    give_up = time.monotonic() + _CLAIM_S
    while True:
        try:
            text = path.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return None
        if _HASH.match(text):
            return text
        if time.monotonic() > give_up or time.time() - path.stat().st_mtime > _CLAIM_S:
            return ""
        time.sleep(0.005)


def _umask() -> int:
    """Asked for once, as asking changes it for a moment: files that other threads make then would get other rights."""
    global _own_umask
    with _umask_lock:
        if _own_umask is None:
            _own_umask = os.umask(0o022)
            os.umask(_own_umask)
        return _own_umask
