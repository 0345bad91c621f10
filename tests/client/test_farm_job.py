"""A farm job before any manager's format: names of tasks, what is refused, files that must be brought, shot texts."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from void_client.errors import FrameError, InputError, JobError
from void_client.farm_job import (
    FarmJob,
    FarmRender,
    FarmShot,
    input_files,
    output_folders,
    shot_texts,
    task_names,
)
from void_client.job import ClickSpec, MaskFile, ShotFile

PLATE = ShotFile("/show/plate.%04d.exr", "/show/mask.%04d.exr", frames="1-3", out="/show/out")


def frames(folder: Path, name: str, numbers: range) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / f"{name}.{number:04d}.exr").write_bytes(b"EXR")
    return (folder / f"{name}.%04d.exr").as_posix()


def job(*shots: ShotFile) -> FarmJob:
    return FarmJob("job", tuple(FarmShot(f"s{index}", shot) for index, shot in enumerate(shots)))


# --- names


def test_labels_become_names_that_are_unique_and_plain() -> None:
    labels = ["VOID1", "Group1.VOID1", "shot 10", "shot/10", "größe", "???", "..", "a" * 80]
    names = task_names(labels)
    assert list(names) == labels
    assert [names[label] for label in labels[:4]] == ["VOID1", "Group1.VOID1", "shot_10", "shot_10_2"]
    assert names["größe"] == "gr_e"  # two letters in a row, one underscore
    assert (names["???"], names[".."]) == ("shot", "shot_2")
    assert names["a" * 80] == "a" * 56
    for name in names.values():
        FarmShot(name, PLATE)


def test_a_made_up_name_does_not_take_anothers() -> None:
    names = task_names(["a b", "a_b", "a_b_2", "a/b"])
    assert len(set(names.values())) == 4


def test_the_same_label_is_one_task() -> None:
    assert task_names(["VOID1", "VOID1"]) == {"VOID1": "VOID1"}


def test_ten_thousand_shots_are_named_and_checked_in_no_time() -> None:
    began = time.process_time()
    names = task_names(f"shot {index}" for index in range(10_000))
    assert len(FarmJob("many", tuple(FarmShot(name, PLATE) for name in names.values())).shots) == 10_000
    assert time.process_time() - began < 1.5  # of the processor; several where each name is looked for in all others


# --- what is refused


@pytest.mark.parametrize("name", ["", "a b", "../a", "-a", ".a", "a/b", "a" * 65, "a\n"])
def test_a_name_that_is_no_files_is_refused(name: str) -> None:
    with pytest.raises(JobError, match="is not a task's name"):
        FarmShot(name, PLATE)


def test_a_shot_says_where_its_frames_go() -> None:
    with pytest.raises(JobError, match="where should the frames go") as told:
        FarmShot("a", replace(PLATE, out=None))
    assert "`out`" in told.value.hint
    for where in ({"out": "/o"}, {"store": "/o", "node": "n"}, {"results": "/o"}):
        FarmShot("a", replace(PLATE, **{"out": None, **where}))  # type: ignore[arg-type]


def test_a_job_has_something_to_do_and_no_name_twice() -> None:
    with pytest.raises(JobError, match="nothing to do"):
        FarmJob("job")
    with pytest.raises(JobError, match="Two tasks have the name b"):
        FarmJob("job", tuple(FarmShot(name, PLATE) for name in ("a", "b", "b", "c")))
    FarmJob("job", render=FarmRender("comp.nk", "1-10"))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"frames": "-3-10"}, "below 0"),
        ({"frames": "10-1"}, "backwards"),
        ({"frames": "all"}, "not a frame range"),
        ({"frames": "1-10", "chunk_size": 0}, "1 frame at least"),
    ],
)
def test_frames_that_a_farm_cannot_render_are_refused(written: dict[str, object], said: str) -> None:
    with pytest.raises(JobError, match=said):
        FarmRender("comp.nk", **written)  # type: ignore[arg-type]


def test_engines_with_a_model_are_a_step_of_their_own() -> None:
    made = job(PLATE, replace(PLATE, engine="void"), PLATE)
    assert [each.name for each in made.with_gpu(True)] == ["s1"]
    assert [each.name for each in made.with_gpu(False)] == ["s0", "s2"]


# --- files


def test_every_file_that_a_solve_reads_is_told(tmp_path: Path) -> None:
    plate = frames(tmp_path / "plates", "plate", range(1001, 1005))
    quadmask = frames(tmp_path / "masks", "quad", range(1001, 1005))
    frames(tmp_path / "plates", "other", range(1001, 1005))
    (tmp_path / "studio.ocio").write_text("ocio_profile_version: 2\n")
    shot = ShotFile(plate, quadmask, frames="1002-1003", ocio=(tmp_path / "studio.ocio").as_posix(), out="/o")
    assert input_files(job(shot)) == (
        str(tmp_path / "masks" / "quad.1002.exr"),
        str(tmp_path / "masks" / "quad.1003.exr"),
        str(tmp_path / "plates" / "plate.1002.exr"),
        str(tmp_path / "plates" / "plate.1003.exr"),
        (tmp_path / "studio.ocio").as_posix(),
    )


def test_without_a_range_the_frames_on_disk_are_brought_and_two_shots_share_theirs(tmp_path: Path) -> None:
    plate = frames(tmp_path, "plate", range(1, 4))
    shot = ShotFile(plate, frames(tmp_path, "mask", range(1, 4)), ocio="ocio://default", out="/o")
    files = input_files(job(shot, replace(shot, seed=2)))
    assert [Path(file).name for file in files] == [
        f"{name}.{n:04d}.exr" for name in ("mask", "plate") for n in (1, 2, 3)
    ]


def test_mattes_and_an_analysis_are_brought(tmp_path: Path) -> None:
    plate = frames(tmp_path, "plate", range(1, 3))
    matte = frames(tmp_path / "mattes", "object", range(1, 2))  # an artist's matte may stand on one frame
    affected = frames(tmp_path / "mattes", "shadow", range(1, 3))
    analysis = tmp_path / "analysis.json"
    analysis.write_text("{}")
    masks = MaskFile(matte=matte, affected=affected, analysis=analysis.as_posix())
    files = input_files(job(ShotFile(plate, frames="1-2", masks=masks, out="/o")))
    assert [Path(file).name for file in files] == [
        "analysis.json", "object.0001.exr", "shadow.0001.exr", "shadow.0002.exr", "plate.0001.exr", "plate.0002.exr",
    ]  # fmt: skip


SIDECAR = """\
uuid-1:
  overrides:
    - {frames: 1-2, region: keep, mode: replace, matte: mattes/keep.%04d.exr}
    - {frames: 1, region: remove, mode: add, matte: still.exr}
    - {frames: 9, region: remove, mode: add, matte: mattes/late.%04d.exr}
    - {frames: 2, region: keep, mode: replace, matte: mattes/lost.%04d.exr}
