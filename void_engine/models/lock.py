"""``models.lock.json``: what was fetched into the folder, by size and SHA-256. It goes with the folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from void_client.digest import check_digest
from void_client.errors import InputError

from void_engine.atomic import write_atomically

NAME = "models.lock.json"
_VERSION = 1


@dataclass(frozen=True)
class LockedFile:
    size: int
    sha256: str


@dataclass(frozen=True)
class LockedModel:
    """``files``: where they lie, relative to the models' folder."""

    repository: str
    revision: str
    files: Mapping[str, LockedFile] = field(default_factory=dict)


def read_lock(root: Path) -> dict[str, LockedModel]:
    """Model name → what was fetched; nothing where no fetch ever was. Raises ``InputError`` for a damaged lock."""
    path = root / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).", details={"file": str(path)}) from error
    try:
        data = json.loads(text)
        if data["version"] != _VERSION:
            raise ValueError(f"version {data['version']!r}")
        return {str(name): _model(entry) for name, entry in data["models"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is damaged ({error}).",
            hint="Remove it: `void models fetch` checks every file against the hub and writes it anew.",
            details={"file": str(path)},
        ) from error


def _model(entry: Mapping[str, Any]) -> LockedModel:
    files = {}
    for name, value in entry["files"].items():
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts:
            raise ValueError(f"{name!r} is outside the folder")
        files[name] = LockedFile(int(value["size"]), check_digest(value["sha256"]))
    return LockedModel(str(entry["repository"]), str(entry["revision"]), files)


def write_lock(root: Path, models: Mapping[str, LockedModel]) -> None:
    data = {"version": _VERSION, "models": {name: asdict(models[name]) for name in sorted(models)}}
    write_json(root / NAME, data)


def write_json(path: Path, data: Any) -> None:
    """The old file or the new one, never half of one. Raises ``DiskFull`` or ``InputError``."""
    write_atomically(path, [(json.dumps(data, indent=2, sort_keys=True) + "\n").encode()])
