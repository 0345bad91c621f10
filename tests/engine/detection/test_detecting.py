"""What has a name but no matte: from the analysis through detector and segmenter to the quadmask's pixels.

The detector is told what to see; the segmenter, the reasoner, the stages and the policy are the real ones.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.named_things import (
    COUNT,
    FEW,
    NUMBERS,
    OBJECT,
    OTHER,
    SHADOW,
    SIZE,
    Watcher,
    at,
    clip_of,
    ingested,
    tracked,
    write_plates,
)
from helpers.tiny_detector import TellingDetector, write_tiny_detector
from void_client.errors import Cancelled, ModelError
from void_client.job import BoxSpec, MaskSpec

from void_engine import masking
from void_engine.detecting import Scene, Thing, look, things_of
from void_engine.interface import AFFECTED, KEEP, REMOVE, Host
from void_engine.masking import WorkedOut, work_out
from void_engine.overriding import Overrides
from void_engine.plates.clip import FileClip
from void_engine.quadmask.policy import QuadmaskPolicy
from void_engine.quadmask.policy_options import read_options
from void_engine.reasoning import Affected, Analysis, Region
from void_engine.reasoning.analysis import Belonging
from void_engine.reasoning.analysis_json import analysis_from_json, analysis_to_json
from void_engine.segmentation import Box, ClipPictures, MatteStore
from void_engine.segmentation.track import TrackSegmenter
from void_engine.stages import StageCache


def shares(edges: tuple[int, ...], number: int = 1001) -> Region:
    height, width = SIZE
    return Region(number, edges[0] / width, edges[1] / height, edges[2] / width, edges[3] / height)


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plates")
    write_plates(folder)
    return folder


@pytest.fixture
def clip(plates: Path) -> FileClip:
    return clip_of(plates)


SHADOW_SAID = Affected("the shadow", "artifact", "dark", 1001, 1005, regions=(shares(SHADOW),))


def run(clip, tmp_path, detector, analysis, *, watcher=None, host=None, monkeypatch=None, options=None) -> WorkedOut:
    """A job's masks as the pipeline asks for them. ``detector`` None: whatever ``host`` has."""
    watcher = watcher or Watcher()
    if detector is not None:
        monkeypatch.setattr(masking, "_detector", lambda host: (detector, ""))
    spec = MaskSpec(
        boxes=(BoxSpec(1001, *map(float, OBJECT)),),
        reasoner="manual",
        analysis=analysis_to_json(analysis),
        options=FEW if options is None else options,
    )
    ingest = ingested(tmp_path)
    cache = StageCache(tmp_path / "stages", watcher)
    overrides = Overrides((), clip, Path)
    return work_out(spec, clip, ingest, Path, cache, host or Host(), overrides)


@pytest.fixture
def worked(clip, tmp_path, monkeypatch):
    def work(detector, analysis, **given):
        return run(clip, tmp_path, detector, analysis, monkeypatch=monkeypatch, **given)

    return work


def matte(stages: Path, name: str, position: int) -> np.ndarray:
    (folder,) = stages.glob("stages/detect-*")
    return MatteStore(folder / "mattes", SIZE).read(name, position)


# --- found


def test_a_word_that_is_found_becomes_the_segmenters_matte_of_that_box(worked, clip, tmp_path):
    detector = TellingDetector({"the shadow": [(*SHADOW, 0.6)]})
    done = worked(detector, Analysis("x", affected=(SHADOW_SAID,)))
    assert done.warnings == ()
    assert done.analysis.affected[0].matte == "detected-affected-0"
    expected = tracked(clip, tmp_path, SHADOW)
    for position in range(COUNT):
        found = matte(tmp_path, "detected-affected-0", position)
        assert np.array_equal(found, expected.read("thing", position))
        x0, y0, x1, y1 = at(SHADOW, position)
        truth = np.zeros(SIZE, bool)
        truth[y0:y1, x0:x1] = True
        assert (found > 0.5)[truth].mean() > 0.9
        mask = done.quadmask(position)
        assert (mask[truth] == AFFECTED).mean() > 0.9
    assert (done.quadmask(2)[66:80, 120:] == KEEP).all()  # not the other one


def test_the_detector_sees_the_frame_as_people_do(worked, clip, tmp_path):
    detector = TellingDetector({"the shadow": [(*SHADOW, 0.6)]})
    worked(detector, Analysis("x", affected=(SHADOW_SAID,)))
    (picture,) = detector.pictures  # the reasoner saw it on one frame only: it is looked for there
    assert (picture.shape, picture.dtype) == ((*SIZE, 3), np.float32)
    assert np.array_equal(picture, ClipPictures(clip, tmp_path / "p").rgb(0).astype(np.float32) / 255)


