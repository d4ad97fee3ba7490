"""The digest of settled stays sees every difference that a reader would see, and no other."""

from typing import Any, Final

import msgspec
import numpy as np

from projections.stay_rows import Keys, packed
from projections.stays_by_place_hour import STAYS_BY_PLACE_HOUR, digest
from projections.walk_together import DWELL, EXIT_MEASURED, GONE, MEASURED, MOVED, UNENDED, Scans, Stays
from storage.clickhouse import Store

MARK: Final = 1_700_000_000_000


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table."""

    place_hour: int = (7 << 32) + 472_222
    subject: bytes = b"0123456789abcdef"
    start: int = MARK - 5_000
    end: int = MARK - 1_000
    entry: int = MEASURED
    exit: int = EXIT_MEASURED
    scans: tuple[tuple[int, int], ...] = ((3, 41), (4, 17))
    settled_for: int = MARK

    def packed(self) -> bytes:
        """As the settler inserts it."""
        one: Any = np.array([0])
        keys = Keys(np.array([self.place_hour]), one, np.array([self.start]), np.array([self.entry]))
        devices, seqs = np.array(self.scans, dtype=np.int64).reshape(-1, 2).T
        nothing = np.zeros(len(devices), dtype=np.int64)
        scans = Scans(nothing, nothing, nothing.astype(np.bool_), devices, seqs, nothing)
        stays = Stays(
            one,
            np.array([self.place_hour >> 32]),
            np.array([self.start]),
            np.array([self.end]),
            np.array([self.entry]),
            np.array([self.exit]),
            np.array([0, len(devices)]),
            np.arange(len(devices)),
        )
        which = one - 1 if self.exit == GONE else one
        return packed(keys, which, stays, scans, subjects=np.array([self.subject]), settled=self.settled_for)


def digest_of(store: Store, *rows: Row, final: bool = True) -> tuple[int, str]:
    store.command(f"TRUNCATE TABLE {STAYS_BY_PLACE_HOUR}")
    for number, row in enumerate(rows):
        store.insert_rowbinary(STAYS_BY_PLACE_HOUR, row.packed(), token=f"{number} of {hash(rows)}")
    found = digest(store, STAYS_BY_PLACE_HOUR, upto=MARK, final=final)
    return found.rows, found.hash


def test_whatever_a_reader_would_see_otherwise_makes_another_digest(store: Store) -> None:
    rows = [
        Row(),
        Row(place_hour=(8 << 32) + 472_222),
        Row(subject=b"0123456789abcdeg"),
        Row(start=MARK - 5_001),
        Row(end=MARK - 999),
        Row(entry=2),
        Row(exit=MOVED),
        Row(exit=DWELL),
        Row(exit=UNENDED, end=MARK + 1),
        Row(exit=DWELL, end=MARK + 1),
        Row(scans=((3, 41),)),
        Row(scans=((3, 42), (4, 17))),
        Row(scans=((2, 41), (4, 17))),
        Row(scans=((4, 17), (3, 41))),
    ]
    digests = [digest_of(store, row) for row in rows]
    assert len(set(digests)) == len(rows)


def test_when_it_was_settled_and_what_time_has_decided_since_make_none(store: Store) -> None:
    assert digest_of(store, Row(settled_for=MARK - 1)) == digest_of(store, Row())
    assert digest_of(store, Row(exit=UNENDED, end=MARK)) == digest_of(store, Row(exit=DWELL, end=MARK))
    only, before = digest_of(store, Row()), Row(end=MARK - 2_000, settled_for=MARK - 1)
    assert digest_of(store, before, Row()) == only
    assert digest_of(store, before, Row(), final=False) != only
    assert digest_of(store, Row(), Row(exit=GONE, settled_for=MARK + 1)) == digest_of(store)
