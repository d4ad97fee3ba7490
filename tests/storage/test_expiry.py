"""Partitions by time, and the runs of seqs that stay when a day goes, against counting them by hand."""

import datetime
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import expiry
from storage.clickhouse import Store
from storage.expiry import DAY_MS, Partition, Unit, compact, day_of, drop, latest_at, partitions, retire, span_of
from tests.tracing.deliveries import Came, lay
from tracing.times import datetime_of

DAY = 1_634_947_200_000
"""2021-10-23, a Saturday."""


def runs(store: Store) -> list[tuple[int, int, int, bool]]:
    """Device, first, last and whether taken, in order."""
    return sorted(store.rows("SELECT device, first, upto, taken FROM retired"))


def seqs(rows: list[tuple[int, int, int, bool]]) -> set[tuple[int, int, bool]]:
    return {(device, seq, taken) for device, first, last, taken in rows for seq in range(first, last + 1)}


@pytest.mark.parametrize(
    ("partition", "unit", "span"),
    [
        ("20211023", Unit.DAY, (DAY, DAY + DAY_MS)),
        ("20211018", Unit.WEEK, (DAY - 5 * DAY_MS, DAY + 2 * DAY_MS)),
        ("202110", Unit.MONTH, (DAY - 22 * DAY_MS, DAY + 9 * DAY_MS)),
        ("202112", Unit.MONTH, (1_638_316_800_000, 1_640_995_200_000)),
    ],
)
def test_the_time_of_a_partition(partition: str, unit: Unit, span: tuple[int, int]) -> None:
    assert span_of(partition, unit) == span
    assert unit is not Unit.DAY or day_of(span[0]) == day_of(span[1] - 1) == partition


@given(st.dates(datetime.date(2000, 1, 1), datetime.date(2105, 12, 31)))
def test_partitions_follow_each_other(day: datetime.date) -> None:
    days = [(day + datetime.timedelta(days=number)).strftime("%Y%m%d") for number in range(40)]
    months = sorted({name[:6] for name in days})
    for names, unit in ((days, Unit.DAY), (months, Unit.MONTH)):
        spans = [span_of(name, unit) for name in names]
        assert all(before[1] == after[0] for before, after in pairwise(spans))


def test_what_lies_where_and_how_it_goes(store: Store) -> None:
    lay(store, [Came(seq=1, received=DAY, at=DAY - 5), Came(seq=2, received=DAY + DAY_MS - 1, at=DAY - 9)])
    lay(store, [Came(seq=3, received=DAY + DAY_MS), Came(seq=4, received=DAY, refused=True)])
    found = partitions(store, ["log", "refused", "evidence"])
    assert [(one.table, one.id, one.rows) for one in found] == [
        ("log", "20211023", 2),
        ("log", "20211024", 1),
        ("refused", "20211023", 1),
    ]
    assert all(one.bytes > 0 for one in found)
    assert latest_at(store, "20211023") == DAY - 5
    assert latest_at(store, "20211020") == 0
    for _ in range(2):
        drop(store, "log", "20211023")
    assert store.rows("SELECT seq FROM log") == [(3,)]
    assert partitions(store, ["log"]) == [found[1]]


def test_only_partitions_are_dropped(store: Store) -> None:
    for name in ("", "2021", "20211023'", "all"):
        with pytest.raises(ValueError, match="no partition"):
            drop(store, "log", name)


came = st.builds(
    Came,
    device=st.integers(1, 3),
    seq=st.integers(1, 12),
    received=st.integers(DAY - DAY_MS, DAY + 2 * DAY_MS - 1),
    refused=st.booleans(),
)


@pytest.mark.parametrize("store", ["chdb"], indirect=True)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries=st.lists(came, max_size=30), rows=st.sampled_from([1, 12_000_000]))
def test_what_is_retired_is_what_came_that_day(store: Store, deliveries: list[Came], rows: int) -> None:
    for table in ("log", "refused", "retired"):
        store.command(f"TRUNCATE TABLE {table}")
    lay(store, deliveries)
    for _ in range(2):  # once more after a death
        retire(store, "20211023", rows)
    expected = {(one.device, one.seq, not one.refused) for one in deliveries if DAY <= one.received < DAY + DAY_MS}
    kept = runs(store)
    assert seqs(kept) == expected
    assert kept[::2] == kept[1::2]
    for before, after in pairwise(kept[::2]):
        assert (before[0], before[3]) != (after[0], after[3]) or after[1] > before[2] + 1
    assert {row[0] for row in store.rows("SELECT toUnixTimestamp64Milli(received) FROM retired")} <= {DAY + DAY_MS - 1}


@pytest.mark.parametrize("store", ["chdb"], indirect=True)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(0, 4), st.booleans()), max_size=15))
def test_joined_runs_say_the_same(store: Store, kept: list[tuple[int, int, int, bool]]) -> None:
    store.command("TRUNCATE TABLE retired")
    rows = [[device, first, first + more, taken, datetime_of(DAY)] for device, first, more, taken in kept]
    if rows:
        store.insert("retired", ["device", "first", "upto", "taken", "received"], rows)
    before = runs(store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expiry, "COMPACT_RUNS_MIN", 0)
        patch.setattr(expiry, "COMPACT_RUNS_A_DEVICE", 0)
        patch.setattr(expiry, "RETIRE_ROWS_A_STATEMENT", 4)
        store.command("CREATE TABLE IF NOT EXISTS retired_rebuild AS retired")  # somebody died within
        assert compact(store)
    joined = runs(store)
    assert seqs(joined) == seqs(before)
    for one, other in pairwise(sorted(joined, key=lambda run: (run[0], run[3], run[1]))):
        assert (one[0], one[3]) != (other[0], other[3]) or other[1] > one[2] + 1


def test_few_runs_are_left_alone(store: Store) -> None:
    store.insert("retired", ["device", "first", "upto"], [[1, 1, 2], [1, 3, 4]])
    assert not compact(store)
    assert partitions(store, []) == []
    assert isinstance(partitions(store, ["retired"])[0], Partition)
