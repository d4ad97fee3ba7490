"""A partition that has laid everything says so itself; one that has not keeps silent."""

import pytest
import redis

from storage.partitions import ONLY
from storage.quiet import quiet
from storage.stream import PROMISE_AHEAD_MS_MAX, FrozenRange, Promised, ScanStream
from storage.watermarks import Asked, Watermark, Watermarks

LAID = 6
WAIT_SECONDS_MAX = 10.0


def server_ms(valkey: "redis.Redis") -> int:
    seconds, microseconds = valkey.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def sink_that_laid(valkey: "redis.Redis") -> ScanStream:
    """A sink that has laid the one entry that ever came, received at `LAID`."""
    valkey.xadd(ONLY.scans, {"e": b""}, id="1-0")
    sink, frozen = ScanStream(valkey, owner="me"), FrozenRange("1-0", "1-0", 0, LAID)
    sink.claim(60)
    sink.freeze(frozen)
    sink.commit(frozen, rows=1, size=1)
    return sink


def test_nobody_knows_what_the_log_holds_before_the_first_commit(valkey: "redis.Redis") -> None:
    assert quiet(valkey, ONLY) is None
    valkey.xadd(ONLY.scans, {"e": b""}, id="1-0")
    sink = ScanStream(valkey, owner="me")
    sink.claim(60)
    sink.freeze(FrozenRange("1-0", "1-0", 0, LAID))
    assert quiet(valkey, ONLY) is None


def test_where_all_is_laid_time_has_passed_up_to_now(valkey: "redis.Redis") -> None:
    sink = sink_that_laid(valkey)
    before = server_ms(valkey)
    found = quiet(valkey, ONLY)
    assert found is not None
    assert before - 1 <= found.upto < server_ms(valkey) + 1
    assert found.laid == LAID
    assert sink.state().received == found.upto
    assert int(valkey.get(ONLY.promise) or 0) == found.upto


def test_whatever_is_on_its_way_keeps_it_silent(valkey: "redis.Redis") -> None:
    sink = sink_that_laid(valkey)
    valkey.xadd(ONLY.scans, {"e": b""}, id="7-0")
    assert quiet(valkey, ONLY) is None
    received_after = sink.state().received
    sink.freeze(FrozenRange("7-0", "7-0", received_after, received_after + 1))
    valkey.xtrim(ONLY.scans, maxlen=0)
    assert quiet(valkey, ONLY) is None


def test_what_was_promised_to_a_reader_no_later_range_may_break(valkey: "redis.Redis") -> None:
    sink = sink_that_laid(valkey)
    valkey.hset(ONLY.sink, "received", LAID)
    assert quiet(valkey, ONLY) is not None
    valkey.xadd(ONLY.scans, {"e": b""}, id="7-0")
    frozen = FrozenRange("7-0", "7-0", LAID, 7)
    with pytest.raises(Promised):
        sink.freeze(frozen)
    assert sink.state().frozen is None


def test_a_clock_that_went_back_takes_no_promise_back(valkey: "redis.Redis") -> None:
    sink_that_laid(valkey)
    future = server_ms(valkey) + 1_000_000
    valkey.hset(ONLY.sink, "received", future)
    found = quiet(valkey, ONLY)
    assert found is not None
    assert found.upto == future


def test_a_promise_that_no_clock_can_have_made_holds_nobody_up(valkey: "redis.Redis") -> None:
    sink = sink_that_laid(valkey)
    before = sink.state().received
    valkey.set(ONLY.promise, server_ms(valkey) + 2 * PROMISE_AHEAD_MS_MAX)
    valkey.xadd(ONLY.scans, {"e": b""}, id="7-0")
    assert sink.state().received == before
    sink.freeze(FrozenRange("7-0", "7-0", before, before + 1))
    assert quiet(valkey, ONLY) is None


def test_read_models_that_hold_all_that_was_laid_are_complete_at_once(valkey: "redis.Redis") -> None:
    sink_that_laid(valkey)
    watermarks = Watermarks(valkey)
    watermarks.publish("read-models", Watermark(LAID, 1))
    now = server_ms(valkey)
    mark = watermarks.wait("read-models", now, WAIT_SECONDS_MAX)
    assert mark is not None
    assert (mark.received >= now, mark.rows) == (True, 1)
    assert not valkey.exists(ONLY.nudge)


def test_read_models_that_lack_something_are_waited_for(valkey: "redis.Redis") -> None:
    sink_that_laid(valkey)
    watermarks = Watermarks(valkey)
    watermarks.publish("read-models", Watermark(LAID - 1, 0))
    assert watermarks.wait("read-models", server_ms(valkey), 0.05) is None
    assert valkey.exists(ONLY.nudge)


def test_where_nothing_is_on_its_way_nobody_is_asked_and_the_read_models_have_it(valkey: "redis.Redis") -> None:
    sink_that_laid(valkey)
    watermarks = Watermarks(valkey)
    watermarks.publish("read-models", Watermark(LAID, 7))
    now = server_ms(valkey)
    asked = watermarks.ask(now)
    assert asked == Asked(Watermark(LAID, 7), nudged=False)
    assert not valkey.exists(ONLY.nudge)
    laid = watermarks.wait_laid(now, asked, WAIT_SECONDS_MAX)
    assert laid is not None
    assert laid.received >= now
    assert (laid.rows, laid.folded) == (7, True)


def test_one_busy_partition_of_many_is_waited_for(valkey: "redis.Redis") -> None:
    sink_that_laid(valkey)
    watermarks = Watermarks(valkey, [valkey, valkey])
    watermarks.publish("read-models", Watermark(LAID, 1))
    assert watermarks.wait("read-models", server_ms(valkey), 0.05) is None


def test_a_clock_far_behind_the_moment_is_left_to_those_who_are_asked(valkey: "redis.Redis") -> None:
    sink_that_laid(valkey)
    watermarks = Watermarks(valkey)
    watermarks.publish("read-models", Watermark(LAID, 1))
    assert watermarks.wait("read-models", server_ms(valkey) + 60_000, 0.05) is None
    assert valkey.exists(ONLY.nudge)
