"""Whom a trace looks at: everybody who can have met an index subject, and few others."""

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from tracing.queries import HOUR_MS, Surroundings

MINUTE: Final = 60_000
DWELL: Final = 50 * MINUTE
PLACE: Final = 7

minutes = st.integers(100, 600).map(lambda minute: minute * MINUTE)
presences = st.lists(st.tuples(minutes, st.integers(1, 200)), min_size=1, max_size=4)


def is_looked_at(surroundings: Surroundings, place: int, at: int, enters: bool) -> bool:
    span = surroundings.spans.get((place << 32) + at // HOUR_MS)
    if span is None:
        return False
    return span.entered_from <= at < span.entered_to if enters else span.left_from <= at < span.left_to


@given(presences)
def test_every_scan_that_matters_is_looked_at(present: list[tuple[int, int]]) -> None:
    """The first and the last entry and exit by which somebody can have been there with them, for each presence."""
    surroundings = Surroundings()
    spans = [(start, start + length * MINUTE) for start, length in present]
    for start, end in spans:
        surroundings.add(PLACE, DWELL, start, end)
    for start, end in spans:
        assert is_looked_at(surroundings, PLACE, start - DWELL + 1, True)
        assert is_looked_at(surroundings, PLACE, end - 1, True)
        assert is_looked_at(surroundings, PLACE, start + 1, False)
        assert is_looked_at(surroundings, PLACE, end + DWELL - 1, False)


def test_before_the_epoch_no_hours_of_another_place_are_asked_for() -> None:
    surroundings = Surroundings()
    surroundings.add(0, DWELL, 5 * MINUTE, 10 * MINUTE)
    assert sorted(surroundings.spans) == [0]


def test_scans_that_cannot_matter_are_not_looked_at() -> None:
    surroundings = Surroundings()
    start, end = 10 * HOUR_MS + 5 * MINUTE, 12 * HOUR_MS + 20 * MINUTE
    surroundings.add(PLACE, DWELL, start, end)
    for at, enters in ((start - DWELL - 1, True), (end, True), (start - 1, False), (end + DWELL, False)):
        assert not is_looked_at(surroundings, PLACE, at, enters)
    assert not is_looked_at(surroundings, PLACE + 1, start, True)
    assert sorted(key & 0xFFFFFFFF for key in surroundings.spans) == [9, 10, 11, 12, 13]
