"""``void render --again OUT --frames …``: a bad sub-range solved again by itself, between neighbours that stay.

The frames around it go in as they came out: a plate that the quadmask keeps. Promises: outside the sub-range the new
result has the old one's very files; it holds the manifests of all solves that it was put together from, so that it can
be repeated, and each frame followed to what signed it. Must not: change the old result.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from void_client.client import Client
from void_client.digest import sha256_file
from void_client.errors import DigestMismatch, EngineUnavailable, FrameError, JobError
from void_client.job import FrameRef, JobSpec, QuadmaskSpec, Resolved
from void_client.manifest import Provenance, ResultManifest
from void_client.parts import State, join, unsigned
from void_client.provenance import describe, examine
from void_client.sequence import FramePattern, format_frames, parse_frames

from . import places, results
from .again import Before
from .child import require_pixels
from .output import Output
from .shot import user_signing_key

_CONTEXT = 16


@dataclass(frozen=True)
class Range:
    """``frames`` are solved; ``around``: those that go in finished."""

    frames: tuple[int, ...]
    around: tuple[int, ...]


def solve(options: argparse.Namespace, before: Before, out: Path, output: Output) -> int:
    from .local import check_out, session

    require_pixels("A sub-range cannot be solved from here")
    manifest, spec = before.manifest, before.spec
    if spec.stop:
        raise JobError(f"{before.folder} holds a quadmask, no clean frames.", hint="Render the shot first.")
    chosen = _range(manifest, options.frames, _CONTEXT if options.context is None else options.context)
    _check_whole(before.folder, manifest)
    originals = _originals(before, chosen, output)
    state = State(before.folder, manifest, before.parts or (manifest,))
    pattern = FramePattern.parse(options.quadmask, Path.cwd()) if options.quadmask else None
    seed = spec.seed if options.seed is None else options.seed
    with _work(out) as work:
        spec = replace(spec, seed=seed, prompt=spec.prompt or str(manifest.facts.get("void/prompt", "")))
        resolved, masks = _inputs(spec, chosen, state, originals, pattern, work, output)
        check_out(out, resolved)
        with session(options, resolved.files.values(), out) as client:
            part = _follow(client, options, resolved, work / "part", output)
        made = _join(state, part, work / "part", masks, out)
    before.places.carry(out)
    output.say(
        f"frames {format_frames(chosen.frames)} solved again, {len(chosen.around)} finished frames around them fixed: "
        f"{len(made.frames)} frames in {out}; {describe(made)[0]}",
        out=str(out),
        frames=len(made.frames),
        solved=list(chosen.frames),
        context=list(chosen.around),
        seed=seed,
    )
    return 0


def replay(options: argparse.Namespace, before: Before, out: Path, output: Output) -> ResultManifest:
    """All solves of a result that was put together, in their order; with --check the frames do not stay."""
    from .again import resolved_of
    from .local import follow, session

    require_pixels("A result that was put together cannot be repeated from here")
    others = before.parts[1:]
    _check_whole(before.folder, before.manifest)
    resolved = resolved_of(before.spec, before, output)
    with (
        _work(out) as work,
        session(options, [*resolved.files.values(), work / "-", before.folder / "-"], out) as client,
    ):
        output.say(f"1 of {len(before.parts)}: the whole shot")
        manifest = follow(client, options, resolved, work / "state_1", output, job_id=str(uuid.uuid4()))
        state = State(work / "state_1", manifest, (manifest,))
        for index, part in enumerate(others, 2):
            spec = JobSpec.from_wire(part.job)
            numbers = [ref.number for ref in spec.plate.frames]
            chosen = Range(spec.delivered, tuple(n for n in numbers if n not in set(spec.delivered)))
            output.say(f"{index} of {len(before.parts)}: frames {format_frames(chosen.frames)}")
            originals = _originals(before, chosen, output)
            masks = FramePattern.parse(str(before.folder / f"part_{index}_quadmask.%04d.exr"))
            folder = work / f"part_{index}"
            resolved, drawn = _inputs(spec, chosen, state, originals, masks, folder / "in", output)
            part = _follow(client, options, resolved, folder / "out", output)
            last = index == len(before.parts) and not options.check
            target = out if last else work / f"state_{index}"
            made = _join(state, part, folder / "out", drawn, target)
            state = State(target, made, (*state.parts, part))
    if not options.check:
        before.places.carry(out)
    return state.manifest


def _follow(
    client: Client, options: argparse.Namespace, resolved: Resolved, folder: Path, output: Output
) -> ResultManifest:
    from .local import follow

    return follow(client, options, resolved, folder, output, job_id=str(uuid.uuid4()))


@contextmanager
def _work(out: Path) -> Iterator[Path]:
    """A folder beside the result, on its disk: what is made there is linked, not copied."""
    parent = Path(os.path.abspath(out)).parent
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".void-again-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- what goes in


def _range(manifest: ResultManifest, text: str, context: int) -> Range:
    """Raises ``JobError`` where the result lacks a frame, or the sub-range is all of it."""
    there = [frame.number for frame in manifest.frames]
    wanted = parse_frames(text)
    lacking = sorted(set(wanted) - set(there))
    if lacking:
        raise JobError(f"The result has no frame {format_frames(lacking)}.", hint=f"It has {format_frames(there)}.")
    if not 1 <= context <= 1000:
        raise JobError(f"{context} frames of context: the neighbours are what holds a sub-range in its place.")
    near = {there[at] for n in wanted for at in range(max(0, there.index(n) - context), there.index(n) + context + 1)
            if at < len(there)}  # fmt: skip
    around = tuple(sorted(near - set(wanted)))
    if not around:
        raise JobError(
            "That is the whole result: no finished frame would be left to go by.",
            hint="Without --frames, `--again OUT --seed 7` solves all of it anew.",
        )
    return Range(wanted, around)


def _check_whole(folder: Path, manifest: ResultManifest) -> None:
    """Finished frames become part of another result: they must be what was delivered. Raises ``DigestMismatch``."""
    try:
        found = [each for each in examine(folder, {})[1].problems if each.kind != "extra"]
    except EngineUnavailable:  # signatures cannot be checked here; files can
        manifest.verify(folder)
        return
    if found:
        raise DigestMismatch(
            f"{folder} is not what was delivered: {found[0].text}", hint="Render or fetch it again.",
            details={"file": found[0].file},
        )  # fmt: skip


def _originals(before: Before, chosen: Range, output: Output) -> dict[places.Key, Path]:
    """The original plate's frames, of the sub-range and around it, and what its colour needs."""
    refs = {ref.number: ref for ref in before.spec.plate.frames}
    wanted = {("plate", number): refs[number] for number in sorted((*chosen.frames, *chosen.around))}
    if before.spec.plate.ocio_file is not None:
        wanted["ocio", 0] = before.spec.plate.ocio_file
    return before.places.find(wanted, lambda done, of: output.bar("hash", done, of))