def test_the_matte_takes_the_boxes_place_and_cells_follow_it(worked):
    """A box twice as wide as the thing, as a grid's cells are: the quadmask is the thing's, not the box's."""
    wide = replace(SHADOW_SAID, regions=(shares((20, 60, 90, 90)),))
    without = worked(TellingDetector({}), Analysis("x", affected=(wide,)))
    found = worked(TellingDetector({"the shadow": [(*SHADOW, 0.6)]}, "2"), Analysis("x", affected=(wide,)))
    assert (without.quadmask(0) == AFFECTED).sum() > 1.5 * (found.quadmask(0) == AFFECTED).sum() > 0
    assert without.warnings
    assert not found.warnings


def test_a_belonging_joins_what_goes(worked):
    hat = Belonging("the hat", "it is worn", regions=(shares(SHADOW),))
    done = worked(TellingDetector({"the hat": [(*SHADOW, 0.5)]}), Analysis("x", belongings=(hat,)))
    assert done.analysis.belongings[0].matte == "detected-belonging-0"
    assert (done.quadmask(3)[at(SHADOW, 3)[1] + 2 : 78, 44:78] == REMOVE).mean() > 0.9


# --- which candidate


def test_the_one_near_the_analysis_box_wins_over_a_surer_one(worked, tmp_path, clip):
    boxes = {"the shadow": [(*OTHER, 0.9), (*SHADOW, 0.4), (0, 0, 160, 96, 0.95)]}
    done = worked(TellingDetector(boxes), Analysis("x", affected=(SHADOW_SAID,)))
    expected = tracked(clip, tmp_path, SHADOW)
    assert np.array_equal(matte(tmp_path, "detected-affected-0", 0), expected.read("thing", 0))
    elsewhere = replace(SHADOW_SAID, regions=(shares(OTHER),))
    done = worked(TellingDetector(boxes, "2"), Analysis("x", affected=(elsewhere,)))
    assert (done.quadmask(0)[67:79, 112:144] == AFFECTED).mean() > 0.9
    assert (done.quadmask(0)[67:79, 38:72] == AFFECTED).mean() < 0.1


def test_without_a_place_the_surest_wins(worked):
    boxes = {"the shadow": [(*SHADOW, 0.4), (*OTHER, 0.9)]}
    nowhere = replace(SHADOW_SAID, regions=())
    done = worked(TellingDetector(boxes), Analysis("x", affected=(nowhere,)))
    assert (done.quadmask(0)[67:79, 112:144] == AFFECTED).mean() > 0.9


def test_nothing_is_taken_from_far_away(worked):
    done = worked(TellingDetector({"the shadow": [(*OTHER, 0.99)]}), Analysis("x", affected=(SHADOW_SAID,)))
    assert done.warnings == ("not found: 'the shadow'; what the reasoner said of its place is used.",)


def test_the_object_itself_is_not_its_own_shadow(worked):
    """Asked for a shadow, a detector likes to show who casts it."""
    near = replace(SHADOW_SAID, regions=(shares((30, 15, 80, 85)),))
    whole = worked(TellingDetector({"the shadow": [(*OBJECT, 0.9)]}), Analysis("x", affected=(near,)))
    larger = (OBJECT[0] - 6, OBJECT[1] - 6, OBJECT[2] + 6, OBJECT[3] + 3)  # not the same box, but the same thing in it
    inside = worked(TellingDetector({"the shadow": [(*larger, 0.9)]}, "2"), Analysis("x", affected=(near,)))
    for done in (whole, inside):
        assert done.analysis.affected[0].matte == ""
        assert "not found: 'the shadow'" in done.warnings[0]


def test_a_box_that_is_the_objects_own_leaves_the_place_to_a_less_sure_one(worked, clip, tmp_path):
    near = replace(SHADOW_SAID, regions=(shares((30, 15, 80, 85)),))
    boxes = {"the shadow": [(*OBJECT, 0.9), (*SHADOW, 0.4)]}
    worked(TellingDetector(boxes), Analysis("x", affected=(near,)))
    assert np.array_equal(matte(tmp_path, "detected-affected-0", 2), tracked(clip, tmp_path, SHADOW).read("thing", 2))


def test_of_two_in_the_place_the_better_fitting_wins(worked, clip, tmp_path):
    part = (SHADOW[0], SHADOW[1], SHADOW[0] + 12, SHADOW[1] + 6)
    boxes = {"the shadow": [(*part, 0.9), (*SHADOW, 0.5)]}
    worked(TellingDetector(boxes), Analysis("x", affected=(SHADOW_SAID,)))
    assert np.array_equal(matte(tmp_path, "detected-affected-0", 2), tracked(clip, tmp_path, SHADOW).read("thing", 2))


