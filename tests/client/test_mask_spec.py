"""Masks in shot files and jobs: what the artist said of the object."""

from __future__ import annotations

from pathlib import Path

import pytest
from void_client.errors import FrameError, JobError
from void_client.job import ClickSpec, FrameRef, JobSpec, MaskSpec, PlateSpec, ShotFile

EXR = b"\x76\x2f\x31\x01"


@pytest.fixture
def shot(tmp_path: Path) -> Path:
    for number in range(1001, 1006):
        (tmp_path / f"plate.{number}.exr").write_bytes(EXR + bytes([number % 256]))
    for number in (1002, 1004):
        (tmp_path / f"matte.{number}.png").write_bytes(b"matte" + bytes([number % 256]))
    (tmp_path / "shot.yaml").write_text(
        "plate: plate.%04d.exr\n"
        "masks:\n"
        "  clicks:\n"
        "    - {frame: 1003, x: 12.5, y: 40}\n"
        "    - {frame: 1003, x: 1, y: 2, positive: false}\n"
        "  boxes: [{frame: 1001, x0: 1, y0: 2, x1: 30, y1: 40}]\n"
        "  matte: matte.%04d.png\n"
        "  reasoner: gemini\n"
        "  fallback: motion\n"
        "  words: the glass\n"
        "  options: {grow: 2, shape: soft}\n"
    )
    return tmp_path


def test_a_shot_file_says_what_the_object_is(shot):
    resolved = ShotFile.read(shot / "shot.yaml").resolve(shot)
    masks = resolved.spec.masks
    assert [(c.frame, c.x, c.y, c.positive) for c in masks.clicks] == [
        (1003, 12.5, 40.0, True),
        (1003, 1.0, 2.0, False),
    ]
    assert [ref.number for ref in masks.mattes] == [1002, 1004]
    assert masks.boxes[0].x1 == 30
    assert (masks.segmenter, masks.reasoner, masks.fallback, masks.words) == ("track", "gemini", "motion", "the glass")
    assert resolved.spec.quadmask is None
    assert {ref.sha256 for ref in resolved.spec.frame_refs()} == set(resolved.files)
    assert resolved.names["matte", 1002].name == "matte.1002.png"


def test_a_job_with_masks_survives_the_wire_and_keeps_its_hash(shot):
    spec = ShotFile.read(shot / "shot.yaml").resolve(shot).spec
    assert JobSpec.from_wire(spec.to_wire()) == spec
    assert JobSpec.from_wire(spec.to_wire()).content_hash() == spec.content_hash()
    assert "quadmask" not in spec.to_wire()
    assert "stop" not in spec.to_wire()


def test_an_edited_analysis_travels_with_the_job(shot):
    (shot / "analysis.json").write_text('{"reasoner": "motion"}')
    text = (shot / "shot.yaml").read_text() + "  analysis: analysis.json\n"
    (shot / "shot.yaml").write_text(text)
    assert ShotFile.read(shot / "shot.yaml").resolve(shot).spec.masks.analysis == '{"reasoner": "motion"}'
    (shot / "analysis.json").unlink()
    with pytest.raises(JobError, match=r"analysis\.json"):
        ShotFile.read(shot / "shot.yaml").resolve(shot)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("frame: 1003, x: 1,", "frame: 1009, x: 1,", "1009"),
        ("x1: 30", "x1: 1", "box"),
        ("reasoner: gemini", "resoner: gemini", "resoner"),
        ("x: 12.5", "x: left", "x"),
    ],
)
def test_a_slip_in_the_masks_is_told_by_its_key_or_frame(shot, before, after, message):
    (shot / "shot.yaml").write_text((shot / "shot.yaml").read_text().replace(before, after))
    with pytest.raises(JobError, match=message):
        ShotFile.read(shot / "shot.yaml").resolve(shot)


def with_affected(shot: Path) -> ShotFile:
    for number in (1002, 1003):
        (shot / f"shadow.{number}.png").write_bytes(b"shadow" + bytes([number % 256]))
    text = (shot / "shot.yaml").read_text() + "  affected: shadow.%04d.png\n"
    (shot / "affected.yaml").write_text(text)
    return ShotFile.read(shot / "affected.yaml")


