"""``void render --seeds``: one shot with several seeds, side by side; ``void choose`` keeps one of them.

Promises: what does not depend on the seed is done once; a seed that was finished is kept, whatever happens to the
others, and not done again by the next try.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

from void_client.client import Client
from void_client.errors import EngineUnavailable, InputError, JobError, VoidError
from void_client.job import JobSpec, Resolved, check_job_id, name_the_file
from void_client.manifest import MANIFEST, ResultManifest

from . import places, results
from .child import require_pixels
from .output import Output

SHEET = "seeds.png"
_MOST = 64


def add_choose(commands: Any) -> None:
    choose = commands.add_parser("choose", help="keep one of the seeds that `void render --seeds` made")
    choose.add_argument("folder", type=Path, help="what --out was")
    choose.add_argument("seed", type=int, help="the seed, as the contact sheet names it")
    choose.add_argument(
        "--drop-others", action="store_true", help="remove all seeds' own folders; the chosen one stays"
    )
    choose.set_defaults(run=_choose)


def parse_seeds(text: str, first: int) -> tuple[int, ...]:
    """``"8"`` → eight from ``first`` on; ``"1,5,9"`` → these. Raises ``JobError``."""
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    seeds = tuple(dict.fromkeys(numbers)) if "," in text else tuple(range(first, first + sum(numbers[:1])))
    if not 1 <= len(seeds) <= _MOST or min(seeds) < 0:
        raise JobError(
            f"{text!r} is not a choice of seeds.", hint=f"Write --seeds 8, or --seeds 1,5,9; {_MOST} at most."
        )
    return seeds


def folder_of(out: Path, seed: int) -> Path:
    return out / f"seed_{seed}"


# --- render --seeds


def solve(options: argparse.Namespace, resolved: Resolved, out: Path, output: Output) -> int:
    """Each seed into a folder of its own, then the sheet of all."""
    from .local import session

    seeds = parse_seeds(options.seeds, resolved.spec.seed)
    jobs = {seed: replace(resolved, spec=replace(resolved.spec, seed=seed)) for seed in seeds}
    lacking = [seed for seed in seeds if not _is_there(folder_of(out, seed), jobs[seed].spec)]
    for seed in seeds:
        if seed not in lacking:
            output.say(f"seed {seed}: done before, kept", seed=seed, kept=True)
    if lacking:
        with session(options, resolved.files.values(), out) as client:
            _solve_all(client, options, {seed: jobs[seed] for seed in lacking}, out, output)
    sheet, differ = _sheet(resolved, seeds, out, output)
    said = f"{len(seeds)} seeds in {out}" + (f"; look at {sheet}" if sheet else "")
    output.say(
        f"{said}\nthen keep one: void choose {out} SEED", out=str(out), seeds=list(seeds), sheet=sheet, differ=differ
    )
    return 0


def _is_there(folder: Path, spec: JobSpec) -> bool:
    try:
        manifest = ResultManifest.read(folder)
        manifest.verify(folder)
    except VoidError:
        return False
    return manifest.content_hash == spec.content_hash()


def _solve_all(
    client: Client, options: argparse.Namespace, jobs: dict[int, Resolved], out: Path, output: Output
) -> None:
    """The first to its end, since it does what all share; then the others, on as many devices as the server has."""
    ids = {seed: _job_id(options.job_id, seed) for seed in jobs}
    first, *others = jobs
    with _cancelled_at_the_end(client, list(ids.values())) as ended:

        def send(seed: int) -> None:
            client.deliver(ids[seed], jobs[seed], priority=options.priority, on_progress=output.transfer)

        def fetch(seed: int) -> None:
            try:
                client.wait(ids[seed], output.event)
            except InputError as error:
                name_the_file(error, jobs[seed].names)
                raise
            folder = folder_of(out, seed)
            client.download(ids[seed], folder, output.transfer)
            ended(ids[seed])
            places.note(folder, jobs[seed].names)
            output.say(f"seed {seed}: {folder}", seed=seed, out=str(folder), job=ids[seed])

        send(first)
        fetch(first)
        for seed in others:
            send(seed)
        for seed in others:
            fetch(seed)


def _job_id(chosen: str | None, seed: int) -> str:
    return check_job_id(f"{chosen}-{seed}") if chosen else str(uuid.uuid4())


@contextmanager
def _cancelled_at_the_end(client: Client, jobs: list[str]) -> Iterator[Callable[[str], None]]:
    """Whatever ends this early, Ctrl-C above all: no job goes on for nobody."""
    left = dict.fromkeys(jobs)
    try:
        yield left.pop
    finally:
        for job_id in left:
            with contextlib.suppress(VoidError):
                client.cancel(job_id)


def _sheet(resolved: Resolved, seeds: tuple[int, ...], out: Path, output: Output) -> tuple[str, bool | None]:
    """The sheet's path, and whether the seeds differ; nothing where this machine cannot look at pictures."""
    try:
        require_pixels("The contact sheet cannot be made here")
    except EngineUnavailable as problem:
        output.say(f"note: {problem}", note=str(problem))
        return "", None
    from void_engine.choosing import Seeds, seed_sheet

    spec = resolved.spec
    folders = {seed: folder_of(out, seed) for seed in seeds}
    names = {frame.number: frame.name for frame in ResultManifest.read(folders[seeds[0]]).frames}
    plate = {number: resolved.names["plate", number] for number in names}
    light = _light(resolved)
    differ = seed_sheet(Seeds(folders, names, plate, spec.plate.layer, light), out / SHEET, output.bar)
    if not differ and len(seeds) > 1:
        text = "All seeds gave the same picture: choose any."
        if spec.engine.name == "cleanplate":
            text += " cleanplate uses the seed only where it has to invent what no frame shows."
        output.say(f"note: {text}", note=text)
    return str(out / SHEET), differ


