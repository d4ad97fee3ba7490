"""Shared places and people met, against counting cell by cell."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.cases import Case
from projections.stays import Stay
from tests.tracing.outbreak.grids import (
    CELL,
    CELLS,
    PARENTS,
    TREE,
    cells_of,
    crowds,
    inside,
    ms,
    present,
    spans,
    stay_at,
)
from tracing.outbreak.backward import (
    GAPS_SECONDS,
    RankedPerson,
    RankedSpan,
    SharedSpan,
    best_people,
    best_spans,
    met_while_infectious,
    people_met,
    shared_spans,
)
from tracing.outbreak.chance import chance
from tracing.outbreak.places import Premises
from tracing.overlap import Presence

PREMISES = Premises(TREE)
Crowd = dict[str, list[Stay]]
windows = st.one_of(st.just((0, CELLS + 6)), spans)


@st.composite
def exposed_crowds(draw: st.DrawFn) -> dict[str, list[Presence]]:
    crowd = draw(crowds)
    return present(crowd, {subject: draw(windows) for subject in crowd})


def flat(exposed: dict[str, list[Presence]]) -> list[Presence]:
    return [one for each in exposed.values() for one in each]


def spans_by_counting(visits: list[Presence], least: int, gap_cells: int) -> set[tuple[str, int, int, frozenset[str]]]:
    """At each place the runs of cells with somebody in them, holes of at most the gap filled up."""
    found: set[tuple[str, int, int, frozenset[str]]] = set()
    for place in PARENTS:
        here = [one for one in visits if inside(one.stay.place, place)]
        taken = sorted(set().union(*(cells_of(one) for one in here)))
        runs: list[list[int]] = []
        for cell in taken:
            if runs and cell - runs[-1][-1] - 1 <= gap_cells:
                runs[-1].append(cell)
            else:
                runs.append([cell])
        for run in runs:
            who = frozenset(one.subject for one in here if cells_of(one) & set(run))
            if len(who) >= least:
                found.add((place, ms(run[0]), ms(run[-1] + 1), who))
    return found


@given(exposed_crowds(), st.integers(2, 3))
@settings(max_examples=60)
def test_shared_spans_are_those_that_counting_finds(exposed: dict[str, list[Presence]], least: int) -> None:
    visits = flat(exposed)
    expected: set[tuple[str, int, int, frozenset[str]]] = set()
    for gap in GAPS_SECONDS:
        expected |= spans_by_counting(visits, least, gap * 1000 // CELL)
    found = shared_spans(visits, PREMISES, least)
    assert {(one.place, one.start, one.end, one.subjects) for one in found} == expected
    assert len(found) == len(expected)
    for one in found:
        here = {each for each in visits if inside(each.stay.place, one.place)}
        assert set(one.presences) == {each for each in here if one.start <= each.start and each.end <= one.end}
        assert one.ms == sum(len(cells_of(each)) * CELL for each in one.presences)


@given(exposed_crowds())
def test_a_better_span_that_explains_as_much_silences_a_worse_one(exposed: dict[str, list[Presence]]) -> None:
    ranked = [
        RankedSpan(span, chance(explained=len(span.subjects), eligible=8, around=(number * 7) % 23 + 4, population=100))
        for number, span in enumerate(shared_spans(flat(exposed), PREMISES, 2))
    ]
    best = best_spans(ranked, PREMISES)
    surprises = [one.chance.log10_chance for one in best]
    assert surprises == sorted(surprises)
    for one in ranked:
        better = [
            other
            for other in best
            if other.chance.log10_chance <= one.chance.log10_chance
            and one.span.subjects <= other.span.subjects
            and other.span.start < one.span.end
            and one.span.start < other.span.end
            and (inside(one.span.place, other.span.place) or inside(other.span.place, one.span.place))
        ]
        assert better  # itself, where it was kept
    for one, other in pairwise(best):
        assert one.span != other.span


@settings(max_examples=60)
@given(crowds, st.data(), st.sampled_from([0, 1, 3]), st.sampled_from([1, 3]), st.integers(2, 3))
def test_people_met_are_those_that_counting_finds(
    crowd: Crowd, data: st.DataObject, lag: int, least_cells: int, least: int
) -> None:
    f0 = data.draw(st.lists(st.sampled_from(sorted(crowd)), unique=True, min_size=1))
    exposed = present(crowd, {subject: data.draw(windows) for subject in f0})
    expected: dict[str, dict[str, int]] = {}
    for other, there in crowd.items():
        for subject, visits in exposed.items():
            together: set[int] = set()
            for visit in visits:
                for stay in there:
                    if stay.place == visit.stay.place:
                        air = {cell for cell in range(CELLS + 20) if stay.start <= ms(cell) < stay.end + lag * CELL}
                        together |= cells_of(visit) & air
            if other != subject and len(together) >= least_cells:
                expected.setdefault(other, {})[subject] = len(together) * CELL
    expected = {other: met for other, met in expected.items() if len(met) >= least}
    found = people_met(exposed, crowd, lag_ms=lag * CELL, min_ms=least_cells * CELL, least=least)
    assert {other: {one.subject: one.ms for one in met} for other, met in found.items()} == expected
    for other, meetings in found.items():
        for meeting in meetings:
            for one in meeting.encounters:
                assert one.index == other
                assert one.index_stay in crowd[other]
                assert one.stay in crowd[meeting.subject]
                assert any(visit.start <= one.start and one.end <= visit.end for visit in exposed[meeting.subject])


def test_whoever_was_infectious_at_the_time_comes_first() -> None:
    crowd = {"x": [stay_at("bus", 0, 4)], "y": [stay_at("bus", 0, 4)], "s": [stay_at("bus", 0, 4)]}
    exposed = present(crowd, {"x": (0, 10), "y": (0, 10)})
    met = people_met(exposed, crowd, lag_ms=0, min_ms=CELL, least=2)
    assert set(met) == {"s"}
    (meetings,) = met.values()

    def case(from_cell: int, to_cell: int) -> Case:
        return Case(id="c", subject="0" * 32, confirmed_at=0, infectious_from=ms(from_cell), infectious_to=ms(to_cell))

    assert met_while_infectious(meetings, [case(3, 9)]) == 2
    assert met_while_infectious(meetings, [case(4, 9)]) == 0
    assert met_while_infectious(meetings, []) == 0
    rare = chance(explained=2, eligible=2, around=3, population=1_000)
    often = chance(explained=2, eligible=2, around=500, population=1_000)
    people = [
        RankedPerson("stranger", meetings, (), 0, rare),
        RankedPerson("cashier", meetings, (), 1, often),
        RankedPerson("source", meetings, ("c",), 2, often),
    ]
    assert [one.subject for one in best_people(people, 2)] == ["source", "stranger", "cashier"]


@pytest.mark.parametrize("cell", [0, 5])
def test_one_who_was_there_alone_shares_nothing(cell: int) -> None:
    alone = present({"x": [stay_at("bus", cell, cell + 2)]}, {"x": (0, 20)})
    assert shared_spans(flat(alone), PREMISES, 2) == []


def test_a_span_says_who_and_how_long() -> None:
    span = SharedSpan("bus", ms(0), ms(6), tuple(flat(present({"x": [stay_at("bus", 0, 6)]}, {"x": (1, 4)}))))
    assert span.subjects == frozenset("x")
    assert span.ms == 3 * CELL
