"""`void nuke install`, `list`, `switch` and `uninstall`: the folder, what is kept, what no failure may harm."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from helpers.nuke_wheels import tiny_wheels, write_pins, write_wheel
from void_cli import nuke_place, nuke_wheels
from void_cli.main import main
from void_cli.nuke_place import Place
from void_client.errors import Busy

posix = pytest.mark.skipif(os.name != "posix", reason="modes and signals are POSIX")


@pytest.fixture
def wheels(tmp_path) -> Path:
    tiny_wheels(tmp_path / "wheels")
    return tmp_path / "wheels"


@pytest.fixture(autouse=True)
def nobodys_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("VOID_CONFIG_DIR", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def arguments(wheels: Path, dest: Path, *more: str) -> list[str]:
    offline = ["--wheels", str(wheels), "--pins", str(wheels / "pins.json")]
    return ["nuke", "install", *offline, "--dest", str(dest), *more]


def install(wheels: Path, dest: Path, *more: str) -> int:
    return main(arguments(wheels, dest, *more))


def another(wheels: Path, content: str) -> None:
    """As if a later build of VOID were installed: other content under the same version."""
    tiny_wheels(wheels, content=content)


def whole(dest: Path) -> str:
    """The version in use, which has every file as it was installed."""
    place = Place(dest)
    version = place.version(place.current() or "none")
    assert version.damaged() == []
    return version.name


# --- what is laid


def test_the_folder_has_versions_a_pointer_and_a_launcher(wheels, tmp_path, capsys):
    dest = tmp_path / "dest"
    assert install(wheels, dest) == 0
    assert (dest / "current").read_text() == "void-nuke-0.1.0\n"
    version = dest / "void-nuke-0.1.0"
    for name in ("init.py", "menu.py", "gizmos/VOID.gizmo", "icons/VOID.png", "void_client/client.py",
                 "void_nuke/startup.py", "void_nuke/__init__.py"):  # fmt: skip
        assert (version / name).is_file(), name
    assert len(list((version / "vendor").iterdir())) == 12
    assert (version / "vendor" / "cp39-windows-x86_64" / "zmq" / "__init__.py").is_file()
    assert (version / "vendor" / "cp39-windows-x86_64" / "pyzmq-1.0.dist-info" / "LICENSE").is_file()
    assert not list(version.rglob("__pycache__"))
    assert not list(version.rglob("test_it.py"))
    out = capsys.readouterr().out
    assert f'export NUKE_PATH="{dest}:$NUKE_PATH"' in out
    assert f"set NUKE_PATH=<{dest} as windows names it>;%NUKE_PATH%" in out
    assert f'nuke.pluginAddPath("{dest}")' in out


def test_pythons_and_platforms_can_be_chosen(wheels, tmp_path):
    dest = tmp_path / "dest"
    assert install(wheels, dest, "--python", "3.11", "--platform", "linux", "--platform", "windows") == 0
    vendor = dest / "void-nuke-0.1.0" / "vendor"
    assert sorted(path.name for path in vendor.iterdir()) == ["cp311-linux-x86_64", "cp311-windows-x86_64"]


def test_installing_the_same_again_changes_nothing(wheels, tmp_path, capsys):
    dest = tmp_path / "dest"
    install(wheels, dest)
    before = {path: path.stat().st_mtime_ns for path in (dest / "void-nuke-0.1.0").rglob("*")}
    assert install(wheels, dest) == 0
    assert {path: path.stat().st_mtime_ns for path in (dest / "void-nuke-0.1.0").rglob("*")} == before
    assert "is there already" in capsys.readouterr().out
    assert [path.name for path in dest.glob("void-nuke-*")] == ["void-nuke-0.1.0"]


def test_other_content_of_the_same_version_lies_beside_the_first(wheels, tmp_path):
    dest = tmp_path / "dest"
    install(wheels, dest)
    another(wheels, "later")
    assert install(wheels, dest) == 0
    assert whole(dest) == "0.1.0-r2"
    assert Place(dest).version("0.1.0").damaged() == []


def test_a_damaged_version_is_replaced_by_a_whole_one(wheels, tmp_path):
    dest = tmp_path / "dest"
    install(wheels, dest)
    (dest / "void-nuke-0.1.0" / "menu.py").write_text("changed")
    assert install(wheels, dest) == 0
    assert whole(dest) == "0.1.0-r2"


@posix
def test_artists_can_read_what_a_td_with_a_narrow_umask_installs(wheels, tmp_path):
    before = os.umask(0o077)
    try:
        install(wheels, tmp_path / "dest")
    finally:
        os.umask(before)
    for path in [tmp_path / "dest", *(tmp_path / "dest").rglob("*")]:
        wanted = 0o755 if path.is_dir() else 0o644
        if path.name != ".lock":
            assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_json_says_the_same_to_machines(wheels, tmp_path, capsys):
    install(wheels, tmp_path / "dest", "--python", "3.9", "--platform", "linux", "--json")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["version"] == "0.1.0"
    assert lines[0]["targets"] == ["cp39-linux-x86_64"]
    assert set(lines[-1]["nuke_path"]) == {"linux"}


# --- versions


def test_list_switch_and_uninstall(wheels, tmp_path, capsys):
    dest = tmp_path / "dest"
    install(wheels, dest)
    another(wheels, "later")
    install(wheels, dest)
    at = ["--dest", str(dest)]
    capsys.readouterr()
    assert main(["nuke", "list", *at]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in out] == [["0.1.0", "cp39-linux-x86_64,"], ["*", "0.1.0-r2"]]
    assert main(["nuke", "switch", "0.1.0", *at]) == 0
    assert whole(dest) == "0.1.0"
    assert main(["nuke", "uninstall", "0.1.0", *at]) == 2  # in use
    assert main(["nuke", "uninstall", "0.1.0-r2", *at]) == 0
    assert [version.name for version in Place(dest).versions()] == ["0.1.0"]
    assert main(["nuke", "switch", "0.1.0-r2", *at]) == 2
    assert "Installed: 0.1.0." in capsys.readouterr().err
    assert main(["nuke", "uninstall", *at]) == 0
    assert not dest.exists()


def test_nobody_switches_to_a_damaged_version(wheels, tmp_path, capsys):
    dest = tmp_path / "dest"
    install(wheels, dest)
    another(wheels, "later")
    install(wheels, dest)
    (dest / "void-nuke-0.1.0" / "init.py").unlink()
    assert main(["nuke", "switch", "0.1.0", "--dest", str(dest)]) == 2
    assert "init.py is missing" in capsys.readouterr().err
    assert whole(dest) == "0.1.0-r2"


def test_settings_and_keys_outlive_versions(wheels, tmp_path):
    dest = tmp_path / "dest"
    install(wheels, dest)
    (dest / "studio.yaml").write_text("engine: void\n")
    (dest / "keys").mkdir()
    assert main(["nuke", "uninstall", "--dest", str(dest)]) == 0
    assert sorted(path.name for path in dest.iterdir() if path.name != ".lock") == ["keys", "studio.yaml"]
    install(wheels, dest)
    assert main(["nuke", "uninstall", "--settings", "--dest", str(dest)]) == 0
    assert not dest.exists()


def test_where_nothing_is_installed_uninstall_touches_nothing(tmp_path):
    (tmp_path / "mine").write_text("")
    assert main(["nuke", "uninstall", "--dest", str(tmp_path)]) == 2
    assert (tmp_path / "mine").exists()


def test_a_folder_with_another_init_is_not_taken(wheels, tmp_path, capsys):
    (tmp_path / "nuke").mkdir()
    (tmp_path / "nuke" / "init.py").write_text("import my_tools\n")
    assert install(wheels, tmp_path / "nuke") == 2
    assert "--dest" in capsys.readouterr().err
    assert (tmp_path / "nuke" / "init.py").read_text() == "import my_tools\n"
    assert not list((tmp_path / "nuke").glob("void-nuke-*"))


# --- what goes wrong

KILLED = """
import os, signal, sys
from void_cli import nuke_place
point, rest = sys.argv[1], sys.argv[2:]
real = getattr(nuke_place, point)
calls = []
def deadly(*arguments):
    calls.append(arguments)
    if point != "write_whole" or str(arguments[0]).endswith("current"):
        if point != "unpack" or len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)