def _light(resolved: Resolved) -> Callable[[Any], Any]:
    """From the plate's working space to what the sheet can show; as it is, where only the server knows the space."""
    from void_engine.working import working_space_of

    folder = Path(tempfile.mkdtemp(prefix="void-ocio-"))
    try:
        return working_space_of(resolved.spec.plate, lambda digest: resolved.files[digest], "", folder).to_linear
    except JobError:
        return lambda colour: colour
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- choose


def _choose(options: argparse.Namespace, output: Output) -> int:
    out, seed = options.folder, options.seed
    there = _there(out)
    if seed in there:
        folder = folder_of(out, seed)
        manifest = ResultManifest.read(folder)
        manifest.verify(folder)
        results.install(manifest, {file.name: folder / file.name for file in manifest.all_files}, out)
        places.copy(folder, out)
    elif not _is_chosen(out, seed):
        raise InputError(
            f"{out} has no finished seed {seed}.",
            hint=f"It has: {', '.join(map(str, there))}."
            if there
            else "Make some first: void render … --seeds 8 --out FOLDER.",
        )
    dropped = [other for other in there if options.drop_others and results.remove(folder_of(out, other))]
    count = len(ResultManifest.read(out).frames)
    more = f"; {len(dropped)} folders of seeds removed" if dropped else ""
    output.say(f"seed {seed} is the result: {count} frames in {out}{more}", out=str(out), seed=seed, dropped=dropped)
    return 0


def _there(out: Path) -> list[int]:
    """The finished seeds, ascending."""
    found = out.glob(f"seed_*/{MANIFEST}") if out.is_dir() else iter(())
    names = [path.parent.name.removeprefix("seed_") for path in found]
    return sorted(int(name) for name in names if name.isdecimal())


def _is_chosen(out: Path, seed: int) -> bool:
    try:
        return bool(ResultManifest.read(out).job.get("seed") == seed)
    except InputError:
        return False
