"""The packages for Nuke's Pythons: a pinned list of wheels with their hashes, fetched by pip or found in a folder.

Promises: a wheel is used only where its SHA-256 is the pinned one, wherever it came from; pip gets argument lists; a
wheel's files stay inside of the folder that they are laid into.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Optional

from void_client.digest import sha256_file
from void_client.errors import InputError, RetryableError

from .nuke_targets import Target

_LIST = "nuke_wheels.json"
_PIP_S = 600
_SKIPPED = ("/tests/", ".data/")  # tests of the packages; scripts and headers
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Pins:
    """``targets``: name of a target → its wheels. ``sha256``: wheel → digest."""

    targets: Mapping[str, tuple[str, ...]]
    sha256: Mapping[str, str]

    def of(self, target: Target) -> tuple[str, ...]:
        """Raises ``InputError`` where the list has no such target."""
        if target.pinned not in self.targets:
            known = ", ".join(sorted(self.targets))
            raise InputError(f"There are no packages for {target.pinned}.", hint=f"There are for: {known}.")
        return self.targets[target.pinned]


def load_pins(path: Optional[Path] = None) -> Pins:
    """The list that came with this version, or a studio's own. Raises ``InputError`` naming the file."""
    try:
        text = (resources.files(__package__) / _LIST if path is None else path).read_text(encoding="utf-8")
        data = json.loads(text)
        pins = Pins({k: tuple(v) for k, v in data["targets"].items()}, dict(data["sha256"]))
        for name in (name for names in pins.targets.values() for name in names):
            if len(pins.sha256[name]) != 64 or PurePosixPath(name).name != name or len(name.split("-")) < 5:
                raise ValueError(f"{name} is not a wheel with its SHA-256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise InputError(f"The list of wheels {path or _LIST} cannot be used: {problem}.") from problem
    return pins


def collect(
    targets: Iterable[Target], pins: Pins, folder: Path, *, fetch: bool, tell: Tell = lambda text: None
) -> None:
    """Bring every wheel of ``targets`` into ``folder`` (``fetch``), or make sure that it lies there.

    Raises ``InputError`` where one lacks or is another file, ``RetryableError`` where pip cannot get it.
    """
    for target in targets:
        names = pins.of(target)
        lacking = [name for name in names if not (folder / name).is_file()]
        if lacking and not fetch:
            raise InputError(
                f"{folder} has no {lacking[0]}" + (f", and {len(lacking) - 1} more." if len(lacking) > 1 else "."),
                hint="On a machine with a package index: void nuke wheels FOLDER, then bring that folder here.",
            )
        if lacking:
            tell(f"fetching {len(lacking)} packages for {target.pinned}")
            _download(target, lacking, folder)
        for name in names:
            _verify(folder / name, pins.sha256[name])


def _verify(path: Path, digest: str) -> None:
    if not path.is_file():
        raise InputError(
            f"The package index gave another build in place of {path.name}.",
            hint="Ask your index's keeper for that file, or give a list of your own builds: --pins FILE.",
        )
    try:
        actual = sha256_file(path)
    except OSError as problem:
        raise InputError(f"{path} cannot be read: {problem.strerror}.") from problem
    if actual != digest:
        raise InputError(
            f"{path} is not the file that was tested: its SHA-256 is {actual[:16]}…, not {digest[:16]}….",
            hint="It is damaged, or somebody changed it. Delete it and fetch it again.",
            details={"file": str(path)},
        )


def _download(target: Target, names: Iterable[str], folder: Path) -> None:
    """By pip, for another Python and platform than this one: its own settings say which index."""
    requirements, tags = [], []
    for name in names:
        project, version, _, _, platform = name[: -len(".whl")].split("-")[-5:]
        requirements.append(f"{project}=={version}")
        tags += [tag for tag in platform.split(".") if tag != "any" and tag not in tags]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += [
        "--implementation",
        "cp",
        "--python-version",
        target.python,
        "--abi",
        f"cp{target.python.replace('.', '')}",
    ]
    command += [word for tag in tags or ["any"] for word in ("--platform", tag)]
    command += ["--dest", str(folder), *requirements]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise RetryableError(f"pip did not end: {problem}.", hint=_OFFLINE) from problem
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        said = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "nothing")
        raise RetryableError(f"pip could not fetch {', '.join(requirements)}: {said}", hint=_OFFLINE)


_OFFLINE = "Without a package index: void nuke install --wheels FOLDER, which `void nuke wheels` fills elsewhere."


def unpack(wheel: Path, folder: Path) -> None:
    """Lay a wheel's packages and licences into ``folder``. Raises ``InputError`` where it is none, or ``OSError``."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                parts = PurePosixPath(entry.filename).parts
                if entry.is_dir() or any(skipped in f"/{entry.filename}" for skipped in _SKIPPED):
                    continue
                if ".." in parts or PurePosixPath(entry.filename).is_absolute() or "\\" in entry.filename:
                    raise InputError(f"{wheel.name} holds a file outside of its folder: {entry.filename!r}.")
                path = folder.joinpath(*parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(entry))
    except zipfile.BadZipFile as problem:
        raise InputError(f"{wheel} is not a wheel: {problem}.") from problem
