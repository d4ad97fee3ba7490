"""What the ingest edge counts, for Prometheus. Labels are names from closed lists, never ids.

The workers of one port share a directory (`PROMETHEUS_MULTIPROC_DIR`, which their supervisor sets before they start,
because prometheus_client reads it while it is imported), so that whichever answers `/metrics` speaks for all.
"""

from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

from events.scans import Refusal
from ingest.receive import EdgeResult

MEDIA_TYPE: Final = CONTENT_TYPE_LATEST
STEPS: Final = ("receive", "verify", "judge", "seal", "publish", "answer")
SECONDS_BUCKETS: Final = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0)


class EdgeMetrics:
    """Counters of requests, scans and seconds; `on_result` is the edge's hook."""

    def __init__(self, directory: Path) -> None:
        """`directory`: the one that the workers share."""
        registry = CollectorRegistry()
        self._directory: Final = directory
        self._requests: Final = Counter(
            "truyvet_ingest_requests_total",
            "Batches answered, by status and kind of problem",
            ["status", "problem"],
            registry=registry,
        )
        self._scans: Final = Counter(
            "truyvet_ingest_scans_total",
            "Scans by what became of them: accepted, duplicate, or the reason of refusal",
            ["verdict"],
            registry=registry,
        )
        self._seconds: Final = Histogram(
            "truyvet_ingest_step_seconds",
            "How long the steps of a batch took",
            ["step"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        # A label's child is looked up once: the hot path only adds.
        self._accepted: Final = self._scans.labels("accepted")
        self._duplicate: Final = self._scans.labels("duplicate")
        self._refused: Final = {reason: self._scans.labels(reason.value) for reason in Refusal}
        self._step: Final = {step: self._seconds.labels(step) for step in STEPS}
        self._answers: Final[dict[tuple[int, str], Counter]] = {}

    def on_result(self, result: EdgeResult) -> None:
        """Count one request."""
        answer = (result.status, result.problem)
        if answer not in self._answers:
            self._answers[answer] = self._requests.labels(str(result.status), result.problem)
        self._answers[answer].inc()
        if result.accepted:
            self._accepted.inc(result.accepted)
        if result.duplicate:
            self._duplicate.inc(result.duplicate)
        for reason, count in result.refused.items():
            self._refused[reason].inc(count)
        for step, counter in self._step.items():
            seconds = getattr(result.seconds, step)
            if seconds:
                counter.observe(seconds)

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes, of all workers together."""
        shared = CollectorRegistry()
        MultiProcessCollector(shared, path=str(self._directory))  # type: ignore[no-untyped-call]
        return generate_latest(shared)
