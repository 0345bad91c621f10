"""Messages against bytes that were written out by hand from docs/protocol.md, not by our encoder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from void_client import messages as m
from void_client import wire
from void_client.errors import MessageError, VersionMismatch, by_code, from_wire

A = b"\xd9\x40" + b"a" * 64  # str 8, 64 characters: a digest
HEX = "a" * 64


def envelope(number: bytes, name: bytes, body: bytes) -> bytes:
    """{"void": 1, "id": number, "type": name, "body": body}: fixmap of four."""
    return (
        b"\x84" + b"\xa4void\x01" + b"\xa2id" + number + b"\xa4type" + bytes([0xA0 + len(name)]) + name
        + b"\xa4body" + body
    )  # fmt: skip


JOB = (
    b"\x8b\xa6job_id\xa2j1\xa5state\xa6queued\xa4shot\xa5sh010\xa6engine\xaacleanplate\xa8priority\x32"
    b"\xa5stage\xa0\xa8last_seq\x01\xa9submitted\xcb\x40\x00\x00\x00\x00\x00\x00\x00\xa5place\x00"
    b"\xa8finished\xc0\xa5error\xc0"
)
INFO = m.JobInfo("j1", "queued", "sh010", "cleanplate", 50, "", 1, 2.0)
ERROR = (
    b"\x85\xa4code\xa4busy\xa7message\xa4Full\xa4hint\xa4Wait\xa9retryable\xc3"
    b"\xa7details\x81\xabretry_after\xcb\x40\x14\x00\x00\x00\x00\x00\x00"
)

GOLDEN = [
    (
        m.Hello("c/1", 1, 1), b"",
        envelope(b"\x01", b"hello", b"\x83\xa6client\xa3c/1\xacprotocol_min\x01\xacprotocol_max\x01"),
    ),
    (m.Have((m.FrameSize(HEX, 5),)), b"", envelope(b"\x01", b"have", b"\x81\xa6frames\x91\x92" + A + b"\x05")),
    (
        m.Upload(HEX, 300, 256), b"PIXELS",
        envelope(b"\x01", b"upload", b"\x83\xa6sha256" + A + b"\xa4size\xcd\x01\x2c\xa6offset\xcd\x01\x00"),
    ),
    (
        m.Share(HEX, 5, "/s/a.exr"), b"",
        envelope(b"\x01", b"share", b"\x83\xa6sha256" + A + b"\xa4size\x05\xa4path\xa8/s/a.exr"),
    ),
    (
        m.Submit("j1", {"version": 1}), b"",
        envelope(b"\x01", b"submit", b"\x83\xa6job_id\xa2j1\xa4spec\x81\xa7version\x01\xa8priority\x32"),
    ),
    (m.Watch("j1", 7), b"", envelope(b"\x01", b"watch", b"\x82\xa6job_id\xa2j1\xa5after\x07")),
    (m.Unwatch("j1"), b"", envelope(b"\x01", b"unwatch", b"\x81\xa6job_id\xa2j1")),
    (m.Cancel("j1"), b"", envelope(b"\x01", b"cancel", b"\x81\xa6job_id\xa2j1")),
    (m.Status(), b"", envelope(b"\x01", b"status", b"\x82\xa6job_id\xc0\xa5limit\xcc\xc8")),
    (m.Result("j1"), b"", envelope(b"\x01", b"result", b"\x81\xa6job_id\xa2j1")),
    (
        m.Read("j1", "p.exr", 0, 9), b"",
        envelope(b"\x01", b"read", b"\x84\xa6job_id\xa2j1\xa4name\xa5p.exr\xa6offset\x00\xa6length\x09"),
    ),
    (m.Health(), b"", envelope(b"\x01", b"health", b"\x80")),
    (m.Metrics(), b"", envelope(b"\x01", b"metrics", b"\x80")),
    (m.Collect(True), b"", envelope(b"\x01", b"collect", b"\x81\xa7dry_run\xc3")),
    (m.Approve("j1"), b"", envelope(b"\x01", b"approve", b"\x81\xa6job_id\xa2j1")),
    (m.Resolve("j1"), b"", envelope(b"\x01", b"resolve", b"\x81\xa6job_id\xa2j1")),
    (
        m.Welcome("s/1", "ab", 1, 4096, 10, 20, False), b"",
        envelope(
            b"\x01", b"welcome",
            b"\x87\xa6server\xa3s/1\xa9server_id\xa2ab\xa8protocol\x01\xabchunk_bytes\xcd\x10\x00"
            b"\xafmax_frame_bytes\x0a\xaamax_frames\x14\xa6shares\xc2",
        ),
    ),
    (m.Missing((m.Received(HEX, 0),)), b"", envelope(b"\x01", b"missing", b"\x81\xa6frames\x91\x92" + A + b"\x00")),
    (
        m.Uploaded(HEX, 5, True), b"",
        envelope(b"\x01", b"uploaded", b"\x83\xa6sha256" + A + b"\xa8received\x05\xa8complete\xc3"),
    ),
    (m.Accepted(INFO, True), b"", envelope(b"\x01", b"accepted", b"\x82\xa3job" + JOB + b"\xa7created\xc3")),
    (m.Watching(INFO), b"", envelope(b"\x01", b"watching", b"\x81\xa3job" + JOB)),
    (
        m.Event("j1", 3, 2.0, "running", {"device": "cpu"}), b"",
        envelope(
            b"\x00", b"event",
            b"\x85\xa6job_id\xa2j1\xa3seq\x03\xa4time\xcb\x40\x00\x00\x00\x00\x00\x00\x00\xa4kind\xa7running"
            b"\xa4data\x81\xa6device\xa3cpu",
        ),
    ),
    (m.Jobs((INFO,)), b"", envelope(b"\x01", b"jobs", b"\x81\xa4jobs\x91" + JOB)),
    (
        m.Manifest("j1", {"a": 1}), b"",
        envelope(b"\x01", b"manifest", b"\x82\xa6job_id\xa2j1\xa8manifest\x81\xa1a\x01"),
    ),
    (m.Data(0, 9), b"PIXELS", envelope(b"\x01", b"data", b"\x82\xa6offset\x00\xa4size\x09")),
    (m.Report({"a": 1}), b"", envelope(b"\x01", b"report", b"\x81\xa6values\x81\xa1a\x01")),
    (m.Done(), b"", envelope(b"\x01", b"done", b"\x80")),
    (m.Failure("busy", "Full", "Wait", True, {"retry_after": 5.0}), b"", envelope(b"\x01", b"error", ERROR)),
]  # fmt: skip


@pytest.mark.parametrize(("message", "payload", "golden"), GOLDEN, ids=[type(row[0]).TYPE for row in GOLDEN])
def test_golden_bytes(message, payload, golden):
    number = 0 if isinstance(message, m.Event) else 1
    parts = [golden, payload] if payload else [golden]
    assert m.decode(parts) == m.Envelope(number, message, payload)
    assert [bytes(part) for part in m.encode(message, number, payload)] == parts


def test_every_message_has_golden_bytes_and_a_line_in_the_document():
    assert {type(row[0]) for row in GOLDEN} == set(m.REQUESTS + m.REPLIES)
    page = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
    for cls in m.REQUESTS + m.REPLIES:
        assert re.search(rf"`{cls.TYPE}`", page), cls.TYPE


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ([wire.pack([1])], "not a map"),
        ([wire.pack({"void": 1, "id": 1, "type": "health"})], "keys"),
        ([wire.pack({"void": 1, "id": 1, "type": "health", "body": {}, "x": 1})], "keys"),
        ([wire.pack({"void": 1, "id": -1, "type": "health", "body": {}})], "id"),
        ([wire.pack({"void": 1, "id": True, "type": "health", "body": {}})], "id"),
        ([wire.pack({"void": 1, "id": 1, "type": "nonsense", "body": {}})], "not known"),
        ([wire.pack({"void": 1, "id": 1, "type": ["health"], "body": {}})], "not known"),
        ([wire.pack({"void": 1, "id": 1, "type": "health", "body": {"x": 1}})], "'x' is not known"),
        ([wire.pack({"void": 1, "id": 1, "type": "watch", "body": {}})], "'job_id' is missing"),
        ([wire.pack({"void": 1, "id": 1, "type": "watch", "body": {"job_id": 5}})], "expected text"),
        ([wire.pack({"void": 1, "id": 1, "type": "watch", "body": {"job_id": "a", "after": 1.0}})], "whole number"),
        ([wire.pack({"void": 1, "id": 1, "type": "watch", "body": {"job_id": "a", "after": True}})], "whole number"),
        ([wire.pack({"void": 1, "id": 1, "type": "have", "body": {"frames": [["A" * 64, 1]]}})], "SHA-256"),
        ([wire.pack({"void": 1, "id": 1, "type": "have", "body": {"frames": [["a" * 64]]}})], "expected"),
        ([wire.pack({"void": 1, "id": 1, "type": "health", "body": {}}), b"x"], "parts"),
        ([wire.pack({"void": 1, "id": 1, "type": "data", "body": {"offset": 0, "size": 1}})], "parts"),
    ],
)
def test_bad_envelopes_are_refused(parts, complaint):
    with pytest.raises(MessageError, match=complaint):
        m.decode(parts)


def test_another_version_is_named_and_the_request_is_known():
    with pytest.raises(VersionMismatch, match="version 2") as caught:
        m.decode([wire.pack({"void": 2, "id": 9, "type": "health", "body": {}})])
    assert caught.value.details["id"] == 9


def test_every_error_travels_and_codes_are_unique():
    classes = by_code()
    for code, cls in classes.items():
        error = cls("what", hint="do", details={"frame": 3})
        back = from_wire(error.to_wire())
        assert type(back) is cls
        assert (back.code, back.message, back.hint, back.details) == (code, "what", "do", {"frame": 3})
        assert back.exit_code in (2, 3, 4, 5)
        assert back.retryable == (back.exit_code == 3)
    document = from_wire.__globals__["__doc__"]
    assert all(code in document for code in classes)


def test_an_unknown_error_code_stays_readable():
    error = from_wire({"code": "from_the_future", "message": "what"})
    assert error.details["code"] == "from_the_future"
    assert error.exit_code == 4
