"""Masks in shot files and jobs: what the artist said of the object."""

from __future__ import annotations

from pathlib import Path

import pytest
from void_client.errors import JobError
from void_client.job import JobSpec, ShotFile

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


def test_masks_that_name_no_object_are_refused(shot):
    (shot / "shot.yaml").write_text("plate: plate.%04d.exr\nmasks: {reasoner: motion}\n")
    with pytest.raises(JobError, match="no object"):
        ShotFile.read(shot / "shot.yaml").resolve(shot)


def test_neither_quadmask_nor_masks_is_refused(shot):
    (shot / "shot.yaml").write_text("plate: plate.%04d.exr\n")
    with pytest.raises(JobError, match="quadmask"):
        ShotFile.read(shot / "shot.yaml").resolve(shot)
