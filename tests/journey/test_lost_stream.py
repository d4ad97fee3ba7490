"""The stream's disk is gone: registries and answers are still there, and scanners go on."""

import shutil
import time
from pathlib import Path

import msgspec

from events.scans import Kind, Scan
from tests.journey.driver import DAY_MS, System

ANNA, BINH = bytes([1]) * 16, bytes([2]) * 16


def test_a_lost_stream_takes_no_registry_with_it(tmp_path: Path) -> None:
    now = int(time.time() * 1000)
    with System(tmp_path) as system:
        scanner = system.scanner("cho-lon")
        codes = {who: system.code(who, now - DAY_MS, now + DAY_MS) for who in (ANNA, BINH)}
        visits = [(ANNA, Kind.IN, 90), (BINH, Kind.IN, 80), (ANNA, Kind.OUT, 20), (BINH, Kind.OUT, 10)]
        scans = [
            Scan(seq=seq, at=now - minutes * 60_000, kind=kind, code=codes[who])
            for seq, (who, kind, minutes) in enumerate(visits, 1)
        ]
        assert system.client.post(*scanner.request(scans)).accepted == 4
        question = {"index": {"subjects": [ANNA.hex()]}, "from": now - DAY_MS, "to": now}
        before = system.trace(question)
        assert [contact["seconds"] for contact in before["contacts"]] == [3600]
        settings = system.settings
    shutil.rmtree(settings.valkey_dir)

    with System(tmp_path) as again:
        after = again.trace(question | {"as_of": before["question"]["as_of"]})
        assert after["fingerprint"] == before["fingerprint"]
        status, devices = again.api("GET", "/v1/devices")
        assert status == 200
        assert [device["id"] for device in msgspec.json.decode(devices)["items"]] == ["cho-lon"]
        late = Scan(seq=5, at=now, kind=Kind.PASS, code=codes[BINH])
        assert again.client.post(*scanner.request([late])).accepted == 1
