"""From the script to a farm job: which nodes are solved there, and the bundle that says so. Main thread only.

Promises: the artist's script is not changed, and not saved under its own name; a node whose result is up to date is not
solved again; what the farm renders is this very state of the script. Must not: know a farm manager's files
(`void_client.openjd` writes them).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

import nuke
from void_client import schema
from void_client.digest import sha256_data
from void_client.errors import JobError, VoidError
from void_client.farm_job import FarmJob, FarmRender, FarmShot, task_names
from void_client.job import ShotFile
from void_client.manifest import as_disk_full
from void_client.openjd import write_bundle
from void_client.result_store import plain_name
from void_client.sequence import FramePattern, parse_frames
from void_client.studio import PluginSettings, load_plugin_settings

from . import ordering, plate, staleness, states
from .messages import failure
from .node import VoidNode, all_nodes, quiet

_HERE = re.compile(r"root\.name|script_directory")
_CONNECTION = re.compile(r"\bN[0-9a-f]{6,}\b")


@dataclass(frozen=True)
class Submission:
    """A bundle on disk. ``solved``: names of the nodes that the farm solves; ``kept``: those that are up to date."""

    folder: Path
    solved: tuple[str, ...]
    kept: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        solved = f"solves {', '.join(self.solved)}" if self.solved else "solves nothing: all results are up to date"
        lines = [f"The farm {solved}, then renders.", f"The job's folder: {self.folder}", *self.warnings]
        return "\n".join(lines)


@dataclass(frozen=True)
class _Planned:
    node: VoidNode
    shot: ShotFile
    link: Path

    @property
    def pattern(self) -> str:
        return f"{self.link.as_posix()}/plate.%04d.exr"

    @property
    def frames(self) -> tuple[int, ...]:
        return parse_frames(self.shot.deliver or self.shot.frames or "")


def submit(nodes: Optional[Sequence[VoidNode]] = None) -> Submission:
    """Write the job for these nodes, or all of the script; hand it over where the studio wants that.

    Raises ``VoidError`` in the artist's words, the node's name before it.
    """
    settings = load_plugin_settings(os.environ)
    chosen = list(nodes) if nodes is not None else [node for node in all_nodes() if not node.node["disable"].value()]
    if not chosen:
        raise failure("no_nodes")
    plate.check_session()
    if not plate.script_path():
        raise failure("unsaved")
    planned, kept = _planned(chosen, settings)
    job = _job(chosen[0], planned, settings)
    folder = _write(job, planned, settings)
    warnings = (*_warnings(folder, job), *_left_out(chosen))
    done = Submission(folder, tuple(each.node.name for each in planned), tuple(kept), warnings)
    _hand_over(done, settings)
    return done


# --- what is to be solved


def _planned(chosen: Sequence[VoidNode], settings: PluginSettings) -> tuple[list[_Planned], list[str]]:
    planned, kept = [], []
    for node in chosen:
        try:
            if _up_to_date(node):
                kept.append(node.name)
            else:
                planned.append(_plan(node, settings))
        except VoidError as error:
            error.message = f"{node.name}: {error.message}"
            raise
    return planned, kept


def _up_to_date(node: VoidNode) -> bool:
    if node.state.name != states.READY or not node.text("result_file"):
        return False
    solved = node.solved
    return staleness.is_of(node, solved.prints.get(solved.shown, ""))


def _plan(node: VoidNode, settings: PluginSettings) -> _Planned:
    """The node as a shot, its result in the node's own store, and linked where the submitted script reads it."""
    shot = ordering.shot_file(node)
    store = ordering.store_of(node, settings)
    shot = replace(shot, results=store.root.parent.parent.as_posix(), shot=shot.shot, node=node.uuid)
    link = store.root / "farm" / sha256_data([schema.dump(shot), _stamps(shot)])[:12]
    return _Planned(node, replace(shot, link=link.as_posix()), link)


def _stamps(shot: ShotFile) -> list[list[Any]]:
    """Sizes and times of the files that go in: the same submission twice is one, and no pixel is read for it here.

    Raises ``JobError`` naming a frame of the plate that lacks; mattes may lie on some frames only.
    """
    masks = (shot.masks.matte, shot.masks.affected) if shot.masks is not None else (shot.quadmask,)
    found: list[list[Any]] = []
    for text in filter(None, (shot.plate, *masks)):
        pattern = FramePattern.parse(text)
        for number in parse_frames(shot.frames or ""):
            try:
                stat = os.stat(pattern.path(number))
                found.append([text, number, stat.st_size, stat.st_mtime_ns])
            except OSError as problem:
                if text == shot.plate:
                    raise JobError(
                        f"Frame {number} of the plate cannot be read: {pattern.path(number)}.",
                        hint="Render it, or choose another range.",
                    ) from problem
    return found


# --- the bundle


def _job(first: VoidNode, planned: Sequence[_Planned], settings: PluginSettings) -> FarmJob:
    script = Path(plate.script_path())
    root = nuke.root()
    names = task_names(each.node.name for each in planned)
    render = None
    if _writes():
        frames = f"{int(root.firstFrame())}-{int(root.lastFrame())}"
        render = FarmRender(script.name, frames, chunk_size=max(1, first.number("chunk_size")))
    return FarmJob(
        script.stem,
        tuple(FarmShot(names[each.node.name], each.shot) for each in planned),
        render,
        priority=settings.farm_priority,
        retries=settings.farm_retries,
        server=settings.farm_remote,
        void=settings.farm_void,
    )


