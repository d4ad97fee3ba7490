"""The walk, step by step: how stays open and end, and which scans prove them."""

import pytest

from events.places import Place, PlaceTree
from projections.stays import EntryKnown, ExitKnown, Sighting, Stay, walk

MINUTE = 60_000
HOUR = 60 * MINUTE
T0 = 1_634_889_600_000
LATER = T0 + 1_000 * HOUR

PLACES = PlaceTree(
    [
        Place(id="mall", number=1, name="Mall", dwell_seconds=3 * 3600),
        Place(id="cafe", number=2, name="Café", parent="mall", dwell_seconds=3600),
        Place(id="seat", number=3, name="Seat", parent="cafe", dwell_seconds=3600),
        Place(id="factory", number=4, name="Factory", dwell_seconds=7 * 3600),
    ]
)


def entered(minute: int, place: str, device: str = "d", seq: int | None = None) -> Sighting:
    return Sighting(T0 + minute * MINUTE, True, device, minute if seq is None else seq, place)


def left(minute: int, place: str, device: str = "d", seq: int | None = None) -> Sighting:
    return Sighting(T0 + minute * MINUTE, False, device, minute if seq is None else seq, place)


def stay(place: str, start: int, end: int, known: tuple[EntryKnown, ExitKnown], *seqs: int) -> Stay:
    return Stay(place, T0 + start * MINUTE, T0 + end * MINUTE, *known, tuple(("d", seq) for seq in seqs))


MEASURED = (EntryKnown.MEASURED, ExitKnown.MEASURED)
MOVED = (EntryKnown.MEASURED, ExitKnown.MOVED)
DWELL = (EntryKnown.MEASURED, ExitKnown.DWELL)
OPEN = (EntryKnown.MEASURED, ExitKnown.OPEN)
IMPUTED = (EntryKnown.IMPUTED, ExitKnown.MEASURED)


def test_entry_and_exit_prove_a_stay() -> None:
    assert walk([entered(1, "mall"), left(30, "mall")], PLACES, LATER) == [stay("mall", 1, 30, MEASURED, 1, 30)]


def test_without_exit_the_dwell_ends_it() -> None:
    assert walk([entered(1, "cafe")], PLACES, LATER) == [stay("cafe", 1, 61, DWELL, 1)]


def test_exit_at_the_limit_comes_too_late_and_is_an_exit_without_entry() -> None:
    assert walk([entered(1, "cafe"), left(61, "cafe")], PLACES, LATER) == [
        stay("cafe", 1, 61, DWELL, 1),
        stay("cafe", 1, 61, IMPUTED, 61),
    ]


def test_rescan_extends_and_proves() -> None:
    assert walk([entered(1, "cafe"), entered(50, "cafe")], PLACES, LATER) == [stay("cafe", 1, 110, DWELL, 1, 50)]


def test_moving_elsewhere_ends_every_open_stay() -> None:
    walked = walk([entered(1, "mall"), entered(2, "cafe"), entered(10, "factory")], PLACES, T0 + 20 * MINUTE)
    assert walked == [
        stay("mall", 1, 10, MOVED, 1, 10),
        stay("cafe", 2, 10, MOVED, 2, 10),
        stay("factory", 10, 20, OPEN, 10),
    ]


def test_rooms_keep_their_buildings_open_and_buildings_end_their_rooms() -> None:
    walked = walk(
        [entered(1, "mall"), entered(2, "seat"), left(5, "seat"), entered(6, "cafe"), left(20, "mall")], PLACES, LATER
    )
    assert walked == [
        stay("mall", 1, 20, MEASURED, 1, 20),
        stay("seat", 2, 5, MEASURED, 2, 5),
        stay("cafe", 6, 20, MOVED, 6, 20),
    ]


def test_missed_entry_starts_a_dwell_before_the_exit() -> None:
    assert walk([left(90, "cafe")], PLACES, LATER) == [stay("cafe", 30, 90, IMPUTED, 90)]


def test_missed_entry_is_bounded_and_proven_by_the_scan_before() -> None:
    assert walk([entered(1, "factory"), left(31, "cafe")], PLACES, LATER) == [
        stay("cafe", 1, 31, IMPUTED, 1, 31),
        stay("factory", 1, 31, MOVED, 1, 31),
    ]


def test_missed_entry_right_after_another_scan_is_no_stay() -> None:
    assert walk([entered(5, "factory", seq=1), left(5, "cafe", seq=2)], PLACES, T0 + 5 * MINUTE) == [
        stay("cafe", -55, 5, IMPUTED, 2)
    ]
    assert walk([left(5, "cafe", seq=1), left(5, "cafe", seq=2)], PLACES, LATER) == [stay("cafe", -55, 5, IMPUTED, 1)]


def test_out_comes_before_in_at_the_same_time() -> None:
    walked = walk([entered(1, "cafe"), entered(9, "cafe", seq=8), left(9, "cafe", seq=9)], PLACES, T0 + 10 * MINUTE)
    assert walked == [stay("cafe", 1, 9, MEASURED, 1, 9), stay("cafe", 9, 10, OPEN, 8)]


def test_devices_are_ordered_as_text_then_by_seq() -> None:
    scans = [entered(1, place, device, seq) for place, device, seq in (("cafe", "d-9", 1), ("factory", "d-10", 5))]
    (last,) = walk(scans, PLACES, T0 + 2 * MINUTE)
    assert last.place == "cafe"
    (last,) = walk([entered(1, "cafe", seq=10), entered(1, "factory", seq=9)], PLACES, T0 + 2 * MINUTE)
    assert last.place == "cafe"


def test_no_stay_is_longer_than_a_day() -> None:
    walked = walk([entered(minute, "factory") for minute in range(0, 31 * 60, 360)], PLACES, LATER)
    assert walked == [
        stay("factory", 0, 1440, DWELL, 0, 360, 720, 1080),
        stay("factory", 1440, 1800 + 420, DWELL, 1440, 1800),
    ]


def test_equal_rows_count_once() -> None:
    assert walk([left(90, "cafe"), left(90, "cafe")], PLACES, LATER) == [stay("cafe", 30, 90, IMPUTED, 90)]
    (once,) = walk([entered(1, "cafe")] * 3, PLACES, LATER)
    assert once.scans == (("d", 1),)


@pytest.mark.parametrize("as_of_minute", [0, 1])
def test_a_clock_ahead_of_as_of_makes_no_stay(as_of_minute: int) -> None:
    assert walk([entered(1, "cafe")], PLACES, T0 + as_of_minute * MINUTE) == []


@pytest.mark.parametrize(("as_of_minute", "known"), [(60, OPEN), (61, DWELL), (62, DWELL)])
def test_a_stay_is_open_until_its_limit(as_of_minute: int, known: tuple[EntryKnown, ExitKnown]) -> None:
    walked = walk([entered(1, "cafe")], PLACES, T0 + as_of_minute * MINUTE)
    assert walked == [stay("cafe", 1, min(as_of_minute, 61), known, 1)]


def test_nobody_was_nowhere() -> None:
    assert walk([], PLACES, LATER) == []


def test_an_unknown_place_is_an_error() -> None:
    with pytest.raises(KeyError):
        walk([entered(1, "moon")], PLACES, LATER)
