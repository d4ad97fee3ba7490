import time

import pytest
import redis
from prometheus_client import CollectorRegistry

from app.metrics.sink import STEP_OF_HOOK, SinkMetrics
from ingest.sink import Sink, SinkLimits
from storage.clickhouse import Store
from storage.partitions import ONLY
from storage.stream import ScanStream
from storage.watermarks import Watermarks
from tests.builders import entry, log_row

AT = 1_700_000_000_000
WHO = bytes(range(16))


class Died(Exception):
    """The process ended here."""


class Watched:
    """Sinks one after the other, with one set of counters."""

    def __init__(self, valkey: "redis.Redis", store: Store) -> None:
        self.registry = CollectorRegistry()
        self._metrics = SinkMetrics(self.registry)
        self._stopwatch = self._metrics.stopwatch()
        self._valkey = valkey
        self._store = store

    def step(self, dies_after: str = "") -> None:
        def on_step(name: str) -> None:
            self._stopwatch(name)
            if name == dies_after:
                raise Died

        Sink(
            stream=ScanStream(self._valkey, owner="sink"),
            store=self._store,
            watermarks=Watermarks(self._valkey),
            limits=SinkLimits(idle_ms=1),
            on_step=on_step,
            on_range=self._metrics.on_range,
        ).step()

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"truyvet_sink_{name}", labels) or 0.0


@pytest.fixture
def watched(valkey: "redis.Redis", store: Store) -> Watched:
    return Watched(valkey, store)


def post(valkey: "redis.Redis", *payloads: bytes, age_seconds: int = 0) -> int:
    """Append entries. Returns their bytes."""
    began = int(time.time() * 1000) - age_seconds * 1000
    for number, payload in enumerate(payloads):
        valkey.xadd(ONLY.scans, {"e": payload}, id=f"{began}-{number}")
        valkey.hincrby(ONLY.sink, "bytes_in", len(payload))
    return sum(len(payload) for payload in payloads)


def test_a_range_is_counted_with_all_that_it_holds(valkey: "redis.Redis", watched: Watched) -> None:
    good = [entry(1, [log_row(1, 1, AT, 5, WHO), log_row(1, 2, AT, 5, WHO)]), entry(2, [log_row(2, 1, AT, 5, WHO)])]
    size = post(valkey, *good, b"?", age_seconds=20)
    began = time.time()
    watched.step()
    assert watched.value("range_rows_sum") == 3
    assert watched.value("range_entries_sum") == 2
    assert watched.value("range_bytes_sum") == size
    assert watched.value("poison_total") == 1
    assert 20 <= watched.value("log_seconds_sum") < 20 + 60
    assert watched.value("committed_timestamp_seconds") >= began
    for step in STEP_OF_HOOK.values():
        assert watched.value("step_seconds_count", step=step) == 1, step
    assert watched.value("resumed_total") == watched.value("repairs_total") == 0


def test_waiting_is_no_step(valkey: "redis.Redis", watched: Watched) -> None:
    for _ in range(3):
        watched.step()
    assert watched.value("step_seconds_count", step="read") == 0
    assert watched.value("range_rows_count") == 0


def test_what_a_fault_left_is_counted_once_it_is_mended(valkey: "redis.Redis", store: Store, watched: Watched) -> None:
    post(valkey, entry(1, [log_row(1, 1, AT, 5, WHO)]))
    with pytest.raises(Died):
        watched.step(dies_after="inserted")
    assert watched.value("range_rows_count") == 0
    # ClickHouse notes a token before it keeps the rows: leave what a death in between leaves.
    store.command("ALTER TABLE log DELETE WHERE 1 SETTINGS mutations_sync = 2")
    watched.step()
    assert watched.value("repairs_total") == 1
    assert watched.value("resumed_total") == 1
    assert watched.value("range_rows_sum") == 1
