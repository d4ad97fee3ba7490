"""What lies in the store by partition of time, and how it goes: partitions are dropped, never rows.

A partition is named by the engine: a day or a Monday as `20211023`, a month as `202110`, all in UTC. Before a day of
the log goes, its seqs are *retired*: kept as runs of numbers, without whom or when, so that nobody takes them for
missing, nor a later delivery of one for its first. Every function raises `StoreDown`.
"""

import datetime
import enum
import re
from collections.abc import Collection
from typing import Final

import msgspec

from storage.clickhouse import Store

DAY_MS: Final = 86_400_000
RETIRE_ROWS_A_STATEMENT: Final = 5_000_000
"""So many rows, about, are sorted at a time to find their runs."""
COMPACT_RUNS_MIN: Final = 1_000_000
COMPACT_RUNS_A_DEVICE: Final = 4
"""Runs are joined where there are as many as this in all, and as many a device."""
REBUILD_SUFFIX: Final = "_rebuild"

_PARTITION: Final = re.compile(r"\d{6}(?:\d{2})?")
_PARTS: Final = """
SELECT table, partition_id, sum(rows), sum(bytes_on_disk) FROM $parts
WHERE active AND database = {database:String} AND table IN {tables:Array(String)}
GROUP BY table, partition_id ORDER BY table, partition_id"""
_OF_DAY: Final = "toYYYYMMDD(received) = {day:UInt32} AND device % {buckets:UInt32} = {bucket:UInt32}"
_RETIRE: Final = f"""
INSERT INTO retired (device, first, upto, taken, received)
SELECT device, min(seq), max(seq), taken, fromUnixTimestamp64Milli({{end:Int64}}, 'UTC')
FROM (
  SELECT device, taken, seq,
    toInt64(seq) - toInt64(dense_rank() OVER (PARTITION BY device, taken ORDER BY seq)) AS island
  FROM (
    SELECT device, true AS taken, seq FROM log WHERE {_OF_DAY}
    UNION ALL SELECT device, false AS taken, seq FROM refused WHERE {_OF_DAY}
  )
)
GROUP BY device, taken, island"""
"""Within a run of consecutive seqs, a seq less its rank is always the same number."""
_COMPACT: Final = f"""
INSERT INTO retired{REBUILD_SUFFIX} (device, first, upto, taken, received)
SELECT device, min(first), max(upto), taken, max(received)
FROM (
  SELECT *, sum(begins) OVER (
    PARTITION BY device, taken ORDER BY first, upto ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS island
  FROM (
    SELECT *, first > 1 + max(upto) OVER (
      PARTITION BY device, taken ORDER BY first, upto ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS begins
    FROM retired WHERE device % {{buckets:UInt32}} = {{bucket:UInt32}}
  )
)
GROUP BY device, taken, island"""
"""A run that begins behind all before it, with a hole between, begins an island."""


class Unit(enum.StrEnum):
    """How long a partition's time is."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a table that go together: how many, and their bytes on disk."""

    table: str
    id: str
    rows: int
    bytes: int


def span_of(partition: str, unit: Unit) -> tuple[int, int]:
    """The time that a partition covers, `[from, to)` in Unix ms."""
    year, month, day = int(partition[:4]), int(partition[4:6]), int(partition[6:] or 1)
    start = datetime.datetime(year, month, day, tzinfo=datetime.UTC)
    match unit:
        case Unit.DAY:
            end = start + datetime.timedelta(days=1)
        case Unit.WEEK:
            end = start + datetime.timedelta(days=7)
        case Unit.MONTH:
            end = start.replace(year=year + month // 12, month=month % 12 + 1)
    return int(start.timestamp()) * 1000, int(end.timestamp()) * 1000


def day_of(ms: int) -> str:
    """The day partition that a moment (Unix ms) lies in."""
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC).strftime("%Y%m%d")


def partitions(store: Store, tables: Collection[str]) -> list[Partition]:
    """What these tables hold, by table and partition; of a cluster, one replica of every shard together."""
    source, names = "system.parts", {table: table for table in tables}
    if store.cluster:
        source, local = store.cluster.parts_of(tables)
        names = dict(zip(local, tables, strict=True))
    rows = store.rows(_PARTS.replace("$parts", source), {"database": store.database, "tables": list(names)})
    return [Partition(table=names[table], id=id, rows=count, bytes=size) for table, id, count, size in rows]


def drop(store: Store, table: str, partition: str) -> None:
    """Let a partition go, for good; one that is gone already changes nothing."""
    if not _PARTITION.fullmatch(partition):
        raise ValueError(f"no partition is called {partition!r}")
    store.define(f"ALTER TABLE {table} DROP PARTITION ID '{partition}'")


def latest_at(store: Store, day: str) -> int:
    """When the latest scan happened (Unix ms) that the log took in on this day; 0 without any."""
    sql = "SELECT toUnixTimestamp64Milli(max(at)) FROM log WHERE toYYYYMMDD(received) = {day:UInt32}"
    return max(int(store.rows(sql, {"day": int(day)})[0][0]), 0)


def retire(store: Store, day: str, rows: int) -> None:
    """Keep the runs of seqs that came on this day, about so many rows. Kept twice they say no more than once."""
    buckets = rows // RETIRE_ROWS_A_STATEMENT + 1
    _, end = span_of(day, Unit.DAY)
    for bucket in range(buckets):
        store.command(_RETIRE, {"day": int(day), "buckets": buckets, "bucket": bucket, "end": end - 1})


def compact(store: Store) -> bool:
    """Join the runs that touch or overlap, where that is worth it; whether it was. For one process at a time."""
    runs, devices = store.rows("SELECT count(), uniqExact(device) FROM retired")[0]
    if runs < COMPACT_RUNS_MIN or runs < COMPACT_RUNS_A_DEVICE * devices:
        return False
    store.define(f"DROP TABLE IF EXISTS retired{REBUILD_SUFFIX} SYNC")
    store.define(f"CREATE TABLE retired{REBUILD_SUFFIX} AS retired")
    buckets = runs // RETIRE_ROWS_A_STATEMENT + 1
    for bucket in range(buckets):
        store.command(_COMPACT, {"buckets": buckets, "bucket": bucket})
    store.define(f"EXCHANGE TABLES retired AND retired{REBUILD_SUFFIX}")
    store.define(f"DROP TABLE retired{REBUILD_SUFFIX} SYNC")
    return True
