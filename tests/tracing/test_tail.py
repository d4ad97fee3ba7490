"""A search may begin before the last scans came in; what it answers it answers when they are all known."""

from collections.abc import Callable
from typing import Final

import pytest

from events import codec, problems
from events.places import Place
from events.problems import ProblemError
from events.scans import Kind
from storage.clickhouse import Store
from tests.tracing.cases import CaseScan
from tests.tracing.world import Arriving, World, pseudonym
from tracing import tail
from tracing.answer import Answer
from tracing.late import LateScans
from tracing.question import Index, Question

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
T0: Final = 1_634_860_800_000
NOW: Final = T0 + 10 * HOUR
BEGUN: Final = NOW - 100
"""Up to here the read models are when a search begins."""
CAFE: Final = Place(id="cafe", number=1, name="Café", dwell_seconds=3600)
BUS: Final = Place(id="bus", number=2, name="Bus", dwell_seconds=3600)


def scan(subject: str, at: int, kind: Kind = Kind.IN, place: str = "cafe", *, received: int | None = None) -> CaseScan:
    seq = ord(subject) * 1_000_000_000 + at - T0
    return CaseScan(f"d-{place}", seq, at, at if received is None else received, kind, place, subject)


F_AND_A: Final = [scan(who, T0 + HOUR) for who in "fa"]
"""They meet for an hour, until their dwell is over."""
ABOUT_F: Final = Question(index=Index(subjects=(pseudonym("f"),)), from_=T0, to=NOW)


class Meanwhile:
    """A question about `f` as of now, where the last scans come in after it is asked."""

    def __init__(self, store: Store, *scans: CaseScan) -> None:
        self.world: Final = World(store, [CAFE, BUS])
        self.world.now = NOW
        self.arriving: Final = Arriving(self.world, [*F_AND_A, *scans], BEGUN)
        self.world.settle(BEGUN - 1_000)
        self.folded = 0
        """How often the read models were waited for until it was answered."""

    def answer(self, *, caught_up: Callable[[float], bool] = lambda seconds: True) -> Answer:
        """It; and the same where all is known from the beginning."""
        tracer = self.world.tracer_awaiting(self.arriving, seed=1, caught_up=caught_up)
        answer = tracer.trace(ABOUT_F)
        self.folded = self.arriving.folded
        self.arriving.wait("read-models", NOW, 0)
        self.world.mark = None
        assert codec.to_json(self.world.tracer().trace(ABOUT_F)) == codec.to_json(answer)
        return answer


def met(answer: Answer) -> dict[str, float]:
    return {bytes.fromhex(each.subject).decode().rstrip("\0"): each.seconds / 60 for each in answer.contacts}


def test_where_only_others_are_scanned_the_log_is_enough(read_models: Store) -> None:
    asked = Meanwhile(read_models, scan("z", NOW - 50, place="bus"))
    assert met(asked.answer()) == {"a": 60}
    assert asked.folded == 0, "nobody waited for the read models"


def test_whoever_is_scanned_there_meanwhile_is_met(read_models: Store) -> None:
    asked = Meanwhile(read_models, scan("b", T0 + 90 * MINUTE, received=NOW - 50))
    assert met(asked.answer()) == {"a": 60, "b": 30}
    assert asked.folded == 1, "their scans were waited for"


def test_whoever_was_met_and_leaves_meanwhile_was_met_for_less(read_models: Store) -> None:
    asked = Meanwhile(read_models, scan("a", T0 + 80 * MINUTE, Kind.OUT, received=NOW - 50))
    assert met(asked.answer()) == {"a": 20}


def test_an_index_subject_who_is_scanned_meanwhile_is_read_again(read_models: Store) -> None:
    asked = Meanwhile(read_models, scan("f", T0 + 70 * MINUTE, Kind.OUT, received=NOW - 50))
    assert met(asked.answer()) == {}
    assert asked.folded == 1


