"""The main paths of VOID in a real Nuke, for people who have a licence:

    nuke -t tests/licensed/smoke.py [--connection connection.yaml] [--out FOLDER] [--render [NUKE]]

``--connection``: the file that `void serve` wrote; without it the plugin's own settings count. ``--out``: where the
project goes; a temporary folder without it. ``--render``: also start `nuke -x`, which takes a second licence. Prints a
report that can be sent on, and ends with the number of checks that failed. docs/td.md tells more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, Callable

_CHECKOUT = Path(__file__).resolve().parents[2]
try:
    import void_nuke  # noqa: F401 - by NUKE_PATH, as artists have it

    _INSTALLED = True
except ImportError:
    _INSTALLED = False  # the checkout's
sys.path.insert(0, str(_CHECKOUT / "tests" / "nuke" / "plugin"))
if not _INSTALLED:
    sys.path.insert(0, str(_CHECKOUT / "nuke_plugin"))

import nuke  # noqa: E402 - the plugin's folder first

FIRST, LAST = 1001, 1006
CHECKS: list[tuple[str, Callable[[Session], str]]] = []


def check(what: str) -> Callable[[Callable[[Session], str]], Callable[[Session], str]]:
    """One line of the report. The function returns what it found; an exception is a failure, and the rest goes on."""

    def add(function: Callable[[Session], str]) -> Callable[[Session], str]:
        CHECKS.append((what, function))
        return function

    return add


class Session:
    """What the checks share: the project's folder, the nodes."""

    def __init__(self, folder: Path, render: str) -> None:
        self.folder, self.render = folder, render
        self.node: Any = None
        self.read: Any = None

    def write(self, source: Any, name: str, channels: str = "rgb") -> list[bytes]:
        """Render a picture uncompressed; each frame's pixels as bytes."""
        write = nuke.nodes.Write(inputs=[source], file=f"{(self.folder / name).as_posix()}/f.%04d.exr", file_type="exr")
        knobs = {"channels": channels, "raw": True, "datatype": "16 bit half", "compression": "none"}
        for knob, value in {**knobs, "create_directories": True}.items():
            write[knob].setValue(value)
        nuke.execute(write, FIRST, LAST, 1)
        nuke.delete(write)
        return [pixels(self.folder / name / f"f.{frame:04d}.exr") for frame in range(FIRST, LAST + 1)]


@check("the plugin's packages")
def packages(_: Session) -> str:
    from void_client import __version__, vendor

    problem = "" if _INSTALLED else vendor.activate(str(_CHECKOUT / "nuke_plugin"))
    import msgpack
    import zmq

    versions = f"pyzmq {zmq.__version__}, msgpack {'.'.join(map(str, msgpack.version))}"
    where = "installed" if _INSTALLED else "of the checkout"
    return f"VOID {__version__}, {where}, {versions}{f' ({problem})' if problem else ''}"


@check("the gizmo loads, and has every knob of its description")
def gizmo(session: Session) -> str:
    from small_shots import write_plate
    from void_nuke import description

    if not _INSTALLED:
        nuke.pluginAddPath((_CHECKOUT / "gizmos").as_posix())
    pattern = write_plate(session.folder / "plate")
    nuke.scriptSaveAs((session.folder / "smoke_v001.nk").as_posix(), 1)
    session.read = nuke.nodes.Read(file=pattern, first=FIRST, last=LAST, origfirst=FIRST, origlast=LAST)
    root = nuke.root()
    root["first_frame"].setValue(FIRST)
    root["last_frame"].setValue(LAST)
    session.node = nuke.createNode("VOID", inpanel=False)
    session.node.setInput(0, session.read)
    lacking = [knob.name for knob in description.knobs() if session.node.knob(knob.name) is None]
    assert not lacking, f"missing: {lacking}"
    kinds = {knob.name: session.node[knob.name].Class() for knob in description.knobs()}
    odd = {name: kind for name, kind in kinds.items() if kind == "Obsolete_Knob"}
    assert not odd, f"Nuke does not know the kinds of {odd}"
    return f"{len(kinds)} knobs, {session.node.numNodes()} nodes inside, uuid {session.node['void_uuid'].value()[:8]}…"


@check("what Nuke writes of it, Nuke reads back")
def saved(session: Session) -> str:
    before = {name: knob.toScript() for name, knob in session.node.knobs().items() if name not in ("xpos", "ypos")}
    nuke.scriptSave()
    path = nuke.root().name()
    nuke.scriptClear()
    nuke.scriptOpen(path)
    session.node, session.read = nuke.toNode("VOID1"), nuke.toNode("Read1")
    after = {name: knob.toScript() for name, knob in session.node.knobs().items() if name in before}
    changed = [name for name in after if after[name] != before[name]]
    assert not changed, f"changed: {changed}"
    return f"{len(before)} knobs"


