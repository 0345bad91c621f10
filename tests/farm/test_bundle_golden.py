"""What is written for a farm manager, byte by byte: `golden/` beside this file, its folders as ``/PROJECT``.

After a change that is wanted: ``VOID_UPDATE_GOLDEN=1 python -m pytest tests/farm/test_bundle_golden.py``, then read the
difference before it is committed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from farm_jobs import script_job, shots_job
from void_client.farm_job import FarmJob
from void_client.job import ShotFile
from void_client.opencue import CueSettings, Needs, write_job
from void_client.openjd import write_bundle

GOLDEN = Path(__file__).with_name("golden")
CUE = CueSettings("testing", "sh010", "ada", "local", 1000, environment=(("foundry_LICENSE", "4101@licences"),))
CUE_SHOTS = CueSettings("testing", "night-shots", "ada", solve=Needs("void", 2.5, 3000, ("general", "night")))


def openjd(job: FarmJob, folder: Path) -> None:
    write_bundle(job, folder)


def opencue(job: FarmJob, folder: Path) -> None:
    write_job(job, folder, CUE)


def opencue_shots(job: FarmJob, folder: Path) -> None:
    write_job(job, folder, CUE_SHOTS)


@pytest.mark.parametrize(
    ("name", "make", "write"),
    [
        ("openjd_script", script_job, openjd),
        ("openjd_shots", shots_job, openjd),
        ("opencue_script", script_job, opencue),
        ("opencue_shots", shots_job, opencue_shots),
    ],
)
def test_a_job_is_written_byte_by_byte_as_agreed(
    name: str, make: Callable[[Path], FarmJob], write: Callable[[FarmJob, Path], None], tmp_path: Path
) -> None:
    folder = tmp_path / "show" / "farm" / "job"
    write(make(tmp_path / "show"), folder)
    first = _texts(folder)
    write(make(tmp_path / "show"), folder)
    assert _texts(folder) == first
    written = {path: text.replace(str(tmp_path / "show"), "/PROJECT") for path, text in first.items()}
    if os.environ.get("VOID_UPDATE_GOLDEN"):
        _replace(GOLDEN / name, written)
    assert written == _texts(GOLDEN / name)


@pytest.mark.parametrize(("make", "write"), [(script_job, openjd), (shots_job, opencue_shots)])
def test_a_workers_void_reads_every_shot_as_it_was_submitted(
    make: Callable[[Path], FarmJob], write: Callable[[FarmJob, Path], None], tmp_path: Path
) -> None:
    job = make(tmp_path / "show")
    write(job, tmp_path / "job")
    read = [ShotFile.read(path) for path in (tmp_path / "job" / "shots").iterdir()]
    known = [replace(each.shot, overrides="") for each in job.shots]
    assert sorted(read, key=lambda shot: shot.seed) == sorted(known, key=lambda shot: shot.seed)


def _texts(folder: Path) -> dict[str, str]:
    """Read byte for byte: a line's end is a line's end."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes().decode() for path in files}


def _replace(folder: Path, written: dict[str, str]) -> None:
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.unlink()
    for name, text in written.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
