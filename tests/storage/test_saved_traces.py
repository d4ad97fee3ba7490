import pytest

from events.audit import SavedAnswer
from storage.clickhouse import Store
from storage.saved_traces import PIECE_BYTES, answer_pieces, insert_saved

SUBJECT = "0f" * 16
TEXT = ('{"subject":"' + SUBJECT + '","at":"Chợ Bến Thành"}').encode()


def saved(length: int, id: str = "a") -> SavedAnswer:
    answer = (TEXT * (length // len(TEXT) + 1))[:length]
    return SavedAnswer(id=id, asked_at=1, actor="An", fingerprint="0a" * 32, question=b"{}", answer=answer)


@pytest.mark.parametrize("length", [PIECE_BYTES + 1, 2 * PIECE_BYTES, 9 * PIECE_BYTES + 5])
def test_a_long_answer_lies_in_pieces_and_is_read_from_any_byte_on(store: Store, length: int) -> None:
    one = saved(length)
    insert_saved(store, [one, saved(100, "b")])
    insert_saved(store, [one])  # as after a crash
    assert store.rows("SELECT id, length(answer) FROM traces ORDER BY id LIMIT 1 BY id") == [("a", 0), ("b", 100)]
    pieces = list(answer_pieces(store, "a") or ())
    assert b"".join(pieces) == one.answer
    assert max(map(len, pieces)) == PIECE_BYTES
    for begin in (1, PIECE_BYTES - 1, PIECE_BYTES, length - 1, length, length + 3 * PIECE_BYTES):
        assert b"".join(answer_pieces(store, "a", begin) or ()) == one.answer[begin:]


def test_a_short_answer_is_one_value(store: Store) -> None:
    one = saved(PIECE_BYTES - PIECE_BYTES % len(TEXT))
    insert_saved(store, [one])
    assert list(answer_pieces(store, "a") or ()) == [one.answer]
    assert list(answer_pieces(store, "a", 10) or ()) == [one.answer[10:]]
    assert answer_pieces(store, "none") is None
    assert store.rows("SELECT count() FROM trace_pieces") == [(0,)]
