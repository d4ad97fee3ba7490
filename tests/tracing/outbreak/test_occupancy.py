"""Occupancy against counting heads minute by minute."""

from itertools import pairwise
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from projections.stays import EntryKnown, ExitKnown, Stay
from tracing.outbreak.intervals import Interval, length, union
from tracing.outbreak.occupancy import HOUR_MS, OccupiedHour, by_hour, peak_within, present, protected, rounded

MINUTE: Final = 60_000
HOURS: Final = 6
START: Final = 1_000 * HOUR_MS
END: Final = START + HOURS * HOUR_MS
MINUTES: Final = HOURS * 60

minutes = st.integers(-90, MINUTES + 90)
stay_times = st.tuples(minutes, minutes).map(lambda pair: (START + min(pair) * MINUTE, START + max(pair) * MINUTE))
crowds = st.dictionaries(st.sampled_from("abcdefgh"), st.lists(stay_times, max_size=5), max_size=8)


def united(crowd: dict[str, list[Interval]]) -> dict[str, list[Interval]]:
    return {subject: union(times) for subject, times in crowd.items()}


def heads(crowd: dict[str, list[Interval]], minute: int) -> set[str]:
    """Who is there in a minute, by looking."""
    at = START + minute * MINUTE
    return {subject for subject, times in crowd.items() if any(start <= at < end for start, end in times)}


@given(crowds)
def test_every_hour_is_what_counting_heads_gives(crowd: dict[str, list[Interval]]) -> None:
    rows = by_hour(united(crowd), START, END)
    there = {minute: heads(crowd, minute) for minute in range(-1, MINUTES + 1)}
    assert len(rows) == HOURS
    for hour, row in enumerate(rows):
        span = range(hour * 60, hour * 60 + 60)
        assert row == OccupiedHour(
            from_=START + hour * HOUR_MS,
            people=len(set().union(*(there[minute] for minute in span))),
            peak=max(len(there[minute]) for minute in span),
            person_seconds=sum(len(there[minute]) * 60 for minute in span),
            entries=sum(len(there[minute] - there[minute - 1]) for minute in span),
            exits=sum(len(there[minute] - there[minute + 1]) for minute in span),
        )


@given(crowds, stay_times)
def test_the_peak_is_the_highest_count_and_holds_from_its_moment_on(
    crowd: dict[str, list[Interval]], window: Interval
) -> None:
    start, end = window
    times = [each for intervals in united(crowd).values() for each in intervals]
    peak, peak_at = peak_within(times, start, end)
    looked = {at: sum(low <= at < high for low, high in times) for at in range(start, end, MINUTE)}
    assert peak == max(looked.values(), default=0)
    if peak:
        assert peak_at == min(at for at, count in looked.items() if count == peak)


@given(st.lists(stay_times, max_size=8))
def test_a_union_keeps_every_moment_and_overlaps_nowhere(times: list[Interval]) -> None:
    found = union(times)
    minutes = {at for start, end in times for at in range(start, end, MINUTE)}
    assert {at for start, end in found for at in range(start, end, MINUTE)} == minutes
    assert all(one[1] < other[0] for one, other in pairwise(found))
    assert length(found) == len(minutes) * MINUTE


def test_whoever_goes_from_room_to_room_is_one_person_who_never_left() -> None:
    def stay(place: str, start: int, end: int) -> Stay:
        return Stay(place, START + start * MINUTE, START + end * MINUTE, EntryKnown.MEASURED, ExitKnown.MOVED, ())

    stays = {"a": [stay("mall", 0, 30), stay("cafe", 20, 50), stay("shop", 50, 70)], "b": [stay("park", 0, 90)]}
    here = present(stays, {"mall", "cafe", "shop"})
    assert here == {"a": [(START, START + 70 * MINUTE)]}
    first, second, *_ = by_hour(here, START, END)
    assert (first.people, first.peak, first.entries, first.exits) == (1, 1, 1, 0)
    assert (second.people, second.peak, second.entries, second.exits) == (1, 1, 0, 1)


@given(crowds, st.integers(2, 6))
def test_small_counts_are_not_told_and_the_others_are_rounded(
    crowd: dict[str, list[Interval]], people_min: int
) -> None:
    for exact in by_hour(united(crowd), START, END):
        told = protected(exact, people_min)
        figures = (told.people, told.peak, told.person_seconds, told.entries, told.exits)
        if exact.people == 0:
            assert told == exact
        elif (exact.people or 0) < people_min:
            assert figures == (None,) * 5
        else:
            assert all(figure is not None and figure % people_min == 0 for figure in figures)
            assert abs((told.people or 0) - (exact.people or 0)) <= people_min / 2
            assert abs((told.person_seconds or 0) - (exact.person_seconds or 0)) <= people_min * 3_600 / 2


def test_rounding_is_to_the_nearest_multiple() -> None:
    assert [rounded(number, 5) for number in (0, 1, 2, 3, 5, 7, 8, 12, 13)] == [0, 0, 0, 5, 5, 5, 10, 10, 15]
    assert [rounded(number, 4) for number in (1, 2, 5, 6)] == [0, 4, 4, 8]
