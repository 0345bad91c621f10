"""Work on pictures for the command line, in a child (`void_engine.looking`) that ends with us.

Promises: no pixel library is loaded in this process; Ctrl-C ends the child, which leaves no half file.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import IO, Any

from void_client.errors import EngineUnavailable, WorkerDied, from_wire

from .output import Output

_NEEDED = ("numpy", "cv2", "OpenEXR", "OpenImageIO")
_PATIENCE_S = 20.0  # for a child that was told to stop; one frame of 8K takes less


def require_pixels(cannot: str) -> None:
    """Raises ``EngineUnavailable`` beginning with ``cannot`` where the packages are missing."""
    lacking = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if sys.version_info < (3, 11):
        lacking.insert(0, "Python 3.11")
    if lacking:
        raise EngineUnavailable(
            f"{cannot}: it lacks {', '.join(lacking)}.",
            hint="It needs Python 3.11 or later and: pip install 'void-nuke[plates]'.",
        )


def in_a_child(what: str, given: Mapping[str, Any], output: Output) -> dict[str, Any]:
    """``what``: see `void_engine.looking.__main__`. Gives what the child gave.

    Raises what the child raised, or ``WorkerDied``.
    """
    command = [sys.executable, "-m", "void_engine.looking", what, json.dumps(given)]
    with tempfile.TemporaryFile() as said:
        # A session of its own: Ctrl-C reaches us, and we close its stdin.
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, start_new_session=True
        )
        try:
            assert child.stdout is not None
            for line in child.stdout:
                message = json.loads(line)
                if "progress" in message:
                    output.bar(what, *message["progress"])
                elif "error" in message:
                    raise from_wire(message["error"])
                elif "done" in message:
                    return dict(message["done"])
            code = child.wait()
            raise _died(code, said)
        finally:
            _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Closing its stdin asks it to stop; it removes what is half."""
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            stream.close()
    try:
        child.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _died(code: int, said: IO[bytes]) -> WorkerDied:
    said.seek(0)
    tail = said.read().decode(errors="replace").strip().splitlines()[-3:]
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return WorkerDied(
        f"The process for pictures ended by itself ({how}).", hint=" / ".join(tail), details={"exit": code}
    )
