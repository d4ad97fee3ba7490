"""What was scanned of where people were: some exits never, some codes twice, a few with yesterday's screenshot."""

import random
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from app.simulate.chance import chance
from app.simulate.movements import Visit
from app.simulate.people import Person, Shows
from app.simulate.plan import Plan
from app.simulate.premises import Premises
from events.places import Category
from events.scans import Kind

EXIT_FORGOTTEN: Final = {
    Category.MARKET: 0.22,
    Category.SHOP: 0.25,
    Category.RESTAURANT: 0.2,
    Category.VEHICLE: 0.25,
    Category.FACTORY: 0.05,
    Category.INDUSTRIAL_PARK: 0.03,
    Category.SCHOOL: 0.04,
}
EXIT_FORGOTTEN_ELSEWHERE: Final = 0.1
ENTRY_FORGOTTEN: Final = 0.012
NEVER_SCANNED: Final = 0.008
SCANNED_TWICE: Final = 0.02
STALE_SCREENSHOT: Final = 0.004
TWICE_SECONDS: Final = (2, 900)
"""A second scan of the same entry comes at once, or when a guard asks again."""


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """A code was held to a scanner, or a phone to a wall. `who` is a person's number or a car's plate.

    `stale`: the code on show was yesterday's, so the server must refuse the scan.
    """

    at: int
    who: int | str
    kind: Kind
    place: str
    device: str
    stale: bool = False


def phone_of(plan: Plan, person: Person) -> str:
    """The device id of somebody's own phone (điện thoại)."""
    return f"dt-{person.number}-{plan.tag}"


def attend(plan: Plan, premises: Premises, person: Person, life: list[Visit]) -> list[Attempt]:
    """All that one person scanned, or was scanned, up to the world's end."""
    return _Attendance(plan, premises, person).of(life)


def passages(plan: Plan, premises: Premises, plate: str, visits: Iterable[Visit]) -> list[Attempt]:
    """A car's passages; every car has its code behind the windscreen."""
    dice = chance(plan.seed, "car", plate)
    return [
        Attempt(visit.start + 4_000, plate, Kind.PASS, visit.place, dice.choice(premises.scanners[visit.place]))
        for visit in visits
        if visit.start + 4_000 < plan.end
    ]


class _Attendance:
    def __init__(self, plan: Plan, premises: Premises, person: Person) -> None:
        self._plan: Final = plan
        self._premises: Final = premises
        self._person: Final = person
        self._dice: Final[random.Random] = chance(plan.seed, "attendance", person.number)
        self._category: Final = {place.id: place.category for place in premises.places}

    def of(self, life: list[Visit]) -> list[Attempt]:
        return [attempt for visit in life for attempt in self._visit(visit) if attempt.at < self._plan.end]

    def _visit(self, visit: Visit) -> Iterator[Attempt]:
        device = self._device(visit.place)
        careless = self._dice.random()
        if device is None or careless < NEVER_SCANNED:
            for room in visit.rooms:
                yield from self._visit(room)
            return
        if self._category[visit.place] is Category.CHECKPOINT:
            yield from self._show(visit.start + self._seconds(5, 40), Kind.PASS, visit.place, device)
            return
        if careless > NEVER_SCANNED + ENTRY_FORGOTTEN:
            yield from self._enter(visit, device)
        for room in visit.rooms:
            yield from self._visit(room)
        if self._dice.random() >= self._forgets(visit.place):
            yield from self._show(visit.end - self._seconds(1, 15), Kind.OUT, visit.place, device)

    def _enter(self, visit: Visit, device: str) -> Iterator[Attempt]:
        entered = visit.start + self._seconds(1, 12)
        yield from self._show(entered, Kind.IN, visit.place, device)
        if not visit.rooms and self._dice.random() < SCANNED_TWICE:
            again = entered + self._seconds(*TWICE_SECONDS)
            if again < visit.end - self._seconds(15, 20):
                yield from self._show(again, Kind.IN, visit.place, device)

    def _show(self, at: int, kind: Kind, place: str, device: str) -> Iterator[Attempt]:
        """One scan; or, with yesterday's screenshot, a refused one and a good one some seconds later."""
        number = self._person.number
        if self._person.shows is Shows.DAILY and self._dice.random() < STALE_SCREENSHOT:
            yield Attempt(at, number, kind, place, device, stale=True)
            at += self._seconds(3, 6)
        yield Attempt(at, number, kind, place, device)

    def _device(self, place: str) -> str | None:
        doors = self._premises.scanners.get(place)
        if self._person.shows is Shows.PHONE and self._category[place] is not Category.CHECKPOINT:
            return phone_of(self._plan, self._person)
        return self._dice.choice(doors) if doors else None

    def _forgets(self, place: str) -> float:
        return EXIT_FORGOTTEN.get(self._category[place], EXIT_FORGOTTEN_ELSEWHERE) * self._person.forgetful

    def _seconds(self, low: float, high: float) -> int:
        return int(self._dice.uniform(low, high) * 1000)
