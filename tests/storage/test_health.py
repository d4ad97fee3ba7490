"""`storage.health`: each way in which the parts can be unwell is told apart, on a real server."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import redis

from app.ports import free_port
from events.readiness import Check, CheckName
from storage.clickhouse import Store
from storage.health import (
    BACKLOG_SECONDS_MAX,
    LAG_MS_MAX,
    LOG_AGE_MS_MAX,
    reader_checks,
    room_checks,
    store_checks,
    stream_checks,
)
from storage.partitions import ONLY
from storage.valkey import EmbeddedValkey
from storage.watermarks import Watermark, Watermarks
from tests.app.conftest import until

NOW = 1_700_000_000_000


def failing(checks: Sequence[Check]) -> dict[CheckName, bool]:
    """Which of them fail, and whether that is vital."""
    return {check.name: check.vital for check in checks if not check.ok}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A server that the test may break."""
    server = EmbeddedValkey(tmp_path / "valkey", port=free_port())
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("vital", [True, False])
def test_a_stream_that_is_well_is_only_looked_at(valkey: "redis.Redis", vital: bool) -> None:
    before = valkey.info("persistence")["aof_current_size"]
    checks = stream_checks([valkey], vital=vital)
    assert not failing(checks)
    assert {check.name: check.vital for check in checks} == {
        CheckName.STREAM: True,
        CheckName.STREAM_DISK: vital,
        CheckName.STREAM_MEMORY: vital,
    }
    assert valkey.info("persistence")["aof_current_size"] == before
    assert valkey.exists(ONLY.probe) == 0


def test_no_memory_left(server: EmbeddedValkey) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", 1)
        assert failing(stream_checks([client], vital=True)) == {CheckName.STREAM_MEMORY: True}
        client.config_set("maxmemory", 0)
        assert not failing(stream_checks([client], vital=True))


def test_no_disk_left(server: EmbeddedValkey) -> None:
    (server.directory / "dump.rdb").mkdir()
    with redis.Redis.from_url(server.url) as client:
        client.config_set("save", "3600 1")
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        assert failing(stream_checks([client], vital=False)) == {CheckName.STREAM_DISK: False}
        client.config_set("save", "")  # or it would not stop without a snapshot


def test_a_server_that_is_away_says_nothing_of_the_rest(server: EmbeddedValkey) -> None:
    with redis.Redis.from_url(server.url) as client:
        server.stop()
        assert failing(stream_checks([client], vital=True)) == {CheckName.STREAM: True}
        assert not failing(room_checks([client], 1_000_000))
        assert not failing(reader_checks(Watermarks(client), NOW))


def test_room(valkey: "redis.Redis") -> None:
    def found(waiting: int) -> dict[CheckName, bool]:
        valkey.hset(ONLY.sink, mapping={"bytes_in": 5_000 + waiting, "bytes_out": 5_000})
        return failing(room_checks([valkey], 1_000))

    assert found(500) == {}
    assert found(501) == {CheckName.SINK: False}
    assert found(999) == {CheckName.SINK: False}
    assert found(1_000) == {CheckName.STREAM_ROOM: True, CheckName.SINK: False}


def test_a_batch_that_waits_for_long(valkey: "redis.Redis") -> None:
    seconds, _ = valkey.time()
    valkey.xadd(ONLY.scans, {"e": b"x"}, id=f"{(seconds - int(BACKLOG_SECONDS_MAX) - 2) * 1000}-0")
    assert failing(room_checks([valkey], 1_000)) == {CheckName.SINK: False}


def test_readers(valkey: "redis.Redis") -> None:
    marks = Watermarks(valkey)
    assert failing(reader_checks(marks, NOW)) == {CheckName.SINK: True, CheckName.PROJECTOR: True}
    marks.publish("log", Watermark(NOW - LOG_AGE_MS_MAX, 10))
    assert failing(reader_checks(marks, NOW)) == {CheckName.PROJECTOR: True}
    marks.publish("read-models", Watermark(NOW - LOG_AGE_MS_MAX - LAG_MS_MAX, 9))
    assert failing(reader_checks(marks, NOW)) == {}
    assert failing(reader_checks(marks, NOW + 1)) == {CheckName.SINK: False}
    marks.publish("log", Watermark(NOW - LOG_AGE_MS_MAX + 1, 10))
    assert failing(reader_checks(marks, NOW)) == {CheckName.PROJECTOR: False}
    marks.publish("log", Watermark(NOW - LOG_AGE_MS_MAX + 1, 9))  # nothing is lacking, however old
    assert failing(reader_checks(marks, NOW)) == {}


def test_a_store(store: Store) -> None:
    assert not failing(store_checks(store))


def test_a_store_that_is_away() -> None:
    away = Store(f"http://default:@127.0.0.1:{free_port()}/")
    assert failing(store_checks(away)) == {CheckName.STORE: True}
