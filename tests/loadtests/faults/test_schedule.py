"""The schedule is a pure function of seed and number, and leaves no step and no process out."""

import itertools

import pytest

from events import codec
from loadtests.faults.schedule import (
    BLOCK_ROUNDS,
    DEATHS_PER_ROUND,
    LINKS,
    NTH_MAX,
    PROCESSES,
    WAYS,
    Break,
    Death,
    Kill,
    Mode,
    mode_of,
    scheduled,
)
from loadtests.faults.steps import DECK

ROUNDS = range(1_000)


def test_a_round_is_the_same_whatever_was_asked_before() -> None:
    alone = codec.to_json(scheduled(7, 13))
    assert [codec.to_json(scheduled(7, number)) for number in range(20)][13] == alone
    assert codec.to_json(scheduled(8, 13)) != alone


def test_the_schedule_of_a_seed_stays_what_it_was_reported_as() -> None:
    assert [str(fault) for fault in scheduled(1, 0).faults] == [
        "die at projector recorded×2",
        "die at sink frozen×2",
        "kill valkey @398",
        "cut door @564+460",
        "deaf ingest-valkey @626+399",
    ]


@pytest.mark.parametrize("mode", ["embedded", "server"])
def test_the_deck_comes_round_before_any_step_comes_twice(mode: Mode) -> None:
    numbers = [number for number in ROUNDS if mode_of(number) == mode]
    deaths = [
        (fault.role, fault.step)
        for number in numbers
        for fault in scheduled(3, number).faults
        if isinstance(fault, Death)
    ]
    assert len(deaths) == DEATHS_PER_ROUND * len(numbers)
    for start in range(0, len(deaths), len(DECK)):
        hand = deaths[start : start + len(DECK)]
        assert len(set(hand)) == len(hand)
    assert set(deaths) == set(DECK)


def test_every_process_and_link_has_its_turn_in_every_way() -> None:
    faults = {mode: [f for n in ROUNDS if mode_of(n) == mode for f in scheduled(1, n).faults] for mode in PROCESSES}
    for mode, processes in PROCESSES.items():
        assert {fault.process for fault in faults[mode] if isinstance(fault, Kill)} == set(processes)
        broken = {(fault.link, fault.way) for fault in faults[mode] if isinstance(fault, Break)}
        assert broken == set(itertools.product(LINKS[mode], WAYS))
        for fault in faults[mode]:
            assert not isinstance(fault, Death) or 1 <= fault.nth <= NTH_MAX[fault.role]


def test_no_link_is_broken_twice_at_once_and_everything_is_started_again() -> None:
    for number in ROUNDS:
        planned = scheduled(5, number)
        links = [fault.link for fault in planned.faults if isinstance(fault, Break)]
        assert len(set(links)) == len(links)
        assert sorted(planned.restart_order) == sorted(PROCESSES[planned.mode])


def test_the_modes_take_turns() -> None:
    modes = [mode_of(number) for number in range(4 * BLOCK_ROUNDS)]
    assert modes == (["embedded"] * BLOCK_ROUNDS + ["server"] * BLOCK_ROUNDS) * 2
