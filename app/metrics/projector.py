"""What projector and settler count: the spans of the log that were folded in, how long each read model took, and up to
when stays are settled."""

import time
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, Histogram

from projections.projector import READ_MODELS, Projected
from projections.settler import Settled

SECONDS_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
ROWS_BUCKETS: Final = (1, 10, 100, 1_000, 10_000, 50_000, 100_000, 250_000, 1_000_000)


class ProjectorMetrics:
    """Histograms of one projector; `on_span` is its hook."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives Unix seconds."""
        self._clock: Final = clock
        seconds = Histogram(
            "truyvet_projector_model_seconds",
            "How long a read model took for a span",
            ["model"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._seconds: Final = {model.table: seconds.labels(model.table) for model in READ_MODELS}
        self._rows: Final = Histogram(
            "truyvet_projector_span_rows", "Scans in a span", buckets=ROWS_BUCKETS, registry=registry
        )
        self._projected: Final = Gauge(
            "truyvet_projector_projected_timestamp_seconds", "When the latest span was folded in", registry=registry
        )

    def on_span(self, span: Projected) -> None:
        """A span is in every read model."""
        self._rows.observe(span.rows)
        for model, seconds in span.seconds.items():
            self._seconds[model].observe(seconds)
        self._projected.set(self._clock())


class SettlerMetrics:
    """A gauge of one settler; `on_settled` is its hook."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._settled: Final = Gauge(
            "truyvet_settler_settled_timestamp_seconds",
            "All received by then is in the settled stays",
            registry=registry,
        )

    def on_settled(self, settled: Settled) -> None:
        """The stays are settled as of a later moment."""
        self._settled.set(settled.upto / 1000)
