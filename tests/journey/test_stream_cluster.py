"""The whole service over a cluster of stream servers: a server and a sink die, another of each hangs and comes back."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.ports import free_port
from events.scans import Kind, Scan
from storage.clickhouse import Store
from storage.partitions import partition_of, partitions_of
from tests.journey.driver import DAY_MS, Client, Scanner, System
from tests.support.clickhouse_http import ClickHouseHttp
from tests.support.valkey_cluster import ValkeyCluster

PARTITIONS = 6
SCANNERS = 6
BATCH_SCANS = 20
LEASE_SECONDS = 15
STOP_SECONDS_MAX = 30
HOUR_MS = 3_600_000
F0, CONTACT = bytes([1]) * 16, bytes([2]) * 16


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    with ValkeyCluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseHttp]:
    with ClickHouseHttp(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture
def system(cluster: ValkeyCluster, store: ClickHouseHttp, tmp_path: Path) -> Iterator[System]:
    settings = {
        "TRUYVET_REDIS_URL": cluster.url,
        "TRUYVET_REDIS_CLUSTER_NODES": cluster.others,
        "TRUYVET_REDIS_REPLICAS": "1",
        "TRUYVET_STREAM_PARTITIONS": str(PARTITIONS),
        "TRUYVET_CLICKHOUSE_URL": store.url,
    }
    with System(tmp_path, **settings) as running:
        yield running


@pytest.fixture
def second_sink(system: System) -> Iterator["subprocess.Popen[bytes]"]:
    environment = system.settings.process_environment() | {"TRUYVET_SINK_PORT": str(free_port())}
    sink = subprocess.Popen([sys.executable, "-P", "-m", "app.cli", "sink"], env=environment)
    yield sink
    sink.send_signal(signal.SIGCONT)
    sink.terminate()
    assert sink.wait(STOP_SECONDS_MAX) == 0


class Traffic:
    """A thread for each scanner, which sends batch after batch until told to stop, each until it is answered for."""

    def __init__(self, system: System, scanners: list[Scanner], code_of: dict[bytes, str]) -> None:
        self.acknowledged: list[tuple[int, int]] = []
        self._system = system
        self._codes = code_of
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(scanner,)) for scanner in scanners]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, scanner: Scanner) -> None:
        client, seq = Client(self._system.settings), 0
        while not self._stop.is_set():
            at = time.time_ns() // 1_000_000 - HOUR_MS
            codes = [self._codes[F0], self._codes[CONTACT]]
            scans = [
                Scan(seq=seq + number, at=at, kind=Kind.IN, code=codes[number % 2])
                for number in range(1, BATCH_SCANS + 1)
            ]
            receipt = client.post(*scanner.request(scans))
            assert receipt.refused == 0
            self.acknowledged += [(scanner.device.number, scan.seq) for scan in scans]
            seq += BATCH_SCANS
            self._stop.wait(0.02)
        client.close()


def test_acknowledged_scans_are_in_the_log_once_whoever_falls(
    cluster: ValkeyCluster, store: ClickHouseHttp, system: System, second_sink: "subprocess.Popen[bytes]"
) -> None:
    now = time.time_ns() // 1_000_000
    scanners = [system.scanner(f"door-{number}") for number in range(SCANNERS)]
    codes = {person: system.code(person, now - DAY_MS, now + DAY_MS) for person in (F0, CONTACT)}
    assert {partition_of(scanner.device.number, PARTITIONS) for scanner in scanners} == set(range(PARTITIONS))
    traffic = Traffic(system, scanners, codes)
    try:
        _grow(traffic, 20)
        # A sink hangs with its connections open, for longer than its leases last; the other one dies and starts again.
        second_sink.send_signal(signal.SIGSTOP)
        os.kill(system.embedded.pids["sink"], signal.SIGKILL)
        hung = time.monotonic()

        # The server of one partition dies, and comes back as the other's replica; with it goes what all share.
        dead = cluster.primary_of("truyvet:{shared}:")
        dead.kill()
        cluster.await_failover("truyvet:{shared}:", dead)
        dead.start()
        cluster.await_replicas()
        _grow(traffic, 20)

        # Another's is cut off: it still believes that it is the server, and finds out that it is not.
        cut = next(
            server
            for partition in partitions_of(PARTITIONS)
            if (server := cluster.primary_of(partition.scans)) is not cluster.primary_of("truyvet:{shared}:")
        )
        lost = next(one for one in partitions_of(PARTITIONS) if cluster.primary_of(one.scans) is cut)
        cut.freeze()
        cluster.await_failover(lost.scans, cut)
        cut.thaw()
        cluster.await_replicas()
        _grow(traffic, 20)

        time.sleep(max(0.0, LEASE_SECONDS + 1 - (time.monotonic() - hung)))
        second_sink.send_signal(signal.SIGCONT)
        _grow(traffic, 20)
    finally:
        traffic.stop()
    system.await_log()

    with_log = Store(store.url)
    logged = [(device, seq) for device, seq in with_log.rows("SELECT device, seq FROM log ORDER BY device, seq")]
    with_log.close()
    assert logged == sorted(traffic.acknowledged)
    contacts = system.trace({"index": {"subjects": [F0.hex()]}, "from": now - DAY_MS, "to": now + DAY_MS})["contacts"]
    assert [contact["subject"] for contact in contacts] == [CONTACT.hex()]


def test_a_process_with_another_number_of_partitions_refuses(system: System) -> None:
    environment = system.settings.process_environment() | {"TRUYVET_STREAM_PARTITIONS": "5"}
    for arguments in (["sink"], ["project"], ["serve", "trace"], ["serve", "ingest-worker"]):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "app.cli", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode != 0, arguments
        assert "Set TRUYVET_STREAM_PARTITIONS=6" in done.stderr, arguments


def _grow(traffic: Traffic, batches: int) -> None:
    """Return when so many more batches of every scanner, on average, have been acknowledged."""
    goal, deadline = len(traffic.acknowledged) + batches * SCANNERS * BATCH_SCANS, time.monotonic() + 60
    while len(traffic.acknowledged) < goal:
        assert time.monotonic() < deadline, "the edge does not take scans again"
        time.sleep(0.05)
