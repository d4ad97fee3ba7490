"""The world is a pure function of device and seq."""

import numpy as np

from events.scans import KIND_NUMBER
from loadtests.bench.world import SPAN_MS, new_world, seqs

NOW = 1_634_800_000_000
WORLD = new_world(seed=1, devices=4, people=50, scans=4_000, now_ms=NOW)


def test_a_scan_is_the_same_whoever_asks_for_it() -> None:
    """The generators ask for batches, the check for whole devices."""
    whole, part = WORLD.scans(2, seqs(1, 900)), WORLD.scans(2, seqs(301, 100))
    for name in whole.__struct_fields__:
        assert (getattr(whole, name)[300:400] == getattr(part, name)).all()


def test_scans_happen_in_order_and_before_now() -> None:
    at = WORLD.scans(0, seqs(1, 1_000)).at
    assert (np.diff(at.astype(np.int64)) >= 0).all()
    assert at[0] >= NOW - SPAN_MS
    assert at[-1] <= NOW


def test_devices_differ_and_everybody_and_every_kind_comes_up() -> None:
    scans, others = WORLD.scans(0, seqs(1, 1_000)), WORLD.scans(1, seqs(1, 1_000))
    assert (scans.person != others.person).any()
    assert set(scans.person) == set(range(50))
    assert set(scans.kind) == set(KIND_NUMBER.values())


def test_people_and_keys_are_distinct() -> None:
    assert len({row.tobytes() for row in WORLD.subjects()}) == 50
    assert len({WORLD.key_seed(device) for device in range(4)}) == 4


def test_registries_that_begin_with_the_world_give_its_numbers() -> None:
    assert [WORLD.device(index).number for index in range(3)] == [1, 2, 3]
    assert WORLD.device(2).place == WORLD.place(2).id
