"""What somebody is, folded from what was declared, and lists over everybody against folding each by hand."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.cases import Case
from events.people import Source, SourceKind, State, StateChange
from storage.clickhouse import Store
from tracing.people.quarantine import SUBJECTS_A_FOLD, Standings, counted, listed
from tracing.people.states import CONFINED, PeopleStates, Standing, confirmed, standing_at

WHO = "00112233445566778899aabbccddeeff"
ORDER = Source(kind=SourceKind.ORDER, id="QD-1")
EVER = 4_000_000_000_000


def change(state: State, at: int, *, subject: str = WHO, until: int | None = None, source: str = "QD-1") -> StateChange:
    return StateChange(
        subject=subject, state=state, at=at, until=until, source=Source(kind=SourceKind.ORDER, id=source)
    )


def after(*states: State) -> State | None:
    standing = standing_at([change(state, at) for at, state in enumerate(states)], EVER)
    return standing.state if standing else None


def test_nothing_declared_is_nothing() -> None:
    assert standing_at([], EVER) is None


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((State.F1,), State.F1),
        ((State.F1, State.F0), State.F0),
        ((State.F1, State.RELEASED), State.RELEASED),
        ((State.F2, State.F1), State.F1),
        ((State.F1, State.F2), State.F1),
        ((State.F0, State.F1), State.F0),
        ((State.F0, State.F2), State.F0),
        ((State.F0, State.RELEASED), State.F0),
        ((State.F0, State.RECOVERED), State.RECOVERED),
        ((State.F0, State.RECOVERED, State.F1), State.F1),
        ((State.F0, State.RECOVERED, State.F0), State.F0),
        ((State.F1, State.RECOVERED), State.F1),
        ((State.RECOVERED,), None),
        ((State.RELEASED,), None),
        ((State.F1, State.RELEASED, State.F2), State.F2),
    ],
)
def test_what_may_follow_what(states: tuple[State, ...], expected: State | None) -> None:
    assert after(*states) == expected


def test_what_was_declared_later_does_not_count_before() -> None:
    changes = [change(State.F1, 10), change(State.F0, 20)]
    assert [standing and standing.state for standing in (standing_at(changes, at) for at in (9, 10, 19, 20))] == [
        None,
        State.F1,
        State.F1,
        State.F0,
    ]


def test_a_state_declared_again_moves_its_end_and_keeps_its_beginning() -> None:
    changes = [change(State.F1, 10, until=100), change(State.F1, 20, until=200, source="QD-2")]
    assert standing_at(changes, EVER) == Standing(
        state=State.F1, since=10, until=200, source=Source(kind=SourceKind.ORDER, id="QD-2")
    )


def test_of_two_states_at_one_time_the_graver_holds() -> None:
    both = [change(State.F0, 10), change(State.F1, 10)]
    assert standing_at(both, 10) == standing_at(both[::-1], 10)
    assert (standing_at(both, 10) or pytest.fail("nothing")).state is State.F0


@given(
    declared=st.lists(st.tuples(st.sampled_from(State), st.integers(0, 9)), max_size=8),
    seed=st.randoms(),
    at=st.integers(0, 9),
)
def test_the_order_of_arrival_does_not_matter(declared: list[tuple[State, int]], seed: random.Random, at: int) -> None:
    changes = [change(state, when, source=f"QD-{number}") for number, (state, when) in enumerate(declared)]
    shuffled = changes.copy()
    seed.shuffle(shuffled)
    assert standing_at(changes, at) == standing_at(shuffled, at)


def test_what_is_recorded_is_read_once_however_often_it_comes(store: Store) -> None:
    states = PeopleStates(store)
    declared = [change(State.F1, 1_000, until=2_000), change(State.RELEASED, 3_000)]
    for recorded in (10, 20):
        states.record(declared, recorded=recorded, actor="Bác sĩ Hà")
    found = states.of([WHO, "f" * 32])
    assert found.keys() == {WHO}
    assert sorted(found[WHO], key=lambda one: one.at) == declared


def test_lists_and_counts_are_what_folding_each_gives(store: Store) -> None:
    chance = random.Random(5)
    states = PeopleStates(store)
    subjects = [f"{chance.getrandbits(128):032x}" for _ in range(SUBJECTS_A_FOLD + 300)]
    declared = {
        subject: [
            change(chance.choice(list(State)), chance.randrange(100), subject=subject, until=chance.choice([None, 50]))
            for _ in range(chance.randrange(1, 4))
        ]
        for subject in subjects
    }
    states.record([one for changes in declared.values() for one in changes], recorded=1, actor="x")
    strangers = [f"{chance.getrandbits(128):032x}" for _ in range(40)]
    cases = [
        Case(id=f"f0-{number}", subject=subject, confirmed_at=40, infectious_from=0, infectious_to=40)
        for number, subject in enumerate([*strangers, *subjects[:40]])
    ]
    for case in cases:
        declared.setdefault(case.subject, []).append(confirmed(case))
    standings = {subject: standing_at(changes, 60) for subject, changes in declared.items()}
    expected = [
        subject
        for subject, standing in sorted(standings.items())
        if standing is not None and standing.state in CONFINED
    ]
    assert set(strangers) <= set(expected)
    for limit in (7, 100, len(expected), len(expected) + 1):
        read: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page, cursor = listed(states, cases, Standings(at=60, states=CONFINED), after=cursor, limit=limit)
            assert cursor is None or len(page) == limit
            read += [one.subject for one in page]
            assert len(read) <= len(expected)
            if limit == 7 and len(read) > 100:
                break
        assert read == expected[: len(read)]
        assert len(read) == len(expected) or limit == 7
    counts = Counter(standing.state for standing in standings.values() if standing is not None)
    assert counted(states, cases, 60) == {state: counts[state] for state in State}
    due, _ = listed(states, cases, Standings(at=60, states={State.F1}, due_before=51), after="", limit=10_000)
    assert due
    assert all(one.standing.until == 50 and one.overdue for one in due)
