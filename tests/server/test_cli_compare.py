"""``void compare`` as people and farms call it: exit codes, JSON, Ctrl-C, and no pixels in its own process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.servers import run_void, wait_until, write_shot
from void_server import credentials

# Where the tests run in the background the shell has SIGINT ignored, and children inherit that.
INTERRUPTIBLE = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from void_cli.main import main; code = main();"
    "heavy = {'numpy', 'cv2', 'OpenEXR', 'av', 'void_engine'} & {*sys.modules};"
    "sys.exit(f'in this process: {heavy}' if heavy else code)"
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shot(tmp_path_factory.mktemp("clip"), width=96, height=54, frames=4)


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough to be stopped in: a few files under many numbers."""
    folder = write_shot(tmp_path_factory.mktemp("long"), width=480, height=270, frames=2)
    for number in range(1003, 1400):
        for name in ("plate", "quadmask"):
            os.link(folder / f"{name}.{1001 + number % 2}.exr", folder / f"{name}.{number}.exr")
    return folder


def plates(folder: Path) -> str:
    return str(folder / "plate.####.exr")


def test_a_comparison_tells_its_numbers_and_writes_its_files(clip, tmp_path):
    done = run_void("compare", clip, plates(clip), "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "4 frames, 1001-1004, 96x54; measured inside the quadmask" in done.stdout
    assert "no difference" in done.stdout
    assert "outside the quadmask: every value is the same, bit for bit" in done.stdout
    assert "note: The quadmask is A's own" in done.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "difference.mp4", "flicker.csv", "flicker.png", "report.json", "sheet.png", "wipe.mp4",
    ]  # fmt: skip
    assert "compare: 4/4" in done.stderr


def test_sheets_and_movies_carry_content_credentials_and_say_what_they_show(clip, tmp_path):
    result = Path(shutil.copytree(clip, tmp_path / "result"))
    frames = [{"number": n, "name": f"plate.{n}.exr", "sha256": "0" * 64, "size": 1} for n in range(1001, 1005)]
    facts = {"void/engine": "void", "void/engineVersion": "2", "void/model.pass1": "a" * 64, "void/prompt": "secret"}
    (result / "manifest.json").write_text(json.dumps({"frames": frames, "content_hash": "c" * 64, "facts": facts}))
    config = {"VOID_CONFIG_DIR": str(tmp_path / "config")}
    done = run_void("compare", plates(clip), result, "--out", tmp_path / "out", "--json", **config)
    assert done.returncode == 0, done.stderr
    names = ["difference.mp4", "flicker.png", "sheet.png", "wipe.mp4"]
    assert json.loads(done.stdout.splitlines()[-1])["credentials"] == dict.fromkeys(names, "")
    assert json.loads((tmp_path / "out" / "report.json").read_text())["credentials"] == dict.fromkeys(names, "")
    for name in names:
        told = credentials.read(tmp_path / "out" / name)
        assert (told["state"], told["source"]) == ("untrusted", "compositeWithTrainedAlgorithmicMedia"), name
        assert b"secret" not in (tmp_path / "out" / name).read_bytes()
    plain = run_void("compare", plates(clip), plates(clip), "--out", tmp_path / "plain", "--no-movies", **config)
    assert plain.returncode == 0
    assert credentials.read(tmp_path / "plain" / "sheet.png")["source"] == "composite"


def test_a_picture_of_two_results_names_the_engine_that_generates():
    def made(engine: str, job: str) -> dict[str, object]:
        return {"engine": engine, "engine_version": "1", "job": job, "models": {}, "space": ""}

    both = credentials.about_shown([made("cleanplate", "b"), made("void", "a")])
    assert (both["engine"], both["job"], both["shows"]) == ("void", "a", ["a", "b"])
    assert credentials.about_shown([made("cleanplate", "")])["shows"] == []
    assert credentials.about_shown([])["engine"] == ""


def test_a_comparison_without_a_key_says_that_it_has_no_credentials(clip, tmp_path):
    (tmp_path / "config").write_text("a file where the folder of settings should be")
    done = run_void(
        "compare", plates(clip), plates(clip), "--out", tmp_path / "out", "--no-movies",
        VOID_CONFIG_DIR=str(tmp_path / "config"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "note: NO content credentials in flicker.png, sheet.png:" in done.stdout
    assert credentials.read(tmp_path / "out" / "sheet.png")["state"] == "none"


def test_json_lines_are_for_machines(clip, tmp_path):
    done = run_void(
        "compare", plates(clip), plates(clip), "--out", tmp_path / "out", "--json",
        "--quadmask", clip / "quadmask.%04d.exr", "--frames", "1002-1003", "--codec", "prores", "--fps", "24000/1001",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["range"], told["region"]["kind"]) == ("1002-1003", "quadmask")
    assert (told["summary"]["differing_outside"], told["summary"]["psnr"]) == (0, None)
    assert told["files"]["wipe"] == "wipe.mov"
    assert (tmp_path / "out" / "wipe.mov").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "CLIP"], "nowhere"),
        (["CLIP", "CLIP", "--frames", "1004-1006"], "no frame 1005-1006"),
        (["CLIP", "CLIP", "--matte", "m.####.exr"], "m.####.exr"),
        (["CLIP", "CLIP", "--codec", "gif"], "h264, prores"),
        (["CLIP", "CLIP", "--fps", "0"], "frame rate"),
        (["CLIP", "CLIP", "--layer", "diffuse"], "diffuse"),
    ],
)
def test_wrong_words_are_bad_input(arguments, words, clip, tmp_path):
    given = [plates(clip) if word == "CLIP" else word for word in arguments]
    done = run_void("compare", *given, "--out", tmp_path / "out")
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_frame_is_named(clip, tmp_path):
    other = shutil.copytree(clip, tmp_path / "other")
    (other / "plate.1003.exr").write_bytes((clip / "plate.1003.exr").read_bytes()[:500])
    done = run_void("compare", clip, other, "--out", tmp_path / "out", "--json")
    told = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, told["exit_code"], told["error"]["code"]) == (2, 2, "bad_frame")
    assert (told["error"]["details"]["frame"], told["error"]["details"]["input"]) == (1003, "clip B")
    assert list((tmp_path / "out").iterdir()) == []


def started(clip: Path, out: Path) -> subprocess.Popen[bytes]:
    """A comparison that writes its movies by now."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "compare", plates(clip), plates(clip), "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: process.poll() is not None or (out.is_dir() and any(out.iterdir())), "the movies")
    assert process.poll() is None, process.communicate()
    return process


def ended(pid: int) -> bool:
    """Where nobody reaps an orphan it stays as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def child_of(process: subprocess.Popen[bytes]) -> int:
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


def test_interrupting_leaves_no_half_file_and_no_process(long_clip, tmp_path):
    process = started(long_clip, tmp_path / "out")
    child = child_of(process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 5, said
    assert b"Traceback" not in said
    assert list((tmp_path / "out").iterdir()) == []
    assert ended(child)


def test_a_child_that_dies_is_a_failure(long_clip, tmp_path):
    process = started(long_clip, tmp_path / "out")
    os.kill(child_of(process), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 4, said
    assert b"signal 9" in said
    assert not [path for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")]


def test_the_child_ends_with_a_killed_parent(long_clip, tmp_path):
    process = started(long_clip, tmp_path / "out")
    child = child_of(process)
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: ended(child), "the child to end")
    assert list((tmp_path / "out").iterdir()) == []
