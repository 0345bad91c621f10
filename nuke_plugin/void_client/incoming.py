"""Where a result's files arrive before they get their names, and what killed downloads left of that.

Promises: a download that still runs, on this machine or another, is never swept away.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

_PREFIX = ".void-incoming-"
_STALE_S = 86400.0


def incoming_folder(folder: Path) -> Path:
    """A new folder inside ``folder``, in which the stale ones are removed first. Raises ``OSError``."""
    _sweep(folder)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{socket.gethostname()}-{os.getpid()}-", dir=folder))


def _sweep(folder: Path) -> None:
    """Those of this machine's ended processes, and those a day old."""
    for half in folder.glob(f"{_PREFIX}*"):
        host, _, pid = half.name[len(_PREFIX) :].rpartition("-")[0].rpartition("-")
        try:
            ended = host == socket.gethostname() and _has_ended(int(pid))
            if ended or half.stat().st_mtime < time.time() - _STALE_S:
                shutil.rmtree(half, ignore_errors=True)
        except (OSError, ValueError):
            continue


def _has_ended(pid: int) -> bool:
    if os.name != "posix":
        return False  # asking would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
