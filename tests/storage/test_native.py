"""Answers as columns are the same answers as rows, from the engine in process and over HTTP."""

from typing import Any, Final

import numpy as np
import pytest

from storage import native
from storage.clickhouse import Store
from storage.errors import StoreDown

ROWS: Final = """
SELECT toUInt8(number % 200) AS u8, toUInt16(number) AS u16, toUInt32(number * 20000) AS u32,
  bitShiftLeft(toUInt64(number), 33) AS u64, toInt8(-1 * number % 100) AS i8, toInt16(-1 * number) AS i16,
  toInt32(-1 * number) AS i32, -1 * toInt64(number) * 5000000000 AS i64, number % 3 = 0 AS yes,
  (number % 2 = 0)::Bool AS even, CAST(number % 2 + 1, 'Enum8(\\'a b\\' = 1, \\'c\\' = 2)') AS kind,
  fromUnixTimestamp64Milli(toInt64(number) * 1000, 'UTC') AS at, toFixedString(toString(number), 6) AS name,
  range(number % 4) AS list, arrayMap(each -> toUInt32(each + number), range(number % 3)) AS more
FROM numbers({count:UInt64})"""


@pytest.mark.parametrize("count", [0, 1, 7, 200_000])
def test_columns_hold_what_rows_hold(store: Store, count: int) -> None:
    """Many rows come in several blocks."""
    columns = store.columns(ROWS, {"count": count})
    assert len(columns) == count
    if not count:
        return
    numbers = np.arange(count)
    expected: dict[str, Any] = {
        "u8": numbers % 200,
        "u32": numbers * 20_000,
        "u64": numbers << 33,
        "i64": numbers * -5_000_000_000,
        "yes": numbers % 3 == 0,
        "even": numbers % 2 == 0,
        "kind": numbers % 2 + 1,
        "at": numbers * 1000,
    }
    for name, values in expected.items():
        assert np.array_equal(columns[name], values), name
    assert columns["name"][-1] == str(count - 1).encode()
    for name, lengths in (("list", numbers % 4), ("more", numbers % 3)):
        lists = columns.lists(name)
        assert np.array_equal(np.diff(lists.first), lengths)
        assert len(lists.values) == lengths.sum()
    assert columns.lists("more").values[:1].tolist() == ([1] if count > 1 else [])


def test_single_values_and_arrays_are_not_taken_for_each_other(store: Store) -> None:
    columns = store.columns("SELECT 1 AS one, [1, 2] AS two")
    assert columns["one"].tolist() == [1]
    assert columns.lists("two").values.tolist() == [1, 2]
    with pytest.raises(TypeError):
        columns.lists("one")
    with pytest.raises(TypeError):
        columns["two"]


def test_a_type_that_is_not_read_and_a_broken_answer_are_faults(store: Store) -> None:
    with pytest.raises(StoreDown, match="unknown form"):
        store.columns("SELECT 'text' AS text")
    with pytest.raises(StoreDown, match="unknown form"):
        native.columns_of(b"\x01\x05\x01x\x06UInt64\x00")


def test_a_statement_that_fails_is_a_fault(store: Store) -> None:
    with pytest.raises(StoreDown, match="migrate"):
        store.columns("SELECT * FROM no_such_table")
