"""Hints of a sidecar: from words through detector and segmenter to the quadmask's pixels, and to what the artist reads.

The detector is told what to see; the segmenter, the stages and the region algebra are the real ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from helpers.tiny_detector import TellingDetector
from void_client.errors import Cancelled, ModelError
from void_client.job import BoxSpec, MaskSpec
from void_client.overrides import OverrideSpec, ShapeKey, ShapeSpec

from void_engine import masking
from void_engine.interface import AFFECTED, KEEP, OVERLAP, REMOVE, Host
from void_engine.masking import WorkedOut, work_out
from void_engine.overriding import REGIONS, Overrides, override_supplied
from void_engine.plates.clip import FileClip
from void_engine.reasoning import Affected, Analysis
from void_engine.reasoning.analysis_json import analysis_to_json
from void_engine.segmentation import MatteStore
from void_engine.stages import Context, StageCache

HINT = OverrideSpec(NUMBERS, "affected", "add", label="void.yaml:5", hint="the shadow")
CORNER = ShapeSpec("rectangle", (ShapeKey(0, (0.0, 0.0, 8.0, 8.0)),))
DRAWN = OverrideSpec(NUMBERS, "affected", "add", shapes=(CORNER,), label="void.yaml:2")


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plates")
    write_plates(folder)
    return folder


@pytest.fixture
def clip(plates: Path) -> FileClip:
    return clip_of(plates)


@pytest.fixture
def worked(clip, tmp_path, monkeypatch) -> Callable[..., WorkedOut]:
    """A job's masks as the pipeline asks for them. ``detector`` None: whatever ``host`` has."""

    def work(detector, *overrides, watcher=None, host=None, analysis=None) -> WorkedOut:
        if detector is not None:
            monkeypatch.setattr(masking, "_detector", lambda host: (detector, ""))
        spec = MaskSpec(
            boxes=(BoxSpec(1001, *map(float, OBJECT)),),
            reasoner="manual",
            analysis=analysis_to_json(analysis or Analysis("me")),
            options=FEW,
        )
        ingest = ingested(tmp_path)
        cache = StageCache(tmp_path / "stages", watcher or Watcher())
        return work_out(spec, clip, ingest, Path, cache, host or Host(), Overrides(overrides, clip, Path))

    return work


def shadow() -> TellingDetector:
    return TellingDetector({"the shadow": [(*SHADOW, 0.6)], "the other": [(*OTHER, 0.6)]})


def expected(clip: FileClip, tmp_path: Path, edges: tuple[float, ...], position: int) -> np.ndarray:
    found: np.ndarray = tracked(clip, tmp_path, edges).read("thing", position) >= 0.5
    return found


def told(done: WorkedOut, position: int) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads((done.stage.folder / REGIONS).read_text())[position]
    return frame


# --- found


def test_a_hint_becomes_the_segmenters_matte_on_its_frames_only(worked, clip, tmp_path):
    without = worked(shadow())
    done = worked(shadow(), replace(HINT, frames=(1002, 1003, 1005)))
    assert done.warnings == ()
    found = tracked(clip, tmp_path, SHADOW, 1)
    for position in range(COUNT):
        before, after = without.quadmask(position), done.quadmask(position)
        matte = found.read("thing", position) >= 0.5
        assert matte.sum() > 300
        if position not in (1, 2, 4):
            assert np.array_equal(before, after)
        else:
            assert np.array_equal(after != KEEP, (before != KEEP) | matte)
            assert (after[matte & (before == KEEP)] == AFFECTED).all()


def test_it_is_looked_for_on_the_first_the_middle_and_the_last_of_its_frames(worked, clip, tmp_path):
    detector = TellingDetector({"the shadow": [(*at(SHADOW, 2), 0.6)]})
    worked(detector, replace(HINT, frames=NUMBERS[:4]))
    assert detector.asked == [("the shadow",)] * 3
    single = TellingDetector({"the shadow": [(*at(SHADOW, 3), 0.6)]}, "2")
    worked(single, replace(HINT, frames=(1004,)))
    assert len(single.asked) == 1


