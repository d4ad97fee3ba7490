import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracing.outbreak.chance import chance, log10_at_least


@st.composite
def draws(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """At least so many, drawn, marked, population."""
    population = draw(st.integers(1, 60))
    drawn, marked = draw(st.integers(0, population)), draw(st.integers(0, population))
    return draw(st.integers(0, 61)), drawn, marked, population


@given(draws())
def test_the_tail_is_the_exact_one(numbers: tuple[int, int, int, int]) -> None:
    least, drawn, marked, population = numbers
    ways = sum(
        math.comb(marked, found) * math.comb(population - marked, drawn - found)
        for found in range(least, min(drawn, marked) + 1)
        if drawn - found <= population - marked
    )
    exact = Fraction(ways, math.comb(population, drawn))
    found = log10_at_least(least, drawn, marked, population)
    assert math.isclose(10**found, float(exact), rel_tol=1e-9, abs_tol=1e-300)


def test_it_stays_exact_where_the_numbers_are_large() -> None:
    # 8 of 10 F0 on a day when 2,000 of a million people were there.
    exact = sum(
        Fraction(math.comb(2_000, found) * math.comb(998_000, 10 - found), math.comb(1_000_000, 10))
        for found in range(8, 11)
    )
    assert math.isclose(10 ** log10_at_least(8, 10, 2_000, 1_000_000), float(exact), rel_tol=1e-6)


def test_a_rare_place_of_three_surprises_more_than_a_mall_of_five() -> None:
    bus = chance(explained=3, eligible=10, around=25, population=100_000)
    mall = chance(explained=5, eligible=10, around=20_000, population=100_000)
    assert bus.log10_chance < mall.log10_chance < 0
    assert (bus.expected, mall.expected) == (0.0025, 2.0)
    assert (bus.lift, mall.lift) == (1200.0, 2.5)


@pytest.mark.parametrize("around", [0, 1, 5, 100])
def test_counts_that_contradict_each_other_give_a_chance_all_the_same(around: int) -> None:
    # The population is estimated; the F0 are certain.
    found = chance(explained=4, eligible=6, around=around, population=3)
    assert found.around >= 4
    assert found.population >= found.around
    assert -9 < found.log10_chance <= 0
