"""Differences: who was added, removed, changed between two answers, and whether the scans named explain it."""

from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from events.control import Recorded, RetentionAdvanced
from events.places import Category
from events.problems import ProblemError
from events.scans import Kind
from storage.clickhouse import Store
from tests import oracle
from tests.tracing.cases import CaseScan, WorkedCase, place_list, worked_cases
from tests.tracing.test_answer import BUS, CAFE, DAY, HOUR, MINUTE, T0, about, scan, visit
from tests.tracing.world import World, name_of, question_of
from tests.tracing.worlds import oracle_places, oracle_query, oracle_scans, times, worlds
from tracing import difference as module
from tracing.answer import Answer
from tracing.difference import Cause, ContactDifference, Difference, difference
from tracing.question import Question
from tracing.recall import recall_of

LATE_UPLOADS: Final = [case for case in worked_cases() if "late" in (case.id or "")]


@pytest.fixture
def world(read_models: Store) -> World:
    """A café and a bus; the clock stands two days later."""
    world = World(read_models, [CAFE, BUS])
    world.now = T0 + 2 * DAY
    return world


def compared(world: World, before: Question, after: Question) -> Difference:
    """The difference between two questions as they are answered here."""
    one, other = world.tracer().trace(before), world.tracer().trace(after)
    return difference(one, other, recall_of(world.store, world.registry, world.tracer(), one.question, other.question))


def told(differs: ContactDifference) -> tuple[str, list[Cause], list[tuple[str, int]]]:
    """Who, why, and by which scans."""
    return name_of(differs.subject), list(differs.causes), [(scan.device, scan.seq) for scan in differs.scans]


def test_a_late_upload_adds_a_contact_and_is_named(world: World) -> None:
    world.deliver([*visit("f", 0, 55), *visit("a", 10, 40), *visit("b", 20, 50, late=DAY)])
    found = compared(world, about("f", as_of=T0 + 3 * HOUR), about("f"))
    assert [told(one) for one in found.added] == [("b", [Cause.LATE], [("d-cafe", 2_020), ("d-cafe", 2_050)])]
    assert (found.removed, found.changed, found.unchanged) == ((), (), 1)
    assert found.parameters == ("as_of",)
    (b,) = found.added
    assert b.before is None
    assert b.after is not None
    assert (b.after.ms, b.after.first, b.after.encounters) == (30 * MINUTE, T0 + 20 * MINUTE, 1)
    for scan_ in b.scans:
        assert (name_of(scan_.subject), scan_.before, scan_.after) == ("b", False, True)
        assert found.before.cut_off.as_of < scan_.received <= found.after.cut_off.as_of


def test_backwards_it_is_removed(world: World) -> None:
    world.deliver([*visit("f", 0, 55), *visit("b", 20, 50, late=DAY)])
    found = compared(world, about("f"), about("f", as_of=T0 + 3 * HOUR))
    assert [told(one) for one in found.removed] == [("b", [Cause.LATE], [("d-cafe", 2_020), ("d-cafe", 2_050)])]


def test_an_exit_that_came_late_removes_a_contact_though_it_proves_no_encounter(world: World) -> None:
    """Without it the café's dwell kept them until 11:00; they had left before the case came."""
    world.deliver([scan("a", 0, "in", seq=1), scan("a", 20, "out", seq=2, late=DAY), *visit("f", 30, 60)])
    found = compared(world, about("f", as_of=T0 + 5 * HOUR), about("f"))
    assert [told(one) for one in found.removed] == [("a", [Cause.LATE], [("d-cafe", 2)])]


def test_a_scan_that_leaves_no_stay_behind_is_named_by_its_time(world: World) -> None:
    """A late passage at the very moment of the entry elsewhere: the stay has no length, and proves nothing."""
    late = CaseScan("a-first", 9, T0, T0 + DAY, Kind.IN, "cafe", "a")
    world.deliver([late, scan("a", 0, "in", "bus", seq=1), *visit("f", 0, 20)])
    found = compared(world, about("f", as_of=T0 + 5 * HOUR), about("f"))
    assert (found.added, found.removed, found.changed) == ((), (), ())


