"""Arguments in, exit code out: 0 done, 2 bad input, 3 retryable, 4 failed, 5 cancelled."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from void_client import __version__
from void_client.errors import Cancelled, VoidError

from . import admin, batch, compare, explain, jobs, local, models, nuke, support, verify
from .output import Output


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="void", description="Removes an object from a shot, and everything that it caused."
    )
    top.add_argument("--version", action="version", version=f"void {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for room in (local, batch, jobs, admin, models, support, explain, compare, verify, nuke):
        room.add_commands(commands)
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="one JSON object a line on stdout, for machines")
        command.add_argument("--verbose", "-v", action="store_true", help="log what happens, on stderr")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script."""
    options = parser().parse_args(explain.spelled_out(sys.argv[1:] if arguments is None else arguments))
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    output = Output(as_json=options.json, farm=getattr(options, "progress", None) or "")
    try:
        return int(options.run(options, output) or 0)
    except VoidError as error:
        output.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        output.error(Cancelled("Interrupted."))
        return Cancelled.exit_code
    except BrokenPipeError:
        # The reader has gone (`void status | head`): nothing is wrong, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
