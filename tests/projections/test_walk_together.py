"""The walk of many subjects at once gives what the plain walk gives of each, which is checked against the oracle."""

import random
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.places import Place, PlaceTree
from projections.places_together import UNPLACED, PlaceTable
from projections.stays import Sighting, walk
from projections.walk_together import GONE, UNENDED, Scans, in_order, walk_together

START: Final = 1_634_860_800_000
MINUTE_MS: Final = 60_000
DEVICES: Final = {1: "d-9", 2: "d-10", 3: "d-a"}
FOREVER: Final = 2**60
ENTRIES: Final = {1: "measured", 2: "imputed"}
EXITS: Final = {1: "measured", 2: "moved", 3: "dwell", 4: "open"}

Row = tuple[int, int, bool, int, int, int]
"""Subject, at, enters, device, seq, place: numbers."""
Walked = list[tuple[str, int, int, str, str, tuple[tuple[str, int], ...]]]


def columns(rows: list[Row]) -> Scans:
    table = np.array(rows, dtype=np.int64).reshape(-1, 6)
    return Scans(table[:, 0], table[:, 1], table[:, 2].astype(np.bool_), table[:, 3], table[:, 4], table[:, 5])


def together(rows: list[Row], tree: PlaceTree, as_of: int) -> dict[int, Walked]:
    scans = in_order(columns(rows), DEVICES.__getitem__)
    stays = walk_together(scans, PlaceTable(tree))
    assert GONE not in stays.exit.tolist()
    found: dict[int, Walked] = {}
    for number in range(len(stays.start)):
        start, end, exit_known = int(stays.start[number]), int(stays.end[number]), int(stays.exit[number])
        if exit_known == UNENDED and end <= as_of:
            exit_known = 3
        elif exit_known == UNENDED:
            end = as_of
        proving = stays.scans[stays.first[number] : stays.first[number + 1]].tolist()
        proof = tuple((DEVICES[int(scans.device[row])], int(scans.seq[row])) for row in proving)
        place = tree.by_number[int(stays.place[number])].id
        if start < end:
            stay = (place, start, end, ENTRIES[int(stays.entry[number])], EXITS[exit_known], proof)
            found.setdefault(int(stays.subject[number]), []).append(stay)
    return {subject: sorted(stays) for subject, stays in found.items()}


def one_by_one(rows: list[Row], tree: PlaceTree, as_of: int) -> dict[int, Walked]:
    seen: dict[int, list[Sighting]] = {}
    for subject, at, enters, device, seq, place in rows:
        sighting = Sighting(at, enters, DEVICES[device], seq, tree.by_number[place].id)
        seen.setdefault(subject, []).append(sighting)
    walked = {
        subject: sorted(
            (stay.place, stay.start, stay.end, str(stay.entry), str(stay.exit), stay.scans)
            for stay in walk(sightings, tree, as_of)
        )
        for subject, sightings in seen.items()
    }
    return {subject: stays for subject, stays in walked.items() if stays}


def nested(dwells: list[int], parents: list[int | None]) -> PlaceTree:
    """Places with far apart numbers; each parent is one before."""
    return PlaceTree(
        Place(
            id=f"p{number}",
            number=number * 50_001 + 3,
            name="P",
            parent=None if parent is None or parent >= number else f"p{parent}",
            dwell_seconds=dwell,
        )
        for number, (dwell, parent) in enumerate(zip(dwells, parents, strict=True))
    )


trees = st.integers(1, 6).flatmap(
    lambda count: st.builds(
        nested,
        st.lists(st.sampled_from([60, 600, 3_600, 9 * 3_600, 12 * 3_600]), min_size=count, max_size=count),
        st.lists(st.one_of(st.none(), st.integers(0, 4)), min_size=count, max_size=count),
    )
)


