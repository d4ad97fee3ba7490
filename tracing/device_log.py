"""What the log holds of one device: every delivery, in the order of its own counter.

The log is the truth, so whoever must check that nothing acknowledged was lost, doubled or altered compares with this.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from events.devices import Device
from events.scans import How, Kind
from storage.clickhouse import Row, Store
from tracing.registry import Registry, place_id

_DELIVERIES: Final = """
SELECT seq, toUnixTimestamp64Milli(at), toUnixTimestamp64Milli(received) AS received_ms, toString(kind),
  toString(how), place, lower(hex(subject)) AS pseudonym
FROM (
  SELECT * FROM log WHERE device = {device:UInt32} AND seq > {after:UInt64}
  ORDER BY seq LIMIT {limit:UInt64} WITH TIES
)
ORDER BY seq, received_ms, at, kind, how, place, pseudonym"""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery of an accepted scan. Times in Unix ms; `place` is `#NUMBER` where nobody registered it."""

    seq: int
    at: int
    received: int
    kind: Kind
    how: How
    place: str
    subject: str


class DeviceLog(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries by (seq, received). `next` is the page after's `after_seq`, null on the last; no page splits a seq."""

    device: str
    scans: list[Delivery]
    next: int | None


def deliveries(store: Store, registry: Registry, device: Device, after_seq: int, limit: int) -> DeviceLog:
    """The device's deliveries above `after_seq`, at most `limit`.

    A single seq that was delivered more often than `limit` is given whole all the same. Raises `StoreDown`.
    """
    rows = store.rows(_DELIVERIES, {"device": device.number, "after": after_seq, "limit": limit + 1})
    count = _page_length(rows, limit)
    places = registry.places()
    scans = [
        Delivery(
            seq=seq,
            at=at,
            received=received,
            kind=Kind(kind),
            how=How(how),
            place=place_id(places, place),
            subject=subject,
        )
        for seq, at, received, kind, how, place, subject in rows[:count]
    ]
    more = len(rows) > limit
    return DeviceLog(device=device.id, scans=scans, next=scans[-1].seq if more else None)


def _page_length(rows: Sequence[Row], limit: int) -> int:
    """How many of the rows, whose last seq is whole, fit a page that splits no seq."""
    if len(rows) <= limit:
        return len(rows)
    last_seq = rows[-1][0]
    before_last = next(count for count, row in enumerate(rows) if row[0] == last_seq)
    return before_last or len(rows)
