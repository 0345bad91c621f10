"""The command line of the stand-in, as farms and terminals use it: a real process each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[1] / "nuke_standin" / "fake-nuke"
SCRIPT = """version 16.0 v3
Root {{
 inputs 0
 format "16 8 0 0 16 8 1 tiny"
 first_frame 1
 last_frame 3
}}
CheckerBoard2 {{
 inputs 0
 boxsize 2
 name CheckerBoard1
}}
set N1 [stack 0]
Write {{
 file {folder}/first/a.%04d.exr
 file_type exr
 raw true
 create_directories true
 name Write1
}}
push $N1
Group {{
 name Inner
}}
 Input {{
  inputs 0
  name Input1
 }}
set N2 [stack 0]
 Write {{
  file {folder}/inner/a.%04d.exr
  file_type exr
  raw true
  create_directories true
  name Write1
 }}
push $N2
 Write {{
  file {folder}/off/a.%04d.exr
  file_type exr
  raw true
  create_directories true
  name Off
  disable true
 }}
push $N2
 Output {{
  name Output1
 }}
end_group
"""


@pytest.fixture
def fake(tmp_path: Path) -> Any:
    """Runs fake-nuke in a home of its own; `.script` has two Writes, one in a group, and a disabled one."""

    def run(*arguments: Any, stdin: str = "", **environment: str) -> Any:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("FAKE_NUKE", "NUKE_PATH", "PYTHONPATH"))}
        return subprocess.run(
            [str(PROGRAM), *map(str, arguments)],
            env={**clean, "HOME": str(tmp_path), "FAKE_NUKE_PYTHON": sys.executable, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    run.script = tmp_path / "shot.nk"
    run.script.write_text(SCRIPT.format(folder=tmp_path))
    return run


def frames(folder: Path) -> list:
    return sorted(int(p.name.split(".")[1]) for p in folder.glob("*.exr")) if folder.is_dir() else []


def test_x_renders_every_enabled_write_of_the_scripts_range(fake: Any, tmp_path: Path) -> None:
    done = fake("-x", fake.script)
    assert done.returncode == 0, done.stderr
    assert frames(tmp_path / "first") == frames(tmp_path / "inner") == [1, 2, 3]
    assert frames(tmp_path / "off") == []
    assert f"Writing {tmp_path}/first/a.0002.exr took" in done.stdout
    assert "Frame 2 (2 of 3)" in done.stdout
    assert "Total render time:" in done.stdout


@pytest.mark.parametrize(
    ("options", "expected"),
    [(["-F", "2"], [2]), (["-F", "1-5x2"], [1, 3, 5]), (["-F", "1", "-F", "7-8"], [1, 7, 8]), (["-F1-2"], [1, 2])],
)
def test_f_chooses_frames_before_the_script(fake: Any, tmp_path: Path, options: list, expected: list) -> None:
    assert fake(*options, "-X", "Write1", fake.script).returncode == 0
    assert frames(tmp_path / "first") == expected
    assert frames(tmp_path / "inner") == []


def test_a_range_behind_the_script_is_taken_too(fake: Any, tmp_path: Path) -> None:
    assert fake("-xi", "-q", fake.script, "2,3").stdout.count("Writing") == 0
    assert frames(tmp_path / "first") == [2, 3]


def test_big_x_names_writes_in_groups_too(fake: Any, tmp_path: Path) -> None:
    assert fake("-V", "2", "-F", "1", "-X", "Inner.Write1", fake.script).returncode == 0
    assert frames(tmp_path / "inner") == [1]
    missing = fake("-F", "1", "-X", "Write9", fake.script)
    assert (missing.returncode, "Write9" in missing.stderr) == (1, True)


def test_an_error_ends_the_render_and_cont_goes_on(fake: Any, tmp_path: Path) -> None:
    text = SCRIPT.format(folder=tmp_path).replace(
        "CheckerBoard2 {", f"Read {{\n file {tmp_path}/none.%04d.exr\n raw true", 1
    )
    text = text.replace(" boxsize 2\n", " first 1\n last 3\n")
    fake.script.write_text(text)
    stopped = fake("-F", "1-3", "-X", "Write1", fake.script)
    assert stopped.returncode == 1
    assert stopped.stdout.count("ERROR: CheckerBoard1: Read error: No such file or directory") == 1
    went_on = fake("--cont", "-F", "1-3", "-X", "Write1", fake.script)
    assert went_on.returncode == 1
    assert went_on.stdout.count("ERROR: CheckerBoard1: Read error") == 3


def test_t_runs_a_python_script_with_its_arguments(fake: Any, tmp_path: Path) -> None:
    script = tmp_path / "say.py"
    script.write_text("import sys, nuke\nprint(__name__, sys.argv[1:], nuke.GUI, nuke.NUKE_VERSION_MAJOR)\n")
    done = fake("-t", script, "a", "--b", "3", FAKE_NUKE_VERSION="15")
    assert done.stdout.splitlines()[-1] == "__main__ ['a', '--b'] False 15"
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("text", "code"), [("raise ValueError('x')", 1), ("import sys; sys.exit(7)", 7), ("nuke.scriptExit()", 0)]
)
def test_the_exit_code_is_the_scripts(fake: Any, tmp_path: Path, text: str, code: int) -> None:
    (tmp_path / "a.py").write_text(text)
    assert fake("-t", tmp_path / "a.py").returncode == code


def test_a_terminal_reads_python_from_stdin(fake: Any) -> None:
    done = fake("-ti", fake.script, stdin="print([n.name() for n in nuke.allNodes()])")
    assert done.stdout.splitlines()[-1] == "['Inner', 'Write1', 'CheckerBoard1']"


def test_init_runs_in_a_render_and_menu_does_not(fake: Any, tmp_path: Path) -> None:
    (tmp_path / ".nuke").mkdir()
    for name in ("init", "menu"):
        (tmp_path / ".nuke" / f"{name}.py").write_text(f"print('{name} ran')")
    out = fake("-F", "1", "-x", fake.script).stdout
    assert ("init ran" in out, "menu ran" in out) == (True, False)
    (tmp_path / "artist.py").write_text("print('gui', nuke.GUI)")
    out = fake(FAKE_NUKE_ARTIST=str(tmp_path / "artist.py")).stdout
    assert out.splitlines()[-3:] == ["init ran", "menu ran", "gui True"]


def test_licences_are_taken_by_kind(fake: Any) -> None:
    assert fake("-x", fake.script, FAKE_NUKE_LICENCES="nuke_i").returncode == 100
    assert fake("-t", stdin="", FAKE_NUKE_LICENCES="nuke_i").returncode == 100
    assert fake("-ti", stdin="", FAKE_NUKE_LICENCES="nuke_i").returncode == 0


def test_the_plugins_modules_are_hidden_unless_something_brings_them(fake: Any, tmp_path: Path) -> None:
    ask = "try:\n    import void_client\n    print('there', void_client.__file__)\n"
    ask += "except ImportError as error:\n    print(error)"
    assert fake("-t", stdin=ask).stdout.splitlines()[-1] == "No module named 'void_client'"
    (tmp_path / "void_client.py").write_text("")
    assert fake("-t", stdin=ask, NUKE_PATH=str(tmp_path)).stdout.splitlines()[-1].endswith(f"{tmp_path}/void_client.py")
    assert "there" in fake("-t", stdin=ask, PYTHONPATH=str(tmp_path)).stdout


@pytest.mark.parametrize("arguments", [["--nonsense"], ["-x"], ["-Z"], ["-x", "/no/such.nk"], ["-F"]])
def test_a_wrong_command_line_fails(fake: Any, arguments: list) -> None:
    done = fake(*arguments)
    assert done.returncode == 1
    assert done.stderr


def test_indie_is_an_option(fake: Any) -> None:
    done = fake("--indie", "-t", stdin="[nuke.createNode('NoOp') for _ in range(11)]")
    assert done.returncode == 1
    assert "10 nodes" in done.stderr
