"""The stages that work out a quadmask, where the product's tests cannot reach them."""

from __future__ import annotations

import pytest
from void_client.errors import EngineUnavailable, JobFailed
from void_client.job import ClickSpec, MaskSpec

from void_engine import masking
from void_engine.interface import Host
from void_engine.reasoning import Affected, Analysis, Region

SAID = MaskSpec(clicks=(ClickSpec(1001, 4.0, 5.0),))


def test_an_analysis_that_nobody_could_read_again_is_the_reasoners_failure():
    """It ends in a fallback or a warning, not in a job that says the artist gave something bad."""
    flat = Affected("shadow", "artifact", "dark", 1001, 1002, regions=(Region(1001, 0.2, 0.2, 0.2, 0.4),))
    lost = Affected("shadow", "artifact", "dark", 1001, 1002, regions=(Region(1001, float("nan"), 0.2, 0.3, 0.4),))
    for thing in (flat, lost):
        with pytest.raises(JobFailed, match="cannot be used"):
            masking._checked("motion", Analysis("motion", affected=(thing,)))
    assert masking._checked("motion", Analysis("motion", scene="An empty table."))


@pytest.mark.parametrize("name", ["magic", "gemini", "openai"])
def test_a_reasoner_that_cannot_work_here_says_why(name, monkeypatch):
    for variable in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(EngineUnavailable, match=name):
        masking._reasoner(name, SAID, Host())
    assert masking.check_reasoners(Host())["motion"] == ""


@pytest.mark.parametrize("name", ["magic", "sam2", "sam2-meta"])
def test_a_segmenter_that_cannot_work_here_says_what_to_do(name):
    with pytest.raises(EngineUnavailable) as caught:
        masking._segmenter(name, Host())
    assert caught.value.hint


def test_cloud_reasoners_are_refused_where_the_server_forbids_them(monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "AIza" + "x" * 35)
    with pytest.raises(EngineUnavailable, match="forbids"):
        masking._reasoner("gemini", SAID, Host(allow_cloud=False))
    with pytest.raises(EngineUnavailable, match="forbids"):
        masking._reasoner(
            "openai", SAID, Host(allow_cloud=False, reasoner_url="https://example.com/v1", reasoner_model="m")
        )
    inside = Host(allow_cloud=False, reasoner_url="http://127.0.0.1:8000/v1", reasoner_model="m")
    assert masking._reasoner("openai", SAID, inside).name == "openai"
    ours = Host(allow_cloud=False, reasoner_url="http://gpu7.studio/v1", reasoner_model="m", reasoner_in_house=True)
    assert masking._reasoner("openai", SAID, ours).name == "openai"
