"""The model's answer: read, checked, mapped to an Analysis; and the Analysis as JSON that people edit."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from fake_vlm import GOOD_ANSWER
from void_client.errors import JobError

from void_engine.reasoning import Affected, Analysis, Belonging, Region, Waypoint
from void_engine.reasoning.analysis_json import analysis_from_json, analysis_to_json
from void_engine.reasoning.schema import BadAnswer, json_schema, read_answer, rectangles, to_analysis

NUMBERS = tuple(range(1001, 1012))
GRID = (8, 10)
RECORDED = Path(__file__).resolve().parents[4] / "shared" / "shots" / "trampoline_reasoning" / "vlm_analysis.json"


def mapped(answer: dict[str, Any], grid: tuple[int, int] = GRID) -> Analysis:
    return to_analysis(read_answer(json.dumps(answer)), reasoner="test", numbers=NUMBERS, grid=grid)


def changed(**changes: Any) -> dict[str, Any]:
    """The good answer with its shadow changed."""
    answer = copy.deepcopy(GOOD_ANSWER)
    answer["affected_objects"][0].update(changes)
    return answer


def test_a_good_answer_becomes_an_analysis():
    analysis = mapped(GOOD_ANSWER)
    assert analysis.reasoner == "test"
    assert analysis.scene == "An empty room with a box on the floor."
    assert analysis.confidence == 0.8
    assert analysis.warnings == ()
    assert analysis.belongings == (Belonging("ribbon", "It is tied to it.", (Region(1001, 0.1, 0.25, 0.2, 0.375),)),)
    shadow, box = analysis.affected
    assert (shadow.noun, shadow.category, shadow.first_frame, shadow.last_frame) == (
        "shadow on the floor", "artifact", 1001, 1011,
    )  # fmt: skip
    assert shadow.regions == (Region(1006, 0.2, 0.5, 0.4, 0.75),)
    assert (shadow.will_move, shadow.path, shadow.confidence) == (False, (), 0.9)
    assert [region.frame for region in box.regions] == [1006, 1011]


def test_what_should_have_stayed_has_its_first_place_as_its_path():
    box = mapped(GOOD_ANSWER).affected[1]
    assert box.will_move
    assert box.path == (Waypoint(1006, 0.75, 0.8125), Waypoint(1011, 0.75, 0.8125))
    assert "stays" in box.movement


def test_a_path_is_the_middle_of_its_cells_in_order_of_time():
    path = [{"percent": 100, "cells": [[6, 5]]}, {"percent": 0, "cells": [[1, 4], [1, 5]]}]
    thing = mapped(changed(category="physical", will_move=True, path=path)).affected[0]
    assert thing.path == (Waypoint(1001, 0.5, 0.1875), Waypoint(1011, 0.55, 0.8125))


def test_an_artifact_has_no_path():
    assert mapped(changed(will_move=True, path=[{"percent": 0, "cells": [[1, 4]]}])).affected[0].path == ()


def test_nothing_affected_is_an_answer():
    answer = {"integral_belongings": [], "affected_objects": [], "scene_description": "A room."}
    assert mapped(answer) == Analysis("test", "A room.", confidence=0.5)


def test_cells_outside_the_grid_are_moved_to_its_edge_with_one_warning():
    analysis = mapped(changed(sightings=[{"percent": 0, "cells": [[9, 3], [7, 12], [-1, 0]]}]))
    assert len(analysis.warnings) == 1
    assert "8 x 10 grid" in analysis.warnings[0]
    boxes = {(region.x0, region.y0) for region in analysis.affected[0].regions}
    assert boxes == {(0.3, 0.875), (0.9, 0.875), (0.0, 0.0)}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"first_percent": -5}, "-5 %"),
        ({"last_percent": 130.5}, "130.5 %"),
        ({"first_percent": 80, "last_percent": 20}, "turned round"),
        ({"confidence": 95}, "confidence of 95"),
        ({"why": "x" * 5000}, "was cut to"),
        ({"sightings": [{"percent": 1, "cells": [[0, 0]]}] * 70}, "only the first 64"),
    ],
)
def test_what_lies_outside_is_moved_inside_with_a_warning(change, word):
    analysis = mapped(changed(**change))
    assert any(word in warning for warning in analysis.warnings)
    shadow = analysis.affected[0]
    assert 1001 <= shadow.first_frame <= shadow.last_frame <= 1011
    assert 0 <= shadow.confidence <= 1
    analysis_from_json(analysis_to_json(analysis))


def test_too_many_things_are_cut_with_a_warning():
    analysis = mapped({**GOOD_ANSWER, "affected_objects": GOOD_ANSWER["affected_objects"] * 6})
    assert len(analysis.affected) == 8
    assert any("names 12 affected things" in warning for warning in analysis.warnings)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("I am sorry, I cannot see a video.", "not JSON"),
        ('{"affected_objects": [', "not JSON"),
        ("[1, 2]", "not an object"),
        ("{}", "integral_belongings"),
        (json.dumps(changed(category="ghost")), "affected_objects.0.category"),
        (json.dumps(changed(sightings=[{"percent": 0, "cells": [[1, 2, 3]]}])), "cells.0"),
        (json.dumps(changed(confidence=float("nan"))), "confidence"),
        (json.dumps({**GOOD_ANSWER, "affected_objects": "none"}), "affected_objects"),
        ("[" * 100_000, "not JSON"),
        ("x" * 500_000, "over the limit"),
        ('{"affected_subjects": [{"why": "no noun"}], "grid_rows": 8, "grid_cols": 14}', "noun"),
        ('{"affected_subjects": [], "grid_rows": 0, "grid_cols": 14}', "grid_rows"),
    ],
)
def test_what_cannot_be_meant_says_where(text, word):
    with pytest.raises(BadAnswer, match=word):
        read_answer(text)


@pytest.mark.parametrize(
    "wrapped",
    [
        "{}",
        "Here it is:\n```json\n{}\n```\nAsk for more.",
        "<think>A {brace} in a thought</think>\n{}",
        "Sure! {} Good luck.",
    ],
)
def test_json_is_found_among_a_models_words(wrapped):
    answer = json.dumps(GOOD_ANSWER)
    assert read_answer(wrapped.replace("{}", answer)) == read_answer(answer)


def test_a_models_extra_keys_are_no_fault():
    assert mapped({**changed(colour="grey"), "notes": "none"}) == mapped(GOOD_ANSWER)


def test_one_frame_has_all_percents():
    parsed = read_answer(json.dumps(GOOD_ANSWER))
    analysis = to_analysis(parsed, reasoner="test", numbers=(7,), grid=GRID)
    assert {region.frame for thing in analysis.affected for region in thing.regions} == {7}


def test_rectangles_cover_their_cells_exactly():
    cells = {(0, 0), (0, 1), (1, 0), (1, 1), (1, 5), (3, 0), (4, 0), (4, 1)}
    boxes = rectangles(cells)
    covered = [(r, c) for top, left, bottom, right in boxes for r in range(top, bottom) for c in range(left, right)]
    assert sorted(covered) == sorted(cells)
    assert (0, 0, 2, 2) in boxes
    assert rectangles(set()) == []


@pytest.mark.parametrize("closed", [False, True])
def test_the_schema_is_plain(closed):
    schema = json_schema(closed=closed)
    text = json.dumps(schema)
    for word in ("$ref", "$defs", '"title"', '"default"', "maxItems"):
        assert word not in text
    assert ("additionalProperties" in text) is closed
    thing = schema["properties"]["affected_objects"]["items"]
    assert thing["properties"]["category"]["enum"] == ["artifact", "physical"]
    assert set(thing["required"]) == set(thing["properties"])
    assert set(GOOD_ANSWER["affected_objects"][0]) == set(thing["properties"])
    assert set(GOOD_ANSWER) == set(schema["properties"])


@pytest.mark.skipif(not RECORDED.is_file(), reason="the recorded answer is not here")
def test_the_recorded_answer_of_the_trampoline():
    analysis = to_analysis(read_answer(RECORDED.read_text()), reasoner="recorded", numbers=NUMBERS, grid=(5, 5))
    assert analysis.belongings == ()
    assert analysis.confidence == 0.95
    assert analysis.scene.startswith("A gymnasium scene")
    assert analysis.warnings == ()
    shadow, bed = analysis.affected
    assert (shadow.noun, shadow.category, shadow.will_move, shadow.path) == ("shadow", "artifact", False, ())
    assert shadow.regions == (
        Region(1001, round(3 / 14, 5), 0.625, round(6 / 14, 5), 0.75),
        Region(1001, round(4 / 14, 5), 0.75, 0.5, 0.875),
    )
    assert (bed.noun, bed.category, bed.will_move) == ("trampoline bed", "physical", True)
    assert bed.regions == (Region(1001, round(4 / 14, 5), 0.75, round(10 / 14, 5), 1.0),)
    assert bed.path == (Waypoint(1001, 0.5, 0.875), Waypoint(1011, 0.5, 0.875))
    assert "flat" in bed.movement


FULL = Analysis(
    reasoner="manual",
    scene='A "room" with ünicode.',
    belongings=(Belonging("hat", "worn", (Region(1001, 0.1, 0.2, 0.30000000000000004, 0.4),), "hat"),),
    affected=(
        Affected("box", "physical", "pushed", 1001, 1005, True, "falls", (), (Waypoint(1005, 0.5, 1.2),), "", 0.25),
    ),
    confidence=1.0,
    warnings=("one", "two"),
)


def test_an_analysis_as_json_and_back():
    text = analysis_to_json(FULL)
    assert analysis_from_json(text) == FULL
    assert '{"frame": 1005, "x": 0.5, "y": 1.2}' in text
    assert analysis_from_json(analysis_to_json(Analysis("x"))) == Analysis("x")
    assert analysis_from_json('{"reasoner": "me"}') == Analysis("me")


def edited(path: str, value: Any) -> str:
    data = json.loads(analysis_to_json(FULL))
    *way, last = path.split(".")
    place = data
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[int(last) if last.isdigit() else last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ("sceen", "x", "sceen"),
        ("affected.0.categry", "physical", "affected[0].categry"),
        ("affected.0.category", "ghost", "affected[0].category"),
        ("affected.0.category", ["physical"], "affected[0].category"),
        ("affected.0.will_move", 1, "affected[0].will_move"),
        ("affected.0.first_frame", 1001.5, "affected[0].first_frame"),
        ("affected.0.first_frame", True, "affected[0].first_frame"),
        ("affected.0.first_frame", 1006, "affected[0].first_frame"),
        ("affected.0.confidence", 1.5, "affected[0].confidence"),
        ("affected.0.path.0.x", 960, "affected[0].path[0].x"),
        ("affected.0.regions", {}, "affected[0].regions"),
        ("affected.0", None, "affected[0]"),
        ("belongings.0.regions.0.x0", 0.9, "belongings[0].regions[0].x0"),
        ("belongings.0.regions.0.y1", 2, "belongings[0].regions[0].y1"),
        ("belongings.0.regions.0.frame", "1001", "belongings[0].regions[0].frame"),
        ("confidence", "high", "confidence"),
        ("version", 2, "version"),
        ("scene", None, "scene"),
    ],
)
def test_a_wrong_key_or_value_is_named(path, value, key):
    text = edited(path, value)
    with pytest.raises(JobError) as caught:
        analysis_from_json(text)
    assert caught.value.details == {"key": key}
    assert key in caught.value.message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object"),
        ("{}", "reasoner is missing"),
        ('{"reasoner": "a", "reasoner": "b"}', "stands there twice"),
        ('{"reasoner": "a", "confidence": NaN}', "confidence"),
        ('{"reasoner": "a", "affected": [{"noun": "x", "category": "artifact"}]}', "why is missing"),
    ],
)
def test_what_is_no_analysis_is_refused(text, word):
    with pytest.raises(JobError, match=word):
        analysis_from_json(text)