uuid-2:
  overrides:
    - {frames: 1-2, region: remove, mode: add, matte: mattes/others.%04d.exr}
"""


def test_a_sidecars_mattes_are_brought_for_the_nodes_own_section(tmp_path: Path) -> None:
    plate = frames(tmp_path, "plate", range(1, 4))
    for name, numbers in (("keep", range(1, 4)), ("late", range(9, 10)), ("others", range(1, 3))):
        frames(tmp_path / "mattes", name, numbers)
    (tmp_path / "still.exr").write_bytes(b"EXR")
    sidecar = tmp_path / "comp.void.yaml"
    sidecar.write_text(SIDECAR)
    masks = MaskFile(words="car")
    shot = ShotFile(plate, frames="1-2", masks=masks, overrides=sidecar.as_posix(), section="uuid-1", out="/o")
    assert [Path(file).name for file in input_files(job(shot))] == [
        "comp.void.yaml", "keep.0001.exr", "keep.0002.exr", "plate.0001.exr", "plate.0002.exr", "still.exr",
    ]  # fmt: skip
    other = input_files(job(replace(shot, section="uuid-2")))
    assert {"others.0001.exr", "others.0002.exr"} <= {Path(file).name for file in other}
    assert "keep.0001.exr" not in {Path(file).name for file in other}


def test_a_plate_or_sidecar_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        input_files(job(ShotFile((tmp_path / "none" / "p.%04d.exr").as_posix(), out="/o")))
    with pytest.raises(JobError, match="no frame number"):
        input_files(job(ShotFile("/show/plate.exr", out="/o", frames="1-2")))
    plate = frames(tmp_path, "plate", range(1, 3))
    sidecar = tmp_path / "broken.void.yaml"
    sidecar.write_text("overrides: [{frames: 1-2\n")
    with pytest.raises((JobError, FrameError), match=r"broken\.void\.yaml"):
        input_files(job(ShotFile(plate, overrides=sidecar.as_posix(), out="/o")))


def test_output_folders_are_told_once(tmp_path: Path) -> None:
    store = replace(PLATE, out=None, store="/project", node="n", link="/project/links/1")
    assert output_folders(job(PLATE, PLATE, store, replace(store, link=None, results="/results"))) == (
        "/project", "/project/links/1", "/results", "/show/out"
    )  # fmt: skip


# --- shot files

EVERYTHING = ShotFile(
    "/show/plate.%04d.exr",
    frames="1001-1046",
    engine="void",
    options={"steps": 20, "mode": "production"},
    layer="beauty",
    colour_space="ACEScg",
    ocio="ocio://default",
    prompt='a "quiet" street: it\'s empty # yes',
    seed=2**62,
    shot="sh010",
    masks=MaskFile(clicks=(ClickSpec(1003, 10.5, 20.25), ClickSpec(1003, 1, 2, False)), words="the red car"),
    overrides="/show/comp.void.yaml",
    deliver="1009-1040",
    section="4f1c",
    results="/show/void",
    node="4f1c",
    link="/show/void/farm/1",
)


@pytest.mark.parametrize(
    "shot",
    [
        PLATE,
        EVERYTHING,
        replace(PLATE, handles=4),
        replace(EVERYTHING, masks=MaskFile(reasoner="none", matte="/m.%04d.exr")),
    ],
)
def test_a_shot_text_is_read_back_as_the_shot(shot: ShotFile, tmp_path: Path) -> None:
    ((name, content),) = shot_texts(job(shot)).items()
    assert name == "s0.yaml"
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(content, text)
    (tmp_path / name).write_text(text.getvalue(), encoding="utf-8")
    assert ShotFile.read(tmp_path / name) == replace(shot, overrides=shot.overrides or "")


def test_a_shot_text_holds_only_what_was_said() -> None:
    (content,) = shot_texts(job(PLATE)).values()
    assert content == {
        "plate": PLATE.plate, "quadmask": PLATE.quadmask, "frames": "1-3", "out": "/show/out", "overrides": ""
    }  # fmt: skip


def test_a_sidecar_that_lies_beside_the_shot_file_is_not_the_shots(tmp_path: Path) -> None:
    (content,) = shot_texts(job(PLATE)).values()
    with (tmp_path / "s0.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(content, file)
    (tmp_path / "s0.void.yaml").write_text("overrides: []\n")
    assert not ShotFile.read(tmp_path / "s0.yaml").overrides
