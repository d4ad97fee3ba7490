from hypothesis import given
from hypothesis import strategies as st

from events.runs import Run, without

seqs = st.sets(st.integers(1, 40))


def runs_of(numbers: set[int]) -> list[Run]:
    """The numbers as runs."""
    starts = sorted(number for number in numbers if number - 1 not in numbers)
    ends = sorted(number for number in numbers if number + 1 not in numbers)
    return list(zip(starts, ends, strict=True))


def numbers_of(runs: list[Run]) -> list[int]:
    return [number for first, last in runs for number in range(first, last + 1)]


@given(seqs, seqs)
def test_without_is_the_difference_of_sets(one: set[int], other: set[int]) -> None:
    left = without(runs_of(one), runs_of(other))
    assert numbers_of(left) == sorted(one - other)
    assert all(first <= last for first, last in left)
