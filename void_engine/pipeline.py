"""A job's way through the engine, in one short function: ``run_job``.

ingest → quadmask → generate → detail → restore → deliver. Each stage is cached under the hash of its inputs, so that
another seed repeats only what depends on the seed, and a killed worker goes on where it was.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
from void_client import __version__
from void_client.digest import sha256_data
from void_client.errors import EngineUnavailable, FrameError
from void_client.job import FrameRef, JobSpec

from void_engine import plates
from void_engine.cleanplate import CleanplateEngine
from void_engine.colour.levels import Levels
from void_engine.colour.working import WorkingSpace
from void_engine.deliver import Delivered, DeliveredFrame, deliver_masks, deliver_plates
from void_engine.diffusion.engine import VoidEngine
from void_engine.interface import AFFECTED, KEEP, OVERLAP, Engine, GenerateRequest, Host, Quadmask
from void_engine.masking import work_out
from void_engine.overriding import Overrides, override_supplied, physical_name, png_name, read_png
from void_engine.plates.clip import FileClip
from void_engine.restoring import Plate, clean_frames, detailed, restore
from void_engine.stages import Context, Observer, Shared, StageCache, StageResult
from void_engine.working import working_space_of

__all__ = [
    "Delivered", "DeliveredFrame", "Folders", "Host", "Observer", "Shared", "describe_device", "make_engines",
    "prepare_process", "run_job",
]  # fmt: skip

Locate = Callable[[str], Path]
"""SHA-256 of a frame's file → where it lies."""

_VERSIONS = {"ingest": 2, "quadmask": 1, "restore": 2}  # raised whenever a stage's result changes


@dataclass(frozen=True)
class Folders:
    """``stages``: the cache, shared by all jobs. ``result``: this job's own. ``reserve_bytes`` stay free on disk.
    ``shared``: the stages of the farm's other machines."""

    stages: Path
    result: Path
    reserve_bytes: int = 0
    shared: Shared | None = None


def prepare_process() -> None:
    """Once per worker process: let EXR coding use its cores (the setting is global to a process)."""
    OpenEXR.set_global_thread_count(min(8, os.cpu_count() or 1))


def describe_device(device: str) -> tuple[str, int]:
    """Its name and its memory in bytes; "" and 0 for a CPU, and where nobody knows."""
    if device == "cpu":
        return "", 0
    try:
        import torch

        about = torch.cuda.get_device_properties(device)
    except (ImportError, RuntimeError, AssertionError):  # the last: a torch that was built without CUDA
        return "", 0
    return f"{about.name} {about.major}.{about.minor}", int(about.total_memory)


def make_engines(host: Host) -> dict[str, Engine]:
    """All engines by name. One that cannot run here is among them, and says so when it is asked to work.

    Keep them from job to job: weights stay loaded.
    """
    made: list[Engine] = [CleanplateEngine(), VoidEngine(host)]
    return {engine.name: engine for engine in made}


def run_job(
    spec: JobSpec, locate: Locate, folders: Folders, observer: Observer, engines: Mapping[str, Engine], host: Host
) -> Delivered:
    """Make a job's frames. Raises the error tree's ``InputError`` kinds, ``DiskFull``, ``Cancelled``."""
    engine = _engine(spec.engine.name, engines)
    options = engine.check_options(spec.engine.options)
    identity = engine.identity(options) if not spec.stop else {}
    cache = StageCache(folders.stages, observer, folders.reserve_bytes, folders.shared)
    with _without_store_paths():
        space = working_space_of(spec.plate, locate, host.ocio, folders.stages / "ocio")
        clip = _clip(spec, locate, space)
        ingest = cache.run("ingest", _ingest_inputs(spec, space), lambda context: _ingest(clip, spec, space, context))
        clip, quadmask, said = _quadmask_of(spec, clip, ingest, locate, cache, host)
        if spec.stop == "masks":
            return deliver_masks(clip, quadmask, said, folders.result, observer)
        clip = _with_choice(clip, quadmask, engine.affected(options))
        plate = Plate(space, spec.plate.layer, Levels.from_json(ingest.facts["levels"]))
        request = GenerateRequest(spec.seed, spec.prompt or said.get("scene", ""), options, plate.shaper)
        generate = _generate(engine, identity, request, clip, ingest, quadmask, cache)
        clean = detailed(engine, request, clip, ingest.facts["plate"], generate, cache)
        attributes = _attributes(spec, space, request, engine, identity, ingest, quadmask)
        restored = cache.run(
            "restore",
            # The plate's files, not its pixels only: metadata comes back, too.
            [_VERSIONS["restore"], clean.key, [ref.sha256 for ref in spec.plate.frames], attributes, *_some(spec)],
            lambda context: restore(clip, plate, spec.delivered, clean.folder, attributes, context),
        )
        facts = _facts(engine, generate, attributes, said)
        return deliver_plates(spec.delivered, restored, quadmask, facts, folders.result, observer)


