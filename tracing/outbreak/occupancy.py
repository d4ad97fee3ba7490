"""How many people were at a place, hour by hour, sub-places included. Pure."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from projections.stays import Stay
from tracing.outbreak.intervals import Interval, union

HOUR_SECONDS: Final = 3_600
HOUR_MS: Final = HOUR_SECONDS * 1000


class OccupiedHour(msgspec.Struct, frozen=True, kw_only=True):
    """An hour that begins at `from` (Unix ms), at a place and all that lies inside it.

    `people` were there at some time, at most `peak` at once, `person_seconds` together; `entries` and `exits` count
    those who came from outside and left for it. Null: too few people to be told of.
    """

    from_: int = msgspec.field(name="from")
    people: int | None
    peak: int | None
    person_seconds: float | None
    entries: int | None
    exits: int | None


def present(stays_by_subject: Mapping[str, Iterable[Stay]], places: Collection[str]) -> dict[str, list[Interval]]:
    """When each subject was at one of the places (ids), in disjoint intervals; those who never were are left out."""
    found: dict[str, list[Interval]] = {}
    for subject, stays in stays_by_subject.items():
        intervals = union((stay.start, stay.end) for stay in stays if stay.place in places)
        if intervals:
            found[subject] = intervals
    return found


def peak_within(intervals: Iterable[Interval], start: int, end: int) -> tuple[int, int]:
    """How many intervals at most hold at once within `[start, end)`, and since when (Unix ms). (0, start) for none."""
    changes: list[tuple[int, int]] = []
    for begins, ends in intervals:
        low, high = max(begins, start), min(ends, end)
        if low < high:
            changes += [(low, 1), (high, -1)]
    peak, peak_at, level = 0, start, 0
    for at, change in sorted(changes):  # who leaves at a moment is gone before the next one comes
        level += change
        if level > peak:
            peak, peak_at = level, at
    return peak, peak_at


def by_hour(intervals: Mapping[str, Iterable[Interval]], start: int, end: int) -> list[OccupiedHour]:
    """The hours of `[start, end)`, both at whole hours (Unix ms), from everybody's times there, not clipped to it."""
    count = (end - start) // HOUR_MS
    here: list[list[Interval]] = [[] for _ in range(count)]
    people: list[set[str]] = [set() for _ in range(count)]
    entries, exits = [0] * count, [0] * count
    for subject, times in intervals.items():
        for begins, ends in times:
            if start <= begins < end:
                entries[(begins - start) // HOUR_MS] += 1
            if start < ends <= end:
                exits[(ends - 1 - start) // HOUR_MS] += 1
            if begins < end and ends > start:
                for hour in range((max(begins, start) - start) // HOUR_MS, (min(ends, end) - 1 - start) // HOUR_MS + 1):
                    here[hour].append((begins, ends))
                    people[hour].add(subject)
    return [
        _hour(start + hour * HOUR_MS, here[hour], len(people[hour]), entries[hour], exits[hour])
        for hour in range(count)
    ]


def protected(hour: OccupiedHour, people_min: int) -> OccupiedHour:
    """The hour as it may be told to those who may look at nobody.

    Nothing of an hour with fewer than `people_min` people, unless there was nobody at all; else every figure to the
    nearest multiple of it, and time to that many person-hours. Whoever subtracts one answer from another (a building
    less its rooms, today's less yesterday's) learns of nobody in particular.
    """
    if hour.people == 0:
        return hour
    if hour.people is None or hour.people < people_min:
        return OccupiedHour(from_=hour.from_, people=None, peak=None, person_seconds=None, entries=None, exits=None)
    return OccupiedHour(
        from_=hour.from_,
        people=rounded(hour.people, people_min),
        peak=rounded(hour.peak, people_min),
        person_seconds=rounded(hour.person_seconds, people_min * HOUR_SECONDS),
        entries=rounded(hour.entries, people_min),
        exits=rounded(hour.exits, people_min),
    )


def rounded(number: float | None, step: int) -> int:
    """The multiple of `step` that is nearest; up from the middle on. None is nothing."""
    return int(((number or 0) + step / 2) // step) * step


def _hour(start: int, here: list[Interval], people: int, entries: int, exits: int) -> OccupiedHour:
    end = start + HOUR_MS
    ms = sum(min(ends, end) - max(begins, start) for begins, ends in here)
    return OccupiedHour(
        from_=start,
        people=people,
        peak=peak_within(here, start, end)[0],
        person_seconds=ms / 1000,
        entries=entries,
        exits=exits,
    )
