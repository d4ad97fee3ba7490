"""`kill -9` of every process in turn, under traffic: what was acknowledged is in the log, and nothing twice."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.scans import Kind, Scan
from tests.journey.driver import Client, Scanner, System
from tests.journey.store_reader import rows_of
from tests.support.clickhouse_http import ClickHouseHttp

SCANNERS = 3
BATCH_SCANS = 10
BATCHES_BETWEEN_KILLS = 40
WAIT_SECONDS_MAX = 120.0
POLL_SECONDS = 0.05
SUBJECT = bytes(range(16))


class Traffic:
    """Scanners that post batch after batch until told to stop, and know what was acknowledged."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._stop = threading.Event()
        self._moved = threading.Condition()
        self.acknowledged: dict[str, int] = {}
        self.failures: list[BaseException] = []
        now = int(time.time() * 1000)
        self._code = system.code(SUBJECT, now - 1_000_000, now + 100_000_000)
        self._threads = [
            threading.Thread(target=self._post, args=(system.scanner(f"gate-{number}"),)) for number in range(SCANNERS)
        ]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def await_batches(self, count: int) -> None:
        """Return when so many more batches were acknowledged by every scanner."""
        with self._moved:
            goal = {name: self.acknowledged.get(name, 0) + count for name in (f"gate-{n}" for n in range(SCANNERS))}
            arrived = self._moved.wait_for(
                lambda: self.failures or all(self.acknowledged.get(name, 0) >= goal[name] for name in goal),
                WAIT_SECONDS_MAX,
            )
        assert arrived, "the system did not come back"
        assert not self.failures, self.failures

    def _post(self, scanner: Scanner) -> None:
        client = Client(self._system.settings)
        batch = 0
        try:
            while not self._stop.is_set():
                first = batch * BATCH_SCANS + 1
                now = int(time.time() * 1000)
                scans = [
                    Scan(seq=seq, at=now, kind=Kind.IN, code=self._code) for seq in range(first, first + BATCH_SCANS)
                ]
                receipt = client.post(*scanner.request(scans))
                assert receipt.refused == 0
                batch += 1
                with self._moved:
                    self.acknowledged[scanner.device.id] = batch
                    self._moved.notify_all()
        except BaseException as error:
            with self._moved:
                self.failures.append(error)
                self._moved.notify_all()
        finally:
            client.close()


def check_log(system: System, acknowledged: dict[str, int]) -> None:
    """Every stream entry is in the log once, and every acknowledged scan in the read models once."""
    entries = rows_of(system.settings, "SELECT count(), uniqExact(entry), sum(seq_max - seq_min + 1) FROM evidence")
    rows = rows_of(system.settings, "SELECT count(), uniqExact(device, seq) FROM log")
    assert entries[0][0] == entries[0][1]
    assert entries[0][2] == rows[0][0]
    projected = rows_of(
        system.settings, "SELECT device, count(), uniqExact(seq), max(seq) FROM scans_by_subject FINAL GROUP BY device"
    )
    found = {device: (count, distinct) for device, count, distinct, _ in projected}
    wanted = sorted(count * BATCH_SCANS for count in acknowledged.values())
    # A batch whose answer was lost in the kill is in the log too, without having been acknowledged.
    assert all(count == distinct for count, distinct in found.values())
    counts = sorted(count for count, _ in found.values())
    assert len(counts) == len(wanted)
    assert all(have >= want for have, want in zip(counts, wanted, strict=True))
    assert all(count == highest for _, count, _, highest in projected)


def kill(system: System, name: str) -> None:
    """End a process at once, as soon as it is back from an earlier death."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while name not in system.embedded.pids:
        assert time.monotonic() < deadline, f"{name} was not started again"
        time.sleep(POLL_SECONDS)
    os.kill(system.embedded.pids[name], signal.SIGKILL)


def test_no_kill_loses_or_doubles_a_scan_in_embedded_mode(tmp_path: Path) -> None:
    with System(tmp_path) as system:
        with Traffic(system) as traffic:
            traffic.await_batches(10)
            for victim in ("valkey", "ingest-1", "store", "valkey", "store", "ingest-1"):
                kill(system, victim)
                traffic.await_batches(BATCHES_BETWEEN_KILLS)
        system.await_log()
    check_log(system, traffic.acknowledged)


@pytest.fixture
def own_clickhouse(tmp_path: Path) -> Iterator[ClickHouseHttp]:
    """A ClickHouse server that the test may kill."""
    server = ClickHouseHttp(tmp_path / "clickhouse")
    server.start()
    yield server
    server.stop()


def test_no_kill_loses_or_doubles_a_scan_in_server_mode(tmp_path: Path, own_clickhouse: ClickHouseHttp) -> None:
    with System(tmp_path / "data", TRUYVET_CLICKHOUSE_URL=own_clickhouse.url) as system:
        with Traffic(system) as traffic:
            traffic.await_batches(10)
            for victim in ("sink", "project", "valkey"):
                kill(system, victim)
                traffic.await_batches(BATCHES_BETWEEN_KILLS)
            own_clickhouse.kill()
            traffic.await_batches(BATCHES_BETWEEN_KILLS)  # the store is away: scans wait in the stream
            own_clickhouse.start()
            kill(system, "sink")
            traffic.await_batches(BATCHES_BETWEEN_KILLS)
        system.await_log()
        check_log(system, traffic.acknowledged)
