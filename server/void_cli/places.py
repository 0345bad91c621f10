"""Where a result's inputs lay: ``inputs.json`` beside its manifest, and how they are found again.

The manifest is signed and holds digests, no paths; this file is the user's own note, which nobody signs and anybody may
delete. Promises: a file is only used where it has the recorded digest.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Optional

from void_client.digest import sha256_file
from void_client.errors import FrameError, JobError, VoidError
from void_client.job import AFFECTED_INPUT, FrameRef, JobSpec, Resolved
from void_client.manifest import write_durably
from void_client.sequence import FramePattern, format_frames

INPUTS = "inputs.json"
_NUMBER = re.compile(r"(\d+)(?=\D*\Z)")
_ARGUMENTS = {
    "plate": "--plate", "quadmask": "--quadmask", "matte": "--matte", AFFECTED_INPUT: "--affected-matte",
    "ocio": "--ocio",
}  # fmt: skip
Key = tuple[str, int]
Progress = Callable[[int, int], None]


def record(folder: Path, names: Mapping[Key, Path]) -> None:
    """Beside the manifest in ``folder``: for each input its pattern, or file. Raises ``DiskFull`` or ``OSError``."""
    kinds: dict[str, dict[int, Path]] = {}
    for (kind, number), path in names.items():
        kinds.setdefault(kind, {})[number] = Path(os.path.abspath(path))
    places = {kind: _place(paths) for kind, paths in kinds.items()}
    _write(folder, places)


def recorded(folder: Path) -> dict[str, Any]:
    """Input → pattern, file, or files by frame number; nothing where nobody recorded any, or it cannot be read."""
    try:
        places = json.loads((folder / INPUTS).read_text(encoding="utf-8"))["inputs"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return places if isinstance(places, dict) else {}


def _write(folder: Path, places: Mapping[str, Any]) -> None:
    write_durably(folder / INPUTS, (json.dumps({"version": 1, "inputs": places}, indent=2) + "\n").encode())


def _place(paths: Mapping[int, Path]) -> Any:
    """One pattern or one path where that says it all, else every path by its number."""
    patterns = {_pattern(number, path) for number, path in paths.items()}
    if len(patterns) == 1 and None not in patterns:
        return patterns.pop()
    every = {str(path) for path in paths.values()}
    return every.pop() if len(every) == 1 else {str(number): str(path) for number, path in paths.items()}


def _pattern(number: int, path: Path) -> Optional[str]:
    """``/shot/plate.%04d.exr`` for frame 1001 of ``/shot/plate.1001.exr``, where reading that gives the path again."""
    found = _NUMBER.search(path.name)
    if found is None or int(found.group(1)) != number or "%" in path.name or "#" in path.name:
        return None
    padding = "%04d" if len(found.group(1)) == 4 else f"%0{len(found.group(1))}d"
    text = str(path.with_name(path.name[: found.start(1)] + padding + path.name[found.end(1) :]))
    return text if FramePattern.parse(text).path(number) == path else None


class Places:
    """Where inputs may be: ``given`` on the command line first, then where they were."""

    def __init__(self, result: Path, given: Mapping[str, str], drawn: Mapping[Key, Path] | None = None) -> None:
        """``given``: input → pattern or path. ``drawn``: the files of a sidecar of overrides that was given."""
        self._result = result
        self._given = {kind: os.path.abspath(os.path.expanduser(text)) for kind, text in given.items()}
        self._recorded = recorded(result)
        self._drawn = dict(drawn or {})

    def path(self, key: Key) -> Path:
        """Where this input should lie. Raises ``JobError`` where nobody knows."""
        kind, number = key
        if key in self._drawn:
            return self._drawn[key]
        place = self._given.get(kind, self._recorded.get(kind))
        if isinstance(place, Mapping):
            place = place.get(str(number))
        if not isinstance(place, str):
            argument = _ARGUMENTS.get(kind, "--overrides")
            raise JobError(
                f"{self._result} does not say where its {kind} was: it was not made by `void render` here.",
                hint=f"Say where it is: {argument} "
                + ("FILE." if argument in ("--ocio", "--overrides") else '"shot/name.%04d.exr".'),
                details={"input": kind},
            )
        try:
            return FramePattern.parse(place).path(number)
        except JobError:  # one file for all frames
            return Path(place)

    def carry(self, folder: Path) -> None:
        """The note of these places, for a result that was made of the same inputs."""
        known = {**self._recorded, **self._given}
        if known:
            with contextlib.suppress(OSError, VoidError):
                _write(folder, known)

    def find(self, wanted: Mapping[Key, FrameRef], on_progress: Progress | None = None) -> dict[Key, Path]:
        """Every input at its place, each the very file that was recorded. Raises ``FrameError`` naming the first that
        is not there, or is another."""
        paths = {key: self.path(key) for key in wanted}
        faults: list[tuple[Key, str]] = []
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            digests = pool.map(_digest, paths.values())
            for done, ((key, ref), digest) in enumerate(zip(wanted.items(), digests), 1):
                if digest != ref.sha256:
                    faults.append((key, "is not there any more" if digest is None else "has changed since"))
                if on_progress:
                    on_progress(done, len(paths))
        if faults:
            raise _not_the_same(faults, paths)
        return paths


def _digest(path: Path) -> Optional[str]:
    try:
        return sha256_file(path)
    except OSError:
        return None


def _not_the_same(faults: list[tuple[Key, str]], paths: Mapping[Key, Path]) -> FrameError:
    (kind, number), how = faults[0]
    others = [other for (other_kind, other), _ in faults[1:] if other_kind == kind]
    more = f" {format_frames(others)} too." if others else ""
    argument = _ARGUMENTS.get(kind, "--overrides")
    called = f"{kind} frame {number}" if kind != "ocio" else "OCIO configuration"
    return FrameError(
        f"The {called} {how}: {paths[kind, number]}.{more}",
        hint=f"To repeat a result its own inputs are needed. If they have moved, say where with {argument}; "
        "if they are gone, render the shot anew.",
        details={"input": kind, "frame": number, "file": str(paths[kind, number]), "count": len(faults)},
    )


def inputs_of(spec: JobSpec) -> dict[Key, FrameRef]:
    """(input, frame number) → its file, as `Resolved.names` has the keys."""
    wanted: dict[Key, FrameRef] = {("plate", ref.number): ref for ref in spec.plate.frames}
    if spec.quadmask is not None:
        wanted.update({("quadmask", ref.number): ref for ref in spec.quadmask.frames})
    if spec.masks is not None:
        wanted.update({("matte", ref.number): ref for ref in spec.masks.mattes})
        wanted.update({(AFFECTED_INPUT, ref.number): ref for ref in spec.masks.affected})
    for index, override in enumerate(spec.overrides):
        held: set[str] = set()
        for ref in override.matte:
            if ref.sha256 not in held:  # a matte at rest is one file, under its first frame
                wanted[f"override {index}", ref.number] = ref
            held.add(ref.sha256)
    if spec.plate.ocio_file is not None:
        wanted["ocio", 0] = spec.plate.ocio_file
    return wanted


def resolved(spec: JobSpec, names: Mapping[Key, Path], wanted: Iterable[tuple[Key, FrameRef]]) -> Resolved:
    return Resolved(spec, {ref.sha256: names[key] for key, ref in wanted}, names)


def note(folder: Path, names: Mapping[Key, Path]) -> None:
    """As ``record``, for a result that is whole without it: a folder that takes no more is no failure."""
    with contextlib.suppress(OSError, VoidError):
        record(folder, names)


def copy(source: Path, folder: Path) -> None:
    """A result's note, with the result."""
    if (source / INPUTS).is_file():
        with contextlib.suppress(OSError, VoidError):
            write_durably(folder / INPUTS, (source / INPUTS).read_bytes())
