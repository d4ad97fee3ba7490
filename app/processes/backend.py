"""What the processes behind the stream share: clients of Redis and ClickHouse, and the parts that run on them."""

import logging
import os
import secrets
import socket
import threading
from typing import Final

import redis
from prometheus_client import CollectorRegistry

from app.clock import now_ms
from app.errors import Explained
from app.metrics.projector import ProjectorMetrics, SettlerMetrics
from app.metrics.sink import SinkMetrics
from app.settings import Settings
from app.stream_client import StreamClients
from app.trail import ProjectorTrail, SinkTrail
from ingest.sink import Laid, Sink
from ingest.sink_crew import CrewLimits, SinkCrew
from projections.projector import Projected, Projector, ProjectorLimits
from projections.settler import Settler
from storage.clickhouse import Store
from storage.control import ControlLog
from storage.crew import Crew
from storage.errors import StreamDown
from storage.partitions import Partition, agreed_count
from storage.patience import Patience
from storage.rebuilds import Rebuilds
from storage.retention_runs import RetentionRuns
from storage.settled import SettledMarks
from storage.stream import ScanStream
from storage.watermarks import Watermarks
from tracing.retention.keeper import Keeper
from tracing.retention.run import known

log: Final = logging.getLogger("truyvet.backend")

AGREE_RETRY_SECONDS: Final = 0.5


def store(settings: Settings) -> Store:
    """The store; connects when it is first used."""
    if settings.embedded_store:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Store(settings.store_url, database=settings.clickhouse_database, cluster=settings.clickhouse_cluster)


def unique_owner() -> str:
    """A name for a sink that no other process has."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


class WrongPartitions(Explained):
    """This process divides the scans into another number of partitions than the stream's server knows of."""


def agree_on_partitions(settings: Settings, client: redis.Redis, stopping: threading.Event) -> None:
    """Raise `WrongPartitions` where the others use another number: a device's scans would lie in two places.

    Waits for the stream's server until the process must stop.
    """
    patience, count = Patience(log, AGREE_RETRY_SECONDS), settings.stream_partitions
    while not stopping.is_set():
        try:
            count = agreed_count(client, settings.stream_partitions)
        except StreamDown as error:
            patience.wait(stopping, error)
        else:
            patience.over()
            break
    if count != settings.stream_partitions:
        raise WrongPartitions(
            f"The stream has {count} partitions, not {settings.stream_partitions}. Set"
            f" TRUYVET_STREAM_PARTITIONS={count}; docs/operations.md says how to change the number."
        )


def sinks(
    settings: Settings, clients: StreamClients, store: Store, owner: str, registry: CollectorRegistry
) -> SinkCrew:
    """This process's share of the sinks.

    Those under the same name as some that died need not wait for their leases.
    """
    metrics, trail = SinkMetrics(registry), SinkTrail()
    count = settings.stream_partitions

    def on_range(laid: Laid) -> None:
        metrics.on_range(laid)
        trail.on_range(laid)

    def sink_of(number: int) -> Sink:
        return Sink(
            stream=ScanStream(
                clients.partitions[number],
                owner=owner,
                partition=Partition(number, count),
                replicas=settings.stream_replicas,
            ),
            store=store,
            watermarks=Watermarks(clients.shared, clients.partitions),
            on_step=metrics.stopwatch(),
            on_range=on_range,
        )

    crew = Crew(clients.shared, owner=owner, partitions=count)
    return SinkCrew(crew, count, sink_of, store.ping, CrewLimits())


def settler(clients: StreamClients, store: Store, registry: CollectorRegistry) -> Settler:
    """What settles stays, for the process with the projector."""
    watermarks = Watermarks(clients.shared, clients.partitions)
    marks, control = SettledMarks(clients.shared), ControlLog(clients.shared)
    return Settler(store, watermarks, marks, control, on_settled=SettlerMetrics(registry).on_settled)


def projector(
    settings: Settings, clients: StreamClients, store: Store, registry: CollectorRegistry, settler: Settler
) -> Projector:
    """The projector of every read model; a rebuild has the settler derive stays."""
    limits = ProjectorLimits(wait_seconds=settings.project_poll_seconds)
    metrics, trail = ProjectorMetrics(registry), ProjectorTrail()

    def on_span(span: Projected) -> None:
        metrics.on_span(span)
        trail.on_span(span)

    watermarks = Watermarks(clients.shared, clients.partitions)
    control = ControlLog(clients.shared)
    return Projector(
        store,
        watermarks,
        Rebuilds(clients.shared),
        limits,
        kept_from=lambda: known(control).kept.kept_from,
        settler=settler,
        on_span=on_span,
    )


def retention(settings: Settings, clients: StreamClients, store: Store) -> Keeper:
    """What lets go of things that are kept no longer; for the process with the projector."""
    return Keeper(
        store=store,
        control=ControlLog(clients.shared, replicas=settings.stream_replicas),
        runs=RetentionRuns(clients.shared),
        terms=settings.terms,
        clock=now_ms,
    )
