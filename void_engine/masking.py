"""The stages that work out a quadmask: segment → reason → detect → hint → quadmask. `work_out` gives their order.

Promises: each stage is cached under the hash of its inputs, so that another reasoner keeps the mattes and another grow
keeps the reasoning; a reasoner that fails leaves a quadmask of the object alone, and a warning. Must not: know engines.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from void_client.errors import Cancelled, EngineUnavailable, FrameError, JobError, JobFailed, RetryableError
from void_client.job import FrameRef, MaskSpec

from void_engine import detecting, drawn, hinting
from void_engine.atomic import write_atomically
from void_engine.detecting import ANALYSIS as ANALYSIS
from void_engine.detecting import Scene
from void_engine.detection import Detector
from void_engine.drawn import DrawnAffected
from void_engine.hinting import Find
from void_engine.interface import AFFECTED, KEEP, OVERLAP, Host, Quadmask
from void_engine.overriding import REGIONS, Overrides, faults_of, physical_name, png_name, read_png, write_png
from void_engine.plates.clip import FileClip
from void_engine.quadmask import policy_options
from void_engine.quadmask.override import record, spoken
from void_engine.quadmask.policy import QuadmaskPolicy, combined, physical
from void_engine.reasoning import Analysis, Reasoner, ReasonRequest
from void_engine.reasoning.analysis_json import analysis_from_json, analysis_to_json
from void_engine.reasoning.interface import NOBODY, PRIMARY
from void_engine.segmentation import Box, Click, ClipPictures, Mattes, MatteStore, Prompt, Segmenter
from void_engine.segmentation.interface import Matte
from void_engine.segmentation.read_matte import read_matte
from void_engine.stages import Context, StageCache, StageResult
from void_engine.working import shaper_of

log = logging.getLogger(__name__)

_VERSION = 2  # of these stages but the last: raised whenever their results change
_QUADMASK_VERSION = 4  # of the last


@dataclass(frozen=True)
class WorkedOut:
    """``stage``: the quadmask's. ``folder`` holds `ANALYSIS` and `REGIONS`; ``warnings`` are for the artist."""

    stage: StageResult
    analysis: Analysis
    warnings: tuple[str, ...]

    def quadmask(self, position: int) -> Quadmask:
        return read_png(self.stage.folder / png_name(position))


def check_reasoners(host: Host) -> dict[str, str]:
    """Name → what keeps it from working here, or "". Sends nothing."""
    found = {}
    for name in ("motion", "gemini", "openai", "manual", NOBODY):
        try:
            _reasoner(name, None, host)
            found[name] = ""
        except (EngineUnavailable, JobError) as problem:
            found[name] = str(problem)
    return found


def work_out(spec: MaskSpec, clip: FileClip, ingest: StageResult, locate: Callable[[str], Path], cache: StageCache,
             host: Host, overrides: Overrides) -> WorkedOut:  # fmt: skip
    """The quadmask from what the artist said. Raises as the segmenter, the reasoner and the policy do."""
    options = policy_options.read_options(spec.options)
    segmenter = _segmenter(spec.segmenter, host)
    pictures = ClipPictures(clip, ingest.folder / "proxies", shaper_of(ingest.facts))
    segment = cache.run(
        "segment",
        [_VERSION, segmenter.name, segmenter.version, ingest.facts["plate"], _said(spec)],
        lambda context: _segment(segmenter, spec, clip, pictures, locate, context),
    )
    reason = _reason_or_fall_back(spec, clip, pictures, segment, cache, host)
    alone = Scene(pictures, clip.numbers, _mattes(segment.folder, clip))
    scene = replace(alone, mattes=_Layered(_mattes(reason.folder, clip), alone.mattes))
    detector = functools.cache(lambda: _detector(host))  # its weights are hashed and loaded once for both who ask
    named = _detect(reason, scene, segmenter, clip, cache, detector)
    hinted, unlooked = hinting.resolve(overrides.hints, alone, segment.key, segmenter, detector, cache)
    overrides = overrides.with_hints(hinted)
    affected = DrawnAffected(spec.affected, clip, locate)
    analysis = _analysis(named.stage)
    mattes = _Layered(_mattes(named.stage.folder, clip), scene.mattes)
    stage = cache.run(
        "quadmask",
        [_QUADMASK_VERSION, named.stage.key, vars(options), *affected.key, *overrides.key],
        lambda context: _quadmask(spec, analysis, mattes, clip, options, affected, overrides, context),
    )
    told = (*reason.facts["warnings"], *analysis.warnings, *named.warnings, *unlooked, *drawn.warning(stage.facts))
    return WorkedOut(stage, analysis, (*told, *overrides.warnings(stage.facts["faults"])))


