"""How many users there are over a run's course."""

import pytest

from loadtests.load.shapes import MORNING_PEAK_AT, RECONNECT_AT, STORM_GATHERED, Shape, share_of_users

COURSE = [step / 100 for step in range(101)]


@pytest.mark.parametrize("shape", list(Shape))
def test_a_share_is_a_share_throughout(shape: Shape) -> None:
    shares = [share_of_users(shape, over) for over in COURSE]
    assert min(shares) >= 0
    assert max(shares) == pytest.approx(1.0)


def test_a_steady_run_stays_at_its_height() -> None:
    shares = [share_of_users(Shape.STEADY, over) for over in COURSE]
    assert shares == sorted(shares)
    assert shares[20:] == [1.0] * 81


def test_a_morning_rises_to_its_peak_and_falls() -> None:
    peak = round(MORNING_PEAK_AT * 100)
    shares = [share_of_users(Shape.MORNING_PEAK, over) for over in COURSE]
    assert shares[: peak + 1] == sorted(shares[: peak + 1])
    assert shares[peak:] == sorted(shares[peak:], reverse=True)
    assert shares[peak] > 5 * max(shares[0], shares[-1])


def test_everybody_is_there_before_a_storm_breaks_loose() -> None:
    assert share_of_users(Shape.RECONNECT_STORM, STORM_GATHERED) == 1.0
    assert STORM_GATHERED < RECONNECT_AT
