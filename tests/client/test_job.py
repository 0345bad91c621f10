"""Shot files, job specifications, frame patterns."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from void_client.errors import FrameError, InputError, JobError, SettingsError
from void_client.job import (
    ClickSpec,
    EngineSpec,
    FrameRef,
    JobSpec,
    MaskFile,
    PlateSpec,
    QuadmaskSpec,
    ShotFile,
    name_the_file,
)
from void_client.sequence import FramePattern, format_frames, parse_frames
from void_client.settings import ClientSettings, load_client_settings, load_settings

EXR = b"\x76\x2f\x31\x01"


def spec(**changes: object) -> JobSpec:
    plate = PlateSpec((FrameRef(1001, "a" * 64, 10), FrameRef(1002, "b" * 64, 10)))
    mask = QuadmaskSpec((FrameRef(1001, "c" * 64, 10), FrameRef(1002, "d" * 64, 10)))
    return replace(JobSpec(plate, mask), **changes)


@pytest.fixture
def shot(tmp_path: Path) -> Path:
    for number in range(1001, 1006):
        (tmp_path / f"plate.{number}.exr").write_bytes(EXR + bytes([number % 256]))
        (tmp_path / f"mask.{number}.png").write_bytes(b"mask" + bytes([number % 256]))
    return tmp_path


def test_a_spec_survives_the_wire_and_keeps_its_hash():
    job = spec(engine=EngineSpec("cleanplate", {"grain": 0.5}), prompt="a table")
    assert JobSpec.from_wire(json.loads(json.dumps(job.to_wire()))) == job
    assert JobSpec.from_wire(job.to_wire()).content_hash() == job.content_hash()


def test_the_content_hash_is_the_documented_one():
    # Written out by hand from docs/protocol.md.
    text = (
        '{"engine":{"name":"cleanplate","options":{}},"plate":{"colour_space":"","frames":[[1001,"' + "a" * 64
        + '",10],[1002,"' + "b" * 64 + '",10]],"layer":""},"prompt":"","quadmask":{"frames":[[1001,"' + "c" * 64
        + '",10],[1002,"' + "d" * 64 + '",10]]},"seed":42,"shot":"","version":1}'
    )  # fmt: skip
    import hashlib

    assert spec(shot="any").content_hash() == hashlib.sha256(text.encode()).hexdigest()


def test_the_label_does_not_change_the_hash_and_the_seed_does():
    assert spec(shot="a").content_hash() == spec(shot="b").content_hash()
    assert spec(seed=1).content_hash() != spec(seed=2).content_hash()


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("sede",), 1, "'sede' is not known"),
        (("seed",), "x", "seed: expected a whole number"),
        (("seed",), -1, "seed"),
        (("version",), 2, "version 2"),
        (("plate", "frames"), [], "no frames"),
        (("plate", "frames"), [[1, "x", 1], [2, "b" * 64, 1]], "SHA-256"),
        (("plate", "frames"), [[2, "a" * 64, 1], [1, "b" * 64, 1]], "ascending"),
        (("plate", "frames"), [[1001, "a" * 64, 0], [1002, "b" * 64, 1]], "empty"),
        (("quadmask", "frames"), [[1001, "a" * 64, 1]], "same frames"),
        (("engine", "options"), {"a": [1]}, "option 'a'"),
    ],
)
def test_a_bad_spec_is_refused_by_name(path, value, complaint):
    plain = spec().to_wire()
    inner = plain
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(JobError, match=complaint):
        JobSpec.from_wire(plain)


@pytest.mark.parametrize("pattern", ["plate.%04d.exr", "plate.####.exr", "plate.%d.exr"])
def test_both_kinds_of_pattern_find_the_frames(shot, pattern):
    resolved = ShotFile(pattern, "mask.%04d.png").resolve(shot)
    assert [ref.number for ref in resolved.spec.plate.frames] == [1001, 1002, 1003, 1004, 1005]
    assert resolved.names["plate", 1003] == shot / "plate.1003.exr"
    assert set(resolved.files) == {ref.sha256 for ref in resolved.spec.frame_refs()}


def test_a_shot_file_is_read_and_its_paths_count_from_its_folder(shot):
    (shot / "shot.yaml").write_text("plate: plate.%04d.exr\nquadmask: mask.%04d.png\nframes: 1002-1003\nseed: 7\n")
    resolved = ShotFile.read(shot / "shot.yaml").resolve(shot)
    assert [ref.number for ref in resolved.spec.plate.frames] == [1002, 1003]
    assert resolved.spec.seed == 7


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("plate: a\nquadmask: b\nsede: 1\n", "sede"), ("plate: [", "not YAML"), ("- 1\n", "map"), ("plate: 5\n", "text")],
)
def test_a_bad_shot_file_is_named(tmp_path, text, complaint):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(JobError, match=complaint) as caught:
        ShotFile.read(path)
    assert "s.yaml" in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_an_option_that_is_no_finite_number_is_named(shot, value):
    file = ShotFile("plate.%04d.exr", "mask.%04d.png", options={"grain": value})
    with pytest.raises(JobError, match="engine option 'grain' must be a number"):
        file.resolve(shot)
    masks = MaskFile(clicks=(ClickSpec(1001, 1, 1),), options={"near": value})
    with pytest.raises(JobError, match="option of the quadmask 'near' must be a number"):
        ShotFile("plate.%04d.exr", masks=masks).resolve(shot)


def test_no_frames_names_the_pattern(tmp_path):
    with pytest.raises(FrameError, match="No plate frames") as caught:
        ShotFile("plate.%04d.exr", "mask.%04d.png").resolve(tmp_path)
    assert caught.value.exit_code == 2


def test_a_hole_names_the_first_missing_file(shot):
    (shot / "plate.1003.exr").unlink()
    with pytest.raises(FrameError, match=r"plate\.1003\.exr") as caught:
        ShotFile("plate.%04d.exr", "mask.%04d.png").resolve(shot)
    assert caught.value.details["frame"] == 1003


def test_a_missing_mask_frame_is_named(shot):
    (shot / "mask.1005.png").unlink()
    with pytest.raises(FrameError, match=r"mask\.1005\.png"):
        ShotFile("plate.%04d.exr", "mask.%04d.png").resolve(shot)


@pytest.mark.parametrize(("data", "complaint"), [(b"", "empty"), (b"PNG?", "not an EXR")])
def test_a_plate_that_is_no_exr_is_named_before_anything_is_sent(shot, data, complaint):
    (shot / "plate.1002.exr").write_bytes(data)
    with pytest.raises(FrameError, match=complaint) as caught:
        ShotFile("plate.%04d.exr", "mask.%04d.png").resolve(shot)
    assert caught.value.details["file"].endswith("plate.1002.exr")


@pytest.mark.parametrize("pattern", ["plate.exr", "plate.%04d.%04d.exr", "#.#.exr"])
def test_a_pattern_has_one_frame_number(pattern):
    with pytest.raises(JobError, match="frame number"):
        FramePattern.parse(pattern)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1001", (1001,)),
        ("1001-1003", (1001, 1002, 1003)),
        ("1-9x4", (1, 5, 9)),
        ("5,1-3, 2", (1, 2, 3, 5)),
        ("-3--1", (-3, -2, -1)),
    ],
)
def test_frame_ranges(text, numbers):
    assert parse_frames(text) == numbers
    assert parse_frames(format_frames(numbers)) == numbers


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-", "1-2x0", "1-999999999", "1;2"])
def test_bad_frame_ranges(text):
    with pytest.raises(JobError):
        parse_frames(text)


def test_the_files_name_is_put_into_an_error_that_knows_its_frame(shot):
    resolved = ShotFile("plate.%04d.exr", "mask.%04d.png").resolve(shot)
    error: InputError = FrameError("The frame is torn.", details={"input": "plate", "frame": 1002})
    name_the_file(error, resolved.names)
    assert "plate.1002.exr" in str(error)


def test_settings_come_in_order(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("endpoint: tcp://file:1\ntimeout_s: 5\n")

    def load(environment: dict, **overrides: object) -> ClientSettings:
        return load_settings(ClientSettings, file=file, prefix="X_", environment=environment, overrides=overrides)

    assert load({}).endpoint == "tcp://file:1"
    assert load({"X_ENDPOINT": "tcp://env:1"}).endpoint == "tcp://env:1"
    assert load({"X_ENDPOINT": "tcp://env:1"}, endpoint="tcp://line:1").endpoint == "tcp://line:1"
    assert load({"X_TIMEOUT_S": "7"}).timeout_s == 7.0


@pytest.mark.parametrize(
    ("environment", "text", "complaint"),
    [
        ({"VOID_CLIENT_ENPOINT": "x"}, "", "VOID_CLIENT_ENPOINT"),
        ({"VOID_CLIENT_TIMEOUT_S": "soon"}, "", "VOID_CLIENT_TIMEOUT_S"),
        ({}, "enpoint: tcp://a:1\n", "enpoint"),
        ({}, "endpoint: http://a:1\n", "tcp://"),
    ],
)
def test_unknown_and_bad_settings_are_errors(tmp_path, environment, text, complaint):
    file = tmp_path / "client.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=complaint):
        load_client_settings(environment, {}, file)
