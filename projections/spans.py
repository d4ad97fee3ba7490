"""Spans of the log by `received`, cut so that one step stays small."""

from typing import Final

from storage.clickhouse import Store

FIRST_MS: Final = 60_000
"""A span is first looked for within so long."""
WIDER_MAX: Final = 64
GUESSES_MAX: Final = 8
"""So often an end is guessed from the rows on both sides; then the middle is taken, which always comes to an end."""


def span_end(store: Store, after: int, upto: int, rows_max: int) -> int:
    """The `received` (ms) at which a span from `after` ends, at most `upto`.

    It holds between half of `rows_max` rows and all of them, but for the last one, which may hold fewer, and where a
    single ms has more. What lies far behind it is not counted: a day's rows are no more to read than a year's.
    """
    begin = after
    high = min(begin + FIRST_MS, upto)
    rows = span_rows(store, after, high)
    if not rows and high < upto:
        begin = _first_after(store, high, upto) - 1
        high = min(begin + FIRST_MS, upto)
        rows = span_rows(store, after, high)
    enough = max(rows_max // 2, 1)
    low, rows_low = begin, 0
    while rows < enough and high < upto:
        wider = min(max(rows_max // max(rows, 1), 2), WIDER_MAX)
        low, rows_low, high = high, rows, min(begin + (high - begin) * wider, upto)
        rows = span_rows(store, after, high)
    guesses = 0
    while rows > rows_max and high - low > 1:
        part = (3 * rows_max / 4 - rows_low) / (rows - rows_low) if guesses < GUESSES_MAX else 0.5
        middle = min(max(low + int((high - low) * part), low + 1), high - 1)
        rows_middle, guesses = span_rows(store, after, middle), guesses + 1
        if rows_middle > rows_max:
            high, rows = middle, rows_middle
        elif rows_middle >= enough:
            return middle
        else:
            low, rows_low = middle, rows_middle
    return low if rows > rows_max and rows_low else high


def span_rows(store: Store, after: int, upto: int) -> int:
    """How many deliveries the log received in `(after, upto]` (ms)."""
    rows = store.rows(
        "SELECT count() FROM log WHERE received > fromUnixTimestamp64Milli({after:Int64})"
        " AND received <= fromUnixTimestamp64Milli({upto:Int64})",
        {"after": after, "upto": upto},
    )
    return int(rows[0][0])


def _first_after(store: Store, after: int, upto: int) -> int:
    """When the first delivery after a moment came in; `upto` where none did by then. Parts know their own spans."""
    rows = store.rows(
        "SELECT toUnixTimestamp64Milli(min(received)) FROM log WHERE received > fromUnixTimestamp64Milli({after:Int64})"
        " AND received <= fromUnixTimestamp64Milli({upto:Int64})",
        {"after": after, "upto": upto},
    )
    return int(rows[0][0]) or upto
