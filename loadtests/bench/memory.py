"""memory: what each process holds over the whole of the full load."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtests.bench.full_load import Sample, headline
from loadtests.bench.report import Result
from loadtests.bench.session import Session

INGEST_MB_MAX: Final = 250.0
STORE_MB_MAX: Final = 2_500.0
WARM_UP_PART: Final = 1 / 3
"""The part of the load that is taken as warming up."""
GROWTH_PART_MAX: Final = 0.1
"""Flat: the line through what follows grows by no more than this part of its level."""
SAMPLES_MIN: Final = 3
"""A line needs so many points."""


def run(session: Session) -> Result:
    """The store's largest resident memory, with every process's largest and growth."""
    load = headline(session, "msgpack")
    series = _series(load.samples)
    largest = {name: max(values) for name, (_, values) in series.items()}
    growth = {name: grown(*line) for name, line in series.items()}
    limited = {name: _limit(name) for name in largest if _limit(name)}
    return Result(
        bench="memory",
        value=largest["store"],
        unit="MB",
        baseline="MB of the store as the load begins",
        baseline_value=load.samples[0].usages["store"].resident_mb,
        target=f"flat; ingest ≤ {INGEST_MB_MAX:.0f} MB, store ≤ {STORE_MB_MAX:,.0f} MB",
        met=all(largest[name] <= limit and growth[name] <= GROWTH_PART_MAX for name, limit in limited.items()),
        progress=min(limit / largest[name] for name, limit in limited.items()),
        figures={
            "seconds": round(load.samples[-1].at - load.samples[0].at, 1),
            "resident_mb_max": {name: round(value, 1) for name, value in largest.items()},
            "growth_after_warm_up": {name: round(value, 4) for name, value in growth.items()},
        },
        failures=load.failures,
    )


def grown(at: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """By which part of its level the line through a series grows after the warm-up, from its start to its end."""
    warm = at >= at[0] + (at[-1] - at[0]) * WARM_UP_PART
    if warm.sum() < SAMPLES_MIN:
        return 0.0
    slope, _ = np.polyfit(at[warm], values[warm], 1)
    return float(slope * np.ptp(at[warm]) / values[warm].mean())


def _series(samples: list[Sample]) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Process → times and MB."""
    names = set.intersection(*(set(sample.usages) for sample in samples))
    at = np.array([sample.at for sample in samples])
    return {name: (at, np.array([sample.usages[name].resident_mb for sample in samples])) for name in sorted(names)}


def _limit(name: str) -> float:
    if name.startswith("ingest"):
        return INGEST_MB_MAX
    return STORE_MB_MAX if name == "store" else 0.0
