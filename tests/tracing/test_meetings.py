"""Contacts found in columns are those that are found one stay at a time."""

from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.stays import EntryKnown, ExitKnown, Stay
from projections.walk_together import DWELL, IMPUTED, MEASURED, offsets
from tests.tracing.world import name_of, pseudonym
from tracing import meetings
from tracing.meetings import Near, Sources, in_order, intervals, pairs, present
from tracing.overlap import (
    Contact,
    Encounter,
    Occupancy,
    Presence,
    contact_order,
    contacts,
    encounter,
    presences,
    united,
)
from tracing.rule import Rule
from tracing.visits import Visits, numbered, pseudonyms_of, subjects_of

PLACES: Final = ("p-b", "p-c", "p-a")
"""By number; their ids sort otherwise."""
PEOPLE: Final = ("f", "g", "a", "b", "c")

Row = tuple[str, int, int, int, bool]
"""Who, the place's number, start, end, whether the entry is imputed."""

rows = st.lists(
    st.tuples(st.sampled_from(PEOPLE), st.integers(0, 2), st.integers(0, 30), st.integers(1, 20), st.booleans()).map(
        lambda drawn: (drawn[0], drawn[1], drawn[2], drawn[2] + drawn[3], drawn[4])
    ),
    max_size=30,
    unique_by=lambda row: (row[0], row[1], row[2], row[4]),
)
windows = st.tuples(st.integers(0, 40), st.integers(1, 40)).map(lambda drawn: (drawn[0], sum(drawn)))


def visits_of(chosen: list[Row]) -> Visits:
    place, start, end, imputed = (np.array([row[field] for row in chosen], dtype=np.int64) for field in range(1, 5))
    return Visits(
        subject=subjects_of([pseudonym(row[0]) for row in chosen]),
        place=place,
        start=start,
        end=end,
        entry=np.where(imputed, IMPUTED, MEASURED),
        exit=np.full(len(chosen), DWELL),
        first=offsets(np.zeros(len(chosen), dtype=np.int64)),
        device=np.empty(0, dtype=np.int64),
        seq=np.empty(0, dtype=np.int64),
    )


def stay_of(row: Row) -> Stay:
    _, place, start, end, imputed = row
    entry = EntryKnown.IMPUTED if imputed else EntryKnown.MEASURED
    return Stay(PLACES[place], start, end, entry, ExitKnown.DWELL, ())


def stays_by_subject(chosen: list[Row]) -> dict[str, list[Stay]]:
    """As the walk orders them."""
    found: dict[str, list[Stay]] = {}
    for row in sorted(chosen, key=lambda row: row[4]):
        found.setdefault(row[0], []).append(stay_of(row))
    return {name: sorted(stays, key=lambda stay: (stay.start, stay.end, stay.place)) for name, stays in found.items()}


@given(
    chosen=rows,
    window=windows,
    alone=st.booleans(),
    lag=st.sampled_from([0, 3]),
    least=st.sampled_from([0, 1, 5, 12]),
    rule=st.sampled_from(Rule),
    step=st.sampled_from([1, 3, 1_000]),
)
@settings(max_examples=400, deadline=None)
def test_contacts_in_columns_are_those_found_one_by_one(
    chosen: list[Row], window: tuple[int, int], alone: bool, lag: int, least: int, rule: Rule, step: int
) -> None:
    """`f` and `g` together in one window, or each alone: then whoever passes with one of them counts with both."""
    stays = stays_by_subject(chosen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meetings, "PAIRS_A_STEP", step)
        found = in_columns(chosen, window, alone, lag, least, rule)
    assert found == one_by_one(stays, window, alone, lag, least, rule)


@given(chosen=rows, window=windows, lag=st.sampled_from([0, 3]))
@settings(max_examples=400, deadline=None)
def test_near_are_the_stays_that_meet_a_source_and_no_others(
    chosen: list[Row], window: tuple[int, int], lag: int
) -> None:
    visits, index = visits_of(chosen), subjects_of([pseudonym("f"), pseudonym("g")])
    there = present(Sources(np.zeros(2, dtype=np.int64), index, *(np.full(2, moment) for moment in window)), visits)
    if len(there.place):
        near = np.flatnonzero(Near(there, lag)(visits))
        assert near.tolist() == sorted(set(pairs(there, visits, lag).visit.tolist()))


def one_by_one(
    stays: dict[str, list[Stay]], window: tuple[int, int], alone: bool, lag: int, least: int, rule: Rule
) -> list[Contact]:
    others, met = Occupancy(stays), dict[str, list[Encounter]]()
    for group in (["f"], ["g"]) if alone else (["f", "g"],):
        index = [one for name in group for one in presences(name, stays.get(name, []), *window)]
        for contact in contacts(index, others, lag_ms=lag, min_ms=least, rule=rule, leave_out={"f", "g"}):
            met.setdefault(contact.subject, []).extend(contact.encounters)
    return sorted((united(name, each) for name, each in met.items()), key=contact_order)


def in_columns(
    chosen: list[Row], window: tuple[int, int], alone: bool, lag: int, least: int, rule: Rule
) -> list[Contact]:
    visits, index = visits_of(chosen), subjects_of([pseudonym("f"), pseudonym("g")])
    sources = Sources(np.array([0, int(alone)]), index, *(np.full(2, moment) for moment in window))
    there = present(sources, visits)
    met = meetings.contacts(pairs(there, visits, lag), there, visits, index, min_ms=least, rule=rule)
    ranks = np.argsort(np.argsort(PLACES))
    if rule is Rule.TOTAL and not alone:
        together = meetings.contacts_of_all(there, visits, lag, index, min_ms=least)
        for ours, theirs in zip(together[:5], met[:5], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    met = in_order(met, there, visits, visits, ranks[visits.place[met.pairs.visit]])
    starts, ends, first = intervals(met)
    every = [
        encounter(Presence(name_of(source), start, end, stay_of(chosen[own])), stay_of(chosen[other]), lag)
        for source, start, end, own, other in zip(
            pseudonyms_of(there.subject[met.pairs.present]),
            there.start[met.pairs.present].tolist(),
            there.end[met.pairs.present].tolist(),
            there.visit[met.pairs.present].tolist(),
            met.pairs.visit.tolist(),
            strict=True,
        )
    ]
    found = []
    for number, subject in enumerate(pseudonyms_of(met.subject)):
        encounters = every[met.first[number] : met.first[number + 1]]
        union = zip(starts.tolist(), ends.tolist(), strict=True)
        contact = Contact(
            name_of(subject),
            int(met.ms[number]),
            tuple(union)[first[number] : first[number + 1]],
            tuple(one for one in encounters if one is not None),
        )
        assert (contact.first, contact.last) == (met.start[number], met.end[number])
        found.append(contact)
    return found


def test_everybody_is_numbered_in_order_even_where_pseudonyms_begin_alike() -> None:
    names = ["ffffffff-b", "a", "ffffffff-a", "a", "ffffffff-b"]
    people, who = numbered(subjects_of([pseudonym(name) for name in names]))
    assert [name_of(subject) for subject in pseudonyms_of(people)] == ["a", "ffffffff-a", "ffffffff-b"]
    assert who.tolist() == [2, 0, 1, 0, 2]
