"""The reasoner openai over real HTTP: any endpoint that speaks chat completions, and no other place."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_vlm import GOOD_ANSWER, KEY, FakeVLM, Play, Shot, images, no_tick, request, texts
from void_client.errors import (
    Busy,
    Cancelled,
    EngineUnavailable,
    JobFailed,
    ServerUnreachable,
    SettingsError,
    VoidError,
)

from void_engine.reasoning.openai_compatible import OpenAIReasoner, inside
from void_engine.reasoning.retry import Patience
from void_engine.reasoning.schema import read_answer, to_analysis

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "shots" / "trampoline_reasoning" / "vlm_analysis.json"
QUICK = Patience(tries=3, first_wait_s=0.01, timeout_s=5.0, total_s=10.0)
NUMBERS = tuple(range(1001, 1010))
GOOD = to_analysis(read_answer(json.dumps(GOOD_ANSWER)), reasoner="openai", numbers=NUMBERS, grid=(8, 14))


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOID_OPENAI_KEY", raising=False)


@pytest.fixture
def vlm() -> Iterator[FakeVLM]:
    server = FakeVLM()
    yield server
    server.stop()


def reasoner(vlm: FakeVLM, *plays: Play, **options: Any) -> OpenAIReasoner:
    if plays:
        vlm.plays = list(plays)
    options = {"key": KEY, "base_url": f"{vlm.url}/v1", "model": "qwen-vl", "patience": QUICK, **options}
    return OpenAIReasoner(**options)


def failure(vlm: FakeVLM, tmp_path: Path, *plays: Play, **options: Any) -> VoidError:
    with pytest.raises(VoidError) as caught:
        reasoner(vlm, *plays, **options).reason(request(tmp_path), no_tick)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    return caught.value


def test_a_good_answer(vlm, tmp_path):
    openai = reasoner(vlm)
    assert openai.reason(request(tmp_path, words="the green ball"), no_tick) == GOOD
    (asked,) = vlm.seen
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert (openai.facts["tokens_in"], openai.facts["tokens_out"], openai.facts["calls"]) == (900, 90, 1)
    assert openai.facts["response_format"] == "json_schema"


def test_what_is_sent(vlm, tmp_path):
    reasoner(vlm).reason(request(tmp_path, Shot(frames=40), words="the green ball"), no_tick)
    body = vlm.asked[0].json()
    assert body["model"] == "qwen-vl"
    assert len(images(vlm.asked[0])) == 1 + 16
    assert all(data.startswith(b"\xff\xd8") for data in images(vlm.asked[0]))
    words = texts(vlm.asked[0])
    assert '"the green ball"' in words[0]
    assert "small movie" not in words[0]
    assert words[1] == "The frame at 0 %, with the object in red:"
    wanted = body["response_format"]["json_schema"]
    assert wanted["strict"]
    assert wanted["schema"]["additionalProperties"] is False
    assert set(body) == {"model", "messages", "response_format"}


def test_no_key_is_needed(vlm, tmp_path, monkeypatch):
    assert reasoner(vlm, key="").reason(request(tmp_path / "a"), no_tick) == GOOD
    monkeypatch.setenv("OPENAI_API_KEY", "sk-for-another-house")
    assert reasoner(vlm, key="").reason(request(tmp_path / "b"), no_tick) == GOOD
    assert not any("authorization" in seen.headers for seen in vlm.seen)
    monkeypatch.setenv("VOID_OPENAI_KEY", "mine")
    reasoner(vlm, key="").reason(request(tmp_path / "c"), no_tick)
    assert vlm.seen[-1].headers["authorization"] == "Bearer mine"


@pytest.mark.skipif(not RECORDED.is_file(), reason="the recorded answer is not here")
def test_the_recorded_answer_of_the_trampoline(vlm, tmp_path):
    recorded = f"Here you are.\n```json\n{RECORDED.read_text()}\n```"
    analysis = reasoner(vlm, Play(recorded)).reason(request(tmp_path), no_tick)
    assert [(each.noun, each.category) for each in analysis.affected] == [
        ("shadow", "artifact"), ("trampoline bed", "physical"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("formats", "tried", "last"),
    [
        ({"json_object", "text"}, 2, "json_object"),
        ({"text"}, 3, "text"),
    ],
)
def test_an_endpoint_that_knows_no_schema(vlm, tmp_path, formats, tried, last):
    vlm.formats = formats
    openai = reasoner(vlm, Play("<think>hm {</think>```json\n" + json.dumps(GOOD_ANSWER) + "\n```"))
    assert openai.reason(request(tmp_path / "a"), no_tick) == GOOD
    assert len(vlm.asked) == tried
    assert openai.facts["response_format"] == last
    openai.reason(request(tmp_path / "b", words="again"), no_tick)
    assert len(vlm.asked) == tried + 1, "what it takes is remembered"


BAD = [
    Play('{"affected_objects": ['),
    Play({"scene_description": "A room."}),
    Play(""),
    Play(None),
    Play('{"affec', finish="length"),
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_a_bad_answer_is_told_and_asked_for_once_more(vlm, tmp_path, bad):
    assert reasoner(vlm, bad, Play(GOOD_ANSWER)).reason(request(tmp_path), no_tick) == GOOD
    turns = vlm.asked[1].json()["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert "cannot be used" in turns[2]["content"]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_two_bad_answers_fail(vlm, tmp_path, bad):
    error = failure(vlm, tmp_path, bad)
    assert isinstance(error, JobFailed)
    assert "twice" in error.message
    assert len(vlm.asked) == 2


@pytest.mark.parametrize("play", [Play(None, refusal="I cannot help with that."), Play("", finish="content_filter")])
def test_a_refusal_is_said_and_not_asked_again(vlm, tmp_path, play):
    error = failure(vlm, tmp_path, play)
    assert isinstance(error, JobFailed)
    assert "refused to look at this shot" in error.message
    assert len(vlm.asked) == 1


def test_retry_after_is_waited_for(vlm, tmp_path):
    plays = [Play(status=429, headers={"Retry-After": "1"}), Play(GOOD_ANSWER)]
    assert reasoner(vlm, *plays).reason(request(tmp_path), no_tick) == GOOD
    first, second = vlm.asked
    assert second.time - first.time >= 1.0


def test_a_service_that_stays_busy(vlm, tmp_path):
    error = failure(vlm, tmp_path, Play(status=429, headers={"Retry-After": "900"}))
    assert isinstance(error, Busy)
    assert error.details["retry_after"] == 900


@pytest.mark.parametrize(
    "fault", [Play(status=500), Play(status=503), Play(drop=True), Play(raw=b"<html>"), Play(raw=b'{"choices": []}')]
)
def test_a_passing_fault_is_tried_again(vlm, tmp_path, fault):
    openai = reasoner(vlm, fault, fault, Play(GOOD_ANSWER))
    assert openai.reason(request(tmp_path), no_tick) == GOOD
    assert openai.facts["tries"] == 3


def test_an_error_that_comes_as_200_is_told(vlm, tmp_path):
    error = failure(vlm, tmp_path, Play(raw=b'{"error": {"message": "the model is still loading"}}'))
    assert "still loading" in error.message


def test_a_stalled_answer_is_tried_again(vlm, tmp_path):
    openai = reasoner(vlm, Play(stall=30), Play(GOOD_ANSWER), patience=replace(QUICK, timeout_s=0.4))
    assert openai.reason(request(tmp_path), no_tick) == GOOD


def test_nobody_there(tmp_path):
    server = FakeVLM()
    server.stop()
    assert isinstance(failure(server, tmp_path), ServerUnreachable)


@pytest.mark.parametrize(
    ("play", "kind", "word"),
    [
        (Play(status=401, error=f"Incorrect API key provided: {KEY}"), EngineUnavailable, "VOID_OPENAI_KEY"),
        (Play(status=403, error="forbidden"), EngineUnavailable, "VOID_OPENAI_KEY"),
        (Play(status=404, error="The model qwen-vl does not exist"), EngineUnavailable, "model"),
        (Play(status=400, error="this model takes no images"), JobFailed, "no images"),
        (Play(status=413, error="too large"), JobFailed, "stills"),
    ],
    ids=["401", "403", "404", "400", "413"],
)
def test_a_lasting_fault_is_not_tried_again(vlm, tmp_path, play, kind, word):
    error = failure(vlm, tmp_path, play)
    assert isinstance(error, kind)
    assert word in str(error)
    assert len(vlm.seen) == 1


def test_a_redirect_is_not_followed(vlm, tmp_path):
    other = FakeVLM()
    for status in (302, 307, 308):
        error = failure(vlm, tmp_path, Play(status=status, headers={"Location": f"{other.url}/v1/chat/completions"}))
        assert isinstance(error, EngineUnavailable)
        assert "redirects" in error.message
    assert not other.seen
    other.stop()


def test_a_proxy_is_not_used_inside(vlm, tmp_path, monkeypatch):
    other = FakeVLM()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, other.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert reasoner(vlm).reason(request(tmp_path), no_tick) == GOOD
    assert not other.seen
    other.stop()


@pytest.mark.parametrize("missing", ["base_url", "model"])
def test_what_is_missing_is_named(vlm, tmp_path, missing):
    error = failure(vlm, tmp_path, **{missing: ""})
    assert isinstance(error, EngineUnavailable)
    assert error.details == {"key": missing}
    assert not vlm.seen


@pytest.mark.parametrize(
    ("host", "yes"),
    [
        ("localhost", True), ("vlm.localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True),
        ("10.1.2.3", True), ("172.16.0.1", True), ("172.31.9.9", True), ("192.168.1.5", True), ("fd00::1", True),
        ("172.32.0.1", False), ("8.8.8.8", False), ("192.0.2.1", False), ("2001:db8::1", False), ("0.0.0.0", False),
        ("localhost.evil.com", False), ("127.0.0.1.nip.io", False), ("vlm.studio.lan", False), ("127.1", False),
        ("api.openai.com", False), ("", False),
    ],
)  # fmt: skip
def test_what_counts_as_inside_the_building(host, yes):
    assert inside(host) is yes


def test_cloud_follows_the_address():
    def cloud(url: str, **options: Any) -> bool:
        return OpenAIReasoner(base_url=url, model="m", **options).cloud

    assert not cloud("http://127.0.0.1:8000/v1")
    assert not cloud("http://[fd00::7]:8000/v1")
    assert cloud("https://api.openai.com/v1")
    assert cloud("https://vlm.studio.lan/v1")
    assert not cloud("http://vlm.studio.lan/v1", in_house=True)
    assert cloud("")


@pytest.mark.parametrize(
    "url",
    ["ftp://127.0.0.1/v1", "127.0.0.1:8000", "http://", "http://api.openai.com/v1", "http://me:secret@127.0.0.1/v1",
     "http://127.0.0.1/v1?key=secret", "http://127.0.0.1/v1#x"],
)  # fmt: skip
def test_an_address_that_cannot_be_meant_is_refused(url):
    with pytest.raises(SettingsError) as caught:
        OpenAIReasoner(base_url=url, model="m")
    assert caught.value.details == {"key": "base_url"}
    assert "secret" not in str(caught.value)


def test_the_same_question_is_asked_once(vlm, tmp_path):
    answers = tmp_path / "answers"
    for _ in range(2):
        openai = reasoner(vlm, answers=answers)
        assert openai.reason(request(tmp_path), no_tick) == GOOD
    assert len(vlm.seen) == 1
    assert openai.facts["cached"]
    reasoner(vlm, answers=answers, model="another").reason(request(tmp_path), no_tick)
    assert len(vlm.seen) == 2


def test_a_clip_of_30_megabytes_is_no_matter(vlm, tmp_path):
    reasoner(vlm).reason(request(tmp_path, Shot(frames=300, size=(540, 960), restless=True)), no_tick)
    assert len(images(vlm.asked[0])) == 17
    assert len(vlm.asked[0].body) < 12_000_000


def test_a_cancelled_job_does_not_wait_out_its_back_off(vlm, tmp_path):
    def tick(done: int, of: int, what: str) -> None:
        if "is away" in what:
            raise Cancelled("The job was cancelled.")

    patience = Patience(tries=3, first_wait_s=30.0, timeout_s=5.0, total_s=100.0)
    started = time.monotonic()
    with pytest.raises(Cancelled):
        reasoner(vlm, Play(drop=True), patience=patience).reason(request(tmp_path), tick)
    assert time.monotonic() - started < 12


def test_the_key_is_nowhere(vlm, tmp_path, caplog):
    openai = reasoner(vlm, Play(status=500, error=f"what is {KEY}?"), Play("no"), Play(GOOD_ANSWER))
    with caplog.at_level(logging.DEBUG):
        openai.reason(request(tmp_path), no_tick)
    assert "again in" in caplog.text
    assert KEY not in caplog.text + repr(openai) + json.dumps(openai.facts) + openai.version
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert not any(KEY.encode() in data for data in kept)


def test_without_its_packages_it_says_what_to_install(tmp_path):
    """In a process of its own, where nothing of the extra is found."""
    code = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pydantic", "google", "httpx2", "av"):
            raise ModuleNotFoundError("No module named " + name, name=name)
sys.meta_path.insert(0, Blocked())
from void_client.errors import EngineUnavailable
from void_engine.reasoning.gemini import GeminiReasoner
from void_engine.reasoning.manual import ManualReasoner
from void_engine.reasoning.openai_compatible import OpenAIReasoner
for made in (GeminiReasoner(key="k"), OpenAIReasoner(base_url="http://localhost/v1", model="m")):
    try:
        made.check()
    except EngineUnavailable as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("void-nuke[reasoning]") == 2
