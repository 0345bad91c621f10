"""A job's way through the engine, in one short function: ``run_job``.

ingest → quadmask → generate → restore → deliver. Each stage is cached under the hash of its inputs, so that
another seed repeats only what depends on the seed, and a killed worker goes on where it was.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from void_client import __version__
from void_client.digest import sha256_data, sha256_file
from void_client.errors import EngineUnavailable, FrameError
from void_client.job import FrameRef, JobSpec
from void_engine import plates
from void_engine.cleanplate import CleanplateEngine
from void_engine.compositing import composite, generated_matte
from void_engine.interface import KEEP, Engine, GenerateRequest
from void_engine.plates import FileClip, FrameFolder
from void_engine.quadmask import check_range, read_quadmask
from void_engine.stages import Context, Observer, StageCache, StageResult

__all__ = ["Delivered", "DeliveredFrame", "Folders", "Observer", "engines", "run_job"]

Locate = Callable[[str], Path]
"""SHA-256 of a frame's file → where it lies."""

RESULT_NAME = "plate.{:04d}.exr"
_VERSIONS = {"ingest": 1, "quadmask": 1, "restore": 1}  # raised whenever a stage's result changes


@dataclass(frozen=True)
class Folders:
    """``stages``: the cache, shared by all jobs. ``result``: this job's own."""

    stages: Path
    result: Path


@dataclass(frozen=True)
class DeliveredFrame:
    number: int
    path: Path
    sha256: str
    size: int


@dataclass(frozen=True)
class Delivered:
    """``facts``: plain data for the manifest."""

    frames: tuple[DeliveredFrame, ...]
    facts: dict[str, Any]


def engines() -> dict[str, str]:
    """Name → version of the engines that can run here."""
    return {engine.name: engine.version for engine in _engines()}


def run_job(spec: JobSpec, locate: Locate, folders: Folders, observer: Observer) -> Delivered:
    """Make a job's frames. Raises the error tree's ``InputError`` kinds, ``DiskFull``, ``Cancelled``."""
    engine = _engine(spec.engine.name)
    options = engine.check_options(spec.engine.options)
    cache = StageCache(folders.stages, observer)
    with _frames_without_paths():
        ingest = cache.run("ingest", _ingest_inputs(spec), lambda context: _ingest(spec, locate, context))
        clip = _clip(spec, locate)
        quadmask = cache.run("quadmask", _quadmask_inputs(ingest), lambda context: _quadmask(clip, context))
        request = GenerateRequest(seed=spec.seed, prompt=spec.prompt, options=options)
        generate = cache.run(
            "generate",
            [engine.name, engine.version, ingest.facts["plate"], quadmask.key, spec.seed, spec.prompt, options],
            lambda context: engine.generate(clip, request, _clean_frames(context.folder, clip), context),
        )
        attributes = _attributes(spec, engine, options, quadmask)
        restore = cache.run(
            "restore",
            # The plate's files, not its pixels only: metadata comes back, too.
            [_VERSIONS["restore"], generate.key, [ref.sha256 for ref in spec.plate.frames], attributes],
            lambda context: _restore(spec, locate, clip, _clean_frames(generate.folder, clip), attributes, context),
        )
    return _deliver(spec, restore, {"engine": engine.name, "generate": generate.facts, **attributes}, folders, observer)


# --- stages


def _ingest_inputs(spec: JobSpec) -> Any:
    frames = [[ref.number, ref.sha256] for ref in spec.frame_refs()]
    return [_VERSIONS["ingest"], frames, spec.plate.layer]


def _ingest(spec: JobSpec, locate: Locate, context: Context) -> dict[str, Any]:
    """Look at every frame once: all headers first, then every pixel. Facts: a digest of the pixels per frame."""
    headers = [plates.read_header(locate(ref.sha256), input="plate", frame=ref.number) for ref in spec.plate.frames]
    plates.check_sequence(headers)
    digests: dict[str, list[Any]] = {"plate": [], "quadmask": []}
    count, done = len(spec.frame_refs()), 0
    for ref, header in zip(spec.plate.frames, headers, strict=True):
        frame = plates.read_frame(locate(ref.sha256), input="plate", frame=ref.number)
        frame.rgb(spec.plate.layer)  # raises for a missing layer and for pixels that are not finite
        digests["plate"].append([ref.number, plates.pixel_digest(frame)])
        done += 1
        context.progress(done, count, f"plate {ref.number}")
        del frame, header
    for ref, header in zip(spec.quadmask.frames, headers, strict=True):
        mask = read_quadmask(locate(ref.sha256), frame=ref.number, plate=header)
        digests["quadmask"].append([ref.number, sha256_data([header.data_window_list(), mask.tobytes().hex()])])
        done += 1
        context.progress(done, count, f"quadmask {ref.number}")
    return digests


