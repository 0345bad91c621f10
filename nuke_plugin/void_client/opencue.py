"""A farm job as an OpenCue job specification: a folder with ``job.xml``, and the shot files that its frames take.

OpenCue's server, cuebot, reads this text and checks it against its DTD; `opencue.api.launchSpecAndWait` hands it over.
The layers: *void_solve* (a frame for each shot, on a GPU where its engine wants one) and *render*, which waits for it
and runs Nuke in chunks of frames. OpenCue's frames are integers: frame 3 of a solve takes the file ``shots/0003.yaml``.
https://github.com/AcademySoftwareFoundation/OpenCue: cuebot's ``JobSpec.java`` is what accepts or refuses.
Promises: the same job in the same folder gives the same bytes; what OpenCue refuses is told here. Paths are absolute:
an OpenCue frame does not know where its job lies, so the folder stays where the workers see it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Optional
from xml.etree import ElementTree

from .errors import JobError
from .farm_job import ALL_WRITES, FarmJob, FarmRender, FarmShot
from .manifest import write_durably
from .openjd import SHOTS, yaml_bytes
from .sequence import format_frames, parse_frames

SPECIFICATION: Final = "job.xml"
SPEC_VERSION: Final = "1.12"
"""The oldest DTD with ``gpus`` and ``gpu_memory``. A newer cuebot keeps it, and adds nothing that is needed here."""
MAX_LAYERS, MAX_FRAMES = 1000, 100_000  # of a job, as cuebot counts
_DOCTYPE = (
    '<!DOCTYPE spec PUBLIC "SPI Cue Specification Language" "http://localhost:8080/spcue/dtd/cjsl-{version}.dtd">'
)
_SOLVE, _SOLVE_CPU, _RENDER = "void_solve", "void_solve_cpu", "render"
_NAME = re.compile(r"\A[A-Za-z0-9_.]{3,}\Z")  # cuebot's for jobs, shots, layers and tags
_PLAIN = re.compile(r"\A[A-Za-z0-9_.-]+\Z")
_VARIABLE = re.compile(r"\A[A-Za-z_][A-Za-z0-9_]*\Z")
_UNSAFE = re.compile(r"""[\x00-\x1f\x7f"$`\\!]|#[A-Z_]+#""")
"""In a command's word. A host's shell reads the command once, and twice where frames run in containers; cuebot replaces
``#TOKEN#`` wherever it stands."""


def _check(shape: re.Pattern[str], kind: str, name: str, hint: str, said: Optional[str] = None) -> None:
    if not shape.match(name):
        raise JobError(f"{name if said is None else said!r} is no {kind} for OpenCue.", hint=hint)


@dataclass(frozen=True)
class Needs:
    """What each frame of a layer takes. ``service``: cuebot falls back to ``default`` where it knows none of this name.
    ``tags``: of the hosts; the service's own where there are none."""

    service: str
    cores: float
    memory_mb: int
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(_PLAIN, "service", self.service, "Use letters, digits, '_', '.' and '-'.")
        for tag in self.tags:
            _check(_NAME, "tag", tag, "A tag has 3 letters or more: letters, digits, '_' and '.'.")
        if self.cores < 0.1 or self.memory_mb < 256:
            raise JobError(
                f"{self.cores} cores and {self.memory_mb} MB are too little for an OpenCue frame.",
                hint="Give 0.1 cores and 256 MB at least.",
            )


@dataclass(frozen=True)
class CueSettings:
    """What OpenCue wants to know besides the job. ``show``: one that cuebot knows. ``facility``: cuebot's default where
    empty. ``uid``: whose the frames are; without it they are the hosts' daemon's, and old hosts run none. ``nuke``: the
    command on the workers. ``environment``: pairs for every frame."""

    show: str
    shot: str
    user: str
    facility: str = ""
    uid: Optional[int] = None
    solve: Needs = Needs("void", 4, 16 * 1024)
    render: Needs = Needs("nuke", 4, 8 * 1024)
    nuke: str = "nuke"
    environment: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        three = "OpenCue wants 3 letters or more: letters, digits, '_', '-' and '.'."
        for kind, name in (("show", self.show), ("shot", self.shot)):
            _check(_NAME, kind, name.replace("-", "_"), three, said=name)
        for kind, name in (("user", self.user), ("facility", self.facility or "-")):
            _check(_PLAIN, kind, name, "Use letters, digits, '_', '.' and '-'.")
        if self.user == "root" or self.uid == 0:
            raise JobError("OpenCue launches no job as root.", hint="Give the user whose job it is.")
        for name, value in self.environment:
            _check(_VARIABLE, "environment variable", name, "Use letters, digits and '_'.")
            if re.search(r"[\x00-\x1f\x7f]", value) or value != value.strip():
                raise JobError(
                    f"The value of {name} cannot be given to OpenCue: {value!r}.",
                    hint="Leave out line breaks, and blanks at its ends.",
                )


