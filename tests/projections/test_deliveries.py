"""What has passed, remembered as runs of seqs: never forgets a seq, and knows a fresh one where it has room to."""

from hypothesis import given
from hypothesis import strategies as st

from projections import deliveries
from projections.deliveries import RUNS_MAX, Runs

BOUNDS = st.tuples(st.integers(1, 60), st.integers(0, 6)).map(lambda one: (one[0], one[0] + one[1]))


@given(st.lists(BOUNDS), BOUNDS)
def test_runs_are_a_set_of_numbers(added: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    runs = Runs()
    known: set[int] = set()
    for low, high in added:
        runs.add(low, high)
        known |= set(range(low, high + 1))
    low, high = asked
    assert runs.touches(low, high) == bool(known & set(range(low, high + 1)))
    starts = sum(1 for seq in known if seq - 1 not in known)
    assert len(runs) == starts


@given(st.permutations(range(RUNS_MAX + 40)))
def test_a_device_in_disorder_is_remembered_more_coarsely(order: list[int]) -> None:
    runs = Runs()
    for one in order:
        runs.add(3 * one + 1, 3 * one + 1)
    assert len(runs) == RUNS_MAX
    assert all(runs.touches(3 * one + 1, 3 * one + 1) for one in order)


def test_the_smallest_hole_is_closed_first() -> None:
    runs = Runs()
    for one in range(deliveries.RUNS_MAX):
        runs.add(100 * one, 100 * one + 50)
    runs.add(57, 60)
    assert runs.touches(53, 53)
    assert not runs.touches(63, 63)
    assert not runs.touches(153, 153)
