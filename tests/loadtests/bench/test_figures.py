"""Figures from made-up series whose answers are known."""

import msgspec
import numpy as np
import pytest

from loadtests.bench.client import Outcome
from loadtests.bench.figures import latency, quantiles_ms
from loadtests.bench.machine import Machine
from loadtests.bench.memory import grown
from loadtests.bench.roofline import Roofline
from loadtests.bench.visible import waits
from tests.loadtests.bench.lines import RESULT, decoded


def test_quantiles_are_of_the_durations() -> None:
    assert quantiles_ms(n / 1000 for n in range(101)) == {"p50_ms": 50.0, "p99_ms": 99.0, "max_ms": 100.0}
    assert latency(Outcome(sent=[1.0, 2.0], answered=[1.5, 2.5]))["p50_ms"] == 500.0


def test_growth_is_that_of_the_line_after_the_warm_up() -> None:
    at = np.arange(0.0, 91.0)
    flat = np.where(at < 30, 10 * at, 300.0)
    assert grown(at, flat) == pytest.approx(0.0)
    assert grown(at, 100 + at) == pytest.approx(60 / 160)
    assert grown(at[:2], at[:2]) == 0.0


def test_a_batch_is_visible_with_the_first_watermark_past_it() -> None:
    outcome = Outcome(entries=["100-0", "101-0", "105-3", "111-0"], answered=[1.0, 1.5, 1.9, 2.5])
    assert waits(outcome, [(99, 1.2), (101, 1.4), (110, 2.0)]) == pytest.approx([0.4, 0.0, 0.1])


def test_the_roofline_adds_up_the_times() -> None:
    assert Roofline(1_000, 500, 250).rate == pytest.approx(1 / (0.001 + 0.002 + 0.004))


def test_a_line_holds_the_result_its_figures_and_where_they_come_from() -> None:
    result = msgspec.structs.replace(RESULT, figures={"extra": np.float64(1.5)})
    line = decoded(result.line(Machine("cpu", 2, 1.0, "6.1", "/dev/x ext4", 0.5), {"python": "3.11"}))
    assert (line.bench, line.value, line.ratio, line.met) == ("disk", 6.0, 3.0, True)
    assert line.machine["cpu"] == "cpu"
    assert line.versions == {"python": "3.11"}