def _quadmask_inputs(ingest: StageResult) -> Any:
    return [_VERSIONS["quadmask"], ingest.facts["quadmask"]]


def _quadmask(clip: FileClip, context: Context) -> dict[str, Any]:
    """The resolved quadmask: a supplied one as it is (grow and feather are 0). Facts: how much each frame replaces."""
    replaced = []
    for position, number in enumerate(clip.numbers):
        mask = clip.quadmask(position)
        replaced.append([number, int(np.count_nonzero(mask <= 63)), int(np.count_nonzero(mask != KEEP))])
        context.progress(position + 1, len(clip.numbers))
    check_range([row[1] for row in replaced], clip.numbers)
    return {"replaced": replaced}


def _restore(
    spec: JobSpec, locate: Locate, clip: FileClip, clean: FrameFolder, attributes: dict[str, str], context: Context
) -> dict[str, Any]:
    """Lay the clean frames into the plate's own files: every kept pixel and everything else bit for bit."""
    for position, ref in enumerate(spec.plate.frames):
        path = context.folder / RESULT_NAME.format(ref.number)
        if not path.is_file():
            frame = plates.read_frame(locate(ref.sha256), input="plate", frame=ref.number)
            window = frame.header.data_window
            inside = window.slices_in(clip.canvas)
            mask = clip.quadmask(position)
            if (mask[inside] != KEEP).any():
                matte = generated_matte(mask)[inside]
                frame = composite(frame, spec.plate.layer, clean.read(position)[inside], matte)
            plates.write_frame(path, frame, attributes=attributes)
        context.progress(position + 1, len(spec.plate.frames))
    return {}


def _deliver(
    spec: JobSpec, restore: StageResult, facts: dict[str, Any], folders: Folders, observer: Observer
) -> Delivered:
    """The frames into the job's folder, under their names only when whole."""
    observer.stage("deliver", "running", restore.key)
    folders.result.mkdir(parents=True, exist_ok=True)
    frames = []
    for step, ref in enumerate(spec.plate.frames, 1):
        observer.check()
        source = restore.folder / RESULT_NAME.format(ref.number)
        path = folders.result / source.name
        _link_or_copy(source, path)
        frames.append(DeliveredFrame(ref.number, path, sha256_file(path), path.stat().st_size))
        observer.progress("deliver", step, len(spec.plate.frames), "")
    observer.stage("deliver", "done", restore.key)
    return Delivered(tuple(frames), facts)


# --- parts


def _engines() -> list[Engine]:
    return [CleanplateEngine()]


def _engine(name: str) -> Engine:
    known = {engine.name: engine for engine in _engines()}
    if name not in known:
        raise EngineUnavailable(f"There is no engine {name!r}.", hint=f"There is: {', '.join(sorted(known))}.")
    return known[name]


def _clip(spec: JobSpec, locate: Locate) -> FileClip:
    def located(refs: tuple[FrameRef, ...]) -> list[tuple[int, Path]]:
        return [(ref.number, locate(ref.sha256)) for ref in refs]

    return FileClip(located(spec.plate.frames), located(spec.quadmask.frames), layer=spec.plate.layer)


def _clean_frames(folder: Path, clip: FileClip) -> FrameFolder:
    return FrameFolder(folder / "clean", clip)


def _attributes(spec: JobSpec, engine: Engine, options: dict[str, Any], quadmask: StageResult) -> dict[str, str]:
    """``void/*``: content only, so that equal jobs give equal files."""
    return {
        "void/engine": engine.name,
        "void/engineVersion": engine.version,
        "void/version": __version__,
        "void/seed": str(spec.seed),
        "void/prompt": spec.prompt,
        "void/colourSpace": spec.plate.colour_space,
        "void/options": ", ".join(f"{key}={value}" for key, value in sorted(options.items())),
        "void/quadmask": quadmask.key,
        "void/job": spec.content_hash(),
    }


def _link_or_copy(source: Path, path: Path) -> None:
    """A hard link costs no space; where the file system has none, a copy. Never half a file under the name."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
    temporary.replace(path)


class _frames_without_paths:
    """The store's paths mean nothing to an artist: the client puts the shot's own file names in."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, FrameError) and "file" in error.details:
            path = str(error.details.pop("file"))
            error.message = error.message.replace(f" ({path})", "").replace(path, "its file")
