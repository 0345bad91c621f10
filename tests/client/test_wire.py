"""The strict decoder: everything that docs/protocol.md refuses is refused, whatever msgpack would do with it."""

from __future__ import annotations

import math
import random
import tracemalloc
from collections.abc import Iterator

import msgpack
import pytest
from void_client import wire
from void_client.errors import MessageError


@pytest.mark.parametrize(
    "value",
    [{}, {"a": 1}, {"a": [1, -1, 2**63, -(2**63), 1.5, True, None, "ä", b"\x00"]}, [], 0, {"a": {"b": [[]]}}],
)
def test_plain_values_come_back(value):
    assert wire.unpack(wire.pack(value)) == value


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "too early"),
        (b"\x81", "too early"),
        (b"\x81\xa1a", "too early"),
        (b"\xc0\xc0", "follow the end"),
        (b"\x82\xa1a\x01\xa1a\x02", "twice"),
        (b"\x81\x01\x01", "not text|decoded"),
        (b"\xd4\x01\x00", "extension"),
        (b"\xc7\x01\x01\x00", "extension"),
        (b"\xd6\xff\x00\x00\x00\x00", "extension"),
        (b"\xc1", "extension"),
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "not finite"),
        (b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "not finite"),
        (b"\xca\xff\x80\x00\x00", "not finite"),
        (b"\xa2\xff\xfe", "decoded"),
        (b"\xdd\xff\xff\xff\xff", "too early"),
        (b"\xdf\xff\xff\xff\xff", "too early"),
        (b"\xdb\xff\xff\xff\xff", "limit"),
        (b"\x91" * 100 + b"\xc0", "nested"),
    ],
)
def test_malformed_bytes_are_refused(data, complaint):
    with pytest.raises(MessageError, match=complaint):
        wire.unpack(data)


def test_limits_are_the_documents():
    limits = wire.LIMITS
    assert (limits.parts, limits.control_bytes, limits.payload_bytes) == (2, 8 << 20, 4 << 20)
    assert (limits.depth, limits.values, limits.text_bytes) == (12, 300_000, 1 << 20)


def test_too_many_values_are_refused_with_little_memory():
    data = msgpack.packb([{}] * 1_000_000)
    tracemalloc.start()
    with pytest.raises(MessageError, match="values"):
        wire.unpack(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_nested_claims_of_long_lists_reserve_no_memory():
    data = b"\xdc\xff\xff" * 11 + b"\xc0" * 70_000
    tracemalloc.start()
    with pytest.raises(MessageError):
        wire.unpack(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def refused(messages: Iterator[bytes]) -> tuple[int, int]:
    """(accepted, refused with a ``MessageError``). Any other exception fails the test."""
    accepted, rejected = 0, 0
    for data in messages:
        try:
            wire.unpack(data)
            accepted += 1
        except MessageError:
            rejected += 1
    return accepted, rejected


def test_random_bytes_give_values_or_message_errors():
    source = random.Random(5)
    sizes = (source.randrange(1, 40) for _ in range(20_000))
    accepted, rejected = refused(bytes(source.randrange(256) for _ in range(size)) for size in sizes)
    assert accepted + rejected == 20_000
    assert rejected > accepted > 0


def mutated(good: bytes, source: random.Random) -> bytes:
    data = bytearray(good)
    for _ in range(source.randrange(1, 4)):
        data[source.randrange(len(data))] = source.randrange(256)
    return bytes(data)


def test_mutated_messages_give_values_or_message_errors():
    source = random.Random(6)
    good = wire.pack({"void": 1, "id": 7, "type": "have", "body": {"frames": [["a" * 64, 5]], "x": 1.5}})
    accepted, rejected = refused(mutated(good, source) for _ in range(20_000))
    assert accepted + rejected == 20_000
    assert min(accepted, rejected) > 1000


@pytest.mark.parametrize("value", [math.nan, math.inf, object(), {1: 2}, 2**70])
def test_what_the_decoder_refuses_is_not_sent(value):
    with pytest.raises(MessageError):
        wire.unpack(wire.pack(value))


def test_part_limits():
    wire.check_parts([b"", b"x"])
    with pytest.raises(MessageError):
        wire.check_parts([b"", b"", b""])
    with pytest.raises(MessageError):
        wire.check_parts([])
    with pytest.raises(MessageError):
        wire.check_parts([b"", bytes((4 << 20) + 1)])
