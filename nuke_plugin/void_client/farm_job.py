"""A job for a render farm: VOID nodes or shots to be solved once each, then a script's frames to be rendered.

The model that every farm manager's writer takes (`void_client.openjd`, `void_client.opencue`). Pure data, Python 3.9;
paths are the submitter's, absolute.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Optional

from . import schema
from .errors import JobError
from .job import OCIO_BUILTIN, ShotFile
from .overrides import read as read_sidecar
from .path_rules import paths_of
from .sequence import FramePattern, format_frames, parse_frames

ALL_WRITES: Final = "All Write Nodes"
MODEL_ENGINES: Final = frozenset({"void"})
"""Engines that want a GPU."""
_NAME = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@dataclass(frozen=True)
class FarmShot:
    """One task of the solve step. ``name``: unique in the job, also its file's. ``shot``: with absolute paths; where
    its result goes (``store``, ``results`` or ``out``) and what a render reads (``link``) stand in it."""

    name: str
    shot: ShotFile

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise JobError(f"{self.name[:80]!r} is not a task's name.", hint="Use letters, digits, '.', '_' and '-'.")
        if not (self.shot.out or self.shot.store or self.shot.results):
            raise JobError(f"{self.name}: where should the frames go?", hint="Give `out`, or `store` and `node`.")

    @property
    def wants_gpu(self) -> bool:
        return self.shot.engine in MODEL_ENGINES

    def written(self) -> dict[str, Any]:
        """The shot file's content: what is not the default. A sidecar that happens to lie in the job's folder is not
        this shot's: without one of its own it says so."""
        empty = schema.dump(ShotFile(plate=self.shot.plate))
        said = {key: value for key, value in schema.dump(self.shot).items() if value != empty[key] or key == "plate"}
        if "masks" in said:
            plain = {"clicks": [], "boxes": [], "options": {}, "words": "", "fallback": ""}
            said["masks"] = {
                key: value for key, value in said["masks"].items() if value is not None and plain.get(key) != value
            }
        return {**said, "overrides": self.shot.overrides or ""}


@dataclass(frozen=True)
class FarmRender:
    """The frames to be rendered once everything is solved. ``script``: the saved one, which lies in the job's folder.

    ``frames``: "1001-1046". ``write_node``: its name, or all of them.
    """

    script: str
    frames: str
    write_node: str = ALL_WRITES
    chunk_size: int = 10
    continue_on_error: bool = False

    def __post_init__(self) -> None:
        if min(parse_frames(self.frames)) < 0:
            raise JobError(
                f"The farm renders no frames below 0, and {self.frames!r} has some.",
                hint="Shift the script's frames, or render these on your own machine.",
            )
        if self.chunk_size < 1:
            raise JobError(
                f"A chunk has 1 frame at least, not {self.chunk_size}.", hint="Set chunk size on the Farm tab."
            )


@dataclass(frozen=True)
class FarmJob:
    """``server``: the studio's own server solves, and a task only waits for it; else each worker brings a server, which
    stays warm for a session's tasks. ``void``: the command on the workers. ``lease_s``: how long such a server outlives
    its tasks. Times in seconds. ``gpu_memory_mb``: what a solve with a model needs; 0: not said."""

    name: str
    shots: tuple[FarmShot, ...] = ()
    render: Optional[FarmRender] = None
    priority: int = 50
    retries: int = 2
    solve_timeout_s: int = 6 * 3600
    render_timeout_s: int = 4 * 3600
    server: bool = False
    void: str = "void"
    lease_s: int = 300
    gpu_memory_mb: int = 0

    def __post_init__(self) -> None:
        if not self.shots and self.render is None:
            raise JobError("There is nothing to do for the farm.", hint="Submit a script with VOID nodes, or shots.")
        names = Counter(each.name for each in self.shots)
        twice = sorted(name for name, count in names.items() if count > 1)
        if twice:
            raise JobError(f"Two tasks have the name {twice[0]}.", hint="Give each node or shot a name of its own.")

    def with_gpu(self, wanted: bool) -> tuple[FarmShot, ...]:
        """The shots of one solve step: those whose engine wants a GPU, or the others."""
        return tuple(each for each in self.shots if each.wants_gpu == wanted)


def task_names(labels: Iterable[str]) -> dict[str, str]:
    """Label → a task's name that is unique: ``Group1.VOID1`` stays, ``shot 10`` becomes ``shot_10``."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in dict.fromkeys(labels):
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", label).strip("._-")[:56] or "shot"
        name, count = plain, 1
        while name in taken:
            count += 1
            name = f"{plain}_{count}"
        names[label] = name
        taken.add(name)
    return names


def input_files(job: FarmJob) -> tuple[str, ...]:
    """Every file that the solve steps read, those of sidecars too: what a manager that moves files has to bring.

    Raises ``FrameError`` or ``JobError`` where a pattern or sidecar cannot be read.
    """
    files: set[str] = set()
    for each in job.shots:
        shot = each.shot
        numbers = parse_frames(shot.frames) if shot.frames else FramePattern.parse(shot.plate).frames_on_disk()
        for key, text in paths_of(shot).items():
            if key in ("plate", "quadmask", "masks.matte", "masks.affected"):
                files.update(str(path) for path in _there(text, numbers))
            elif key in ("ocio", "overrides", "masks.analysis") and not text.startswith(OCIO_BUILTIN):
                files.add(text)
        if shot.overrides:
            drawn = read_sidecar(Path(shot.overrides), uuid=shot.section).prepare(
                numbers, supplied=shot.quadmask is not None
            )
            files.update(str(path) for path in drawn.files.values())
    return tuple(sorted(files))


def output_folders(job: FarmJob) -> tuple[str, ...]:
    """The folders that results are written to."""
    keys = ("out", "store", "results", "link")
    return tuple(
        sorted({str(getattr(each.shot, key)) for each in job.shots for key in keys if getattr(each.shot, key)})
    )


def frames_text(numbers: Iterable[int]) -> str:
    """As the farm writes ranges: ``1001-1010,1020``."""
    return format_frames(numbers)


def _there(text: str, numbers: Iterable[int]) -> list[Path]:
    pattern = FramePattern.parse(text)
    return [path for path in (pattern.path(number) for number in numbers) if path.is_file()]


def shot_texts(job: FarmJob) -> Mapping[str, dict[str, Any]]:
    """File name → content, of every shot file of the job."""
    return {f"{each.name}.yaml": each.written() for each in job.shots}