def test_whose_earlier_scan_moves_a_later_stay_is_met_though_they_were_elsewhere(read_models: Store) -> None:
    """A stay lasts a day at most; where it is broken in between, the next one begins, and ends, at another hour."""
    dwell, begin = 100 * MINUTE, T0 + 30 * MINUTE
    world = World(read_models, [Place(id="cafe", number=1, name="Café", dwell_seconds=dwell // 1000), BUS])
    world.now = NOW + 48 * HOUR
    kept_on = [scan("b", begin + step * 95 * MINUTE) for step in range(16)]
    index = scan("f", begin + 25 * HOUR + 15 * MINUTE)
    away = scan("b", begin + 5 * HOUR, place="bus", received=world.now - 50)
    arriving = Arriving(world, [*kept_on, index, away], world.now - 100)
    world.settle(world.now - 1_000)
    question = Question(index=Index(subjects=(pseudonym("f"),)), from_=T0, to=world.now, min_seconds=60)
    found = world.tracer_awaiting(arriving, seed=1).trace(question)
    assert met(found) == {"b": 10}


def test_what_is_recorded_by_then_is_known_however_late_it_is_learned(read_models: Store) -> None:
    asked = Meanwhile(read_models)
    recorded: list[Callable[[], None]] = []
    asked.arriving.on_laid = lambda: recorded.append(lambda: asked.world.revoke("d-cafe", 0, at=NOW))

    def caught_up(seconds: float) -> bool:
        while recorded:
            recorded.pop()()
        return True

    assert met(asked.answer(caught_up=caught_up)) == {}


def test_what_is_recorded_later_has_nothing_begun_again(read_models: Store) -> None:
    asked = Meanwhile(read_models, scan("z", NOW - 50, place="bus"))
    asked.arriving.on_laid = lambda: asked.world.revoke("d-cafe", 0, at=NOW + 1)
    assert met(asked.answer()) == {"a": 60}
    assert asked.folded == 0


def test_more_than_can_be_looked_through_is_waited_for(read_models: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "LATE_ROWS_MAX", 1)
    asked = Meanwhile(read_models, scan("z", NOW - 50, place="bus"), scan("y", NOW - 50, place="bus"))
    assert met(asked.answer()) == {"a": 60}
    assert asked.folded == 1


def test_a_log_that_stays_behind_is_a_problem(read_models: Store) -> None:
    asked = Meanwhile(read_models)
    asked.arriving.stuck = True
    with pytest.raises(ProblemError) as caught:
        asked.world.tracer_awaiting(asked.arriving, seed=1).trace(ABOUT_F)
    assert caught.value.problem == problems.BEHIND.problem(pointer="/as_of")


def test_where_nothing_came_in_nothing_is_looked_through(read_models: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Meanwhile(read_models)
    asked.arriving.quiet = True
    monkeypatch.setattr(LateScans, "between", lambda self, after, upto: pytest.fail("the log was read"))
    assert met(asked.answer()) == {"a": 60}
    assert asked.folded == 0


def test_what_was_folded_in_after_the_stays_were_settled_counts_too(read_models: Store) -> None:
    asked = Meanwhile(read_models, scan("b", T0 + 90 * MINUTE, received=BEGUN - 500))
    assert met(asked.answer()) == {"a": 60, "b": 30}
    assert asked.folded == 0


def test_what_turns_out_to_be_folded_in_already_is_looked_through_all_the_same(read_models: Store) -> None:
    asked = Meanwhile(read_models, scan("f", T0 + 70 * MINUTE, Kind.OUT, received=NOW - 50))
    asked.arriving.quiet = True
    assert met(asked.answer()) == {}


def test_a_moment_before_the_mark_is_waited_for_whatever_the_watermark_says(read_models: Store) -> None:
    """One may have gone back: then the stays know more than was known by the moment asked about."""
    away = scan("a", T0 + 80 * MINUTE, Kind.OUT, received=NOW + 1_000)
    asked = Meanwhile(read_models, away)
    asked.world.fold([away])
    asked.world.lay([away])
    asked.world.settle(NOW + 1_000)
    assert met(asked.answer()) == {"a": 60}
    assert asked.folded == 1


def test_a_long_search_may_wait_first(read_models: Store) -> None:
    asked = Meanwhile(read_models, scan("z", NOW - 50, place="bus"))
    tracer = asked.world.tracer_awaiting(asked.arriving, seed=1)
    assert met(tracer.trace(ABOUT_F, early=False)) == {"a": 60}
    assert asked.arriving.folded == 1
