"""Saved answers as rows: the answer to the byte in `traces`, whom it names in `trace_subjects`.

One that is longer than a piece lies in `trace_pieces` instead, and is read without ever being held whole.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from events.audit import SavedAnswer, subjects_in
from storage.clickhouse import Store

TRACE_COLUMNS: Final = ("id", "asked_at", "actor", "fingerprint", "question", "answer")
PIECE_COLUMNS: Final = ("trace", "number", "piece")
PIECE_BYTES: Final = 1_000_000
"""Every piece but the last has so many, wherever that cuts a character: where a byte lies can be reckoned."""
PIECES_AN_INSERT: Final = 4
"""So many the client sends as one block; what is in flight stays small."""


def insert_saved(store: Store, saved: Sequence[SavedAnswer]) -> None:
    """Make answers durable, and before them their pieces and who is named: an answer that is listed is whole.

    Raises `StoreDown`.
    """
    named = b"".join(map(_named, saved))
    if named:
        store.insert_rowbinary("trace_subjects", named)
    for one in saved:
        if _in_pieces(one):
            _insert_pieces(store, one)
    if saved:
        store.insert("traces", TRACE_COLUMNS, [_row(one) for one in saved])


def missing(store: Store, ids: Sequence[str]) -> set[str]:
    """Those of the ids under which no answer is saved. Raises `StoreDown`."""
    rows = store.rows("SELECT id FROM traces WHERE id IN {ids:Array(String)}", {"ids": list(ids)}) if ids else []
    return set(ids) - {row[0] for row in rows}


def answer_pieces(store: Store, trace: str, begin: int = 0) -> Iterator[bytes] | None:
    """A saved answer from byte `begin` on, a piece at a time; None where there is none. All of it raises `StoreDown`.

    An answer that was deleted meanwhile ends early: whoever reads on must see that it is cut short.
    """
    rows = store.rows("SELECT answer FROM traces WHERE id = {id:String} LIMIT 1", {"id": trace})
    if not rows:
        return None
    answer: bytes = rows[0][0].encode()
    if answer:
        return (answer[start : start + PIECE_BYTES] for start in range(begin, len(answer), PIECE_BYTES))
    return _pieces(store, trace, begin)


def _pieces(store: Store, trace: str, begin: int) -> Iterator[bytes]:
    number, skipped = divmod(begin, PIECE_BYTES)
    sql = "SELECT piece FROM trace_pieces WHERE trace = {trace:String} AND number = {number:UInt32} LIMIT 1"
    while piece := store.value(sql, {"trace": trace, "number": number}):
        yield piece[skipped:]
        number, skipped = number + 1, 0


def _insert_pieces(store: Store, saved: SavedAnswer) -> None:
    step = PIECES_AN_INSERT * PIECE_BYTES
    for first in range(0, len(saved.answer), step):
        starts = range(first, min(first + step, len(saved.answer)), PIECE_BYTES)
        rows = [(saved.id, start // PIECE_BYTES, saved.answer[start : start + PIECE_BYTES]) for start in starts]
        store.insert("trace_pieces", PIECE_COLUMNS, rows)


def _in_pieces(saved: SavedAnswer) -> bool:
    return len(saved.answer) > PIECE_BYTES


def _named(saved: SavedAnswer) -> bytes:
    """Whom it names, as rows of `trace_subjects` in RowBinary: a text has its length before it, in a byte."""
    name = saved.id.encode()
    trace = bytes([len(name)]) + name
    return b"".join([subject + trace for subject in subjects_in(saved.answer)])


def _row(saved: SavedAnswer) -> tuple[str, int, str, bytes, str, str]:
    return (
        saved.id,
        saved.asked_at,
        saved.actor,
        bytes.fromhex(saved.fingerprint),
        saved.question.decode(),
        "" if _in_pieces(saved) else saved.answer.decode(),
    )
