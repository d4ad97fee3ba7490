"""What the processes behind the stream share: clients of Redis and ClickHouse, and the parts that run on them."""

import os
import secrets
import socket

import redis
from prometheus_client import CollectorRegistry

from app.metrics.projector import ProjectorMetrics
from app.metrics.sink import SinkMetrics
from app.settings import Settings
from app.trail import ProjectorTrail, SinkTrail
from ingest.sink import Laid, Sink
from projections.projector import Projected, Projector, ProjectorLimits
from storage.clickhouse import Store
from storage.rebuilds import Rebuilds
from storage.stream import ScanStream
from storage.watermarks import Watermarks


def store(settings: Settings) -> Store:
    """The store; connects when it is first used."""
    if settings.embedded_store:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Store(settings.store_url, database=settings.clickhouse_database, cluster=settings.clickhouse_cluster)


def unique_owner() -> str:
    """A name for a sink that no other process has."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def sink(client: redis.Redis, store: Store, owner: str, registry: CollectorRegistry) -> Sink:
    """The sink of the one partition. A sink under the same name as one that died need not wait for its lease."""
    metrics, trail = SinkMetrics(registry), SinkTrail()

    def on_range(laid: Laid) -> None:
        metrics.on_range(laid)
        trail.on_range(laid)

    return Sink(
        stream=ScanStream(client, owner=owner),
        store=store,
        watermarks=Watermarks(client),
        on_step=metrics.on_step,
        on_range=on_range,
    )


def projector(settings: Settings, client: redis.Redis, store: Store, registry: CollectorRegistry) -> Projector:
    """The projector of every read model."""
    limits = ProjectorLimits(wait_seconds=settings.project_poll_seconds)
    metrics, trail = ProjectorMetrics(registry), ProjectorTrail()

    def on_span(span: Projected) -> None:
        metrics.on_span(span)
        trail.on_span(span)

    return Projector(store, Watermarks(client), Rebuilds(client), limits, on_span=on_span)
