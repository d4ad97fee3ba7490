"""The SFHH conference as check-ins: 403 people, 51 places, and the truth about who was with whom."""

import csv
import gzip
import random
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from events.scans import Kind, Scan
from tests.conftest import REMARK
from tests.journey.driver import DAY_MS, System

BATCH_SCANS = 500
TWICE_SHARE = 0.1


def subject_of(person: int) -> bytes:
    return person.to_bytes(16)


def test_every_trace_of_the_conference_equals_the_truth(
    shared: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with gzip.open(shared / "data" / "sfhh_scans.csv.gz", "rt") as file:
        rows = [(int(row["at"]), row["kind"], row["place"], int(row["person"])) for row in csv.DictReader(file)]
    truth: dict[int, dict[int, int]] = defaultdict(dict)
    with gzip.open(shared / "data" / "sfhh_truth.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            a, b, seconds = int(row["a"]), int(row["b"]), int(row["seconds"])
            truth[a][b] = truth[b][a] = seconds
    people = sorted({person for _, _, _, person in rows})
    places = sorted({place for _, _, place, _ in rows})
    assert (len(rows), len(people), len(places)) == (64_586, 403, 51)

    now = int(time.time() * 1000)
    shift = (now - 7 * DAY_MS) // DAY_MS * DAY_MS - rows[0][0] * 1000 // DAY_MS * DAY_MS
    rng = random.Random(2009)
    started = time.monotonic()
    with System(tmp_path) as system:
        scanners = {place: system.scanner(f"huddle-{place.lower()}") for place in places}
        codes = {person: system.code(subject_of(person), now - 20 * DAY_MS, now + DAY_MS) for person in people}
        by_day: dict[tuple[str, int], list[Scan]] = defaultdict(list)
        seqs: dict[str, int] = defaultdict(int)
        for at, kind, place, person in rows:
            seqs[place] += 1
            scan = Scan(seq=seqs[place], at=at * 1000 + shift, kind=Kind(kind), code=codes[person])
            by_day[place, scan.at // DAY_MS].append(scan)

        requests: list[tuple[str, list[Scan]]] = []
        for (place, _), scans in by_day.items():
            rng.shuffle(scans)
            batches = [scans[start : start + BATCH_SCANS] for start in range(0, len(scans), BATCH_SCANS)]
            requests.extend((place, batch) for batch in batches)
        requests += rng.sample(requests, round(len(requests) * TWICE_SHARE))
        rng.shuffle(requests)
        accepted = duplicate = 0
        for place, batch in requests:
            receipt = system.client.post(*scanners[place].request(batch))
            accepted, duplicate = accepted + receipt.accepted, duplicate + receipt.duplicate
            assert receipt.refused == 0
        posted = time.monotonic()
        # Nothing new is ever called a duplicate; of what came twice, most is known to have.
        assert accepted >= len(rows)
        assert accepted + duplicate == sum(len(batch) for _, batch in requests)

        window = {"from": rows[0][0] * 1000 + shift - DAY_MS, "to": rows[-1][0] * 1000 + shift + DAY_MS}
        wrong = []
        for person in people:
            question = {"index": {"subjects": [subject_of(person).hex()]}, "min_seconds": 1, "lag_seconds": 0}
            answer = system.trace(question | window)
            found = {int(contact["subject"], 16): contact["ms"] / 1000 for contact in answer["contacts"]}
            if found != truth[person]:
                wrong.append(person)
        assert wrong == []
        done = time.monotonic()
    record_property(
        REMARK,
        f"conference: {len(requests)} batches posted in {posted - started:.1f} s,"
        f" {len(people)} traces in {done - posted:.1f} s ({(done - posted) / len(people) * 1000:.0f} ms each)",
    )
