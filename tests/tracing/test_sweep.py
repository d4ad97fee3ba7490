"""Sweeps: every point is what a trace with these parameters finds, with what rests on assumed ends."""

from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from events import problems
from events.problems import ProblemError
from storage.clickhouse import Store
from tests.tracing.cases import WorkedCase, place_list, worked_cases
from tests.tracing.test_answer import BUS, CAFE, DAY, MINUTE, T0, about, scan, visit
from tests.tracing.world import World, question_of
from tests.tracing.worlds import worlds
from tracing.answer import AnsweredContact
from tracing.question import Question
from tracing.rule import Rule
from tracing.sweep import GRID_POINTS_MAX, Grid, Sweep, SweepPoint, checked, sweep

GRID: Final = Grid(min_seconds=(0, 600, 900, 3_600), lag_seconds=(0, 420, 3_600))
TRACED_OF: Final = 5
"""One point of so many is asked for as a trace: each case others, and all cases together every one."""


@pytest.fixture
def world(read_models: Store) -> World:
    """A café and a bus; the clock stands two days later."""
    world = World(read_models, [CAFE, BUS])
    world.now = T0 + 2 * DAY
    return world


def swept(world: World, question: Question, grid: Grid = GRID) -> Sweep:
    """The grid, as the service does it."""
    widest = msgspec.structs.replace(question, min_seconds=grid.min_seconds[0], lag_seconds=grid.lag_seconds[-1])
    return sweep(world.tracer().search(widest), grid)


def point(found: Sweep, min_seconds: int, lag_seconds: int) -> SweepPoint:
    (one,) = [each for each in found.points if (each.min_seconds, each.lag_seconds) == (min_seconds, lag_seconds)]
    return one


