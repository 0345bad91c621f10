"""Where a private server works, and whose turn it is: one render of one output folder at a time, on one machine.

Promises: what a killed or failed render had done is found again by the next one of the same output folder; it is gone
once that has succeeded; a killed render holds nobody up.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from void_client.errors import Busy, InputError

_PATIENCE_S = 60.0


class AlreadyDone(Exception):
    """Whoever had the turn before has done it."""


@contextmanager
def work_folder(chosen: Path | None, out: Path) -> Iterator[Path]:
    """The private server's data. Without a choice it lives in the user's cache until the render has succeeded:
    what was done before a kill or a failure is then found again by the next try of the same output folder."""
    if chosen is not None:
        with turn(chosen / "render"):
            yield chosen
        return
    folder = _kept_for(out)
    with turn(folder):
        try:
            yield folder
        except (InputError, AlreadyDone):
            shutil.rmtree(folder, ignore_errors=True)  # nothing was done that another try could use
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _kept_for(out: Path) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "void"
    return cache / ("render-" + hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16])


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Wait for another of this machine that works in ``folder``, which need not be there: the lock lies beside it.

    Raises ``Busy`` where it takes long.
    """
    import fcntl

    folder.parent.mkdir(parents=True, exist_ok=True)
    give_up = time.monotonic() + _PATIENCE_S
    with folder.with_name(folder.name + ".lock").open("a") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise Busy(
                        f"Another render works in {folder}.",
                        hint="The same shot is being rendered into the same folder: wait for it, or stop it.",
                        details={"retry_after": 30.0},
                    ) from None
                time.sleep(0.1)
        yield