@dataclass(frozen=True)
class _Layer:
    name: str
    command: str
    frames: str
    chunk: int
    needs: Needs
    timeout_s: int
    gpu_memory: str = ""  # "24g"; empty: no GPU


def write_job(job: FarmJob, folder: Path, settings: CueSettings) -> Path:
    """All of it; a script to be rendered lies in ``folder`` already. Raises ``JobError``, ``DiskFull``, ``OSError``."""
    text = specification(job, folder, settings)
    (folder / SHOTS).mkdir(parents=True, exist_ok=True)
    for name, content in shot_files(job).items():
        write_durably(folder / SHOTS / name, content)
    write_durably(folder / SPECIFICATION, text.encode())
    return folder


def shot_files(job: FarmJob) -> Mapping[str, bytes]:
    """File name → content. The name of the shot stands in the first line, for people."""
    return {
        f"{number:04d}.yaml": f"# {each.name}\n".encode() + yaml_bytes(each.written())
        for number, each in enumerate(_numbered(job), 1)
    }


def specification(job: FarmJob, folder: Path, settings: CueSettings) -> str:
    """``job.xml`` for a job whose files lie in ``folder``. Raises ``JobError`` where OpenCue would refuse it."""
    solves = _solve_layers(job, folder.absolute(), settings)
    renders = _render_layers(job, folder.absolute(), settings) if job.render is not None else []
    _check_size([*solves, *renders])
    name = _job_name(job.name)
    root = ElementTree.Element("spec")
    if settings.facility:
        _add(root, "facility", settings.facility)
    _add(root, "show", settings.show)
    _add(root, "shot", settings.shot)
    _add(root, "user", settings.user)
    if settings.uid is not None:
        _add(root, "uid", str(settings.uid))
    made = ElementTree.SubElement(root, "job", name=name)
    _add(made, "paused", "False")
    _add(made, "priority", str(job.priority))
    _add(made, "maxretries", str(job.retries))
    _add(made, "autoeat", "False")
    environment = ElementTree.SubElement(made, "env")
    for key, value in settings.environment:
        _add(environment, "key", value, name=key)
    layers = ElementTree.SubElement(made, "layers")
    for layer in (*solves, *renders):
        _add_layer(layers, layer)
    depends = ElementTree.SubElement(root, "depends")
    for render in renders:
        for solve in solves:
            _add_dependency(depends, name, render, solve)
    ElementTree.indent(root, "  ")
    heading = ['<?xml version="1.0"?>', _DOCTYPE.format(version=SPEC_VERSION)]
    return "\n".join([*heading, ElementTree.tostring(root, encoding="unicode"), ""])


# --- layers


def _numbered(job: FarmJob) -> tuple[FarmShot, ...]:
    """The shots in the order of their frame numbers: a layer's are a range without gaps."""
    return (*job.with_gpu(True), *job.with_gpu(False))


def _solve_layers(job: FarmJob, folder: Path, settings: CueSettings) -> list[_Layer]:
    with_gpu, without = len(job.with_gpu(True)), len(job.with_gpu(False))
    parts = [(_SOLVE, 1, with_gpu, True), (_SOLVE_CPU if with_gpu else _SOLVE, with_gpu + 1, without, False)]
    if job.server:  # every solve only waits for the studio's server
        parts = [(_SOLVE, 1, with_gpu + without, False)]
    return [_solve_layer(job, folder, settings, *part) for part in parts if part[2]]


def _solve_layer(
    job: FarmJob, folder: Path, settings: CueSettings, name: str, first: int, count: int, gpu: bool
) -> _Layer:
    words = [
        _word("The command", job.void),
        "render",
        f"{_word('The folder', folder.as_posix())}/{SHOTS}/#ZFRAME#.yaml",
    ]
    words.append("--remote" if job.server else "--local")
    needs = settings.solve
    if job.server:
        needs = Needs(needs.service, 1, 1024, needs.tags)
    elif gpu:
        # OpenCue lends this frame some of the host's GPUs; it names them, and leaves it to the frame to use no others.
        words = ["env", "${CUE_GPU_CORES:+CUDA_VISIBLE_DEVICES=$CUE_GPU_CORES}", *words, "--device", "cuda:0"]
    frames = format_frames(range(first, first + count))
    memory = _memory(max(job.gpu_memory_mb, 1024)) if gpu else ""  # cuebot wants some where it gives a GPU
    return _Layer(name, " ".join(words), frames, 1, needs, job.solve_timeout_s, memory)


