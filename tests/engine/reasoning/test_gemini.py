"""The reasoner gemini over real HTTP: good answers, bad ones, faults of service and line, cost, cache and the key."""

from __future__ import annotations

import copy
import json
import logging
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import certifi
import numpy as np
import pytest
from fake_vlm import GOOD_ANSWER, KEY, FakeVLM, Play, Shot, images, kind, no_tick, request, texts
from void_client.errors import Busy, Cancelled, EngineUnavailable, JobFailed, ServerUnreachable, VoidError

from void_engine.reasoning import Analysis, samples
from void_engine.reasoning.gemini import DEFAULT_MODEL, GeminiReasoner
from void_engine.reasoning.retry import Patience, retry_after, without
from void_engine.reasoning.schema import read_answer, to_analysis

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "shots" / "trampoline_reasoning" / "vlm_analysis.json"
SMOKE = Path(__file__).resolve().parents[2] / "smoke" / "gemini.py"
QUICK = Patience(tries=3, first_wait_s=0.01, timeout_s=5.0, total_s=10.0)
NUMBERS = tuple(range(1001, 1010))
GOOD = to_analysis(read_answer(json.dumps(GOOD_ANSWER)), reasoner="gemini", numbers=NUMBERS, grid=(8, 14))


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, one_authority: str) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", one_authority)


