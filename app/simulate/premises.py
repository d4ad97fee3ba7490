"""Places and the devices at their doors, as many as so many people need.

A hall lies in a factory in an industrial park, a classroom in a school, a ward in a hospital, a shop in a mall,
a seat in a coach. Rooms have no device of their own: their building's devices name the room in each scan.
"""

import enum
import random
from typing import Final

import msgspec

from app.simulate.chance import chance
from app.simulate.geography import (
    CHECKPOINTS,
    COMPANIES,
    DISTRICTS,
    INDUSTRIAL_PARKS,
    MALL,
    MALL_UNITS,
    OFFICES,
    PAGODAS,
    PROVINCE_CODE,
    RESTAURANTS,
    SCHOOLS,
    SHOPS,
)
from app.simulate.plan import Plan
from events.places import Category, Place

WORKERS_PER_HALL: Final = 22
HALLS_PER_FACTORY: Final = 4
FACTORIES_PER_PARK: Final = 4
CLERKS_PER_OFFICE: Final = 12
PUPILS_PER_CLASS: Final = 30
CLASSES_PER_SCHOOL: Final = 6
WARDS_PER_HOSPITAL: Final = 4
SEATS_PER_COACH: Final = 16
VEHICLES_PER_ROUTE: Final = 3
PARK_GATES: Final = 3
MARKET_GATES: Final = 2
SCATTER_DEGREES: Final = 0.02

Path = tuple[str, ...]
"""Place ids from the outermost to the one meant: whoever is in the last is in all of them."""


class Outing(enum.StrEnum):
    """What people leave home for, other than work."""

    MARKET = "market"
    SHOP = "shop"
    RESTAURANT = "restaurant"
    WORSHIP = "worship"
    MALL = "mall"
    HOSPITAL = "hospital"


class Door(msgspec.Struct, frozen=True):
    """A scanner that belongs to a place; it may scan for the rooms inside."""

    device: str
    place: str


class Route(msgspec.Struct, frozen=True):
    """A bus line within or between two districts. A coach has seats with a code on each; a plain bus has none."""

    ends: tuple[int, int]
    vehicles: tuple[str, ...]
    seats: dict[str, tuple[str, ...]]


class Premises(msgspec.Struct, frozen=True):
    """All places with who scans there, and the same places by what people do in them.

    `scanners` maps a place to the devices at its door; a place that is missing has only codes on its walls.
    `rooms` lists what lies in a mall or hospital. District numbers are positions in `DISTRICTS`.
    """

    places: list[Place]
    doors: list[Door]
    scanners: dict[str, tuple[str, ...]]
    halls: list[Path]
    canteens: dict[str, Path]
    desks: list[Path]
    classrooms: list[Path]
    wards: list[Path]
    rooms: dict[str, tuple[str, ...]]
    outings: dict[Outing, list[tuple[int, Path]]]
    routes: dict[tuple[int, int], Route]
    checkpoints: list[str]
    district_of: dict[str, int]