@given(tree=trees, data=st.data())
def test_random_scans_in_nested_places(tree: PlaceTree, data: st.DataObject) -> None:
    numbers = sorted(tree.by_number)
    steps = data.draw(st.sampled_from([12, 60, 60 * 12]))
    draws = data.draw(
        st.lists(
            st.tuples(
                st.integers(0, 2),
                st.integers(0, steps),
                st.sampled_from([True, True, False]),
                st.sampled_from(list(DEVICES)),
                st.sampled_from(numbers),
            ),
            max_size=60,
        )
    )
    rows = [
        (subject, START + step * 5 * MINUTE_MS, enters, device, seq, place)
        for seq, (subject, step, enters, device, place) in enumerate(draws)
    ]
    as_of = START + data.draw(st.integers(0, steps)) * 5 * MINUTE_MS
    for moment in (FOREVER, as_of):
        assert together([*rows, *rows[::3]], tree, moment) == one_by_one(rows, tree, moment)


@pytest.mark.parametrize("seed", range(6))
def test_thousands_of_scans(seed: int) -> None:
    """Busy people who come back all the time, so that re-scans make chains of days; times coincide."""
    rng = random.Random(seed)
    count = rng.choice([2, 5, 40])
    dwells = [rng.choice([600, 3_600, 9 * 3_600, 12 * 3_600]) for _ in range(count)]
    tree = nested(dwells, [rng.choice([None, *range(count)]) for _ in range(count)])
    numbers, minutes = sorted(tree.by_number), rng.choice([300, 3 * 1_440, 14 * 1_440])
    rows = [
        (
            rng.randrange(40),
            START + rng.randrange(minutes) * MINUTE_MS,
            rng.random() < 0.75,
            rng.choice(list(DEVICES)),
            seq,
            rng.choice(numbers),
        )
        for seq in range(6_000)
    ]
    assert together(rows, tree, FOREVER) == one_by_one(rows, tree, FOREVER)


def test_a_chain_of_rescans_is_cut_after_a_day() -> None:
    tree = nested([12 * 3_600], [None])
    rows = [(0, START + hour * 60 * MINUTE_MS, True, 1, hour, 3) for hour in range(0, 100, 4)]
    rows += [(0, START + hour * 60 * MINUTE_MS, False, 1, hour, 3) for hour in (100, 101)]
    assert together(rows, tree, FOREVER) == one_by_one(rows, tree, FOREVER)


def test_nobody_and_nowhere() -> None:
    assert together([], PlaceTree([]), FOREVER) == {}


def test_the_device_ids_decide_between_scans_of_one_moment() -> None:
    """They sort as d-10, d-9, d-a; the numbers do not."""
    tree = nested([3_600, 3_600, 3_600], [None, None, None])
    numbers = sorted(tree.by_number)
    rows = [(0, START, True, device, 1, numbers[device - 1]) for device in DEVICES]
    assert together(rows, tree, FOREVER) == one_by_one(rows, tree, FOREVER)
    assert together(rows, tree, FOREVER)[0][0][0] == "p2"


def test_subjects_and_times_that_do_not_fit_into_one_number() -> None:
    tree = nested([3_600], [None])
    rows = [(subject, at, True, 1, at, 3) for subject in (2**61, 5) for at in (2**41, 0)]
    assert together(rows, tree, FOREVER) == one_by_one(rows, tree, FOREVER)


def test_places_by_number_however_far_apart() -> None:
    for numbers in ([1, 2, 3], [1, 4_000_000_000, 2**32 - 1]):
        table = PlaceTable(PlaceTree(Place(id=f"p{number}", number=number, name="P") for number in numbers))
        assert table.rows(np.array([*numbers, 7, 2**32 - 2])).tolist() == [0, 1, 2, UNPLACED, UNPLACED]
    assert PlaceTable(PlaceTree([])).rows(np.array([0, 2**32 - 1])).tolist() == [UNPLACED, UNPLACED]


def test_places_that_are_added_later_lie_in_those_before() -> None:
    tree = nested([60, 120, 180], [None, 0, 1])
    table = PlaceTable(PlaceTree([tree.by_id["p0"]]))
    table.add(tree)
    one_go = PlaceTable(tree)
    numbers = np.array(sorted(tree.by_number))
    for outer in numbers:
        rows, outers = table.rows(numbers), np.repeat(table.rows(np.array([outer])), 3)
        again, outers_again = one_go.rows(numbers), np.repeat(one_go.rows(np.array([outer])), 3)
        assert table.within(rows, outers).tolist() == one_go.within(again, outers_again).tolist()
    assert table.dwell_of(numbers).tolist() == [60_000, 120_000, 180_000]