def _inputs(
    spec: JobSpec,
    chosen: Range,
    state: State,
    originals: dict[places.Key, Path],
    given: FramePattern | None,
    folder: Path,
    output: Output,
) -> tuple[Resolved, dict[int, Path]]:
    """The job of the sub-range, and its quadmasks by frame. ``given``: quadmasks instead of the result's own."""
    names = dict(originals)
    numbers = sorted((*chosen.frames, *chosen.around))
    drawn = _write_inputs(names, numbers, chosen, state, spec.plate.layer, given, folder, output)
    if not drawn:
        raise JobError(
            f"There was nothing to remove on frames {format_frames(chosen.frames)}: they are as they were filmed.",
            hint="Give other --frames, or a --quadmask that marks more.",
        )
    refs = {(kind, number): _ref(kind, number, path) for (kind, number), path in names.items()}
    job = replace(
        spec,
        plate=replace(spec.plate, frames=tuple(refs["plate", n] for n in numbers)),
        quadmask=QuadmaskSpec(tuple(refs["quadmask", n] for n in numbers)),
        masks=None,
        overrides=(),
        stop="",
        deliver=chosen.frames,
    )
    return places.resolved(job, names, refs.items()), {n: names["quadmask", n] for n in chosen.frames}


def _write_inputs(
    names: dict[places.Key, Path],
    numbers: Sequence[int],
    chosen: Range,
    state: State,
    layer: str,
    given: FramePattern | None,
    folder: Path,
    output: Output,
) -> bool:
    """Finished frames in place of the plate's around the sub-range, and all quadmasks, into ``names``. Returns whether
    anything is removed."""
    from void_engine.choosing import write_finished_plate, write_quadmask_of

    folder.mkdir(parents=True, exist_ok=True)
    finished = {frame.number: state.folder / frame.name for frame in state.manifest.frames}
    around, removes = set(chosen.around), given is not None
    for done, number in enumerate(numbers, 1):
        mask = folder / f"quadmask.{number:04d}.exr"
        if number in around:
            plate = folder / f"plate.{number:04d}.exr"
            write_finished_plate(names["plate", number], finished[number], number, layer, plate)
            names["plate", number] = plate
            write_quadmask_of(finished[number], number, layer, mask, keep=True)
        elif given is not None:
            mask = given.path(number)
        else:
            removes |= write_quadmask_of(finished[number], number, layer, mask)
        names["quadmask", number] = mask
        output.bar("neighbours", done, len(numbers))
    return removes


def _ref(kind: str, number: int, path: Path) -> FrameRef:
    try:
        return FrameRef(number, sha256_file(path), path.stat().st_size)
    except (OSError, ValueError) as problem:
        raise FrameError(
            f"{kind} frame {number}: {path} cannot be read: {getattr(problem, 'strerror', None) or problem}.",
            hint="Every frame that is solved again needs its quadmask.",
            details={"input": kind, "frame": number, "file": str(path)},
        ) from problem


# --- what comes out


def _join(state: State, part: ResultManifest, folder: Path, masks: Mapping[int, Path], out: Path) -> ResultManifest:
    """The old frames with the part's in their places, as a result in ``out``."""
    with tempfile.TemporaryDirectory(prefix=".void-parts-", dir=folder.parent) as kept:
        manifest, sources = join(state, part, folder, masks, Path(kept))
        manifest = _signed(manifest, (*state.parts, part))
        results.install(manifest, sources, out)
    return manifest


def _signed(manifest: ResultManifest, parts: Sequence[ResultManifest]) -> ResultManifest:
    """By this user, who put it together; not where a part of it was signed by nobody."""
    nobody = unsigned(parts)
    if nobody:
        reason = f"it was put together, and {nobody} is not signed"
        return replace(manifest, provenance=Provenance(False, reason))
    from void_server import signing

    key = user_signing_key(os.environ)
    signing.check(key, make=True)  # as a private server of this user would
    return signing.Notary(key).vouch(manifest, Path())