@pytest.fixture(scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Nothing here is encrypted, and each client would read the whole trust store, 0.1 s, twice."""
    path = tmp_path_factory.mktemp("trust") / "one.pem"
    first, end, _ = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----")
    path.write_text(first + end + "\n")
    return str(path)


@pytest.fixture
def vlm() -> Iterator[FakeVLM]:
    server = FakeVLM()
    yield server
    server.stop()


def reasoner(vlm: FakeVLM, *plays: Play, **options: Any) -> GeminiReasoner:
    if plays:
        vlm.plays = list(plays)
    options = {"key": KEY, "base_url": vlm.url, "patience": QUICK, **options}
    return GeminiReasoner(**options)


def failure(vlm: FakeVLM, tmp_path: Path, *plays: Play, **options: Any) -> VoidError:
    with pytest.raises(VoidError) as caught:
        reasoner(vlm, *plays, **options).reason(request(tmp_path), no_tick)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    return caught.value


def test_a_good_answer(vlm, tmp_path, caplog):
    gemini = reasoner(vlm)
    with caplog.at_level(logging.INFO):
        assert gemini.reason(request(tmp_path, words="the green ball"), no_tick) == GOOD
    (asked,) = vlm.asked
    assert asked.path.endswith(f"/models/{DEFAULT_MODEL}:generateContent")
    assert asked.headers["x-goog-api-key"] == KEY
    assert gemini.cloud
    facts = gemini.facts
    assert (facts["tokens_in"], facts["tokens_out"], facts["calls"], facts["tries"]) == (1000, 100, 1, 1)
    assert facts["latency_s"] > 0
    assert not facts["cached"]
    json.dumps(facts)
    assert "1000 tokens in, 100 out" in caplog.text


def test_what_is_sent(vlm, tmp_path):
    reasoner(vlm).reason(request(tmp_path, words="the green ball"), no_tick)
    body = vlm.asked[0].json()
    words = texts(vlm.asked[0])
    assert "painted red" in words[0]
    assert '"the green ball"' in words[0]
    assert words[1] == "The frame at 0 %, with the object in red:"
    assert words[2] == "The frame at 0 %:"
    assert len(images(vlm.asked[0])) == 1 + 9
    parts = body["contents"][0]["parts"]
    (movie,) = [part for part in parts if "inlineData" in part and kind(part["inlineData"]) == "video/mp4"]
    assert 0.1 <= movie["videoMetadata"]["fps"] <= 24
    config = body["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert "affected_objects" in config["responseSchema"]["properties"]
    assert "tools" not in body


@pytest.mark.skipif(not RECORDED.is_file(), reason="the recorded answer is not here")
def test_the_recorded_answer_of_the_trampoline(vlm, tmp_path):
    analysis = reasoner(vlm, Play(RECORDED.read_text())).reason(request(tmp_path), no_tick)
    shadow, bed = analysis.affected
    assert (shadow.category, bed.category) == ("artifact", "physical")
    assert bed.path[-1].frame == 1009
    assert bed.regions[0].x1 == round(10 / 14, 5)


def test_nothing_affected_is_a_good_answer(vlm, tmp_path):
    nothing = {"integral_belongings": [], "affected_objects": [], "scene_description": "A room.", "confidence": 1}
    analysis = reasoner(vlm, Play(nothing)).reason(request(tmp_path), no_tick)
    assert analysis == Analysis("gemini", "A room.", confidence=1.0)


def test_a_single_frame_has_no_movie(vlm, tmp_path):
    reasoner(vlm).reason(request(tmp_path, Shot(frames=1)), no_tick)
    assert b"video/mp4" not in vlm.asked[0].body


BAD = [
    Play('{"affected_objects": ['),
    Play("I cannot say."),
    Play({"affected_objects": []}),
    Play({**GOOD_ANSWER, "affected_objects": [{**GOOD_ANSWER["affected_objects"][0], "category": "ghost"}]}),
    Play(None),
    Play(""),
    Play('{"affected_ob', finish="MAX_TOKENS"),
    Play(None, raw=b'{"usageMetadata": {"promptTokenCount": 1000}}'),
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_a_bad_answer_is_told_and_asked_for_once_more(vlm, tmp_path, bad):
    gemini = reasoner(vlm, bad, Play(GOOD_ANSWER))
    assert gemini.reason(request(tmp_path), no_tick) == GOOD
    first, second = vlm.asked
    turns = second.json()["contents"]
    assert [turn["role"] for turn in turns] == ["user", "model", "user"]
    assert turns[0] == first.json()["contents"][0]
    assert "cannot be used" in turns[2]["parts"][0]["text"]
    assert gemini.facts["calls"] == 2
    assert gemini.facts["tokens_in"] == 2000


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_two_bad_answers_fail_and_are_not_kept(vlm, tmp_path, bad):
    error = failure(vlm, tmp_path, bad)
    assert isinstance(error, JobFailed)
    assert "no usable answer, twice" in error.message
    assert "motion" in error.hint
    assert len(vlm.asked) == 2
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("play", "reason"),
    [
        (Play(None, block="PROHIBITED_CONTENT"), "PROHIBITED_CONTENT"),
        (Play(None, finish="SAFETY"), "SAFETY"),
        (Play('{"half', finish="RECITATION"), "RECITATION"),
    ],
)
def test_a_refusal_is_said_and_not_asked_again(vlm, tmp_path, play, reason):
    error = failure(vlm, tmp_path, play)
    assert isinstance(error, JobFailed)
    assert f"refused to look at this shot ({reason})" in error.message
    assert "`manual`" in error.hint
    assert len(vlm.asked) == 1


def test_retry_after_is_waited_for(vlm, tmp_path):
    gemini = reasoner(vlm, Play(status=429, headers={"Retry-After": "1"}), Play(GOOD_ANSWER))
    assert gemini.reason(request(tmp_path), no_tick) == GOOD
    first, second = vlm.asked
    assert second.time - first.time >= 1.0
    assert gemini.facts["tries"] == 2


def test_googles_own_delay_is_waited_for(vlm, tmp_path):
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.6s"}]
    reasoner(vlm, Play(status=429, details=details), Play(GOOD_ANSWER)).reason(request(tmp_path), no_tick)
    first, second = vlm.asked
    assert second.time - first.time >= 0.6


def test_a_quota_that_stays_used_up_is_busy(vlm, tmp_path):
    error = failure(vlm, tmp_path, Play(status=429, error="Quota exceeded", headers={"Retry-After": "3600"}))
    assert isinstance(error, Busy)
    assert error.retryable
    assert error.details == {"retry_after": 3600}
    assert "Quota exceeded" in error.message
    assert len(vlm.asked) == 1, "an hour is more than the whole question may take"


@pytest.mark.parametrize(
    "fault",
    [
        Play(status=500),
        Play(status=503, error="overloaded"),
        Play(status=408),
        Play(drop=True),
        Play(raw=b"<html>a proxy's page</html>"),
    ],
    ids=lambda play: str(play.status if play.status != 200 else play.raw or "drop")[:12],
)
def test_a_passing_fault_is_tried_again(vlm, tmp_path, fault):
    gemini = reasoner(vlm, fault, fault, Play(GOOD_ANSWER))
    assert gemini.reason(request(tmp_path), no_tick) == GOOD
    assert gemini.facts["tries"] == 3
    assert gemini.facts["calls"] == 1


def test_a_fault_that_stays_is_unreachable(vlm, tmp_path):
    error = failure(vlm, tmp_path, Play(status=500, error="internal"))
    assert isinstance(error, ServerUnreachable)
    assert "internal" in error.message
    assert len(vlm.asked) == 3


def test_a_stalled_answer_is_tried_again(vlm, tmp_path):
    gemini = reasoner(vlm, Play(stall=30), Play(GOOD_ANSWER), patience=replace(QUICK, timeout_s=0.4))
    started = time.monotonic()
    assert gemini.reason(request(tmp_path), no_tick) == GOOD
    assert time.monotonic() - started < 12


def test_an_answer_that_drips_is_given_up(vlm, tmp_path):
    patience = replace(QUICK, tries=1, timeout_s=0.5)
    started = time.monotonic()
    error = failure(vlm, tmp_path, Play(GOOD_ANSWER, drip=0.05), patience=patience)
    assert isinstance(error, ServerUnreachable)
    assert time.monotonic() - started < 12


def test_the_whole_question_has_a_limit(vlm, tmp_path):
    patience = Patience(tries=50, first_wait_s=0.2, longest_wait_s=0.2, timeout_s=5, total_s=0.7)
    assert isinstance(failure(vlm, tmp_path, Play(status=500), patience=patience), ServerUnreachable)
    assert 1 <= len(vlm.asked) <= 4


def test_nobody_there(tmp_path):
    server = FakeVLM()
    server.stop()
    assert isinstance(failure(server, tmp_path), ServerUnreachable)


@pytest.mark.parametrize(
    ("play", "kind", "word"),
    [
        (Play(status=400, error=f"API key not valid: {KEY}", details=[{"reason": "API_KEY_INVALID"}]),
         EngineUnavailable, "GEMINI_API_KEY"),
        (Play(status=401, error=f"unauthorised {KEY[:12]}..."), EngineUnavailable, "GEMINI_API_KEY"),
        (Play(status=403, error="no permission"), EngineUnavailable, "GEMINI_API_KEY"),
        (Play(status=404, error="models/x is not found"), EngineUnavailable, "`model`"),
        (Play(status=400, error="Request contains an invalid argument"), JobFailed, "invalid argument"),
        (Play(status=302, headers={"Location": "http://localhost:1/elsewhere"}), EngineUnavailable, "redirects"),
    ],
    ids=["400", "401", "403", "404", "argument", "302"],
)  # fmt: skip
def test_a_lasting_fault_is_not_tried_again(vlm, tmp_path, play, kind, word):
    error = failure(vlm, tmp_path, play)
    assert isinstance(error, kind)
    assert word in str(error)
    assert KEY[:12] not in str(error)
    assert len(vlm.seen) == 1


@pytest.mark.parametrize("key", ["", "  ", "two words", "line\nbreak", "schlüssel"])
def test_no_key_says_which_variable_and_sends_nothing(vlm, tmp_path, key):
    gemini = reasoner(vlm, key=key)
    with pytest.raises(EngineUnavailable) as caught:
        gemini.check()
    assert "GEMINI_API_KEY" in str(caught.value)
    assert not key.strip() or key not in str(caught.value)
    with pytest.raises(EngineUnavailable):
        gemini.reason(request(tmp_path), no_tick)
    assert not vlm.seen


@pytest.mark.parametrize("names", [["GEMINI_API_KEY"], ["GOOGLE_API_KEY"], ["GEMINI_API_KEY", "GOOGLE_API_KEY"]])
def test_the_key_comes_from_the_environment(vlm, tmp_path, monkeypatch, caplog, names):
    for number, name in enumerate(names):
        monkeypatch.setenv(name, f"key{number}")
    reasoner(vlm, key="").reason(request(tmp_path), no_tick)
    assert vlm.asked[0].headers["x-goog-api-key"] == "key0"
    assert "Using GOOGLE_API_KEY" not in caplog.text
    reasoner(vlm, key="mine", model="other").reason(request(tmp_path), no_tick)
    assert vlm.asked[1].headers["x-goog-api-key"] == "mine"


def test_the_environment_does_not_send_the_pictures_elsewhere(vlm, tmp_path, monkeypatch):
    other = FakeVLM()
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", other.url)
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "somebody")
    assert reasoner(vlm).reason(request(tmp_path), no_tick) == GOOD
    assert not other.seen
    assert "publishers" not in vlm.asked[0].path, "that would be Vertex AI"
    other.stop()


def test_the_same_question_is_paid_for_once(vlm, tmp_path):
    answers = tmp_path / "answers"
    first = reasoner(vlm, answers=answers)
    first.reason(request(tmp_path / "one"), no_tick)
    again = reasoner(vlm, answers=answers)
    assert again.reason(request(tmp_path / "two"), no_tick) == GOOD
    assert len(vlm.seen) == 1
    assert again.facts["cached"]
    assert again.facts["tokens_in"] == 1000
    for options, words in (({"model": "another"}, ""), ({}, "a hint"), ({"stills": 4}, "")):
        reasoner(vlm, answers=answers, **options).reason(request(tmp_path, words=words), no_tick)
    assert len(vlm.asked) == 4


def test_a_torn_answer_on_disk_is_asked_for_again(vlm, tmp_path):
    answers = tmp_path / "answers"
    reasoner(vlm, answers=answers).reason(request(tmp_path), no_tick)
    (kept,) = answers.iterdir()
    kept.write_bytes(kept.read_bytes()[:40])
    assert reasoner(vlm, answers=answers).reason(request(tmp_path), no_tick) == GOOD
    assert len(vlm.asked) == 2


def test_the_key_is_nowhere(vlm, tmp_path, caplog):
    plays = [
        Play(status=500, error=f"what is {KEY}?"), Play("no"), Play(status=429, error=KEY), Play(GOOD_ANSWER),
    ]  # fmt: skip
    gemini = reasoner(vlm, *plays)
    with caplog.at_level(logging.DEBUG):
        gemini.reason(request(tmp_path), no_tick)
    assert "again in" in caplog.text
    assert KEY not in caplog.text
    assert KEY not in repr(gemini) + json.dumps(gemini.facts) + gemini.version
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert not any(KEY.encode() in data for data in kept)


class CancelAt:
    def __init__(self, words: str) -> None:
        self.words = words

    def __call__(self, done: int, of: int, what: str) -> None:
        if self.words in what:
            raise Cancelled("The job was cancelled.")


def test_a_cancelled_job_does_not_wait_out_its_back_off(vlm, tmp_path):
    patience = Patience(tries=3, first_wait_s=30.0, timeout_s=5.0, total_s=100.0)
    gemini = reasoner(vlm, Play(status=503), patience=patience)
    started = time.monotonic()
    with pytest.raises(Cancelled):
        gemini.reason(request(tmp_path), CancelAt("is away"))
    assert time.monotonic() - started < 12
    assert len(vlm.asked) == 1


def test_a_cancelled_job_does_not_wait_for_the_answer(vlm, tmp_path):
    gemini = reasoner(vlm, Play(stall=20))

    def tick(done: int, of: int, what: str) -> None:
        if vlm.in_call.is_set():
            raise Cancelled("The job was cancelled.")

    started = time.monotonic()
    with pytest.raises(Cancelled):
        gemini.reason(request(tmp_path), tick)
    assert time.monotonic() - started < 12


class Noise(Shot):
    """Of 30 MB, at hardly any loss."""

    def __init__(self) -> None:
        super().__init__(frames=100, size=(512, 512))

    def rgb(self, position: int) -> np.ndarray:
        return np.random.default_rng(position).integers(0, 256, (512, 512, 3), np.uint8)

    def read(self, name: str, position: int) -> np.ndarray:
        matte = np.zeros(self.size, np.float32)
        matte[100:200, 100:200] = 1.0
        return matte


def large(request: Any, limit: int, tick: Any) -> samples.Movie:
    return samples.Movie(np.random.default_rng(0).bytes(30_000_000), 24.0, 4.0)


@pytest.mark.parametrize("encoded", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_clip_of_30_megabytes_goes_through_the_files_api(vlm, tmp_path, monkeypatch, encoded):
    if encoded:
        monkeypatch.setattr(samples, "_BEST_CRF", 1)
    else:
        monkeypatch.setattr(samples, "movie", large)
    gemini = reasoner(vlm, Play(status=503), Play(GOOD_ANSWER), clip_bytes=60_000_000)
    gemini.reason(request(tmp_path, Noise() if encoded else None), no_tick)
    ((name, data),) = vlm.files.items()
    assert len(data) >= 30_000_000
    assert gemini.facts["uploaded_bytes"] == len(data)
    for asked in vlm.asked:
        (movie,) = [part for part in asked.json()["contents"][0]["parts"] if "fileData" in part]
        assert set(movie["fileData"].values()) == {f"{vlm.url}/v1/{name}", "video/mp4"}
        assert "videoMetadata" in movie
        assert len(asked.body) < 5_000_000
    assert len(vlm.asked) == 2, "sent once, asked twice"
    assert len(vlm.deleted) == 1
    assert name in vlm.deleted[0]


def test_a_large_clip_is_made_smaller_and_never_left_out(vlm, tmp_path):
    shot = Shot(frames=40, size=(160, 160), restless=True)
    gemini = reasoner(vlm, clip_bytes=12_000)
    gemini.reason(request(tmp_path, shot), no_tick)
    assert 0 < gemini.facts["clip_bytes"] <= 12_000
    assert b"video/mp4" in vlm.asked[0].body


def test_an_uploaded_clip_is_waited_for_and_deleted_whatever_happens(vlm, tmp_path):
    failure(vlm, tmp_path, Play(None, finish="SAFETY"), inline_bytes=0)
    assert len(vlm.files) == len(vlm.deleted) == 1
    assert sum(seen.method == "GET" for seen in vlm.seen) == 1


@pytest.mark.parametrize(
    ("said", "seconds"), [("2", 2.0), ("0.5", 0.5), ("", None), ("soon", None), ("-3", None), ("nan", None)]
)
def test_retry_after_in_seconds(said, seconds):
    assert retry_after({"retry-after": said}) == seconds


def test_retry_after_as_a_date():
    import email.utils

    said = email.utils.formatdate(time.time() + 10, usegmt=True)
    assert retry_after({"retry-after": said}) == pytest.approx(10, abs=2)
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) is None


def test_without_a_secret():
    assert without(KEY, f"a {KEY}\nb {KEY[:8]}") == "a *** b ***"
    assert without("", "text") == "text"
    assert len(without(KEY, "x" * 9999)) == 500


def smoke(*arguments: str, key: str = "") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    command = [sys.executable, str(SMOKE), *arguments]
    environment |= {"GEMINI_API_KEY": key} if key else {}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


def test_the_script_for_the_first_owner_of_a_key(vlm, tmp_path):
    shadow = copy.deepcopy(GOOD_ANSWER)
    shadow["affected_objects"][0]["sightings"] = [{"percent": 20.0 * i, "cells": [[6, 3]]} for i in range(5)]
    vlm.plays = [Play(shadow)]
    given = ["--base-url", vlm.url, "--frames", "6", "--out", str(tmp_path / "out"), "--price-in=1", "--price-out=9"]
    done = smoke(*given, key=KEY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 FAIL" in done.stdout
    assert "= 0.0019 of your currency" in done.stdout
    assert len(vlm.asked) == 2
    assert len(vlm.files) == len(vlm.deleted) == 1
    written = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not any(KEY.encode() in data for data in written)


def test_the_script_without_a_key_says_so(tmp_path):
    done = smoke("--frames", "2", "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "GEMINI_API_KEY" in (tmp_path / "out" / "report.txt").read_text()