def build_premises(plan: Plan) -> Premises:
    """The premises that a province of `plan.people` needs."""
    build = _Builder(plan)
    build.industry(max(1, round(plan.people * 0.45 / WORKERS_PER_HALL)))
    build.offices(max(1, round(plan.people * 0.12 / CLERKS_PER_OFFICE)))
    build.schools(max(1, round(plan.people * 0.22 / PUPILS_PER_CLASS)))
    build.hospitals(1 + plan.people // 4_000)
    build.markets(max(1, plan.people // 350))
    build.streets(max(2, plan.people // 120))
    build.malls(1 + plan.people // 6_000)
    build.buses()
    build.borders(min(len(CHECKPOINTS), 1 + plan.people // 1_000))
    return build.premises


class _Builder:
    """Adds places one kind at a time; every name and position comes from the plan's chance."""

    def __init__(self, plan: Plan) -> None:
        self._tag: Final = plan.tag
        self._dice: Final[random.Random] = chance(plan.seed, "premises")
        self._counts: Final[dict[str, int]] = {}
        self.premises: Final = Premises([], [], {}, [], {}, [], [], [], {}, {kind: [] for kind in Outing}, {}, [], {})

    def industry(self, halls: int) -> None:
        """Parks of factories of halls, a canteen in each factory."""
        factories = -(-halls // HALLS_PER_FACTORY)
        for park_number in range(-(-factories // FACTORIES_PER_PARK)):
            name = INDUSTRIAL_PARKS[park_number % len(INDUSTRIAL_PARKS)]
            park = self._place("kcn", f"Khu công nghiệp {name}", Category.INDUSTRIAL_PARK, gates=PARK_GATES)
            for _ in range(min(FACTORIES_PER_PARK, factories - park_number * FACTORIES_PER_PARK)):
                trade, company = self._dice.choice(COMPANIES)
                factory = self._place(
                    "nha-may", f"Công ty {trade} {company}", Category.FACTORY, parent=park, gates=HALLS_PER_FACTORY
                )
                canteen = self._room("nha-an", "Nhà ăn", Category.RESTAURANT, factory, gate=0)
                self.premises.canteens[factory] = (park, factory, canteen)
                for number in range(HALLS_PER_FACTORY):
                    if len(self.premises.halls) < halls:
                        hall = self._room("xuong", f"Xưởng {number + 1}", Category.FACTORY, factory, gate=number)
                        self.premises.halls.append((park, factory, hall))

    def offices(self, count: int) -> None:
        """Companies' offices, and a ward's people's committee in every fourth building."""
        for number in range(count):
            district = self._district()
            ward = self._dice.choice(DISTRICTS[district].wards)
            if number % 4 == 0:
                desk = self._place("ubnd", f"Ủy ban nhân dân phường {ward}", Category.AGENCY, district=district)
            else:
                desk = self._place("vp", f"Công ty {self._dice.choice(OFFICES)}", Category.OFFICE, district=district)
            self.premises.desks.append((desk,))

    def schools(self, classes: int) -> None:
        """Schools of classrooms."""
        for school_number in range(-(-classes // CLASSES_PER_SCHOOL)):
            name = SCHOOLS[school_number % len(SCHOOLS)]
            school = self._place("truong", f"Trường {name}", Category.SCHOOL, gates=CLASSES_PER_SCHOOL)
            for number in range(min(CLASSES_PER_SCHOOL, classes - school_number * CLASSES_PER_SCHOOL)):
                room = self._room(
                    "lop", f"Lớp {6 + number // 2}{'AB'[number % 2]}", Category.SCHOOL, school, gate=number
                )
                self.premises.classrooms.append((school, room))

    def hospitals(self, count: int) -> None:
        """Hospitals with wards."""
        for number in range(count):
            district = number % len(DISTRICTS)
            hospital = self._place(
                "benh-vien",
                f"Bệnh viện {DISTRICTS[district].name} {number + 1}",
                Category.HEALTH_FACILITY,
                district=district,
                gates=2,
            )
            wards = tuple(
                self._room("khoa", f"Khoa {letter}", Category.HEALTH_FACILITY, hospital, gate=index % 2)
                for index, letter in enumerate("ABCD"[:WARDS_PER_HOSPITAL])
            )
            self.premises.wards.extend((hospital, ward) for ward in wards)
            self.premises.rooms[hospital] = wards
            self._offer(Outing.HOSPITAL, (hospital,))

    def markets(self, count: int) -> None:
        """Wet markets, one ward each."""
        for number in range(count):
            district = number % len(DISTRICTS)
            wards = DISTRICTS[district].wards
            ward = wards[number // len(DISTRICTS) % len(wards)]
            market = self._place("cho", f"Chợ {ward}", Category.MARKET, district=district, gates=MARKET_GATES)
            self._offer(Outing.MARKET, (market,))

    def streets(self, count: int) -> None:
        """Shops, restaurants and, more rarely, pagodas."""
        for number in range(count):
            self._offer(Outing.SHOP, (self._place("tiem", self._sign(SHOPS), Category.SHOP),))
            self._offer(Outing.RESTAURANT, (self._place("quan", self._sign(RESTAURANTS), Category.RESTAURANT),))
            if number % 5 == 0:
                self._offer(Outing.WORSHIP, (self._place("chua", self._sign(PAGODAS), Category.PLACE_OF_WORSHIP),))

    def malls(self, count: int) -> None:
        """Malls of shops, each of which scans for itself."""
        for number in range(count):
            mall = self._place("tttm", f"{MALL} {number + 1}", Category.MALL, gates=2)
            self.premises.rooms[mall] = tuple(
                self._place("quay", unit, Category.SHOP, parent=mall, dwell_seconds=90 * 60) for unit in MALL_UNITS
            )
            self._offer(Outing.MALL, (mall,))

    def buses(self) -> None:
        """A line within each district and between any two; the lines within a district run coaches with seats."""
        for one in range(len(DISTRICTS)):
            for other in range(one, len(DISTRICTS)):
                ends = (one, other)
                line = f"{DISTRICTS[one].name} – {DISTRICTS[other].name}"
                vehicles = tuple(
                    self._place("xe", f"Xe {line} số {number + 1}", Category.VEHICLE, district=one)
                    for number in range(VEHICLES_PER_ROUTE)
                )
                seats = {coach: self._seats(coach) for coach in vehicles if one == other}
                self.premises.routes[ends] = Route(ends, vehicles, seats)

    def borders(self, count: int) -> None:
        """Checkpoints on the province's roads."""
        for name in CHECKPOINTS[:count]:
            self.premises.checkpoints.append(self._place("chot", f"Chốt {name}", Category.CHECKPOINT, gates=2))

    def _seats(self, coach: str) -> tuple[str, ...]:
        return tuple(
            self._add(
                "ghe", f"Ghế {number + 1}", Category.VEHICLE, parent=coach, district=self.premises.district_of[coach]
            )
            for number in range(SEATS_PER_COACH)
        )

    def _place(
        self,
        stem: str,
        name: str,
        category: Category,
        *,
        parent: str | None = None,
        district: int | None = None,
        gates: int = 1,
        dwell_seconds: int | None = None,
    ) -> str:
        """A place with scanners at its door."""
        if parent is not None:
            district = self.premises.district_of[parent]
        elif district is None:
            district = self._district()
        place = self._add(stem, name, category, parent=parent, district=district, dwell_seconds=dwell_seconds)
        devices = tuple(f"{place}-m{gate + 1}" for gate in range(gates))
        self.premises.doors.extend(Door(device, place) for device in devices)
        self.premises.scanners[place] = devices
        return place

    def _room(self, stem: str, name: str, category: Category, building: str, *, gate: int) -> str:
        """A room that one of its building's devices scans for."""
        room = self._add(stem, name, category, parent=building, district=self.premises.district_of[building])
        self.premises.scanners[room] = (self.premises.scanners[building][gate],)
        return room

    def _add(
        self,
        stem: str,
        name: str,
        category: Category,
        *,
        parent: str | None,
        district: int,
        dwell_seconds: int | None = None,
    ) -> str:
        self._counts[stem] = self._counts.get(stem, 0) + 1
        place_id = f"{stem}-{self._counts[stem]}-{self._tag}"
        town = DISTRICTS[district]
        self.premises.places.append(
            Place(
                id=place_id,
                number=len(self.premises.places) + 1,  # the registry gives its own, see `enrol`
                name=name,
                category=category,
                parent=parent,
                dwell_seconds=dwell_seconds,
                province=PROVINCE_CODE,
                district=town.code,
                latitude=round(town.latitude + self._dice.uniform(-SCATTER_DEGREES, SCATTER_DEGREES), 5),
                longitude=round(town.longitude + self._dice.uniform(-SCATTER_DEGREES, SCATTER_DEGREES), 5),
            )
        )
        self.premises.district_of[place_id] = district
        return place_id

    def _offer(self, outing: Outing, path: Path) -> None:
        self.premises.outings[outing].append((self.premises.district_of[path[0]], path))

    def _district(self) -> int:
        return self._dice.randrange(len(DISTRICTS))

    def _sign(self, names: tuple[str, ...]) -> str:
        return f"{self._dice.choice(names)} {self._dice.randint(1, 99)}"
