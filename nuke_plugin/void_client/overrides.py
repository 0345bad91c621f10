"""Per-shot overrides, and who has the last word about a region: `Source` and `rule` are the one place that knows.

A sidecar (YAML or JSON; docs/overrides.md) holds entries of which each corrects one region on some frames.
Promises: a bad entry disables only itself, with a warning that names file, line and key; a file that cannot be read as
a map is one ``JobError``. Must not: look at pixels, or write: that is `void_client.override_edit`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any, Optional

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from .errors import JobError
from .frame_ref import FrameRef
from .override_entry import ENTRY_KEYS, BadEntry, Entry, line_of, parse_entry
from .override_spec import MAX_OVERRIDES, OverrideSpec, ShapeKey, ShapeSpec
from .sequence import FramePattern, format_frames

__all__ = [
    "ENTRY_KEYS", "Entry", "FrameRef", "OverrideSpec", "Prepared", "Ruling", "ShapeKey", "ShapeSpec", "Sidecar",
    "Source", "Word", "beside", "for_node", "load_text", "read", "rule",
]  # fmt: skip

_NAMES = ("void.yaml", "void.yml", "void.json")
FileKey = tuple[str, int]
"""("override 3", frame number): as `void_client.job.Resolved.names` has them."""


# --- precedence


class Source(Enum):
    """Who may speak for a region. The order is the precedence, highest first."""

    INPUT = "input 3"  # a supplied quadmask
    SIDECAR = "sidecar"
    MATTES = "mattes"
    CLICKS = "clicks"
    REASONING = "reasoning"

    @property
    def rank(self) -> int:
        return list(Source).index(self)


@dataclass(frozen=True)
class Word:
    """One source's word about ``region`` at a frame. ``index``: the override's place in the job, -1 for others.

    ``hint``: the words by which it was found; ``by``: who looked and who drew ("grounding-dino, track").
    """

    source: Source
    region: str
    mode: str = "replace"
    label: str = ""
    index: int = -1
    confidence: Optional[float] = None
    hint: str = ""
    by: str = ""

    @property
    def is_lock(self) -> bool:
        """ "Never touch this": holds against everyone, for it can only keep pixels."""
        return self.source is Source.SIDECAR and self.region == "keep" and self.mode == "replace"


@dataclass(frozen=True)
class Ruling:
    """``winner`` says what the region is (None: nobody spoke); ``edits`` add to it or take from it, in order."""

    region: str
    winner: Optional[Word]
    edits: tuple[Word, ...] = ()
    outvoted: tuple[Word, ...] = ()


def rule(region: str, words: Iterable[Word]) -> Ruling:
    """Who wins ``region``. ``words``: all that bear upon it at one frame, in the order in which they are applied.

    Of those that replace the region the highest source wins, among equals the last. What came before it is lost. What
    comes after it edits it, unless it replaces something and its source is lower. Locks are never outvoted.
    """
    said = list(words)
    claims = [place for place, word in enumerate(said) if word.mode == "replace" and word.region == region]
    first = min(claims, key=lambda place: (said[place].source.rank, -place), default=-1)
    winner = said[first] if claims else None
    edits: list[Word] = []
    outvoted: list[Word] = []
    for place, word in enumerate(said):
        if place != first:
            heard = word.is_lock or (place > first and _may_edit(word, winner))
            (edits if heard else outvoted).append(word)
    return Ruling(region, winner, tuple(edits), tuple(outvoted))


def _may_edit(word: Word, winner: Optional[Word]) -> bool:
    if winner is None:
        return True
    if word.mode == "replace":
        return word.source.rank <= winner.source.rank
    # What is added or taken away is a correction of the winner, not a rival: reasoning adds belongings to the clicks,
    # a sidecar retouches a supplied quadmask. Only the reasoning has nothing to say about that one.
    return winner.source is not Source.INPUT or word.source is Source.SIDECAR


# --- entries


@dataclass(frozen=True)
class Prepared:
    """A sidecar's entries for a shot's frames. ``files``: what must be hashed, by (input, frame number).

    ``words``: the hints once more, for the reasoner.
    """

    drawn: tuple[tuple[Entry, tuple[int, ...]], ...] = ()
    files: Mapping[FileKey, Path] = field(default_factory=dict)
    words: str = ""
    warnings: tuple[str, ...] = ()

    def specs(self, refs: Mapping[FileKey, FrameRef]) -> tuple[OverrideSpec, ...]:
        """The form that travels. ``refs``: for every key of ``files`` its digest."""
        made = []
        for index, (entry, frames) in enumerate(self.drawn):
            matte: tuple[FrameRef, ...] = ()
            if entry.matte:
                first = refs[_kind(index), frames[0]]  # a matte at rest is hashed once
                matte = tuple(replace(refs.get((_kind(index), number), first), number=number) for number in frames)
            made.append(OverrideSpec(frames, entry.region, entry.mode, matte, entry.shapes, entry.label, entry.hint))
        return tuple(made)


@dataclass(frozen=True)
class Sidecar:
    """What one file holds for one node or shot. ``found``: whether it has a section for it at all."""

    path: Optional[Path] = None
    entries: tuple[Entry, ...] = ()
    warnings: tuple[str, ...] = ()
    found: bool = False

    def prepare(self, plate: Sequence[int], *, supplied: bool = False) -> Prepared:
        """For a plate of these frames. ``supplied``: with a quadmask of its own: nobody reasons, or looks for hints.

        An entry without a frame of the plate, or whose matte is not there, is left out with a warning.
        """
        drawn: list[tuple[Entry, tuple[int, ...]]] = []
        files: dict[FileKey, Path] = {}
        words, warnings = [], list(self.warnings)
        for entry in self.entries:
            wanted = set(plate if entry.frames is None else entry.frames)
            frames = tuple(number for number in plate if number in wanted)
            if not frames:
                warnings.append(f"{entry.label}: frames: the shot has none of them. This entry is not used.")
            elif entry.hint and supplied:
                warnings.append(
                    f"{entry.label}: hint: with a supplied quadmask nothing is looked for by words; "
                    "give a matte or a shape. This entry is not used."
                )
            else:
                if entry.hint:
                    not_ = "not " if entry.mode == "subtract" else ""
                    words.append(f"On frames {format_frames(frames)}, {not_}{entry.region}: {entry.hint}")
                if entry.matte:
                    frames, found = self._matte(entry, frames, warnings)
                    files.update({(_kind(len(drawn)), number): path for number, path in found.items()})
                if frames:
                    drawn.append((entry, frames))
        return Prepared(tuple(drawn), files, "\n".join(words), tuple(warnings))

    def _matte(
        self, entry: Entry, frames: tuple[int, ...], warnings: list[str]
    ) -> tuple[tuple[int, ...], dict[int, Path]]:
        """The frames that have a matte, and the files; one at rest stands under the first frame. What lacks is told."""
        folder = self.path.resolve().parent if self.path is not None else Path()
        try:
            pattern = FramePattern.parse(entry.matte, folder)
        except JobError:  # no frame number: one file for all frames
            path = folder / Path(entry.matte).expanduser()
            if _readable(path):
                return frames, {frames[0]: path}
            warnings.append(f"{entry.label}: matte: {path} cannot be read, or is empty. This entry is not used.")
            return (), {}
        found = {number: pattern.path(number) for number in frames if _readable(pattern.path(number))}
        lacking = [number for number in frames if number not in found]
        if lacking:
            lost = f"not used on frames {format_frames(lacking)}" if found else "not used"
            path = pattern.path(lacking[0])
            warnings.append(f"{entry.label}: matte: {path} cannot be read, or is empty. This entry is {lost}.")
        return tuple(found), found


# --- reading


def beside(shot_file: Path) -> Optional[Path]:
    """The sidecar of a shot file: void.yaml, .yml or .json in its folder; None where there is none."""
    found = [shot_file.with_name(name) for name in _NAMES]
    return next((path for path in found if path.is_file() and path.name != shot_file.name), None)


def for_node(script: Path, *, uuid: str, name: str) -> Sidecar:
    """A node's overrides: from ``<script>.void.yaml``, or else from the void.yaml beside. Raises ``JobError``."""
    for suffix in (".void.yaml", ".void.yml", ".void.json"):
        for path in (script.with_suffix(suffix), script.with_name(script.name + suffix)):
            if path.is_file():
                sidecar = read(path, uuid=uuid, name=name)
                if sidecar.found:
                    return sidecar
    shot = beside(script)
    return read(shot, uuid=uuid, name=name) if shot is not None else Sidecar()


