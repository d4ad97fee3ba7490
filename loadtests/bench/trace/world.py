"""The country that the scans come from, as a pure function: who was scanned where and when in fourteen days.

Ten provinces, alike in size, that nobody leaves: a tenth of the data is the first of them, and whoever lives there has
the same surroundings in a tenth as in all. A day has four slots, and in a slot somebody may visit one of their
province's premises: one of their usual ones or any other, popular ones more often (Zipf). The most popular premises
hold rooms, shops and the like. Some exits and entries are missed, some people are scanned again, some devices send
hours later.

Everything comes in columns, one element a person: a day of a province is a list of moments, in everybody's order of
time.
"""

import functools
from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from events.control import ControlEvent, PlaceRegistered
from events.devices import Device
from events.places import Category, Place
from events.scans import HOW_NUMBER, KIND_NUMBER, LOG_ROW, How, Kind
from keys.enrolment import FIRST_KEY, enrolled
from loadtests.bench.world import Bytes, Uints, mixed

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

PROVINCES: Final = 10
DAYS: Final = 14
STAYS_A_PERSON: Final = 50
"""About so many stays has somebody in all days; a test holds the world to it."""
PEOPLE_A_PLACE: Final = 10
PEOPLE_MIN: Final = 40
PREMISES_MIN: Final = 12
ROOMS: Final = 13
"""So many rooms, shops or stalls have the premises that hold any."""
WITH_ROOMS_PART: Final = 1 / 20
ZIPF_EXPONENT: Final = 0.5
"""The n-th most popular premises are visited n^-0.5 times as often as the most popular ones. With 1 the first
would have a tenth of all visits."""
USUAL: Final = 3

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
SLOTS: Final = 4
SLOT_MS: Final = 4 * HOUR_MS
NIGHT_MS: Final = DAY_MS - SLOTS * SLOT_MS
"""A day begins with its night, so that the last scans are made right before the world ends."""
VISIT_MS_MIN: Final = 12 * 60_000
VISIT_MS_SPAN: Final = 66 * 60_000
SLOT_REST_MS: Final = 5 * 60_000
"""No visit reaches into the last minutes of its slot."""
SEND_MS: Final = 30_000
"""A device sends what it has scanned so often."""

VISITING: Final = 0.645
AT_USUAL: Final = 0.7
SCANNED_AGAIN: Final = 0.05
ENTRY_MISSED: Final = 0.03
EXIT_MISSED: Final = 0.1
ENTERS_ROOM: Final = 0.8
SECOND_ROOM: Final = 0.5
ROOM_EXIT_MISSED: Final = 0.3
OFFLINE: Final = 0.03
"""The parts of all slots, visits and devices' slots that these concern."""

LOG_ROWS: Final = np.dtype(
    [
        ("device", "<u4"),
        ("key", "<u2"),
        ("seq", "<u8"),
        ("at", "<i8"),
        ("received", "<i8"),
        ("place", "<u4"),
        ("subject", "V16"),
        ("kind", "u1"),
        ("how", "u1"),
    ]
)
"""`events.scans.LOG_ROW` in columns."""
assert LOG_ROWS.itemsize == LOG_ROW.size

WITH_ROOMS: Final = (
    (Category.MALL, Category.SHOP),
    (Category.OFFICE, Category.AGENCY),
    (Category.MARKET, Category.SHOP),
    (Category.SCHOOL, Category.OTHER),
    (Category.HEALTH_FACILITY, Category.OTHER),
)
WITHOUT_ROOMS: Final = (
    Category.SHOP,
    Category.RESTAURANT,
    Category.MARKET,
    Category.OFFICE,
    Category.PLACE_OF_WORSHIP,
    Category.SHOP,
    Category.RESTAURANT,
    Category.AGENCY,
    Category.FACTORY,
    Category.SHOP,
    Category.RESTAURANT,
    Category.TRANSPORT_STATION,
    Category.HOTEL,
    Category.MARKET,
    Category.SHOP,
    Category.CHECKPOINT,
)

IN, OUT, PASS = (np.uint8(KIND_NUMBER[kind]) for kind in (Kind.IN, Kind.OUT, Kind.PASS))
_UNIT: Final = 2.0**-16
_PERSON: Final = np.uint64(0x5045_0000_0000)
_PLACE: Final = np.uint64(0x504C_0000_0000)
_DEVICE: Final = np.uint64(0x4445_0000_0000)


class Moment(msgspec.Struct, frozen=True):
    """At most one scan of each person: whether there is one, Unix ms, the place's rank, number of `Kind`.

    A rank below the number of premises is such, by popularity; the rooms come after them.
    """

    there: Flags
    at: Ints
    place: Ints
    kind: Bytes


