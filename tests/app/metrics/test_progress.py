import pytest
import redis
from prometheus_client import CollectorRegistry

from app.metrics.backlog import BacklogCollector
from app.metrics.progress import ProgressCollector
from app.ports import free_port
from app.stream_client import StreamClients
from events.control import TokenRevoked
from storage.control import ControlLog
from storage.rebuilds import ModelDigests, Rebuilds, RebuildStatus
from storage.watermarks import Watermark, Watermarks


def values(collector: ProgressCollector | BacklogCollector) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(collector)
    return {sample.name: sample.value for family in registry.collect() for sample in family.samples}


def test_before_anything_was_said(valkey: "redis.Redis") -> None:
    assert values(ProgressCollector(StreamClients(valkey, [valkey]))) == {
        "truyvet_rebuild_requested": 0,
        "truyvet_rebuild_rows_done": 0,
        "truyvet_rebuild_differs": 0,
    }


def test_the_lag_is_what_the_watermarks_say(valkey: "redis.Redis") -> None:
    watermarks = Watermarks(valkey)
    watermarks.publish("log", Watermark(9_500, 40))
    watermarks.publish("read-models", Watermark(7_000, 31))
    recorded = ControlLog(valkey).append(TokenRevoked("none"))
    found = values(ProgressCollector(StreamClients(valkey, [valkey])))
    assert found["truyvet_log_complete_timestamp_seconds"] == 9.5
    assert found["truyvet_read_models_complete_timestamp_seconds"] == 7.0
    assert (found["truyvet_projector_lag_rows"], found["truyvet_projector_lag_seconds"]) == (9, 2.5)
    assert found["truyvet_log_rows"] == 40
    assert found["truyvet_control_newest_timestamp_seconds"] == recorded.at / 1000


def test_a_clock_that_moved_on_is_no_lag(valkey: "redis.Redis") -> None:
    Watermarks(valkey).publish("log", Watermark(9_500, 40))
    Watermarks(valkey).publish("read-models", Watermark(7_000, 40))
    assert values(ProgressCollector(StreamClients(valkey, [valkey])))["truyvet_projector_lag_seconds"] == 0


@pytest.mark.parametrize(("watched_to", "seconds"), [(None, 0), (6_400, 0.6), (7_500, 0)])
def test_the_watcher_for_clusters_lags_behind_the_read_models(
    valkey: "redis.Redis", watched_to: int | None, seconds: float
) -> None:
    Watermarks(valkey).publish("read-models", Watermark(7_000, 31))
    collector = ProgressCollector(StreamClients(valkey, [valkey]), lambda: watched_to)
    assert values(collector)["truyvet_clusters_lag_seconds"] == seconds


@pytest.mark.parametrize("digest", ["aa", "bb"])
def test_a_rebuild_that_found_other_rows_is_told(valkey: "redis.Redis", digest: str) -> None:
    rebuilds = Rebuilds(valkey)
    rebuilds.request("r")
    assert values(ProgressCollector(StreamClients(valkey, [valkey])))["truyvet_rebuild_requested"] == 1
    rebuilds.tell(RebuildStatus("r", "done", 7, 7, 0, [ModelDigests("scans_by_subject", 7, 7, "aa", digest)]))
    found = values(ProgressCollector(StreamClients(valkey, [valkey])))
    assert found["truyvet_rebuild_requested"] == 0
    assert found["truyvet_rebuild_rows_done"] == 7
    assert found["truyvet_rebuild_differs"] == (digest != "aa")


def test_while_the_server_is_away_nothing_is_claimed() -> None:
    with redis.Redis(port=free_port()) as nobody:
        assert values(ProgressCollector(StreamClients(nobody, [nobody]))) == {}
        assert values(BacklogCollector([nobody], 1_000)) == {"truyvet_stream_bytes_max": 1_000}


def test_how_full_the_stream_is(valkey: "redis.Redis") -> None:
    valkey.xadd("truyvet:{0}:scans", {"e": b"x"})
    valkey.hset("truyvet:{0}:sink", mapping={"bytes_in": 1_000, "bytes_out": 250})
    found = values(BacklogCollector([valkey], 1_500))
    assert found["truyvet_stream_waiting_bytes"] == 750
    assert found["truyvet_stream_waiting_entries"] == 1
    assert found["truyvet_stream_waiting_ratio"] == 0.5
