"""Work on pictures in a process of its own, for the command line: ``python -m void_engine.looking WHAT OPTIONS``.

WHAT is compare or unpack, OPTIONS are JSON.

Promises: stdout holds one JSON object a line: ``{"progress": [step, of, note]}``, then ``{"done": what it gives}`` or
``{"error": wire form}``. It ends, cleaning up, when its stdin closes: with whoever started it.
Must not: print anything else there.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from void_client.errors import Cancelled, VoidError

from void_engine.looking.compare import CompareOptions, compare
from void_engine.looking.unpack import UnpackOptions, unpack


def main() -> int:
    # Libraries below write to descriptor 1 as they please; the lines go where it pointed.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    stopped = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(stopped,), daemon=True).start()

    def say(value: dict[str, Any]) -> None:
        lines.write(json.dumps(value, allow_nan=False) + "\n")
        lines.flush()

    def check() -> None:
        if stopped.is_set():
            raise Cancelled("It was cancelled.")

    try:
        what, given = sys.argv[1], json.loads(sys.argv[2])
        say({"done": _work(what, given, lambda step, of, note: say({"progress": [step, of, note]}), check)})
    except VoidError as error:
        say({"error": error.to_wire()})
        return error.exit_code
    except BrokenPipeError:
        return Cancelled.exit_code  # nobody listens any more
    return 0


def _work(
    what: str, given: dict[str, Any], progress: Callable[[int, int, str], None], check: Callable[[], None]
) -> dict[str, Any]:
    if what == "unpack":
        return unpack(UnpackOptions(**given), progress, check)
    return compare(CompareOptions(**given), progress, check)


def _wait_for_the_end(stopped: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    stopped.set()


if __name__ == "__main__":
    sys.exit(main())
