"""Answers through the real read models: their evidence, their cut-off, and that they can be had again."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import pytest
import redis

from events import codec, problems
from events.cases import Case
from events.control import Recorded, RetentionAdvanced
from events.places import Category, Place
from events.problems import ProblemError
from events.scans import Kind
from projections.stays import EntryKnown, ExitKnown, Stay
from storage.clickhouse import Store
from storage.watermarks import Asked, Name, Watermark, Watermarks
from tests.tracing.cases import CaseScan
from tests.tracing.world import FOREVER, World, name_of, pseudonym
from tracing import queries, reading
from tracing.answer import Answer, CutOff
from tracing.bounds import AT_ONCE, Bounds
from tracing.moment import READ_MODELS_WAIT_SECONDS_MAX
from tracing.question import Index, Question

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
T0: Final = 1_634_889_600_000
DAY: Final = 24 * HOUR
CAFE: Final = Place(id="cafe", number=1, name="Café", dwell_seconds=3600)
BUS: Final = Place(id="bus", number=2, name="Bus", dwell_seconds=1800)


def scan(subject: str, minute: int, kind: str, place: str = "cafe", *, seq: int = 0, late: int = 0) -> CaseScan:
    """A scan by the place's device; its seq is the minute unless given, taken in a second later unless `late` (ms)."""
    at = T0 + minute * MINUTE
    return CaseScan(f"d-{place}", seq or 100 + minute, at, at + (late or 1_000), Kind(kind), place, subject)


def visit(subject: str, start: int, end: int, place: str = "cafe", *, late: int = 0) -> list[CaseScan]:
    """An entry and an exit, by minutes; the seqs are each subject's own."""
    seq = 1_000 * (ord(subject) - ord("a") + 1)
    return [
        scan(subject, start, "in", place, seq=seq + start, late=late),
        scan(subject, end, "out", place, seq=seq + end, late=late),
    ]


def about(*subjects: str, **parameters: Any) -> Question:
    """A question about these, over two days around."""
    index = Index(subjects=tuple(map(pseudonym, subjects)))
    defaults: dict[str, Any] = {"index": index, "from_": T0 - DAY, "to": T0 + DAY}
    return Question(**defaults | parameters)


@pytest.fixture
def world(read_models: Store) -> World:
    """A café and a bus; the clock stands two days later."""
    world = World(read_models, [CAFE, BUS])
    world.now = T0 + 2 * DAY
    return world