# --- segment


def _said(spec: MaskSpec) -> Any:
    return [
        [vars(click) for click in spec.clicks],
        [vars(box) for box in spec.boxes],
        [[ref.number, ref.sha256] for ref in spec.mattes],
    ]


def _segmenter(name: str, host: Host) -> Segmenter:
    """Raises ``EngineUnavailable`` where its packages or weights are missing."""
    if name == "track":
        from void_engine.segmentation.track import TrackSegmenter

        return TrackSegmenter()
    if name in ("sam2", "sam2-meta"):
        from void_engine.models.sam2_folder import find_sam2
        from void_engine.segmentation.sam2 import Sam2Segmenter

        backend = "meta" if name == "sam2-meta" else "transformers"
        return Sam2Segmenter(find_sam2(host.models), backend=backend, device=host.device)
    raise EngineUnavailable(
        f"There is no segmenter {name!r}.", hint="There is: track, sam2, sam2-meta.", details={"key": "segmenter"}
    )


def _segment(
    segmenter: Segmenter,
    spec: MaskSpec,
    clip: FileClip,
    pictures: ClipPictures,
    locate: Callable[[str], Path],
    context: Context,
) -> dict[str, Any]:
    """Facts: per frame its number and the confidence of the object's matte."""
    store = _mattes(context.folder, clip)
    said_all = {ref.number for ref in spec.mattes} == set(clip.numbers) and not (spec.clicks or spec.boxes)
    if said_all:
        _take_roto(spec, clip, locate, store, context)
    else:
        segmenter.segment(pictures, (_prompt(spec, clip, locate),), store, context.progress)
    confidence = [
        [number, round(store.confidence(PRIMARY, position), 4)] for position, number in enumerate(clip.numbers)
    ]
    return {"confidence": confidence}


def _prompt(spec: MaskSpec, clip: FileClip, locate: Callable[[str], Path]) -> Prompt:
    positions = {number: position for position, number in enumerate(clip.numbers)}
    display = clip.header(0).display_window
    dx, dy = display.x0 - clip.canvas.x0, display.y0 - clip.canvas.y0
    clicks = tuple(Click(positions[c.frame], c.x + dx, c.y + dy, c.positive) for c in spec.clicks)
    boxes = tuple(Box(positions[b.frame], b.x0 + dx, b.y0 + dy, b.x1 + dx, b.y1 + dy) for b in spec.boxes)
    mattes = {positions[ref.number]: _matte(ref, clip, locate) for ref in spec.mattes}
    if mattes and not (clicks or boxes) and not any(matte.any() for matte in mattes.values()):
        raise _black(spec)
    return Prompt(PRIMARY, clicks, boxes, mattes)


def _take_roto(
    spec: MaskSpec, clip: FileClip, locate: Callable[[str], Path], store: MatteStore, context: Context
) -> None:
    """The artist has said it all: a matte for every frame, one in memory at a time. Raises ``FrameError``."""
    white = False
    for position, ref in enumerate(spec.mattes):
        matte = _matte(ref, clip, locate)
        white = white or bool(matte.any())
        store.write(PRIMARY, position, matte, 1.0)
        context.progress(position + 1, len(clip.numbers), f"frame {ref.number}")
    if not white:
        raise _black(spec)


def _matte(ref: FrameRef, clip: FileClip, locate: Callable[[str], Path]) -> Matte:
    display = clip.header(clip.numbers.index(ref.number)).display_window
    return read_matte(locate(ref.sha256), frame=ref.number, display=display, canvas=clip.canvas)


def _black(spec: MaskSpec) -> FrameError:
    return FrameError(
        "The matte is black on every frame.",
        hint="In a matte white is the object: is it inverted, or in another channel than alpha and R?",
        details={"input": "matte", "frame": spec.mattes[0].number},
    )


