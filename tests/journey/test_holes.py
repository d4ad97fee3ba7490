"""Scans that were acknowledged and lost before they reached the log: seen everywhere, sent again, and seen no more."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.scan_queue import ScanQueue
from app.scanner import EdgeClient, Outcome, Resent, Scanner, Sent, Signer
from events.scans import SEQUENCE_PATH, Kind, Scan
from storage.partitions import ONLY
from tests.app.conftest import truyvet
from tests.journey.driver import DAY_MS, System

ANNA = bytes([1]) * 16
SINK_HELD_MS = 120_000


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system")) as running:
        yield running


def test_what_the_stream_lost_is_seen_and_sent_again_by_the_scanner_itself(system: System, tmp_path: Path) -> None:
    with ScanQueue(tmp_path / "queue") as queue:
        device = system.scanner("cho-lon")
        signer = Signer(device.key, "cho-lon.1")
        edge, log = EdgeClient(system.settings.ingest), EdgeClient(system.settings.api)
        incurious = Scanner(queue, signer, edge, directory=tmp_path)
        curious = Scanner(queue, signer, edge, directory=tmp_path, sequences=log)
        now = int(time.time() * 1000)
        code = system.code(ANNA, now - DAY_MS, now + DAY_MS)

        def scan(scanner: Scanner, count: int) -> list[Outcome]:
            queue.append(Scan(1, now - 60_000, Kind.PASS, code=code) for _ in range(count))
            outcomes = []
            while (outcome := scanner.step()) is not None:
                outcomes.append(outcome)
            assert isinstance(outcomes[0], Sent)
            assert outcomes[0].receipt.accepted == count
            return outcomes

        def read(path: str) -> Any:
            status, body = system.api("GET", path, b"", **{"Truyvet-Purpose": "Comparing the log"})
            assert status == 200, body.decode()
            return msgspec.json.decode(body)

        scan(incurious, 3)
        system.await_log()
        system.redis.set(ONLY.sink_owner, "another sink, which does nothing", px=SINK_HELD_MS)
        scan(incurious, 4)
        assert system.redis.xlen(ONLY.scans) == 1
        system.redis.xtrim(ONLY.scans, maxlen=0, approximate=False)
        system.redis.hdel(ONLY.seen, str(device.device.number))
        scan(incurious, 2)
        system.redis.delete(ONLY.sink_owner)
        system.await_log()

        found = read("/v1/devices/cho-lon/gaps")
        assert [(gap["first"], gap["last"]) for gap in found["gaps"]] == [(4, 7)]
        assert [(one["device"], one["missing"]) for one in read("/v1/gaps")["items"]] == [("cho-lon", 4)]
        told = truyvet(system.settings, "gaps")
        assert told.returncode == 0, told.stderr
        assert "cho-lon" in told.stdout
        assert "4 missing" in told.stderr
        one = truyvet(system.settings, "gaps", "cho-lon")
        assert "4 of 9 missing in 1 run" in one.stderr
        view = log.get(SEQUENCE_PATH, signer.question(SEQUENCE_PATH, "", int(time.time())))
        assert msgspec.json.decode(view.body)["missing"] == [{"first": 4, "last": 7}]

        first, again = scan(curious, 1)
        assert isinstance(first, Sent)
        assert first.receipt.next_seq == 1
        assert isinstance(again, Resent)
        assert [scan.seq for scan in again.scans] == [4, 5, 6, 7]
        assert (again.receipt.accepted, again.receipt.duplicate) == (4, 0)
        system.await_log()
        found = read("/v1/devices/cho-lon/gaps")
        assert (found["gaps"], found["missing"], found["seen_to"]) == ([], 0, 10)
        assert read("/v1/gaps")["items"] == []
        assert [one["seq"] for one in read("/v1/devices/cho-lon/scans")["scans"]] == list(range(1, 11))
        none = truyvet(system.settings, "gaps", "cho-lon", "--json")
        assert msgspec.json.decode(none.stdout)["missing"] == 0


def test_a_reused_number_is_shown_with_all_its_deliveries(system: System) -> None:
    device = system.scanner("cho-hom")
    now = int(time.time() * 1000)
    for subject, at in ((ANNA, now - 9_000), (os.urandom(16), now - 5_000)):
        scan = Scan(1, at, Kind.IN, code=system.code(subject, now - DAY_MS, now + DAY_MS))
        system.client.post(*device.request([scan]))
    system.await_log()
    told = truyvet(system.settings, "gaps", "cho-hom", "--conflicts")
    assert told.returncode == 0, told.stderr
    assert "at, subject" in told.stdout
    assert "1 seq came with other content." in told.stderr
    assert "missing" not in told.stderr
    listed = truyvet(system.settings, "gaps", "--conflicts")
    assert "cho-hom" in listed.stdout
    nobody = truyvet(system.settings, "gaps", "nobody")
    assert nobody.returncode == 1
    assert nobody.stderr.count("\n") == 1