def met(answer: Answer) -> list[tuple[str, int]]:
    return [(name_of(contact.subject), contact.ms // MINUTE) for contact in answer.contacts]


def test_an_encounter_names_both_stays_and_the_scans_that_prove_them(world: World) -> None:
    world.deliver([*visit("f", 0, 50), *visit("f", 100, 130), scan("a", 20, "in", seq=1), scan("a", 70, "in", seq=2)])
    answer = world.tracer().trace(about("f", lag_seconds=600))
    (contact,) = answer.contacts
    assert (contact.depth, contact.seconds, contact.ms) == (1, 4200, 70 * MINUTE)
    assert contact.intervals == ((T0 + 20 * MINUTE, T0 + 60 * MINUTE), (T0 + 100 * MINUTE, T0 + 130 * MINUTE))
    assert (contact.first, contact.last) == (T0 + 20 * MINUTE, T0 + 130 * MINUTE)
    first, second = contact.encounters
    assert (first.place, name_of(first.index)) == ("cafe", "f")
    assert (first.direct_ms, first.lagged_ms) == (30 * MINUTE, 10 * MINUTE)
    assert (second.direct_ms, second.lagged_ms) == (30 * MINUTE, 0)
    assert first.index_stay.scans == (("d-cafe", 6_000), ("d-cafe", 6_050))
    assert first.stay == Stay(
        "cafe",
        T0 + 20 * MINUTE,
        T0 + 130 * MINUTE,
        EntryKnown.MEASURED,
        ExitKnown.DWELL,
        (("d-cafe", 1), ("d-cafe", 2)),
    )


def test_the_answer_as_json(world: World) -> None:
    world.deliver([*visit("f", 0, 30), *visit("a", 10, 40)])
    answer = codec.from_json(codec.to_json(world.tracer().trace(about("f"))), dict[str, Any])
    assert list(answer) == [
        "id",
        "asked_at",
        "fingerprint",
        "question",
        "cut_off",
        "index",
        "index_without_scans",
        "scans_without_place",
        "contacts",
    ]
    assert answer["cut_off"] == {"as_of": world.now, "read_to": world.now}
    assert answer["index"] == [{"subject": pseudonym("f"), "cases": [], "from": T0 - DAY, "to": T0 + DAY, "stays": 1}]
    assert answer["contacts"][0]["via"] == [{"subject": pseudonym("f"), "first": T0 + 10 * MINUTE}]
    assert answer["contacts"][0]["encounters"][0]["stay"] == {
        "place": "cafe",
        "start": T0 + 10 * MINUTE,
        "end": T0 + 40 * MINUTE,
        "entry": "measured",
        "exit": "measured",
        "scans": [["d-cafe", 1_010], ["d-cafe", 1_040]],
    }


def test_asked_twice_as_of_one_moment_it_answers_the_same_to_the_byte(world: World) -> None:
    world.deliver([*visit("f", 0, 60), *visit("a", 10, 40), *visit("b", 10, 40, late=DAY)])
    noon = T0 + 4 * HOUR
    world.now = noon
    before = world.tracer().trace(about("f"))
    assert met(before) == [("a", 30)]
    world.now = T0 + 2 * DAY
    world.watermarks.received = world.now
    again = world.tracer_awaiting(world.watermarks, seed=2).trace(about("f", as_of=noon))
    assert again.id != before.id
    assert again.asked_at != before.asked_at
    assert again.fingerprint == before.fingerprint
    same = msgspec.structs.replace(again, id=before.id, asked_at=before.asked_at)
    assert codec.to_json(same) == codec.to_json(before)
    later = world.tracer().trace(about("f"))
    assert met(later) == [("a", 30), ("b", 30)]
    assert later.fingerprint != before.fingerprint


def test_a_revoked_key_quarantines_what_came_in_from_then_on_as_known_then(world: World) -> None:
    world.deliver([*visit("f", 0, 60, "bus"), *visit("a", 0, 28, "bus"), *visit("b", 0, 28, "bus", late=DAY)])
    world.revoke("d-bus", T0 + 2 * HOUR, at=T0 + DAY + 12 * HOUR)
    assert met(world.tracer().trace(about("f"))) == [("a", 28)]
    assert met(world.tracer().trace(about("f", as_of=T0 + DAY + 11 * HOUR))) == [("a", 28), ("b", 28)]
    world.revoke("d-bus", 0, at=T0 + DAY + 13 * HOUR)
    answer = world.tracer().trace(about("f"))
    assert answer.index_without_scans == (pseudonym("f"),)


def test_what_is_recorded_by_as_of_while_a_trace_waits_is_known_to_it(world: World) -> None:
    """This machine's clock may be ahead of the log's: as of its now, a key can still be revoked while it waits."""
    world.deliver([*visit("f", 0, 60), *visit("a", 0, 28)])
    case = Case(id="f0-1", subject=pseudonym("f"), confirmed_at=T0, infectious_from=T0 - DAY, infectious_to=T0 + DAY)
    world.confirm(case, T0)
    recorded: list[Callable[[], None]] = []

    class Waiting:
        def wait(self, name: Name, received: int, timeout_seconds: float) -> Watermark:
            recorded.append(lambda: world.revoke("d-cafe", 0, at=world.now - 1))
            shorter = msgspec.structs.replace(case, infectious_to=T0 + HOUR)
            recorded.append(lambda: world.confirm(shorter, world.now - 1))
            return Watermark(received, 0)

        def ask(self, received: int) -> None:
            return None

        def wait_laid(self, received: int, asked: Asked, timeout_seconds: float) -> None:
            return None

    def caught_up(seconds: float) -> bool:
        while recorded:
            recorded.pop()()
        return True

    answer = world.tracer_awaiting(Waiting(), seed=1, caught_up=caught_up).trace(Question(index=Index(cases=("f0-1",))))
    assert answer.index_without_scans == (pseudonym("f"),)
    assert answer.index[0].to == T0 + HOUR
    assert answer.fingerprint == world.tracer().trace(Question(index=Index(cases=("f0-1",)))).fingerprint


def test_stays_know_what_is_recorded_while_they_wait(world: World) -> None:
    world.deliver(visit("f", 0, 60))
    waited: list[bool] = []

    class Waiting:
        def wait(self, name: Name, received: int, timeout_seconds: float) -> Watermark:
            waited.append(True)
            return Watermark(received, 0)

        def ask(self, received: int) -> None:
            return None

        def wait_laid(self, received: int, asked: Asked, timeout_seconds: float) -> None:
            return None

    def caught_up(seconds: float) -> bool:
        if waited:
            world.revoke("d-cafe", 0, at=world.now - 1)
        return True

    tracer = world.tracer_awaiting(Waiting(), seed=1, caught_up=caught_up)
    assert tracer.stays_of(pseudonym("f"), T0 - DAY, T0 + DAY) == []


def test_a_dwell_changed_later_changes_no_earlier_answer(world: World) -> None:
    world.deliver([scan("f", 0, "in", seq=1), *visit("a", 90, 110)])
    world.register(msgspec.structs.replace(CAFE, dwell_seconds=7200), T0 + DAY)
    assert met(world.tracer().trace(about("f", as_of=T0 + DAY - 1))) == []
    assert met(world.tracer().trace(about("f", as_of=T0 + DAY))) == [("a", 20)]


def test_a_place_registered_after_as_of_is_taken_as_first_registered(world: World) -> None:
    hall = Place(id="hall", number=3, name="Hall", parent="cafe", dwell_seconds=3600)
    world.register(hall, T0 + DAY)
    world.register(msgspec.structs.replace(hall, dwell_seconds=60), T0 + DAY + 1)
    world.deliver([scan("f", 0, "in", "hall", seq=1), *visit("a", 30, 50, "hall")])
    assert met(world.tracer().trace(about("f", as_of=T0 + HOUR))) == [("a", 20)]


def test_scans_at_a_place_that_nobody_registered_are_counted_out(world: World) -> None:
    whole = World(world.store, [CAFE, BUS, Place(id="lost", number=9, name="Lost")])
    whole.deliver([*visit("f", 0, 60), *visit("f", 70, 80, "lost"), *visit("a", 0, 60)])
    answer = world.tracer().trace(about("f"))
    assert met(answer) == [("a", 60)]
    assert answer.scans_without_place == 2


def test_index_subjects_without_scans_are_named(world: World) -> None:
    world.deliver([*visit("f", 0, 50), *visit("a", 0, 50)])
    answer = world.tracer().trace(about("f", "z"))
    assert answer.index_without_scans == (pseudonym("z"),)
    assert [each.stays for each in answer.index] == [1, 0]
    assert met(answer) == [("a", 50)]


def test_a_confirmed_case_brings_its_window(world: World) -> None:
    world.deliver([*visit("f", 0, 60), *visit("f", 600, 660), *visit("a", 0, 60), *visit("b", 600, 660)])
    window = {"infectious_from": T0 + 500 * MINUTE, "infectious_to": T0 + DAY}
    world.confirm(Case(id="f0-1", subject=pseudonym("f"), confirmed_at=T0 + DAY, **window), T0 + DAY)
    answer = world.tracer().trace(Question(index=Index(cases=("f0-1",))))
    assert met(answer) == [("b", 60)]
    assert answer.question.index[0].cases == ("f0-1",)
    with pytest.raises(ProblemError) as caught:
        world.tracer().trace(Question(index=Index(cases=("f0-2",))))
    assert caught.value.problem.status == 404


def test_lists_longer_than_a_query_takes_are_asked_in_pieces(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.deliver([each for subject in "fabcdeghi" for each in visit(subject, 0, 60)])
    whole = world.tracer().trace(about("f"))
    monkeypatch.setattr(queries, "SUBJECTS_NAMED_MAX", 2)
    monkeypatch.setattr(queries, "PLACE_HOURS_A_PARAMETER", 1)
    pieces = world.tracer().trace(about("f"))
    assert len(whole.contacts) == 8
    assert pieces.fingerprint == whole.fingerprint


def test_however_many_keys_are_revoked_no_parameter_grows_too_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server takes no value above 128 KiB: with some ten thousand lost telephones every trace would fail."""
    world.deliver([*visit("f", 0, 60, "bus"), *visit("a", 0, 60, "bus"), *visit("b", 0, 60, late=DAY)])
    for number in range(10_000):
        world.device_number(f"phone-{number}")
        world.revoke(f"phone-{number}", T0, at=T0)
    world.revoke("d-bus", T0 + 30 * MINUTE, at=T0)
    world.revoke("d-cafe", T0 + 30 * MINUTE, at=T0)
    longest = 0
    whole = Store.columns

    def measured(self: Store, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
        nonlocal longest
        longest = max([longest, *(len(str(value)) for value in (parameters or {}).values())])
        return whole(self, sql, parameters)

    monkeypatch.setattr(Store, "columns", measured)
    assert met(world.tracer().trace(about("f"))) == [("a", 30)]
    assert 0 < longest < 131_072


def test_too_many_people_are_refused_and_not_cut_off(world: World) -> None:
    world.deliver([each for subject in "fabc" for each in visit(subject, 0, 60)])
    with pytest.raises(ProblemError) as caught:
        world.tracer().trace(about("f"), bounds=bounded(subjects=3))
    assert caught.value.problem == problems.TRACE_TOO_LARGE.problem("more than 3 people")
    assert len(world.tracer().trace(about("f"), bounds=bounded(subjects=4)).contacts) == 3


def test_a_reading_tells_how_far_it_is_and_can_be_stopped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.deliver([each for subject in "fabcde" for each in visit(subject, 0, 60)])
    monkeypatch.setattr(reading, "SUBJECTS_A_STEP", 2)
    told: list[tuple[int, int]] = []
    whole = world.tracer().trace(about("f"), on_read=lambda read, known: told.append((read, known)))
    assert told == [(1, 1), (3, 6), (5, 6), (6, 6)]
    assert whole.fingerprint == world.tracer().trace(about("f")).fingerprint

    def stop(read: int, known: int) -> None:
        if read >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.tracer().trace(about("f"), on_read=stop)


def test_who_was_not_scanned_in_the_window_is_named_with_the_nearest_scans(world: World) -> None:
    world.deliver([*visit("f", 0, 50), *visit("f", 200, 210), *visit("f", 600, 620), *visit("z", 300, 310, late=DAY)])
    (f, z) = world.tracer().trace(about("f", "z", from_=T0 + 5 * HOUR, to=T0 + 10 * HOUR, as_of=T0 + 12 * HOUR)).index
    assert (f.stays, f.before, f.after) == (0, T0 + 210 * MINUTE, T0 + 600 * MINUTE)
    assert (z.stays, z.before, z.after) == (0, None, None)
    (f, z) = world.tracer().trace(about("f", "z", from_=T0 + 5 * HOUR, to=T0 + 10 * HOUR)).index
    assert z.stays == 1
    (f,) = world.tracer().trace(about("f", to=T0)).index
    assert (f.before, f.after) == (None, T0)


def test_a_dwell_may_be_asked_for_by_category(world: World) -> None:
    """It overrides a place's own, and the neighbourhood that is searched grows with it."""
    world.deliver([scan("f", 0, "in", seq=1), *visit("a", 90, 110), scan("b", 0, "in", "bus", seq=2)])
    assert met(world.tracer().trace(about("f"))) == []
    asked = about("f", dwell_seconds={Category.OTHER: 2 * 3600})
    answer = world.tracer().trace(asked)
    assert met(answer) == [("a", 20)]
    assert answer.question.dwell_seconds == {Category.OTHER: 7200}
    assert met(world.tracer().trace(about("f", dwell_seconds={Category.MALL: 7200}))) == []
    assert met(world.tracer().trace(about("f"))) == []


@pytest.mark.parametrize("hours_later", [0, 20])
def test_whoever_stays_on_by_rescans_is_found(world: World, hours_later: int) -> None:
    """Only scans near the encounter are looked at for candidates, but a stay may have begun long before."""
    rescans = [scan("a", minute, "in", seq=minute + 1) for minute in range(0, hours_later * 60 + 120, 50)]
    world.deliver([*rescans, *visit("f", hours_later * 60 + 70, hours_later * 60 + 90)])
    assert met(world.tracer().trace(about("f"))) == [("a", 20)]


def test_a_missed_entry_is_found_by_the_exit_alone(world: World) -> None:
    world.deliver([*visit("f", 0, 60), scan("a", 100, "out", seq=1)])
    assert met(world.tracer().trace(about("f"))) == [("a", 20)]


def test_a_window_that_ends_early_still_sees_how_stays_went_on(world: World) -> None:
    world.deliver([*visit("f", 0, 1_100), *visit("a", 0, 30), scan("f", 50, "in", seq=1)])
    answer = world.tracer().trace(about("f", from_=T0, to=T0 + 20 * MINUTE))
    assert met(answer) == [("a", 20)]
    assert answer.contacts[0].encounters[0].index_stay.end == T0 + 110 * MINUTE


def test_whoever_comes_into_the_air_left_behind_is_found_with_their_whole_stay(world: World) -> None:
    """The café's dwell before the entry and after the exit does not reach them: the lag alone does."""
    rescans = [scan("a", minute, "in", seq=minute) for minute in range(60, 60 + 1_436, 50)]
    world.deliver([*visit("f", 0, 20), *rescans, scan("a", 60 + 1_438, "out", seq=5_000)])
    answer = world.tracer().trace(about("f", from_=T0, to=T0 + 20 * MINUTE, lag_seconds=2 * 3600))
    assert met(answer) == [("a", 80)]
    (one,) = answer.contacts[0].encounters
    assert (one.direct_ms, one.lagged_ms) == (0, 80 * MINUTE)
    assert one.stay.exit is ExitKnown.MEASURED


def test_stays_of_a_subject(world: World) -> None:
    world.deliver([*visit("f", 0, 50), *visit("f", 200, 230), *visit("f", 300, 310, late=DAY)])
    tracer = world.tracer()
    stays = tracer.stays_of(pseudonym("f"), T0 + 30 * MINUTE, T0 + DAY)
    assert [(stay.start - T0) // MINUTE for stay in stays] == [0, 200, 300]
    assert tracer.stays_of(pseudonym("f"), T0 + 60 * MINUTE, T0 + 200 * MINUTE) == []
    earlier = tracer.stays_of(pseudonym("f"), T0, T0 + DAY, as_of=T0 + DAY)
    assert len(earlier) == 2
    assert tracer.stays_of(pseudonym("z"), T0, T0 + DAY) == []
    for from_ms, to_ms, as_of in ((T0, T0, None), (T0, T0 + DAY, world.now + 1)):
        with pytest.raises(ProblemError):
            tracer.stays_of(pseudonym("f"), from_ms, to_ms, as_of)


def test_an_answer_waits_for_the_read_models(world: World, valkey: "redis.Redis") -> None:
    world.deliver([*visit("f", 0, 60), *visit("a", 0, 60)])
    watermarks = Watermarks(valkey)
    tracer = world.tracer_awaiting(watermarks, seed=1)
    watermarks.publish("read-models", Watermark(world.now + 5_000, 4))
    answer = tracer.trace(about("f"))
    assert met(answer) == [("a", 60)]
    assert answer.cut_off.read_to == world.now


def test_without_waiting_it_answers_as_of_what_the_read_models_have_reached(world: World) -> None:
    world.deliver([*visit("f", 0, 60), *visit("a", 0, 60), *visit("b", 0, 60, late=DAY)])
    world.watermarks.received = T0 + 2 * HOUR
    answer = world.tracer().trace(about("f", wait=False))
    assert met(answer) == [("a", 60)]
    assert answer.cut_off == CutOff(as_of=T0 + 2 * HOUR, read_to=T0 + 2 * HOUR)
    assert answer.fingerprint == world.tracer().trace(about("f", as_of=T0 + 2 * HOUR)).fingerprint
    world.watermarks.received = world.now + DAY
    assert world.tracer().trace(about("f", wait=False)).cut_off.as_of == world.now


def test_without_waiting_a_moment_that_is_not_reached_is_a_problem_at_once(world: World, valkey: "redis.Redis") -> None:
    watermarks = Watermarks(valkey)
    watermarks.publish("read-models", Watermark(T0, 0))
    with pytest.raises(ProblemError) as caught:
        world.tracer_awaiting(watermarks, seed=1).trace(about("f", as_of=T0 + 1, wait=False))
    assert caught.value.problem == problems.BEHIND.problem(pointer="/as_of")


@pytest.mark.parametrize("settled", [False, True])
def test_without_evidence_there_are_the_same_contacts_without_what_proves_them(world: World, settled: bool) -> None:
    world.deliver([*visit("f", 0, 50), *visit("f", 100, 130), *visit("a", 20, 120), *visit("b", 10, 40)])
    if settled:
        world.settle(world.now)
    whole = world.tracer().trace(about("f", depth=2))
    short = world.tracer().trace(about("f", depth=2, evidence=False))
    assert [contact.times_met for contact in whole.contacts] == [2, 1]
    assert short.contacts == tuple(
        msgspec.structs.replace(contact, via=(), intervals=(), encounters=()) for contact in whole.contacts
    )
    assert b"encounters" not in codec.to_json(short.contacts)


def test_whose_scans_are_kept_no_longer_does_not_count_as_looked_at(world: World) -> None:
    world.deliver(
        [each for name, start in (("f", 120), ("a", 80), ("b", 120)) for each in visit(name, start, start + 15)]
    )
    world.registry.apply(Recorded(FOREVER, RetentionAdvanced(T0 + 100 * MINUTE)))
    assert met(world.tracer().trace(about("f"), bounds=bounded(subjects=2))) == [("b", 15)]


def test_more_evidence_than_an_answer_holds_is_refused_with_the_way_out(world: World) -> None:
    world.deliver([each for subject in "fabc" for each in visit(subject, 0, 60)])
    encounters = sum(contact.times_met for contact in world.tracer().trace(about("f")).contacts)
    few, enough = bounded(encounters=encounters - 1), bounded(encounters=encounters)
    with pytest.raises(ProblemError) as caught:
        world.tracer().trace(about("f"), bounds=few)
    assert (caught.value.problem.name, caught.value.problem.pointer) == ("trace-too-large", "/evidence")
    assert "without evidence" in (caught.value.problem.detail or "")
    assert len(world.tracer().trace(about("f", evidence=False), bounds=few).contacts) == 3
    assert len(world.tracer().trace(about("f"), bounds=enough).contacts) == 3


def bounded(**bounds: int) -> Bounds:
    return msgspec.structs.replace(AT_ONCE, **bounds)


def test_read_models_that_stay_behind_are_a_problem(world: World) -> None:
    world.watermarks.received = world.now - 1
    with pytest.raises(ProblemError) as caught:
        world.tracer().trace(about("f"))
    assert caught.value.problem == problems.BEHIND.problem(pointer="/as_of")
    assert READ_MODELS_WAIT_SECONDS_MAX <= 30
    assert met(world.tracer().trace(about("f", as_of=world.now - 1))) == []
