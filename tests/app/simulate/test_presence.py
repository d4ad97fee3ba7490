"""What a missing exit does to an answer, on a world of three people and one shop."""

import msgspec
import pytest

from app.simulate.movements import Visit
from app.simulate.presence import Blur, blur, really_together
from app.simulate.truth import Span
from app.simulate.world import World

MINUTE = 60_000


@pytest.fixture
def shop(world: World) -> World:
    """F 0–60 min, the second there 30–60, the third only 50–60."""
    lives = [
        [Visit("shop", 0, 60 * MINUTE)],
        [Visit("shop", 30 * MINUTE, 60 * MINUTE)],
        [Visit("shop", 50 * MINUTE, 60 * MINUTE)],
    ]
    people = [
        msgspec.structs.replace(person, number=number, household=number // 2)
        for number, person in enumerate(world.people[:3])
    ]
    return msgspec.structs.replace(world, people=people, lives=lives, drives={})


def test_who_was_really_there_for_long_enough(shop: World) -> None:
    assert really_together(shop, 0, (0, 60 * MINUTE)) == {1: [(30 * MINUTE, 60 * MINUTE)]}
    assert really_together(shop, 0, (0, 40 * MINUTE)) == {}
    assert really_together(shop, 0, (0, 60 * MINUTE), min_ms=MINUTE).keys() == {1, 2}


def test_blur_counts_people_and_time(shop: World) -> None:
    answered: dict[int | str, list[Span]] = {1: [(40 * MINUTE, 70 * MINUTE)], 2: [(50 * MINUTE, 70 * MINUTE)]}
    found = blur(shop, 0, (0, 60 * MINUTE), answered)
    assert (found.real, found.found, found.missed, found.invented) == (1, 1, 0, 1)
    assert (found.recall, found.precision) == (1.0, 0.5)
    assert found.time_recall == pytest.approx(20 / 30)
    assert found.time_precision == pytest.approx(20 / 50)
    assert (found.household, found.household_found) == (1, 1)


def test_nobody_named_and_nobody_there_is_no_fault(shop: World) -> None:
    assert blur(shop, 0, (0, 1), {}) == Blur(0, 0, 0, 0, 0, 0, 0, 1, 0)
    assert blur(shop, 0, (0, 1), {}).recall == 1.0