def test_an_affected_matte_may_lie_on_some_frames_and_travels_with_the_job(shot):
    resolved = with_affected(shot).resolve(shot)
    masks = resolved.spec.masks
    assert [ref.number for ref in masks.affected] == [1002, 1003]
    assert [ref.number for ref in masks.mattes] == [1002, 1004]
    assert resolved.names["affected", 1003].name == "shadow.1003.png"
    assert {ref.sha256 for ref in resolved.spec.frame_refs()} == set(resolved.files)
    assert JobSpec.from_wire(resolved.spec.to_wire()) == resolved.spec


def test_without_an_affected_matte_the_job_is_what_it_was(shot):
    plain = ShotFile.read(shot / "shot.yaml").resolve(shot).spec
    assert "affected" not in plain.to_wire()["masks"]
    drawn = with_affected(shot).resolve(shot).spec
    assert drawn.to_wire()["masks"]["affected"] == [[ref.number, ref.sha256, ref.size] for ref in drawn.masks.affected]
    assert drawn.content_hash() != plain.content_hash()
    (shot / "shadow.1002.png").write_bytes(b"another")
    assert with_affected(shot).resolve(shot).spec.content_hash() == drawn.content_hash()  # written anew, the same
    (shot / "shadow.1003.png").write_bytes(b"another")
    assert ShotFile.read(shot / "affected.yaml").resolve(shot).spec.content_hash() != drawn.content_hash()


def test_an_affected_matte_without_an_object_is_refused_and_says_what_lacks(shot):
    with_affected(shot)
    (shot / "alone.yaml").write_text("plate: plate.%04d.exr\nmasks: {affected: shadow.%04d.png}\n")
    with pytest.raises(JobError, match="nobody says what goes: give the object's clicks, boxes or matte"):
        ShotFile.read(shot / "alone.yaml").resolve(shot)


def test_an_affected_matte_that_is_nowhere_is_an_error_and_an_empty_file_names_its_frame(shot):
    with_affected(shot)
    (shot / "shadow.1002.png").write_bytes(b"")
    with pytest.raises(FrameError, match=r"affected matte frame 1002: .*is empty") as caught:
        ShotFile.read(shot / "affected.yaml").resolve(shot)
    assert caught.value.details["input"] == "affected"
    for number in (1002, 1003):
        (shot / f"shadow.{number}.png").unlink()
    with pytest.raises(JobError, match=r"shadow\.%04d\.png has none of the plate's frames"):
        ShotFile.read(shot / "affected.yaml").resolve(shot)


def test_an_affected_matte_of_a_frame_that_the_plate_lacks_is_refused(shot):
    wire = with_affected(shot).resolve(shot).spec.to_wire()
    wire["masks"]["affected"][1][0] = 1099
    with pytest.raises(JobError, match="the affected matte has frame 1099"):
        JobSpec.from_wire(wire)


def test_masks_that_name_no_object_are_refused(shot):
    (shot / "shot.yaml").write_text("plate: plate.%04d.exr\nmasks: {reasoner: motion}\n")
    with pytest.raises(JobError, match="no object"):
        ShotFile.read(shot / "shot.yaml").resolve(shot)


def test_neither_quadmask_nor_masks_is_refused(shot):
    (shot / "shot.yaml").write_text("plate: plate.%04d.exr\n")
    with pytest.raises(JobError, match="quadmask"):
        ShotFile.read(shot / "shot.yaml").resolve(shot)


def test_a_job_with_an_affected_matte_is_written_and_hashed_as_ever():
    """Golden: what a job with one looks like on the wire, and its content hash."""
    spec = JobSpec(
        plate=PlateSpec((FrameRef(1, "a" * 64, 9), FrameRef(2, "b" * 64, 9))),
        masks=MaskSpec(clicks=(ClickSpec(1, 2.0, 3.0),), reasoner="none", affected=(FrameRef(2, "c" * 64, 5),)),
    )
    assert spec.to_wire() == {
        "version": 1, "seed": 42, "prompt": "", "shot": "", "engine": {"name": "cleanplate", "options": {}},
        "plate": {"frames": [[1, "a" * 64, 9], [2, "b" * 64, 9]], "layer": "", "colour_space": ""},
        "masks": {
            "clicks": [{"frame": 1, "x": 2.0, "y": 3.0, "positive": True}], "boxes": [], "mattes": [],
            "segmenter": "track", "reasoner": "none", "fallback": "", "words": "", "analysis": "", "options": {},
            "affected": [[2, "c" * 64, 5]],
        },
    }  # fmt: skip
    assert spec.content_hash() == "9672108bcc7df0755c3f705c65aa32de35c48c0e0ce113f67267781ba29c9e9b"
