"""A small province over twelve days, with one evening at which somebody infected many. The same for the same seed."""

import random
from typing import Final

import msgspec

from events.cases import Case
from events.places import Category, Place
from events.scans import Kind
from tests.tracing.cases import CaseScan
from tests.tracing.world import pseudonym

HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
START: Final = 1_634_860_800_000
DAYS: Final = 12
PEOPLE: Final = 240
GUESTS: Final = 30
INFECTED: Final = 7
EVENING: Final = START + 5 * DAY + 19 * HOUR
SOURCE: Final = "source"
HALL: Final = "hall"

PLACES: Final = (
    Place(id="mall", number=1, name="Mall", category=Category.MALL, capacity=100),
    Place(id="food-court", number=2, name="Food court", parent="mall", capacity=40),
    Place(id="market", number=3, name="Market", category=Category.MARKET),
    Place(id="hotel", number=4, name="Hotel", category=Category.HOTEL),
    Place(id=HALL, number=5, name="Wedding hall", parent="hotel", category=Category.EVENT, capacity=35),
    *(Place(id=f"office-{n}", number=10 + n, name=f"Office {n}", category=Category.OFFICE) for n in range(12)),
    *(Place(id=f"shop-{n}", number=30 + n, name=f"Shop {n}", category=Category.SHOP) for n in range(10)),
)


class Province(msgspec.Struct, frozen=True):
    """Every scan, who was infected at the hall, and the cases, the source's own among them."""

    scans: list[CaseScan]
    infected: list[str]
    cases: list[Case]


class _Diary:
    """Scans as they are made, each with its place's own counter."""

    def __init__(self) -> None:
        self.scans: Final[list[CaseScan]] = []
        self._seq: Final[dict[str, int]] = {}

    def visit(self, subject: str, place: str, start: int, end: int) -> None:
        for at, kind in ((start, Kind.IN), (end, Kind.OUT)):
            seq = self._seq[place] = self._seq.get(place, 0) + 1
            self.scans.append(CaseScan(f"at-{place}", seq, at, at + 1_000, kind, place, subject))


def province(seed: int = 1) -> Province:
    """Everybody goes to work, and to a shop, the market or the mall; thirty are at a wedding on the sixth evening."""
    chance = random.Random(seed)
    people = [f"p{number:03}" for number in range(PEOPLE)]
    guests = [SOURCE, *chance.sample(people, GUESTS)]
    diary = _Diary()
    for day in range(DAYS):
        morning = START + day * DAY
        for number, person in enumerate([*people, SOURCE]):
            late = chance.randrange(40) * 60_000
            diary.visit(person, f"office-{number % 12}", morning + 8 * HOUR + late, morning + 16 * HOUR + late)
            if day == 5 and person in guests:
                diary.visit(person, HALL, EVENING + late, EVENING + 3 * HOUR + late)
            elif chance.random() < 0.6:
                begin = morning + 17 * HOUR + chance.randrange(120) * 60_000
                place = chance.choice(["mall", "food-court", "market", *(f"shop-{n}" for n in range(10))])
                diary.visit(person, place, begin, begin + chance.randrange(10, 60) * 60_000)
    infected = chance.sample(guests[1:], INFECTED)
    ill = EVENING + 4 * DAY
    cases = [_case(f"case-{person}", person, ill + chance.randrange(48) * HOUR) for person in infected]
    # Two who caught it elsewhere, and the one from whom the guests have it.
    others = chance.sample(sorted(set(people) - set(guests)), 2)
    cases += [_case(f"case-{person}", person, ill + chance.randrange(48) * HOUR) for person in others]
    cases.append(_case("case-source", SOURCE, EVENING - DAY))
    diary.scans.sort(key=lambda scan: scan.received)
    return Province(diary.scans, infected, cases)


def _case(case_id: str, person: str, infectious_from: int) -> Case:
    return Case(
        id=case_id,
        subject=pseudonym(person),
        confirmed_at=infectious_from + 2 * DAY,
        infectious_from=infectious_from,
        infectious_to=infectious_from + 2 * DAY,
    )
