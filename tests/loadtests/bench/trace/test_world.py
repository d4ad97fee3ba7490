"""The country is a pure function, and its log is one that the sink could have laid."""

import numpy as np

from events.control import DeviceEnrolled, DeviceKeyAdded, PlaceRegistered
from events.places import PlaceTree
from events.scans import KIND_NUMBER
from loadtests.bench.trace.walk import walked
from loadtests.bench.trace.world import PROVINCES, STAYS_A_PERSON, new_country
from tests.loadtests.bench.trace.countries import END_MS, SMALL, rows_of

ORDINARY = new_country(rows=200_000, end_ms=END_MS)


def test_a_province_is_the_same_whoever_asks_for_it() -> None:
    assert (rows_of(SMALL, 3) == rows_of(SMALL, 3)).all()
    assert len(rows_of(SMALL, 3)) != len(rows_of(SMALL, 4))


def test_every_device_counts_without_a_hole_in_the_order_of_time() -> None:
    rows = rows_of(SMALL, 0)
    for device in np.unique(rows["device"]):
        own = rows[rows["device"] == device]
        own = own[np.argsort(own["seq"])]
        assert (own["seq"] == np.arange(1, len(own) + 1)).all()
        assert (np.diff(own["at"]) >= 0).all()
        assert (np.diff(own["received"]) >= 0).all()


def test_scans_are_received_after_they_happened_and_before_the_world_ends() -> None:
    rows = rows_of(SMALL, 0)
    assert (rows["at"] >= SMALL.start_ms).all()
    assert (rows["received"] > rows["at"]).all()
    assert (rows["received"] <= SMALL.end_ms).all()
    assert ((rows["received"] - rows["at"]) > 3_600_000).any()


def test_nobody_is_in_two_scans_at_once_and_every_kind_comes_up() -> None:
    rows = rows_of(ORDINARY, 0)
    assert len(np.unique(np.rec.fromarrays([rows["subject"].view("S16"), rows["at"]]))) == len(rows)
    assert set(rows["kind"]) == set(KIND_NUMBER.values())


def test_the_registries_know_every_place_and_device_of_the_log() -> None:
    events = list(SMALL.events())
    places = PlaceTree(event.place for event in events if isinstance(event, PlaceRegistered))
    devices = {event.device.number: event.device.id for event in events if isinstance(event, DeviceEnrolled)}
    keys = {event.key.device for event in events if isinstance(event, DeviceKeyAdded)}
    rows = np.concatenate([rows_of(SMALL, province) for province in range(PROVINCES)])
    assert set(rows["place"].tolist()) <= places.by_number.keys()
    assert set(rows["device"].tolist()) <= devices.keys()
    assert keys == set(devices.values())
    assert min(places.by_number) == min(devices) == SMALL.others + 1
    assert len(places) == PROVINCES * SMALL.places
    assert any(places.ancestors(place) for place in places.by_id)


def test_people_have_as_many_stays_as_the_number_of_rows_promises() -> None:
    stays = len(walked(ORDINARY, 0, ORDINARY.end_ms))
    assert abs(stays / ORDINARY.people / STAYS_A_PERSON - 1) < 0.1


def test_popularity_falls_by_zipfs_law() -> None:
    stays = walked(ORDINARY, 0, ORDINARY.end_ms)
    visits = np.bincount(stays.place[stays.place < ORDINARY.premises], minlength=ORDINARY.premises)
    quarter = ORDINARY.premises // 4
    # The n-th place is visited n^-0.5 times as often as the first: the first quarter has half of all visits.
    assert 0.4 < visits[:quarter].sum() / visits.sum() < 0.6
