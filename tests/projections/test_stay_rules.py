"""What the registries have to say about stays, as of any moment."""

import random

from events.control import (
    ControlEvent,
    DeviceEnrolled,
    DeviceKeyAdded,
    DeviceKeyRestored,
    DeviceKeyRevoked,
    PlaceRegistered,
    Recorded,
)
from events.devices import Device, DeviceKey
from events.places import Category, Place
from projections.place_history import PlaceHistory
from projections.stay_rules import StayRules


def rules(*events: tuple[int, ControlEvent]) -> StayRules:
    folded = StayRules()
    for at, event in events:
        folded.apply(Recorded(at, event))
    return folded


def place(number: int, parent: str | None = None, dwell_seconds: int | None = None, name: str = "P") -> PlaceRegistered:
    return PlaceRegistered(Place(id=f"p{number}", number=number, name=name, parent=parent, dwell_seconds=dwell_seconds))


def test_a_place_that_is_redrawn_changes_stays_and_a_new_or_renamed_one_does_not() -> None:
    folded = rules(
        (1, place(1)),
        (2, place(2)),
        (3, place(1, name="Q")),
        (4, place(1, dwell_seconds=60)),
        (5, place(2, parent="p1")),
        (6, PlaceRegistered(Place(id="p1", number=1, name="R", dwell_seconds=60, category=Category.HOTEL))),
        (7, PlaceRegistered(Place(id="p1", number=1, name="R", category=Category.HOTEL))),
    )
    assert [folded.changed(at - 1, at) for at in range(1, 8)] == [False, False, False, True, True, False, True]
    assert folded.changed(0, 7)
    assert not folded.changed(7, 100)


def test_a_redrawn_place_affects_what_lies_in_it_before_and_after() -> None:
    folded = rules(
        (1, place(1)), (1, place(2)), (1, place(3, "p1")), (1, place(4, "p3")), (1, place(5)), (2, place(3, "p2"))
    )
    assert folded.places.affected(1, 2) == {3, 4}
    assert folded.places.affected(2, 9) == set()


def test_revoking_and_restoring_a_key_changes_trust() -> None:
    key = DeviceKey(device="d", key=1, public=bytes(32), valid_from=0)
    folded = rules(
        (1, DeviceEnrolled(Device(id="d", number=7))),
        (1, DeviceKeyAdded(key)),
        (5, DeviceKeyRevoked("d", 1, 3)),
        (9, DeviceKeyRestored("d", 1)),
    )
    assert [folded.trust_changed(at - 1, at) for at in (1, 5, 7, 9)] == [False, True, False, True]
    assert folded.device_id(7) == "d"
    assert folded.device_id(8) == "#8"


def test_the_places_around_some_are_those_of_the_whole_tree() -> None:
    for seed in range(30):
        rng, history = random.Random(seed), PlaceHistory()
        for at in range(40):
            number = rng.randrange(12)
            parent = rng.choice([None, *(f"p{outer}" for outer in range(number))])
            history.add(at, Place(id=f"p{number}", number=number, name="P", parent=parent, dwell_seconds=60 + at))
        for ms in (-1, 5, 20, 39):
            named = rng.sample(range(14), 5)
            whole, around = history.tree(history.count_at(ms), named), history.around(ms, named)
            for number in named:
                assert history.known(number) == (number in around.by_number)
                if number in around.by_number:
                    found = around.by_number[number]
                    assert found == whole.by_number[number]
                    assert around.ancestors(found.id) == whole.ancestors(found.id)
