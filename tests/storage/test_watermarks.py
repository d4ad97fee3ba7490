import threading
from unittest import mock

import pytest
import redis

from storage.partitions import ONLY
from storage.watermarks import Asked, Laid, Nudge, Watermark, Watermarks

WAIT_SECONDS_MAX = 10.0


def test_the_latest_watermark_is_the_only_one(valkey: "redis.Redis") -> None:
    watermarks = Watermarks(valkey)
    assert watermarks.read("log") is None
    watermarks.publish("log", Watermark(10, 1))
    watermarks.publish("log", Watermark(20, 2))
    assert watermarks.read("log") == Watermark(20, 2)
    assert watermarks.read("read-models") is None


def test_waiting_returns_at_once_what_is_there_and_none_when_time_is_over(valkey: "redis.Redis") -> None:
    watermarks = Watermarks(valkey)
    watermarks.publish("log", Watermark(10, 1))
    assert watermarks.wait("log", 10, WAIT_SECONDS_MAX) == Watermark(10, 1)
    assert watermarks.wait("log", 11, 0.05) is None
    assert watermarks.follow("log", 10, 0.05) is None
    assert watermarks.follow("log", 9, WAIT_SECONDS_MAX) == Watermark(10, 1)


def test_whoever_waits_nudges_the_sink_and_is_woken(valkey: "redis.Redis") -> None:
    watermarks = Watermarks(valkey)
    watermarks.publish("log", Watermark(10, 1))
    woken: list[Watermark | None] = []
    waiter = threading.Thread(target=lambda: woken.append(watermarks.wait("log", 30, WAIT_SECONDS_MAX)))
    waiter.start()
    assert valkey.xread({ONLY.nudge: "0-0"}, block=int(WAIT_SECONDS_MAX * 1000))
    watermarks.publish("log", Watermark(20, 2))
    watermarks.publish("log", Watermark(31, 3))
    waiter.join(WAIT_SECONDS_MAX)
    assert woken == [Watermark(31, 3)]


def test_a_nudge_says_what_is_waited_for(valkey: "redis.Redis") -> None:
    watermarks = Watermarks(valkey)
    none = Nudge("0-0", 0)
    assert watermarks.await_nudge(none, 0.01) is None
    watermarks.nudge(20)
    seen = watermarks.await_nudge(none, WAIT_SECONDS_MAX)
    assert seen is not None
    assert seen.received == 20
    assert watermarks.await_nudge(seen, 0.01) is None
    valkey.xadd(ONLY.nudge, {"n": ""})
    older = watermarks.await_nudge(seen, WAIT_SECONDS_MAX)
    assert older is not None
    assert older.received == 0


def test_nobody_is_nudged_once_the_log_has_what_is_waited_for(valkey: "redis.Redis") -> None:
    watermarks = Watermarks(valkey)
    watermarks.publish("log", Watermark(30, 1))
    watermarks.publish("read-models", Watermark(10, 1))
    with mock.patch.object(watermarks, "nudge", wraps=watermarks.nudge) as nudge:
        assert watermarks.wait("read-models", 30, 0.5) is None
    assert nudge.call_args_list == [mock.call(30, "read-models")]


def test_one_who_waits_for_a_partition_does_not_keep_all_servers_busy(valkey: "redis.Redis") -> None:
    watermarks = Watermarks(valkey, [valkey] * 3)
    for partition in range(3):
        watermarks.publish("log", Watermark(10, 1), partition)
    with mock.patch.object(watermarks, "nudge", wraps=watermarks.nudge) as nudge:

        def speak(received: int, name: str) -> None:
            # Each sink speaks at each nudge, and one has nothing new to say.
            for partition in (0, 1):
                watermarks.publish("log", Watermark(20, 1), partition)

        nudge.side_effect = speak
        assert watermarks.wait("log", 20, 1.0) is None
        assert 3 <= nudge.call_count <= 12


def test_the_log_of_many_partitions_is_never_ahead_of_the_registries_clock(valkey: "redis.Redis") -> None:
    # What is recorded later must be later than all that readers were told.
    watermarks, future = Watermarks(valkey, [valkey] * 2), 9_000_000_000_000
    for partition in range(2):
        watermarks.publish("log", Watermark(future, 1), partition)
    seconds, _ = valkey.time()
    mark = watermarks.read("log")
    assert mark is not None
    assert mark.received // 1000 - seconds in {-1, 0, 1}
    assert watermarks.wait("log", future, 0.05) is None


def test_a_server_that_takes_no_nudge_is_left_in_peace(valkey: "redis.Redis") -> None:
    silent = redis.Redis(port=1)
    watermarks = Watermarks(valkey, [valkey, silent])
    with mock.patch.object(silent, "xadd", side_effect=redis.ConnectionError) as asked:
        watermarks.nudge(20)
        watermarks.nudge(20)
    assert asked.call_count == 1


def test_who_needs_the_log_alone_does_not_have_anything_folded_in(valkey: "redis.Redis") -> None:
    watermarks, none = Watermarks(valkey), Nudge("0-0", 0)
    watermarks.nudge(20)
    for received in range(21, 25):
        watermarks.nudge(received, "log")
    seen = watermarks.await_nudge(none, WAIT_SECONDS_MAX)
    assert seen is not None
    assert seen.received == 20
    assert watermarks.await_nudge(seen, 0.05) is None


def test_who_asks_is_told_where_the_read_models_are_and_waits_for_the_log_later(
    valkey: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    watermarks = Watermarks(valkey)
    monkeypatch.setattr("storage.watermarks.NUDGE_SECONDS_FIRST", 1_000.0)
    assert watermarks.ask(30) is None
    watermarks.publish("log", Watermark(10, 1))
    watermarks.publish("read-models", Watermark(10, 1))
    assert watermarks.ask(10) == Asked(Watermark(10, 1), nudged=False)
    assert not valkey.exists(ONLY.nudge), "nobody is asked for what is there"
    with mock.patch.object(watermarks, "nudge", wraps=watermarks.nudge) as nudge:
        asked = watermarks.ask(30)
        assert asked == Asked(Watermark(10, 1), nudged=True)
        assert nudge.call_args_list == [mock.call(30, "log")]
        assert watermarks.wait_laid(30, asked, 0.05) is None
        assert len(nudge.call_args_list) == 1, "the sinks were asked a moment ago"
        watermarks.publish("log", Watermark(31, 3))
        assert watermarks.wait_laid(30, asked, WAIT_SECONDS_MAX) == Laid(31, 3, folded=False)


@pytest.mark.parametrize("nudged", [False, True])
def test_a_nudge_that_was_lost_or_not_needed_at_first_is_given(valkey: "redis.Redis", nudged: bool) -> None:
    watermarks, asked = Watermarks(valkey), Asked(Watermark(10, 1), nudged)
    watermarks.publish("log", Watermark(10, 1))
    with mock.patch.object(watermarks, "nudge") as nudge:
        nudge.side_effect = lambda received, name: watermarks.publish("log", Watermark(received, 1))
        assert watermarks.wait_laid(30, asked, WAIT_SECONDS_MAX) == Laid(30, 1, folded=False)
