"""Saved traces: the question and the answer, byte for byte, so that a decision can be looked up later."""

from typing import Final

import msgspec

from events.scans import AT_MS_MAX, AtMs
from storage.clickhouse import Row, Store
from tracing.cursor import cursor_of, position_of
from tracing.times import datetime_of

COLUMNS: Final = ("id", "asked_at", "actor", "fingerprint", "question", "answer")


class SavedTrace(msgspec.Struct, frozen=True, kw_only=True):
    """What the list says of a saved trace: nothing about a person. `asked_at` in Unix ms, fingerprint in hex."""

    id: str
    asked_at: int
    actor: str
    fingerprint: str


class SavedTracesPage(msgspec.Struct, frozen=True):
    """Saved traces, newest first; `next` is the cursor of the page after, null on the last."""

    items: list[SavedTrace]
    next: str | None


class _Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The last trace given: the list is ordered by this pair, newest first."""

    asked_at: AtMs
    id: str


class SavedTraces:
    """The table `traces`: save, list, read. Every method raises `StoreDown`."""

    def __init__(self, store: Store) -> None:
        self._store: Final = store

    def save(self, trace: SavedTrace, *, question: bytes, answer: bytes) -> None:
        """Keep a trace for good. `question` and `answer` are UTF-8 JSON."""
        row = (
            trace.id,
            datetime_of(trace.asked_at),
            trace.actor,
            bytes.fromhex(trace.fingerprint),
            question.decode(),
            answer.decode(),
        )
        self._store.insert("traces", COLUMNS, [row])

    def page(self, limit: int, cursor: str | None) -> SavedTracesPage:
        """Up to `limit` traces, newest first. Raises QUESTION_INVALID as `ProblemError` for a foreign cursor."""
        position = position_of(cursor, _Position) if cursor is not None else _Position(AT_MS_MAX, "")
        rows = self._store.rows(
            "SELECT id, toUnixTimestamp64Milli(asked_at), actor, lower(hex(fingerprint)) FROM traces"
            " WHERE (asked_at, id) < (fromUnixTimestamp64Milli({asked_at:Int64}, 'UTC'), {id:String})"
            " ORDER BY asked_at DESC, id DESC LIMIT {limit:UInt32}",
            {"asked_at": position.asked_at, "id": position.id, "limit": limit + 1},
        )
        items = [_saved(row) for row in rows[:limit]]
        if len(rows) <= limit:
            return SavedTracesPage(items, None)
        return SavedTracesPage(items, cursor_of(_Position(items[-1].asked_at, items[-1].id)))

    def answer(self, trace_id: str) -> bytes | None:
        """The answer exactly as it was given, or None where there is no such trace."""
        rows = self._store.rows("SELECT answer FROM traces WHERE id = {id:String} LIMIT 1", {"id": trace_id})
        text: str | None = rows[0][0] if rows else None
        return text.encode() if text is not None else None


def _saved(row: Row) -> SavedTrace:
    trace_id, asked_at, actor, fingerprint = row
    return SavedTrace(id=trace_id, asked_at=asked_at, actor=actor, fingerprint=fingerprint)