@check("an untouched Read is recognised, with the script's colours")
def untouched(session: Session) -> str:
    from void_nuke import plate

    nuke.frame(1003)
    pattern = plate.pattern_of(session.read)
    assert "%04d" in pattern, f"the frame's number is in the Read's path: {pattern}"
    found = plate.untouched_files(session.read, tuple(range(FIRST, LAST + 1)))
    colour = plate.colour()
    assert found, (
        f"colorspace {session.read['colorspace'].value()!r} against {nuke.root()['workingSpaceLUT'].value()!r}"
    )
    one = nuke.filename(session.read, nuke.REPLACE)
    return f"{one}: working space {colour.space or 'linear Rec.709'}, configuration {colour.ocio or 'its own'}"


@check("the fingerprint of the node stands still, and moves with a knob and with what is upstream")
def fingerprint(session: Session) -> str:
    from void_nuke import staleness
    from void_nuke.node import VoidNode

    node = VoidNode(session.node)
    first = staleness.fingerprint(node)
    nuke.frame(1004)
    session.node.setXYpos(300, 300)
    assert staleness.fingerprint(node) == first, "another frame or place is another fingerprint"
    session.node["seed"].setValue(7)
    assert staleness.fingerprint(node) != first, "a knob does not count"
    session.node["seed"].setValue(42)
    assert staleness.fingerprint(node) == first, "putting it back does not count"
    grade = nuke.nodes.Grade(inputs=[session.read])
    session.node.setInput(0, grade)
    assert staleness.fingerprint(node) != first, "a Grade does not count"
    grade["multiply"].setExpression("root.first_frame / 2000")
    asks = staleness.fingerprint(node)
    nuke.frame(1005)
    assert staleness.fingerprint(node) == asks, "what an expression asks of the Root hangs on the frame shown"
    session.node.setInput(0, session.read)
    nuke.delete(grade)
    assert staleness.fingerprint(node) == first
    return f"{first[:12]}…, opHashes {len(session.read.opHashes())}"


@check("the server answers")
def server(session: Session) -> str:
    from void_nuke import actions

    actions.test_server(session.node)
    said = str(session.node["server_said"].value())
    assert "answers in" in said, said
    return said.splitlines()[0]


@check("a click becomes a clean plate")
def solve(session: Session) -> str:
    from small_shots import point
    from void_nuke import actions

    nuke.frame(1003)
    session.node["point"].setValue(point(1003))
    actions.add_point(session.node, True)
    version = actions.solve_headless(session.node)
    assert str(session.node["status"].value()).startswith("ready v001"), session.node["status"].value()
    return f"{version.name}, {len(version.frames)} frames, {session.node['clicks_shown'].value()}"


@check("outside of the matte every bit is the Read's; inside the object is gone")
def outside(session: Session) -> str:
    plates, results = session.write(session.read, "plate_out"), session.write(session.node, "comp_out")
    session.node["output"].setValue("generated matte")
    mattes = session.write(session.node, "matte_out")
    session.node["output"].setValue("composite")
    kept = changed = 0
    for plate, result, matte in zip(plates, results, mattes):
        for at in range(0, len(plate), 2):
            if matte[at : at + 2] == b"\0\0":
                assert plate[at : at + 2] == result[at : at + 2], f"a kept value differs at byte {at}"
                kept += 1
            else:
                changed += plate[at : at + 2] != result[at : at + 2]
    assert changed > 100, "nothing was removed"
    return f"{kept} values kept, {changed} changed"


@check("the same solve is the same version, a change the next, and versions switch")
def versions(session: Session) -> str:
    from void_nuke import actions, results
    from void_nuke.node import VoidNode

    first = session.node["result_file"].value()
    assert actions.solve_headless(session.node).name == "v001"
    session.node["grow"].setValue(2)
    assert actions.solve_headless(session.node).name == "v002"
    session.node["version"].setValue("v001")
    results.switch(VoidNode(session.node))
    assert session.node["result_file"].value() == first
    session.node["grow"].setValue(0)
    return ", ".join(session.node["version"].values())


@check("a graded plate and a matte on input 2 are exported by the node's own Writes")
def exported(session: Session) -> str:
    from small_shots import write_matte
    from void_nuke import actions

    grade = nuke.nodes.Grade(inputs=[session.read])
    grade["multiply"].setValue(0.5)
    pattern = write_matte(session.folder / "matte", (30, 40, 60, 50))
    matte = nuke.nodes.Read(file=pattern, first=FIRST, last=LAST, origfirst=FIRST, origlast=LAST)
    session.node.setInput(0, grade)
    session.node.setInput(2, matte)
    shot = actions.shot_file(session.node)
    again = actions.shot_file(session.node)
    assert shot["plate"] == again["plate"], "exported twice"
    assert "/exports/" in shot["plate"]
    assert "/exports/" in shot["masks"]["affected"]
    assert session.node.node("ExportPlate")["disable"].value(), "the Write was left on"
    version = actions.solve_headless(session.node)
    session.node.setInput(0, session.read)
    session.node.setInput(2, None)
    return f"{version.name} from {Path(shot['plate']).parent.name}"