def test_who_drew_it_is_told_and_the_precedence_is_the_sidecars(worked):
    done = worked(shadow(), DRAWN, replace(HINT, region="remove", mode="replace"))
    regions = told(done, 1)["regions"]
    assert (regions["remove"]["source"], regions["remove"]["override"]) == ("sidecar", 1)
    assert (regions["remove"]["hint"], regions["remove"]["by"]) == ("the shadow", "telling, track")
    assert 0 < regions["remove"]["confidence"] <= 1
    assert [each["source"] for each in regions["remove"]["outvoted"]] == ["clicks", "reasoning"]
    assert "hint" not in regions["affected"]["edits"][0]
    assert (done.quadmask(1)[30:50, 44:60] == KEEP).all()  # the object stays: only what the hint says goes
    assert (done.quadmask(1)[68:78, 42:72] == REMOVE).all()


def test_a_lock_on_words_holds(worked):
    whole = ShapeSpec("rectangle", (ShapeKey(0, (0.0, 0.0, 160.0, 96.0)),))
    lock = replace(HINT, region="keep", mode="replace")
    done = worked(shadow(), lock, OverrideSpec(NUMBERS, "affected", "add", shapes=(whole,)))
    assert (done.quadmask(0)[68:78, 40:70] == KEEP).all()
    assert (done.quadmask(0)[68:78, 112:144] == AFFECTED).all()


def test_what_is_affected_is_not_the_object_itself_and_what_goes_may_be(worked):
    """Asked for a shadow, a detector likes to show who casts it."""
    boxes = {"the shadow": [(*OBJECT, 0.9)]}
    done = worked(TellingDetector(boxes), HINT)
    assert done.warnings == ("void.yaml:5: hint: not found: 'the shadow'. Not used on frames 1001-1005.",)
    assert (done.quadmask(0) != OVERLAP).all()
    done = worked(TellingDetector(boxes), replace(HINT, region="remove"))
    assert done.warnings == ()


# --- not found


def test_what_is_not_found_is_told_by_its_entry_and_the_others_count(worked):
    lost = replace(HINT, label="void.yaml:9", hint="the unicorn's " + "very " * 30 + "long horn")
    done = worked(shadow(), lost, HINT, DRAWN)
    (warning,) = done.warnings
    assert warning.startswith("void.yaml:9: hint: not found: \"the unicorn's very very")
    assert warning.endswith('…". Not used on frames 1001-1005.')
    assert [each["override"] for each in told(done, 0)["faults"]] == [0]
    assert np.array_equal(done.quadmask(2), worked(shadow(), HINT, DRAWN).quadmask(2))
    assert (done.quadmask(2)[:8, :8] == AFFECTED).all()


def test_without_weights_the_words_are_for_the_reasoner_and_the_artist_is_told_what_to_run(worked, tmp_path):
    watcher = Watcher()
    done = worked(None, HINT, DRAWN, host=Host(models=tmp_path / "models"), watcher=watcher)
    lacking, entry = done.warnings
    assert lacking.startswith("The overrides' hints could not be drawn, and went to the reasoner as words only: ")
    assert f"`void models fetch grounding-dino --models {tmp_path}/models`" in lacking
    assert entry == (
        "void.yaml:5: hint: 'the shadow': nothing here could look for it. Not used on frames 1001-1005."
    )  # fmt: skip
    assert "hint" not in {name for name, _ in watcher.states}
    plain = worked(None, DRAWN)
    assert all(np.array_equal(done.quadmask(p), plain.quadmask(p)) for p in range(COUNT))
    assert worked(shadow(), HINT, DRAWN).stage.key != done.stage.key  # once the weights are there


class Damaged(TellingDetector):
    def detect(self, picture, words):
        raise ModelError("The weights are damaged.", hint="Fetch them.")