class Country(msgspec.Struct, frozen=True, kw_only=True):
    """`people` and `premises` are those of one province. The last scan is made before `end_ms`.

    The registries' numbers of its places and devices begin after `others`.
    """

    seed: int
    people: int
    premises: int
    end_ms: int
    others: int = 0

    @property
    def start_ms(self) -> int:
        """When the first day begins."""
        return self.end_ms - DAYS * DAY_MS

    @property
    def with_rooms(self) -> int:
        """How many premises of a province have rooms."""
        return max(int(self.premises * WITH_ROOMS_PART), 1)

    @property
    def places(self) -> int:
        """How many places a province has, rooms included."""
        return self.premises + self.with_rooms * ROOMS

    def parents(self) -> Ints:
        """The rank of each place's premises; −1 for premises themselves."""
        rooms = np.repeat(np.arange(self.with_rooms), ROOMS)
        return np.concatenate([np.full(self.premises, -1), rooms]).astype(np.int64)

    def category(self, rank: int) -> Category:
        """What a place of this rank is."""
        if rank >= self.premises:
            return WITH_ROOMS[(rank - self.premises) // ROOMS % len(WITH_ROOMS)][1]
        if rank < self.with_rooms:
            return WITH_ROOMS[rank % len(WITH_ROOMS)][0]
        return WITHOUT_ROOMS[rank % len(WITHOUT_ROOMS)]

    def dwells(self) -> Ints:
        """Each place's dwell in ms, by rank."""
        return np.array([self.place(0, rank, 0).dwell_ms for rank in range(self.places)], dtype=np.int64)

    def numbers(self, province: int) -> Ints:
        """The registry's number of each place, by rank: neighbours in number are not alike in popularity."""
        scattered = np.argsort(mixed(np.arange(self.places, dtype=np.uint64) + _PLACE))
        return (scattered + (self.others + province * self.places + 1)).astype(np.int64)

    def devices(self, province: int) -> Ints:
        """The registry's number of the device that scans at each place: one for premises and their rooms."""
        parents = self.parents()
        owners = np.where(parents < 0, np.arange(self.places), parents)
        return owners + (self.others + province * self.premises + 1)

    def place(self, province: int, rank: int, number: int) -> Place:
        """A place as the registry has it; `number` is `numbers(province)[rank]`."""
        parent = (rank - self.premises) // ROOMS if rank >= self.premises else None
        return Place(
            id=_place_id(province, rank),
            number=number,
            name=f"{self.category(rank).value} {rank + 1}",
            category=self.category(rank),
            parent=None if parent is None else _place_id(province, parent),
        )

    def events(self) -> Iterator[ControlEvent]:
        """Every place and device of the country, as the control stream tells of them."""
        public = [_public_key(seed.tobytes()) for seed in self._key_seeds()]
        for province in range(PROVINCES):
            numbers, devices = self.numbers(province), self.devices(province)
            for rank in range(self.places):
                yield PlaceRegistered(self.place(province, rank, int(numbers[rank])))
            for rank in range(self.premises):
                number = int(devices[rank])
                place = _place_id(province, rank)
                yield from enrolled(Device(id=f"gate-{number}", number=number, place=place), public[rank], 0)

    def subjects(self, province: int) -> Bytes:
        """The pseudonyms of a province's people: rows of 16 bytes."""
        index = np.arange(self.people, dtype=np.uint64) + np.uint64(province * self.people)
        low = mixed(index + (np.uint64(self.seed) ^ _PERSON))
        return np.stack([low, mixed(low)], axis=1).view(np.uint8).reshape(self.people, 16)

    def day(self, province: int, day: int) -> Iterator[Moment]:
        """The moments of a day, earliest first for everybody."""
        person = np.arange(self.people, dtype=np.uint64) + np.uint64(province * self.people)
        usual = mixed(mixed(person + np.uint64(self.seed)) + _PLACE)
        for slot in range(SLOTS):
            start = self.start_ms + day * DAY_MS + NIGHT_MS + slot * SLOT_MS
            drawn = mixed(mixed(person + np.uint64(self.seed << 8)) + np.uint64(day * SLOTS + slot))
            yield from self._visit(start, drawn, usual)

    def rows(self, province: int, day: int, seqs: Ints, subjects: NDArray[np.void]) -> NDArray[np.void]:
        """The day as rows of the log, by device and seq. `seqs`: how far each device of the province has counted,
        by rank of its premises; it is moved on. `subjects` are the province's, an element each.
        """
        moments = list(self.day(province, day))
        there = np.stack([moment.there for moment in moments])
        at = np.stack([moment.at for moment in moments])[there]
        place = np.stack([moment.place for moment in moments])[there]
        kind = np.stack([moment.kind for moment in moments])[there]
        person = np.broadcast_to(np.arange(self.people), there.shape)[there]
        parents = self.parents()
        owner = np.where(parents < 0, np.arange(self.places), parents)[place]
        since = at - (self.start_ms + day * DAY_MS)
        order = np.argsort((owner << 27) | since, kind="stable")
        at, place, kind, person, owner = at[order], place[order], kind[order], person[order], owner[order]
        counts = np.bincount(owner, minlength=self.premises)
        rows = np.empty(len(at), LOG_ROWS)
        rows["device"] = owner + (self.others + province * self.premises + 1)
        rows["key"] = FIRST_KEY
        rows["seq"] = np.arange(len(at)) - (np.cumsum(counts) - counts)[owner] + seqs[owner] + 1
        rows["at"] = at
        rows["received"] = self._received(rows["device"], at)
        rows["place"] = self.numbers(province)[place]
        rows["subject"] = subjects[person]
        rows["kind"] = kind
        rows["how"] = HOW_NUMBER[How.CODE]
        seqs += counts
        return rows

    def _visit(self, start: int, drawn: Uints, usual: Uints) -> Iterator[Moment]:
        """The moments of a slot that begins at `start`; `drawn` and `usual` are random numbers, one a person."""
        where, when, ways, rooms = (mixed(drawn + np.uint64(salt)) for salt in range(4))
        place = self._place(where, usual)
        length = VISIT_MS_MIN + (VISIT_MS_SPAN * _unit(when, 0) ** 2).astype(np.int64)
        room_for = SLOT_MS - SLOT_REST_MS - VISIT_MS_MIN - VISIT_MS_SPAN
        at = start + (_unit(when, 2) * room_for).astype(np.int64) + (when >> np.uint64(54)).astype(np.int64)
        ins, outs = np.full(len(at), IN), np.full(len(at), OUT)
        visits = _unit(where, 0) < VISITING
        passes = (place >= self.with_rooms) & (place % len(WITHOUT_ROOMS) == len(WITHOUT_ROOMS) - 1)
        stays = visits & ~passes
        in_room = stays & (place < self.with_rooms) & (_unit(ways, 0) < ENTERS_ROOM)
        in_second = in_room & (_unit(rooms, 1) < SECOND_ROOM)
        room = self.premises + place * ROOMS + (rooms & np.uint64(0xFFFF)).astype(np.int64) % (ROOMS - 1)
        second = np.where(in_second, room + 1, room)
        yield Moment(visits & ~(stays & (_unit(ways, 1) < ENTRY_MISSED)), at, place, np.where(passes, PASS, IN))
        yield Moment(stays & (_unit(ways, 2) < SCANNED_AGAIN), at + length // 10, place, ins)
        for there, spot, enters, leaves, missed in (
            (in_room, room, 2, 9, _unit(ways, 3) < ROOM_EXIT_MISSED),
            (in_second, second, 10, 18, _unit(rooms, 2) < ROOM_EXIT_MISSED),
        ):
            yield Moment(there, at + length * enters // 20 + 1, spot, ins)
            yield Moment(there & ~missed, at + length * leaves // 20, spot, outs)
        yield Moment(stays & (_unit(rooms, 3) >= EXIT_MISSED), at + length, place, outs)

    def _place(self, where: Uints, usual: Uints) -> Ints:
        """The premises of each person's visit, by rank."""
        which = mixed(usual + (where >> np.uint64(32)) % np.uint64(USUAL))
        drawn = np.where(_unit(where, 1) < AT_USUAL, which, mixed(where))
        unit = (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return (self.premises * unit ** (1 / (1 - ZIPF_EXPONENT))).astype(np.int64)

    def _received(self, device: NDArray[np.void], at: Ints) -> Ints:
        """When the log took each scan in: when its device sent next, which for some is at the end of the slot."""
        own = mixed(device.astype(np.uint64) + _DEVICE)
        phase = (own % np.uint64(SEND_MS)).astype(np.int64)
        sent = at + SEND_MS - (at + phase) % SEND_MS
        slot = (at - self.start_ms) // SLOT_MS
        offline = _unit(mixed(own + slot.astype(np.uint64)), 0) < OFFLINE
        return np.where(offline, self.start_ms + (slot + 1) * SLOT_MS - phase // 2, sent)

    def _key_seeds(self) -> Bytes:
        """The seeds of the keys of a province's devices, 32 bytes each. They sign nothing here, and those of the other
        provinces have the same.
        """
        base = np.arange(self.premises * 4, dtype=np.uint64) + (np.uint64(self.seed) ^ _DEVICE)
        return mixed(mixed(base)).view(np.uint8).reshape(self.premises, 32)


def new_country(*, rows: int, end_ms: int, seed: int = 1, others: int = 0) -> Country:
    """A country with about so many stays; its places and people are as many as go with them."""
    people = max(rows // STAYS_A_PERSON // PROVINCES, PEOPLE_MIN)
    premises = max(round(people / PEOPLE_A_PLACE / (1 + WITH_ROOMS_PART * ROOMS)), PREMISES_MIN)
    return Country(seed=seed, people=people, premises=premises, end_ms=end_ms, others=others)


@functools.cache
def place_ids(country: Country, province: int) -> dict[int, str]:
    """The id of each place by its number."""
    return {int(number): _place_id(province, rank) for rank, number in enumerate(country.numbers(province))}


def _public_key(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def _place_id(province: int, rank: int) -> str:
    return f"place-{province}-{rank + 1}"


def _unit(drawn: Uints, part: int) -> NDArray[np.float64]:
    """The 16 bits of this part of each number as one in [0, 1)."""
    return ((drawn >> np.uint64(16 * part)) & np.uint64(0xFFFF)).astype(np.float64) * _UNIT
