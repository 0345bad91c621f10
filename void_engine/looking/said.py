"""What a result of VOID says of itself: which engine made it, and what its colour is.

Promises: the manifest counts; frames that have lost it are asked by their own ``void/*`` attributes; a clip that says
nothing has an empty answer. Must not: believe a name to be a path, or read pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from void_engine.plates.header import PlateHeader

_PREFIX: Final = "void/"
_BUILTIN: Final = "ocio://"
_MODEL: Final = "model."


@dataclass(frozen=True)
class Said:
    """``facts``: ``void/*`` without the prefix. ``job``: the content hash of the job, where a manifest tells it."""

    facts: Mapping[str, str] = field(default_factory=dict)
    job: str = ""

    @property
    def space(self) -> str:
        """The working space's own name; "" is linear with Rec.709 primaries, or not known."""
        return self.facts.get("workingSpace", "")

    @property
    def ocio(self) -> str:
        """The configuration's name: ``ocio://…`` where it is built into OCIO, else what a file calls itself."""
        return self.facts.get("ocio", "")

    @property
    def builtin(self) -> bool:
        return self.ocio.startswith(_BUILTIN)

    def made(self) -> dict[str, Any] | None:
        """For reports and credentials: engine, its version, the job and the models' digests. None: no result."""
        engine = self.facts.get("engine", "")
        if not engine:
            return None
        models = {name.removeprefix(_MODEL): value for name, value in self.facts.items() if name.startswith(_MODEL)}
        version = self.facts.get("engineVersion", "")
        return {"engine": engine, "engine_version": version, "job": self.job, "models": models, "space": self.space}


def said_by(files: Sequence[Path], header: PlateHeader) -> Said:
    """What is said of a sequence. ``files``: its frames; ``header``: of one of them."""
    found = _of_manifest(files)
    return found if found is not None else Said(_of_header(header))


def _of_manifest(files: Sequence[Path]) -> Said | None:
    """None where there is no manifest beside the frames, or it is none of these frames'."""
    try:
        value = json.loads((files[0].parent / "manifest.json").read_text(encoding="utf-8"))
        named = {str(frame["name"]) for frame in value["frames"]}
        facts, job = value["facts"], str(value["content_hash"])
        if not named.issuperset(path.name for path in files):
            return None
        return Said(_known(facts), job)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # whoever reads the frames tells what is wrong with it


def _of_header(header: PlateHeader) -> dict[str, str]:
    return _known({each.name: each.value() for each in header.parts[0].attributes if each.name.startswith(_PREFIX)})


def _known(facts: Mapping[str, Any]) -> dict[str, str]:
    return {
        name.removeprefix(_PREFIX): value
        for name, value in facts.items()
        if name.startswith(_PREFIX) and isinstance(value, str)
    }