# --- stages


def _ingest_inputs(spec: JobSpec, space: WorkingSpace) -> Any:
    masks = spec.quadmask.frames if spec.quadmask is not None else ()
    frames = [[[ref.number, ref.sha256] for ref in refs] for refs in (spec.plate.frames, masks)]
    return [_VERSIONS["ingest"], frames, spec.plate.layer, space.identity()]


def _ingest(clip: FileClip, spec: JobSpec, space: WorkingSpace, context: Context) -> dict[str, Any]:
    """Decode every frame once, so that bad input is told before work is spent. Facts: the pixels' digests and levels.

    Raises ``FrameError`` for what cannot be decoded and for pixels of the layer that are not finite.
    """
    facts: dict[str, list[Any]] = {"plate": [], "quadmask": []}
    levels = Levels()
    canvas = [clip.canvas.x0, clip.canvas.y0, clip.canvas.x1, clip.canvas.y1]
    for position, number in enumerate(clip.numbers):
        frame = clip.frame(position)
        levels.add(space.to_linear(frame.rgb(spec.plate.layer)))
        facts["plate"].append([number, plates.pixel_digest(frame)])
        if spec.quadmask is not None:
            mask = hashlib.sha256(clip.quadmask(position).tobytes()).hexdigest()
            facts["quadmask"].append([number, canvas, mask])
        context.progress(position + 1, len(clip.numbers), f"frame {number}")
    return {**facts, "levels": levels.to_json()}


def _quadmask_of(
    spec: JobSpec, clip: FileClip, ingest: StageResult, locate: Locate, cache: StageCache, host: Host
) -> tuple[FileClip, StageResult, dict[str, Any]]:
    """The clip with its quadmask, supplied or worked out; that stage; and what the manifest tells of it."""
    overrides = Overrides(spec.overrides, clip, locate)
    if spec.masks is None and spec.overrides:
        inputs = [_VERSIONS["quadmask"], ingest.facts["quadmask"], *overrides.key]
        stage = cache.run("quadmask", inputs, lambda context: override_supplied(clip, overrides, context))
        retouched = clip.with_quadmask(lambda position: read_png(stage.folder / png_name(position)))
        retouched.check_quadmask()
        return retouched, stage, {"warnings": overrides.warnings(stage.facts["faults"])}
    if spec.masks is None:
        inputs = [_VERSIONS["quadmask"], ingest.facts["quadmask"]]
        return clip, cache.run("quadmask", inputs, lambda context: _quadmask(clip, context)), {}
    worked_out = work_out(spec.masks, clip, ingest, locate, cache, host, overrides)
    masked = clip.with_quadmask(worked_out.quadmask)
    masked.check_quadmask()
    said = {
        "warnings": list(worked_out.warnings),
        "reasoner": worked_out.analysis.reasoner,
        "scene": worked_out.analysis.scene,
    }
    return masked, worked_out.stage, said


def _with_choice(clip: FileClip, quadmask: StageResult, affected: str) -> FileClip:
    """The clip whose quadmask keeps what the engine leaves of the affected region."""
    if affected == "remove":
        return clip

    def chosen(position: int) -> Quadmask:
        mask = clip.quadmask(position)
        path = quadmask.folder / physical_name(position)
        if affected == "keep":
            return np.where(mask == AFFECTED, np.uint8(KEEP), mask)
        return np.where((mask == AFFECTED) & (read_png(path) == 0), np.uint8(KEEP), mask) if path.is_file() else mask

    return clip.with_quadmask(chosen)


