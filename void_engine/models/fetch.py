"""Fetching models: pinned, checked, resumable, never half a file under its own name.

A file grows as ``.NAME.DIGEST.part`` beside its place, is checked, and gets its name last. A fetch that was stopped
goes on in its parts. What is there already is checked too, and fetched again where it is not the pinned file.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from void_client.errors import Busy, DigestMismatch, DiskFull, EngineUnavailable, InputError

from void_engine.atomic import write_error
from void_engine.models.catalogue import Model, ModelFile
from void_engine.models.folder import PICKLED
from void_engine.models.hashing import git_blob, sha256
from void_engine.models.hub import Hub, RemoteFile, RemoteModel
from void_engine.models.lock import LockedFile, LockedModel, read_lock, write_lock

# (what, done, of): "check" in megabytes, "download" in bytes.
Progress = Callable[[str, int, int], None]
_SPARE = 100 * 10**6  # bytes that stay free: other programs write to that disk, too


@dataclass(frozen=True)
class Fetched:
    """One file: ``fresh`` where its bytes came now, not where it was there already."""

    place: str
    size: int
    sha256: str
    fresh: bool


@dataclass(frozen=True)
class _Wanted:
    model: Model
    remote: RemoteModel
    file: RemoteFile
    target: Path

    @property
    def part(self) -> Path:
        """Named by the content: a part of another revision is never gone on with."""
        return self.target.with_name(f".{self.target.name}.{(self.file.sha256 or self.file.blob)[:16]}.part")

    @property
    def place(self) -> str:
        return self.model.place(self.file.name)


def unaccepted(models: Sequence[Model], accepted: Collection[str]) -> list[Model]:
    """The models whose licence must be accepted and is not."""
    return [model for model in models if model.licence.must_accept and model.licence.name not in accepted]


def fetch(
    root: Path,
    models: Sequence[Model],
    hub: Hub,
    accepted: Collection[str] = (),
    progress: Progress = lambda what, done, of: None,
    *,
    everything: bool = False,
) -> Iterator[Fetched]:
    """Brings the models into the folder, file by file. ``accepted``: names of licences. ``everything``: optional
    files, too.

    Raises ``InputError`` before anything is asked of the hub where a licence is not accepted, ``DiskFull`` before
    anything is fetched, ``EngineUnavailable`` where the hub has not what is pinned, ``ServerUnreachable`` where it
    cannot be reached, ``DigestMismatch`` where what came is not what was announced.
    """
    for model in unaccepted(models, accepted):
        raise InputError(
            f"The {model.licence.name} of {model.repository} is not accepted.",
            hint=f"Read {model.licence.url}, then say --accept-licences.",
            details={"model": model.name, "licence": model.licence.name, "url": model.licence.url},
        )
    with _alone(root):
        locked = read_lock(root)
        wanted = [each for model in models for each in _plan(root, model, everything, locked, hub)]
        whole = _check_present(wanted, progress)
        lacking = [each for each in wanted if each.place not in whole]
        _check_room(root, lacking)
        done, of = sum(_held(each) for each in lacking), sum(each.file.size for each in lacking)
        for each in wanted:
            digest = whole.get(each.place)
            if digest is None:
                held = _held(each)

                def on_bytes(count: int, so_far: int = done) -> None:
                    progress("download", min(so_far + count, of), of)

                digest = _bring(each, hub, on_bytes)
                done += each.file.size - held
            _record(root, locked, each, digest)
            yield Fetched(each.place, each.file.size, digest, each.place not in whole)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One fetch into a folder at a time: two would write the same parts."""
    path = root / ".fetch.lock"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(f"Another fetch writes into {root}.", hint="Let it finish.") from None
            yield
    except OSError as error:
        raise write_error(Path(error.filename or path), error) from error


def _plan(root: Path, model: Model, everything: bool, locked: Mapping[str, LockedModel], hub: Hub) -> list[_Wanted]:
    """What the hub has of the model at its pinned revision, or the one that the first fetch recorded."""
    before = locked.get(model.name)
    recorded = before.revision if before and before.repository == model.repository else ""
    remote = hub.look_up(model.repository, model.revision or recorded)
    if model.revision and remote.revision != model.revision:
        raise EngineUnavailable(f"{hub.endpoint} answers with another revision of {model.repository} than was asked.")
    return [
        _Wanted(model, remote, _offered(model, file, remote, hub), root / model.place(file.name))
        for file in model.wanted(everything)
    ]


