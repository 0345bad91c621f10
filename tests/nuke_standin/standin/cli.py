"""The command line of Nuke, as far as farms, tools and terminals use it. Run through `fake-nuke`."""

from __future__ import annotations

import importlib.machinery
import os
import re
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import Any, Optional

from . import app, execute, files, resolve, threads
from .errors import StandinError
from .ranges import FrameRanges
from .state import S

HIDDEN = "void_client,void_nuke,zmq,msgpack,ruamel"
NO_LICENCE = 100


@dataclass
class Options:
    terminal: bool = False
    render: bool = False
    interactive: bool = False
    quiet: bool = False
    proxy: Optional[bool] = None
    go_on: bool = False
    indie: bool = False
    verbosity: int = 0
    frames: list = field(default_factory=list)
    nodes: list = field(default_factory=list)
    views: list = field(default_factory=list)
    script: str = ""
    rest: list = field(default_factory=list)


class UsageError(Exception):
    """A command line that Nuke does not take."""


def parse(arguments: list) -> Options:
    """Options stand before the script; what follows it belongs to the script."""
    options, words = Options(), list(arguments)
    while words:
        word = words.pop(0)
        if not word.startswith("-") or word == "-":
            options.script, options.rest = word, words
            break
        if word.startswith("--"):
            _long(options, word[2:], words)
        else:
            _short(options, word[1:], words)
    if options.render and not options.script:
        raise UsageError("-x needs a script")
    return options


def _long(options: Options, name: str, words: list) -> None:
    if name == "cont":
        options.go_on = True
    elif name in ("indie", "nukeindie"):
        options.indie = True
    elif name == "view":
        options.views += _value(words, "--view").split(",")
    elif name == "version":
        raise SystemExit(print_banner())
    elif name not in (
        "nukex",
        "studio",
        "safe",
        "nc",
        "nocrashprompt",
        "crashhandling",
        "gpu",
        "multigpu",
        "disable-nuke-frameserver",
    ):
        raise UsageError(f"unknown option --{name}")


def _short(options: Options, letters: str, words: list) -> None:
    for index, letter in enumerate(letters):
        rest = letters[index + 1 :]
        if letter in "FXVmcvs":
            value = rest or _value(words, f"-{letter}", optional=letter == "V")
            _with_value(options, letter, value)
            return
        if letter == "t":
            options.terminal = True
        elif letter == "x":
            options.render = True
        elif letter == "i":
            options.interactive = True
        elif letter == "q":
            options.quiet = True
        elif letter in "fp":
            options.proxy = letter == "p"
        elif letter not in "nb":
            raise UsageError(f"unknown option -{letter}")


def _value(words: list, option: str, optional: bool = False) -> str:
    if not words or (optional and not words[0].isdigit()):
        if optional:
            return "2"
        raise UsageError(f"{option} needs a value")
    return str(words.pop(0))


def _with_value(options: Options, letter: str, value: str) -> None:
    if letter == "F":
        options.frames.append(value)
    elif letter == "X":
        options.nodes, options.render = value.split(","), True
    elif letter == "V":
        options.verbosity = int(value)
    elif letter == "v":
        options.views += value.split(",")


def print_banner() -> int:
    """What Nuke says when it starts."""
    major, minor, release = S.version
    say(f"Nuke {major}.{minor}v{release}, 64 bit, a stand-in for tests.")
    return 0


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class HiddenModules:
    """Nuke's Python lacks these modules: they are found only where the plugin or PYTHONPATH brings them."""

    def __init__(self, names: set) -> None:
        self.names = names
        own = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        self.known = {p for p in sys.path if p not in own}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """A module's place, from the paths that were added since the start."""
        if path is not None or name not in self.names:
            return None
        brought = [p for p in sys.path if p not in self.known]
        found = importlib.machinery.PathFinder.find_spec(name, brought, target)
        if found is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return found