def _render_layers(job: FarmJob, folder: Path, settings: CueSettings) -> list[_Layer]:
    """A layer for each run of frames that whole chunks fill, and for what remains of it.

    A last chunk that is not full is unsafe: ``#FRAME_END#`` of older cuebots runs over the range's end (OpenCue #1320),
    and their ``#FRAMESPEC#`` loses its last frame (#685). Full chunks are right with all of them.
    """
    render = job.render
    assert render is not None
    which = ["-x"] if render.write_node == ALL_WRITES else ["-X", _word("The Write", render.write_node)]
    words = [_word("The command", settings.nuke), "-F", "#FRAME_START#-#FRAME_END#", *which]
    if render.continue_on_error:
        words.append("--cont")
    words.append(_word("The script", (folder / render.script).as_posix()))
    return [
        _Layer(
            f"{_RENDER}_{index}" if index > 1 else _RENDER,
            " ".join(words), frames, chunk, settings.render, job.render_timeout_s,
        )
        for index, (frames, chunk) in enumerate(_full_chunks(render), 1)
    ]  # fmt: skip


def _full_chunks(render: FarmRender) -> Iterable[tuple[str, int]]:
    """Ranges, and the size of the chunks that fill them."""
    if render.chunk_size == 1:
        yield format_frames(parse_frames(render.frames)), 1
        return
    for run in format_frames(parse_frames(render.frames)).split(","):
        numbers = parse_frames(run)
        whole = len(numbers) // render.chunk_size * render.chunk_size
        if whole:
            yield format_frames(numbers[:whole]), render.chunk_size
        if numbers[whole:]:
            yield format_frames(numbers[whole:]), len(numbers) - whole


# --- XML, in the order of the DTD


def _add(parent: ElementTree.Element, tag: str, text: str, **attributes: str) -> None:
    ElementTree.SubElement(parent, tag, attributes).text = text


def _add_layer(parent: ElementTree.Element, layer: _Layer) -> None:
    made = ElementTree.SubElement(parent, "layer", name=layer.name, type="Render")
    _add(made, "cmd", layer.command)
    _add(made, "range", layer.frames)
    _add(made, "chunk", str(layer.chunk))
    _add(made, "cores", f"{layer.needs.cores:.1f}")  # with a point: cores; without one: hundredths of a core
    _add(made, "memory", _memory(layer.needs.memory_mb))
    if layer.gpu_memory:
        _add(made, "gpus", "1")
        _add(made, "gpu_memory", layer.gpu_memory)
    _add(made, "timeout", str(-(-layer.timeout_s // 60)))  # cuebot counts minutes
    if layer.needs.tags:
        _add(made, "tags", " | ".join(layer.needs.tags))
    ElementTree.SubElement(made, "env")
    _add(ElementTree.SubElement(made, "services"), "service", layer.needs.service)


def _add_dependency(parent: ElementTree.Element, job: str, waits: _Layer, on: _Layer) -> None:
    depend = ElementTree.SubElement(parent, "depend", type="LAYER_ON_LAYER", anyframe="False")
    _add(depend, "depjob", job)
    _add(depend, "deplayer", waits.name)
    _add(depend, "onjob", job)
    _add(depend, "onlayer", on.name)


def _memory(megabytes: int) -> str:
    return f"{megabytes // 1024}g" if megabytes % 1024 == 0 else f"{megabytes}m"


# --- what OpenCue refuses


def _job_name(name: str) -> str:
    """As cuebot takes it; the show, the shot and the user are put before it there."""
    plain = re.sub(r"[^A-Za-z0-9_.]+", "_", name).strip("_")
    _check(_NAME, "job's name", plain, "OpenCue wants 3 letters or digits at least.", said=name)
    return plain


def _word(what: str, text: str) -> str:
    found = _UNSAFE.search(text)
    if found:
        raise JobError(
            f"{what} cannot stand in an OpenCue command: {text!r} holds {found.group()!r}.",
            hint="Give it a plain name.",
        )
    return shlex.quote(text)


def _check_size(layers: list[_Layer]) -> None:
    frames = sum(-(-len(parse_frames(layer.frames)) // layer.chunk) for layer in layers)
    if len(layers) > MAX_LAYERS or frames > MAX_FRAMES:
        raise JobError(
            f"The job has {len(layers)} layers and {frames} frames; OpenCue takes {MAX_LAYERS} and {MAX_FRAMES}.",
            hint="Render a range without gaps, with a larger chunk size, or make several jobs of it.",
        )
