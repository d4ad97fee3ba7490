"""Scans laid straight into the tables, as the sink lays them; and what the gaps between them are, by brute force."""

from collections.abc import Iterable
from typing import Final

import msgspec

from events.scans import HOW_NUMBER, KIND_NUMBER, LOG_ROW, REFUSAL_NUMBER, REFUSED_ROW, How, Kind, Refusal
from storage.clickhouse import Store
from tests.tracing.desk import AN, BINH

SUBJECTS: Final = (AN, BINH)


class Came(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery of a seq. Times in Unix ms; `subject` counts in `SUBJECTS`."""

    device: int = 1
    seq: int
    received: int
    at: int = 1_000
    place: int = 1
    subject: int = 0
    kind: Kind = Kind.IN
    refused: bool = False

    @property
    def content(self) -> tuple[int, int, int, Kind]:
        """What must not change when the seq comes again."""
        return self.at, self.place, self.subject, self.kind


def lay(store: Store, deliveries: Iterable[Came]) -> None:
    """Insert them, accepted and refused ones."""
    log, refused = [], []
    for one in deliveries:
        kind = KIND_NUMBER[one.kind]
        if one.refused:
            reason = REFUSAL_NUMBER[Refusal.EXPIRED_CODE]
            refused.append(REFUSED_ROW.pack(one.device, 1, one.seq, one.at, one.received, kind, reason))
        else:
            subject, how = SUBJECTS[one.subject], HOW_NUMBER[How.CITIZEN]
            log.append(LOG_ROW.pack(one.device, 1, one.seq, one.at, one.received, one.place, subject, kind, how))
    for table, rows in (("log", log), ("refused", refused)):
        if rows:
            store.insert_rowbinary(table, b"".join(rows), token="")


def gaps_by_counting(deliveries: Iterable[Came], retired: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(first, last, since) of each run of one device's seqs that is missing right below one that came.

    `retired` are runs of seqs, `(first, last)`, that came too: nothing is told of what is missing right below those.
    """
    first_received: dict[int, int] = {}
    for one in deliveries:
        first_received[one.seq] = min(one.received, first_received.get(one.seq, one.received))
    gone = {seq for first, last in retired for seq in range(first, last + 1)}
    gaps: list[tuple[int, int, int]] = []
    missing: list[int] = []
    for seq in range(1, max(first_received, default=0) + 1):
        if seq not in first_received and seq not in gone:
            missing.append(seq)
            continue
        if missing and seq not in gone:
            gaps.append((missing[0], missing[-1], first_received[seq]))
        missing = []
    return gaps


def conflicts_by_comparing(deliveries: Iterable[Came]) -> dict[int, list[Came]]:
    """The accepted deliveries of each of one device's seqs that came with other content, by `received`."""
    by_seq: dict[int, list[Came]] = {}
    for one in sorted(deliveries, key=lambda one: one.received):
        if not one.refused:
            by_seq.setdefault(one.seq, []).append(one)
    return {seq: those for seq, those in sorted(by_seq.items()) if len({one.content for one in those}) > 1}