def _mattes(folder: Path, clip: FileClip) -> MatteStore:
    return MatteStore(folder / "mattes", (clip.canvas.height, clip.canvas.width))


# --- reason


def _reason_or_fall_back(
    spec: MaskSpec, clip: FileClip, pictures: ClipPictures, segment: StageResult, cache: StageCache, host: Host
) -> StageResult:
    """The chosen reasoner, then the fallback, then nobody: the object alone. Each failure is a warning."""
    names = [spec.reasoner, *([spec.fallback] if spec.fallback else [])]
    warnings: list[str] = []
    for name in names:
        try:
            return _reason(name, warnings, spec, clip, pictures, segment, cache, host)
        except Cancelled:
            raise
        except EngineUnavailable as problem:
            if not spec.fallback and name == spec.reasoner:
                raise  # it was never able to: the artist must choose
            warnings.append(f"The reasoner {name} could not be used: {problem}")
        except (JobFailed, RetryableError) as problem:
            warnings.append(f"The reasoner {name} failed: {problem}")
        log.warning("%s", warnings[-1])
    warnings.append("Nobody reasoned about what the object causes: the quadmask holds the object alone.")
    return _reason(NOBODY, warnings, replace(spec, analysis=""), clip, pictures, segment, cache, host)


def _reason(
    name: str,
    warnings: list[str],
    spec: MaskSpec,
    clip: FileClip,
    pictures: ClipPictures,
    segment: StageResult,
    cache: StageCache,
    host: Host,
) -> StageResult:
    reasoner = _reasoner(name, spec, host)

    def work(context: Context) -> dict[str, Any]:
        mattes = _Layered(_mattes(context.folder, clip), _mattes(segment.folder, clip))
        request = ReasonRequest(pictures, clip.numbers, mattes, context.scratch, spec.words, clip.frame_rate)
        analysis = reasoner.reason(request, context.progress)
        write_atomically(context.folder / ANALYSIS, [_checked(name, analysis).encode()])
        return {"warnings": warnings, "reasoner": name, "asked": dict(getattr(reasoner, "facts", {}))}

    inputs = [_VERSION, name, reasoner.version, segment.key, spec.words, clip.frame_rate, warnings]
    return cache.run("reason", inputs, work)


def _checked(name: str, analysis: Analysis) -> str:
    """As JSON that can be read again. Raises ``JobFailed``: then the fallback takes over."""
    try:
        text = analysis_to_json(analysis)
        analysis_from_json(text)
    except (JobError, ValueError) as problem:
        raise JobFailed(f"It gave an analysis that cannot be used: {problem}") from problem
    return text


def _reasoner(name: str, spec: MaskSpec | None, host: Host) -> Reasoner:
    """Raises ``EngineUnavailable`` where it cannot work here, or must not."""
    answers = host.cache / "answers" if host.cache is not None else None
    text = spec.analysis if spec is not None else ""
    if text or name in ("manual", NOBODY):
        from void_engine.reasoning.manual import ManualReasoner

        if not text:
            return ManualReasoner(Analysis(name, confidence=1.0))
        return ManualReasoner(detecting.unmatted(analysis_from_json(text)))
    if name == "motion":
        from void_engine.reasoning.motion import MotionReasoner

        return MotionReasoner()
    if name not in ("gemini", "openai"):
        raise EngineUnavailable(
            f"There is no reasoner {name!r}.",
            hint="There is: motion, gemini, openai, manual, none.",
            details={"key": "reasoner"},
        )
    from void_engine.reasoning.gemini import DEFAULT_MODEL, GeminiReasoner
    from void_engine.reasoning.openai_compatible import OpenAIReasoner

    asking: GeminiReasoner | OpenAIReasoner
    if name == "gemini":
        asking = GeminiReasoner(model=host.gemini_model or DEFAULT_MODEL, answers=answers)
    else:
        asking = OpenAIReasoner(
            base_url=host.reasoner_url, model=host.reasoner_model, answers=answers, in_house=host.reasoner_in_house
        )
    if asking.cloud and not host.allow_cloud:
        raise EngineUnavailable(
            f"The reasoner {name} sends pictures out of the building, and this server forbids it.",
            hint="Choose `motion`, or an `openai` endpoint inside the building.",
            details={"key": "reasoner"},
        )
    asking.check()
    return asking


