"""Whom a trace looks at: everybody who can have met an index subject, and few others."""

from typing import Final

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from projections.place_hours import HOUR_MS
from tracing.queries import Surroundings

MINUTE: Final = 60_000
DWELL: Final = 50 * MINUTE
PLACE: Final = 7

minutes = st.integers(100, 600).map(lambda minute: minute * MINUTE)
presences = st.lists(st.tuples(minutes, st.integers(1, 200)), min_size=1, max_size=4)


def surroundings_of(*spans: tuple[int, int], place: int = PLACE) -> Surroundings:
    start, end = np.array(spans, dtype=np.int64).T
    return Surroundings(np.full(len(spans), place), np.full(len(spans), DWELL), start, end)


def is_looked_at(surroundings: Surroundings, place: int, at: int, enters: bool) -> bool:
    place_hour = (place << 32) + at // HOUR_MS
    if place_hour not in surroundings.scan_hours:
        return False
    return bool(surroundings.matters(np.array([place_hour]), np.array([at]), np.array([enters]))[0])


@given(presences)
def test_every_scan_that_matters_is_looked_at(present: list[tuple[int, int]]) -> None:
    """The first and the last entry and exit by which somebody can have been there with them, for each presence."""
    spans = [(start, start + length * MINUTE) for start, length in present]
    surroundings = surroundings_of(*spans)
    for start, end in spans:
        assert is_looked_at(surroundings, PLACE, start - DWELL + 1, True)
        assert is_looked_at(surroundings, PLACE, end - 1, True)
        assert is_looked_at(surroundings, PLACE, start + 1, False)
        assert is_looked_at(surroundings, PLACE, end + DWELL - 1, False)


@given(presences)
def test_stays_are_looked_for_from_a_dwell_before_up_to_the_end(present: list[tuple[int, int]]) -> None:
    spans = [(start, start + length * MINUTE) for start, length in present]
    hours = {
        (PLACE << 32) + hour
        for start, end in spans
        for hour in range((start - DWELL) // HOUR_MS, (end - 1) // HOUR_MS + 1)
    }
    assert surroundings_of(*spans).stay_hours.tolist() == sorted(hours)


def test_nobody_present_has_no_surroundings() -> None:
    nowhere = Surroundings(*(np.empty(0, dtype=np.int64) for _ in range(4)))
    assert len(nowhere.scan_hours) == len(nowhere.stay_hours) == 0


def test_before_the_epoch_no_hours_of_another_place_are_asked_for() -> None:
    surroundings = surroundings_of((5 * MINUTE, 10 * MINUTE), place=0)
    assert surroundings.scan_hours.tolist() == surroundings.stay_hours.tolist() == [0]


def test_scans_that_cannot_matter_are_not_looked_at() -> None:
    start, end = 10 * HOUR_MS + 5 * MINUTE, 12 * HOUR_MS + 20 * MINUTE
    surroundings = surroundings_of((start, end))
    for at, enters in ((start - DWELL - 1, True), (end, True), (start - 1, False), (end + DWELL, False)):
        assert not is_looked_at(surroundings, PLACE, at, enters)
    assert not is_looked_at(surroundings, PLACE + 1, start, True)
    assert [hour & 0xFFFFFFFF for hour in surroundings.scan_hours.tolist()] == [9, 10, 11, 12, 13]
