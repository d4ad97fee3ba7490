"""The walk of a whole province says what the tests' own slow reading of the semantics says."""

import pytest

from loadtests.bench.trace.walk import Stays, Walk, joined, walked
from loadtests.bench.trace.world import DAYS, Country
from tests.loadtests.bench.trace.countries import END_MS, SMALL, places_of, scans_of
from tests.oracle import stays_of

COUNTRIES = [SMALL, Country(seed=11, people=9, premises=12, end_ms=END_MS)]

Spans = set[tuple[str, str, int, int]]


def named(country: Country, province: int, stays: Stays) -> Spans:
    """Stays as (subject, place's number, start, end)."""
    subjects = [row.tobytes().hex() for row in country.subjects(province)]
    numbers = country.numbers(province)
    columns = zip(stays.person, stays.place, stays.start, stays.end, strict=True)
    return {(subjects[person], str(numbers[place]), int(start), int(end)) for person, place, start, end in columns}


def by_the_oracle(country: Country, province: int, as_of: int) -> Spans:
    """The same from the rows of the log."""
    scans, places = scans_of(country, province), places_of(country, province)
    return {
        (subject, *stay[:3])
        for subject in {scan.subject for scan in scans}
        for stay in stays_of([scan for scan in scans if scan.subject == subject], places, as_of)
    }


@pytest.mark.parametrize("country", COUNTRIES, ids=["small", "other"])
@pytest.mark.parametrize("later_ms", [0, 3_600_000, 86_400_000])
def test_the_stays_of_a_province(country: Country, later_ms: int) -> None:
    as_of = country.end_ms + later_ms
    stays = walked(country, 2, as_of)
    assert named(country, 2, stays) == by_the_oracle(country, 2, as_of)
    assert len(stays) == len(named(country, 2, stays))


def test_day_by_day_comes_to_the_same() -> None:
    walk = Walk(SMALL.people, SMALL.parents(), SMALL.dwells())
    days = [walk.through(SMALL.day(0, day)) for day in range(DAYS)]
    assert all(len(day) for day in days)
    whole = joined([*days, walk.ended(SMALL.end_ms)])
    assert named(SMALL, 0, whole) == named(SMALL, 0, walked(SMALL, 0, SMALL.end_ms))
