import time

import pytest
import redis

from app.ports import free_port
from storage.backlog import read_waiting
from storage.errors import StreamDown
from storage.partitions import ONLY
from storage.stream import ScanStream

ENTRY = b"x" * 100


def test_nothing_waits(valkey: "redis.Redis") -> None:
    [waiting] = read_waiting([valkey])
    assert (waiting.entries, waiting.bytes, waiting.oldest_seconds) == (0, 0, 0.0)
    assert abs(waiting.clock_offset_seconds) < 60


def test_what_waits_is_counted_from_the_oldest_that_is_not_in_the_log(valkey: "redis.Redis") -> None:
    now = int(time.time() * 1000)
    in_log, waits = f"{now - 900_000}-0", f"{now - 600_000}-0"
    for entry in (in_log, waits, f"{now - 1_000}-0"):
        valkey.xadd(ONLY.scans, {"e": ENTRY}, id=entry)
        valkey.hincrby(ONLY.sink, "bytes_in", len(ENTRY))
    valkey.hset(ONLY.sink, "cursor", in_log)
    valkey.hset(ONLY.sink, "bytes_out", len(ENTRY))
    ScanStream(valkey, owner="sink").trim(in_log)
    [waiting] = read_waiting([valkey])
    assert (waiting.entries, waiting.bytes) == (2, 2 * len(ENTRY))
    assert 599 < waiting.oldest_seconds < 700


def test_what_is_in_the_log_does_not_wait_although_it_is_not_trimmed_yet(valkey: "redis.Redis") -> None:
    entry = valkey.xadd(ONLY.scans, {"e": ENTRY})
    valkey.hset(ONLY.sink, mapping={"cursor": entry, "bytes_in": len(ENTRY), "bytes_out": len(ENTRY)})
    [waiting] = read_waiting([valkey])
    assert (waiting.entries, waiting.bytes, waiting.oldest_seconds) == (0, 0, 0.0)


def test_a_server_that_is_away(valkey: "redis.Redis") -> None:
    with pytest.raises(StreamDown), redis.Redis(port=free_port()) as nobody:
        read_waiting([nobody])