def test_what_changed_of_a_contact_is_named(world: World) -> None:
    world.deliver([*visit("f", 0, 55), *visit("a", 10, 40), *visit("a", 45, 55, late=DAY)])
    (a,) = compared(world, about("f", as_of=T0 + 3 * HOUR), about("f")).changed
    assert a.changed == ("seconds", "last", "encounters")
    assert told(a) == ("a", [Cause.LATE], [("d-cafe", 1_045), ("d-cafe", 1_055)])
    assert a.before is not None
    assert a.after is not None
    assert (a.before.seconds, a.after.seconds) == (1800, 2400)


def test_a_stay_that_was_still_open_changes_by_time_alone(world: World) -> None:
    world.deliver([scan("f", 0, "in", seq=1), scan("a", 10, "in", seq=2)])
    (a,) = compared(world, about("f", as_of=T0 + 40 * MINUTE), about("f")).changed
    assert told(a) == ("a", [Cause.OPEN], [])


def test_a_key_revoked_since_is_a_quarantine_with_its_scans(world: World) -> None:
    world.deliver([*visit("f", 0, 60, "bus"), *visit("a", 0, 28, "bus"), *visit("b", 0, 28, "bus", late=DAY)])
    world.revoke("d-bus", T0 + 2 * HOUR, at=T0 + DAY + 12 * HOUR)
    found = compared(world, about("f", as_of=T0 + DAY + 11 * HOUR), about("f"))
    (b,) = found.removed
    assert told(b) == ("b", [Cause.QUARANTINE], [("d-bus", 2_000), ("d-bus", 2_028)])
    assert all(scan.before and not scan.after for scan in b.scans)


def test_a_dwell_registered_since_is_the_places(world: World) -> None:
    world.deliver([scan("f", 0, "in", seq=1), *visit("a", 90, 110)])
    world.register(msgspec.structs.replace(CAFE, dwell_seconds=7200), T0 + DAY)
    (a,) = compared(world, about("f", as_of=T0 + DAY - 1), about("f")).added
    assert told(a) == ("a", [Cause.PLACES], [])


def test_what_is_kept_no_longer_is_said_to_have_expired(world: World) -> None:
    world.deliver([*visit("f", 0, 20), *visit("a", 0, 20), *visit("f", 300, 330, "bus"), *visit("b", 300, 330, "bus")])
    one = world.tracer().trace(about("f"))
    world.registry.apply(Recorded(T0 + 2 * DAY, RetentionAdvanced(kept_from=T0 + 2 * HOUR)))
    other = world.tracer().trace(about("f"))
    recall = recall_of(world.store, world.registry, world.tracer(), one.question, other.question)
    found = difference(one, other, recall)
    assert [told(each) for each in found.removed] == [("a", [Cause.EXPIRED], [])]
    assert (found.added, found.changed, found.unchanged) == ((), (), 1)


def test_other_parameters_name_themselves_and_the_proof_of_one_side(world: World) -> None:
    world.deliver([*visit("f", 0, 55), *visit("a", 10, 40), *visit("b", 65, 85)])
    found = compared(world, about("f"), about("f", lag_seconds=1800))
    assert found.parameters == ("lag_seconds",)
    (b,) = found.added
    name, causes, scans = told(b)
    assert (name, causes) == ("b", [Cause.PARAMETERS])
    assert scans == [("d-cafe", 6_000), ("d-cafe", 6_055), ("d-cafe", 2_065), ("d-cafe", 2_085)]
    assert all(scan.before and scan.after for scan in b.scans)
    assert found.unchanged == 1


def test_a_dwell_asked_for_by_category_is_a_parameter(world: World) -> None:
    world.deliver([scan("f", 0, "in", seq=1), *visit("a", 90, 110)])
    found = compared(world, about("f"), about("f", dwell_seconds={Category.OTHER: 7200}))
    assert found.parameters == ("dwell_seconds",)
    assert [told(one)[:2] for one in found.added] == [("a", [Cause.PARAMETERS])]


def test_whoever_is_reached_through_somebody_new_says_so(world: World) -> None:
    """C met A on the bus all along; only a late upload shows that A met the case before."""
    world.deliver([*visit("f", 0, 55), *visit("a", 10, 40, late=DAY), *visit("a", 100, 120, "bus")])
    world.deliver(visit("c", 95, 125, "bus"))
    found = compared(world, about("f", depth=2, as_of=T0 + 5 * HOUR), about("f", depth=2))
    a, c = found.added
    assert told(a) == ("a", [Cause.LATE], [("d-cafe", 1_010), ("d-cafe", 1_040)])
    assert told(c) == ("c", [Cause.CHAIN], [])
    assert c.through == (a.subject,)


