"""Whose scans came in since: everybody of whom any did is named, and what was read is not read again."""

from typing import Any, Final

import numpy as np
import pytest

from events.scans import LOG_ROW
from ingest.sink import stamped
from storage.clickhouse import Store
from storage.native import Columns
from tests.builders import log_row
from tests.tracing.world import name_of, pseudonym
from tracing.late import KEPT_MS, PIECE_MS_MAX, LateScans, late_by_name
from tracing.queries import Surroundings
from tracing.visits import numbered, pseudonyms_of, subjects_of

PLACE: Final = 5
AT: Final = 1_700_000_000_000
PEOPLE: Final = numbered(subjects_of([pseudonym(name) for name in "abcdef"]))[0]


def lay(store: Store, **received: int) -> None:
    """A scan of each of these, received so many ms after `AT`."""
    rows = [
        stamped(log_row(1, after + 1, AT, PLACE, bytes.fromhex(pseudonym(name))), LOG_ROW.size, AT + after)
        for name, after in received.items()
    ]
    store.insert_rowbinary("log", b"".join(rows), token=repr(received))


def late(scans: LateScans, after: int, upto: int) -> str:
    who = scans.between(AT + after, AT + upto).who(PEOPLE)
    return "".join(map(name_of, pseudonyms_of(PEOPLE[who])))


@pytest.fixture
def spans(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What is read of the log, in ms after `AT`."""
    read, columns = list[tuple[int, int]](), store.columns

    def noted(sql: str, parameters: dict[str, Any]) -> Columns:
        read.append((parameters["after"] - AT, parameters["upto"] - AT))
        return columns(sql, parameters)

    monkeypatch.setattr(store, "columns", noted)
    return read


def test_everybody_of_whom_a_scan_came_in_is_named(store: Store) -> None:
    lay(store, a=10, b=20, c=30, d=40)
    assert late(LateScans(store), 10, 30) == "bc"
    assert late(LateScans(store), 0, 9) == ""
    assert late(LateScans(store), 40, 1_000) == ""


def test_each_scan_is_read_once(store: Store, spans: list[tuple[int, int]]) -> None:
    lay(store, a=10, b=20)
    scans = LateScans(store)
    assert late(scans, 0, 15) == "a"
    lay(store, c=30)
    assert late(scans, 0, 30) == "abc"
    assert late(scans, 0, 30) == "abc"
    assert spans == [(0, 15), (15, 30)]


def test_what_is_settled_meanwhile_is_forgotten(store: Store, spans: list[tuple[int, int]]) -> None:
    scans, later = LateScans(store), 3 * PIECE_MS_MAX
    lay(store, a=10, b=later)
    assert late(scans, 0, 20) == "a"
    assert late(scans, 0, later) == "ab"
    assert late(scans, 20, later) == "b"
    assert late(scans, later, later + 10) == ""
    assert spans == [(0, 20), (20, later), (later, later + 10)]


def test_whoever_asks_about_earlier_has_it_read_anew(store: Store, spans: list[tuple[int, int]]) -> None:
    scans = LateScans(store)
    lay(store, a=10, b=20)
    assert late(scans, 15, 20) == "b"
    assert late(scans, 5, 20) == "ab"
    assert spans == [(15, 20), (5, 20)]


def test_a_hole_in_time_is_read_too(store: Store, spans: list[tuple[int, int]]) -> None:
    scans = LateScans(store)
    later = 2 * KEPT_MS
    lay(store, a=10, b=20, c=later + 30)
    assert late(scans, 0, 10) == "a"
    assert late(scans, later + 25, later + 30) == "c"
    assert spans == [(0, 10), (later + 25, later + 30)]


def test_late_scans_near_a_place_are_told_by_whose_they_are(store: Store) -> None:
    lay(store, a=10, b=20)
    late = LateScans(store).between(AT, AT + 30)
    hour = 3_600_000

    def near(place: int, start: int, end: int) -> list[str]:
        column = [np.array([each], dtype=np.int64) for each in (place, hour, AT + start, AT + end)]
        return sorted(map(name_of, pseudonyms_of(late.near(Surroundings(*column)))))

    assert near(PLACE, -1_000, 1_000) == ["a", "b"]
    assert near(PLACE, hour, 2 * hour) == ["a", "b"], "up to the dwell before"
    assert near(PLACE, hour + 1, 2 * hour) == []
    assert near(PLACE, -hour, 0) == [], "they came when it was over"
    assert near(PLACE + 1, -1_000, 1_000) == []


def test_who_came_in_after_a_moment_is_told_to_the_millisecond(store: Store) -> None:
    lay(store, a=10, b=20, c=30)
    late = LateScans(store).between(AT, AT + 30)

    def since(received: int) -> str:
        who = late.who_since(AT + received, PEOPLE)
        return "".join(map(name_of, pseudonyms_of(PEOPLE[who])))

    assert [since(9), since(10), since(29), since(30)] == ["abc", "bc", "c", ""]


def test_however_many_they_are_they_are_told_by_name(store: Store) -> None:
    lay(store, a=10, b=20, c=30)
    who = late_by_name(store, AT + 10, AT + 20).who(PEOPLE)
    assert list(map(name_of, pseudonyms_of(PEOPLE[who]))) == ["b"]


def test_who_asks_by_the_mark_of_a_moment_before_has_nothing_read_again(
    store: Store, spans: list[tuple[int, int]]
) -> None:
    lay(store, a=10, b=20)
    scans = LateScans(store)
    assert late(scans, 0, 30) == "ab"
    assert late(scans, 15, 30) == "ab"
    assert late(scans, 5, 30) == "ab"
    assert spans == [(0, 30)]
