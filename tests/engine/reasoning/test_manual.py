"""The artist's own words as the answer."""

from __future__ import annotations

from dataclasses import replace

from fake_vlm import no_tick, request

from void_engine.reasoning import Affected, Analysis, Region, Waypoint
from void_engine.reasoning.manual import ManualReasoner

BOX = Affected("box", "physical", "pushed", 1001, 1009, regions=(Region(1002, 0.0, 0.0, 1.0, 1.0),))
GIVEN = Analysis("gemini", "A room.", affected=(BOX,))


def test_without_an_analysis_the_mattes_say_it_all(tmp_path):
    assert ManualReasoner().reason(request(tmp_path), no_tick) == Analysis("manual", confidence=1.0)
    assert not ManualReasoner.cloud


def test_an_analysis_is_given_back_as_it_is(tmp_path):
    assert ManualReasoner(GIVEN).reason(request(tmp_path), no_tick) == GIVEN


def test_an_edit_changes_the_version():
    assert ManualReasoner(GIVEN).version == ManualReasoner(replace(GIVEN)).version
    assert ManualReasoner(GIVEN).version != ManualReasoner(replace(GIVEN, scene="A hall.")).version


def test_frames_and_mattes_that_are_not_there_are_said(tmp_path):
    box = replace(BOX, path=(Waypoint(7, 0.5, 0.5),), matte="box")
    analysis = ManualReasoner(replace(GIVEN, affected=(box,))).reason(request(tmp_path), no_tick)
    assert analysis.warnings == ("box: the plate has no frame 7.", "box: there is no matte named 'box'.")
