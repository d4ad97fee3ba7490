"""Where everybody really was: visits, rooms inside buildings, in the order of a person's day.

A person is in one place at a time (and in all that surround it); visits of one person never overlap.
"""

import random
from collections.abc import Iterator
from typing import Final

import msgspec

from app.simulate.chance import chance
from app.simulate.people import Person, Role, Shift
from app.simulate.plan import MINUTE_MS, Plan, weekday
from app.simulate.premises import Outing, Path, Premises, Route

SHIFT_MINUTES: Final = {
    Shift.MORNING: (6 * 60, 14 * 60),
    Shift.AFTERNOON: (14 * 60, 22 * 60),
    Shift.NIGHT: (22 * 60, 30 * 60),
    Shift.DAY: (7 * 60 + 30, 16 * 60 + 30),
    Shift.SCHOOL: (7 * 60, 11 * 60 + 30),
    Shift.MARKET: (4 * 60 + 30, 10 * 60 + 30),
}
FREE_MINUTES: Final = {
    Shift.MORNING: (16 * 60, 21 * 60),
    Shift.AFTERNOON: (8 * 60, 11 * 60 + 30),
    Shift.NIGHT: (15 * 60, 19 * 60 + 30),
    Shift.DAY: (18 * 60, 21 * 60 + 30),
    Shift.SCHOOL: (14 * 60, 20 * 60),
    Shift.MARKET: (13 * 60, 20 * 60),
    Shift.NONE: (6 * 60, 19 * 60),
}
"""When somebody has time on a working day, in minutes after midnight in Vietnam; on a day off `FREE_DAY`."""
FREE_DAY: Final = (6 * 60, 17 * 60)
SATURDAY: Final = 5
WORKS_SATURDAY: Final = (Role.WORKER, Role.TRADER, Role.NURSE)
OVERTIME_SHARE: Final = 0.2
ILL_SHARE: Final = 0.02
CANTEEN_SHARE: Final = 0.7
FAMILY_TREAT_SHARE: Final = 0.3
FAMILY_TREAT_MINUTES: Final = (17 * 60 + 30, 19 * 60)
OUTINGS_A_DAY: Final = ((0, 1, 1, 2), (1, 1, 2, 3))
OUTING_WEIGHTS: Final = {
    Outing.MARKET: 34,
    Outing.SHOP: 30,
    Outing.RESTAURANT: 24,
    Outing.WORSHIP: 4,
    Outing.MALL: 6,
    Outing.HOSPITAL: 2,
}
STAY_MINUTES: Final = {
    Outing.MARKET: (20, 50),
    Outing.SHOP: (5, 20),
    Outing.RESTAURANT: (25, 75),
    Outing.WORSHIP: (30, 80),
    Outing.MALL: (60, 150),
    Outing.HOSPITAL: (45, 160),
}
BUS_EVERY_MINUTES: Final = 20
BUS_RIDE_MINUTES: Final = (22, 32)
BUS_LEAD_MINUTES: Final = 45


class Visit(msgspec.Struct, frozen=True, gc=False):
    """Somebody's presence at a place during `[start, end)` (Unix ms), with visits to the rooms inside."""

    place: str
    start: int
    end: int
    rooms: tuple["Visit", ...] = ()


def lives(plan: Plan, premises: Premises, people: list[Person]) -> list[list[Visit]]:
    """For each person everything from the first midnight to `plan.end`, in order of time."""
    return [_life(plan, premises, person) for person in people]


def drives(premises: Premises, people: list[Person], lives: list[list[Visit]]) -> dict[str, list[Visit]]:
    """For each car's plate its passages at checkpoints: those of its driver."""
    posts = set(premises.checkpoints)
    return {
        person.car: [visit for visit in life if visit.place in posts]
        for person, life in zip(people, lives, strict=True)
        if person.car is not None
    }


def _life(plan: Plan, premises: Premises, person: Person) -> list[Visit]:
    visits: list[Visit] = []
    for midnight in plan.midnights:
        day = _Day(plan, premises, person, midnight)
        visits.extend(day.visits())
    return in_order(visits, plan.end)


def in_order(visits: list[Visit], end: int) -> list[Visit]:
    """By time, cut at the world's end, without what the time did not suffice for."""
    kept: list[Visit] = []
    free_from = 0
    for visit in sorted(visits, key=lambda visit: (visit.start, visit.end)):
        if visit.start >= free_from and visit.start < end:
            kept.append(_until(visit, end))
            free_from = visit.end + MINUTE_MS
    return kept


def _until(visit: Visit, end: int) -> Visit:
    if visit.end <= end:
        return visit
    rooms = tuple(_until(room, end) for room in visit.rooms if room.start < end)
    return Visit(visit.place, visit.start, end, rooms)


