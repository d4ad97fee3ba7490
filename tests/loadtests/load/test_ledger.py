"""The ledger keeps what was sent and answered, whatever becomes of the process that wrote it."""

from pathlib import Path

import pytest

from events.scans import How, Kind
from loadtests.load.ledger import (
    Answered,
    Attested,
    Batch,
    Ledger,
    LedgerBroken,
    Ledgers,
    Offered,
    Record,
    Sent,
    Untaken,
)

DEVICE = "load-door-1"


def scan(seq: int) -> Attested:
    """A scan that was sent."""
    return Attested(seq, 1_635_000_000_000 + seq, Kind.IN, How.CODE, "load-door-7", "0a" * 16)


def written(directory: Path, *records: Record) -> Path:
    """A ledger of these records."""
    ledger = Ledger(directory, "one")
    for record in records:
        ledger.write(record)
    ledger.close()
    return ledger.path


def test_a_batch_is_read_as_it_was_written(tmp_path: Path) -> None:
    scans = [scan(1), scan(2)]
    written(
        tmp_path,
        Offered(DEVICE, scans),
        Sent(DEVICE, 1, "first"),
        Untaken(DEVICE, 1, "first"),
        Sent(DEVICE, 1, "first"),
        Sent(DEVICE, 1, "anew"),
        Answered(DEVICE, 1, [(2, "duplicate")]),
        Offered(DEVICE, [scan(3)]),
    )
    assert Ledgers(tmp_path).batches(DEVICE) == [
        Batch(scans, sends=3, signings=2, verdicts={2: "duplicate"}),
        Batch([scan(3)], sends=0, signings=0, verdicts=None),
    ]


def test_a_request_whose_every_sending_was_turned_away_was_not_taken(tmp_path: Path) -> None:
    turned_away: list[Record] = [Sent(DEVICE, 1, "first"), Untaken(DEVICE, 1, "first")]
    written(tmp_path, Offered(DEVICE, [scan(1)]), *turned_away, *turned_away)
    assert Ledgers(tmp_path).batches(DEVICE) == [Batch([scan(1)], sends=2, signings=0)]


def test_the_ledgers_of_all_processes_are_read(tmp_path: Path) -> None:
    for worker in ("one", "two"):
        ledger = Ledger(tmp_path / worker, worker)
        ledger.write(Offered(f"load-{worker}", [scan(1)]))
        ledger.close()
    assert Ledgers(tmp_path).devices == ["load-one", "load-two"]


def test_a_record_that_death_cut_short_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, Offered(DEVICE, [scan(1)]), Sent(DEVICE, 1, "first"))
    path.write_bytes(path.read_bytes()[:-5])
    assert Ledgers(tmp_path).batches(DEVICE) == [Batch([scan(1)])]


def test_what_is_no_record_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, Offered(DEVICE, [scan(1)]))
    start = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"{}\n")
    with pytest.raises(LedgerBroken, match=f"no record at byte {start}"):
        Ledgers(tmp_path)


@pytest.mark.parametrize(
    "orphan",
    [Sent(DEVICE, 7, "first"), Answered(DEVICE, 7, []), Untaken(DEVICE, 7, "first"), Untaken(DEVICE, 1, "never")],
)
def test_a_record_of_what_was_never_recorded_is_named(tmp_path: Path, orphan: Record) -> None:
    path = written(tmp_path, Offered(DEVICE, [scan(1)]), orphan)
    start = path.read_bytes().index(b"\n") + 1
    with pytest.raises(LedgerBroken, match=f"{path.name}: no record before that at byte {start}"):
        Ledgers(tmp_path).batches(DEVICE)


def test_a_name_is_used_once(tmp_path: Path) -> None:
    written(tmp_path, Offered(DEVICE, [scan(1)]))
    with pytest.raises(FileExistsError):
        Ledger(tmp_path, "one")
