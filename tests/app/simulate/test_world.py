"""One plan, one world; and the world is one that people could live in."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import msgspec
import pytest

from app.simulate.movements import Visit
from app.simulate.people import Shows
from app.simulate.plan import DAYS_MAX, PEOPLE_MAX, Plan, local_midnight, weekday
from app.simulate.world import World, build_world
from events import codec
from events.devices import DeviceId
from events.places import Category, Place, PlaceTree
from events.scans import Kind
from keys.pseudonyms import citizen_number_error
from tests.app.simulate.conftest import NOON, SMALL

DIGEST = """
import hashlib
from app.simulate.world import build_world
from events import codec
from tests.app.simulate.conftest import SMALL
print(hashlib.sha256(codec.to_msgpack(build_world(SMALL))).hexdigest())
"""


def digest(world: World) -> str:
    return hashlib.sha256(codec.to_msgpack(world)).hexdigest()


def everything(visits: list[Visit] | tuple[Visit, ...]) -> Iterator[Visit]:
    for visit in visits:
        yield visit
        yield from everything(visit.rooms)


def test_same_plan_same_world_to_the_byte(world: World) -> None:
    assert digest(build_world(SMALL)) == digest(world)


def test_same_world_in_another_process_with_another_hash_seed(world: World) -> None:
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    run = subprocess.run([sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == digest(world)


@pytest.mark.parametrize(
    "other",
    [{"seed": 8}, {"people": 121}, {"days": 5}, {"end": NOON - 3_600_000}],
    ids=lambda change: next(iter(change)),
)
def test_another_plan_shares_neither_places_nor_devices_nor_people(world: World, other: dict[str, int]) -> None:
    another = build_world(msgspec.structs.replace(SMALL, **other))
    assert not {place.id for place in world.premises.places} & {place.id for place in another.premises.places}
    assert not world.taken.keys() & another.taken.keys()


def test_plans_have_limits() -> None:
    for values in ({"people": PEOPLE_MAX + 1}, {"people": 1}, {"days": DAYS_MAX + 1}, {"seed": -1}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"end": NOON, **values}, Plan)


def test_midnights_are_vietnams() -> None:
    assert [NOON - midnight for midnight in SMALL.midnights] == [hours * 3_600_000 for hours in (84, 60, 36, 12)]
    assert local_midnight(SMALL.midnights[0]) == SMALL.midnights[0]
    assert local_midnight(SMALL.midnights[0] - 1) == SMALL.midnights[0] - 86_400_000
    assert weekday(SMALL.midnights[-1]) == 4


def test_places_and_devices_are_what_the_registry_takes(busy_world: World) -> None:
    places = busy_world.premises.places
    for place in places:
        msgspec.convert(msgspec.to_builtins(place), Place)
    for device in busy_world.taken:
        msgspec.convert(device, DeviceId)
    tree = PlaceTree(places)
    assert len(tree) == len(places), "place ids are unique"
    hall = busy_world.premises.halls[0]
    assert tree.ancestors(hall[2]) == (hall[1], hall[0]), "a hall lies in a factory in a park"
    assert {place.category for place in places} >= {
        Category.INDUSTRIAL_PARK,
        Category.FACTORY,
        Category.SCHOOL,
        Category.MARKET,
        Category.SHOP,
        Category.RESTAURANT,
        Category.VEHICLE,
        Category.CHECKPOINT,
    }


def test_rooms_have_scanners_of_their_building(busy_world: World) -> None:
    premises = busy_world.premises
    tree = PlaceTree(premises.places)
    owner = {door.device: door.place for door in premises.doors}
    for place, devices in premises.scanners.items():
        assert devices
        assert all(tree.within(place, owner[device]) for device in devices)


def test_nobody_is_in_two_places_at_once(busy_world: World) -> None:
    tree = PlaceTree(busy_world.premises.places)

    def check(visits: list[Visit] | tuple[Visit, ...], start: int, end: int, around: str | None) -> None:
        reached = start
        for visit in visits:
            assert reached <= visit.start < visit.end <= end
            assert around is None or tree.by_id[visit.place].parent == around
            check(visit.rooms, visit.start, visit.end, visit.place)
            reached = visit.end

    for life in busy_world.lives:
        check(life, busy_world.plan.midnights[0], busy_world.plan.end, None)


def test_stays_are_as_long_as_people_stay(busy_world: World) -> None:
    category = {place.id: place.category for place in busy_world.premises.places}
    minutes: dict[Category, list[float]] = {}
    for life in busy_world.lives:
        for visit in everything(life):
            minutes.setdefault(category[visit.place], []).append((visit.end - visit.start) / 60_000)
    assert max(minutes[Category.CHECKPOINT]) < 5
    assert 20 < sum(minutes[Category.VEHICLE]) / len(minutes[Category.VEHICLE]) < 35
    assert max(minutes[Category.INDUSTRIAL_PARK]) < 13 * 60
    shoppers = [length for length in minutes[Category.MARKET] if length < 120]
    assert 15 < sum(shoppers) / len(shoppers) < 60


def test_citizen_numbers_have_the_form_but_are_nobodys(busy_world: World) -> None:
    numbers = [person.citizen_number for person in busy_world.people]
    assert len(set(numbers)) == len(numbers)
    assert all(citizen_number_error(number) is None for number in numbers)
    assert all(number[3] in "89" for number in numbers), "born between 2300 and 2399"


def test_everything_that_goes_wrong_in_life_happens(busy_world: World) -> None:
    attempts = [taken.attempt for scans in busy_world.taken.values() for taken in scans]
    kinds = Counter(attempt.kind for attempt in attempts)
    assert kinds[Kind.PASS] > 0
    assert 0.75 < kinds[Kind.OUT] / kinds[Kind.IN] < 0.95, "some exits are forgotten, most are not"
    assert any(attempt.stale for attempt in attempts)
    assert any(isinstance(attempt.who, str) for attempt in attempts), "cars pass checkpoints"
    assert any(attempt.device.startswith("dt-") for attempt in attempts), "phones scan walls"
    assert {person.shows for person in busy_world.people} == set(Shows)
    assert all(attempt.at < busy_world.plan.end for attempt in attempts)
