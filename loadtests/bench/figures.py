"""Figures out of measured series."""

from collections.abc import Iterable

import numpy as np

from loadtests.bench.client import Outcome


def latency(outcome: Outcome) -> dict[str, float]:
    """How long acknowledgements took."""
    return quantiles_ms(np.array(outcome.answered) - np.array(outcome.sent))


def quantiles_ms(seconds: Iterable[float]) -> dict[str, float]:
    """p50, p99 and the largest of durations, in ms. There must be one at least."""
    values = np.fromiter(seconds, float) * 1000
    p50, p99 = np.percentile(values, (50, 99))
    return {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3), "max_ms": round(float(values.max()), 3)}
