from pathlib import Path

import pytest

from events.scans import LOG_ROW, REFUSAL_NUMBER
from storage.clickhouse import Store, migrate, migrations, statements
from storage.errors import StoreDown


def row(seq: int, *, received: int = 1_700_000_000_000) -> bytes:
    return LOG_ROW.pack(1, 1, seq, received, received, 1, bytes(16), 1, 1)


def test_migrations_apply_once_and_in_order(store: Store) -> None:
    names = [name for name, _ in migrations()]
    assert names == sorted(names)
    assert migrate(store) == []
    assert [name for (name,) in store.rows("SELECT name FROM migrations ORDER BY name")] == names


def test_the_same_token_inserts_once_and_another_token_again(store: Store) -> None:
    for token in ("a", "a", "b"):
        store.insert_rowbinary("log", row(1) + row(2), token=token)
    assert store.rows("SELECT count() FROM log") == [(4,)]


def test_rowbinary_lands_in_the_named_columns(store: Store) -> None:
    packed = LOG_ROW.pack(7, 2, 9, 1_700_000_000_123, 1_700_000_000_456, 11, bytes(range(16)), 2, 3)
    store.insert_rowbinary("log", packed, token="t")
    assert store.rows(
        "SELECT device, key, seq, toUnixTimestamp64Milli(at), toUnixTimestamp64Milli(received), place,"
        " lower(hex(subject)), kind, how FROM log"
    ) == [(7, 2, 9, 1_700_000_000_123, 1_700_000_000_456, 11, bytes(range(16)).hex(), "out", "subject")]


def test_the_tables_enum_knows_every_refusal() -> None:
    sql = dict(migrations())["0001_log.sql"]
    for refusal, number in REFUSAL_NUMBER.items():
        assert f"'{refusal.value}' = {number}" in sql


def test_statements_leave_comments_out() -> None:
    assert statements("-- why; indeed\nSELECT 1;\n\n-- more\nSELECT 2;\n") == ["SELECT 1", "SELECT 2"]


def test_a_bad_query_is_a_fault_of_the_store(store: Store) -> None:
    with pytest.raises(StoreDown):
        store.rows("SELECT nothing_like_it FROM log")
    assert store.ping()


def test_an_unreachable_server_is_a_fault_of_the_store(tmp_path: Path) -> None:
    with pytest.raises(StoreDown):
        Store("http://127.0.0.1:9").rows("SELECT 1")
