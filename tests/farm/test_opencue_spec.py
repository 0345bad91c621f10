"""OpenCue's job specification: against its DTDs, against real pyoutline, and what cuebot would refuse."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cue_standin import DTDS, VERSIONS, Cue, Layer, validated
from farm_jobs import script_job, shots_job
from void_client.errors import JobError
from void_client.farm_job import FarmJob, FarmRender, FarmShot
from void_client.job import ShotFile
from void_client.opencue import CueSettings, Needs, shot_files, specification, write_job
from void_client.sequence import format_frames, parse_frames

CUE = CueSettings("testing", "sh010", "ada", "local", 1000, environment=(("foundry_LICENSE", "4101@licences"),))
SHOT = FarmShot("one", ShotFile("/p/plate.%04d.exr", "/p/mask.%04d.exr", out="/p/out"))
PYOUTLINE = DTDS / "pyoutline-1.37.0.xml"


def text_of(job: FarmJob, settings: CueSettings = CUE, folder: str = "/PROJECT/farm/job") -> str:
    return specification(job, Path(folder), settings)


def rendering(frames: str, chunk_size: int = 10, **more: object) -> FarmJob:
    return FarmJob("comp", render=FarmRender("comp.nk", frames, chunk_size=chunk_size, **more))  # type: ignore[arg-type]


# --- the published specification


@pytest.mark.parametrize("version", VERSIONS)
def test_every_dtd_from_1_12_on_accepts_the_job(version: str, tmp_path: Path) -> None:
    validated(text_of(script_job(tmp_path)), version)
    validated(text_of(shots_job(tmp_path), CueSettings("abc", "d-e", "f")), version)
    validated(text_of(rendering("1-3,7")), version)


def test_a_job_that_the_dtd_does_not_allow_is_found(tmp_path: Path) -> None:
    text = text_of(script_job(tmp_path))
    for fault in (
        text.replace("<range>1-2</range>\n        <chunk>1</chunk>", "<chunk>1</chunk>\n        <range>1-2</range>"),
        text.replace('type="Render"', 'type="render"'),
        text.replace('name="sh010_comp_v003"', 'name="two words"'),
        text.replace("<user>ada</user>", ""),
    ):
        assert fault != text
        with pytest.raises(AssertionError):
            validated(fault, "1.12")


def test_pyoutline_writes_the_same_job(tmp_path: Path) -> None:
    ours = ElementTree.fromstring(text_of(script_job(tmp_path)))
    theirs = ElementTree.fromstring(_pyoutline())
    for layer in theirs.iter("layer"):
        outputs = layer.find("outputs")  # of DTD 1.15, and empty
        assert outputs is not None
        assert not len(outputs)
        layer.remove(outputs)
    for root in (ours, theirs):
        ElementTree.indent(root)
    assert ElementTree.tostring(ours).decode() == ElementTree.tostring(theirs).decode()


def _pyoutline() -> str:
    python = os.environ.get("VOID_PYOUTLINE_PYTHON")
    if not python:
        return PYOUTLINE.read_text(encoding="utf-8")
    script = DTDS / "with_pyoutline.py"
    return subprocess.run([python, str(script)], capture_output=True, text=True, check=True, timeout=120).stdout


# --- frames


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("chunk", [1, 2, 5, 10, 46, 100])
@pytest.mark.parametrize("frames", ["1001-1046", "7", "1-10", "1-11", "0-8,12,20-31", "1-19x3", "999990-1000010"])
def test_every_frame_is_rendered_once_by_old_and_new_cuebots(frames: str, chunk: int, old: bool) -> None:
    cue = Cue.launched(text_of(rendering(frames, chunk)))
    rendered: list[int] = []
    for layer in cue.layers:
        assert all(len(range(start, end + 1)) <= chunk for start, end in _spans(layer, old))
        rendered += [number for start, end in _spans(layer, old) for number in range(start, end + 1)]
    assert sorted(rendered) == list(parse_frames(frames))


def _spans(layer: Layer, old: bool) -> list[tuple[int, int]]:
    spans = [layer.said(start, old=old).split()[2].partition("-") for start in layer.starts()]
    return [(int(first), int(last)) for first, _, last in spans]


def test_each_solve_frame_takes_its_own_shot(tmp_path: Path) -> None:
    job = script_job(tmp_path)
    write_job(job, tmp_path / "job", CUE)
    cue = Cue.launched(text_of(job, folder=str(tmp_path / "job")))
    taken = {}
    for layer in cue.layers[:2]:
        for start in layer.starts():
            file = Path(next(word for word in layer.said(start).split() if word.endswith(".yaml")))
            taken[file.read_text(encoding="utf-8").splitlines()[0]] = (layer.name, layer.gpus)
    assert taken == {
        "# VOID1": ("void_solve", 1), "# VOID2": ("void_solve", 1), "# Group1.VOID1": ("void_solve_cpu", 0)
    }  # fmt: skip


def test_ten_thousand_shots_have_ten_thousand_files() -> None:
    shots = tuple(FarmShot(f"s{index}", SHOT.shot) for index in range(10_001))
    names = list(shot_files(FarmJob("many", shots[:3])))
    assert names == ["0001.yaml", "0002.yaml", "0003.yaml"]
    (layer,) = Cue.launched(text_of(FarmJob("many", shots))).layers
    assert format_frames(layer.starts()) == "1-10001"
    assert layer.said(10_001).endswith("/shots/10001.yaml --local")


# --- the host's side


def test_renders_wait_for_every_solve(tmp_path: Path) -> None:
    cue = Cue.launched(text_of(script_job(tmp_path)))
    assert cue.name == "testing-sh010-ada_sh010_comp_v003"
    assert {layer.name: layer.after for layer in cue.layers} == {
        "void_solve": (),
        "void_solve_cpu": (),
        "render": ("void_solve", "void_solve_cpu"),
        "render_2": ("void_solve", "void_solve_cpu"),
    }


def test_a_frame_sees_the_gpus_that_it_was_lent_and_no_others(tmp_path: Path) -> None:
    job = replace(script_job(tmp_path), void="printenv", render=None)
    layer = Cue.launched(text_of(job)).layers[0]
    command = layer.said(1).partition("printenv")[0] + "printenv CUDA_VISIBLE_DEVICES"
    for lent, seen in ({"CUE_GPU_CORES": "2,3"}, "2,3\n"), ({"CUDA_VISIBLE_DEVICES": "5"}, "5\n"), ({}, ""):
        environment = {"PATH": os.environ["PATH"], **lent}
        done = subprocess.run(["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, check=False)
        assert done.stdout == seen


def test_a_studios_servers_need_no_gpu_of_the_host(tmp_path: Path) -> None:
    job = replace(script_job(tmp_path), server=True, render=None)
    (layer,) = Cue.launched(text_of(job)).layers
    assert layer.gpus == 0
    assert layer.said(3) == "void render /PROJECT/farm/job/shots/0003.yaml --remote"


def test_a_path_with_blanks_and_quotes_stays_one_word(tmp_path: Path) -> None:
    folder = tmp_path / "the farm's jobs (new) & old; ls"
    cue = Cue.launched(text_of(replace(FarmJob("one", (SHOT,)), void="/opt/a b/void"), folder=str(folder)))
    command = cue.layers[0].said(1)
    words = subprocess.run(
        ["/bin/sh", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert words == ["/opt/a b/void", "render", f"{folder}/shots/0001.yaml", "--local"]


def test_one_write_and_going_on_after_errors_are_nukes_options() -> None:
    (layer,) = Cue.launched(text_of(rendering("1-10", write_node="Write1", continue_on_error=True))).layers
    assert layer.said(1) == "nuke -F 1-10 -X Write1 --cont /PROJECT/farm/job/comp.nk"


@pytest.mark.parametrize(("seconds", "minutes"), [(1, "1"), (60, "1"), (61, "2"), (6 * 3600, "360")])
def test_times_are_told_in_whole_minutes(seconds: int, minutes: str) -> None:
    text = text_of(FarmJob("one", (SHOT,), solve_timeout_s=seconds))
    assert f"<timeout>{minutes}</timeout>" in text


def test_cores_have_a_point_and_memory_a_unit() -> None:
    text = text_of(FarmJob("one", (SHOT,)), replace(CUE, solve=Needs("void", 0.5, 2500, ("gpu_a", "gpu.b"))))
    for part in ("<cores>0.5</cores>", "<memory>2500m</memory>", "<tags>gpu_a | gpu.b</tags>"):
        assert part in text


# --- what OpenCue refuses


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"show": "ab"}, "'ab' is no show"),
        ({"show": "my show"}, "'my show' is no show"),
        ({"shot": "s1"}, "'s1' is no shot"),
        ({"shot": "größe"}, "'größe' is no shot"),
        ({"shot": "sh010\n"}, "is no shot"),
        ({"user": ""}, "'' is no user"),
        ({"user": "ada lovelace"}, "is no user"),
        ({"user": "root"}, "as root"),
        ({"uid": 0}, "as root"),
        ({"facility": "our place"}, "is no facility"),
        ({"environment": (("A-B", "x"),)}, "is no environment variable"),
        ({"environment": (("A", "x\ny"),)}, "The value of A"),
        ({"environment": (("A", " x"),)}, "The value of A"),
    ],
)
def test_names_that_cuebot_refuses_are_told_before(changes: dict[str, object], said: str) -> None:
    with pytest.raises(JobError, match=said) as told:
        replace(CUE, **changes)  # type: ignore[arg-type]
    assert told.value.hint


@pytest.mark.parametrize(
    "needs", [("", 1, 1024), ("a b", 1, 1024), ("void", 0, 1024), ("void", 1, 100), ("void", 1, 1024, ("gp",))]
)
def test_needs_that_no_host_has_are_told(needs: tuple[object, ...]) -> None:
    with pytest.raises(JobError):
        Needs(*needs)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["v2", "__", "äöü", ""])
def test_a_jobs_name_that_is_too_short_is_told(name: str) -> None:
    with pytest.raises(JobError, match="is no job's name for OpenCue"):
        text_of(FarmJob(name, (SHOT,)))


@pytest.mark.parametrize(
    ("name", "written"), [("sh010 comp", "sh010_comp"), ("-a--b-c", "a_b_c"), ("Comp (2).v1", "Comp_2_.v1")]
)
def test_a_jobs_name_is_made_one_that_cuebot_takes(name: str, written: str) -> None:
    text = text_of(FarmJob(name, (SHOT,)))
    assert f'<job name="{written}">' in text
    Cue.launched(text)


@pytest.mark.parametrize("path", ["/a/$HOME", "/a/`b`", '/a/"b"', "/a\\b", "/a/#JOB#", "/a\nb", "/a!b"])
def test_a_path_that_a_shell_or_cuebot_would_change_is_told(path: str) -> None:
    with pytest.raises(JobError, match="cannot stand in an OpenCue command"):
        text_of(FarmJob("one", (SHOT,)), folder=path)
    with pytest.raises(JobError, match="The command cannot"):
        text_of(FarmJob("one", (SHOT,), void=path))


def test_frames_below_0_are_refused() -> None:
    with pytest.raises(JobError, match="below 0"):
        rendering("-5-10")


def test_more_layers_or_frames_than_cuebot_takes_are_refused() -> None:
    with pytest.raises(JobError, match="OpenCue takes 1000"):
        text_of(rendering("1-3000x2", 2))
    Cue.launched(text_of(rendering("1-3000x2", 1)))
    too_many = replace(FarmJob("one", (SHOT,)), render=FarmRender("comp.nk", "1-100000", chunk_size=1))
    with pytest.raises(JobError, match="100001 frames"):
        text_of(too_many)


def test_a_refused_job_leaves_no_files(tmp_path: Path) -> None:
    with pytest.raises(JobError):
        write_job(FarmJob("v2", (SHOT,)), tmp_path / "job", CUE)
    assert not (tmp_path / "job").exists()