def test_where_it_is_looked_for(clip, tmp_path):
    """The first of its frames, the middle one and the best, of those that the reasoner saw it on."""
    mattes = MatteStore(tmp_path / "mattes", SIZE)
    for position in range(COUNT):
        mattes.write("primary", position, np.zeros(SIZE, np.float32), [0.2, 0.3, 0.9, 0.4, 0.5][position])
    scene = Scene(ClipPictures(clip, tmp_path), NUMBERS, mattes)
    places = (shares((0, 0, 9, 9), 1001), shares((0, 0, 9, 9), 1002), shares((0, 0, 9, 9), 1003))
    places += (shares((9, 0, 18, 9), 1002), shares((0, 0, 10, 10), 1004), shares((0, 0, 99, 90), 1005))
    things = (
        Affected("seen", "artifact", "", 1001, 1004, regions=places),
        Affected("unseen", "artifact", "", 1001, 1005),
        Affected("late", "artifact", "", 1004, 1005),
        Affected("never", "artifact", "", 2001, 2005),
        Affected(" ", "artifact", "", 1001, 1005),
    )
    found = things_of(Analysis("x", belongings=(Belonging("hat", ""),), affected=things), scene)
    assert [(each.words, each.positions) for each in found] == [
        ("hat", (0, 2)), ("seen", (0, 1, 2)), ("unseen", (0, 2)), ("late", (3, 4)),
    ]  # fmt: skip
    # Frame 1002's two rectangles of cells are one place; it is the largest.
    assert found[1].regions[1].x1 == pytest.approx(18 / 160)
    assert [each.name for each in found] == [
        "detected-belonging-0", "detected-affected-0", "detected-affected-1", "detected-affected-2",
    ]  # fmt: skip


def test_words_of_one_frame_are_asked_together_and_once(worked):
    ball = Affected("the ball", "physical", "", 1001, 1001, regions=(shares(OTHER),))
    twice = Affected("the shadow", "artifact", "", 1001, 1001, regions=(shares(OTHER),))
    detector = TellingDetector({"the shadow": [(*SHADOW, 0.6), (*OTHER, 0.5)]})
    done = worked(detector, Analysis("x", affected=(SHADOW_SAID, ball, twice)))
    assert detector.asked == [("the shadow", "the ball")]
    assert [each.matte for each in done.analysis.affected] == ["detected-affected-0", "", "detected-affected-2"]


# --- not found, no detector


def as_if_nobody_looked(analysis: Analysis, clip: FileClip, done: WorkedOut, stages: Path) -> None:
    """The quadmask that the policy makes of the analysis' own boxes."""
    (segment,) = stages.glob("stages/segment-*")
    options = read_options(FEW)
    policy = QuadmaskPolicy(analysis, MatteStore(segment / "mattes", SIZE), clip.numbers, SIZE, options)
    for position in range(COUNT):
        assert np.array_equal(done.quadmask(position), policy(position))


def test_what_is_not_found_is_told_and_its_boxes_are_used(worked, clip, tmp_path):
    analysis = Analysis("x", affected=(SHADOW_SAID, replace(SHADOW_SAID, noun="a glow", regions=())))
    done = worked(TellingDetector({}), analysis)
    assert done.warnings == (
        "not found: 'the shadow'; what the reasoner said of its place is used.",
        "not found: 'a glow'; the reasoner did not say where it is.",
    )
    as_if_nobody_looked(analysis, clip, done, tmp_path)
    assert (done.quadmask(0) == AFFECTED).any()


def test_without_weights_all_is_as_before_and_only_the_facts_tell(worked, clip, tmp_path):
    analysis = Analysis("x", affected=(SHADOW_SAID,))
    watcher = Watcher()
    done = worked(None, analysis, host=Host(models=tmp_path), watcher=watcher)
    assert done.warnings == ()
    assert done.analysis.affected == analysis.affected
    as_if_nobody_looked(analysis, clip, done, tmp_path)
    (folder,) = tmp_path.glob("stages/detect-*")
    facts = json.loads((folder / "done.json").read_text())
    assert "is not there" in facts["note"]
    # The quadmask is the one of a detector that finds nothing: its key does not know that anybody looked.
    again = worked(TellingDetector({}), analysis)
    assert again.stage.key == done.stage.key


def test_nobody_looks_where_all_has_mattes_or_nothing_is_named(worked, tmp_path):
    watcher, detector = Watcher(), TellingDetector({"the shadow": [(*SHADOW, 0.6)]})
    worked(detector, Analysis("x"), watcher=watcher)
    mine = replace(SHADOW_SAID, matte="primary")  # a matte that is there, as all of the reasoner motion's are
    worked(detector, Analysis("x", affected=(mine,)), watcher=watcher)
    assert detector.asked == []
    assert "detect" not in {name for name, _ in watcher.states}


