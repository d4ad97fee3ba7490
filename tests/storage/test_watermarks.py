import threading

import redis

from storage.partitions import ONLY
from storage.watermarks import Watermark, Watermarks

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