class _Day:
    """One person's plans for one day. Plans may collide; `in_order` keeps the earlier one."""

    def __init__(self, plan: Plan, premises: Premises, person: Person, midnight: int) -> None:
        self._plan: Final = plan
        self._premises: Final = premises
        self._person: Final = person
        self._midnight: Final = midnight
        self._weekday: Final = weekday(midnight)
        self._dice: Final[random.Random] = chance(plan.seed, "day", person.number, midnight)

    def visits(self) -> Iterator[Visit]:
        """Work with the way there and back, errands, a family's evening out."""
        works = self._works()
        if works:
            yield from self._working_day()
        yield from self._outings(works)
        if self._weekday >= SATURDAY and not (works and self._person.shift in (Shift.AFTERNOON, Shift.NIGHT)):
            yield from self._family_treat()

    def _works(self) -> bool:
        if not self._person.work or self._dice.random() < ILL_SHARE:
            return False
        if self._person.role in WORKS_SATURDAY:
            return self._weekday <= SATURDAY or self._person.role is not Role.WORKER
        return self._weekday < SATURDAY

    def _working_day(self) -> Iterator[Visit]:
        begins, ends = SHIFT_MINUTES[self._person.shift]
        start = self._at(begins) - self._span(2, 14)
        end = self._at(ends) + self._span(1, 12)
        if self._person.shift is Shift.DAY and self._dice.random() < OVERTIME_SHARE:
            end += self._span(60, 150)
        yield from self._way(start - BUS_LEAD_MINUTES * MINUTE_MS, home_to_work=True)
        yield self._work(start, end)
        yield from self._way(end + 5 * MINUTE_MS, home_to_work=False)

    def _work(self, start: int, end: int) -> Visit:
        path = self._person.work
        if self._person.role is Role.WORKER and self._dice.random() < CANTEEN_SHARE:
            return self._shift_with_meal(path, start, end)
        return self._nested(path, start, end)

    def _shift_with_meal(self, path: Path, start: int, end: int) -> Visit:
        """Hall, canteen, hall: the meal falls into the middle of the shift."""
        park, factory, hall = path
        canteen = self._premises.canteens[factory][-1]
        enters, leaves = start + self._span(2, 5), end - self._span(2, 5)
        first, last = enters + self._span(2, 4), leaves - self._span(2, 4)
        meal = start + (end - start) // 2 + self._span(-25, 25)
        back = meal + self._span(20, 40)
        rooms = (
            Visit(hall, first, meal - self._span(2, 4)),
            Visit(canteen, meal, back),
            Visit(hall, back + self._span(2, 4), last),
        )
        return Visit(park, start, end, (Visit(factory, enters, leaves, rooms),))

    def _nested(self, path: Path, start: int, end: int) -> Visit:
        """Each inner place is entered a little later and left a little earlier than the one around it."""
        if len(path) == 1:
            return Visit(path[0], start, end)
        return Visit(path[0], start, end, (self._nested(path[1:], start + self._span(2, 5), end - self._span(2, 5)),))

    def _way(self, leaves: int, *, home_to_work: bool) -> Iterator[Visit]:
        person = self._person
        if person.border is not None:
            start = leaves + self._span(0, 20)
            yield Visit(person.border, start, start + self._span(1, 3))
        elif person.rides_bus:
            to = self._premises.district_of[person.work[0]]
            yield self._ride(self._premises.routes[min(person.district, to), max(person.district, to)], leaves)

    def _ride(self, route: Route, leaves: int) -> Visit:
        """The next departure after `leaves`; the timetable tells which vehicle that is."""
        slot = -(-(leaves - self._midnight) // (BUS_EVERY_MINUTES * MINUTE_MS))
        vehicle = route.vehicles[slot % len(route.vehicles)]
        start = self._midnight + slot * BUS_EVERY_MINUTES * MINUTE_MS - self._span(0, 3)
        end = start + self._span(*BUS_RIDE_MINUTES)
        seats = route.seats.get(vehicle)
        if seats is None:
            return Visit(vehicle, start, end)
        seat = Visit(self._dice.choice(seats), start + self._span(0.3, 1), end - self._span(0.3, 1))
        return Visit(vehicle, start, end, (seat,))

    def _outings(self, works: bool) -> Iterator[Visit]:
        earliest, latest = FREE_MINUTES[self._person.shift] if works else FREE_DAY
        for _ in range(self._dice.choice(OUTINGS_A_DAY[0 if works else 1])):
            outing = self._dice.choices(list(OUTING_WEIGHTS), weights=list(OUTING_WEIGHTS.values()))[0]
            start = self._at(self._dice.uniform(earliest, latest))
            yield self._outing(outing, start, start + self._span(*STAY_MINUTES[outing]))

    def _outing(self, outing: Outing, start: int, end: int) -> Visit:
        path = self._dice.choice(self._person.favourites[outing])
        inside = self._premises.rooms.get(path[0])
        if inside is None:
            return Visit(path[0], start, end)
        middle = start + (end - start) // 2
        spans = (
            (start + self._span(2, 6), middle - self._span(1, 3)),
            (middle + self._span(1, 3), end - self._span(2, 6)),
        )
        return Visit(path[0], start, end, tuple(Visit(self._dice.choice(inside), *span) for span in spans))

    def _family_treat(self) -> Iterator[Visit]:
        """A household goes out together: its own chance decides where and when, each member's whether to come."""
        together = chance(self._plan.seed, "family", self._plan.people, self._person.household, self._midnight)
        goes = together.random() < FAMILY_TREAT_SHARE
        start = self._at(together.uniform(*FAMILY_TREAT_MINUTES))
        where = together.choice(self._premises.outings[Outing.RESTAURANT])[1]
        end = start + int(together.uniform(50, 110) * MINUTE_MS)
        if goes and self._dice.random() < 0.85:
            yield Visit(where[0], start + self._span(0, 1), end + self._span(0, 1))

    def _at(self, minutes: float) -> int:
        return self._midnight + int(minutes * MINUTE_MS)

    def _span(self, low: float, high: float) -> int:
        return int(self._dice.uniform(low, high) * MINUTE_MS)