def _offered(model: Model, file: ModelFile, remote: RemoteModel, hub: Hub) -> RemoteFile:
    offered = remote.files.get(file.name)
    if offered is None:
        folder = file.name.rpartition("/")[0]
        pickled = [n for n in remote.files if n.rpartition("/")[0] == folder and Path(n).suffix in PICKLED]
        only = f" It has {pickled[0]}: only safetensors are fetched." if pickled else ""
        raise EngineUnavailable(
            f"{model.repository} at {hub.endpoint} lacks {file.name}.{only}",
            hint="It is not the repository that VOID knows; check HF_ENDPOINT.",
            details={"repository": model.repository, "file": file.name},
        )
    if file.sha256 and offered.sha256 != file.sha256:
        raise EngineUnavailable(
            f"{model.repository} at {hub.endpoint} has another {file.name} than VOID is pinned to "
            f"(SHA-256 {offered.sha256[:16] or 'unknown'}…, not {file.sha256[:16]}…).",
            hint="Nothing was fetched. If the model was renewed, VOID's catalogue must be, too: report it.",
            details={"file": file.name, "expected": file.sha256, "offered": offered.sha256},
        )
    if not offered.sha256 and not offered.blob:
        raise EngineUnavailable(f"{hub.endpoint} gives no digest for {file.name}: it cannot be checked.")
    return offered


def _digest_if_right(path: Path, file: RemoteFile, on_bytes: Callable[[int], None] = lambda count: None) -> str | None:
    """The file's SHA-256, or ``None`` where it is not the announced one."""
    if path.stat().st_size != file.size:
        return None
    if not file.sha256 and git_blob(path) != file.blob:
        return None
    digest = sha256(path, on_bytes)
    return digest if file.sha256 in ("", digest) else None


def _check_present(wanted: Sequence[_Wanted], progress: Progress) -> dict[str, str]:
    """The places of what is there already and is right → its SHA-256."""
    there = [each for each in wanted if each.target.is_file()]
    whole: dict[str, str] = {}
    of, done = sum(each.file.size for each in there), 0
    for each in there:

        def on_bytes(count: int) -> None:
            nonlocal done
            done += count
            progress("check", done // 10**6, of // 10**6)

        digest = _digest_if_right(each.target, each.file, on_bytes)
        if digest is not None:
            whole[each.place] = digest
    return whole


def _held(each: _Wanted) -> int:
    return min(each.part.stat().st_size, each.file.size) if each.part.is_file() else 0


def _check_room(root: Path, lacking: Sequence[_Wanted]) -> None:
    if not lacking:
        return
    # A wrong file in its place stays until the right one is whole: both need room.
    needed = sum(each.file.size - _held(each) for each in lacking) + _SPARE
    free = shutil.disk_usage(root).free
    if free < needed:
        raise DiskFull(
            f"{root} has {free / 1e9:.1f} GB free; the models need {needed / 1e9:.1f} GB more.",
            hint="Make room, or name a folder on another disk with --models.",
            details={"free": free, "needed": needed},
        )


def _bring(each: _Wanted, hub: Hub, on_progress: Callable[[int], None]) -> str:
    """Downloads, checks and places one file; its SHA-256. ``on_progress`` hears how many bytes came in this call."""
    each.target.parent.mkdir(parents=True, exist_ok=True)
    while True:
        resumed, came = _held(each), 0

        def on_bytes(count: int) -> None:
            nonlocal came
            came += count
            on_progress(came)

        if each.part.is_file() and each.part.stat().st_size > each.file.size:
            each.part.unlink()
        hub.download(each.remote, each.file, each.part, on_bytes)
        digest = _digest_if_right(each.part, each.file)
        if digest is not None:
            os.replace(each.part, each.target)
            for stale in each.target.parent.glob(f".{each.target.name}.*.part"):
                stale.unlink()  # of another revision
            return digest
        each.part.unlink()
        if not resumed:  # what came from an earlier run may have rotted; what came whole just now is wrong
            raise DigestMismatch(
                f"What came as {each.file.name} of {each.remote.repository} is not what {hub.endpoint} announced.",
                hint="Nothing of it was kept. Try again; behind a proxy or a mirror, look there.",
                details={"file": each.place},
            )


def _record(root: Path, locked: dict[str, LockedModel], each: _Wanted, digest: str) -> None:
    """After each file: a fetch that is stopped leaves a lock that tells the truth."""
    model = locked.get(each.model.name)
    if model is None or (model.repository, model.revision) != (each.remote.repository, each.remote.revision):
        model = LockedModel(each.remote.repository, each.remote.revision)
    entry = LockedFile(each.file.size, digest)
    if model.files.get(each.place) != entry:
        locked[each.model.name] = replace(model, files={**model.files, each.place: entry})
        write_lock(root, locked)
