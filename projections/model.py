"""What a read model is: a table filled by one SELECT over the log's first deliveries.

Since a row's key names its scan, projecting the same rows again changes nothing that a reader sees.
"""

import concurrent.futures
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Final

import msgspec

from projections.deliveries import Span
from storage.clickhouse import Store

REBUILD_SUFFIX: Final = "_rebuild"
PROJECT_SETTINGS: Final = "SETTINGS max_partitions_per_insert_block = 0, insert_deduplicate = 0, optimize_on_insert = 0"
"""In the statement, because the embedded engine's client takes 7 ms to set them and to set them back. Where few scan,
one span of the log holds years, and with them more weeks than the engine lets pass by default. Equal blocks must not be
dropped: that is for the table's key to do. And no rows of one insert are equal: to look for such would cost as much as
the insert itself."""

_SPAN: Final = (
    "received > fromUnixTimestamp64Milli({after:Int64}) AND received <= fromUnixTimestamp64Milli({upto:Int64})"
)
_KEPT: Final = " WHERE at >= fromUnixTimestamp64Milli({kept_from:Int64})"
"""Asked of first deliveries only: one that is kept no longer still makes the others repetitions."""
_DOUBTFUL: Final = f"{_SPAN} AND device IN {{doubtful:Array(UInt32)}}"
_SURE: Final = f"{_SPAN} AND device NOT IN {{doubtful:Array(UInt32)}}"


def _first(fresh: str) -> str:
    """Of several deliveries of one (device, seq) the one received first counts: within the rows that are `fresh` the
    lowest `received`, and against everything before the span the log is asked by its own key. What was delivered first
    may be gone, its time to be kept over: then its seq lies in a run of retired ones. A seq lies in one if the farthest
    end of those that begin at or below it is not below it.
    """
    return f"""
FROM (
    SELECT fresh.* FROM (
        SELECT * FROM log WHERE {fresh} ORDER BY received LIMIT 1 BY device, seq
    ) AS fresh
    ASOF LEFT JOIN (
        SELECT device, first AS seq, max(upto) OVER (PARTITION BY device ORDER BY first) AS retired_upto FROM retired
        WHERE taken AND device IN (SELECT device FROM log WHERE {fresh})
    ) AS retirements USING (device, seq)
    WHERE seq > retired_upto
) AS fresh
LEFT ANTI JOIN (
    SELECT device, seq FROM log
    WHERE received <= fromUnixTimestamp64Milli({{after:Int64}})
      AND (device, seq) IN (SELECT device, seq FROM log WHERE {fresh})
) AS earlier USING (device, seq)
"""


class Digest(msgspec.Struct, frozen=True):
    """A read model's content as a number: equal for equal sets of rows, whatever their order and parts."""

    rows: int
    hash: str


class ReadModel(msgspec.Struct, frozen=True):
    """`columns` maps each column of `table` to its expression over a row of the log."""

    table: str
    columns: Mapping[str, str]

    def project(self, store: Store, table: str, span: Span, *, kept_from: int = 0) -> None:
        """Fold the first deliveries of a span into `table`, of what happened at `kept_from` (ms) or later.

        Raises `StoreDown`.
        """
        names, expressions = ", ".join(self.columns), ", ".join(self.columns.values())
        bounds = {"after": span.after, "upto": span.upto, "kept_from": kept_from}
        for rows, values in _first_deliveries(span):
            into = f"INSERT INTO {table} ({names}) {PROJECT_SETTINGS}"
            store.command(f"{into} SELECT {expressions} {rows}{_KEPT}", bounds | values)

    def digest(self, store: Store, table: str, *, upto: int, kept_from: int = 0, final: bool = True) -> Digest:
        """The digest of all rows of what happened at `kept_from` or later and was received by `upto` (ms).

        Not `final`: of the rows as they lie, repeated ones too, which is found several times as fast.
        """
        names = ", ".join(self.columns)
        rows = store.rows(
            f"SELECT count(), hex(groupBitXor(cityHash64({names}))), hex(sum(cityHash64({names})))"
            f" FROM {table} {'FINAL ' if final else ''}WHERE received <= fromUnixTimestamp64Milli({{upto:Int64}})"
            " AND at >= fromUnixTimestamp64Milli({kept_from:Int64})",
            {"upto": upto, "kept_from": kept_from},
        )
        count, xor, total = rows[0]
        return Digest(int(count), f"{xor}{total}".lower())


def project_all(
    store: Store,
    into: Sequence[tuple[ReadModel, str]],
    span: Span,
    hand: Executor,
    *,
    kept_from: int = 0,
    on_projected: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Fold a span into several tables at once, one in this thread and the others in the hand's.

    Returns the seconds that each took, by the model's table. `on_projected` is called after each, in its thread. Raises
    `StoreDown`, and whatever that raises, once nothing of it goes on any more.
    """

    def one(model: ReadModel, table: str) -> float:
        began = time.perf_counter()
        model.project(store, table, span, kept_from=kept_from)
        seconds = time.perf_counter() - began
        on_projected()
        return seconds

    others = [hand.submit(one, model, table) for model, table in into[1:]]
    try:
        first = one(*into[0])
    finally:
        concurrent.futures.wait(others)
    seconds = [first, *(other.result() for other in others)]
    return {model.table: each for (model, _), each in zip(into, seconds, strict=True)}


def _first_deliveries(span: Span) -> list[tuple[str, dict[str, list[int]]]]:
    """The sources of a span's first deliveries, each with its values: only what is doubtful is looked up."""
    if span.any_doubtful:
        return [(_first(_SPAN), {})]
    if not span.doubtful:
        return [(f"FROM (SELECT * FROM log WHERE {_SPAN})", {})]
    doubtful = {"doubtful": span.doubtful}
    return [(f"FROM (SELECT * FROM log WHERE {_SURE})", doubtful), (_first(_DOUBTFUL), doubtful)]