def _quadmask(clip: FileClip, context: Context) -> dict[str, Any]:
    """The resolved quadmask: a supplied one is taken as it is (grow and feather are 0).

    Facts: per frame its number, the pixels to remove and all that are replaced. Raises ``MaskError``.
    """
    clip.check_quadmask()
    replaced = []
    for position, number in enumerate(clip.numbers):
        mask = clip.quadmask(position)
        replaced.append([number, int(np.count_nonzero(mask <= OVERLAP)), int(np.count_nonzero(mask != KEEP))])
        context.progress(position + 1, len(clip.numbers))
    return {"replaced": replaced}


def _generate(
    engine: Engine,
    identity: dict[str, str],
    request: GenerateRequest,
    clip: FileClip,
    ingest: StageResult,
    quadmask: StageResult,
    cache: StageCache,
) -> StageResult:
    """Clean frames, by the engine; what only the next stage reads of its options does not count here."""
    later = engine.detail_options(request.options) or {}
    own = {key: value for key, value in request.options.items() if key not in later}
    inputs = [
        [engine.name, engine.version, identity, ingest.facts["plate"], quadmask.key],
        [request.seed, request.prompt, own],
    ]
    return cache.run(
        "generate",
        inputs,
        lambda context: engine.generate(clip, request, clean_frames(context.folder, clip), context),
    )


# --- parts


def _some(spec: JobSpec) -> list[list[int]]:
    """What counts besides, where not all frames come back."""
    return [list(spec.deliver)] if spec.deliver else []


def _engine(name: str, engines: Mapping[str, Engine]) -> Engine:
    if name not in engines:
        raise EngineUnavailable(f"There is no engine {name!r}.", hint=f"There is: {', '.join(sorted(engines))}.")
    return engines[name]


def _clip(spec: JobSpec, locate: Locate, space: WorkingSpace) -> FileClip:
    def located(refs: tuple[FrameRef, ...]) -> list[tuple[int, Path]]:
        return [(ref.number, locate(ref.sha256)) for ref in refs]

    masks = located(spec.quadmask.frames) if spec.quadmask is not None else None
    clip = FileClip(located(spec.plate.frames), masks, layer=spec.plate.layer)
    return clip.with_light(space.to_linear) if space.name else clip


def _attributes(
    spec: JobSpec,
    space: WorkingSpace,
    request: GenerateRequest,
    engine: Engine,
    identity: dict[str, str],
    ingest: StageResult,
    quadmask: StageResult,
) -> dict[str, str]:
    """``void/*``: content only, so that equal jobs give equal files."""
    attributes = {
        "void/engine": engine.name,
        "void/engineVersion": engine.version,
        "void/version": __version__,
        "void/seed": str(request.seed),
        "void/prompt": request.prompt,
        "void/colourSpace": spec.plate.colour_space,
        "void/options": ", ".join(f"{key}={value}" for key, value in sorted(request.options.items())),
        "void/plate": sha256_data(ingest.facts["plate"]),
        "void/quadmask": quadmask.key,
        "void/shaper": str(request.shaper),
    }
    said = {**space.identity(), **identity}
    return {**attributes, **{f"void/{key}": value for key, value in said.items()}}


def _facts(engine: Engine, generate: StageResult, attributes: dict[str, str], said: dict[str, Any]) -> dict[str, Any]:
    made = {"engine": engine.name, "engine_version": engine.version, "generate": generate.facts}
    warnings = [*said.get("warnings", ()), *generate.facts.get("warnings", ())]
    return {**made, **attributes, **said, "warnings": warnings}


@contextmanager
def _without_store_paths() -> Iterator[None]:
    """The store's paths mean nothing to an artist: the client puts the shot's own file names in their place."""
    try:
        yield
    except FrameError as error:
        path = str(error.details.pop("file", ""))
        if path:
            error.message = error.message.replace(f" ({path})", "").replace(path, "the file")
        raise
