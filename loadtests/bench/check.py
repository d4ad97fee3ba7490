"""The log held against what was sent, row by row, in a process of its own, because chDB opens one path a process.

For each device the whole log is read and laid beside what the world says that the device scanned. Every
acknowledged (device, seq) must be there once, with its very content; what was sent and never acknowledged may be
there; anything else must not.
"""

import subprocess
import sys
from typing import Final

import clickhouse_connect
import msgspec
import numpy as np
from clickhouse_connect.driver.client import Client
from numpy.typing import NDArray

from app.open_files import allow_open_files
from app.settings import Settings
from events.scans import HOW_NUMBER, How
from keys.enrolment import FIRST_KEY
from loadtests.bench.world import Bytes, Uints, World
from projections.projector import READ_MODELS

CHECK_SECONDS_MAX: Final = 600
FINDINGS_KEPT: Final = 10
BY_CODE: Final = HOW_NUMBER[How.CODE]

LOG_COLUMNS: Final = np.dtype(
    [
        ("key", "<u2"),
        ("seq", "<u8"),
        ("at", "<i8"),
        ("place", "<u4"),
        ("subject", "V16"),
        ("kind", "u1"),
        ("how", "u1"),
    ]
)
"""A row of the log as `_DEVICE_ROWS` gives it in RowBinary."""
Rows = NDArray[np.void]

_DEVICE_ROWS: Final = (
    "SELECT key, seq, toUnixTimestamp64Milli(at), place, subject, kind, how FROM log"
    " WHERE device = {device:UInt32} ORDER BY seq"
)
_OTHERS: Final = "SELECT count() FROM log WHERE device > {devices:UInt32} OR device = 0"
_COUNTS: Final = "SELECT (SELECT count() FROM evidence), (SELECT count() FROM refused), (SELECT count() FROM poison)"


class Sent(msgspec.Struct, frozen=True):
    """What one device sent, as (first seq, count) runs: what was acknowledged, and what may or may not have arrived."""

    device: int
    acknowledged: list[tuple[int, int]]
    unanswered: list[tuple[int, int]]


class Expected(msgspec.Struct, frozen=True):
    """What the log must hold. `batches` were acknowledged: each must have its evidence.

    `projected` says that the read models have caught up, and must hold every scan too.
    """

    world: World
    sent: list[Sent]
    batches: int
    projected: bool


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How the log differs from what was sent, in scans; `evidence_missing` and `poison` in batches.

    `strange` rows were never sent, `refused` ones should have been accepted, `unprojected` ones are in a read model too
    seldom or too often. `findings` name some.
    """

    rows: int
    lost: int
    doubled: int
    altered: int
    strange: int
    refused: int
    unprojected: int
    evidence_missing: int
    poison: int
    findings: list[str]

    def failures(self) -> list[str]:
        """What does not hold; empty where the log is what was sent, neither more nor less."""
        wrong = {name: getattr(self, name) for name in self.__struct_fields__ if name not in ("rows", "findings")}
        return [f"{count} {name}" for name, count in wrong.items() if count] + self.findings


class Difference(msgspec.Struct, frozen=True):
    """One device's seqs that are lost, doubled, altered or strange; `repeats` counts its rows beyond the first."""

    lost: Uints
    doubled: Uints
    altered: Uints
    strange: Uints
    repeats: int


def checked(settings: Settings, expected: Expected) -> Verdict:
    """The verdict on a stopped service's log."""
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.bench.check", settings.store_url, settings.clickhouse_database],
        input=msgspec.json.encode(expected),
        stdout=subprocess.PIPE,
        check=True,
        timeout=CHECK_SECONDS_MAX,
    )
    return msgspec.json.decode(done.stdout, type=Verdict)


