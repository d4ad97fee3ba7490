"""Households and the people in them: what they do all day, how they are scanned, how careful they are."""

import enum
import random
from typing import Final

import msgspec

from app.simulate.chance import chance
from app.simulate.geography import DISTRICTS
from app.simulate.plan import Plan
from app.simulate.premises import Outing, Path, Premises

HOUSEHOLD_SIZES: Final = (1, 2, 2, 3, 3, 4, 4, 4, 5, 6)
FAVOURITES: Final = {Outing.MARKET: 1, Outing.SHOP: 3, Outing.RESTAURANT: 3, Outing.WORSHIP: 1, Outing.MALL: 1}
BUS_SHARE: Final = 0.45
BORDER_SHARE: Final = 0.05
CAR_SHARE: Final = 0.5
HOME_PROVINCES: Final = ("001", "024", "038", "040", "052", "064", "074", "074", "074", "079", "089", "091", "096")
"""Industry draws people from all over the country; citizen numbers begin with the province of birth."""


class Role(enum.StrEnum):
    """What somebody's weekdays are made of."""

    WORKER = "worker"
    CLERK = "clerk"
    PUPIL = "pupil"
    TEACHER = "teacher"
    NURSE = "nurse"
    TRADER = "trader"
    HOME = "home"


class Shift(enum.StrEnum):
    """When a working day begins and ends; `movements` holds the hours."""

    MORNING = "morning"
    AFTERNOON = "afternoon"
    NIGHT = "night"
    DAY = "day"
    SCHOOL = "school"
    MARKET = "market"
    NONE = "none"


class Shows(enum.StrEnum):
    """How somebody takes part: a code on paper, a code that changes daily, a phone that scans walls, or a card."""

    PAPER = "paper"
    DAILY = "daily"
    PHONE = "phone"
    CARD = "card"


class Person(msgspec.Struct, frozen=True):
    """One resident. `border` is the checkpoint that lies on the way to work, `car` the plate driven there.

    `forgetful` multiplies the chance that an exit is not scanned; 1 is average.
    """

    number: int
    household: int
    district: int
    citizen_number: str
    role: Role
    shift: Shift
    work: Path
    rides_bus: bool
    border: str | None
    car: str | None
    shows: Shows
    forgetful: float
    favourites: dict[Outing, tuple[Path, ...]]


def build_people(plan: Plan, premises: Premises) -> list[Person]:
    """`plan.people` residents in households, in order of their numbers from 0."""
    dice = chance(plan.seed, "people")
    homes = _households(dice, plan.people)
    serials = dice.sample(range(1, 1_000_000), plan.people)
    return [
        _person(
            chance(plan.seed, "person", number),
            premises,
            number=number,
            household=household,
            district=district,
            serial=serials[number],
        )
        for number, (household, district) in enumerate(homes)
    ]


def _households(dice: random.Random, people: int) -> list[tuple[int, int]]:
    """For each person the household's number and district."""
    homes: list[tuple[int, int]] = []
    household = 0
    while len(homes) < people:
        home = (household, dice.randrange(len(DISTRICTS)))
        homes.extend([home] * dice.choice(HOUSEHOLD_SIZES))
        household += 1
    return homes[:people]


def _person(
    dice: random.Random, premises: Premises, *, number: int, household: int, district: int, serial: int
) -> Person:
    role = dice.choices(list(Role), weights=(45, 11, 22, 2, 2, 4, 14))[0]
    work, shift = _work(dice, premises, role, district)
    border = dice.choice(premises.checkpoints) if work and dice.random() < BORDER_SHARE else None
    rides_bus = bool(work) and border is None and dice.random() < BUS_SHARE
    return Person(
        number=number,
        household=household,
        district=district,
        citizen_number=_citizen_number(dice, role, serial),
        role=role,
        shift=shift,
        work=work,
        rides_bus=rides_bus,
        border=border,
        car=f"61Q-{serial:06d}" if border and dice.random() < CAR_SHARE else None,
        shows=_shows(dice, role),
        forgetful=dice.choice((0.2, 0.5, 1.0, 1.0, 2.3)),
        favourites=_favourites(dice, premises, district),
    )


def _citizen_number(dice: random.Random, role: Role, serial: int) -> str:
    """A number of the right form that nobody can bear: its century digit says 2300 to 2399."""
    year = dice.randint(5, 14) if role is Role.PUPIL else dice.randint(20, 99)
    return f"{dice.choice(HOME_PROVINCES)}{dice.choice('89')}{year:02d}{serial:06d}"


def _shows(dice: random.Random, role: Role) -> Shows:
    if role is Role.PUPIL:
        return dice.choices([Shows.PAPER, Shows.CARD], weights=(97, 3))[0]
    return dice.choices(list(Shows), weights=(54, 32, 8, 6))[0]


def _work(dice: random.Random, premises: Premises, role: Role, district: int) -> tuple[Path, Shift]:
    match role:
        case Role.WORKER:
            shifts = (Shift.MORNING, Shift.AFTERNOON, Shift.NIGHT, Shift.DAY)
            return dice.choice(premises.halls), dice.choices(shifts, weights=(3, 2, 1, 4))[0]
        case Role.CLERK:
            return dice.choice(premises.desks), Shift.DAY
        case Role.PUPIL | Role.TEACHER:
            near = [path for path in premises.classrooms if premises.district_of[path[0]] == district]
            return dice.choice(near or premises.classrooms), Shift.SCHOOL
        case Role.NURSE:
            return dice.choice(premises.wards), dice.choice((Shift.MORNING, Shift.AFTERNOON, Shift.DAY))
        case Role.TRADER:
            return dice.choice(premises.outings[Outing.MARKET])[1], Shift.MARKET
        case Role.HOME:
            return (), Shift.NONE


def _favourites(dice: random.Random, premises: Premises, district: int) -> dict[Outing, tuple[Path, ...]]:
    """Mostly places near home; where the district has none, any."""
    chosen: dict[Outing, tuple[Path, ...]] = {}
    for outing, count in FAVOURITES.items():
        offers = premises.outings[outing]
        near = [path for where, path in offers if where == district] or [path for _, path in offers]
        chosen[outing] = tuple(dice.choices(near, k=count))
    chosen[Outing.HOSPITAL] = (dice.choice(premises.outings[Outing.HOSPITAL])[1],)
    return chosen
