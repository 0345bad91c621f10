"""Overrides on a frame's regions: the algebra, the shapes, who is heard, and what `void explain` tells of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from void_cli import explain
from void_cli.output import Output
from void_client.errors import FrameError, InputError
from void_client.job import ClickSpec, MaskSpec
from void_client.overrides import FrameRef, OverrideSpec, ShapeKey, ShapeSpec, rule

from void_engine.interface import AFFECTED, KEEP, OVERLAP, REMOVE, Window
from void_engine.overriding import Overrides, faults_of
from void_engine.quadmask.override import Hinted, Overridden, Place, apply, coded, decoded, record, shape_mask, spoken
from void_engine.quadmask.policy import combined
from void_engine.quadmask.policy_options import PolicyOptions
from void_engine.segmentation.read_matte import read_matte

SIZE = (12, 16)
PLACE = Place(Window(0, 0, 15, 11), Window(0, 0, 15, 11))
LEVELS = np.array([REMOVE, OVERLAP, AFFECTED, KEEP], np.uint8)
CLICKED = MaskSpec(clicks=(ClickSpec(1, 2.0, 2.0),))


def rectangle(x0: float, y0: float, x1: float, y1: float) -> ShapeSpec:
    return ShapeSpec("rectangle", (ShapeKey(0, (x0, y0, x1, y1)),))


INSIDE = rectangle(2, 3, 9, 10)
WHERE = np.zeros(SIZE, np.bool_)
WHERE[3:10, 2:9] = True


def override(region: str, mode: str, *shapes: ShapeSpec, frames: tuple[int, ...] = (1,)) -> OverrideSpec:
    return OverrideSpec(frames, region, mode, shapes=shapes or (INSIDE,), label="void.yaml:1")


def drawn(ref: FrameRef) -> Any:
    raise AssertionError("no matte is asked for")


def overridden(mask: Any, *overrides: OverrideSpec, said: Any = None, number: int = 1) -> Overridden:
    return apply(decoded(mask), number, overrides, drawn, PLACE, said)


def mixed(seed: int = 0) -> Any:
    return np.random.default_rng(seed).choice(LEVELS, SIZE)


# --- the algebra, pixel by pixel: level before → level after, inside the shape and outside

SAME = dict(zip(LEVELS.tolist(), LEVELS.tolist(), strict=True))
R, O, A, K = REMOVE, OVERLAP, AFFECTED, KEEP  # noqa: E741
TABLE: dict[tuple[str, str], tuple[dict[int, int], dict[int, int]]] = {
    ("remove", "replace"): ({R: R, O: O, A: O, K: R}, {R: K, O: A, A: A, K: K}),
    ("remove", "add"): ({R: R, O: O, A: O, K: R}, SAME),
    ("remove", "subtract"): ({R: K, O: A, A: A, K: K}, SAME),
    ("affected", "replace"): ({R: O, O: O, A: A, K: A}, {R: R, O: R, A: K, K: K}),
    ("affected", "add"): ({R: O, O: O, A: A, K: A}, SAME),
    ("affected", "subtract"): ({R: R, O: R, A: K, K: K}, SAME),
    ("overlap", "replace"): ({R: O, O: O, A: O, K: O}, {R: R, O: R, A: A, K: K}),
    ("overlap", "add"): ({R: O, O: O, A: O, K: O}, SAME),
    ("overlap", "subtract"): ({R: R, O: R, A: A, K: K}, SAME),
    ("keep", "replace"): ({R: K, O: K, A: K, K: K}, SAME),
    ("keep", "add"): ({R: K, O: K, A: K, K: K}, SAME),
    ("keep", "subtract"): ({R: R, O: O, A: A, K: A}, SAME),
}


@pytest.mark.parametrize(("what", "levels"), TABLE.items(), ids=["-".join(what) for what in TABLE])
def test_what_an_override_makes_of_each_level(what, levels):
    before = mixed()
    after = overridden(before, override(*what)).quadmask()
    for level in LEVELS.tolist():
        assert set(after[WHERE & (before == level)]) == {levels[0][level]}, f"{level} inside"
        assert set(after[~WHERE & (before == level)]) == {levels[1][level]}, f"{level} outside"


def test_a_coded_quadmask_survives_the_two_sets():
    np.testing.assert_array_equal(coded(decoded(mixed())), mixed())


def test_without_overrides_nothing_changes_and_the_given_masks_stay_as_they_are():
    regions = decoded(mixed())
    copies = {name: mask.copy() for name, mask in regions.items()}
    assert (apply(regions, 1, (), drawn, PLACE).quadmask() == mixed()).all()
    for what in TABLE:
        apply(regions, 1, (override(*what), override("remove", "subtract")), drawn, PLACE)
    for name, mask in regions.items():
        np.testing.assert_array_equal(mask, copies[name])


def test_other_frames_are_left_alone():
    assert (overridden(mixed(), override("remove", "add", frames=(2, 3))).quadmask() == mixed()).all()


def test_overrides_follow_the_files_order():
    blank = np.full(SIZE, KEEP, np.uint8)
    add, take = override("remove", "add"), override("remove", "subtract", rectangle(4, 4, 6, 6))
    assert np.count_nonzero(overridden(blank, add, take).quadmask() == REMOVE) == 49 - 4
    assert np.count_nonzero(overridden(blank, take, add).quadmask() == REMOVE) == 49


def test_a_lock_holds_wherever_it_stands_and_against_the_feather():
    before = np.full(SIZE, KEEP, np.uint8)
    before[5:8, 9:12] = REMOVE
    done = overridden(before, override("keep", "replace"), override("remove", "add", rectangle(0, 0, 12, 12)))
    assert (done.quadmask()[WHERE] == KEEP).all()
    feathered = combined(done.regions, PolicyOptions(feather=3))
    assert (feathered[WHERE] == AFFECTED).any()
    locked = done.lock(feathered)
    assert (locked[WHERE] == KEEP).all()
    np.testing.assert_array_equal(locked[~WHERE], feathered[~WHERE])
    assert locked.dtype == np.uint8


def test_the_policys_regions_go_in_and_come_back_as_the_policy_combines_them():
    primary, belonging, affected = (np.zeros(SIZE, np.bool_) for _ in range(3))
    primary[0:4, 0:4] = belonging[2:6, 2:6] = affected[3:9, 3:9] = True
    regions = {"primary": primary, "belonging-0": belonging, "affected-0": affected}
    done = apply(regions, 1, (), drawn, PLACE)
    np.testing.assert_array_equal(combined(done.regions, PolicyOptions()), combined(regions, PolicyOptions()))


# --- shapes


def test_shapes_cover_the_pixels_whose_centres_they_hold():
    assert np.count_nonzero(shape_mask(rectangle(2, 3, 9, 10), 1, PLACE)) == 49
    np.testing.assert_array_equal(shape_mask(INSIDE, 1, PLACE), WHERE)
    assert not shape_mask(rectangle(2.6, 3, 3.4, 10), 1, PLACE).any()
    ellipse = shape_mask(ShapeSpec("ellipse", (ShapeKey(0, (8, 6, 4, 3)),)), 1, PLACE)
    assert abs(np.count_nonzero(ellipse) - np.pi * 12) < 4
    np.testing.assert_array_equal(ellipse, ellipse[::-1])


def test_a_polygon_is_exact_against_a_test_of_each_pixel():
    draw = np.random.default_rng(3)
    for corners in (3, 4, 5, 9):
        points = draw.uniform(-4, 20, (corners, 2))
        mask = shape_mask(ShapeSpec("polygon", (ShapeKey(0, tuple(points.ravel())),)), 1, PLACE)
        for y in range(SIZE[0]):
            for x in range(SIZE[1]):
                assert mask[y, x] == _inside(points, x + 0.5, y + 0.5), (corners, x, y)
    square = ShapeSpec("polygon", (ShapeKey(0, (2, 3, 9, 3, 9, 10, 2, 10)),))
    np.testing.assert_array_equal(shape_mask(square, 1, PLACE), WHERE)


def _inside(points: Any, x: float, y: float) -> bool:
    odd = False
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if (y0 <= y) != (y1 <= y) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) < x:
            odd = not odd
    return odd


def test_shapes_are_drawn_in_the_display_window_and_cut_at_the_canvas():
    place = Place(Window(100, 50, 115, 61), Window(98, 53, 120, 57))
    mask = shape_mask(INSIDE, 1, place)
    assert mask.shape == (5, 23)
    ys, xs = np.nonzero(mask)
    assert (xs.min() + 98, xs.max() + 98) == (102, 108)
    assert (ys.min() + 53, ys.max() + 53) == (53, 57)
    for kind, numbers in (
        ("ellipse", (-90, -90, 4, 4)),
        ("polygon", (900, 0, 999, 0, 900, 9)),
        ("rectangle", (-9, 0, -2, 9)),
    ):
        assert not shape_mask(ShapeSpec(kind, (ShapeKey(0, numbers),)), 1, place).any()


def test_a_keyed_shape_moves():
    moving = ShapeSpec("rectangle", (ShapeKey(1, (0, 0, 2, 2)), ShapeKey(5, (8, 0, 10, 2))))
    assert [int(np.nonzero(shape_mask(moving, n, PLACE))[1].min()) for n in (0, 1, 2, 3, 5, 9)] == [0, 0, 2, 4, 8, 8]


# --- mattes


def matted(*numbers: int) -> OverrideSpec:
    refs = tuple(FrameRef(number, f"{number:064x}", 9) for number in numbers)
    return OverrideSpec(numbers, "remove", "replace", matte=refs, label="void.yaml:7")


def test_a_matte_is_white_inside_from_its_half(tmp_path):
    soft = np.zeros(SIZE, np.uint8)
    soft[:, 4:8], soft[:, 8:12] = 255, 120
    assert cv2.imwrite(str(tmp_path / "matte.png"), soft)

    def read(ref: FrameRef) -> Any:
        return read_matte(tmp_path / "matte.png", frame=ref.number, display=PLACE.display, canvas=PLACE.canvas)

    done = apply(decoded(mixed()), 2, (matted(1, 2),), read, PLACE)
    np.testing.assert_array_equal(done.remove, soft == 255)
    assert done.faults == {}


def test_a_matte_that_cannot_be_read_disables_its_entry_on_that_frame_and_is_told():
    def read(ref: FrameRef) -> Any:
        if ref.number == 2:
            raise FrameError("matte frame 2: /store/ab/cd is torn.", details={"file": "/store/ab/cd"})
        return np.ones(SIZE, np.float32)

    regions, said = decoded(mixed()), spoken(CLICKED, 2)
    done = apply(regions, 2, (matted(1, 2), override("affected", "add", frames=(2,))), read, PLACE, said)
    np.testing.assert_array_equal(done.remove, regions["remove"])
    assert done.affected[WHERE].all()
    assert done.faults == {0: "matte frame 2: the file is torn."}
    assert "void.yaml" not in json.dumps(record(2, done))
    assert done.rulings["remove"].winner.source.value == "clicks"
    assert apply(regions, 1, (matted(1, 2),), read, PLACE, said).remove.all()


# --- hints


def hinted(region: str = "affected", mode: str = "add", frames: tuple[int, ...] = (1,)) -> OverrideSpec:
    return OverrideSpec(frames, region, mode, label="void.yaml:7", hint="the shadow of the man on the floor behind her")


def sees(index: int) -> Hinted:
    return Hinted(WHERE * np.float32(0.6), 0.9, "grounding-dino, track")


@pytest.mark.parametrize("what", TABLE, ids=["-".join(what) for what in TABLE])
def test_a_hint_that_is_found_does_as_a_matte_or_a_shape_does(what):
    before, said = mixed(), spoken(CLICKED, 1)
    done = apply(decoded(before), 1, (hinted(*what),), drawn, PLACE, said, sees)
    drawn_by_hand = overridden(before, override(*what), said=said)
    np.testing.assert_array_equal(done.quadmask(), drawn_by_hand.quadmask())
    assert done.changed == drawn_by_hand.changed
    assert [word.source for word in done.rulings["affected"].edits] == [
        word.source for word in drawn_by_hand.rulings["affected"].edits
    ]


def test_a_hint_counts_on_its_own_frames_and_elsewhere_nobody_asks():
    def asked(index: int) -> Hinted:
        raise AssertionError("no hint is asked for")

    done = apply(decoded(mixed()), 2, (hinted(frames=(1, 3)),), drawn, PLACE, None, asked)
    np.testing.assert_array_equal(done.quadmask(), mixed())
    assert done.faults == {}


def test_a_hint_that_is_not_found_disables_its_entry_alone_and_is_told():
    def lost(index: int) -> Hinted:
        raise FrameError("hint: not found: 'the shadow'.")

    done = apply(decoded(mixed()), 1, (hinted(), override("remove", "add")), drawn, PLACE, None, lost)
    np.testing.assert_array_equal(done.quadmask(), overridden(mixed(), override("remove", "add")).quadmask())
    assert done.faults == {0: "hint: not found: 'the shadow'."}
    assert apply(decoded(mixed()), 1, (hinted(),), drawn, PLACE).faults == {0: "hint: nobody looked for it."}


# --- who is heard


def test_a_supplied_quadmask_is_retouched_but_not_replaced():
    before, said = mixed(), spoken(None, 1)
    done = overridden(before, override("remove", "replace"), override("overlap", "replace"), said=said)
    np.testing.assert_array_equal(done.quadmask(), before)
    assert [word.region for word in done.rulings["remove"].outvoted] == ["remove", "overlap"]
    for what in (("remove", "subtract"), ("affected", "add"), ("keep", "replace")):
        done = overridden(before, override(*what), said=said)
        np.testing.assert_array_equal(done.quadmask(), overridden(before, override(*what)).quadmask())
        assert done.rulings["remove"].winner.source.value == "input 3"


@pytest.mark.parametrize("seed", range(8))
def test_leaving_out_who_is_not_heard_gives_the_same_pixels_as_the_files_order(seed):
    draw = np.random.default_rng(seed)
    entries = []
    for region, mode in draw.permutation([*TABLE, *TABLE]).tolist():
        x, y = draw.integers(0, 10, 2)
        entries.append(override(region, mode, rectangle(x, y, x + 5, y + 4)))
    state = decoded(mixed(seed))
    for entry in sorted(entries, key=lambda each: (each.region, each.mode) == ("keep", "replace")):
        state = apply(state, 1, (entry,), drawn, PLACE).regions
    np.testing.assert_array_equal(overridden(mixed(seed), *entries, said=spoken(CLICKED, 1)).quadmask(), coded(state))


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        (None, ["input 3"]),
        (CLICKED, ["clicks", "reasoning"]),
        (MaskSpec(mattes=(FrameRef(1, "0" * 64, 1),)), ["mattes", "reasoning"]),
        (MaskSpec(mattes=(FrameRef(2, "0" * 64, 1),)), ["mattes", "reasoning"]),
        (MaskSpec(clicks=CLICKED.clicks, mattes=(FrameRef(2, "0" * 64, 1),)), ["clicks", "reasoning"]),
        (MaskSpec(clicks=CLICKED.clicks, mattes=(FrameRef(1, "0" * 64, 1),)), ["clicks", "mattes", "reasoning"]),
    ],
)  # fmt: skip
def test_who_spoke_before(masks, expected):
    assert [word.source.value for word in spoken(masks, 1)["remove"]] == expected


def test_an_affected_matte_stands_over_the_reasoner_and_under_the_sidecar():
    masks = MaskSpec(clicks=CLICKED.clicks, affected=(FrameRef(1, "0" * 64, 1),))
    said = spoken(masks, 1, reasoner="motion")
    ruling = rule("affected", said["affected"])
    assert (ruling.winner.source.value, [word.label for word in ruling.outvoted]) == ("mattes", ["motion"])
    done = overridden(mixed(), override("affected", "replace", rectangle(0, 0, 2, 2)), said=said)
    assert done.rulings["affected"].winner.source.value == "sidecar"
    assert rule("affected", spoken(masks, 2, reasoner="motion")["affected"]).winner.source.value == "reasoning"


def test_where_nobody_reasons_nobody_speaks_for_it():
    said = spoken(CLICKED, 1, reasoner="none")
    assert [word.source.value for word in said["remove"]] == ["clicks"]
    assert rule("affected", said["affected"]).winner is None


# --- what is told


@pytest.fixture
def told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(frames: list[Any], *arguments: str, labels: list[str] | None = None, as_json: bool = False) -> str:
        (tmp_path / "regions.json").write_text(json.dumps(frames))
        if labels is not None:
            job = {"overrides": [{"label": label} for label in labels]}
            manifest = {"job_id": "j", "content_hash": "0" * 64, "frames": [], "job": job,
                        "facts": {"reasoner": "motion", "warnings": ["a warning"]}}  # fmt: skip
            (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        options = _parser().parse_args(explain.spelled_out(["quadmask", "explain", str(tmp_path), *arguments]))
        assert options.run(options, Output(as_json=as_json)) == 0
        return capsys.readouterr().out

    return run


def _parser() -> Any:
    import argparse

    parser = argparse.ArgumentParser()
    explain.add_commands(parser.add_subparsers())
    return parser


def test_each_region_is_told_with_who_it_came_from(told):
    overrides = (override("affected", "replace"), override("remove", "add"), override("keep", "replace"))
    before = np.full(SIZE, KEEP, np.uint8)
    before[0:2, 0:2] = REMOVE
    said = spoken(CLICKED, 1, reasoner="motion", confidence=0.93)
    done = overridden(before, *overrides, said=said)
    frames = [record(1, done, {"primary": 4, "affected-0": 0}), record(2, overridden(before, *overrides, number=2))]
    text = told(frames, "--frame", "1", labels=["void.yaml:5", "void.yaml:8", "void.yaml:9"])
    assert text.splitlines() == [
        "reasoner: motion",
        "warning: a warning",
        "frame 1",
        "  remove              4 px  clicks (track, confidence 0.93)",
        f"{'':28}reasoning (motion) adds",
        "                       +49  sidecar (void.yaml:8) adds",
        "                       -49  sidecar (void.yaml:9) by its region keep (replace)",
        "  affected            0 px  sidecar (void.yaml:5)",
        "                       -49  sidecar (void.yaml:9) by its region keep (replace)",
        "                  not used  reasoning (motion) replaces",
        "  overlap             0 px",
        "  keep              188 px",
        "  before overrides: primary 4 px, affected-0 0 px",
    ]


def test_a_hints_region_is_told_with_its_words_and_who_drew_it(told):
    blank = decoded(np.full(SIZE, KEEP, np.uint8))
    done = apply(blank, 1, (hinted(), hinted("remove", "replace")), drawn, PLACE, spoken(CLICKED, 1), sees)
    lost = Overridden(WHERE, WHERE, None, {}, {}, {0: "hint: not found: 'the shadow'."})
    lines = told([record(1, done), record(2, lost)], labels=["void.yaml:7", "void.yaml:9"]).splitlines()
    hint = "hint 'the shadow of the man on the floor behi…' (grounding-dino, track)"
    assert f"  remove             49 px  sidecar (void.yaml:9, confidence 0.90), {hint}" in lines
    assert f"                       +49  sidecar (void.yaml:7, confidence 0.90), {hint} adds" in lines
    assert "  not used: void.yaml:7: hint: not found: 'the shadow'." in lines
    line = json.loads(told([record(1, done)], labels=["a:1", "a:2"], as_json=True))
    edit = line["regions"]["affected"]["edits"][0]
    assert (edit["source"], edit["hint"], edit["by"]) == ("sidecar", hinted().hint, "grounding-dino, track")


def test_machines_get_the_same_with_labels(told):
    done = overridden(mixed(), override("remove", "add"), said=spoken(None, 1))
    line = json.loads(told([record(1, done)], labels=["shot.yaml:3"], as_json=True))
    assert line["frame"] == 1
    edit = line["regions"]["remove"]["edits"][0]
    assert (edit["source"], edit["label"], edit["override"]) == ("sidecar", "shot.yaml:3", 0)
    assert edit["won"] == np.count_nonzero(WHERE & (mixed() > OVERLAP))


def test_the_record_does_not_depend_on_where_an_override_is_written():
    moved = OverrideSpec((1,), "remove", "add", shapes=(INSIDE,), label="other.yaml:99")
    assert record(1, overridden(mixed(), override("remove", "add"))) == record(1, overridden(mixed(), moved))


def test_the_plain_format_is_read_too(told):
    text = told([{"frame": 1001, "regions": {"primary": 1234, "affected-0": 0}}])
    assert text == "frame 1001\n  primary         1,234 px\n  affected-0          0 px\n"


@pytest.mark.parametrize(
    "text", [None, "", "{", "[1]", '[{"frame": 1}]', '{"frame": 1}', '[{"frame": 1, "regions": 5}]']
)
def test_a_folder_without_a_readable_record_is_an_error(tmp_path, text):
    if text is not None:
        (tmp_path / "regions.json").write_text(text)
    with pytest.raises(InputError, match=r"regions\.json"):
        explain.read_regions(tmp_path)


def test_frames_that_are_not_there_are_told(told, tmp_path):
    with pytest.raises(InputError, match="no frame 7") as caught:
        told([{"frame": 1, "regions": {}}, {"frame": 2, "regions": {}}], "--frame", "7")
    assert "1-2" in caught.value.hint


def test_quadmask_explain_is_explain():
    assert explain.spelled_out(["quadmask", "explain", "OUT"]) == ["explain", "OUT"]
    assert explain.spelled_out(["quadmask", "explain.yaml"]) == ["quadmask", "explain.yaml"]


def test_faults_are_told_once_an_entry_by_its_place_in_the_sidecar():
    done = Overridden(WHERE, WHERE, None, {}, {}, {0: "matte frame 1: the file is torn."})
    again = Overridden(
        WHERE, WHERE, None, {}, {}, {0: "matte frame 2: the file is torn.", 1: "matte frame 2: it is small."}
    )
    faults = faults_of([record(1, done), record(2, again)])
    clip: Any = None
    overrides = Overrides([matted(1, 2), override("keep", "add", frames=(1, 2))], clip, Path)
    assert overrides.warnings(json.loads(json.dumps(faults))) == [
        "void.yaml:7: matte: the file is torn. Not used on frames 1-2.",
        "void.yaml:1: matte: it is small. Not used on frames 2.",
    ]
    assert overrides.key != Overrides([matted(1), override("keep", "add", frames=(1, 2))], clip, Path).key
    assert "void.yaml" not in json.dumps(overrides.key)
