"""The fold of the control stream, now and as of then."""

import logging

import pytest

from events.access import Role, Token
from events.cases import Case, Subject
from events.control import (
    CaseConfirmed,
    ControlEvent,
    DeviceEnrolled,
    DeviceKeyAdded,
    DeviceKeyRevoked,
    PlaceRegistered,
    Recorded,
    SubjectAdded,
    TokenIssued,
    TokenRevoked,
)
from events.devices import Device, DeviceKey
from events.places import PLACE_DEPTH_MAX, Place
from projections.place_history import PLACE_TREES_KEPT
from tracing.registry import Registry


def registry(*events: tuple[int, ControlEvent]) -> Registry:
    folded = Registry()
    for at, event in events:
        folded.apply(Recorded(at, event))
    return folded


def registered(number: int, parent: int | None = None, dwell_seconds: int = 60) -> PlaceRegistered:
    return PlaceRegistered(
        Place(
            id=f"p{number}",
            number=number,
            name=f"Place {number}",
            parent=None if parent is None else f"p{parent}",
            dwell_seconds=dwell_seconds,
        )
    )


def case(case_id: str, infectious_to: int = 9) -> Case:
    return Case(id=case_id, subject="a" * 32, confirmed_at=9, infectious_from=1, infectious_to=infectious_to)


def test_places_are_as_they_were() -> None:
    folded = registry((10, registered(1)), (20, registered(2, 1)), (30, registered(1, dwell_seconds=120)))
    assert len(folded.places_as_of(9)) == 0
    assert set(folded.places_as_of(10).by_id) == {"p1"}
    assert folded.places_as_of(29).by_id["p1"].dwell_ms == 60_000
    assert folded.places_as_of(30).by_id["p1"].dwell_ms == 120_000
    assert folded.places().ancestors("p2") == ("p1",)


def test_trees_are_built_once_and_only_a_few_are_kept() -> None:
    folded = registry(*((at, registered(1, dwell_seconds=60 + at)) for at in range(PLACE_TREES_KEPT + 2)))
    assert folded.places_as_of(1) is folded.places_as_of(1)
    first = folded.places_as_of(1)
    for at in range(2, PLACE_TREES_KEPT + 2):
        folded.places_as_of(at)
    again = folded.places_as_of(1)
    assert again is not first
    assert again.by_id == first.by_id
    folded.apply(Recorded(50, registered(2)))
    assert "p2" in folded.places().by_id


def test_a_place_named_before_it_was_registered_joins_in_its_earliest_version() -> None:
    folded = registry(
        (10, registered(1)),
        (20, registered(2)),
        (21, registered(3, 2, 90)),
        (30, registered(3, 2, 120)),
        (31, registered(4)),
    )
    tree = folded.places_as_of(15, naming=[1, 3, 77])
    assert set(tree.by_id) == {"p1", "p2", "p3"}
    assert tree.by_id["p3"].dwell_ms == 90_000
    assert tree.ancestors("p3") == ("p2",)
    assert set(folded.places_as_of(15).by_id) == {"p1"}


def test_a_place_that_breaks_the_tree_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    chain = [(number, registered(number, number - 1 if number else None)) for number in range(PLACE_DEPTH_MAX + 2)]
    with caplog.at_level(logging.WARNING):
        folded = registry(*chain, (90, registered(50, 49)), (91, registered(0, 5)), (92, registered(60, 60)))
    tree = folded.places()
    assert len(tree) == PLACE_DEPTH_MAX + 1
    assert tree.ancestors("p5") == ("p4", "p3", "p2", "p1", "p0")
    assert len(caplog.records) == 4


def test_a_place_may_move() -> None:
    folded = registry((1, registered(1)), (2, registered(2)), (3, registered(3, 1)), (4, registered(3, 2)))
    assert folded.places_as_of(3).ancestors("p3") == ("p1",)
    assert folded.places().ancestors("p3") == ("p2",)


def test_cases_have_versions() -> None:
    folded = registry(
        (10, CaseConfirmed(case("c2"))), (20, CaseConfirmed(case("c1"))), (30, CaseConfirmed(case("c2", 99)))
    )
    assert [each.id for each in folded.cases()] == ["c1", "c2"]
    assert folded.case("c2") == case("c2", 99)
    assert folded.case("c3") is None
    assert folded.case_as_of("c2", 29) == case("c2")
    assert folded.case_as_of("c2", 30) == case("c2", 99)
    assert folded.case_as_of("c2", 5) == case("c2")
    assert folded.case_as_of("c3", 99) is None


def test_devices_and_revocations() -> None:
    folded = registry(
        (1, DeviceEnrolled(Device(id="door", number=7))),
        (2, DeviceKeyAdded(DeviceKey(device="door", key=1, public=bytes(32), valid_from=0))),
        (30, DeviceKeyRevoked("door", 1, 5)),
    )
    assert folded.device_id(7) == "door"
    assert folded.device_id(8) == "#8"
    assert folded.revocations_as_of(29) == {}
    assert folded.revocations_as_of(30) == {(7, 1): 5}
    assert folded.keyring.device("door") is not None


def test_tokens_and_subjects() -> None:
    token = Token(id="t1", name="Analyst", role=Role.ANALYST, sha256=bytes(32), expires=99)
    folded = registry((1, TokenIssued(token)), (2, SubjectAdded(Subject(subject="b" * 32))))
    assert folded.tokens_by_sha256 == {bytes(32): token}
    assert folded.subject("b" * 32) == Subject(subject="b" * 32)
    assert folded.subject("c" * 32) is None
    folded.apply(Recorded(3, TokenRevoked("t1")))
    folded.apply(Recorded(4, TokenRevoked("t9")))
    assert folded.tokens_by_sha256[bytes(32)].revoked
