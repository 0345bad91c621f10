"""``void farm bundle``: shots, and a script that shows them, as a job for a farm manager. Base install, Python 3.9."""

from __future__ import annotations

import argparse
import getpass
import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from void_client.errors import InputError, JobError
from void_client.farm_job import FarmJob, FarmRender, FarmShot, task_names
from void_client.job import ShotFile
from void_client.manifest import as_disk_full
from void_client.opencue import SPECIFICATION, CueSettings, Needs, write_job
from void_client.openjd import TEMPLATE, write_bundle
from void_client.path_rules import with_paths

from .output import Output

_OURS = (TEMPLATE, SPECIFICATION)
_LAUNCH = "import opencue.api, sys; opencue.api.launchSpecAndWait(open(sys.argv[1], encoding='utf-8').read())"
_NEEDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "cores": ("cores", float),
    "memory": ("memory_mb", int),
    "service": ("service", str),
    "tags": ("tags", lambda text: tuple(text.split(","))),
}


def add_action(actions: Any) -> argparse.ArgumentParser:
    bundle: argparse.ArgumentParser = actions.add_parser("bundle", help="write a job for a farm manager")
    bundle.add_argument("shots", nargs="+", type=Path, help="shot files (YAML or JSON), a task each")
    bundle.add_argument("--out", type=Path, required=True, help="the bundle's folder, where the workers see it")
    bundle.add_argument(
        "--manager",
        choices=("openjd", "opencue"),
        default="openjd",
        help="whose job: Open Job Description's (the default), or OpenCue's",
    )
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
    bundle.add_argument(
        "--gpu-memory", type=int, default=0, metavar="MB", help="of a GPU that solves with a model (not said)"
    )
    _add_opencue(bundle)
    bundle.set_defaults(run=run)
    return bundle


def _add_opencue(bundle: argparse.ArgumentParser) -> None:
    options = bundle.add_argument_group("with --manager opencue")
    options.add_argument("--show", default="", help="a show that OpenCue knows")
    options.add_argument("--shot", default="", help="the job's shot there")
    options.add_argument("--user", default="", help="whose job it is (who writes it)")
    options.add_argument("--facility", default="", help="OpenCue's facility (its default)")
    for layer, default in (("solve", CueSettings.solve), ("render", CueSettings.render)):
        options.add_argument(
            f"--{layer}",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help=f"what a {layer} frame needs: cores ({default.cores:g}), memory in MB ({default.memory_mb}), "
            f"service ({default.service}), tags of its hosts, of which any: gpu_a,gpu_b (the service's)",
        )
    options.add_argument("--nuke", default="nuke", help="the command `nuke` on the workers (nuke)")
    options.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="an environment variable of every frame"
    )


def run(options: argparse.Namespace, output: Output) -> int:
    job = job_of(options)
    cue = cue_settings(options) if options.manager == "opencue" else None
    folder: Path = options.out
    try:
        if folder.exists() and any(folder.iterdir()) and not any((folder / name).is_file() for name in _OURS):
            raise InputError(f"{folder} holds other files.", hint="Choose a folder of its own for the bundle.")
        folder.mkdir(parents=True, exist_ok=True)
        if options.script is not None:
            shutil.copyfile(options.script, folder / options.script.name)
        if cue is not None:
            write_job(job, folder, cue)
        else:
            write_bundle(job, folder)
    except OSError as problem:
        error = as_disk_full(problem, folder)
        if error is not problem:
            raise error from problem
        raise InputError(
            f"The bundle cannot be written: {problem}.", hint="Check the folder and the script."
        ) from problem
    step = "Render" if job.render is not None else "VoidSolve"
    if cue is not None:
        how = [shlex.join(["python", "-c", _LAUNCH, str(folder / SPECIFICATION)])]
    else:
        how = [
            f"deadline bundle submit {folder}",
            f"openjd run {folder / TEMPLATE} --step {step} --run-dependencies",
        ]
    output.say(
        "\n".join([f"{len(job.shots)} shots in {folder}", *how]),
        bundle=str(folder),
        manager=options.manager,
        shots=[each.name for each in job.shots],
        step=step,
    )
    return 0


def cue_settings(options: argparse.Namespace) -> CueSettings:
    """Raises ``JobError`` where OpenCue would refuse a name."""
    if not (options.show and options.shot):
        raise JobError("Which show and shot of OpenCue?", hint="Give --show and --shot.")
    try:
        user = options.user or getpass.getuser()
    except (KeyError, OSError) as problem:
        raise JobError("Whose job is it?", hint="Give --user.") from problem
    return CueSettings(
        options.show,
        options.shot,
        user,
        options.facility,
        os.getuid() if hasattr(os, "getuid") and not options.user else None,
        _needs(CueSettings.solve, _pairs("--solve", options.solve)),
        _needs(CueSettings.render, _pairs("--render", options.render)),
        options.nuke,
        tuple(_pairs("--env", options.env).items()),
    )


def _pairs(option: str, words: Sequence[str]) -> dict[str, str]:
    split = [word.partition("=") for word in words]
    for name, equals, _ in split:
        if not equals:
            raise JobError(f"{option} {name!r} gives no value.", hint=f"Write {option} NAME=VALUE.")
    return {name: value for name, _, value in split}


def _needs(usual: Needs, said: dict[str, str]) -> Needs:
    changes: dict[str, Any] = {}
    try:
        for key, value in said.items():
            name, read = _NEEDS[key]
            changes[name] = read(value)
    except KeyError:
        raise JobError(f"A frame has no need called {key!r}.", hint=f"There are {', '.join(_NEEDS)}.") from None
    except ValueError:
        raise JobError(f"{key}={value} is not a number.", hint="cores=8, memory=32768") from None
    return replace(usual, **changes)


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
        gpu_memory_mb=options.gpu_memory,
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
