"""What the ingest edge counts: requests, scans, their sizes, and how long each step took. Shared by all workers.

Requests that are answered in one turn of the event loop are counted together: a value in the memory that workers share
costs as much to change as a step of a request to take.
"""

import asyncio
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.registry import Collector

from app.metrics.exposition import workers_text
from events.scans import Refusal
from ingest.receive import EdgeResult

STEPS: Final = ("receive", "verify", "judge", "seal", "publish", "answer")
SECONDS_BUCKETS: Final = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0)
SCANS_BUCKETS: Final = (1, 2, 5, 10, 50, 100, 500, 1_000, 2_000, 5_000)
BYTES_BUCKETS: Final = (256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304)


class ManyHistogram(Histogram):
    """A histogram that takes many values for the price of one."""

    def observe_all(self, values: Sequence[float]) -> None:
        """Count each of the values, as `observe` would."""
        if not values:
            return
        self._sum.inc(sum(values))
        for bucket, count in Tally(bisect_left(self._upper_bounds, value) for value in values).items():
            self._buckets[bucket].inc(count)


class EdgeMetrics:
    """Counters of requests, scans, bytes and seconds; `on_result` is the edge's hook, for one event loop."""

    def __init__(self, directory: Path, registry: CollectorRegistry) -> None:
        """`directory`: the one that the workers share."""
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
        self._seconds: Final = ManyHistogram(
            "truyvet_ingest_step_seconds",
            "How long the steps of a batch took",
            ["step"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._batch_scans: Final = ManyHistogram(
            "truyvet_ingest_batch_scans", "Scans in a batch that was decoded", buckets=SCANS_BUCKETS, registry=registry
        )
        self._batch_bytes: Final = ManyHistogram(
            "truyvet_ingest_batch_bytes", "Bytes of a body as sent", buckets=BYTES_BUCKETS, registry=registry
        )
        Gauge(
            "truyvet_ingest_workers",
            "Worker processes that run on the ingest port",
            multiprocess_mode="livesum",
            registry=registry,
        ).set(1)
        # A label's child is looked up once.
        self._accepted: Final = self._scans.labels("accepted")
        self._duplicate: Final = self._scans.labels("duplicate")
        self._refused: Final = {reason: self._scans.labels(reason.value) for reason in Refusal}
        self._step: Final = {step: self._seconds.labels(step) for step in STEPS}
        self._answered: Final[list[EdgeResult]] = []

    def on_result(self, result: EdgeResult) -> None:
        """Count one request, at the end of this turn of the event loop."""
        if not self._answered:
            asyncio.get_running_loop().call_soon(self._count)
        self._answered.append(result)

    def _count(self) -> None:
        answered = self._answered.copy()
        self._answered.clear()
        for (status, problem), count in Tally((result.status, result.problem) for result in answered).items():
            self._requests.labels(str(status), problem).inc(count)
        self._batch_scans.observe_all([result.scans for result in answered if result.scans])
        self._batch_bytes.observe_all([result.body_bytes for result in answered if result.body_bytes])
        self._accepted.inc(sum(result.accepted for result in answered))
        self._duplicate.inc(sum(result.duplicate for result in answered))
        for result in answered:
            for reason, count in result.refused.items():
                self._refused[reason].inc(count)
        for step, histogram in self._step.items():
            took = [getattr(result.seconds, step) for result in answered]
            histogram.observe_all([seconds for seconds in took if seconds])

    def exposition(self, own: Iterable[Collector]) -> bytes:
        """The text that Prometheus scrapes, of all workers together and of this one's `own` collectors."""
        return workers_text(self._directory, own)
