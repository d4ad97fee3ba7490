"""Figures out of measured series."""

from collections.abc import Iterable

import msgspec
import numpy as np

from loadtests.bench.client import Outcome


class Times(msgspec.Struct, frozen=True):
    """How long each of some answers took, in ms; there must be one at least."""

    ms: list[float]

    @property
    def p50(self) -> float:
        """The median."""
        return percentiles(self.ms, 50)[0]

    @property
    def p95(self) -> float:
        """What all but one in twenty kept within."""
        return percentiles(self.ms, 95)[0]


def latency(outcome: Outcome) -> dict[str, float]:
    """How long acknowledgements took."""
    return quantiles_ms(np.array(outcome.answered) - np.array(outcome.sent))


def quantiles_ms(seconds: Iterable[float]) -> dict[str, float]:
    """p50, p99 and the largest of durations, in ms. There must be one at least."""
    values = np.fromiter(seconds, float) * 1000
    p50, p99 = percentiles(values, 50, 99)
    return {"p50_ms": round(p50, 3), "p99_ms": round(p99, 3), "max_ms": round(float(values.max()), 3)}


def percentiles(values: Iterable[float], *which: float) -> list[float]:
    """These percentiles. There must be one value at least."""
    return [float(each) for each in np.percentile(np.fromiter(values, float), which)]
