"""``models.lock.json``: what was fetched into the folder, by size and SHA-256. It goes with the folder."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from void_client.digest import check_digest
from void_client.errors import DiskFull, InputError

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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("w", encoding="utf-8") as stream:
                json.dump(data, stream, indent=2, sort_keys=True)
                stream.write("\n")
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: OSError) -> DiskFull | InputError:
    """A system's refusal to write, as one of ours."""
    details = {"file": str(path)}
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"The disk is full: {path} was not written.", hint="Make room, then again.", details=details)
    return InputError(
        f"{path} cannot be written ({error.strerror or error}).",
        hint="The folder must be there and may be written to.",
        details=details,
    )
