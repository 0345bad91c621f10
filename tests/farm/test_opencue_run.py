"""OpenCue's job, run: `void farm bundle`, cuebot's reading in small, `void render` and Nuke's stand-in for real."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cue_standin import Cue, Frame, plain_environment
from helpers.servers import run_void, write_shot
from void_client.manifest import ResultManifest

FAKE_NUKE = Path(__file__).resolve().parents[1] / "nuke_standin" / "fake-nuke"
FRAMES = range(1001, 1006)
SCRIPT = """\
Root {{
 first_frame 1001
 last_frame 1005
}}
Read {{
 inputs 0
 file {link}/plate.%04d.exr
 first 1001
 last 1005
 origfirst 1001
 origlast 1005
 raw true
 name Read1
}}
Write {{
 file {out}/comp.%04d.exr
 file_type exr
 raw true
 create_directories true
 name Write1
}}
"""


@pytest.fixture
def show(tmp_path: Path) -> Path:
    """Three shots on one plate, the first two shown by a script."""
    write_shot(tmp_path / "plates")
    for index in (1, 2, 3):
        values = {
            "plate": "plates/plate.%04d.exr", "quadmask": "plates/quadmask.%04d.exr", "seed": index,
            "store": ".", "shot": "sh010", "node": f"shot {index}", "link": f"links/{index}",
        }  # fmt: skip
        (tmp_path / f"shot {index}.json").write_text(json.dumps(values))
    (tmp_path / "comp.nk").write_text(SCRIPT.format(link=tmp_path / "links" / "2", out=tmp_path / "renders"))
    return tmp_path


def bundle(show: Path, *more: str) -> Path:
    done = run_void(
        "farm", "bundle", *[show / f"shot {index}.json" for index in (1, 2, 3)], "--out", show / "farm", "--manager",
        "opencue", "--show", "testing", "--shot", "sh010", "--user", "ada", "--script", show / "comp.nk",
        "--frames", "1001-1005", "--chunk-size", "2", "--void", _void(), "--nuke", FAKE_NUKE, *more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{show / 'farm' / 'job.xml'}" in done.stdout
    return show / "farm" / "job.xml"


def _void() -> str:
    return str(Path(sys.executable).with_name("void"))


def run(job: Path, home: Path) -> tuple[bool, list[Frame]]:
    cue = Cue.launched(job.read_text(encoding="utf-8"))
    own = {name: str(home / name) for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "VOID_CONFIG_DIR")}
    whole = cue.run(plain_environment(**own, FAKE_NUKE_PYTHON=sys.executable))
    return whole, cue.ran


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


@pytest.mark.slow
def test_the_job_solves_then_renders_and_again_does_nothing_twice(show: Path) -> None:
    job = bundle(show)
    whole, ran = run(job, show / "home")
    assert whole, ran
    assert [(frame.layer, frame.number) for frame in ran] == [
        ("void_solve", 1), ("void_solve", 2), ("void_solve", 3), ("render", 1001), ("render", 1003), ("render_2", 1005)
    ]  # fmt: skip
    for index in (1, 2, 3):
        ResultManifest.read(show / "links" / str(index)).verify(show / "links" / str(index))
    assert sorted(path.name for path in (show / "renders").iterdir()) == [f"comp.{number}.exr" for number in FRAMES]
    before = _stamps(show / "void"), _stamps(show / "links")
    whole, ran = run(job, show / "home")
    assert whole, ran
    assert (_stamps(show / "void"), _stamps(show / "links")) == before


@pytest.mark.slow
def test_a_shot_that_fails_keeps_the_render_waiting_and_the_others_are_solved(show: Path) -> None:
    job = bundle(show)
    (job.parent / "shots" / "0002.yaml").write_text("plate: nowhere.%04d.exr\nquadmask: nowhere.%04d.exr\nout: out\n")
    whole, ran = run(job, show / "home")
    assert not whole
    assert [(frame.layer, frame.code) for frame in ran] == [("void_solve", 0), ("void_solve", 2), ("void_solve", 0)]
    assert "nowhere" in ran[1].log
    assert not (show / "renders").exists()


def test_the_command_line_writes_job_and_shots(show: Path) -> None:
    more = ["--solve", "cores=8", "--solve", "memory=32768", "--solve", "tags=gpu_a,gpu_b", "--render", "service=comp"]
    text = bundle(show, *more, "--env", "A=b=c", "--facility", "cloud", "--remote").read_text()
    shots = sorted((show / "farm" / "shots").iterdir())
    assert [path.name for path in shots] == ["0001.yaml", "0002.yaml", "0003.yaml"]
    assert shots[1].read_text().startswith("# shot_2\n")
    assert (show / "farm" / "comp.nk").is_file()
    layers = {layer.name: layer for layer in Cue.launched(text).layers}
    assert layers["void_solve"].environment == {"A": "b=c"}
    assert shlex.split(layers["void_solve"].said(2)) == [
        _void(), "render", str(show / "farm" / "shots" / "0002.yaml"), "--remote"
    ]  # fmt: skip
    for part in ("<facility>cloud</facility>", "<tags>gpu_a | gpu_b</tags>", "<service>comp</service>"):
        assert part in text
    assert not (show / "farm" / "template.yaml").exists()
    bundle(show)  # over its own, again


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--user", "ada"), "Which show and shot"),
        (("--show", "testing", "--shot", "s1", "--user", "ada"), "'s1' is no shot"),
        (("--show", "abc", "--shot", "abc", "--user", "ada", "--solve", "speed=9"), "no need called 'speed'"),
        (("--show", "abc", "--shot", "abc", "--user", "ada", "--solve", "cores=many"), "cores=many is not a number"),
        (("--show", "abc", "--shot", "abc", "--user", "ada", "--render", "cores"), "--render 'cores' gives no value"),
        (("--show", "abc", "--shot", "abc", "--user", "ada", "--env", "A"), "--env 'A' gives no value"),
    ],
)
def test_what_opencue_would_refuse_ends_the_command_and_writes_nothing(
    more: tuple[str, ...], said: str, show: Path
) -> None:
    done = run_void("farm", "bundle", show / "shot 1.json", "--out", show / "farm", "--manager", "opencue", *more)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (show / "farm").exists()


def test_pycues_own_launch_reads_the_file_as_it_was_written(show: Path) -> None:
    """The line that the command prints, with a module in the place of pycue's."""
    job = bundle(show)
    (show / "opencue").mkdir()
    (show / "opencue" / "__init__.py").write_text("")
    (show / "opencue" / "api.py").write_text("def launchSpecAndWait(spec):\n    print(spec, end='')\n")
    said = run_void("farm", "bundle", show / "shot 1.json", "--out", show / "other", "--manager", "opencue",
                    "--show", "testing", "--shot", "sh010", "--user", "ada").stdout  # fmt: skip
    words = shlex.split(next(line for line in said.splitlines() if line.startswith("python ")))
    done = subprocess.run(
        [sys.executable, *words[1:-1], str(job)], cwd=show, capture_output=True, text=True, check=True
    )
    assert done.stdout == job.read_text()
