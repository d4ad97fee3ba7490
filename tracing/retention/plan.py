"""What goes when: the partitions of every table whose rows have a time, against the moment that scans are kept from.

A scan's time is when it happened. Read models lie by the week of it. Log, refusals and evidence lie by the day that
they were taken in, and go once everything taken in that day happened before the moment: a scan may be taken in up to
weeks after it happened, and moments before. Pure.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from projections.projector import READ_MODELS
from projections.stays_by_place_hour import STAYS_BY_PLACE_HOUR
from storage.expiry import Partition, Unit, span_of
from tracing.retention.terms import DAY_MS, Terms, run_for

TAKEN_IN: Final[Mapping[str, Unit]] = MappingProxyType(
    {"log": Unit.DAY, "refused": Unit.DAY, "evidence": Unit.DAY, "poison": Unit.MONTH}
)
"""Tables that lie by when they were taken in, in the order in which a day goes: what proves a scan goes after it."""
HAPPENED: Final[Mapping[str, Unit]] = MappingProxyType(
    dict.fromkeys([*(model.table for model in READ_MODELS), STAYS_BY_PLACE_HOUR], Unit.WEEK)
)
"""Tables that lie by when it happened."""
EXPIRING: Final[Mapping[str, Unit]] = MappingProxyType({**TAKEN_IN, **HAPPENED})
AHEAD_MS: Final = DAY_MS
"""A scan may have happened, by its device's clock, up to so long after it was taken in; the edge allows minutes."""


class Going(msgspec.Struct, frozen=True, kw_only=True):
    """A partition with its time `[from, to)` and when it goes by itself; both in Unix ms, null: it stays."""

    table: str
    partition: str
    from_: int = msgspec.field(name="from")
    to: int
    rows: int
    bytes: int
    goes_at: int | None


def needed_from(table: str, partition: str) -> int:
    """The partition goes once scans are kept from this moment (Unix ms) on, or a later one."""
    _, end = span_of(partition, EXPIRING[table])
    return end + AHEAD_MS if table in TAKEN_IN else end


def going(partitions: Iterable[Partition], terms: Terms) -> list[Going]:
    """When each goes, the next first."""
    found = [_going(one, terms) for one in partitions]
    return sorted(found, key=lambda one: (one.goes_at is None, one.goes_at, one.table, one.partition))


def due(partitions: Iterable[Partition], kept_from: int) -> list[Partition]:
    """What goes where scans are kept from this moment (Unix ms) on, in the order in which it goes."""
    order = {table: number for number, table in enumerate(EXPIRING)}
    over = [one for one in partitions if needed_from(one.table, one.id) <= kept_from]
    return sorted(over, key=lambda one: (EXPIRING[one.table] is not Unit.DAY, one.id, order[one.table]))


def _going(partition: Partition, terms: Terms) -> Going:
    start, end = span_of(partition.id, EXPIRING[partition.table])
    return Going(
        table=partition.table,
        partition=partition.id,
        from_=start,
        to=end,
        rows=partition.rows,
        bytes=partition.bytes,
        goes_at=run_for(terms, needed_from(partition.table, partition.id)) if terms.scan_days else None,
    )
