"""What the trace service counts, for Prometheus. Labels are names of operations and statuses, never ids."""

from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

TRACE_SECONDS_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
MEDIA_TYPE: Final = CONTENT_TYPE_LATEST


class Metrics:
    """The counters of one process, or of all that share `directory` (prometheus_client's multi-process mode)."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory: Final = directory
        self._registry: Final = CollectorRegistry()
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

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        if self._directory is None:
            return generate_latest(self._registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared, path=str(self._directory))  # type: ignore[no-untyped-call]
        return generate_latest(shared)
