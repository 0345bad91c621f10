"""An installation's folder: versions side by side, a pointer, a launcher, a lock.

::

    DEST/                       what NUKE_PATH names
      init.py  menu.py          the launcher: runs the version that `current` names
      current                   "void-nuke-0.1.0"
      studio.yaml  keys/        the studio's settings; kept when versions change
      void-nuke-0.1.0/          init.py menu.py void_client/ void_nuke/ gizmos/ icons/ vendor/ install.json

Promises: a version's folder appears whole and is never changed again; changing the version replaces one small file; two
installations at once do not mix; whatever fails leaves the version in use as it was. No link is made: Windows, and
file servers that serve several platforms, have none that all of them follow.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from void_client import __version__
from void_client.digest import sha256_file
from void_client.errors import Busy, DiskFull, InputError, SettingsError, is_no_room
from void_client.messages import PROTOCOL

from .nuke_targets import Target
from .nuke_wheels import Pins, unpack

CURRENT = "current"
RECORD = "install.json"
PREFIX = "void-nuke-"
MARK = "VOID for Nuke, launcher"
_INCOMING = ".incoming-"
_REMOVED = ".removed-"
_LOCK = ".lock"


@dataclass(frozen=True)
class Version:
    """One version's folder. ``targets``: the folders of packages in it. ``files``: path inside → SHA-256."""

    folder: Path
    version: str
    protocol: int
    targets: tuple[str, ...]
    files: Mapping[str, str]

    @property
    def name(self) -> str:
        """What `void nuke switch` takes: "0.1.0", "0.1.0-r2"."""
        return self.folder.name[len(PREFIX) :]

    def damaged(self) -> list[str]:
        """Files that are not as they were installed; the reason after each."""
        faults = []
        for name, digest in self.files.items():
            path = self.folder / name
            try:
                if sha256_file(path) != digest:
                    faults.append(f"{name} has been changed")
            except FileNotFoundError:
                faults.append(f"{name} is missing")
            except OSError as problem:
                faults.append(f"{name} cannot be read ({problem.strerror})")
        return faults


