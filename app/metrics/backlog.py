"""How full the stream is: what waits for the sink, of how much may wait. Told by ingest, since a sink may be down."""

from collections.abc import Iterable, Sequence
from typing import Final

import redis
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from storage.backlog import read_waiting
from storage.errors import StreamDown


class BacklogCollector(Collector):
    """The backlog at the moment of the scrape; says nothing of it while the stream does not answer."""

    def __init__(self, partitions: "Sequence[redis.Redis]", bytes_max: int) -> None:
        """`partitions`: each partition's client, in order, such as does not wait long for an answer."""
        self._partitions: Final = partitions
        self._bytes_max: Final = bytes_max

    def collect(self) -> Iterable[Metric]:
        """The limit, and what is known of the stream."""
        yield GaugeMetricFamily(
            "truyvet_stream_bytes_max", "Bytes that may wait before scanners get 503", value=self._bytes_max
        )
        try:
            parts = read_waiting(self._partitions)
        except StreamDown:
            return
        for name, text, value in (
            ("stream_waiting_entries", "Batches that wait for the sink", sum(part.entries for part in parts)),
            ("stream_waiting_bytes", "Bytes that wait for the sink", sum(part.bytes for part in parts)),
            (
                "stream_waiting_ratio",
                "Bytes that wait, of those that may, in the fullest partition",
                max(part.bytes for part in parts) / (self._bytes_max // len(self._partitions)),
            ),
            (
                "stream_waiting_seconds",
                "How long the oldest waiting batch has waited",
                max(part.oldest_seconds for part in parts),
            ),
            (
                "clock_offset_seconds",
                "This machine's clock less the stream server's, the worst of them",
                max((part.clock_offset_seconds for part in parts), key=abs),
            ),
        ):
            yield GaugeMetricFamily(f"truyvet_{name}", text, value=value)
