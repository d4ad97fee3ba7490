"""What the log lacks of each device's own count: runs of seqs that never came, and seqs that came with other content.

A device counts its scans from 1, without a gap. Accepted and refused scans both count as come, and so does what was
retired when its time to be kept was over; a hole between retired seqs is told of no more. Everything is as of a moment
up to which the log is complete.
Rows are sorted on disk beyond `SORT_BYTES_MAX`, so that a question takes the same memory however many scans a device
has made, and no seq leaves the store that is not named in the answer.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec

from events.scans import Kind
from storage.clickhouse import Row, Store

SORT_BYTES_MAX: Final = 200_000_000
CONFLICT_DELIVERIES_MAX: Final = 16
"""So many deliveries of one seq are shown, the earliest."""

_SPILL: Final = f"""
SETTINGS max_bytes_before_external_sort = {SORT_BYTES_MAX}, max_bytes_ratio_before_external_sort = 0"""

_STEPS: Final = """
SELECT device, seq, received, before, greatest(before, retired_upto) AS previous
FROM (
  SELECT device, seq, received, lagInFrame(seq) OVER (
    PARTITION BY device ORDER BY seq, received ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before
  FROM (
    SELECT device, seq, received FROM log
    WHERE $of AND received <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')
    UNION ALL
    SELECT device, seq, received FROM refused
    WHERE $of AND received <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')
    UNION ALL
    SELECT device, upto AS seq, received FROM retired
    WHERE $of AND received <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')
  )
) AS steps
ASOF LEFT JOIN (
  SELECT device, first AS seq, max(upto) OVER (PARTITION BY device ORDER BY first) AS retired_upto FROM retired
  WHERE $of AND received <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')
) AS retirements USING (device, seq)"""
"""Every seq that came, with the seq that came `before` it (0 before a device's first), and with `previous`, which lies
no lower than the end of any run of retired seqs that begins at or before it. `$of` says of which devices."""

_RIVALS: Final = """
SELECT device, seq FROM (
  SELECT device, seq, (at, place, subject, kind) AS content, lagInFrame(seq) OVER before AS previous,
    lagInFrame(content) OVER before AS earlier
  FROM log WHERE $of AND received <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')
  WINDOW before AS (PARTITION BY device ORDER BY seq, received ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
)
WHERE seq = previous AND content != earlier"""
"""The seqs of the log that came with other content, once for each time that the content changed."""

_ONE: Final = "device = {device:UInt32}"
_REPEATING: Final = f"device IN (SELECT device FROM ({_STEPS.replace('$of', 'true')}) WHERE seq = before)"
"""The only devices that can have conflicts: contents are long, and are read of these alone."""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Seqs from `first` to `last` that are missing; `since`: when the scan after them came (Unix ms).

    `since` is null for those at the end, which the edge has acknowledged and the log has never had.
    """

    first: int
    last: int
    since: int | None


class RivalDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery of a seq that came with other content. Times in Unix ms; `place` is the registry's number."""

    received: int
    at: int
    kind: Kind
    place: int


class Rivalry(msgspec.Struct, frozen=True, kw_only=True):
    """A seq whose deliveries differ in the fields that `differs` names. The first delivery counts.

    `deliveries` are the earliest `CONFLICT_DELIVERIES_MAX` of `count`.
    """

    seq: int
    differs: list[str]
    count: int
    deliveries: list[RivalDelivery]


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """A device's holes in numbers.

    `gaps` runs with `missing` seqs together lie below `seen_to`, the highest seq that came; the first of them is
    `next_seq` (the one after `seen_to` where none is missing), and the oldest is open `since` (Unix ms).
    """

    device: int
    seen_to: int
    next_seq: int
    missing: int
    gaps: int
    since: int | None


class TallyOf(msgspec.Struct, frozen=True, kw_only=True):
    """How many seqs of this device are missing, as of a moment (Unix ms)?"""

    device: int
    as_of: int

    SQL: ClassVar[str] = f"""
SELECT device, max(seq), countIf(seq > previous + 1), sumIf(seq - previous - 1, seq > previous + 1),
  minIf(previous + 1, seq > previous + 1), toUnixTimestamp64Milli(minIf(received, seq > previous + 1))
FROM ({_STEPS.replace("$of", _ONE)})
GROUP BY device{_SPILL}"""

    def read(self, store: Store) -> Tally:
        """The device's tally; all is zero, and `next_seq` 1, where nothing came. Raises `StoreDown`."""
        rows = store.rows(self.SQL, {"device": self.device, "as_of": self.as_of})
        return _tally(rows[0]) if rows else _tally((self.device, 0, 0, 0, 0, 0))


class Tallies(msgspec.Struct, frozen=True, kw_only=True):
    """Which devices lack seqs, as of a moment (Unix ms)?"""

    as_of: int

    SQL: ClassVar[str] = f"""
SELECT device, max(seq), countIf(seq > previous + 1) AS gaps, sumIf(seq - previous - 1, seq > previous + 1),
  minIf(previous + 1, seq > previous + 1), toUnixTimestamp64Milli(minIf(received, seq > previous + 1))
FROM ({_STEPS.replace("$of", "true")})
GROUP BY device HAVING gaps > 0{_SPILL}"""

    def read(self, store: Store) -> list[Tally]:
        """The tallies of those devices alone, in no order. Raises `StoreDown`."""
        return [_tally(row) for row in store.rows(self.SQL, {"as_of": self.as_of})]


class GapsOf(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs of this device's seqs are missing, as of a moment (Unix ms)? Those that end above `after`."""

    device: int
    as_of: int
    after: int
    limit: int

    SQL: ClassVar[str] = f"""
SELECT previous + 1, seq - 1, toUnixTimestamp64Milli(received)
FROM ({_STEPS.replace("$of", _ONE)})
WHERE seq > previous + 1 AND seq - 1 > {{after:UInt64}}
ORDER BY seq LIMIT {{limit:UInt32}}{_SPILL}"""

    def read(self, store: Store) -> list[Gap]:
        """The lowest `limit` of them, by seq. Raises `StoreDown`."""
        rows = store.rows(self.SQL, msgspec.structs.asdict(self))
        return [Gap(first=first, last=last, since=since) for first, last, since in rows]


class RivalCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many seqs came with other content, by device, as of a moment (Unix ms)?"""

    as_of: int

    SQL: ClassVar[str] = f"""
SELECT device, uniqExact(seq) FROM ({_RIVALS.replace("$of", _REPEATING)}) GROUP BY device{_SPILL}"""

    def read(self, store: Store) -> dict[int, int]:
        """Device number → seqs, those with none left out. Raises `StoreDown`."""
        return dict(store.rows(self.SQL, {"as_of": self.as_of}))


class RivalriesOf(msgspec.Struct, frozen=True, kw_only=True):
    """Which of this device's seqs came with other content, as of a moment (Unix ms)? Those above `after`."""

    device: int
    as_of: int
    after: int
    limit: int

    COUNT_SQL: ClassVar[str] = f"""
SELECT uniqExact(seq) FROM ({_RIVALS.replace("$of", _ONE)}){_SPILL}"""
    SEQS_SQL: ClassVar[str] = f"""
SELECT DISTINCT seq FROM ({_RIVALS.replace("$of", _ONE)})
WHERE seq > {{after:UInt64}} ORDER BY seq LIMIT {{limit:UInt32}}{_SPILL}"""
    DELIVERIES_SQL: ClassVar[str] = f"""
SELECT seq, uniqExact(at) > 1, uniqExact(place) > 1, uniqExact(subject) > 1, uniqExact(kind) > 1, count(),
  groupArraySorted({CONFLICT_DELIVERIES_MAX})(
    (toUnixTimestamp64Milli(received), toUnixTimestamp64Milli(at), toString(kind), place))
FROM log
WHERE {_ONE} AND received <= fromUnixTimestamp64Milli({{as_of:Int64}}, 'UTC') AND seq IN {{seqs:Array(UInt64)}}
GROUP BY seq ORDER BY seq"""

    def count(self, store: Store) -> int:
        """How many there are, below `after` too. Raises `StoreDown`."""
        count: int = store.rows(self.COUNT_SQL, {"device": self.device, "as_of": self.as_of})[0][0]
        return count

    def read(self, store: Store) -> list[Rivalry]:
        """The lowest `limit` of them, by seq. Raises `StoreDown`."""
        seqs = [seq for (seq,) in store.rows(self.SEQS_SQL, msgspec.structs.asdict(self))]
        if not seqs:
            return []
        asked = {"device": self.device, "as_of": self.as_of, "seqs": seqs}
        return [_rivalry(row) for row in store.rows(self.DELIVERIES_SQL, asked)]


_CONTENT: Final = ("at", "place", "subject", "kind")


def _rivalry(row: Row) -> Rivalry:
    seq, *differing, count, deliveries = row
    return Rivalry(
        seq=seq,
        differs=[name for name, differs in zip(_CONTENT, differing, strict=True) if differs],
        count=count,
        deliveries=[
            RivalDelivery(received=received, at=at, kind=Kind(kind), place=place)
            for received, at, kind, place in deliveries
        ],
    )


def _tally(row: Row | Sequence[int]) -> Tally:
    device, seen_to, gaps, missing, first_missing, since = row
    return Tally(
        device=device,
        seen_to=seen_to,
        next_seq=first_missing if gaps else seen_to + 1,
        missing=missing,
        gaps=gaps,
        since=since if gaps else None,
    )