class Place:
    def __init__(self, dest: Path) -> None:
        self.dest = Path(os.path.abspath(os.path.expanduser(dest)))

    # --- looking

    def current(self) -> Optional[str]:
        """The folder's name that the pointer holds, whether it is there or not."""
        try:
            return (self.dest / CURRENT).read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def versions(self) -> list[Version]:
        """Every whole version, in the order of their names."""
        found = []
        for path in sorted(self.dest.glob(PREFIX + "*")):
            with contextlib.suppress(InputError):
                found.append(read_version(path))
        return found

    def version(self, name: str) -> Version:
        """Raises ``InputError`` where there is no such version here."""
        for version in self.versions():
            if name in (version.name, version.folder.name):
                return version
        known = ", ".join(version.name for version in self.versions()) or "none"
        raise InputError(f"There is no VOID {name} in {self.dest}.", hint=f"Installed: {known}.")

    # --- changing

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One change at a time; the lock goes with the process. Raises ``Busy``, ``SettingsError``, ``DiskFull``."""
        with as_plain_errors(self.dest):
            new = not self.dest.exists()
            self.dest.mkdir(parents=True, exist_ok=True)
            if new:
                _open_to_all(self.dest)
            handle = os.open(self.dest / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                if not _take(handle):
                    raise Busy(f"Another `void nuke` is changing {self.dest}.", hint="Wait until it has ended.")
                self._sweep()
                yield
            finally:
                os.close(handle)

    def add(
        self, files: Mapping[str, Path], targets: Iterable[Target], pins: Pins, wheels: Path
    ) -> tuple[Version, bool]:
        """Lay a version beside the others, without using it; (the version, whether it is new). Under the lock.

        The same content again is the same version.
        """
        self._refuse_foreign()
        incoming = self.dest / f"{_INCOMING}{os.getpid()}"
        try:
            _fill(incoming, files, targets, pins, wheels)
            made = read_version(incoming)
            for version in self.versions():
                if dict(version.files) == dict(made.files) and not version.damaged():
                    return version, False
            folder = self._free_name()
            incoming.rename(folder)
            if hasattr(os, "sync"):
                os.sync()  # the pointer must not be on disk before what it points to
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        return read_version(folder), True

    def use(self, version: Version, launcher: Mapping[str, Path]) -> None:
        """Point to a version. ``launcher``: init.py and menu.py. Under the lock."""
        self._refuse_foreign()
        for name, source in launcher.items():
            write_whole(self.dest / name, source.read_bytes())
        write_whole(self.dest / CURRENT, (version.folder.name + "\n").encode())

    def remove(self, version: Version) -> None:
        """Under the lock. Raises ``InputError`` for the one in use."""
        if version.folder.name == self.current():
            raise InputError(
                f"VOID {version.name} is in use.", hint="Switch to another first, or uninstall all: no VERSION."
            )
        self._drop(version.folder)

    def remove_all(self, *, settings: bool) -> list[str]:
        """The pointer first, so that a Nuke that starts now finds nothing rather than half. What is left, by name."""
        self._refuse_foreign()
        for name in (CURRENT, "init.py", "menu.py"):
            (self.dest / name).unlink(missing_ok=True)
        for path in sorted(self.dest.glob(PREFIX + "*")):
            self._drop(path)
        shutil.rmtree(self.dest / "__pycache__", ignore_errors=True)
        if settings:
            (self.dest / "studio.yaml").unlink(missing_ok=True)
            shutil.rmtree(self.dest / "keys", ignore_errors=True)
        left = sorted(path.name for path in self.dest.iterdir() if path.name != _LOCK)
        if not left:
            shutil.rmtree(self.dest, ignore_errors=True)
        return left

    def _drop(self, folder: Path) -> None:
        """Out of sight at once, then gone: a Nuke that runs from it keeps what it has loaded."""
        aside = folder.with_name(f"{_REMOVED}{os.getpid()}-{folder.name}")
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def _sweep(self) -> None:
        """What killed installations left. The lock says that nobody is at it."""
        for prefix in (_INCOMING, _REMOVED):
            for path in self.dest.glob(prefix + "*"):
                shutil.rmtree(path, ignore_errors=True)

    def _free_name(self) -> Path:
        folder, revision = self.dest / f"{PREFIX}{__version__}", 1
        while folder.exists():
            revision += 1
            folder = self.dest / f"{PREFIX}{__version__}-r{revision}"
        return folder

    def _refuse_foreign(self) -> None:
        for name in ("init.py", "menu.py"):
            path = self.dest / name
            if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace")[:200]:
                raise SettingsError(
                    f"{path} is not VOID's: it would be overwritten.",
                    hint=f"Give VOID a folder of its own: --dest {self.dest / 'void'}",
                )


def read_version(folder: Path) -> Version:
    """Raises ``InputError`` where the folder is not a whole version."""
    try:
        data: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return Version(folder, data["version"], data["protocol"], tuple(data["targets"]), dict(data["files"]))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise InputError(f"{folder} is not a whole installation of VOID: {problem}.") from problem


def write_whole(path: Path, data: bytes) -> None:
    """The whole file under its name, readable by all, or as it was before."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        _open_to_all(temporary)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def as_plain_errors(dest: Path) -> Iterator[None]:
    """What a system refuses, in words. Raises ``DiskFull`` or ``SettingsError``."""
    try:
        yield
    except OSError as problem:
        if is_no_room(problem):
            raise DiskFull(
                f"The disk of {dest} is full.", hint="The version in use is as it was. Make room."
            ) from problem
        where = problem.filename or dest
        raise SettingsError(
            f"{where} cannot be written: {problem.strerror or problem}.",
            hint="The version in use is as it was. Check who may write there (on Windows, also whether a Nuke runs "
            "from there), or name another folder with --dest.",
        ) from problem


def _fill(folder: Path, files: Mapping[str, Path], targets: Iterable[Target], pins: Pins, wheels: Path) -> None:
    chosen = tuple(targets)
    folder.mkdir()
    for name, source in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
    for target in chosen:
        for wheel in pins.of(target):
            unpack(wheels / wheel, folder / "vendor" / target.folder)
    digests = {}
    for path in sorted(folder.rglob("*")):
        _open_to_all(path)
        if path.is_file():
            digests[path.relative_to(folder).as_posix()] = sha256_file(path)
    _open_to_all(folder)
    record = {
        "version": __version__,
        "protocol": PROTOCOL,
        "targets": [target.pinned for target in chosen],
        "files": digests,
    }
    write_whole(folder / RECORD, (json.dumps(record, indent=1) + "\n").encode())


def _open_to_all(path: Path) -> None:
    """An artist must be able to read what a TD with a narrow umask installs."""
    if os.name == "posix":
        path.chmod(0o755 if path.is_dir() else 0o644)


def _take(handle: int) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