class Damaged(TellingDetector):
    def detect(self, picture, words):
        raise ModelError("The weights are damaged.", hint="Fetch them.")


def test_damaged_weights_cost_the_mattes_and_not_the_job(worked, clip, tmp_path):
    analysis = Analysis("x", affected=(SHADOW_SAID,))
    done = worked(Damaged({}), analysis)
    assert done.warnings == ("Things could not be looked for by their names: The weights are damaged. Fetch them.",)
    as_if_nobody_looked(analysis, clip, done, tmp_path)


def test_the_weights_in_the_models_folder_are_used(worked, tmp_path):
    """Whatever tiny random weights see: they are asked, and the job ends well."""
    write_tiny_detector(tmp_path)
    done = worked(None, Analysis("x", affected=(SHADOW_SAID,)), host=Host(models=tmp_path))
    (folder,) = tmp_path.glob("stages/detect-*")
    facts = json.loads((folder / "done.json").read_text())
    assert facts["note"] == "looked for by grounding-dino"
    assert bool(facts["found"]) == bool(done.analysis.affected[0].matte) != bool(facts["warnings"])


# --- again, and not at all


def test_it_is_done_once_and_again_for_another_detector(worked):
    analysis = Analysis("x", affected=(SHADOW_SAID,))
    first, same, other = (TellingDetector({"the shadow": [(*SHADOW, 0.6)]}, version) for version in "112")
    one = worked(first, analysis)
    two = worked(same, analysis, options={**FEW, "grow": 2})
    assert (len(first.asked), len(same.asked)) == (1, 0)
    assert one.stage.key != two.stage.key
    assert worked(other, analysis).stage.key != one.stage.key
    assert len(other.asked) == 1


@pytest.mark.parametrize("stop", ["look on frame", "segment"])
def test_a_cancelled_job_stops_and_goes_on_later(worked, clip, tmp_path, stop):
    detector, analysis = TellingDetector({"the shadow": [(*SHADOW, 0.6)]}), Analysis("x", affected=(SHADOW_SAID,))
    with pytest.raises(Cancelled):
        worked(detector, analysis, watcher=Watcher(stop))
    watcher = Watcher()
    worked(detector, analysis, watcher=watcher)
    assert ("detect", "done") in watcher.states
    assert np.array_equal(matte(tmp_path, "detected-affected-0", 4), tracked(clip, tmp_path, SHADOW).read("thing", 4))
    assert [step for step, _ in watcher.steps] == sorted(step for step, _ in watcher.steps)
    assert watcher.steps[-1] == (1 + COUNT, 1 + COUNT)


def test_an_analysis_that_comes_back_edited_is_looked_at_anew(worked):
    """Its mattes' names are of an earlier run, and belong to other things by now."""
    glow = replace(SHADOW_SAID, noun="a glow", regions=(shares(OTHER),))
    detector = TellingDetector({"the shadow": [(*SHADOW, 0.6)], "a glow": [(*OTHER, 0.6)]})
    first = worked(detector, Analysis("x", affected=(SHADOW_SAID, glow)))
    text = analysis_to_json(first.analysis)
    edited = analysis_from_json(text)
    edited = replace(edited, affected=(edited.affected[1],))  # the shadow was deleted
    done = worked(TellingDetector({}, "2"), edited)
    assert done.analysis.affected[0].matte == ""
    assert done.warnings == ("not found: 'a glow'; what the reasoner said of its place is used.",)


# --- words of people: a sidecar's hint


def test_words_alone_become_a_matte(clip, tmp_path):
    scene = Scene(ClipPictures(clip, tmp_path), NUMBERS, MatteStore(tmp_path / "none", SIZE))
    out = MatteStore(tmp_path / "out", SIZE)
    hints = (Thing("hint-0", "the dark one on the right", (1, 3)), Thing("hint-1", "a unicorn", (1,)))
    detector = TellingDetector({"the dark one on the right": [(*at(OTHER, 1), 0.7)]})
    found = look(hints, scene, detector, TrackSegmenter(), out, lambda *news: None)
    assert found == {"hint-0": Box(1, *at(OTHER, 1))}
    assert detector.asked == [("the dark one on the right", "a unicorn"), ("the dark one on the right",)]
    expected = tracked(clip, tmp_path, at(OTHER, 1), 1)
    assert np.array_equal(out.read("hint-0", 4), expected.read("thing", 4))
    assert not out.has("hint-1", 1)
