"""A place's occupancy as it is asked for: read day by day, so that memory does not grow with the window."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from events.places import Category
from events.problems import NOT_FOUND, ProblemError
from projections.stays import EntryKnown, ExitKnown, Stay
from storage.clickhouse import Store
from tracing.answer import CutOff
from tracing.moment import Moments
from tracing.outbreak.intervals import Interval
from tracing.outbreak.occupancy import HOUR_MS, OccupiedHour, by_hour, peak_within, present, protected, rounded
from tracing.outbreak.places import Premises
from tracing.overlap import Presence
from tracing.question import check_window, refuse
from tracing.reading import Reading
from tracing.registry import Registry

PLACES_INSIDE_MAX: Final = 2_000
HOURS_READ: Final = 24
PEOPLE_MIN_DEFAULT: Final = 5
CROWDING_DIGITS: Final = 4


class PlaceOccupancy(msgspec.Struct, frozen=True, kw_only=True):
    """How many people were at a place and inside it during `[from, to)` (Unix ms), in all and hour by hour.

    `places`: how many places that are, the place itself included. `people` is of different people; `peak` of people at
    once, from `peak_at` on; `crowding` is peak ÷ capacity, null where no capacity is registered. Where `people_min` is
    not 1, hours with fewer people are null and left out of the totals, and all figures are rounded to multiples of it.
    """

    place: str
    from_: int = msgspec.field(name="from")
    to: int
    cut_off: CutOff
    places: int
    capacity: int | None
    people_min: int
    people: int | None
    peak: int | None
    peak_at: int | None
    crowding: float | None
    person_seconds: float
    entries: int
    exits: int
    hours: tuple[OccupiedHour, ...]


class Attendance:
    """Answers how many were where. Thread-safe: what one question has read is its own."""

    def __init__(self, *, store: Store, registry: Registry, moments: Moments) -> None:
        self._store: Final = store
        self._registry: Final = registry
        self._moments: Final = moments

    def of(self, place: str, from_ms: int, to_ms: int, as_of: int | None) -> PlaceOccupancy:
        """The exact occupancy during `[from_ms, to_ms)`, both at whole hours (Unix ms).

        Raises `ProblemError` (NOT_FOUND, QUESTION_INVALID, BEHIND …), `StoreDown` and `StreamDown`.
        """
        check_window(from_ms, to_ms, "/to")
        settled, window = self._moments.settled(as_of), [(from_ms, to_ms)]
        moment = settled.reaching(self._registry.kept.kept_from, window, "/to")
        premises = Premises(self._registry.places_as_of(moment.as_of))
        inside = premises.inside(place)
        if not inside:
            raise ProblemError(NOT_FOUND.problem("No place had this id then."))
        if len(inside) > PLACES_INSIDE_MAX:
            refuse(f"more than {PLACES_INSIDE_MAX} places lie inside; ask for one of those", "/place")
        ids = {each.id for each in inside}
        hours: list[OccupiedHour] = []
        people: set[str] = set()
        peak, peak_at = 0, from_ms
        for start in range(from_ms, to_ms, HOURS_READ * HOUR_MS):
            end = min(start + HOURS_READ * HOUR_MS, to_ms)
            here = read_present(self._store, self._registry, ids, [(start, end)], as_of=moment.as_of)
            touching = {
                subject: times for subject, times in here.items() if any(s < end and e > start for s, e in times)
            }
            people.update(touching)
            high, high_at = peak_within((each for times in touching.values() for each in times), start, end)
            if high > peak:
                peak, peak_at = high, high_at
            hours += by_hour(here, start, end)
        if settled.reaching(self._registry.kept.kept_from, window, "/to") != moment:
            return self.of(place, from_ms, to_ms, as_of)  # what was read may have gone
        capacity = premises.tree.by_id[place].capacity
        return PlaceOccupancy(
            place=place,
            from_=from_ms,
            to=to_ms,
            cut_off=CutOff.of(moment),
            places=len(inside),
            capacity=capacity,
            people_min=1,
            people=len(people),
            peak=peak,
            peak_at=peak_at if peak else None,
            crowding=crowding(peak, capacity),
            person_seconds=sum(hour.person_seconds or 0 for hour in hours),
            entries=sum(hour.entries or 0 for hour in hours),
            exits=sum(hour.exits or 0 for hour in hours),
            hours=tuple(hours),
        )


def without_small_counts(occupancy: PlaceOccupancy, people_min: int) -> PlaceOccupancy:
    """What those are told who may look at nobody: see `protected`. Totals are those of the hours that are told."""
    hours = tuple(protected(hour, people_min) for hour in occupancy.hours)
    people = occupancy.people or 0
    peak = max((hour.peak for hour in hours if hour.peak is not None), default=None)
    return msgspec.structs.replace(
        occupancy,
        people_min=people_min,
        people=rounded(people, people_min) if people == 0 or people >= people_min else None,
        peak=peak,
        peak_at=None,
        crowding=crowding(peak, occupancy.capacity),
        person_seconds=sum(hour.person_seconds or 0 for hour in hours),
        entries=sum(hour.entries or 0 for hour in hours),
        exits=sum(hour.exits or 0 for hour in hours),
        hours=hours,
    )


def crowding(peak: int | None, capacity: int | None) -> float | None:
    """Peak ÷ capacity; None where either is unknown, or nobody may be there."""
    return round(peak / capacity, CROWDING_DIGITS) if peak is not None and capacity else None


def read_present(
    store: Store,
    registry: Registry,
    places: Iterable[str],
    windows: Iterable[Interval],
    *,
    as_of: int,
    dwell_seconds: Mapping[Category, int] | None = None,
) -> dict[str, list[Interval]]:
    """When everybody was at the places (ids) who was there within the windows; whole, not clipped to them (Unix ms).

    `dwell_seconds` overrides the places' dwell by category.

    Raises `StoreDown`, and `ProblemError` where they are too many to be read at once.
    """
    # A stay that only touches a window is read, too: it may be the same person's next one, or the one before.
    spans = [(start - 1, end + 1) for start, end in windows]
    ids = sorted(places)
    until = max(end for _, end in spans)
    reading = Reading(store, registry, as_of=as_of, until=until, dwell_seconds=dwell_seconds)
    somebody = [
        Presence("", start, end, Stay(place, start, end, EntryKnown.MEASURED, ExitKnown.OPEN, ()))
        for place in ids
        for start, end in spans
    ]
    reading.load_around(somebody, 0)
    return present(reading.stays, frozenset(ids))
