"""Overrides: a sidecar is read strictly and kindly, edited without loss, and ranked by one rule."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from void_client import schema
from void_client.digest import sha256_data
from void_client.errors import JobError
from void_client.job import JobSpec
from void_client.override_edit import entries_in, remove_entry, set_entry
from void_client.overrides import (
    FrameRef,
    OverrideSpec,
    Prepared,
    ShapeKey,
    ShapeSpec,
    Source,
    Word,
    beside,
    for_node,
    read,
    rule,
)

SIDECAR = """\
# the glass shot; ask Ann before touching 1010
version: 1
overrides:
  # the arm comes back too early
  - frames: 1001-1003,1005
    region: remove
    mode: add
    matte: mattes/arm.%04d.png
    author: Ann       # unknown keys are the pipeline's own
  - {frames: all, region: keep, mode: replace, shape: {rectangle: [0, 0, 10, 5]}}

  - frames: 1004
    region: affected
    mode: subtract
    shape:
      - polygon:
          1001: [[0, 0], [10, 0], [0, 10]]
          1005: [[4, 0], [14, 0], [4, 10]]
      - ellipse: [5, 6, 2.5, 3]
  - frames: 1001-1002
    region: affected
    hint: the shadow on the wall
"""
PLATE = tuple(range(1001, 1007))


@pytest.fixture
def sidecar(tmp_path: Path) -> Path:
    (tmp_path / "mattes").mkdir()
    for number in (1001, 1002, 1003, 1005):
        (tmp_path / f"mattes/arm.{number}.png").write_bytes(b"matte %d" % number)
    path = tmp_path / "void.yaml"
    path.write_text(SIDECAR)
    return path


def hashed(prepared: Prepared) -> tuple[OverrideSpec, ...]:
    refs = {}
    for (kind, number), path in prepared.files.items():
        data = path.read_bytes()
        refs[kind, number] = FrameRef(number, hashlib.sha256(data).hexdigest(), len(data))
    return prepared.specs(refs)


# --- reading


def test_a_sidecar_is_read_with_lines(sidecar):
    found = read(sidecar)
    assert [entry.label for entry in found.entries] == ["void.yaml:5", "void.yaml:10", "void.yaml:12", "void.yaml:20"]
    arm, lock, shapes, hint = found.entries
    assert (arm.frames, arm.region, arm.mode, arm.matte) == (
        (1001, 1002, 1003, 1005),
        "remove",
        "add",
        "mattes/arm.%04d.png",
    )
    assert (lock.frames, lock.region, lock.shapes[0].keys[0].numbers) == (None, "keep", (0.0, 0.0, 10.0, 5.0))
    assert [shape.kind for shape in shapes.shapes] == ["polygon", "ellipse"]
    assert hint.hint == "the shadow on the wall"
    assert found.warnings == ("void.yaml: VOID does not know these keys, and leaves them alone: author (line 9).",)


def test_shapes_move_linearly_between_keyframes_and_rest_outside_them():
    shape = ShapeSpec("rectangle", (ShapeKey(10, (0, 0, 10, 10)), ShapeKey(20, (100, 0, 110, 20))))
    assert shape.at(1) == (0, 0, 10, 10)
    assert shape.at(15) == (50, 0, 60, 15)
    assert shape.at(20) == shape.at(99) == (100, 0, 110, 20)


BAD = {
    "frames: 1001-x": "1: frames: '1001-x' is not a frame range",
    "frames: 1010-1001": "1: frames: The frame range '1010-1001' runs backwards",
    "frames: [1001]": "1: frames: .* is not a frame range",
    "frames: true": "1: frames: True is not a frame range",
    "frame: 1001": "1: frame: not known; is it meant to be frames",
    "region: removed": "2: region: 'removed' is none of remove, overlap, affected, keep",
    "regoin: remove": "2: regoin: not known; is it meant to be region",
    "mode: subtrakt": "3: mode: 'subtrakt' is none of replace, add, subtract",
    "mode:": "3: mode: None is none of",
    "shape: {}": "4: shape: expected one of rectangle, ellipse, polygon",
    "shape: {circle: [1, 2, 3, 4]}": "4: shape: expected one of",
    "shape: {rectangle: [9, 0, 1, 1]}": "4: rectangle: the rectangle is empty",
    "shape: {rectangle: [0, 0, 1]}": "4: rectangle: a shape rectangle has four numbers: x0",
    "shape: {rectangle: [0, 0, 1, wide]}": "4: rectangle: 'wide' is neither a number",
    "shape: {rectangle: [0, 0, 1, .nan]}": "4: rectangle: a coordinate is not within",
    "shape: {rectangle: [0, 0, 1, true]}": "4: rectangle: True is neither",
    "shape: {ellipse: [5, 5, 0, 1]}": "4: ellipse: the ellipse is empty",
    "shape: {polygon: [[0, 0], [1, 1]]}": "4: polygon: a polygon has 3 to",
    "shape: {polygon: {1: [[0, 0], [1, 1], [2, 0]], 2: [[0, 0], [1, 1], [2, 0], [3, 3]]}}": "4: polygon: keyframe 2",
    "shape: {rectangle: {first: [0, 0, 1, 1]}}": "4: rectangle: 'first' is not a keyframe",
    "matte: 12": "4: matte: expected text",
    "matte: ''": "4: matte: expected text",
    "hint: ' '": "4: hint: expected text",
    f"hint: {'long ' * 300}": "4: hint: more than 1000 characters",
    "note: nothing to draw": "1: matte: give one of matte, shape, hint; found none",
}  # fmt: skip


@pytest.mark.parametrize(("slip", "message"), BAD.items(), ids=list(BAD))
def test_a_bad_entry_disables_only_itself_and_is_told_by_line_and_key(tmp_path, slip, message):
    good = ["frames: 1001", "region: remove", "mode: add", "shape: {rectangle: [0, 0, 1, 1]}"]
    keys = ("frame", "reg", "mode", "")
    at = next(i for i, key in enumerate(keys) if slip.startswith(key))
    bad = [slip if i == at else line for i, line in enumerate(good)]
    path = tmp_path / "void.yaml"
    path.write_text("- " + "\n  ".join(bad) + "\n- " + "\n  ".join(good) + "\n")
    path.write_text("overrides:\n" + path.read_text())
    found = read(path)
    assert [entry.label for entry in found.entries] == ["void.yaml:6"]
    line, _, rest = message.partition(":")
    (warning,) = [text for text in found.warnings if "does not know" not in text]
    import re

    assert re.search(rf"^void\.yaml:{int(line) + 1}:{rest}", warning), warning
    assert warning.endswith("This entry is not used.")


@pytest.mark.parametrize(
    "text", ["overrides: [", "just words", "- 1\n- 2\n", "a: b: c", "\x00", "[" * 400, "a: 1\na: 2\n"]
)
def test_a_file_that_is_no_map_is_one_error_that_names_file_and_line(tmp_path, text):
    path = tmp_path / "void.yaml"
    path.write_text(text)
    with pytest.raises(JobError, match=r"void\.yaml:\d+: ") as caught:
        read(path)
    assert caught.value.details["file"] == str(path)
    assert caught.value.details["line"] >= 1


def test_bytes_that_are_no_text_are_one_error(tmp_path):
    (tmp_path / "void.yaml").write_bytes(b"\xff\xfe\x00overrides")
    with pytest.raises(JobError, match="cannot be read"):
        read(tmp_path / "void.yaml")


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "overrides:\n", "overrides: []\n", "{}"])
def test_an_empty_sidecar_holds_nothing(tmp_path, text):
    (tmp_path / "void.yaml").write_text(text)
    found = read(tmp_path / "void.yaml")
    assert (found.entries, found.warnings) == ((), ())


def test_a_misspelt_list_is_told(tmp_path):
    (tmp_path / "void.yaml").write_text("version: 1\noverides:\n  - frames: 1\n")
    assert read(tmp_path / "void.yaml").warnings == (
        "void.yaml:2: overides: not known; is it meant to be overrides?",
    )  # fmt: skip


@pytest.mark.parametrize("layout", [None, 2, "\t"])
def test_json_is_read_too_whatever_its_layout(tmp_path, layout):
    entry = {"frames": "1001", "region": "keep", "mode": "add", "shape": {"rectangle": {"1001": [0, 0, 1, 1]}}}
    (tmp_path / "void.json").write_text(json.dumps({"overrides": [entry, {**entry, "mode": "no"}]}, indent=layout))
    found = read(tmp_path / "void.json")
    assert found.entries[0].shapes[0].keys[0].frame == 1001
    assert len(found.warnings) == 1
    assert "mode" in found.warnings[0]


# --- finding


def test_a_nodes_section_goes_by_uuid_then_name_then_the_shots_own(tmp_path):
    entry = "[{frames: %d, region: keep, mode: add, shape: {rectangle: [0, 0, 1, 1]}}]"
    script = tmp_path / "sh010.nk"
    (tmp_path / "sh010.void.yaml").write_text(
        f"8c1f: {{note: mine, overrides: {entry % 1}}}\nVOID1: {entry % 2}\nVOID3: {{note: none yet}}\n"
    )
    (tmp_path / "void.yaml").write_text(f"overrides: {entry % 3}\n")

    def frames(uuid: str, name: str) -> list[int]:
        return [entry.frames[0] for entry in for_node(script, uuid=uuid, name=name).entries]

    assert frames("8c1f", "VOID1") == [1]
    assert frames("other", "VOID1") == [2]
    assert frames("other", "VOID2") == [3]
    assert frames("", "VOID3") == []
    assert for_node(tmp_path / "nowhere/sh.nk", uuid="", name="").entries == ()


def test_the_sidecar_of_a_shot_file_lies_beside_it(tmp_path):
    shot = tmp_path / "shot.yaml"
    assert beside(shot) is None
    (tmp_path / "void.yaml").write_text("")
    assert beside(shot) == tmp_path / "void.yaml"
    assert beside(tmp_path / "void.yaml") is None  # a shot file may have that name itself


# --- the form that travels


def test_entries_become_hashable_specifications_that_survive_the_wire(sidecar):
    prepared = read(sidecar).prepare(PLATE)
    specs = hashed(prepared)
    assert [spec.region for spec in specs] == ["remove", "keep", "affected", "affected"]
    assert specs[0].frames == (1001, 1002, 1003, 1005) == tuple(ref.number for ref in specs[0].matte)
    assert specs[1].frames == PLATE
    assert specs[2].frames == (1004,)
    assert (specs[3].frames, specs[3].mode, specs[3].hint) == ((1001, 1002), "add", "the shadow on the wall")
    assert len(set(specs)) == 4
    wire = json.loads(json.dumps(schema.dump(specs)))
    assert tuple(schema.load(OverrideSpec, each, where="job") for each in wire) == specs
    assert prepared.words == "On frames 1001-1002, affected: the shadow on the wall"
    assert set(prepared.files) == {("override 0", number) for number in specs[0].frames}


def test_frames_without_a_matte_are_left_out_and_told(sidecar):
    (sidecar.parent / "mattes/arm.1002.png").unlink()
    (sidecar.parent / "mattes/arm.1003.png").write_bytes(b"")
    prepared = read(sidecar).prepare(PLATE)
    assert hashed(prepared)[0].frames == (1001, 1005)
    assert (
        "arm.1002.png cannot be read, or is empty. This entry is not used on frames 1002-1003." in prepared.warnings[-1]
    )


def test_an_entry_that_reaches_nothing_is_left_out_and_told(sidecar):
    prepared = read(sidecar).prepare((1, 2), supplied=True)
    assert [spec.region for spec in hashed(prepared)] == ["keep"]
    assert sum("the shot has none of them" in text for text in prepared.warnings) == 3
    for number in (1001, 1002, 1003, 1005):
        (sidecar.parent / f"mattes/arm.{number}.png").unlink()
    prepared = read(sidecar).prepare(PLATE, supplied=True)
    assert [spec.region for spec in hashed(prepared)] == ["keep", "affected"]
    assert (
        "void.yaml:20: hint: with a supplied quadmask nothing is looked for by words; give a matte or a shape. "
        "This entry is not used."
    ) in prepared.warnings
    assert prepared.words == ""


def test_a_hint_takes_away_too_and_the_reasoner_is_told_so(tmp_path):
    (tmp_path / "void.yaml").write_text(
        "overrides:\n"
        "  - {frames: 1001, region: affected, mode: subtract, hint: the other man's shadow}\n"
        "  - {frames: all, region: keep, mode: replace, hint: the logo}\n"
    )
    prepared = read(tmp_path / "void.yaml").prepare(PLATE)
    assert [(spec.mode, spec.hint) for spec in hashed(prepared)] == [
        ("subtract", "the other man's shadow"), ("replace", "the logo"),
    ]  # fmt: skip
    assert prepared.words == (
        "On frames 1001, not affected: the other man's shadow\nOn frames 1001-1006, keep: the logo"
    )


def test_specifications_from_before_the_hints_are_read_and_hash_as_they_did():
    """The hashes are those of the program before it knew hints."""
    lock = {"frames": [1], "region": "keep", "mode": "replace", "matte": [], "label": "void.yaml:3"}
    rectangle = [{"kind": "rectangle", "keys": [[0, [0.0, 0.0, 4.0, 4.0]]]}]
    matte = [[1, "c" * 64, 5], [2, "c" * 64, 5]]
    old = {
        "version": 1, "seed": 42, "prompt": "", "shot": "", "engine": {"name": "cleanplate", "options": {}},
        "plate": {"frames": [[1, "a" * 64, 9], [2, "b" * 64, 9]], "layer": "", "colour_space": ""},
        "masks": {
            "clicks": [{"frame": 1, "x": 2.0, "y": 3.0, "positive": True}], "boxes": [], "mattes": [],
            "segmenter": "track", "reasoner": "motion", "fallback": "", "words": "", "analysis": "", "options": {},
        },
        "overrides": [
            {**lock, "shapes": rectangle},
            {"frames": [1, 2], "region": "remove", "mode": "add", "matte": matte, "shapes": [], "label": "void.yaml:9"},
        ],
    }  # fmt: skip
    job = JobSpec.from_wire(old)
    assert job.to_wire() == old
    assert job.content_hash() == "aa7aa830efb0a84c0ec9fb92d8da9ff0189ad7e707a0ebaeff128bb9df5cc43b"
    without = replace(job, overrides=())
    assert without.content_hash() == "e205895166d2583a0ad87d20b0a7074e64ab8d2c4980e1d75fbbfa88339446b9"
    stages = sha256_data([override.content() for override in job.overrides])
    assert stages == "f648ccc4e75461eda8b4b1755bdca4c75cbeabba61dc6295a325b5c5231fd939"
    hinted = replace(job, overrides=(OverrideSpec((1,), "affected", "add", label="void.yaml:3", hint="the shadow"),))
    assert JobSpec.from_wire(json.loads(json.dumps(hinted.to_wire()))) == hinted
    other = replace(hinted, overrides=(replace(hinted.overrides[0], hint="the glow"),))
    assert len({job.content_hash(), hinted.content_hash(), other.content_hash()}) == 3


def test_a_matte_at_rest_is_hashed_once(tmp_path):
    (tmp_path / "still.png").write_bytes(b"still")
    (tmp_path / "void.yaml").write_text("overrides: [{frames: all, region: keep, mode: add, matte: still.png}]")
    prepared = read(tmp_path / "void.yaml").prepare(PLATE)
    assert list(prepared.files.values()) == [tmp_path / "still.png"]
    (spec,) = hashed(prepared)
    assert tuple(ref.number for ref in spec.matte) == PLATE
    (tmp_path / "still.png").unlink()
    assert read(tmp_path / "void.yaml").prepare(PLATE).drawn == ()


@pytest.mark.parametrize(
    "change",
    [
        {"region": "other"}, {"mode": "other"}, {"frames": []}, {"frames": [2, 1]}, {"shapes": []},
        {"shapes": [{"kind": "circle", "keys": [[0, [1, 2, 3, 4]]]}]},
        {"shapes": [{"kind": "polygon", "keys": []}]},
        {"shapes": [{"kind": "rectangle", "keys": [[0, [0, 0, 1, 1]], [0, [0, 0, 1, 1]]]}]},
        {"shapes": [{"kind": "rectangle", "keys": [[0, [0, 0, 1e9, 1]]]}]},
        {"matte": [[1, "0" * 64, 5]]}, {"path": "/etc/passwd"}, {"hint": "the shadow"},
        {"shapes": [], "hint": " "}, {"shapes": [], "hint": "x" * 1001}, {"shapes": [], "hint": 3},
    ],
)  # fmt: skip
def test_what_arrives_is_judged_as_strictly(change):
    good = {
        "frames": [1, 2], "region": "remove", "mode": "add",
        "shapes": [{"kind": "rectangle", "keys": [[0, [0, 0, 1, 1]]]}],
    }  # fmt: skip
    schema.load(OverrideSpec, good, where="job")
    with pytest.raises(JobError):
        schema.load(OverrideSpec, {**good, **change}, where="job", error=JobError)


# --- precedence


def words(*said: tuple[str, str, str]) -> list[Word]:
    return [Word(Source(source), region, mode, str(i)) for i, (source, region, mode) in enumerate(said)]


def told(*said: tuple[str, str, str]) -> tuple[str, str, str]:
    """Winner, edits and outvoted of "remove", by their order."""
    ruling = rule("remove", words(*said))
    return (
        ruling.winner.label if ruling.winner else "",
        "".join(word.label for word in ruling.edits),
        "".join(word.label for word in ruling.outvoted),
    )


CLICKS, MATTES = ("clicks", "remove", "replace"), ("mattes", "remove", "replace")
REASONED, INPUT = ("reasoning", "remove", "add"), ("input 3", "remove", "replace")
SIDE, SIDE_ADD = ("sidecar", "remove", "replace"), ("sidecar", "remove", "add")


def test_the_order_is_the_designs():
    assert [source.value for source in Source] == ["input 3", "sidecar", "mattes", "clicks", "reasoning"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], ("", "", "")),
        ([CLICKS], ("0", "", "")),
        ([CLICKS, REASONED], ("0", "1", "")),
        ([CLICKS, MATTES, REASONED], ("1", "2", "0")),
        ([MATTES, CLICKS, REASONED], ("0", "2", "1")),
        ([CLICKS, REASONED, SIDE_ADD], ("0", "12", "")),
        ([CLICKS, REASONED, SIDE], ("2", "", "01")),
        ([CLICKS, SIDE_ADD, SIDE, SIDE_ADD], ("2", "3", "01")),
        ([CLICKS, SIDE, SIDE], ("2", "", "01")),
        ([INPUT, SIDE], ("0", "", "1")),
        ([INPUT, SIDE_ADD], ("0", "1", "")),
        ([INPUT, REASONED], ("0", "", "1")),
        ([INPUT, ("sidecar", "overlap", "replace")], ("0", "", "1")),
        ([INPUT, ("sidecar", "keep", "replace")], ("0", "1", "")),
        ([CLICKS, ("sidecar", "keep", "replace"), SIDE], ("2", "1", "0")),
        ([CLICKS, ("sidecar", "keep", "add"), SIDE], ("2", "", "01")),
        ([SIDE_ADD], ("", "0", "")),
    ],
)
def test_who_wins_a_region(said, expected):
    assert told(*said) == expected


# --- editing

NEW = {"frames": "1006", "region": "keep", "mode": "add", "shape": {"rectangle": [1, 2, 3, 4]}}


def lines_changed(before: str, after: str) -> tuple[list[str], list[str]]:
    import difflib

    changes = list(difflib.ndiff(before.splitlines(keepends=True), after.splitlines(keepends=True)))
    return [c[2:] for c in changes if c[0] == "-"], [c[2:] for c in changes if c[0] == "+"]


def test_an_entry_added_leaves_every_other_byte(sidecar):
    assert set_entry(sidecar, NEW) == 4
    after = sidecar.read_text()
    assert after.startswith(SIDECAR)
    assert len(read(sidecar).entries) == 5
    assert read(sidecar).entries[4].shapes[0].keys[0].numbers == (1, 2, 3, 4)


def test_an_entry_replaced_keeps_its_own_comments_and_unknown_keys(sidecar):
    set_entry(
        sidecar, {"frames": "1001-1002", "region": "remove", "mode": "add", "matte": "mattes/arm.%04d.png"}, index=0
    )
    gone, come = lines_changed(SIDECAR, sidecar.read_text())
    assert gone == ["  - frames: 1001-1003,1005\n"]
    assert come == ["  - frames: 1001-1002\n"]


def test_an_entry_in_brackets_among_others_is_replaced_alone(sidecar):
    set_entry(sidecar, {**NEW, "frames": "all"}, index=1)
    gone, come = lines_changed(SIDECAR, sidecar.read_text())
    assert len(gone) == len(come) == 1
    assert "[1, 2, 3, 4]" in come[0]
    assert [entry.label for entry in read(sidecar).entries] == [entry.label for entry in read(sidecar).entries]


@pytest.mark.parametrize("index", range(4))
def test_an_entry_removed_leaves_every_other_byte(sidecar, index):
    before = [entry.label.split(":")[0] for entry in read(sidecar).entries]
    remove_entry(sidecar, index)
    gone, come = lines_changed(SIDECAR, sidecar.read_text())
    assert come == []
    assert not any(line.lstrip().startswith("#") or not line.strip() for line in gone)
    assert len(read(sidecar).entries) == len(before) - 1


def test_added_then_removed_is_the_same_bytes(sidecar):
    remove_entry(sidecar, set_entry(sidecar, NEW))
    assert sidecar.read_text() == SIDECAR


def test_the_last_entry_can_go_and_come_back(tmp_path):
    path = tmp_path / "void.yaml"
    text = "# mine\noverrides:\n- frames: 1\n  region: keep\n  mode: add\n  matte: a.png\n# the end\n"
    path.write_text(text)
    remove_entry(path, 0)
    assert path.read_text() == "# mine\noverrides:\n# the end\n"
    assert read(path).entries == ()
    set_entry(path, NEW)
    assert len(read(path).entries) == 1
    assert "# mine" in path.read_text()


@pytest.mark.parametrize("start", [None, "", "# only a comment\n", "version: 1  # no list yet", "a: 1\r\nb: 2\r\n"])
def test_a_file_or_a_list_is_made_where_there_is_none(tmp_path, start):
    path = tmp_path / "void.yaml"
    if start is not None:
        path.write_bytes(start.encode())
    set_entry(path, NEW, node="VOID1")
    set_entry(path, NEW, node="VOID1")
    set_entry(path, NEW)
    after = path.read_bytes().decode()
    assert after.startswith(start or "")
    assert len(read(path, name="VOID1").entries) == 2
    assert len(read(path).entries) == 1
    if start and "\r\n" in start:
        assert after.count("\n") == after.count("\r\n")


def test_a_nodes_entries_are_edited_under_its_map(tmp_path):
    path = tmp_path / "sh.void.yaml"
    path.write_text(
        "VOID1:\n  note: keep me   # please\n  overrides:\n    - frames: 1\n      region: keep\n"
        "      mode: add\n      matte: a.png\nVOID2:\n    - {frames: 2, region: keep, mode: add, matte: b.png}\n"
    )
    before = path.read_text()
    set_entry(path, NEW, node="VOID1")
    gone, come = lines_changed(before, path.read_text())
    assert gone == []
    assert come[0] == "    - frames: '1006'\n"
    set_entry(path, NEW, node="VOID2", index=0)
    assert [entry.frames for entry in read(path, name="VOID2").entries] == [(1006,)]
    assert len(read(path, name="VOID1").entries) == 2


@pytest.mark.parametrize(
    "text",
    [
        "overrides: [{frames: 1, region: keep, mode: add, matte: a.png, who: Ann}]  # flow\nother: 1 # stays\n",
        '{"overrides": [{"frames": "1", "region": "keep", "mode": "add", "matte": "a.png", "who": "Ann"}], "other": 1}',
        "overrides:\n  -\n    frames: 1\n    region: keep\n    mode: add\n    matte: a.png\n    who: Ann\nother: 1\n",
        "base: &b {region: keep, mode: add}\nother: 1\noverrides:\n- <<: *b\n  frames: 1\n  matte: a.png\n  who: Ann\n",
    ],
    ids=["flow", "json", "dash alone", "merged"],
)
def test_any_way_of_writing_is_edited_without_loss(tmp_path, text):
    path = tmp_path / ("void.json" if text.startswith("{") else "void.yaml")
    path.write_text(text)
    set_entry(path, NEW)
    set_entry(path, {**NEW, "frames": "7"}, index=0)
    from ruamel.yaml import YAML

    document = YAML(typ="safe", pure=True).load(path.read_text())
    assert document["other"] == 1
    assert document["overrides"][0] == {**NEW, "frames": "7", "who": "Ann"}
    assert document["overrides"][1] == NEW
    assert path.read_text().count("# stays") == text.count("# stays")
    if path.suffix == ".json":
        json.loads(path.read_text())
    remove_entry(path, 0)
    assert entries_in(YAML(typ="safe", pure=True).load(path.read_text())) == [NEW]


def test_nothing_is_written_that_could_not_be_read(sidecar):
    for slip in ({"frames": "x"}, {"region": "all"}, {"mode": None}, {"shape": {}}, {"frmaes": "1"}):
        with pytest.raises(JobError, match=next(iter(slip))):
            set_entry(sidecar, {**{k: v for k, v in NEW.items() if k != "frames" or "frmaes" not in slip}, **slip})
    with pytest.raises(JobError, match="no entry 9"):
        remove_entry(sidecar, 9)
    assert sidecar.read_text() == SIDECAR
    sidecar.write_text("overrides: [")
    with pytest.raises(JobError):
        set_entry(sidecar, NEW)
    assert sidecar.read_text() == "overrides: ["