def test_damaged_weights_cost_the_hints_and_not_the_job_and_are_tried_again(worked):
    done = worked(Damaged({}), HINT)
    assert done.warnings[0].endswith("as words only: The weights are damaged. Fetch them.")
    assert worked(shadow(), HINT).warnings == ()


def test_with_a_supplied_quadmask_a_hint_disables_only_itself(clip, tmp_path):
    """Such a job comes from who did not prepare its sidecar with `void_client.overrides`."""
    mask = np.full(SIZE, KEEP, np.uint8)
    mask[20:60, 40:70] = REMOVE
    overrides = Overrides((HINT, DRAWN), clip, Path)
    context = Context("quadmask", tmp_path, Watcher())
    facts = override_supplied(clip.with_quadmask(lambda position: mask), overrides, context)
    assert overrides.warnings(facts["faults"]) == [
        "void.yaml:5: hint: 'the shadow': with a supplied quadmask nothing is looked for by words; "
        "give a matte or a shape. Not used on frames 1001-1005."
    ]
    assert facts["replaced"][0] == [1001, 40 * 30, 40 * 30 + 64]


# --- again, and not at all


def test_without_hints_nobody_looks_and_no_key_knows_of_them(worked, clip):
    detector, watcher = shadow(), Watcher()
    worked(detector, DRAWN, watcher=watcher)
    assert detector.asked == []
    assert "hint" not in {name for name, _ in watcher.states}
    assert Overrides((DRAWN,), clip, Path).key == [DRAWN.content()]


def test_other_entries_come_and_go_and_the_same_words_are_asked_once(worked, tmp_path):
    both = replace(HINT, label="void.yaml:7", mode="subtract", frames=(1001, 1003, 1005))
    first = shadow()
    worked(first, HINT, both)
    assert len(first.asked) == 3
    again, watcher = shadow(), Watcher()
    done = worked(again, DRAWN, replace(HINT, label="other.yaml:1"), watcher=watcher)
    assert (again.asked, ("hint", "cached") in watcher.states) == ([], True)
    assert done.warnings == ()
    (stage,) = tmp_path.glob("stages/hint-*")
    assert {path.name for path in (stage / "mattes").iterdir()} == {"hint-0"}


def test_another_detector_or_other_words_are_done_anew(worked):
    one = worked(shadow(), HINT)
    other = shadow()
    other.version = "2"
    assert worked(other, HINT).stage.key != one.stage.key
    assert len(other.asked) == 3
    third = shadow()
    done = worked(third, replace(HINT, hint="the other"))
    assert third.asked == [("the other",)] * 3
    assert (done.quadmask(0)[67:79, 112:144] == AFFECTED).mean() > 0.9


def test_the_reasoners_things_and_the_artists_are_looked_for_by_one_detector(clip, tmp_path, monkeypatch, worked):
    made = []

    def find(host: Host) -> Any:
        made.append(shadow())
        return made[-1], ""

    monkeypatch.setattr(masking, "_detector", find)
    thing = Affected("the other", "artifact", "dark", 1001, 1005)
    done = worked(None, HINT, analysis=Analysis("me", affected=(thing,)))
    assert len(made) == 1
    for place in ((67, 79, 112, 144), (67, 79, 38, 72)):
        assert (done.quadmask(0)[place[0] : place[1], place[2] : place[3]] == AFFECTED).mean() > 0.9


@pytest.mark.parametrize("stop", ["look on frame", "segment"])
def test_a_cancelled_job_stops_and_goes_on_later(worked, clip, tmp_path, stop):
    with pytest.raises(Cancelled):
        worked(shadow(), HINT, watcher=Watcher(stop, "hint"))
    watcher = Watcher(stage="hint")
    worked(shadow(), HINT, watcher=watcher)
    assert ("hint", "done") in watcher.states
    (stage,) = tmp_path.glob("stages/hint-*")
    found = MatteStore(stage / "mattes", SIZE).read("hint-0", 4)
    assert np.array_equal(found >= 0.5, expected(clip, tmp_path, SHADOW, 4))
    assert watcher.steps[-1] == (3 + COUNT, 3 + COUNT)
