"""How far log, read models and registries have come, as the watermarks say: told by trace, whoever else is down."""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.stream_client import StreamClients
from storage.control import ControlLog
from storage.errors import StreamDown
from storage.rebuilds import Rebuilds, RebuildStatus
from storage.watermarks import Watermark, Watermarks, lag


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What was last said; None of what was never said. `control_ms`: when the newest control event was recorded."""

    log: Watermark | None
    models: Watermark | None
    control_ms: int | None
    rebuild_requested: bool
    rebuild: RebuildStatus | None


def read_progress(clients: StreamClients) -> Progress:
    """Ask the stream's server. Raises `StreamDown`."""
    watermarks, rebuilds = Watermarks(clients.shared, clients.partitions), Rebuilds(clients.shared)
    return Progress(
        log=watermarks.read("log"),
        models=watermarks.read("read-models"),
        control_ms=ControlLog(clients.shared).newest_ms(),
        rebuild_requested=rebuilds.requested() is not None,
        rebuild=rebuilds.status(),
    )


class ProgressCollector(Collector):
    """The progress at the moment of the scrape; says nothing while the stream does not answer."""

    def __init__(self, clients: StreamClients, watched_to: Callable[[], int | None] = lambda: None) -> None:
        """`clients`: such as do not wait long for an answer. `watched_to`: see `ClusterWatcher`."""
        self._clients: Final = clients
        self._watched_to: Final = watched_to

    def collect(self) -> Iterable[Metric]:
        """Watermarks, the lags between them, the registry's newest event, the rebuild."""
        watched_to = self._watched_to()  # before the read models: whoever keeps up with them is never ahead
        try:
            progress = read_progress(self._clients)
        except StreamDown:
            return
        if progress.control_ms is not None:
            yield _gauge(
                "control_newest_timestamp_seconds", "When the newest control event came", progress.control_ms / 1000
            )
        yield from _marks(progress.log, progress.models)
        if progress.models is not None:
            yield _gauge(
                "clusters_lag_seconds",
                "How far the read models are ahead of the watcher for clusters; 0 where another process watches",
                max(progress.models.received - watched_to, 0) / 1000 if watched_to is not None else 0.0,
            )
        yield from _rebuild(progress.rebuild_requested, progress.rebuild)


def _marks(log: Watermark | None, models: Watermark | None) -> Iterable[Metric]:
    if log is not None:
        yield _gauge("log_complete_timestamp_seconds", "All received by then is in the log", log.received / 1000)
        yield _gauge("log_rows", "Scans that the log holds", log.rows)
    if models is not None:
        yield _gauge(
            "read_models_complete_timestamp_seconds",
            "All received by then is in the read models",
            models.received / 1000,
        )
    if log is not None and models is not None:
        behind = lag(models, log)
        yield _gauge("projector_lag_rows", "Scans in the log that the read models lack", behind.rows)
        yield _gauge("projector_lag_seconds", "How far the log is ahead of the read models", behind.seconds)


def _rebuild(requested: bool, status: RebuildStatus | None) -> Iterable[Metric]:
    differs = status is not None and any(not model.equal for model in status.models)
    yield _gauge("rebuild_requested", "1 from when a rebuild is asked for until it is done", requested)
    yield _gauge("rebuild_rows_done", "Scans that the latest rebuild has folded in", status.rows_done if status else 0)
    yield _gauge("rebuild_differs", "1 where the latest rebuild found the read models wrong", differs)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"truyvet_{name}", text, value=value)
