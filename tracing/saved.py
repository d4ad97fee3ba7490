"""Saved traces: the question and the answer, byte for byte, so that a decision can be looked up later.

A small answer waits in the audit stream, in the entry of who asked for it, until it lies in the store a moment later;
readers look there first.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from events.audit import SavedAnswer, subjects_in, unpacked
from events.scans import AT_MS_MAX, AtMs
from storage.audit_stream import AuditStream
from storage.clickhouse import Row, Store
from storage.saved_traces import answer_pieces, insert_saved
from tracing.audit_reader import answerable
from tracing.cursor import cursor_of, position_of


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


def saving(trace: SavedTrace, *, question: bytes, answer: bytes) -> SavedAnswer:
    """A trace as `AuditLog.write` keeps it together with who asked. `question` and `answer` are UTF-8 JSON."""
    return SavedAnswer(**msgspec.structs.asdict(trace), question=question, answer=answer)


class SavedTraces:
    """Save, list, read. Every method raises `StoreDown`; those that read, AUDIT_DOWN as `ProblemError`, too."""

    def __init__(self, store: Store, stream: AuditStream) -> None:
        self._store: Final = store
        self._stream: Final = stream

    def save(self, trace: SavedTrace, *, question: bytes, answer: bytes) -> None:
        """Keep a trace for good, straight in the store. Dearer than to have `AuditLog.write` keep it."""
        insert_saved(self._store, [saving(trace, question=question, answer=answer)])

    def page(self, limit: int, cursor: str | None) -> SavedTracesPage:
        """Up to `limit` traces, newest first. Raises QUESTION_INVALID as `ProblemError` for a foreign cursor."""
        position = position_of(cursor, _Position) if cursor is not None else _Position(AT_MS_MAX, "")
        behind = (position.asked_at, position.id)
        waiting = [_listed(saved) for saved in self._waiting() if (saved.asked_at, saved.id) < behind]
        rows = self._store.rows(
            "SELECT id, toUnixTimestamp64Milli(asked_at), actor, lower(hex(fingerprint)) FROM traces"
            " WHERE (asked_at, id) < (fromUnixTimestamp64Milli({asked_at:Int64}, 'UTC'), {id:String})"
            " ORDER BY asked_at DESC, id DESC LIMIT 1 BY id LIMIT {limit:UInt32}",
            {"asked_at": position.asked_at, "id": position.id, "limit": limit + 1},
        )
        found = {trace.id: trace for trace in [*waiting, *map(_saved, rows)]}
        items = sorted(found.values(), key=lambda trace: (trace.asked_at, trace.id), reverse=True)
        if len(items) <= limit:
            return SavedTracesPage(items, None)
        last = items[limit - 1]
        return SavedTracesPage(items[:limit], cursor_of(_Position(last.asked_at, last.id)))

    def answer(self, trace_id: str) -> bytes | None:
        """The answer exactly as it was given, or None where there is no such trace."""
        pieces = self.pieces(trace_id)
        return b"".join(pieces) if pieces is not None else None

    def pieces(self, trace_id: str, begin: int = 0) -> Iterator[bytes] | None:
        """The answer from byte `begin` on, read from the store piece by piece; None where there is no such trace.

        One that goes by retention meanwhile ends early.
        """
        for saved in self._waiting():
            if saved.id == trace_id:
                return iter([saved.answer[begin:]])
        return answer_pieces(self._store, trace_id, begin)

    def naming(self, subject: str) -> list[str]:
        """The ids of the saved traces that name somebody, by pseudonym, sorted."""
        pseudonym = bytes.fromhex(subject)
        waiting = {saved.id for saved in self._waiting() if pseudonym in subjects_in(saved.answer)}
        sql = "SELECT DISTINCT trace FROM trace_subjects WHERE subject = toFixedString(unhex({subject:String}), 16)"
        return sorted(waiting | {row[0] for row in self._store.rows(sql, {"subject": subject})})

    def _waiting(self) -> Iterator[SavedAnswer]:
        """What is not in the store yet, unpacked one by one: together they may be ten times what the stream may hold.

        To be gone through before the store is asked, so that nothing is missed while it moves.
        """
        return (unpacked(link.saved) for link in answerable(self._stream.waiting) if link.saved)


def _listed(saved: SavedAnswer) -> SavedTrace:
    return SavedTrace(id=saved.id, asked_at=saved.asked_at, actor=saved.actor, fingerprint=saved.fingerprint)


def _saved(row: Row) -> SavedTrace:
    trace_id, asked_at, actor, fingerprint = row
    return SavedTrace(id=trace_id, asked_at=asked_at, actor=actor, fingerprint=fingerprint)