def load_text(text: str, path: Path) -> Any:
    """The file as ruamel.yaml keeps it, comments included. Raises ``JobError`` naming the line."""
    try:
        return YAML(typ="rt", pure=True).load(text)
    except (YAMLError, RecursionError, ValueError) as problem:
        if "\t" in text and _is_json(text):
            return load_text(text.replace("\t", " "), path)  # JSON's strings hold no tab, so only the layout changes
        line = problem.problem_mark.line + 1 if isinstance(problem, MarkedYAMLError) and problem.problem_mark else 1
        fault = (getattr(problem, "problem", None) or str(problem)).strip().splitlines()[0]
        raise JobError(
            f"{path}:{line}: this is neither YAML nor JSON: {fault}.",
            hint="Mend the file, or move it away to go on without overrides.",
            details={"file": str(path), "line": line},
        ) from problem


def read(path: Path, *, uuid: str = "", name: str = "") -> Sidecar:
    """The entries for a node, by its uuid, else its name, else the file's own ``overrides``. Raises ``JobError``."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise JobError(f"The overrides {path} cannot be read: {problem}.", details={"file": str(path)}) from problem
    document = load_text(text, path)
    if document is None:
        return Sidecar(path)
    if not isinstance(document, Mapping):
        message = f"{path}:1: this is not a map of keys such as `overrides:`."
        raise JobError(message, hint="docs/overrides.md shows one.", details={"file": str(path), "line": 1})
    key = next((key for key in (uuid, name, "overrides") if key and key in document), None)
    if key is None:
        return Sidecar(path, warnings=_near_misses(document, path))
    section, line = document[key], line_of(document, key)
    if isinstance(section, Mapping):
        section, line = section.get("overrides"), line_of(section, "overrides")
    if section is None:
        return Sidecar(path, found=True)
    if not isinstance(section, list):
        return Sidecar(path, (), (f"{path.name}:{line}: {key}: expected a list of entries; none is used.",), True)
    return _entries(section, path)


def _entries(section: Sequence[Any], path: Path) -> Sidecar:
    entries, warnings, unknown = [], [], []
    lines = [line_of(section, index) for index in range(len(section))]
    for index, value in enumerate(section[:MAX_OVERRIDES]):
        alone = lines.count(lines[index]) == 1
        label = f"{path.name}:{lines[index]}" + ("" if alone else f" (entry {index + 1})")
        try:
            entries.append(parse_entry(value, label, section, index))
            unknown += [f"{key} (line {line_of(value, key)})" for key in value if key not in ENTRY_KEYS]
        except BadEntry as bad:
            at = f"{path.name}:{bad.line}" if alone else label
            warnings.append(f"{at}: {bad.key}: {bad.fault}. This entry is not used.")
    if len(section) > MAX_OVERRIDES:
        warnings.append(f"{path.name}: only the first {MAX_OVERRIDES} entries are used.")
    if unknown:
        warnings.append(f"{path.name}: VOID does not know these keys, and leaves them alone: {', '.join(unknown)}.")
    return Sidecar(path, tuple(entries), tuple(warnings), True)


# --- parts


def _kind(index: int) -> str:
    return f"override {index}"


def _readable(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return bool(stream.read(1))
    except OSError:
        return False


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _near_misses(document: Mapping[Any, Any], path: Path) -> tuple[str, ...]:
    """`overides:` must not silently do nothing."""
    for key in document:
        if get_close_matches(str(key), ["overrides"], 1, 0.75):
            return (f"{path.name}:{line_of(document, key)}: {key}: not known; is it meant to be overrides?",)
    return ()