def test_a_point_counts_contacts_and_what_would_go_without_assumed_ends(world: World) -> None:
    """A scanned in and out; B never out; C only out; all with the case, who is measured."""
    world.deliver([*visit("f", 0, 50), *visit("a", 0, 40), scan("b", 10, "in", seq=1), scan("c", 30, "out", seq=2)])
    one = point(swept(world, about("f")), 900, 0)
    assert (one.contacts, one.by_depth, one.exposure_ms) == (3, (3,), (40 + 40 + 30) * MINUTE)
    shares = {name: getattr(one.assumed, name) for name in ("any", "imputed", "dwell", "open")}
    assert {name: (share.contacts, share.exposure_ms // MINUTE) for name, share in shares.items()} == {
        "any": (2, 70),
        "imputed": (1, 30),
        "dwell": (1, 40),
        "open": (0, 0),
    }
    assert (one.assumed.any.contacts_share, one.assumed.any.exposure_share) == (0.6667, 0.6364)


def test_whoever_has_enough_measured_exposure_remains_without_the_rest(world: World) -> None:
    world.deliver([*visit("f", 0, 50), *visit("a", 0, 20), scan("a", 30, "in", seq=9)])
    found = swept(world, about("f"))
    assert point(found, 900, 0).assumed.dwell.contacts == 0
    assert point(found, 900, 0).assumed.dwell.exposure_ms == 20 * MINUTE
    assert point(found, 3_600, 0).contacts == 0
    assert point(found, 3_600, 0).assumed.any.contacts_share == 0.0


def test_the_points_come_in_order_and_the_whole_has_a_fingerprint(world: World) -> None:
    world.deliver([*visit("f", 0, 50), *visit("a", 0, 20)])
    found = swept(world, about("f"))
    keys = [(each.min_seconds, each.lag_seconds) for each in found.points]
    assert keys == sorted(keys)
    assert len(keys) == 12
    assert (found.question.min_seconds, found.question.lag_seconds) == (0, 3_600)
    assert found.fingerprint == swept(world, about("f")).fingerprint
    assert found.fingerprint != swept(world, about("f", depth=2)).fingerprint


def test_a_grid_is_ordered_and_limited() -> None:
    assert checked(Grid(min_seconds=(9, 3, 9), lag_seconds=(5, 0))) == Grid(min_seconds=(3, 9), lag_seconds=(0, 5))
    wide = Grid(min_seconds=tuple(range(21)), lag_seconds=tuple(range(10)))
    with pytest.raises(ProblemError) as caught:
        checked(wide)
    assert caught.value.problem.type == problems.GRID_TOO_LARGE.problem().type
    assert str(GRID_POINTS_MAX) in caught.value.problem.detail


def test_a_search_that_is_narrower_than_the_grid_is_refused(world: World) -> None:
    for narrow in (about("f", min_seconds=1, lag_seconds=3_600), about("f", min_seconds=0, lag_seconds=0)):
        with pytest.raises(ProblemError):
            sweep(world.tracer().search(narrow), GRID)


def test_whom_a_narrow_point_infects_earlier_is_found_with_all_they_met_since(world: World) -> None:
    """At the widest point X is F1, by a moment in the evening; at 15 minutes A had infected X long before Y came."""
    world.deliver([*visit("f", 0, 30), *visit("a", 0, 30), *visit("a", 40, 70, "bus"), *visit("x", 40, 70, "bus")])
    world.deliver([*visit("x", 300, 330), *visit("y", 300, 330), *visit("x", 600, 605), *visit("f", 600, 605)])
    found = swept(world, about("f", depth=3), Grid(min_seconds=(0, 900), lag_seconds=(0,)))
    assert point(found, 0, 0).by_depth == (2, 0, 0)
    assert point(found, 900, 0).by_depth == (1, 1, 1)


def vanishing(contacts: list[AnsweredContact], rule: Rule, min_ms: int) -> int:
    """How many contacts would be none without assumed ends, second by second."""
    gone = 0
    for contact in contacts:
        sure = [
            one
            for one in contact.encounters
            if {one.stay.entry, one.index_stay.entry} == {"measured"}
            and not {one.stay.exit, one.index_stay.exit} & {"dwell", "open"}
        ]
        seconds: set[int] = set()
        for one in sure:
            seconds |= set(range(one.start // 1000, one.end // 1000))
        most = max((one.end - one.start for one in sure), default=0)
        enough = len(seconds) * 1000 >= min_ms if rule is Rule.TOTAL else most >= min_ms
        gone += not (sure and enough)
    return gone


def assert_equal_to_traces(store: Store, case: WorkedCase, first: int) -> int:
    """Every fifth point from the `first` on against a trace of its own; how many contacts the widest has."""
    world = World(store, place_list(case.places))
    world.deliver(case.scans)
    question = question_of(case)
    found = swept(world, question)
    for one in found.points[first % TRACED_OF :: TRACED_OF]:
        answer: Any = world.tracer().trace(
            msgspec.structs.replace(question, min_seconds=one.min_seconds, lag_seconds=one.lag_seconds)
        )
        depths = [contact.depth for contact in answer.contacts]
        assert one.contacts == len(depths)
        assert one.by_depth == tuple(depths.count(depth) for depth in range(1, case.query.depth + 1))
        assert one.exposure_ms == sum(contact.ms for contact in answer.contacts)
        assert one.assumed.any.contacts == vanishing(answer.contacts, case.query.rule, one.min_seconds * 1000)
    return max(one.contacts for one in found.points)


NUMBERED: Final = [
    pytest.param(*case.values, number, id=case.id, marks=case.marks) for number, case in enumerate(worked_cases())
]


@pytest.mark.parametrize(("case", "first"), NUMBERED)
def test_the_points_of_the_worked_cases_are_traces(case: WorkedCase, first: int, read_models: Store) -> None:
    assert_equal_to_traces(read_models, case, first)


@given(case=worlds(), first=st.integers(0, TRACED_OF - 1))
@settings(
    max_examples=8, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_points_of_random_worlds_are_traces(case: WorkedCase, first: int, read_models: Store) -> None:
    event(f"contacts: {min(assert_equal_to_traces(read_models, case, first), 3)}")
