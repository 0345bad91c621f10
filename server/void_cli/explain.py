"""``void explain FOLDER``: where each region of a worked-out quadmask came from, frame by frame.

Promises: reads regions.json and manifest.json only, no pixels; both formats of regions.json, the plain one (pixels of
each region) and the one that names sources.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from void_client.errors import InputError
from void_client.manifest import MANIFEST, ResultManifest
from void_client.sequence import format_frames, parse_frames

from .output import Output

REGIONS = "regions.json"
_HINT_SHOWN = 40  # characters
_WORDS = {"replace": "replaces", "add": "adds", "subtract": "takes away"}


def add_commands(commands: Any) -> None:
    explain = commands.add_parser(
        "explain", help="where each region of a quadmask came from; also: void quadmask explain FOLDER"
    )
    explain.add_argument("folder", type=Path, help="what `void quadmask` or `void render` delivered")
    explain.add_argument("--frame", "--frames", dest="frames", help='these frames only: "1001" or "1001-1010,1020"')
    explain.set_defaults(run=_explain)


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """`void quadmask explain FOLDER` is `void explain FOLDER`: `quadmask` itself takes a shot file there."""
    given = list(arguments)
    return given[1:] if given[:2] == ["quadmask", "explain"] else given


def _explain(options: argparse.Namespace, output: Output) -> int:
    wanted = parse_frames(options.frames) if options.frames else None
    frames = read_regions(options.folder)
    facts, labels = _manifest(options.folder)
    shown = [each for each in frames if wanted is None or each["frame"] in wanted]
    if frames and not shown:
        raise InputError(
            f"{options.folder} has no frame {options.frames}.",
            hint=f"It has {format_frames(each['frame'] for each in frames)}.",
        )
    for line in _facts_told(facts):
        output.say(line)
    for frame in shown:
        labelled = _labelled(frame, labels)
        output.say("\n".join(_told(labelled)), **labelled)
    return 0


def read_regions(folder: Path) -> list[dict[str, Any]]:
    """Per frame ``{"frame", "regions": {name: {"pixels", "source"…}}}``. Raises ``InputError``."""
    path = folder / REGIONS
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{folder} holds no {REGIONS}.",
            hint="Name the folder that `void quadmask` wrote. A supplied quadmask has nothing to tell.",
        ) from None
    except (OSError, ValueError, RecursionError) as problem:
        raise InputError(f"{path} cannot be read: {problem}.", details={"file": str(path)}) from problem
    try:
        return [_frame(each) for each in value]
    except (TypeError, KeyError, ValueError, AttributeError) as problem:
        raise InputError(f"{path} is not what VOID writes.", details={"file": str(path)}) from problem


def _frame(value: Mapping[str, Any]) -> dict[str, Any]:
    regions = {
        str(name): dict(about) if isinstance(about, Mapping) else {"pixels": int(about)}
        for name, about in value["regions"].items()
    }
    return {**value, "frame": int(value["frame"]), "regions": regions}


def _manifest(folder: Path) -> tuple[Mapping[str, Any], list[str]]:
    """Its facts, and where each override is written. Without a manifest there is less to tell, but something."""
    if not (folder / MANIFEST).is_file():
        return {}, []
    manifest = ResultManifest.read(folder)
    overrides = manifest.job.get("overrides") or []
    return manifest.facts, [str(each.get("label", "")) if isinstance(each, Mapping) else "" for each in overrides]


def _labelled(frame: dict[str, Any], labels: list[str]) -> dict[str, Any]:
    """The overrides' numbers with the labels that the job gives them."""

    def named(about: Any) -> Any:
        if isinstance(about, list):
            return [named(each) for each in about]
        if not isinstance(about, Mapping):
            return about
        found = {key: named(value) for key, value in about.items()}
        index = found.get("override")
        if isinstance(index, int) and "label" not in found:
            found["label"] = labels[index] if 0 <= index < len(labels) else f"override {index}"
        return found

    return {key: named(value) for key, value in frame.items()}


def _facts_told(facts: Mapping[str, Any]) -> Iterator[str]:
    if facts.get("reasoner"):
        yield f"reasoner: {facts['reasoner']}"
    for warning in facts.get("warnings") or ():
        yield f"warning: {warning}"


def _told(frame: Mapping[str, Any]) -> Iterator[str]:
    yield f"frame {frame['frame']}"
    for name, about in frame["regions"].items():
        yield f"  {name:<10} {about.get('pixels', 0):>10,} px  {_who(about)}".rstrip()
        for edit in about.get("edits") or ():
            yield f"  {'':<10} {_change(edit):>13}  {_who(edit)} {_what(edit, name)}"
        for lost in about.get("outvoted") or ():
            yield f"  {'':<10} {'not used':>13}  {_who(lost)} {_what(lost, name)}"
    parts = frame.get("parts")
    if parts:
        yield "  before overrides: " + ", ".join(f"{name} {pixels:,} px" for name, pixels in parts.items())
    for each in frame.get("faults") or ():
        yield f"  not used: {each.get('label', '')}: {each.get('fault', '')}"


def _who(about: Mapping[str, Any]) -> str:
    source = str(about.get("source", ""))
    more = [str(about["label"])] if about.get("label") else []
    if isinstance(about.get("confidence"), (int, float)):
        more.append(f"confidence {about['confidence']:.2f}")
    told = f"{source} ({', '.join(more)})" if more else source
    return f"{told}, hint {_short(str(about['hint']))} ({about.get('by', '')})" if about.get("hint") else told


def _short(words: str) -> str:
    return repr(words if len(words) <= _HINT_SHOWN else words[: _HINT_SHOWN - 1] + "…")


def _what(about: Mapping[str, Any], region: str) -> str:
    """ "adds", or "keep takes away": what a word of another region does to this one."""
    said = _WORDS.get(str(about.get("mode", "replace")), str(about.get("mode")))
    other = str(about.get("region", region))
    if other == region:
        return said
    return f"by its region {other} ({about.get('mode', 'replace')})"


def _change(about: Mapping[str, Any]) -> str:
    won, lost = int(about.get("won", 0)), int(about.get("lost", 0))
    if "won" not in about:
        return ""
    return " ".join(part for part in (f"+{won:,}" if won else "", f"-{lost:,}" if lost else "") if part) or "no change"