class _Layered:
    """``Mattes`` of a stage that reads those of the stage before."""

    def __init__(self, own: MatteStore, before: Mattes) -> None:
        self._own, self._before = own, before

    def has(self, name: str, position: int) -> bool:
        return self._own.has(name, position) or self._before.has(name, position)

    def write(self, name: str, position: int, matte: Any, confidence: float = 1.0) -> None:
        self._own.write(name, position, matte, confidence)

    def read(self, name: str, position: int) -> Any:
        return (self._own if self._own.has(name, position) else self._before).read(name, position)

    def confidence(self, name: str, position: int) -> float:
        return (self._own if self._own.has(name, position) else self._before).confidence(name, position)


# --- detect


@dataclass(frozen=True)
class _Named:
    """``stage``: whose analysis and mattes hold from here on. ``warnings``: what was looked for and not found."""

    stage: StageResult
    warnings: tuple[str, ...] = ()


def _detect(
    reason: StageResult, scene: Scene, segmenter: Segmenter, clip: FileClip, cache: StageCache, find: Find
) -> _Named:
    """Mattes for what the analysis only names. Where there are none, all is as if nobody had looked."""
    analysis = _analysis(reason)
    if not detecting.things_of(analysis, scene):
        return _Named(reason)
    detector, note = find()
    if detector is None:
        facts = {"found": {}, "warnings": [], "note": note}
        cache.run("detect", [detecting.VERSION, None, reason.key], lambda context: facts)
        return _Named(reason)
    who = [detector.name, detector.version, segmenter.name, segmenter.version]
    stage = cache.run(
        "detect",
        [detecting.VERSION, who, reason.key],
        lambda context: detecting.detect(analysis, scene, detector, segmenter, _mattes(context.folder, clip), context),
    )
    return _Named(stage if stage.facts["found"] else reason, tuple(stage.facts["warnings"]))


def _detector(host: Host) -> tuple[Detector | None, str]:
    """The one that this machine has; or None, and why not. It is a help that nobody asked for: never an error."""
    try:
        from void_engine.detection.grounding_dino import GroundingDino
        from void_engine.models.detector_folder import find_detector

        return GroundingDino(find_detector(host.models), device=host.device), ""
    except EngineUnavailable as problem:
        return None, str(problem)


def _analysis(stage: StageResult) -> Analysis:
    return analysis_from_json((stage.folder / ANALYSIS).read_text(encoding="utf-8"))


# --- quadmask


def _quadmask(
    spec: MaskSpec,
    analysis: Analysis,
    mattes: Mattes,
    clip: FileClip,
    options: policy_options.PolicyOptions,
    affected: DrawnAffected,
    overrides: Overrides,
    context: Context,
) -> dict[str, Any]:
    """One PNG a frame. Facts: as for a supplied quadmask, per frame its number, pixels to remove, pixels replaced."""
    size = (clip.canvas.height, clip.canvas.width)
    policy = QuadmaskPolicy(analysis, mattes, clip.numbers, size, options)
    replaced, explained = [], []
    for position, number in enumerate(clip.numbers):
        regions = affected.applied(position, policy.regions(position))
        sure = mattes.confidence(PRIMARY, position)
        said = spoken(spec, number, reasoner=analysis.reasoner, confidence=sure)
        done = overrides.apply(position, regions, said)
        mask = done.lock(combined(done.regions, options, first=position == 0))
        write_png(context.folder / png_name(position), mask, number)
        stays = physical(analysis, regions) & (mask == AFFECTED)
        if stays.any():
            write_png(context.folder / physical_name(position), (~stays).astype(np.uint8) * np.uint8(KEEP), number)
        replaced.append([number, int(np.count_nonzero(mask <= OVERLAP)), int(np.count_nonzero(mask != KEEP))])
        explained.append(record(number, done, {name: int(np.count_nonzero(r)) for name, r in regions.items()}))
        context.progress(position + 1, len(clip.numbers), f"frame {number}")
    text = json.dumps(explained, indent=1)
    write_atomically(context.folder / REGIONS, [text.encode()])
    write_atomically(context.folder / ANALYSIS, [analysis_to_json(analysis).encode()])
    black = {"affected_black": True} if affected.black else {}
    return {"replaced": replaced, "faults": faults_of(explained), **black}
