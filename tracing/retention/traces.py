"""Saved traces whose time is over: the last of their cases is closed for long, or they named none and are old."""

import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from storage.clickhouse import Store
from tracing.retention.terms import DAY_MS, Terms, trace_goes_at

TRACES_A_STATEMENT: Final = 5_000
"""So many are deleted in one statement; each rewrites the parts of the tables that hold them."""

_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_OLD: Final = """
SELECT id, toUnixTimestamp64Milli(max(asked_at)), groupUniqArrayArray(
  arrayFlatten(arrayMap(one -> JSONExtract(one, 'cases', 'Array(String)'), JSONExtractArrayRaw(question, 'index'))))
FROM traces WHERE asked_at <= fromUnixTimestamp64Milli({asked_by:Int64}, 'UTC')
GROUP BY id ORDER BY max(asked_at), id"""


class TraceTerm(msgspec.Struct, frozen=True, kw_only=True):
    """A saved trace, when it was asked (Unix ms), and the cases that it named."""

    id: str
    asked_at: int
    cases: tuple[str, ...]


def traces_over(store: Store, terms: Terms, closed_at: Callable[[str], int | None], now_ms: int) -> list[TraceTerm]:
    """The saved traces whose time is over now, the oldest first. Raises `StoreDown`."""
    if not terms.trace_days:
        return []
    rows = store.rows(_OLD, {"asked_by": now_ms - terms.trace_days * DAY_MS})
    old = [TraceTerm(id=id, asked_at=asked_at, cases=tuple(sorted(cases))) for id, asked_at, cases in rows]
    return [one for one in old if _over(one, terms, closed_at, now_ms)]


def delete_traces(store: Store, ids: Sequence[str]) -> None:
    """Delete answers, questions and whom they name, for good; those that are gone change nothing. Raises `StoreDown`.

    Whom a trace names goes first: a person is not told of an answer that cannot be read any more. The trace itself
    goes last: what an interruption leaves is found again.
    """
    for begin in range(0, len(ids), TRACES_A_STATEMENT):
        some = ids[begin : begin + TRACES_A_STATEMENT]
        if not all(_ID.fullmatch(one) for one in some):
            raise ValueError("an id of a trace is none")
        names = ", ".join(f"'{one}'" for one in some)
        for table, column in (("trace_subjects", "trace"), ("trace_pieces", "trace"), ("traces", "id")):
            store.define(f"ALTER TABLE {table} DELETE WHERE {column} IN ({names}) SETTINGS mutations_sync = 2")


def _over(trace: TraceTerm, terms: Terms, closed_at: Callable[[str], int | None], now_ms: int) -> bool:
    goes_at = trace_goes_at(terms, trace.asked_at, map(closed_at, trace.cases))
    return goes_at is not None and goes_at <= now_ms