def _writes() -> list[Any]:
    """The adaptor renders those of the script itself, not of its Groups. A button's context is its node's inside."""
    return [node for node in nuke.allNodes("Write", nuke.root()) if not node["disable"].value()]


def _write(job: FarmJob, planned: Sequence[_Planned], settings: PluginSettings) -> Path:
    """The bundle, in a folder named by what is in it: a job that runs is never given another script."""
    home = Path(settings.farm_bundles) if settings.farm_bundles else plate.project_of() / "void" / "farm"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".void-", dir=home) as made:
            script = _saved(Path(made), job, planned)
            content = [[each.name, each.written()] for each in job.shots]
            folder = home / f"{plain_name(job.name)}_{sha256_data([content, _settled(script)])[:12]}"
            folder.mkdir(exist_ok=True)
            if script is not None and not (folder / script.name).exists():
                script.replace(folder / script.name)
        return write_bundle(job, folder)
    except OSError as problem:
        error = as_disk_full(problem, home)
        if isinstance(error, VoidError):
            raise error from problem
        raise failure("farm_folder", folder=home, why=problem.strerror or problem) from problem


def _saved(folder: Path, job: FarmJob, planned: Sequence[_Planned]) -> Optional[Path]:
    """The script as it stands. Whether the artist has changes to save is as before."""
    if job.render is None:
        return None
    path = folder / job.render.script
    changed = bool(nuke.modified())
    with _as_solved(planned), _standing_where_it_was():
        nuke.scriptSave(path.as_posix())
    nuke.modified(changed)
    return path


def _settled(script: Optional[Path]) -> str:
    """A saved script without what differs from one saving to the next: comments, and the names of its connections."""
    if script is None:
        return ""
    lines = script.read_text(encoding="utf-8", errors="replace").splitlines()
    names: dict[str, str] = {}
    kept = [line for line in lines if not line.startswith("#")]
    return _CONNECTION.sub(lambda found: names.setdefault(found.group(), f"N{len(names)}"), "\n".join(kept))


@contextmanager
def _as_solved(planned: Sequence[_Planned]) -> Iterator[None]:
    """The nodes as the farm finds them once they are solved: each reads its link, none shows a review."""
    knobs = ("result_file", "result_first", "result_last")
    before = [(each.node, name, each.node.node[name].value()) for each in planned for name in knobs]
    before += [(node, "mask_file", node.text("mask_file")) for node in all_nodes()]
    with quiet():
        try:
            for node in all_nodes():
                node.put("mask_file", "")
            for each in planned:
                for name, value in zip(knobs, (each.pattern, min(each.frames), max(each.frames))):
                    each.node.put(name, value)
            yield
        finally:
            for node, name, value in before:
                node.put(name, value)


@contextmanager
def _standing_where_it_was() -> Iterator[None]:
    """A project directory that follows the script's own place is written out: the copy lies elsewhere."""
    knob: Any = nuke.root()["project_directory"]
    before = str(knob.value() or "")
    there = str(knob.evaluate() or "")
    with quiet():
        if there and there != before:
            knob.setValue(there)
        try:
            yield
        finally:
            if there and there != before:
                knob.setValue(before)


def _warnings(folder: Path, job: FarmJob) -> tuple[str, ...]:
    if job.render is None:
        return ("The script has no Write node that is on: nothing is rendered.",)
    text = (folder / job.render.script).read_text(encoding="utf-8", errors="replace")
    count = len(_HERE.findall(text))
    if not count:
        return ()
    return (f"{count} expressions of the script ask where it lies; the farm renders a copy in the job's folder.",)


def _left_out(chosen: Sequence[VoidNode]) -> tuple[str, ...]:
    """Nodes that the render shows as they are, though they are not up to date."""
    others = [node for node in all_nodes() if node not in chosen and not node.node["disable"].value()]
    old = [node.name for node in others if not _up_to_date(node)]
    return (f"Not solved, as they were not asked for: {', '.join(old)}.",) if old else ()


# --- handing it over


def _hand_over(done: Submission, settings: PluginSettings) -> None:
    """To Deadline Cloud, where its command is there and the studio's setting says so. In a thread: it may take long."""
    command = shutil.which("deadline")
    if command is None or settings.farm_submit == "never":
        return
    if settings.farm_submit == "ask" and not (nuke.GUI and nuke.ask(f"{done}\n\nHand it to Deadline Cloud now?")):
        return
    if not nuke.GUI:
        code, said = _handed(command, done.folder)
        if code:
            raise failure("farm_refused", why=said)
        return

    def run() -> None:
        code, said = _handed(command, done.folder)
        news = "NOT handed to Deadline Cloud" if code else "handed to Deadline Cloud"
        nuke.executeInMainThread(_tell, (f"VOID: the job was {news}.\n{said}",))

    threading.Thread(target=run, name="void farm", daemon=True).start()


def _handed(command: str, folder: Path) -> tuple[int, str]:
    """Exit code, and the end of what it said."""
    words = [command, "bundle", "submit", str(folder), "--yes"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return done.returncode, (done.stdout + done.stderr).strip()[-800:]


def _tell(text: str) -> None:
    nuke.message(text)
