"""A script's VOID nodes on a farm, for real: `openjd run`, the published Nuke adaptor, Nuke's stand-in, our server.

What the artist would have got interactively is what the farm makes; what was killed goes on; what is done stays.
"""

from __future__ import annotations

import array
import json
import os
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from farm_tools import ROOT, Farm, kill_while_it_generates
from void_client.manifest import ResultManifest
from void_client.result_store import NodeStore

sys.path.insert(0, str(ROOT / "tests" / "nuke" / "plugin"))
from small_shots import FIRST, LAST, Server, read_exr

pytestmark = pytest.mark.slow
FRAMES = range(FIRST, LAST + 1)
CHUNKS = ("-p", "ChunkSize=4")


def store(project: Path, made: Any, node: str) -> NodeStore:
    return NodeStore(project / "void" / "sh010_comp" / made.said["uuids"][node])


def link(project: Path, made: Any, node: str) -> Path:
    (folder,) = (store(project, made, node).root / "farm").iterdir()
    return folder


def digests(folder: Path) -> dict[str, str]:
    manifest = ResultManifest.read(folder)
    manifest.verify(folder)
    return {str(frame.number): frame.sha256 for frame in manifest.frames}


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def test_the_farm_makes_what_the_artist_would_have_got_and_does_nothing_twice(farm: Farm) -> None:
    project = farm.work / "show"
    made = farm.submitted(project, shots=3)
    assert made.said["solved"] == ["VOID1", "VOID2", "VOID3"]
    done = farm.run(made.bundle, "Render", *CHUNKS)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "Finished Rendering Frames 1001-1003" in done.stdout  # CHUNK[INT]: the frames in even pieces
    assert "Finished Rendering Frames 1004-1006" in done.stdout

    with Server(farm.work / "artists-server") as server:
        os.environ.update(
            VOID_NUKE_ENDPOINT=server.endpoint,
            VOID_NUKE_SERVER_KEY=str(server.settings.server_key),
            VOID_NUKE_KEY_FILE=str(server.settings.key_file),
        )
        try:
            interactive = farm.in_nuke("solve_comp.py", made.script, farm.work / "elsewhere")
        finally:
            for name in ("ENDPOINT", "SERVER_KEY", "KEY_FILE"):
                del os.environ[f"VOID_NUKE_{name}"]
    for node in ("VOID1", "VOID2", "VOID3"):
        assert digests(link(project, made, node)) == interactive[node]
        (version,) = store(project, made, node).versions()
        assert digests(version.folder) == interactive[node]
    assert interactive["VOID1"] != interactive["VOID2"]

    rendered_outside_the_matte_is_the_plate(project, made)
    nothing_is_done_again(farm, made, project)


def rendered_outside_the_matte_is_the_plate(project: Path, made: Any) -> None:
    for index in (1, 2, 3):
        result = link(project, made, f"VOID{index}")
        changed = 0
        for frame in FRAMES:
            comp, _ = read_exr(project / "out" / f"comp{index}.{frame}.exr")
            plate, _ = read_exr(project / "plate" / f"plate.{frame}.exr")
            clean, _ = read_exr(result / f"plate.{frame}.exr")
            wide = len(comp["R"]) // (96 * 54)
            assert wide == 4
            matte = memoryview(comp["void_matte.generated"]).cast("f")
            for channel in "RGB":
                out, before, after = (
                    memoryview(each[channel]).cast("f") for each in (comp, as_float(plate), as_float(clean))
                )
                for place, weight in enumerate(matte):
                    if weight == 0.0:
                        assert out[place] == before[place], (frame, channel, place)
                    elif weight == 1.0:
                        changed += 1
                        assert out[place] == after[place], (frame, channel, place)
        assert changed > 100


def as_float(planes: dict[str, bytes]) -> dict[str, bytes]:
    """Half planes as float."""
    made = {}
    for name, data in planes.items():
        if len(data) == 96 * 54 * 2:
            data = array.array("f", [value for (value,) in struct.iter_unpack("<e", data)]).tobytes()
        made[name] = data
    return made


def nothing_is_done_again(farm: Farm, made: Any, project: Path) -> None:
    """The solve step once more, on a worker whose cache is empty: no stage runs, no file is written."""
    before = stamps(project / "void")
    again = farm.run(made.bundle, "VoidSolve")
    assert again.returncode == 0, again.stdout[-4000:]
    assert again.stdout.count("done before, nothing was done again") == 3
    assert "openjd_status: generate" not in again.stdout
    assert stamps(project / "void") == before


def test_a_killed_task_and_server_lose_nothing(farm: Farm) -> None:
    project = farm.work / "show"
    made = farm.submitted(project, shots=2)
    with farm.running(made.bundle, "VoidSolve") as process:
        kill_while_it_generates(farm, "VOID1.yaml")
        process.communicate()
        assert process.returncode == 1
    assert not store(project, made, "VOID1").versions()
    done = farm.run(made.bundle, "VoidSolve")
    assert done.returncode == 0, done.stdout[-4000:]

    with_no_kill = farm.submitted(farm.work / "show2", shots=2)
    assert farm.run(with_no_kill.bundle, "VoidSolve").returncode == 0
    for node in ("VOID1", "VOID2"):
        (version,) = store(project, made, node).versions()
        (other,) = store(farm.work / "show2", with_no_kill, node).versions()
        if node == "VOID2":  # VOID1's override names its file and line
            assert digests(version.folder) == digests(other.folder)
        assert len(digests(version.folder)) == len(FRAMES)


def test_a_failing_task_names_its_frame_and_the_others_stay_done(farm: Farm) -> None:
    project = farm.work / "show"
    made = farm.submitted(project, shots=2)
    frame = project / "plate" / "plate.1004.exr"
    whole = frame.read_bytes()
    frame.unlink()
    failed = farm.run(made.bundle, "VoidSolve")
    assert failed.returncode == 1
    assert "openjd_fail" in failed.stdout
    assert "plate.1004.exr" in failed.stdout
    frame.write_bytes(whole)
    done = farm.run(made.bundle, "VoidSolve")
    assert done.returncode == 0, done.stdout[-4000:]


def test_a_worker_that_sees_the_show_under_another_path_renders_it(farm: Farm) -> None:
    project = farm.work / "submitters"
    made = farm.submitted(project, shots=1)
    moved = farm.work / "workers"
    shutil.move(project, moved)
    bundle = moved / made.bundle.relative_to(project)
    rules = {
        "version": "pathmapping-1.0",
        "path_mapping_rules": [
            {"source_path_format": "POSIX", "source_path": str(project), "destination_path": str(moved)}
        ],
    }
    file = farm.work / "rules.json"
    file.write_text(json.dumps(rules))
    done = farm.run(bundle, "Render", *CHUNKS, "--path-mapping-rules", f"file://{file}")
    assert done.returncode == 0, done.stdout[-4000:]
    assert not list(project.rglob("*.*"))  # the adaptor makes the unmapped folder of a Write, and nothing goes into it
    assert len(list((moved / "out").glob("comp1.*.exr"))) == len(FRAMES)
    assert store(moved, made, "VOID1").latest() is not None
