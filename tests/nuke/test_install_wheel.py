"""`void nuke install` from the built wheel, far from the checkout; and the packages that an index gives."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from helpers.nuke_wheels import this_pythons_wheels
from void_cli import nuke_source
from void_cli.main import main
from void_cli.nuke_targets import Target
from void_client import vendor

ROOT = Path(__file__).parents[2]
HERE = Target(f"{sys.version_info[0]}.{sys.version_info[1]}", *vendor.target_name().split("-")[1:])
PARTS = ("pyproject.toml", "README.md", "LICENSE", "nuke_plugin", "server", "void_engine", "gizmos")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: building in the checkout leaves folders behind."""
    folder = tmp_path_factory.mktemp("build")
    (folder / "source").mkdir()
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
            )
        else:
            shutil.copy(ROOT / name, folder / "source" / name)
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    (folder / "dist").mkdir()
    subprocess.run(
        [sys.executable, "-c", code, str(folder / "dist")],
        cwd=folder / "source",
        check=True,
        capture_output=True,
        timeout=300,
    )
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


@pytest.mark.slow
def test_the_wheel_has_everything_that_nuke_needs(built):
    names = zipfile.ZipFile(built).namelist()
    for name in (*nuke_source.PLAIN, *nuke_source.LAUNCHER):
        assert [n for n in names if n.endswith(f".data/data/share/void-nuke/{name}")], name
    assert "void_nuke/startup.py" in names
    assert "void_cli/nuke_wheels.json" in names
    roots = {name.split("/")[0] for name in names if not name.split("/")[0].startswith("void_nuke-")}
    assert roots == {"void_client", "void_nuke", "void_server", "void_cli", "void_engine"}


@pytest.mark.slow
def test_the_plugin_installs_from_a_wheel_outside_of_the_checkout(built, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VOID", "NUKE"))}
    clean["VOID_CONFIG_DIR"] = str(tmp_path / "user")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [str(python), *arguments], cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(built))
    # The three packages, from the Python that runs this test: nothing is asked of an index.
    place = Path(run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (place / "packages.pth").write_text(site.getsitepackages()[0] + "\n")
    assert str(tmp_path) in run("-c", "import void_client; print(void_client.__file__)")
    pins = this_pythons_wheels(tmp_path / "wheels", HERE)
    void = ("-m", "void_cli.main", "nuke")
    chosen = (
        "--python",
        HERE.python,
        "--platform",
        HERE.platform,
        "--wheels",
        str(tmp_path / "wheels"),
        "--pins",
        str(pins),
    )
    (tmp_path / "void_nuke.egg-info").mkdir()  # what a build in the working folder leaves does not hide the wheel's
    (tmp_path / "void_nuke.egg-info" / "PKG-INFO").write_text(
        "Metadata-Version: 2.1\nName: void-nuke\nVersion: 0.1.0\n"
    )
    (tmp_path / "void_nuke.egg-info" / "SOURCES.txt").write_text("README.md\n")
    run(*void, "install", *chosen, "--dest", str(tmp_path / "dest"))
    version = tmp_path / "dest" / "void-nuke-0.1.0"
    with zipfile.ZipFile(built) as archive:
        for name in nuke_source.PLAIN:
            (entry,) = [entry for entry in archive.namelist() if entry.endswith(f"/share/void-nuke/{name}")]
            assert (version / name).read_bytes() == archive.read(entry)
    assert (version / "void_nuke" / "startup.py").is_file()
    assert "loads " + HERE.folder in run(*void, "check", str(tmp_path / "dest"))


@pytest.mark.slow
def test_the_pinned_packages_come_from_an_index_and_then_from_their_folder(tmp_path, capsys):
    """Fetched once for every Nuke of this platform, then installed and tried without an index."""
    if main(["nuke", "wheels", str(tmp_path / "wheels"), "--this-platform"]) == 3:
        pytest.skip(f"no package index: {capsys.readouterr().err}")
    offline = ["--wheels", str(tmp_path / "wheels"), "--this-platform"]
    assert main(["nuke", "install", *offline, "--dest", str(tmp_path / "dest")]) == 0
    base = getattr(sys, "_base_executable", sys.executable)
    assert main(["nuke", "check", str(tmp_path / "dest"), "--with", base]) == 0
    assert f"loads {HERE.folder}: pyzmq" in capsys.readouterr().out


def test_a_checkout_and_its_editable_install_have_everything():
    files = nuke_source.files()
    assert {*nuke_source.PLAIN, *nuke_source.LAUNCHER, "void_client/client.py", "void_nuke/startup.py"} <= set(files)
    assert all(path.is_file() for path in files.values())
    assert not [name for name in files if "__pycache__" in name or name.endswith(".pyc")]
