"""An answer is the same to the byte whether stays were settled before it was asked for, or walked from scans then."""

from typing import Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events import codec, problems
from events.places import Place
from events.problems import ProblemError
from events.scans import Kind
from storage.clickhouse import Store
from storage.settled import SettledMark
from tests.tracing.cases import CaseScan, WorkedCase, counted, place_list
from tests.tracing.world import FOREVER, Arriving, World, name_of, pseudonym, question_of
from tests.tracing.worlds import MINUTE_MS, SPAN_STEPS, START_MS, STEP_MS, worlds
from tracing import queries, reading
from tracing.bounds import AT_ONCE
from tracing.question import Index, Question

HOUR: Final = 3_600_000
CAFE: Final = Place(id="cafe", number=1, name="Café", dwell_seconds=3600)
BUS: Final = Place(id="bus", number=2, name="Bus")
AFTER_ALL: Final = START_MS + 90 * HOUR

HOURS: Final = (queries.STAY_HOURS_A_QUERY, 1)
"""So many places and hours are read at once: all together, or place by place, and then only who was near is kept."""

moments = st.one_of(st.just(AFTER_ALL), st.integers(0, SPAN_STEPS).map(lambda step: START_MS + step * STEP_MS))


@given(case=worlds(), marks=st.lists(moments, min_size=1, max_size=2), told=st.booleans(), hours=st.sampled_from(HOURS))
@settings(max_examples=20, deadline=None)
def test_settled_or_walked_the_answer_is_the_same_to_the_byte(
    case: WorkedCase, marks: list[int], told: bool, hours: int, read_models: Store
) -> None:
    """Whatever the mark: before the moment asked about or after it, reached at once or from an earlier one; and where
    stays were settled for a later one of which nobody was told.
    """
    world = World(read_models, place_list(case.places))
    world.deliver(case.scans)
    walked = world.tracer().trace(question_of(case))
    before: SettledMark | None = None
    for mark in sorted(marks):
        before = world.mark
        world.settle(mark)
    if not told and before is not None:
        world.mark = before
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "LATE_MS_MAX", AFTER_ALL)
        patch.setattr(queries, "STAY_HOURS_A_QUERY", hours)
        settled = world.tracer().trace(question_of(case))
    assert codec.to_json(settled) == codec.to_json(walked)


@given(
    case=worlds(),
    mark=moments,
    lag=st.integers(0, SPAN_STEPS),
    more=st.integers(0, 3),
    hours=st.sampled_from(HOURS),
)
@settings(max_examples=40, deadline=None)
def test_an_answer_is_the_same_to_the_byte_where_its_last_scans_come_in_while_it_is_searched_for(
    case: WorkedCase, mark: int, lag: int, more: int, hours: int, read_models: Store
) -> None:
    scans = counted(case.scans, FOREVER)
    world = World(read_models, place_list(case.places))
    world.deliver(case.scans)
    walked = world.tracer().trace(question_of(case))
    world = World(read_models, place_list(case.places))
    arriving = Arriving(world, scans, max(case.query.as_of - lag * STEP_MS, START_MS))
    world.settle(min(mark, arriving.received))
    world.fold(scans[-more:] if more else [])  # what is folded in and not told of yet
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queries, "STAY_HOURS_A_QUERY", hours)
        found = world.tracer_awaiting(arriving, seed=1).trace(question_of(case))
    assert codec.to_json(found) == codec.to_json(walked)


def test_a_settled_stay_is_found_where_the_scans_of_nobody_are_walked(read_models: Store) -> None:
    """Or the property above would hold of two walks."""
    world = World(read_models, [CAFE, BUS])
    at = START_MS + 10 * HOUR
    scans = [
        CaseScan("d", number, at + number, at + number, Kind.IN, "cafe", subject)
        for number, subject in enumerate("fab", 1)
    ]
    world.deliver(scans)
    world.now = at + 2 * HOUR
    question = Question(index=Index(subjects=(pseudonym("f"),)), from_=START_MS, to=at + HOUR)
    walked = world.tracer().trace(question)
    world.settle(world.now)
    world.store.command("TRUNCATE TABLE scans_by_place_hour")
    assert codec.to_json(world.tracer().trace(question).contacts) == codec.to_json(walked.contacts)
    assert [name_of(contact.subject) for contact in walked.contacts] == ["a", "b"]
    world.mark = None
    assert world.tracer().trace(question).contacts == ()


