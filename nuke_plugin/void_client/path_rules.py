"""A shot file's paths as this machine has them: the farm manager's path mapping rules, then the studio's own.

Promises: pure text; a path that no rule knows stays as it is; a rules file that cannot be read is told, not skipped.
Path mapping rules are OpenJD's: ``{"version": "pathmapping-1.0", "path_mapping_rules": [{"source_path_format":
"POSIX" or "WINDOWS", "source_path": …, "destination_path": …}]}``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

from .errors import JobError
from .job import OCIO_BUILTIN, ShotFile
from .path_map import PathRule, map_path, replace_prefix

VERSION = "pathmapping-1.0"
_PATHS = ("plate", "quadmask", "out", "overrides", "store", "results", "link", "ocio")
"""The keys of a shot file that hold paths, besides those of its masks."""
VARIABLE = "VOID_PATH_MAPPING"
"""The environment variable that names the rules file where no option does."""


@dataclass(frozen=True)
class FarmRule:
    """What begins with ``source`` lies under ``destination`` on this machine."""

    source: str
    destination: str


@dataclass(frozen=True)
class PathRules:
    """``farm``: of the farm manager, for this task. ``studio``: folders by their names on each platform."""

    farm: tuple[FarmRule, ...] = ()
    studio: tuple[PathRule, ...] = ()

    def localised(self, path: str) -> str:
        """``path`` as this machine has it; the rule with the longest source counts, the farm's before the studio's."""
        for rule in sorted(self.farm, key=lambda rule: -len(rule.source)):
            mapped = replace_prefix(path, rule.source, rule.destination)
            if mapped is not None:
                return mapped
        return map_path(path, self.studio)

    def shot(self, shot: ShotFile) -> ShotFile:
        """The shot with every path in it localised."""
        return with_paths(shot, self.localised)


def with_paths(shot: ShotFile, change: Callable[[str], str]) -> ShotFile:
    """The shot with every path in it changed."""
    changes: dict[str, Any] = {
        key: change(value)
        for key in _PATHS
        for value in [getattr(shot, key)]
        if value and not (key == "ocio" and value.startswith(OCIO_BUILTIN))
    }
    if shot.masks is not None:
        paths = {key: getattr(shot.masks, key) for key in ("matte", "affected", "analysis")}
        mapped: dict[str, Any] = {key: change(value) for key, value in paths.items() if value}
        changes["masks"] = replace(shot.masks, **mapped)
    return replace(shot, **changes)


def paths_of(shot: ShotFile) -> dict[str, str]:
    """Every path that the shot file names, by its key: what a farm job has to bring, or to find, on the worker."""
    found = {key: getattr(shot, key) for key in _PATHS}
    if shot.masks is not None:
        found.update({f"masks.{key}": getattr(shot.masks, key) for key in ("matte", "affected", "analysis")})
    return {key: value for key, value in found.items() if value and not str(value).startswith(OCIO_BUILTIN)}


def read_rules(path: Path) -> tuple[FarmRule, ...]:
    """Raises ``JobError`` naming the file, and the rule that cannot be used."""
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as problem:
        raise _bad(path, f"cannot be read: {problem}") from problem
    if not isinstance(value, Mapping):
        raise _bad(path, "is not a map of keys")
    if value.get("version", VERSION) != VERSION:
        raise _bad(path, f"is of version {value.get('version')!r}; this program reads {VERSION}")
    rules = value.get("path_mapping_rules", [])
    if not isinstance(rules, Sequence) or isinstance(rules, str):
        raise _bad(path, "has no list of path_mapping_rules")
    return tuple(_rule(path, number, rule) for number, rule in enumerate(rules, 1))


def _rule(path: Path, number: int, value: Any) -> FarmRule:
    keys = ("source_path", "destination_path")
    texts = [str(value[key]) for key in keys if value.get(key)] if isinstance(value, Mapping) else []
    if len(texts) != 2:
        raise _bad(path, f"rule {number} lacks source_path or destination_path")
    if value.get("source_path_format", "POSIX") not in ("POSIX", "WINDOWS"):
        raise _bad(path, f"rule {number}: source_path_format is neither POSIX nor WINDOWS")
    return FarmRule(*texts)


def load_rules(given: Optional[Path], environment: Mapping[str, str]) -> PathRules:
    """Of the file ``given``, or that of ``VOID_PATH_MAPPING``; and of the studio's settings. Raises ``JobError``,
    ``SettingsError``."""
    from .studio import load_plugin_settings

    named = environment.get(VARIABLE)
    file = given if given is not None else Path(os.path.expanduser(named)) if named else None
    return PathRules(read_rules(file) if file is not None else (), load_plugin_settings(environment).path_map)


def _bad(path: Path, fault: str) -> JobError:
    return JobError(f"The path mapping {path} {fault}.", hint="docs/farm.md shows one.", details={"file": str(path)})