def main(arguments: list) -> int:
    """Run; the process's exit code."""
    try:
        options = parse(arguments)
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    hidden = {n for n in os.environ.get("FAKE_NUKE_HIDE", HIDDEN).split(",") if n}
    sys.meta_path.insert(0, HiddenModules(hidden))  # type: ignore[arg-type]
    gui = not options.terminal and not options.render
    major = int(os.environ.get("FAKE_NUKE_VERSION", "16"))
    app.reset(gui=gui, indie=options.indie, version=(major, 0, 3))
    S.raw_args = arguments
    app._constants()
    print_banner()
    if not _licensed(options, gui):
        return NO_LICENCE
    try:
        app.start(_folders())
        return _run(options, gui)
    except SystemExit as done:
        return int(done.code or 0)
    except BaseException as error:  # noqa: BLE001 - Nuke prints it and ends
        traceback.print_exc()
        return 130 if isinstance(error, KeyboardInterrupt) else 1


def _licensed(options: Options, gui: bool) -> bool:
    """FAKE_NUKE_LICENCES names the licences that the machine has: nuke_i (interactive), nuke_r (render)."""
    have = os.environ.get("FAKE_NUKE_LICENCES", "nuke_i,nuke_r").split(",")
    needed = "nuke_i" if gui or options.interactive else "nuke_r"
    if needed in have:
        return True
    sys.stderr.write(f"FOUNDRY LICENSE ERROR REPORT: no licence for {needed} was found\n")
    return False


def _folders() -> list:
    home = os.path.join(os.path.expanduser("~"), ".nuke")
    folders = [p for p in os.environ.get("NUKE_PATH", "").split(os.pathsep) if p]
    return folders + ([home] if os.path.isdir(home) else [])


def _run(options: Options, gui: bool) -> int:
    if options.script.endswith(".py"):
        _run_python(options.script, options.rest)
        return 0
    if options.script and options.script != "-":
        if not os.path.isfile(options.script):
            sys.stderr.write(f"{options.script}: No such file or directory\n")
            return 1
        files.script_open(options.script)
    if options.proxy is not None:
        S.root._knobs["proxy"].setValue(options.proxy)
    if options.render:
        return _render(options)
    if gui:
        return _be_the_artist()
    _run_text(sys.stdin.read(), "<stdin>")
    return 0


def _be_the_artist() -> int:
    """A GUI needs somebody in front of it: FAKE_NUKE_ARTIST is a Python file with what they do."""
    path = os.environ.get("FAKE_NUKE_ARTIST", "")
    if not path:
        sys.stderr.write("could not connect to display: set FAKE_NUKE_ARTIST to a script that acts\n")
        return 1
    _run_python(path, [])
    threads.pump()
    return 0


def _run_python(path: str, arguments: list) -> None:
    if arguments and re.fullmatch(r"-?\d+([,-]-?\d+)?(x\d+)?", arguments[-1]):
        arguments = arguments[:-1]  # Nuke takes a number or range at the end for itself
    sys.argv = [path, *arguments]
    with open(path, encoding="utf-8") as file:
        _run_text(file.read(), path)


def _run_text(text: str, name: str) -> None:
    import nuke

    import __main__

    space = __main__.__dict__
    space.update({"nuke": nuke, "__file__": name, "__name__": "__main__"})
    exec(compile(text, name, "exec"), space)


def _frames(options: Options) -> list:
    """-F's ranges, or what stands behind the script, or the script's own range."""
    words = list(options.frames)
    if not words and options.rest:
        words = [w.replace(",", "-", 1).replace(",", "x", 1) for w in options.rest]
    if not words:
        return list(range(S.root.firstFrame(), S.root.lastFrame() + 1))
    return FrameRanges(" ".join(words)).toFrameList()


def _render(options: Options) -> int:
    """-x: every enabled Write, groups' inner ones included; -X: those named."""
    try:
        writes = [resolve.node(S.root, name) for name in options.nodes] if options.nodes else execute.all_writes()
        frames = _frames(options)
    except (NameError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if not writes:
        sys.stderr.write("no executable Write nodes\n")
        return 1
    began, failed = time.monotonic(), 0
    for write in writes:
        failed += _render_one(write, frames, options)
        if failed and not options.go_on:
            break
    if not options.quiet:
        say(f"Total render time: {time.monotonic() - began:.2f} seconds")
    return 1 if failed else 0


def _render_one(write: Any, frames: list, options: Options) -> int:
    """One Write; 1 when something of it failed."""
    S.tell = None if options.quiet else say
    try:
        execute.execute_nodes([write], frames, options.views or None, options.go_on)
    except StandinError:
        raise
    except RuntimeError as error:
        if not options.go_on or options.quiet:
            say(f"ERROR: {error}")
        return 1
    finally:
        S.tell = None
    return 0
