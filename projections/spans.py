"""Spans of the log by `received`, cut so that one step stays small."""

from storage.clickhouse import Store


def span_end(store: Store, after: int, upto: int, rows_max: int) -> int:
    """The `received` (ms) at which a span from `after` holds about `rows_max` rows, at most `upto`."""
    rows = store.rows(
        "SELECT min(ms) FROM (SELECT toUnixTimestamp64Milli(received) AS ms, sum(count()) OVER (ORDER BY ms) AS total"
        " FROM log WHERE received > fromUnixTimestamp64Milli({after:Int64})"
        " AND received <= fromUnixTimestamp64Milli({upto:Int64}) GROUP BY ms) WHERE total >= {rows:UInt64}",
        {"after": after, "upto": upto, "rows": rows_max},
    )
    return int(rows[0][0]) or upto


def span_rows(store: Store, after: int, upto: int) -> int:
    """How many deliveries the log received in `(after, upto]` (ms)."""
    rows = store.rows(
        "SELECT count() FROM log WHERE received > fromUnixTimestamp64Milli({after:Int64})"
        " AND received <= fromUnixTimestamp64Milli({upto:Int64})",
        {"after": after, "upto": upto},
    )
    return int(rows[0][0])