def verdict(client: Client, expected: Expected) -> Verdict:
    """Read the whole log through the client and hold it against what was sent."""
    differences: dict[int, Difference] = {}
    rows = 0
    subjects = expected.world.subjects()
    for sent in expected.sent:
        found = device_rows(client, sent.device + 1)
        rows += len(found)
        differences[sent.device] = difference(found, sent, expected.world, subjects)
    ((others,),) = client.query(_OTHERS, parameters={"devices": expected.world.devices}).result_rows
    distinct = rows + others - sum(one.repeats for one in differences.values())
    unprojected = sum(abs(distinct - _scans(client, model.table)) for model in READ_MODELS) if expected.projected else 0
    ((evidence, refused, poison),) = client.query(_COUNTS).result_rows
    return Verdict(
        rows=rows + others,
        lost=sum(len(one.lost) for one in differences.values()),
        doubled=sum(len(one.doubled) for one in differences.values()),
        altered=sum(len(one.altered) for one in differences.values()),
        strange=others + sum(len(one.strange) for one in differences.values()),
        refused=refused,
        unprojected=unprojected,
        evidence_missing=max(expected.batches - evidence, 0),
        poison=poison,
        findings=_findings(differences),
    )


def device_rows(client: Client, number: int) -> Rows:
    """The whole log of the device of this number, by seq."""
    data = client.raw_query(_DEVICE_ROWS, parameters={"device": number}, fmt="RowBinary")
    return np.frombuffer(data, LOG_COLUMNS)


def _scans(client: Client, table: str) -> int:
    """How many scans a read model holds."""
    ((scans,),) = client.query(f"SELECT count() FROM {table} FINAL").result_rows
    return int(scans)


def difference(found: Rows, sent: Sent, world: World, subjects: Bytes) -> Difference:
    """Compare a device's log with what it sent. `subjects` are the world's."""
    seqs, counts = np.unique(found["seq"], return_counts=True)
    acknowledged, unanswered = _seqs(sent.acknowledged), _seqs(sent.unanswered)
    return Difference(
        lost=np.setdiff1d(acknowledged, seqs, assume_unique=True),
        doubled=seqs[counts > 1],
        altered=np.unique(found["seq"][found != _wanted(found["seq"], sent.device, world, subjects)]),
        strange=np.setdiff1d(seqs, np.concatenate([acknowledged, unanswered])),
        repeats=len(found) - len(seqs),
    )


def _wanted(seqs: Uints, device: int, world: World, subjects: Bytes) -> Rows:
    """The rows that the log should have under these seqs."""
    scans = world.scans(device, seqs)
    rows = np.empty(len(seqs), LOG_COLUMNS)
    rows["key"] = FIRST_KEY
    rows["seq"] = scans.seq
    rows["at"] = scans.at
    rows["place"] = world.place(device).number
    rows["subject"] = np.ascontiguousarray(subjects[scans.person]).view("V16")[:, 0]
    rows["kind"] = scans.kind
    rows["how"] = BY_CODE
    return rows


def _seqs(runs: list[tuple[int, int]]) -> Uints:
    return np.concatenate(
        [np.empty(0, np.uint64), *(np.arange(first, first + count, dtype=np.uint64) for first, count in runs)]
    )


def _findings(differences: dict[int, Difference]) -> list[str]:
    """The first few differences, for whoever has to find the fault."""
    texts = [
        f"{name}: device {device + 1}, seq {', '.join(map(str, seqs[:FINDINGS_KEPT]))} ({len(seqs)} in all)"
        for device, one in differences.items()
        for name in ("lost", "doubled", "altered", "strange")
        if len(seqs := getattr(one, name))
    ]
    return texts[:FINDINGS_KEPT]


def main() -> None:
    """Read what is expected from standard input; print the verdict on the store that the arguments name."""
    url, database = sys.argv[1:]
    allow_open_files()
    client = clickhouse_connect.get_client(dsn=url, database=database)
    expected = msgspec.json.decode(sys.stdin.buffer.read(), type=Expected)
    sys.stdout.buffer.write(msgspec.json.encode(verdict(client, expected)))
    client.close()


if __name__ == "__main__":
    main()
