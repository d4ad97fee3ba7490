"""What the trace service counts, for Prometheus. Labels are names of operations, statuses and steps, never ids."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

TRACE_SECONDS_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
STEP_SECONDS_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
WAIT_SECONDS_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
STEPS: Final = ("wait", "search", "answer", "record")
MEDIA_TYPE: Final = CONTENT_TYPE_LATEST


class Metrics:
    """The counters of the trace service, in the process's registry: it may hold those of other parts too."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry: Final = registry or CollectorRegistry()
        self.requests: Final = Counter(
            "truyvet_trace_requests_total",
            "Requests answered by the trace service",
            ["operation", "status"],
            registry=self._registry,
        )
        self.trace_seconds: Final = Histogram(
            "truyvet_trace_seconds",
            "How long a trace took to answer",
            buckets=TRACE_SECONDS_BUCKETS,
            registry=self._registry,
        )
        self.audit_wait_seconds: Final = Histogram(
            "truyvet_audit_wait_seconds",
            "How long a request waited until its audit entry was durable, or could not be written",
            buckets=WAIT_SECONDS_BUCKETS,
            registry=self._registry,
        )
        step_seconds = Histogram(
            "truyvet_trace_step_seconds",
            "How long the steps of a trace took",
            ["step"],
            buckets=STEP_SECONDS_BUCKETS,
            registry=self._registry,
        )
        self._steps: Final = {step: step_seconds.labels(step) for step in STEPS}

    def on_step(self, step: str, seconds: float) -> None:
        """A step of a trace is over: one of `STEPS`."""
        self._steps[step].observe(seconds)

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self._registry)
