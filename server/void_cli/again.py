"""``void render --again``: what a result's manifest says, done once more, and compared with what it gave.

Promises: only the very files that went into the result are used; "identical" means that every frame's file has the
digest that the manifest holds; the result that is repeated is never written to.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from void_client.errors import InputError, JobError, NotVerified
from void_client.job import JobSpec, Resolved
from void_client.manifest import ResultManifest
from void_client.messages import Event
from void_client.overrides import read as read_overrides
from void_client.sequence import format_frames

from . import places, results, seeds
from .output import Output

_NOT_AGAIN = (
    "shot_file", "engine", "option", "layer", "colour_space", "prompt", "shot", "click", "not_click", "box",
    "segmenter", "reasoner", "fallback", "words", "analysis", "mask_option", "deliver", "handles",
)  # fmt: skip
_PLACES = ("plate", "quadmask", "matte", "affected", "ocio")
_HELD = " The server still had them from before: nothing was solved anew."
_RECORDED = ("engine", "engine_version", "device", "reasoner")


@dataclass(frozen=True)
class Before:
    """The result that is repeated, its job, and where that job's inputs are. ``parts``: the manifests that a result was
    put together from, oldest first; a result of one job has none."""

    folder: Path
    manifest: ResultManifest
    spec: JobSpec
    places: places.Places
    parts: tuple[ResultManifest, ...]


def run(options: argparse.Namespace, output: Output) -> int:
    from . import sub_range
    from .local import check_out, follow, session

    _check(options)
    before = _before(options)
    out = options.out or results.beside(options.again)
    if out.resolve() == options.again.resolve():
        raise JobError(f"{out} is the result that is repeated.", hint="Choose another --out: it must stay as it is.")
    if options.frames:
        return sub_range.solve(options, before, out, output)
    seed = options.seed if options.seed is not None else before.spec.seed
    if before.parts and (options.seeds or seed != before.spec.seed):
        raise JobError(
            f"{before.folder} was put together from {len(before.parts)} solves: it has no one seed.",
            hint="Give --frames with the frames to solve again.",
        )
    if before.parts:
        manifest = sub_range.replay(options, before, out, output)
        return _tell(before, manifest, out, options.check, "", output)
    resolved = resolved_of(before.spec, before, output)
    resolved = replace(resolved, spec=replace(resolved.spec, seed=seed))
    if options.seeds:
        return seeds.solve(options, resolved, out, output)
    check_out(out, resolved)
    states: dict[str, str] = {}

    def watch(event: Event) -> None:
        if event.kind == "stage":
            states[event.data["stage"]] = event.data["state"]
        output.event(event)

    with session(options, resolved.files.values(), out) as client:
        manifest = follow(client, options, resolved, None if options.check else out, output, on_event=watch)
    if seed != before.spec.seed:
        output.say(f"the same shot with seed {seed}: {out}", out=str(out), seed=seed)
        return 0
    last = "quadmask" if resolved.spec.stop else "generate"
    held = _HELD if states.get(last) == "cached" else ""
    return _tell(before, manifest, out, options.check, held, output)


def _check(options: argparse.Namespace) -> None:
    said = [name for name in _NOT_AGAIN if getattr(options, name, None)]
    if said:
        raise JobError(
            f"--again repeats what the manifest says: `{said[0].replace('_', ' ')}` has no place there.",
            hint="Leave it out, or render the shot anew.",
        )
    if options.check and (options.frames or options.seeds or options.seed is not None or options.out):
        raise JobError("--check looks whether a result repeats exactly: it makes no other.", hint="Give it alone.")
    if options.seeds and options.frames:
        raise JobError("--seeds is for whole shots.", hint="Solve --frames again with one --seed at a time.")


def _before(options: argparse.Namespace) -> Before:
    folder: Path = options.again
    manifest = ResultManifest.read(folder)
    spec = JobSpec.from_wire(manifest.job)
    masks = manifest.frames[0].name.startswith("quadmask.") if manifest.frames else False
    spec = replace(as_it_was_chosen(spec, manifest), stop="masks" if masks else "")
    given = {kind: getattr(options, kind) for kind in _PLACES if getattr(options, kind)}
    if options.frames:  # a retouched one, for these frames only
        given.pop("quadmask", None)
    drawn: Mapping[places.Key, Path] = {}
    if options.overrides:
        numbers = [ref.number for ref in spec.plate.frames]
        drawn = read_overrides(Path(options.overrides)).prepare(numbers, supplied=spec.quadmask is not None).files
    parts = tuple(_part(folder, manifest, each) for each in manifest.facts.get("parts", ()))
    return Before(folder, manifest, spec, places.Places(folder, given, drawn), parts)


def as_it_was_chosen(spec: JobSpec, manifest: ResultManifest) -> JobSpec:
    """The job with what its engine chose by its host's memory: the size decides pixels, here as there."""
    generate = manifest.facts.get("generate", {})
    area = generate.get("area") if isinstance(generate, Mapping) else None
    if spec.engine.name != "void" or "area" in spec.engine.options or not isinstance(area, float):
        return spec
    return replace(spec, engine=replace(spec.engine, options={**spec.engine.options, "area": area}))


def _part(folder: Path, manifest: ResultManifest, said: Any) -> ResultManifest:
    """One that the result was put together from. Its name is the manifest's, which is not to lead anywhere else."""
    name = said.get("manifest", "") if isinstance(said, Mapping) else ""
    if name not in {file.name for file in manifest.files}:
        raise InputError(f"{folder} does not say what it was put together from.", hint="Render the shot anew.")
    try:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise InputError(f"{folder / name} cannot be read: {problem}.") from problem
    return ResultManifest.from_plain(value, str(folder / name))


def resolved_of(spec: JobSpec, before: Before, output: Output) -> Resolved:
    """The job and its inputs, found again. Raises ``FrameError`` for the first that is not what it was."""
    wanted = places.inputs_of(spec)
    names = before.places.find(wanted, lambda done, of: output.bar("hash", done, of))
    return places.resolved(spec, names, wanted.items())


def _tell(before: Before, now: ResultManifest, out: Path, check: bool, held: str, output: Output) -> int:
    """Identical, or what differs and why that may be. Raises ``NotVerified``."""
    old, new = ({frame.number: frame.sha256 for frame in manifest.frames} for manifest in (before.manifest, now))
    differs = sorted(number for number in old.keys() | new.keys() if old.get(number) != new.get(number))
    kept = "" if check else f"; the frames are in {out}"
    if not differs:
        text = f"identical: all {len(old)} frames have the digests of {before.folder}{kept}.{held}"
        output.say(text, identical=True, differs=[], frames=len(old), out="" if check else str(out), solved=not held)
        return 0
    reasons = _reasons(before.manifest, now)
    raise NotVerified(
        f"{len(differs)} of {len(old)} frames are not those of {before.folder}: {format_frames(differs)}{kept}.",
        hint="; ".join(reasons) + ".",
        details={"identical": False, "differs": differs, "reasons": reasons, "out": "" if check else str(out)},
    )


def _reasons(old: ResultManifest, new: ResultManifest) -> list[str]:
    """What the two manifests say differently of how the frames were made."""
    names = [
        name for name in sorted(old.facts.keys() | new.facts.keys()) if name.startswith("void/") or name in _RECORDED
    ]
    told = [
        f"{name.removeprefix('void/')} was {old.facts.get(name, 'not recorded')}, is {new.facts.get(name, 'not there')}"
        for name in names
        if old.facts.get(name) != new.facts.get(name)
    ]
    nothing = "Nothing that is recorded differs: the machine or its libraries may, or the earlier files were changed"
    return told or [nothing]
