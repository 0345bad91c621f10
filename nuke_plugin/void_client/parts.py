"""A result that is put together from several solves: its frames, files and what it tells of itself.

Promises: the old result is not changed; each frame can be followed to the solve that it came from; the manifests of all
solves are kept (``part_1.json`` …). Must not: sign, or decide where the result lies.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .digest import sha256_data, sha256_file
from .errors import InputError
from .manifest import MANIFEST, Provenance, ResultFile, ResultManifest
from .sequence import format_frames, parse_frames

QUADMASK_NAME = "part_{}_quadmask.{:04d}.exr"
PART_NAME = "part_{}.json"


@dataclass(frozen=True)
class State:
    """A result as it is so far, and the manifests that it was put together from: its own, where that is one."""

    folder: Path
    manifest: ResultManifest
    parts: tuple[ResultManifest, ...]

    @classmethod
    def read(cls, folder: Path) -> State:
        """Raises ``InputError`` where it holds no whole result."""
        manifest = ResultManifest.read(folder)
        names = [str(each["manifest"]) for each in manifest.facts.get("parts") or ()]
        parts = tuple(_read_part(folder / name) for name in names)
        return cls(folder, manifest, parts or (manifest,))


def join(
    state: State, part: ResultManifest, part_folder: Path, masks: Mapping[int, Path], kept: Path
) -> tuple[ResultManifest, dict[str, Path]]:
    """The old frames with the part's in their places: the manifest, unsigned, and each file's source by name.

    ``masks``: the quadmasks of the solved frames. ``kept``: an empty folder that the caller holds until all is copied.
    """
    count = len(state.parts) + 1
    sources = {file.name: state.folder / file.name for file in state.manifest.all_files}
    frames = {frame.number: frame for frame in state.manifest.frames}
    frames.update({frame.number: frame for frame in part.frames})
    sources.update({frame.name: part_folder / frame.name for frame in part.frames})
    added = {QUADMASK_NAME.format(count, number): path for number, path in masks.items()}
    added[PART_NAME.format(count)] = part_folder / MANIFEST
    if len(state.parts) == 1:
        added[PART_NAME.format(1)] = state.folder / MANIFEST
    for name, path in added.items():  # the old manifest is replaced where the result goes into its folder
        shutil.copyfile(path, kept / name)
        sources[name] = kept / name
    manifest = replace(
        state.manifest,
        job_id=part.job_id,
        content_hash=sha256_data([each.content_hash for each in (*state.parts, part)]),
        frames=tuple(frames[number] for number in sorted(frames)),
        files=(*state.manifest.files, *(_file(sources[name]) for name in sorted(added))),
        facts={**state.manifest.facts, "parts": _told(state, part)},
        provenance=Provenance(False, "it was put together from several solves by someone who has no key to sign with"),
    )
    return manifest, sources


def unsigned(parts: Sequence[ResultManifest]) -> str:
    """The first part that nobody signed, as its file is called; "" where all are."""
    found = [n for n, part in enumerate(parts, 1) if part.provenance is None or not part.provenance.signed]
    return PART_NAME.format(found[0]) if found else ""


def _read_part(path: Path) -> ResultManifest:
    try:
        return ResultManifest.from_plain(json.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, ValueError) as problem:
        raise InputError(f"{path} cannot be read: {problem}.", hint="Fetch or render the result again.") from problem


def _told(state: State, part: ResultManifest) -> list[dict[str, str]]:
    """Each part's manifest and the frames that are still from it."""
    new = {frame.number for frame in part.frames}
    before = state.manifest.facts.get("parts") or [
        {"manifest": PART_NAME.format(1), "frames": format_frames(frame.number for frame in state.manifest.frames)}
    ]
    told = []
    for each in before:
        still = set(parse_frames(each["frames"])) - new if each["frames"] else set()
        told.append({"manifest": each["manifest"], "frames": format_frames(still)})
    name = PART_NAME.format(len(told) + 1)
    return [*told, {"manifest": name, "frames": format_frames(new)}]


def _file(path: Path) -> ResultFile:
    return ResultFile(path.name, sha256_file(path), path.stat().st_size)
