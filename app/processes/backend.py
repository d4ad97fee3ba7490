"""What the processes behind the stream share: clients of Redis and ClickHouse, and the parts that run on them."""

import os
import secrets
import socket
import time

import redis

from app.settings import Settings
from ingest.sink import Sink
from projections.projector import Projector, ProjectorLimits
from storage.clickhouse import Store
from storage.rebuilds import Rebuilds
from storage.stream import ScanStream
from storage.watermarks import Watermarks


def store(settings: Settings) -> Store:
    """The store; connects when it is first used."""
    if settings.embedded_store:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Store(settings.store_url, database=settings.clickhouse_database)


def unique_owner() -> str:
    """A name for a sink that no other process has."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def sink(client: redis.Redis, store: Store, owner: str) -> Sink:
    """The sink of the one partition. A sink under the same name as one that died need not wait for its lease."""
    return Sink(stream=ScanStream(client, owner=owner), store=store, watermarks=Watermarks(client))


def projector(settings: Settings, client: redis.Redis, store: Store) -> Projector:
    """The projector of every read model."""
    limits = ProjectorLimits(wait_seconds=settings.project_poll_seconds)
    return Projector(store, Watermarks(client), Rebuilds(client), limits)


def now_ms() -> int:
    """The clock of this machine, Unix milliseconds."""
    return time.time_ns() // 1_000_000
