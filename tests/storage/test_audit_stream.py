"""The audit stream: an append is taken behind the head alone, once, and leaves when it was copied."""

import pytest
import redis

from events.audit import GENESIS, START, Head
from storage.audit_stream import AUDIT_HEAD, AUDIT_STREAM, AuditStream, Link
from storage.errors import StreamDown, StreamFull

NOBODY = Head(-1, b"")


def links(first: int, count: int = 1, *, size: int = 10, saved: bytes = b"") -> list[Link]:
    return [Link(n, bytes([n % 256]) * 32, b"e" * size, saved) for n in range(first, first + count)]


def head_of(number: int) -> Head:
    return Head(number, bytes([number % 256]) * 32) if number else START


@pytest.fixture
def stream(valkey: "redis.Redis") -> AuditStream:
    stream = AuditStream(valkey)
    stream.advance(START)
    return stream


def test_a_stream_that_knows_no_head_says_so(valkey: "redis.Redis") -> None:
    stream = AuditStream(valkey)
    assert stream.head() is None
    assert stream.append(START, links(1)) == NOBODY
    assert stream.waiting() == []


def test_entries_are_taken_behind_the_head_alone(stream: AuditStream) -> None:
    assert stream.append(START, links(1, 3)) is None
    assert stream.head() == head_of(3)
    assert stream.append(START, links(1)[:0] or [Link(1, b"\xee" * 32, b"other")]) == head_of(3)
    assert stream.append(Head(3, GENESIS), links(4)) == head_of(3)
    assert stream.append(head_of(3), links(4, saved=b"answer")) is None
    assert stream.waiting() == [*links(1, 3), *links(4, saved=b"answer")]


def test_an_append_that_is_sent_again_is_taken_once(stream: AuditStream) -> None:
    """Its answer was lost; meanwhile others may have gone on."""
    assert stream.append(START, links(1, 2)) is None
    assert stream.append(START, links(1, 2)) is None
    assert stream.append(head_of(2), links(3)) is None
    assert stream.append(START, links(1, 2)) is None
    assert [link.number for link in stream.waiting()] == [1, 2, 3]


def test_newest_first_and_oldest_first(stream: AuditStream) -> None:
    stream.append(START, links(1, 5))
    assert [link.number for link in stream.newest(2**53 - 1, 2)] == [5, 4]
    assert [link.number for link in stream.newest(4, 9)] == [3, 2, 1]
    assert stream.newest(1, 9) == []
    assert [link.number for link in stream.waiting(3)] == [4, 5]


def test_the_head_moves_forward_only(stream: AuditStream) -> None:
    assert stream.advance(head_of(7)) == (head_of(7), True)
    assert stream.advance(head_of(7)) == (head_of(7), False)
    assert stream.advance(head_of(3)) == (head_of(7), False)
    assert stream.append(head_of(7), links(8)) is None


def test_a_range_is_frozen_for_everybody_and_leaves_once_it_is_committed(stream: AuditStream) -> None:
    stream.append(START, links(1, 5))
    first = stream.freeze(entries_max=3, bytes_max=1_000)
    assert first is not None
    assert (first.range.numbers, first.again) == ((1, 3), False)
    stream.append(head_of(5), links(6))
    second = stream.freeze(entries_max=100, bytes_max=1_000)
    assert second is not None
    assert (second.range, second.again) == (first.range, True)
    assert stream.between(first.range) == links(1, 3)
    stream.commit(first.range)
    stream.commit(first.range)
    assert [link.number for link in stream.waiting()] == [4, 5, 6]
    rest = stream.freeze(entries_max=100, bytes_max=1_000)
    assert rest is not None
    assert rest.range.numbers == (4, 6)
    stream.commit(first.range)
    assert len(stream.waiting()) == 3
    stream.commit(rest.range)
    assert stream.waits() == (0, 0)
    assert stream.freeze(entries_max=100, bytes_max=1_000) is None
    assert stream.append(head_of(6), links(7)) is None


@pytest.mark.parametrize(("bytes_max", "last"), [(1, 1), (25, 1), (26, 2), (39, 3), (1_000, 5)])
def test_a_range_holds_as_many_bytes_as_it_may_and_one_entry_at_least(
    stream: AuditStream, bytes_max: int, last: int
) -> None:
    stream.append(START, links(1, 5, saved=b"abc"))
    frozen = stream.freeze(entries_max=100, bytes_max=bytes_max)
    assert frozen is not None
    assert frozen.range.numbers == (1, last)


def test_what_waits_has_a_limit_and_room_comes_back(valkey: "redis.Redis") -> None:
    stream = AuditStream(valkey, waiting_bytes_max=100)
    stream.advance(START)
    assert stream.append(START, links(1, 2, size=60)) is None
    with pytest.raises(StreamFull):
        stream.append(head_of(2), links(3))
    frozen = stream.freeze(entries_max=100, bytes_max=1_000)
    assert frozen is not None
    stream.commit(frozen.range)
    assert stream.append(head_of(2), links(3)) is None


def test_a_server_without_memory_is_full_and_still_copied_from(valkey: "redis.Redis", stream: AuditStream) -> None:
    stream.append(START, links(1, 2))
    valkey.config_set("maxmemory", 1)
    try:
        with pytest.raises(StreamFull):
            stream.append(head_of(2), links(3))
        frozen = stream.freeze(entries_max=100, bytes_max=1_000)
        assert frozen is not None
        stream.commit(frozen.range)
        assert stream.waiting() == []
    finally:
        valkey.config_set("maxmemory", 0)


def test_a_server_that_is_away_is_down(stream: AuditStream, valkey: "redis.Redis") -> None:
    away = AuditStream(redis.Redis(port=1))
    for ask in (away.head, away.waiting, away.waits, lambda: away.append(START, links(1)), lambda: away.newest(9, 9)):
        with pytest.raises(StreamDown):
            ask()
    valkey.set(AUDIT_STREAM, "no stream")
    with pytest.raises(StreamDown):
        stream.append(START, links(1))
    assert valkey.hget(AUDIT_HEAD, "number") == b"0"


def test_with_replicas_an_append_waits_for_them(valkey: "redis.Redis") -> None:
    """There are none here (Redis 7.0 cannot even be asked): nothing is promised."""
    with pytest.raises(StreamDown):
        AuditStream(valkey, replicas=1).advance(START)
