"""Files that are whole or not there: a temporary name, fsync, rename, fsync of the folder.

Promises: after a kill, a power cut or a full disk, the file at ``path`` is the old one or the new one. A full disk is
``DiskFull``, and leaves no partial file. Must not: create folders or delete what it did not write.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterable
from pathlib import Path

from void_client.errors import DiskFull, InputError, is_no_room

_turn = itertools.count()


def write_atomically(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Writes the chunks, in order, as the file ``path``; its folder must be there.

    Raises ``DiskFull``, or ``InputError`` (details: file) where the system refuses for another reason.
    """
    # Unique within the machine: two processes, or two threads, may write the same frame; the last one wins whole.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{next(_turn)}.tmp")
    try:
        try:
            with open(temporary, "xb", buffering=0) as file:
                for chunk in chunks:
                    _write_all(file.fileno(), chunk)
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: OSError) -> DiskFull | InputError:
    """The system's refusal to write ``path``, as one of ours (details: file)."""
    details = {"file": str(path)}
    if is_no_room(error):
        return DiskFull(f"The disk is full: {path} was not written.", hint="Make room.", details=details)
    return InputError(
        f"{path} cannot be written ({error.strerror or error}).",
        hint="Check that the folder is there and may be written to.",
        details=details,
    )


def _write_all(descriptor: int, chunk: bytes | memoryview) -> None:
    """One write takes 2 GiB at most and may take less than it was given."""
    rest = memoryview(chunk).cast("B")
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems know no fsync on a folder: there the rename is as safe as it gets.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
