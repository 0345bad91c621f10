"""``void farm bundle``: shots, and a script that shows them, as a job for a farm manager. Base install, Python 3.9."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from void_client.errors import InputError, JobError
from void_client.farm_job import FarmJob, FarmRender, FarmShot, task_names
from void_client.job import ShotFile
from void_client.manifest import as_disk_full
from void_client.openjd import write_bundle
from void_client.path_rules import with_paths

from .output import Output


def add_action(actions: Any) -> argparse.ArgumentParser:
    bundle: argparse.ArgumentParser = actions.add_parser("bundle", help="write an Open Job Description bundle")
    bundle.add_argument("shots", nargs="+", type=Path, help="shot files (YAML or JSON), a task each")
    bundle.add_argument("--out", type=Path, required=True, help="the bundle's folder, where the workers see it")
    bundle.add_argument("--name", help="the job's name; the folder's without it")
    bundle.add_argument(
        "--store", type=Path, metavar="PROJECT", help="results as versions under PROJECT/void/SHOT/NAME"
    )
    bundle.add_argument(
        "--script", type=Path, help="a Nuke script to be rendered afterwards; a copy goes into the bundle"
    )
    bundle.add_argument("--frames", help='of the script: "1001-1046"')
    bundle.add_argument("--write", default="", help="which Write of the script renders (all of them)")
    bundle.add_argument("--chunk-size", type=int, default=10, help="frames of a render task (10)")
    bundle.add_argument("--retries", type=int, default=2, help="how often a task is tried again (2)")
    bundle.add_argument("--priority", type=int, default=50, help="0 to 100, higher first (50)")
    bundle.add_argument(
        "--remote", action="store_true", help="the studio's servers solve; workers bring none of their own"
    )
    bundle.add_argument("--void", default="void", help="the command `void` on the workers (void)")
    bundle.set_defaults(run=run)
    return bundle


def run(options: argparse.Namespace, output: Output) -> int:
    job = job_of(options)
    folder: Path = options.out
    try:
        if folder.exists() and any(folder.iterdir()) and not (folder / "template.yaml").is_file():
            raise InputError(f"{folder} holds other files.", hint="Choose a folder of its own for the bundle.")
        folder.mkdir(parents=True, exist_ok=True)
        if options.script is not None:
            shutil.copyfile(options.script, folder / options.script.name)
        write_bundle(job, folder)
    except OSError as problem:
        error = as_disk_full(problem, folder)
        if error is not problem:
            raise error from problem
        raise InputError(
            f"The bundle cannot be written: {problem}.", hint="Check the folder and the script."
        ) from problem
    step = "Render" if job.render is not None else "VoidSolve"
    output.say(
        f"{len(job.shots)} shots in {folder}\n"
        f"deadline bundle submit {folder}\n"
        f"openjd run {folder / 'template.yaml'} --step {step} --run-dependencies",
        bundle=str(folder),
        shots=[each.name for each in job.shots],
        step=step,
    )
    return 0


def job_of(options: argparse.Namespace) -> FarmJob:
    """Raises ``JobError`` where a shot file, or what is asked, cannot be used."""
    render: Optional[FarmRender] = None
    if options.script is not None:
        if not options.frames:
            raise JobError("Which frames of the script?", hint="Give --frames 1001-1046.")
        written = {"write_node": options.write} if options.write else {}
        render = FarmRender(options.script.name, options.frames, chunk_size=options.chunk_size, **written)
    return FarmJob(
        options.name or options.out.resolve().name,
        _shots(options.shots, options.store),
        render,
        priority=options.priority,
        retries=options.retries,
        server=options.remote,
        void=options.void,
    )


def _shots(files: Sequence[Path], store: Optional[Path]) -> tuple[FarmShot, ...]:
    names = task_names(os.path.abspath(path) for path in files)
    short = task_names(path.stem for path in files)
    shots = []
    for path in files:
        base = path.resolve().parent
        shot = with_paths(ShotFile.read(path), lambda text, base=base: _absolute(text, base))  # type: ignore[misc]
        name = short[path.stem] if len(short) == len(files) else names[os.path.abspath(path)]
        if store is not None:
            shot = replace(shot, out=None, store=store.resolve().as_posix(), node=shot.node or name)
        shots.append(FarmShot(name, shot))
    return tuple(shots)


def _absolute(text: str, base: Path) -> str:
    return Path(os.path.abspath(base / Path(text).expanduser())).as_posix()
