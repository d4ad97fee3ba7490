"""Encounters of two stays, contacts of many."""

import pytest

from projections.stays import EntryKnown, ExitKnown, Stay
from tracing.overlap import Encounter, Occupancy, Presence, contacts, encounter, presences, united
from tracing.rule import Rule


def stay(start: int, end: int, place: str = "cafe") -> Stay:
    return Stay(place, start, end, EntryKnown.MEASURED, ExitKnown.MEASURED, (("d", start),))


def present(start: int, end: int, place: str = "cafe", subject: str = "f") -> Presence:
    return Presence(subject, start, end, stay(start, end, place))


@pytest.mark.parametrize(
    ("other", "lag", "expected"),
    [
        ((0, 100), 0, None),
        ((200, 300), 0, None),
        ((50, 150), 0, (100, 150, 50, 0)),
        ((150, 250), 0, (150, 200, 50, 0)),
        ((150, 250), 30, (150, 230, 50, 30)),
        ((200, 300), 30, (200, 230, 0, 30)),
        ((229, 300), 30, (229, 230, 0, 1)),
        ((230, 300), 30, None),
        ((0, 300), 30, (100, 230, 100, 30)),
        ((120, 130), 30, (120, 130, 10, 0)),
    ],
)
def test_exposure_is_direct_then_lagged(
    other: tuple[int, int], lag: int, expected: tuple[int, int, int, int] | None
) -> None:
    met = encounter(present(100, 200), stay(*other), lag)
    assert (met and (met.start, met.end, met.direct_ms, met.lagged_ms)) == expected


def test_elsewhere_nobody_meets() -> None:
    assert encounter(present(100, 200, "cafe"), stay(100, 200, "bus"), 0) is None


def test_presences_are_clipped_and_keep_their_stay() -> None:
    stays = [stay(0, 10), stay(5, 25), stay(20, 40), stay(40, 50)]
    clipped = presences("f", stays, 10, 40)
    assert [(each.start, each.end, each.stay) for each in clipped] == [(10, 25, stays[1]), (20, 40, stays[2])]


def test_the_lag_starts_where_the_window_ends() -> None:
    (clipped,) = presences("f", [stay(0, 100)], 0, 50)
    met = encounter(clipped, stay(60, 200), 20)
    assert met is not None
    assert (met.start, met.end, met.direct_ms, met.lagged_ms) == (60, 70, 0, 10)


def test_occupancy_finds_long_stays_that_began_before() -> None:
    others = Occupancy({"a": [stay(0, 1_000), stay(990, 991)], "b": [stay(5, 6), stay(1_000, 1_001)]})
    assert list(others.around("cafe", 500, 1_000)) == [("a", stay(0, 1_000)), ("a", stay(990, 991))]
    assert list(others.around("bus", 0, 1_000)) == []


def contacts_in(
    others: dict[str, list[Stay]], *, lag: int = 0, least: int = 1, rule: Rule = Rule.TOTAL, index: list[Presence]
) -> list[tuple[str, int]]:
    found = contacts(index, Occupancy(others), lag_ms=lag, min_ms=least, rule=rule, leave_out={"f", "g"})
    return [(contact.subject, contact.ms) for contact in found]


def test_contacts_are_ordered_longest_first_then_by_subject() -> None:
    others = {"c": [stay(0, 10)], "b": [stay(0, 10)], "a": [stay(0, 5)], "d": [stay(0, 30)], "g": [stay(0, 30)]}
    assert contacts_in(others, index=[present(0, 20)]) == [("d", 20), ("b", 10), ("c", 10), ("a", 5)]


@pytest.mark.parametrize(
    ("rule", "least", "met"), [("total", 17, True), ("encounter", 17, False), ("encounter", 9, True)]
)
def test_rules_ask_for_the_whole_or_for_one_encounter(rule: str, least: int, met: bool) -> None:
    others = {"a": [stay(0, 8), stay(50, 59)]}
    found = contacts_in(others, rule=Rule(rule), least=least, index=[present(0, 100)])
    assert found == ([("a", 17)] if met else [])


def test_no_exposure_is_no_contact_even_where_nothing_is_asked_for() -> None:
    assert contacts_in({"a": [stay(10, 20)]}, least=0, index=[present(0, 10)]) == []


def test_several_index_subjects_are_united_and_counted_once() -> None:
    index = [present(0, 20), present(10, 30, subject="g"), present(100, 110, "bus", "g")]
    (contact,) = contacts(
        index,
        Occupancy({"a": [stay(5, 25), stay(100, 104, "bus")]}),
        lag_ms=0,
        min_ms=1,
        rule=Rule.TOTAL,
        leave_out={"f", "g"},
    )
    assert contact.intervals == ((5, 25), (100, 104))
    assert (contact.ms, contact.first, contact.last) == (24, 5, 104)
    assert [(one.index, one.start, one.end) for one in contact.encounters] == [
        ("f", 5, 20),
        ("g", 10, 25),
        ("g", 100, 104),
    ]


def test_exposures_that_touch_are_one_interval() -> None:
    met = [Encounter("f", "cafe", *times, 1, 0, stay(0, 9), stay(0, 9)) for times in ((4, 6), (0, 2), (2, 4), (8, 9))]
    assert united("a", met).intervals == ((0, 6), (8, 9))
