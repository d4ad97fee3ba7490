"""What the sink counts: how long its numbered steps took, and what the ranges held that it laid into the log."""

import time
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ingest.sink import Laid

STEP_OF_HOOK: Final = {
    "claimed": "claim",
    "read": "read",
    "chosen": "choose",
    "frozen": "freeze",
    "inserted": "insert",
    "committed": "commit",
    "trimmed": "trim",
    "announced": "announce",
}
"""What the sink says when a step is over → that step's name, in the order of `ingest/sink.py`."""
REPAIRED: Final = "repaired"
SECONDS_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
LOG_SECONDS_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 3_600.0)
ENTRIES_BUCKETS: Final = (1, 2, 5, 10, 50, 100, 500, 1_000, 5_000)
ROWS_BUCKETS: Final = (1, 10, 100, 1_000, 10_000, 50_000, 100_000, 250_000, 1_000_000)
BYTES_BUCKETS: Final = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000)


class SinkMetrics:
    """Histograms and counters of a process's sinks; each has a stopwatch of its own, `on_range` is a hook of all."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives Unix seconds."""
        self._clock: Final = clock
        seconds = Histogram(
            "truyvet_sink_step_seconds",
            "How long the steps of a range took",
            ["step"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._step: Final = {hook: seconds.labels(step) for hook, step in STEP_OF_HOOK.items()}
        self._entries: Final = Histogram(
            "truyvet_sink_range_entries", "Batches in a range", buckets=ENTRIES_BUCKETS, registry=registry
        )
        self._rows: Final = Histogram(
            "truyvet_sink_range_rows", "Scans in a range", buckets=ROWS_BUCKETS, registry=registry
        )
        self._bytes: Final = Histogram(
            "truyvet_sink_range_bytes", "Bytes of a range in the stream", buckets=BYTES_BUCKETS, registry=registry
        )
        self._log_seconds: Final = Histogram(
            "truyvet_sink_log_seconds",
            "From when the oldest batch of a range was acknowledged until readers were told that it is in the log",
            buckets=LOG_SECONDS_BUCKETS,
            registry=registry,
        )
        self._repairs: Final = Counter(
            "truyvet_sink_repairs_total", "Inserts repeated because ClickHouse had lost rows", registry=registry
        )
        self._resumed: Final = Counter(
            "truyvet_sink_resumed_total", "Ranges found frozen and laid again, after a fault", registry=registry
        )
        self._poison: Final = Counter(
            "truyvet_sink_poison_total", "Stream entries put aside because they cannot be read", registry=registry
        )
        self._committed: Final = Gauge(
            "truyvet_sink_committed_timestamp_seconds", "When the latest range was committed", registry=registry
        )

    def stopwatch(self) -> Callable[[str], None]:
        """A hook for one sink: called with a step that is over, it counts how long that took since the one before."""
        mark = time.perf_counter()

        def on_step(name: str) -> None:
            nonlocal mark
            if name == REPAIRED:
                self._repairs.inc()
                return
            now = time.perf_counter()
            took, mark = now - mark, now
            histogram = self._step.get(name)
            if histogram is not None:
                histogram.observe(took)

        return on_step

    def on_range(self, laid: Laid) -> None:
        """A range is in the log."""
        now = self._clock()
        self._entries.observe(laid.entries)
        self._rows.observe(laid.rows)
        self._bytes.observe(laid.size)
        self._poison.inc(laid.poison)
        self._resumed.inc(laid.again)
        self._committed.set(now)
        acknowledged_ms = int(laid.frozen.first.partition("-")[0])
        self._log_seconds.observe(max(0.0, now - acknowledged_ms / 1000))
