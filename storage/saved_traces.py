"""Saved answers as rows: the answer to the byte in `traces`, whom it names in `trace_subjects`."""

from collections.abc import Sequence
from typing import Final

from events.audit import SavedAnswer, subjects_in
from storage.clickhouse import Store

TRACE_COLUMNS: Final = ("id", "asked_at", "actor", "fingerprint", "question", "answer")
SUBJECT_COLUMNS: Final = ("subject", "trace")


def insert_saved(store: Store, saved: Sequence[SavedAnswer]) -> None:
    """Make answers durable, and who is named before them: an answer that is there can be found by whom it names.

    Raises `StoreDown`.
    """
    named = [(subject, one.id) for one in saved for subject in subjects_in(one.answer)]
    if named:
        store.insert("trace_subjects", SUBJECT_COLUMNS, named)
    if saved:
        store.insert("traces", TRACE_COLUMNS, [_row(one) for one in saved])


def missing(store: Store, ids: Sequence[str]) -> set[str]:
    """Those of the ids under which no answer is saved. Raises `StoreDown`."""
    rows = store.rows("SELECT id FROM traces WHERE id IN {ids:Array(String)}", {"ids": list(ids)}) if ids else []
    return set(ids) - {row[0] for row in rows}


def _row(saved: SavedAnswer) -> tuple[str, int, str, bytes, str, str]:
    return (
        saved.id,
        saved.asked_at,
        saved.actor,
        bytes.fromhex(saved.fingerprint),
        saved.question.decode(),
        saved.answer.decode(),
    )