@check("proxy mode is refused, and left on")
def proxy(session: Session) -> str:
    from void_client.errors import InputError
    from void_nuke import actions

    nuke.root()["proxy"].setValue(True)
    try:
        actions.solve_headless(session.node)
    except InputError as error:
        assert nuke.root()["proxy"].value()
        return str(error)
    finally:
        nuke.root()["proxy"].setValue(False)
    raise AssertionError("it was solved")


@check("the saved script renders where neither plugin nor server is (--render)")
def rendered(session: Session) -> str:
    if not session.render:
        return "left out: start with --render"
    write = nuke.nodes.Write(
        inputs=[session.node], file=f"{(session.folder / 'farm').as_posix()}/f.%04d.exr", file_type="exr"
    )
    write["create_directories"].setValue(True)
    nuke.scriptSave()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("VOID_", "NUKE_PATH", "PYTHONPATH"))}
    command = [session.render, "-x", "-F", f"{FIRST}-{LAST}", nuke.root().name()]
    done = subprocess.run(command, env=kept, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-800:] + done.stderr[-800:]
    return f"{len(list((session.folder / 'farm').glob('f.*.exr')))} frames"


# --- reading what Nuke wrote


def pixels(path: Path) -> bytes:
    """The scanlines of an uncompressed EXR, without its header: equal pixels are equal bytes."""
    data = path.read_bytes()
    at = 8
    height = 0
    while data[at]:
        name_end = data.index(b"\0", at)
        kind_end = data.index(b"\0", name_end + 1)
        (size,) = struct.unpack_from("<I", data, kind_end + 1)
        value = data[kind_end + 5 : kind_end + 5 + size]
        if data[at:name_end] == b"dataWindow":
            box = struct.unpack("<iiii", value)
            height = box[3] - box[1] + 1
        if data[at:name_end] == b"compression":
            assert value == b"\0", f"{path} is compressed"
        at = kind_end + 5 + size
    at += 1 + 8 * height
    rows = []
    for _ in range(height):
        (size,) = struct.unpack_from("<I", data, at + 4)
        rows.append(data[at + 8 : at + 8 + size])
        at += 8 + size
    return b"".join(rows)


# --- the run


def settle(options: argparse.Namespace) -> Path:
    """The project's folder; and the server in the environment, where the plugin looks."""
    folder = Path(options.out or tempfile.mkdtemp(prefix="void-smoke-"))
    folder.mkdir(parents=True, exist_ok=True)
    if options.connection:
        from void_client.settings import load_client_settings

        settings = load_client_settings({}, {}, Path(options.connection))
        os.environ["VOID_NUKE_ENDPOINT"] = settings.endpoint
        os.environ["VOID_NUKE_SERVER_KEY"] = str(settings.server_key)
        os.environ["VOID_NUKE_KEY_FILE"] = str(settings.key_file)
    return folder


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="nuke -t smoke.py", description=__doc__.splitlines()[0])
    parser.add_argument("--connection", help="the connection.yaml of the server")
    parser.add_argument("--out", help="folder of the project")
    parser.add_argument("--render", nargs="?", const=nuke.EXE_PATH, default="", help="also start this nuke with -x")
    options = parser.parse_args(arguments)
    say(f"VOID in Nuke {nuke.NUKE_VERSION_STRING}, Python {platform.python_version()}, {platform.platform()}")
    folder = settle(options)
    session, told, failed = Session(folder, options.render), [], 0
    for what, function in CHECKS:
        began = time.monotonic()
        try:
            found, ok = function(session), True
        except Exception as error:  # noqa: BLE001 - each check stands alone
            found, ok = f"{type(error).__name__}: {error}", False
            failed += 1
            traceback.print_exc()
        took = time.monotonic() - began
        say(f"{'ok    ' if ok else 'FAILED'} {what} ({took:.1f} s)\n       {found}")
        told.append({"check": what, "ok": ok, "found": found, "seconds": round(took, 2)})
    report = {"nuke": nuke.NUKE_VERSION_STRING, "python": platform.python_version(), "checks": told}
    (folder / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    say(f"{len(CHECKS) - failed} of {len(CHECKS)} checks passed. The report: {folder / 'report.json'}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
