"""Submission to the farm from Nuke: what the artist reads, and that the script is left as it was."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from small_shots import write_matte

TWO = ("VOID1", "VOID2")


def written(bundle: Path, name: str) -> Any:
    return YAML(typ="safe", pure=True).load((bundle / name).read_text(encoding="utf-8"))


def bundle_of(artist: Any) -> Path:
    (folder,) = (artist.project / "void" / "farm").iterdir()
    return folder


def comp(artist: Any, plate: str, nodes: int = 1) -> list[Any]:
    """VOID nodes with a click each on one Read, each with a Write; saved."""
    artist.script()
    read = artist.read(plate)
    made = []
    for index in range(nodes):
        node = artist.void(read)
        artist.click(node)
        node["seed"].setValue(10 + index)
        write = artist.nuke.nodes.Write(file=f"{artist.project.as_posix()}/out{index}.%04d.exr")
        write.setInput(0, node)
        made.append(node)
    artist.nuke.scriptSave()
    return made


def submit_all() -> None:
    from void_nuke import actions

    actions.submit_all()


def test_all_nodes_of_the_script_are_tasks_and_the_copy_reads_what_they_will_make(artist: Any, plate: str) -> None:
    nodes = comp(artist, plate, 2)
    script = Path(artist.nuke.root().name())
    before = script.read_bytes()
    submit_all()
    assert script.read_bytes() == before
    assert artist.nuke.root().name() == script.as_posix()
    assert [node["result_file"].value() for node in nodes] == ["", ""]
    bundle = bundle_of(artist)
    shots = {name: written(bundle, f"shots/{name}.yaml") for name in TWO}
    copy = (bundle / script.name).read_text(encoding="utf-8")
    for node, name in zip(nodes, TWO):
        assert shots[name]["node"] == node["void_uuid"].value()
        assert shots[name]["plate"] == plate
        assert f"result_file {shots[name]['link']}/plate.%04d.exr" in copy
    assert copy.count("result_last 1006") == 2
    (said,) = artist.said()
    assert "solves VOID1, VOID2, then renders" in said
    assert str(bundle) in said


def test_a_node_that_is_up_to_date_is_not_solved_again(artist: Any, plate: str) -> None:
    first, _second = comp(artist, plate, 2)
    first["review"].setValue(False)
    artist.solve(first)
    shown = first["result_file"].value()
    submit_all()
    bundle = bundle_of(artist)
    assert [path.name for path in (bundle / "shots").iterdir()] == ["VOID2.yaml"]
    assert f"result_file {shown}" in (bundle / "sh010_comp_v001.nk").read_text(encoding="utf-8")


def test_the_button_solves_its_own_node_only(artist: Any, plate: str) -> None:
    comp(artist, plate, 2)
    artist.press(artist.nuke.toNode("VOID2"), "submit_farm")
    bundle = bundle_of(artist)
    assert [path.name for path in (bundle / "shots").iterdir()] == ["VOID2.yaml"]
    assert [step["name"] for step in written(bundle, "template.yaml")["steps"]] == ["VoidSolve", "Render"]
    assert (bundle / "sh010_comp_v001.nk").is_file()
    assert "Not solved, as they were not asked for: VOID1." in artist.said()[-1]


def test_another_state_of_the_script_is_another_job(artist: Any, plate: str) -> None:
    comp(artist, plate)
    submit_all()
    first = bundle_of(artist)
    before = (first / "sh010_comp_v001.nk").read_bytes()
    artist.nuke.allNodes("Write", artist.nuke.root())[0]["file"].setValue(f"{artist.project.as_posix()}/other.%04d.exr")
    submit_all()
    assert (first / "sh010_comp_v001.nk").read_bytes() == before
    assert len(list((artist.project / "void" / "farm").iterdir())) == 2


def test_a_review_under_way_is_not_rendered_and_changes_stay_unsaved(artist: Any, plate: str) -> None:
    (node,) = comp(artist, plate)
    artist.solve(node, "masks ready")
    shown = node["mask_file"].value()
    assert shown
    artist.nuke.modified(True)
    submit_all()
    assert node["mask_file"].value() == shown
    assert artist.nuke.modified()
    assert "quadmask.%04d" not in (bundle_of(artist) / "sh010_comp_v001.nk").read_text(encoding="utf-8")


def test_the_same_submission_twice_is_one_job(artist: Any, plate: str) -> None:
    comp(artist, plate)
    submit_all()
    bundle = bundle_of(artist)
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    submit_all()
    assert bundle_of(artist) == bundle
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before


def test_disabled_nodes_and_writes_stay_out(artist: Any, plate: str) -> None:
    nodes = comp(artist, plate, 2)
    nodes[0]["disable"].setValue(True)
    for write in artist.nuke.allNodes("Write"):
        write["disable"].setValue(True)
    submit_all()
    template = written(bundle_of(artist), "template.yaml")
    assert [step["name"] for step in template["steps"]] == ["VoidSolve"]
    assert [path.name for path in (bundle_of(artist) / "shots").iterdir()] == ["VOID2.yaml"]
    assert "no Write node that is on" in artist.said()[-1]


def test_a_node_that_cannot_be_solved_is_named_and_nothing_is_written(artist: Any, plate: str) -> None:
    nodes = comp(artist, plate, 2)
    artist.press(nodes[1], "clear_clicks")
    submit_all()
    assert "VOID2: Nothing says what is to be removed." in artist.said()[-1]
    assert not (artist.project / "void" / "farm").exists()


def test_a_script_without_nodes_says_so(artist: Any) -> None:
    artist.script()
    submit_all()
    assert "The script has no VOID node that is on." in artist.said()[-1]


def test_an_unsaved_script_is_not_submitted(artist: Any, plate: str) -> None:
    artist.nuke.scriptClear()
    artist.void(artist.read(plate))
    submit_all()
    assert "has not been saved" in artist.said()[-1]


def test_a_folder_that_cannot_be_written_is_told(artist: Any, plate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    comp(artist, plate)
    blocked = artist.project / "file"
    blocked.write_text("here")
    monkeypatch.setenv("VOID_NUKE_FARM_BUNDLES", str(blocked))
    submit_all()
    assert "could not be written to" in artist.said()[-1]


def test_a_project_directory_that_follows_the_script_is_written_out(artist: Any, plate: str) -> None:
    comp(artist, plate)
    knob = artist.nuke.root()["project_directory"]
    knob.setValue("[file dirname [value root.name]]")
    submit_all()
    assert knob.value() == "[file dirname [value root.name]]"
    copy = (bundle_of(artist) / "sh010_comp_v001.nk").read_text(encoding="utf-8")
    assert f"project_directory {artist.project.as_posix()}" in copy


def test_expressions_on_the_scripts_own_place_are_told(artist: Any, plate: str) -> None:
    comp(artist, plate)
    artist.nuke.allNodes("Write")[0]["file"].setValue("[file rootname [value root.name]].%04d.exr")
    submit_all()
    assert "ask where it lies" in artist.said()[-1]


def fake_deadline(folder: Path, code: int) -> Path:
    """A program called deadline that keeps what it was asked."""
    folder.mkdir()
    program = folder / "deadline"
    asked = folder / "asked.json"
    lines = [
        f"#!{sys.executable}",
        "import json, sys",
        f"open({str(asked)!r}, 'w').write(json.dumps(sys.argv[1:]))",
        "print('job-1234')",
        f"sys.exit({code})",
    ]
    program.write_text("\n".join(lines))
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    return asked


@pytest.mark.parametrize(("code", "news"), [(0, "handed to Deadline Cloud"), (1, "NOT handed to Deadline Cloud")])
def test_the_bundle_is_handed_to_deadline_cloud_where_the_artist_says_so(
    artist: Any, plate: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, news: str
) -> None:
    asked = fake_deadline(tmp_path / "bin", code)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    comp(artist, plate)
    artist.standin.answer(True)
    submit_all()
    artist.standin.pump(lambda: any(news in text for text in artist.said()), 30)
    assert json.loads(asked.read_text()) == ["bundle", "submit", str(bundle_of(artist)), "--yes"]
    assert "job-1234" in artist.said()[-1]
    if code == 0:
        assert not any("NOT handed" in text for text in artist.said())


def test_nothing_is_handed_over_where_the_studio_says_never(
    artist: Any, plate: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = fake_deadline(tmp_path / "bin", 0)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("VOID_NUKE_FARM_SUBMIT", "never")
    comp(artist, plate)
    submit_all()
    assert bundle_of(artist).is_dir()
    assert not asked.exists()


def test_a_matte_that_was_rendered_again_is_another_job(artist: Any, plate: str, tmp_path: Path) -> None:
    (node,) = comp(artist, plate)
    pattern = write_matte(tmp_path / "matte")
    node.setInput(1, artist.nuke.nodes.Read(file=pattern, first=1001, last=1006, origfirst=1001, origlast=1006))
    submit_all()
    first = written(bundle_of(artist), "shots/VOID1.yaml")["link"]
    os.utime(Path(pattern % 1003), (1, 1))
    submit_all()
    bundles = list((artist.project / "void" / "farm").iterdir())
    assert len({written(bundle, "shots/VOID1.yaml")["link"] for bundle in bundles} - {first}) == 1