def test_stays_settled_for_a_later_moment_than_the_mark_and_the_question_are_not_relied_on(read_models: Store) -> None:
    """Whoever had a stay until then may be in no row of a table that was settled anew."""
    world = World(read_models, [CAFE, BUS])
    at = START_MS + 10 * HOUR
    early = [CaseScan("d", number, at, at, Kind.IN, "cafe", subject) for number, subject in enumerate("fa", 1)]
    world.deliver([*early, CaseScan("e", 1, at, at + 2 * HOUR, Kind.IN, "bus", "a")])
    world.settle(at + HOUR)
    mark = world.mark
    world.mark = None
    world.store.command("TRUNCATE TABLE stays_by_place_hour")
    world.settle(at + 3 * HOUR)
    world.mark, world.now = mark, at + 90 * MINUTE_MS
    question = Question(index=Index(subjects=(pseudonym("f"),)), from_=START_MS, to=at + HOUR)
    assert [name_of(contact.subject) for contact in world.tracer().trace(question).contacts] == ["a"]


def test_whoever_left_a_place_and_was_seen_elsewhere_before_only_later_is_found(read_models: Store) -> None:
    """By the exit alone they were there for the dwell; by what was known later they came when the other had gone."""
    world = World(read_models, [CAFE, BUS])
    at = START_MS + 10 * HOUR + 30 * MINUTE_MS
    stay = [
        CaseScan("d", 1, at, at, Kind.IN, "cafe", "f"),
        CaseScan("d", 2, at + 10 * MINUTE_MS, at, Kind.OUT, "cafe", "f"),
    ]
    exit_alone = CaseScan("d", 3, at + 50 * MINUTE_MS, at + HOUR, Kind.OUT, "cafe", "a")
    elsewhere = CaseScan("e", 1, at + 40 * MINUTE_MS, at + 2 * HOUR, Kind.IN, "bus", "a")
    world.deliver([*stay, exit_alone, elsewhere])
    world.settle(at + 2 * HOUR)
    world.now = at + 2 * HOUR - 1
    question = Question(index=Index(subjects=(pseudonym("f"),)), from_=START_MS, to=at + HOUR, min_seconds=60)
    assert [name_of(contact.subject) for contact in world.tracer().trace(question).contacts] == ["a"]
    world.now += 1
    assert world.tracer().trace(question).contacts == ()


def test_more_settled_stays_than_one_answer_may_read_are_refused(read_models: Store) -> None:
    world = World(read_models, [CAFE, BUS])
    at = START_MS + 10 * HOUR
    world.deliver([CaseScan("d", number, at, at, Kind.IN, "cafe", subject) for number, subject in enumerate("fabc", 1)])
    world.now = at + 2 * HOUR
    world.settle(world.now)
    question = Question(index=Index(subjects=(pseudonym("f"),)), from_=START_MS, to=at + HOUR)
    told: list[tuple[int, int]] = []
    with pytest.raises(ProblemError) as caught:
        world.tracer().trace(question, bounds=msgspec.structs.replace(AT_ONCE, stays=3))
    assert caught.value.problem == problems.TRACE_TOO_LARGE.problem("more than 3 stays of others")
    with pytest.raises(ProblemError):
        world.tracer().trace(question, bounds=msgspec.structs.replace(AT_ONCE, stays_expected=3))
    enough = msgspec.structs.replace(AT_ONCE, stays=4, stays_expected=4)
    answer = world.tracer().trace(question, bounds=enough, on_read=lambda read, known: told.append((read, known)))
    assert len(answer.contacts) == 3
    assert told == [(1, 1), (1, 1)], "the index subject, then the stays of the others"


def test_more_than_may_be_read_is_foreseen_by_what_was_read(
    read_models: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(read_models, [CAFE, BUS])
    hours = [START_MS + number * HOUR for number in range(10)]
    world.deliver(
        [
            CaseScan("d", 10 * number + which, at, at, Kind.IN, "cafe" if number < 5 else "bus", subject)
            for number, at in enumerate(hours)
            for which, subject in enumerate("fab", 1)
        ]
    )
    world.now = START_MS + 12 * HOUR
    world.settle(world.now)
    monkeypatch.setattr(queries, "STAY_HOURS_A_QUERY", 5)
    question = Question(index=Index(subjects=(pseudonym("f"),)), from_=START_MS, to=world.now)
    told: list[tuple[int, int]] = []
    reading_ahead = msgspec.structs.replace(AT_ONCE, stays=40, stays_expected=25)
    with pytest.raises(ProblemError) as caught:
        world.tracer().trace(question, bounds=reading_ahead, on_read=lambda read, known: told.append((read, known)))
    assert caught.value.problem == problems.TRACE_TOO_LARGE.problem("some 35 stays of others, by the first of them")
    assert told == [(1, 1)], "the stays of the first hours were enough to know"
    assert len(world.tracer().trace(question).contacts) == 2
