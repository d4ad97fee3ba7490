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

SEQ_DELIVERIES_MAX: Final = 50_000
"""So many deliveries of one seq are given, the earliest."""

_DELIVERY: Final = """
SELECT seq, toUnixTimestamp64Milli(at), toUnixTimestamp64Milli(received) AS received_ms, toString(kind),
  toString(how), place, lower(hex(subject)) AS pseudonym"""
_BY_SEQ: Final = "ORDER BY seq, received_ms, at, kind, how, place, pseudonym"
_DELIVERIES: Final = f"""{_DELIVERY}
FROM (
  SELECT * FROM log WHERE device = {{device:UInt32}} AND seq > {{after:UInt64}} ORDER BY seq LIMIT {{limit:UInt64}}
)
{_BY_SEQ}"""
"""Any of the deliveries of the last seq, where the limit is reached."""
_OF_SEQ: Final = f"""{_DELIVERY}
FROM log WHERE device = {{device:UInt32}} AND seq = {{seq:UInt64}} {_BY_SEQ} LIMIT {SEQ_DELIVERIES_MAX}"""
_COUNT_OF_SEQ: Final = "SELECT count() FROM log WHERE device = {device:UInt32} AND seq = {seq:UInt64}"


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
    """Deliveries by (seq, received). `next` is the page after's `after_seq`, null on the last; no page splits a seq.

    `left_out`: how many later deliveries of the page's only seq are in the log and on no page, for there are too many.
    """

    device: str
    scans: list[Delivery]
    left_out: int
    next: int | None


def deliveries(store: Store, registry: Registry, device: Device, after_seq: int, limit: int) -> DeviceLog:
    """The device's deliveries above `after_seq`, at most `limit`.

    A seq that was delivered more often than that is a page of its own, of up to `SEQ_DELIVERIES_MAX`. Raises
    `StoreDown`.
    """
    rows = store.rows(_DELIVERIES, {"device": device.number, "after": after_seq, "limit": limit + 1})
    more, left_out = len(rows) > limit, 0
    if more:
        rows, left_out = _whole_seqs(store, device, rows)
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
        for seq, at, received, kind, how, place, subject in rows
    ]
    return DeviceLog(device=device.id, scans=scans, left_out=left_out, next=scans[-1].seq if more else None)


def _whole_seqs(store: Store, device: Device, rows: Sequence[Row]) -> tuple[Sequence[Row], int]:
    """The rows without those of the last seq, which may lack some, and 0.

    Where no other seq is there: that one whole, as far as it may be, and how many it lacks. Raises `StoreDown`.
    """
    last_seq = rows[-1][0]
    whole = [row for row in rows if row[0] != last_seq]
    if whole:
        return whole, 0
    asked = {"device": device.number, "seq": last_seq}
    given = store.rows(_OF_SEQ, asked)
    count: int = store.rows(_COUNT_OF_SEQ, asked)[0][0]
    return given, count - len(given)