setattr(nuke_place, point, deadly)
from void_cli.main import main
sys.exit(main(rest))
"""


@posix
@pytest.mark.parametrize("point", ["unpack", "read_version", "write_whole"])
def test_an_installation_that_is_killed_leaves_the_old_version_working(wheels, tmp_path, point):
    dest = tmp_path / "dest"
    install(wheels, dest)
    another(wheels, "later")
    command = [sys.executable, "-c", KILLED, point, *arguments(wheels, dest)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert whole(dest) == "0.1.0"
    assert install(wheels, dest) == 0
    assert whole(dest) == "0.1.0-r2"
    assert not list(dest.glob(".incoming-*"))


def test_a_second_installation_at_the_same_time_is_told_to_wait(wheels, tmp_path, capsys):
    dest = tmp_path / "dest"
    install(wheels, dest)
    with Place(dest).locked():
        assert install(wheels, dest) == Busy.exit_code
        assert main(["nuke", "switch", "0.1.0", "--dest", str(dest)]) == Busy.exit_code
    assert "Another `void nuke` is changing" in capsys.readouterr().err
    assert install(wheels, dest) == 0


def test_installations_started_together_leave_one_whole_version(wheels, tmp_path):
    dest = tmp_path / "dest"
    command = [sys.executable, "-m", "void_cli.main", *arguments(wheels, dest)]
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(3)]
    codes = {process.wait(60) for process in processes}
    assert 0 in codes
    assert codes <= {0, Busy.exit_code}
    assert whole(dest) == "0.1.0"
    assert [version.name for version in Place(dest).versions()] == ["0.1.0"]


def test_readers_never_see_half_a_pointer(wheels, tmp_path):
    dest = tmp_path / "dest"
    install(wheels, dest)
    another(wheels, "later")
    install(wheels, dest)
    place, seen, stop = Place(dest), set(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(place.current())

    reader = threading.Thread(target=read)
    reader.start()
    for index in range(40):
        assert main(["nuke", "switch", ("0.1.0", "0.1.0-r2")[index % 2], "--dest", str(dest), "--json"]) == 0
    stop.set()
    reader.join()
    assert seen <= {"void-nuke-0.1.0", "void-nuke-0.1.0-r2"}


def test_a_full_disk_is_told_and_harms_nothing(wheels, tmp_path, capsys, monkeypatch):
    dest = tmp_path / "dest"
    install(wheels, dest)
    another(wheels, "later")

    def full(wheel, folder):
        raise OSError(28, "No space left on device", str(folder))

    monkeypatch.setattr(nuke_place, "unpack", full)
    assert install(wheels, dest) == 3
    assert f"The disk of {dest} is full." in capsys.readouterr().err
    assert whole(dest) == "0.1.0"
    assert not list(dest.glob(".incoming-*"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="file systems of our own are Linux")
@pytest.mark.parametrize(("options", "code", "told"), [("size=200k", 3, "is full"), ("ro", 2, "Read-only file system")])
def test_a_real_file_system_that_refuses(wheels, tmp_path, options, code, told):
    """In a mount namespace of its own, where the system allows one."""
    dest = tmp_path / "dest"
    dest.mkdir()
    mount = [
        "unshare",
        "--mount",
        "--map-root-user",
        "sh",
        "-c",
        'mount -t tmpfs -o "$1" none "$2"; shift 2; exec "$@"',
    ]
    try:
        probe = subprocess.run([*mount, "sh", options, str(dest), "true"], capture_output=True, timeout=20, check=False)
        allowed = probe.returncode == 0 and not probe.stderr
    except OSError:
        allowed = False
    if not allowed:
        pytest.skip("this system gives no mount namespace")
    command = [*mount, "sh", options, str(dest), sys.executable, "-m", "void_cli.main", *arguments(wheels, dest)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_a_destination_that_cannot_be_is_told(wheels, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert install(wheels, tmp_path / "file" / "dest") == 2
    err = capsys.readouterr().err
    assert "cannot be written: Not a directory" in err
    assert "--dest" in err


# --- packages


def test_a_wheel_that_is_not_the_tested_one_is_refused(wheels, tmp_path, capsys):
    name = next(path for path in sorted(wheels.glob("*.whl")))
    name.write_bytes(name.read_bytes() + b" ")
    assert install(wheels, tmp_path / "dest") == 2
    assert "is not the file that was tested" in capsys.readouterr().err
    assert not (tmp_path / "dest").exists()


def test_a_wheel_that_lacks_is_named(wheels, tmp_path, capsys):
    (wheels / "pyzmq-1.0-cp310-cp310-linux_x86_64.whl").unlink()
    assert install(wheels, tmp_path / "dest") == 2
    err = capsys.readouterr().err
    assert "has no pyzmq-1.0-cp310-cp310-linux_x86_64.whl" in err
    assert "void nuke wheels" in err


def test_the_builds_for_old_hosts_are_asked_for_by_name(wheels, tmp_path, capsys):
    assert install(wheels, tmp_path / "dest", "--glibc", "2.17") == 2
    assert "no packages for cp39-linux-x86_64-glibc2.17" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../outside.py", "/outside.py", "a/../../outside.py", "..\\outside.py"])
def test_a_wheel_cannot_write_outside_of_its_folder(tmp_path, capsys, name):
    wheels = tmp_path / "wheels"
    wheel = write_wheel(wheels / "pyzmq-1.0-cp311-cp311-any.whl", {name: b"x = 1"})
    write_pins(wheels, {"cp311-linux-x86_64": [wheel.name]})
    assert install(wheels, tmp_path / "dest", "--python", "3.11", "--platform", "linux") == 2
    assert "holds a file outside of its folder" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*outside.py"))


def test_a_file_that_is_no_wheel_is_told(tmp_path, capsys):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "pyzmq-1.0-cp311-cp311-any.whl").write_bytes(b"not a zip")
    write_pins(wheels, {"cp311-linux-x86_64": ["pyzmq-1.0-cp311-cp311-any.whl"]})
    assert install(wheels, tmp_path / "dest", "--python", "3.11", "--platform", "linux") == 2
    assert "is not a wheel" in capsys.readouterr().err


def test_without_pip_the_way_without_an_index_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(nuke_wheels.sys, "executable", str(tmp_path / "python"))
    assert main(["nuke", "install", "--dest", str(tmp_path / "dest")]) == 3
    assert "--wheels FOLDER" in capsys.readouterr().err