def test_the_fingerprint_is_of_the_two_answers_alone(world: World) -> None:
    world.deliver([*visit("f", 0, 55), *visit("b", 20, 50, late=DAY)])
    questions = about("f", as_of=T0 + 3 * HOUR), about("f", as_of=T0 + 2 * DAY - 1)
    one = compared(world, *questions)
    answers = [world.tracer_awaiting(world.watermarks, seed=5).trace(question) for question in questions]
    recall = recall_of(world.store, world.registry, world.tracer(), answers[0].question, answers[1].question)
    other = difference(answers[0], answers[1], recall)
    assert other.before.trace != one.before.trace
    assert other.fingerprint == one.fingerprint
    assert compared(world, *reversed(questions)).fingerprint != one.fingerprint


def test_too_many_differing_contacts_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.deliver([*visit("f", 0, 55), *visit("a", 10, 40), *visit("b", 10, 40)])
    monkeypatch.setattr(module, "CONTACTS_DIFFERING_MAX", 1)
    with pytest.raises(ProblemError):
        compared(world, about("f"), about("f", min_seconds=7200))


def oracle_contacts(case: WorkedCase, scans: list[CaseScan], as_of: int) -> dict[str, Any]:
    """The oracle's contacts at depth 1, of these scans alone, as of then."""
    query = msgspec.structs.replace(case.query, as_of=as_of, depth=1)
    asked = msgspec.structs.replace(case, scans=scans, query=query)
    answer = oracle.answer(oracle_places(asked), oracle_scans(asked), oracle_query(asked))
    return {contact["subject"]: contact for contact in answer["contacts"]}


def proof_of(answer: Answer, subject: str) -> set[tuple[str, int]]:
    """The scans that prove a contact's encounters."""
    encounters = [one for contact in answer.contacts if contact.subject == subject for one in contact.encounters]
    return {scan_id for one in encounters for scan_id in (*one.stay.scans, *one.index_stay.scans)}


def assert_explained(store: Store, case: WorkedCase, early: int, late: int) -> int:
    """The lists are the oracle's; the scans named are late, those of people involved, and hold all late proof.

    How many contacts differ.
    """
    case = msgspec.structs.replace(case, query=msgspec.structs.replace(case.query, depth=1))
    world = World(store, place_list(case.places))
    world.deliver(case.scans)
    question = question_of(case)
    before = world.tracer().trace(msgspec.structs.replace(question, as_of=early))
    after = world.tracer().trace(msgspec.structs.replace(question, as_of=late))
    found = difference(before, after, recall_of(store, world.registry, world.tracer(), before.question, after.question))
    was, now = oracle_contacts(case, case.scans, early), oracle_contacts(case, case.scans, late)
    assert {name_of(one.subject) for one in found.added} == now.keys() - was.keys()
    assert {name_of(one.subject) for one in found.removed} == was.keys() - now.keys()
    both = was.keys() & now.keys()
    assert {name for name in both if was[name] != now[name]} <= {name_of(one.subject) for one in found.changed} <= both
    differing = [*found.added, *found.removed, *found.changed]
    assert all(one.causes for one in differing)
    first = {(scan.device, scan.seq): scan for scan in reversed(case.scans)}
    for one in differing:
        named = {(scan.device, scan.seq) for scan in one.scans}
        assert all(early < first[scan_id].received <= late for scan_id in named)
        assert (
            proof_of(after, one.subject) - {scan_id for scan_id in first if first[scan_id].received <= early} <= named
        )
        assert bool(named) == (Cause.LATE in one.causes)
        involved = {name_of(one.subject), *case.query.index}
        assert {first[scan_id].subject for scan_id in named} <= involved
    return len(differing)


@pytest.mark.parametrize("case", worked_cases())
def test_the_worked_cases_are_explained(case: WorkedCase, read_models: Store) -> None:
    received = sorted({scan.received for scan in case.scans})
    assert_explained(read_models, case, *sorted((received[len(received) // 2], case.query.as_of)))


@given(case=worlds(), moments=st.tuples(times, times))
@settings(
    max_examples=12, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_random_worlds_are_explained(case: WorkedCase, moments: tuple[int, int], read_models: Store) -> None:
    event(f"differ: {min(assert_explained(read_models, case, *sorted(moments)), 3)}")
